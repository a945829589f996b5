package producer

import (
	"context"
	"fmt"
	"io"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// beyond is what the topic has of a stream behind its progress.
type beyond struct {
	rows int64
	sum  schema.Sum128 // of their hashes
	end  *string       // status of its end; nil when it has none
	next int64         // offset in the topic partition behind what was looked at
}

// beyond reads a topic partition from a stream's progress on, for rows that were
// acknowledged and not written down as such.
func (l *ledger) beyond(ctx context.Context, stream schema.StreamID, partition int, p progress) (found beyond, err error) {
	next, end, err := l.client.Offsets(ctx, l.topic.Name, partition)
	if err != nil {
		return found, err
	}
	var f broker.Fetch
	var scratch []byte
	for next = max(next, p.Next); next < end; next = max(next, f.End()) {
		if err := l.client.Fetch(ctx, l.topic.Name, partition, next, broker.FetchOptions{MaxBytes: 4 << 20, MinBytes: 1, MaxWait: 100 * time.Millisecond}, &f); err != nil {
			return found, err
		}
		var m broker.Message
		for f.Next(&m) {
			id, row, ok := wire.ParseKey(m.Key)
			switch {
			case !ok || id != stream:
			case m.Value == nil:
				status := Complete
				for _, h := range m.Headers {
					if h.Key == wire.Status {
						status = string(h.Value)
					}
				}
				found.end = &status
			case row == p.Rows+found.rows:
				var hi, lo uint64
				hi, lo, scratch = wire.RowHash(scratch, m.Key, m.Value)
				found.sum.Add(hi, lo)
				found.rows++
			}
		}
		if err := f.Err(); err != nil {
			return found, fmt.Errorf("read %s/%d@%d: %w", l.topic.Name, partition, next, err)
		}
	}
	found.next = next
	return found, nil
}

// catchUp goes behind rows that are in the topic and that the progress does not
// know of: their producer died before it wrote that they were acknowledged. When
// the object does not have those rows any more, or the topic has their end, the
// stream is done.
func (s *sender) catchUp(ctx context.Context) error {
	found, err := s.p.ledger.beyond(ctx, s.stream, s.to, s.acked)
	if err != nil || found.rows == 0 && found.end == nil {
		return err
	}
	var sum schema.Sum128
	before := s.sum
	for range found.rows {
		row, err := s.splitter.Next()
		if err == io.EOF && s.hold {
			if err := s.unhold(ctx); err != nil {
				return err
			}
			row, err = s.splitter.Next()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		s.encode(row)
		sum.Add(s.hash())
		s.row++
	}
	if sum != found.sum || s.row != s.acked.Rows+found.rows {
		s.p.Events.warn(s.object.URI, "rows that were sent of it are not in it any more: they stay in the table, and the file is sent from there on as a new version")
		s.row, s.sum = s.acked.Rows, before
		return s.endAs(ctx, found, Changed)
	}
	s.sum.Add(sum.Hi, sum.Lo)
	s.acked, s.acked.Next = s.snapshot(), found.next
	if found.end != nil {
		s.acked.Size = unknownSize
		return s.done(ctx, *found.end)
	}
	return nil
}
