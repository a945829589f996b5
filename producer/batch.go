package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/fault"
	"lakefeed/schema/wire"
)

// progressEvery is how often the progress of a stream is written. What was sent
// since is sent again after a crash, and left out by the sink.
const progressEvery = time.Second

// landing is what became of a batch: the offset behind it in the topic partition.
type landing struct {
	next int64
	err  error
}

// encode makes the key and value of a row or reject.
func (s *sender) encode(row *csv.Row) {
	s.consumed.row = row.To
	s.unended = len(row.Raw) == int(row.To-row.From)
	s.key = wire.AppendKey(s.key[:0], s.stream, s.row)
	if row.Rule != "" {
		s.value = append(s.value[:0], row.Raw[:min(len(row.Raw), wire.RejectBytes)]...)
	} else {
		s.value = s.splitter.AppendRFC4180(s.value[:0])
	}
}

// hash is of the row that was encoded last.
func (s *sender) hash() (hi, lo uint64) {
	hi, lo, s.scratch = wire.RowHash(s.scratch, s.key, s.value)
	return hi, lo
}

// add adds a row or reject to the batch under construction.
func (s *sender) add(row *csv.Row) {
	s.encode(row)
	s.headers = s.headers[:0]
	first := s.batch.Len() == 0
	if row.Header != s.named {
		s.name(row.Header)
		s.p.Events.info(s.object.URI, fmt.Sprintf("from line %d on it has another header of the feed: %s", row.Line, shortened(string(s.header))))
		first = true // for readers: all of them come again
	}
	if first || s.p.HeadersEvery {
		if s.header != nil {
			s.headers = append(s.headers, broker.Header{Key: wire.Columns, Value: s.header})
		}
		s.headers = append(s.headers, broker.Header{Key: wire.Source, Value: []byte(s.object.URI)})
	}
	if first || s.p.HeadersEvery || row.Gap || row.Rule != "" {
		s.headers = append(s.headers, broker.Header{Key: wire.At, Value: wire.AppendAt(nil, row.From, row.Line)})
	}
	if row.Rule != "" {
		s.headers = append(s.headers, broker.Header{Key: wire.Reject, Value: []byte(row.Rule)},
			broker.Header{Key: wire.Message, Value: []byte(row.Message)}, broker.Header{Key: wire.Bytes, Value: wire.AppendRange(nil, row.From, row.To)},
			broker.Header{Key: wire.Dialect, Value: s.dialect()})
		s.rejects++
		s.p.Events.rejected(Rejected{URI: s.object.URI, Line: row.Line, From: row.From, To: row.To, Rule: row.Rule, Message: row.Message})
	}
	s.sum.Add(s.hash())
	if s.batch.Len() == 0 { // close enough for all of them, and the clock is not free
		s.read = s.p.Now().UnixMilli()
	}
	s.batch.Append(s.key, notNil(s.value), s.headers, s.read)
	s.row++
}

// dialect is what the object is split with, as JSON.
func (s *sender) dialect() []byte {
	text, err := json.Marshal(s.claim.Dialect)
	if err != nil {
		panic(err) // it has strings, numbers and booleans
	}
	return text
}

// notNil keeps an empty value from being a null one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// idle sends what there is while the input has no more to give.
func (s *sender) idle(ctx context.Context) error {
	if s.batch.Len() > 0 {
		return s.flush(ctx)
	}
	return s.land(ctx)
}

// flush waits for the batch on its way and sends the next.
func (s *sender) flush(ctx context.Context) error {
	if s.batch.Len() == 0 {
		return nil
	}
	if err := s.land(ctx); err != nil {
		return err
	}
	if s.guard != nil {
		if err := s.guard(); err != nil {
			return err
		}
	}
	if err := s.keepTail(ctx); err != nil {
		return err
	}
	batch := s.batch
	s.batch, s.spare = s.spare, batch
	s.batch.Reset()
	s.flown = s.snapshot()
	s.flownRows = int64(batch.Len())
	s.flying = make(chan landing, 1)
	go func(landed chan<- landing) {
		// A batch that was begun is brought to its end when the run is interrupted.
		next, err := int64(0), fault.At(ctx, fault.BatchSend)
		if err == nil {
			next, err = s.p.send(context.WithoutCancel(ctx), s.to, batch)
		}
		if err == nil {
			err = fault.At(ctx, fault.BatchSent)
		}
		landed <- landing{next, err}
	}(s.flying)
	return nil
}

// snapshot is the progress once everything in the batch is acknowledged.
func (s *sender) snapshot() progress {
	p := s.acked
	p.Rows, p.Sum, p.Unended = s.row, s.sum.String(), s.unended
	p.Offset, p.Line = s.splitter.Position()
	p.Header = s.splitter.Header()
	s.seen()
	p.Tail, p.Sought = s.tail, s.sought
	p.contentMark = s.consumed.mark(p.Offset)
	p.Behind = !s.consumed.direct && !s.unended // a row without a line end is the last
	return p
}

// land waits for the batch on its way.
func (s *sender) land(ctx context.Context) error {
	if s.flying == nil {
		return nil
	}
	landed := <-s.flying
	s.flying = nil
	if landed.err != nil {
		s.unsure = true
		return landed.err
	}
	s.flown.Next = landed.next
	s.sent += s.flownRows
	size := s.object.Size
	if s.compressed { // offsets are those of the content
		size = -1
	}
	s.p.Events.sent(SentInfo{URI: s.object.URI, Stream: s.stream, Partition: s.to, Rows: s.flownRows, Bytes: s.flown.Offset - s.acked.Offset, Offset: s.flown.Offset, Size: size})
	s.bytes += s.flown.Offset - s.acked.Offset
	s.acked = s.flown
	if s.p.Now().Sub(s.ackedAt) >= progressEvery {
		return s.note(ctx)
	}
	return nil
}

// note writes the stream's progress.
func (s *sender) note(ctx context.Context) error {
	s.ackedAt = s.p.Now()
	return s.p.ledger.note(context.WithoutCancel(ctx), map[schema.StreamID]progress{s.stream: s.acked})
}
