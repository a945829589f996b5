package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/sink"
)

// read fetches once and takes the messages, or nothing when ctx ends. It commits
// the batch first when there is no memory for more.
func (w *worker) read(ctx, steady context.Context, draining bool) error {
	if wait := w.c.Budget.take(fetchBytes); wait != nil {
		if w.position > w.draft.From() {
			return w.flush(steady)
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
		return nil
	}
	w.reserved += fetchBytes
	wait := 500 * time.Millisecond
	if draining || w.c.Group == "" { // the broker is near: let no end of the sources wait for it
		wait = 50 * time.Millisecond
	}
	if !w.since.IsZero() {
		_, every := w.limits()
		wait = max(0, min(wait, every-w.c.Now().Sub(w.since)))
	}
	err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, w.position, broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: wait, MinBytes: 1, ReadCommitted: true}, &w.fetch)
	var outside *broker.OffsetOutOfRange
	if errors.As(err, &outside) && !w.outside {
		w.outside = true
		return errAgain
	}
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	w.outside = false
	err = w.take(ctx, steady)
	w.reserve()
	return err
}

// reserve takes from the budget what the batch has: the text of its rows, of which a
// fetch of compressed batches may have brought several times its size, and what the
// steps will make of it.
func (w *worker) reserve() {
	has := w.batch.bytes + int(float64(w.batch.bytes)*w.made)
	if has > w.reserved {
		w.c.Budget.charge(has - w.reserved)
	} else {
		w.c.Budget.give(w.reserved - has)
	}
	w.reserved = has
}

// take goes through the fetched messages. When ctx ends it leaves those behind the next
// commit.
func (w *worker) take(ctx, steady context.Context) error {
	size, _ := w.limits()
	var m broker.Message
	for first := true; w.fetch.Next(&m); first = false {
		if first {
			if err := w.checkLeader(steady, &m); err != nil {
				return err
			}
		}
		if m.FirstOfBatch {
			w.reserve()
			if w.batch.bytes >= size || w.batch.bytes > 0 && w.c.Budget.over() {
				if err := w.flush(steady); err != nil || ctx.Err() != nil {
					return err
				}
			}
		}
		if w.since.IsZero() {
			w.since = w.c.Now()
		}
		w.skipTo(m.Offset)
		if w.halt.err != nil && m.Offset == w.halt.offset {
			if w.position > w.draft.From() {
				if err := w.flush(steady); err != nil {
					return err
				}
			}
			return w.halt.err
		}
		if err := w.message(steady, &m); err != nil {
			if w.stopped(&m, err) {
				return errAgain
			}
			return fmt.Errorf("offset %d: %w", m.Offset, err)
		}
		if w.c.Raw != nil {
			w.keep(&m)
		}
		w.position = m.Offset + 1
		w.last, w.lastSet = m, true
	}
	if err := w.fetch.Err(); err != nil {
		return fmt.Errorf("read at offset %d: %w", w.position, err)
	}
	if w.lastSet {
		w.print, w.lastSet = fingerprint(&w.last), false
	}
	w.skipTo(w.fetch.End())
	return nil
}

// stopped says of a row at which the contract stops the feed, and which is in the
// batch by half, that the batch is to be taken again up to it: what came before is
// good.
func (w *worker) stopped(m *broker.Message, err error) bool {
	var broken *schema.ContractError
	if !errors.As(err, &broken) || w.position == w.draft.From() {
		return false
	}
	w.halt.offset, w.halt.err = m.Offset, fmt.Errorf("offset %d: %w", m.Offset, err)
	return true
}

// skipTo accounts for the offsets before next that hold no message.
func (w *worker) skipTo(next int64) {
	if next <= w.position {
		return
	}
	for _, s := range w.fetch.Skipped() {
		from, to := max(s.From, w.position), min(s.To, next)
		if from >= to {
			continue
		}
		if from > w.position {
			w.draft.Skip(w.position, from, sink.SkipCompacted)
		}
		w.draft.Skip(from, to, s.Reason)
		w.position = to
	}
	if w.position < next {
		w.draft.Skip(w.position, next, sink.SkipCompacted)
		w.position = next
	}
	if w.since.IsZero() {
		w.since = w.c.Now()
	}
}

func fingerprint(m *broker.Message) *sink.Fingerprint {
	return &sink.Fingerprint{Offset: m.Offset, Key: string(m.Key), Timestamp: m.Timestamp, CRC32C: checksum(m), Epoch: m.Epoch}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(m *broker.Message) uint32 {
	return crc32.Update(crc32.Checksum(m.Key, castagnoli), castagnoli, m.Value)
}
