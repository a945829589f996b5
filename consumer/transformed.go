package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/sink"
)

// places say where each row of a batch comes from. They are kept where steps may leave
// rows out, or fail.
type places struct {
	on      bool
	offsets []int64
	times   []int64 // of the messages, ms
	lines   []int64 // 0 where unknown
	streams []schema.StreamID
	sources []string
}

func (p *places) reset(on bool) {
	p.on = on
	p.offsets, p.times, p.lines = p.offsets[:0], p.times[:0], p.lines[:0]
	p.streams, p.sources = p.streams[:0], p.sources[:0]
}

func (p *places) add(m *broker.Message, o *origin, stream schema.StreamID) {
	p.offsets, p.times, p.lines = append(p.offsets, m.Offset), append(p.times, m.Timestamp), append(p.lines, o.line)
	p.streams, p.sources = append(p.streams, stream), append(p.sources, o.source)
}

// records makes the batch's records, which the draft is to be committed with.
func (w *worker) records(ctx context.Context) (*sink.Records, error) {
	b := &w.batch
	if len(b.recipe.steps) == 0 || b.rows == 0 {
		return b.records(nil), nil
	}
	program, err := b.recipe.program(b.schema)
	if err != nil {
		return nil, err
	}
	in := &transform.Batch{Rows: b.rows}
	for _, f := range b.schema.Fields {
		if c := b.byName[f.Name]; c != nil && f.Type.Kind != schema.Unknown {
			in.Columns = append(in.Columns, transform.Column{Name: f.Name, Vector: &c.values})
		}
	}
	made := program.Run(in)
	w.made = float64(program.Bytes()) / float64(max(1, b.bytes))
	filtered := make([]int64, len(made.Filtered))
	for i, row := range made.Filtered {
		filtered[i] = b.places.offsets[row]
	}
	w.draft.Filter(filtered)
	if err := w.failed(ctx, made.Failed); err != nil {
		return nil, err
	}
	return b.records(made), nil
}

// failed puts rows that a step has failed for into quarantine.
func (w *worker) failed(ctx context.Context, failures []transform.Failure) error {
	if len(failures) == 0 {
		return nil
	}
	b := &w.batch
	raw := map[int64][]byte{}
	if !b.recipe.masks {
		offsets := make([]int64, len(failures))
		for i, f := range failures {
			offsets[i] = b.places.offsets[f.Row]
		}
		if err := w.values(ctx, offsets, raw); err != nil {
			return err
		}
	}
	for _, f := range failures {
		p := &b.places
		offset := p.offsets[f.Row]
		q := sink.QuarantineRow{
			Raw: raw[offset], Source: p.sources[f.Row], Stream: p.streams[f.Row].String(), Row: b.numbers[f.Row], Line: p.lines[f.Row], BytesFrom: sink.Unknown, BytesTo: sink.Unknown,
			Topic: w.c.Topic.Name, Partition: int64(w.partition), Offset: offset, Stage: "transform", Rule: f.Rule, Column: f.Column, Message: f.Message,
			SchemaVersion: sink.Unknown, At: time.UnixMilli(p.times[f.Row]),
		}
		if p.streams[f.Row] == (schema.StreamID{}) { // known by its offset alone
			q.Stream, q.Row = "", sink.Unknown
		}
		if q.Line == 0 {
			q.Line = sink.Unknown
		}
		b.quarantine = append(b.quarantine, q)
		b.unfit.Stream = append(b.unfit.Stream, b.streams[f.Row])
		b.unfit.Row = append(b.unfit.Row, b.numbers[f.Row])
	}
	return nil
}

// values reads the messages at some offsets again, which ascend: the batch has not kept
// their text. What the topic does not have any more is left out.
func (w *worker) values(ctx context.Context, offsets []int64, into map[int64][]byte) error {
	var f broker.Fetch
	for len(offsets) > 0 {
		o := broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: time.Second, MinBytes: 1, ReadCommitted: true}
		err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, offsets[0], o, &f)
		var outside *broker.OffsetOutOfRange
		if errors.As(err, &outside) {
			if offsets[0] >= outside.Start {
				return nil
			}
			for len(offsets) > 0 && offsets[0] < outside.Start {
				offsets = offsets[1:]
			}
			continue
		}
		if err != nil {
			return err
		}
		var m broker.Message
		for f.Next(&m) && len(offsets) > 0 {
			for len(offsets) > 0 && offsets[0] < m.Offset {
				offsets = offsets[1:]
			}
			if len(offsets) > 0 && offsets[0] == m.Offset {
				into[m.Offset] = slices.Clone(m.Value)
				offsets = offsets[1:]
			}
		}
		if err := f.Err(); err != nil {
			return err
		}
		if len(offsets) > 0 && f.End() <= offsets[0] {
			offsets = offsets[1:]
		} else {
			for len(offsets) > 0 && offsets[0] < f.End() {
				offsets = offsets[1:]
			}
		}
	}
	return nil
}

// made are the columns that a program has made, as the table has them.
func (b *batch) made(result *transform.Result) (out []sink.Column) {
	for _, f := range b.table.Fields {
		if f.Type.Kind == schema.Unknown {
			continue
		}
		v := &schema.Vector{}
		v.Reset(f.Type)
		for _, c := range result.Columns {
			if c.Name == f.Name && c.Vector.Type.Kind != schema.Unknown {
				if v = c.Vector; v.Type != f.Type { // a decimal with fewer digits, or written otherwise
					same := *v
					same.Type = f.Type
					v = &same
				}
			}
		}
		out = append(out, sink.Column{Name: f.Name, Type: f.Type, Vector: v})
	}
	return out
}

// rescuedOf counts the rescued cells of some rows, which ascend.
func rescuedOf(r *sink.Rescues, rows []int32) (n int64) {
	i := 0
	for at := range r.Len() {
		row, _, _ := r.Cell(at)
		for i < len(rows) && int(rows[i]) < row {
			i++
		}
		if i < len(rows) && int(rows[i]) == row {
			n++
		}
	}
	return n
}
