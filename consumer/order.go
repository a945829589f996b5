package consumer

import (
	"context"

	"lakefeed/broker"
	"lakefeed/schema/wire"
	"lakefeed/sink/raw"
)

// keep notes where a message stands, and the hash of a row.
func (w *worker) keep(m *broker.Message) {
	stream, number, ours := wire.ParseKey(m.Key)
	run := raw.Run{Offset: m.Offset, Stream: stream, Row: number, At: m.Timestamp, Epoch: m.Epoch}
	switch {
	case !ours:
		w.order.Other(raw.Run{Offset: m.Offset, At: m.Timestamp, Epoch: m.Epoch, Foreign: true})
	case m.Value == nil:
		run.End, run.Source, run.Status, run.Hash = true, string(header(m, wire.Source)), string(header(m, wire.Status)), string(header(m, wire.Hash))
		w.order.Other(run)
	default:
		var hi, lo uint64
		hi, lo, w.hashing = wire.RowHash(w.hashing, m.Key, m.Value)
		w.order.Row(run, m.FirstOfBatch, hi, lo)
	}
}

// keepOrder writes the order of the batch's messages, before the batch is decided: no
// row is in the table whose place is not kept.
func (w *worker) keepOrder(ctx context.Context) error {
	if w.c.Raw == nil || w.ordered == w.position {
		return nil
	}
	if l, ok := w.c.Source.(*rawLog); ok && l.keeps(w.partition, w.ordered, w.position) {
		return nil
	}
	return w.c.Raw.KeepOrder(ctx, w.log, w.partition, w.ordered, w.position, &w.order)
}
