package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// message takes one message into the batch.
func (w *worker) message(ctx context.Context, m *broker.Message) error {
	stream, number, ours := wire.ParseKey(m.Key)
	if m.FirstOfBatch || len(m.Headers) > 0 {
		w.origin.read(m, stream, m.FirstOfBatch)
	}
	if !ours {
		w.draft.Foreign(m.Offset)
		return w.foreign(m)
	}
	if m.Value == nil {
		return w.end(m, stream, number)
	}
	verdict, err := w.draft.Row(stream, number)
	if err != nil {
		return err
	}
	rule := header(m, wire.Reject)
	if verdict != sink.Fresh {
		reason := sink.SkipDuplicate
		if verdict == sink.Conflict {
			reason = sink.SkipConflict
			if w.c.Events.Conflict != nil {
				w.c.Events.Conflict(w.partition, m.Offset, stream, number)
			}
		}
		w.draft.Skip(m.Offset, m.Offset+1, reason)
		if rule == nil {
			w.origin.pass(m.Value, true)
		}
		return nil
	}
	return w.accept(ctx, m, stream, number)
}

// accept takes a row or reject that is new to the table.
func (w *worker) accept(ctx context.Context, m *broker.Message, stream schema.StreamID, number int64) error {
	if !w.origin.known || w.origin.stream != stream {
		if err := w.lookBack(ctx, m, stream); err != nil {
			return err
		}
	}
	rule := header(m, wire.Reject)
	if rule == nil {
		return w.row(m, m.Value, stream, number)
	}
	value, why := w.resplit(m, string(rule))
	if value == nil {
		w.reject(m, stream, number, string(rule), why)
		return nil
	}
	err := w.row(m, value, stream, number)
	w.origin.line = 0 // as behind every reject
	return err
}

// resplit makes a row of a reject, where the configuration says something of its
// source's form by which it is one; nil where not, and why.
func (w *worker) resplit(m *broker.Message, rule string) (value []byte, why string) {
	form := w.batch.recipe.csv
	if form.IsZero() && !w.again {
		return nil, ""
	}
	r := csv.Reject{Rule: rule, Raw: m.Value}
	if text := header(m, wire.Dialect); text == nil {
		return nil, "how it was split was not sent with it, so that it cannot be split again: send the source again under another name (--source-name URI)"
	} else if err := json.Unmarshal(text, &r.Dialect); err != nil {
		return nil, err.Error()
	}
	if !form.Mends(rule, r.Dialect) {
		if w.again {
			why = csv.Remedy(rule)
		}
		return nil, why
	}
	if from, to, err := wire.ParseRange(header(m, wire.Bytes)); err == nil {
		r.Whole = to-from-int64(len(m.Value)) <= int64(len("\r\n"))
	}
	if w.origin.named {
		if names, err := wire.ParseNames(w.origin.header); err == nil {
			r.Width = len(names)
		}
	}
	value, err := form.Resplit([]byte{}, r)
	if err != nil {
		return nil, "csv: of the configuration makes no row of it, as " + err.Error() + ": send the source again under another name (--source-name URI)"
	}
	return value, ""
}

// row types a row and adds it, or puts it into quarantine. value is the message's, or
// what a reject is as a record.
func (w *worker) row(m *broker.Message, value []byte, stream schema.StreamID, number int64) error {
	w.batch.bytes += len(value)
	cells, err := w.splitter.Split(value)
	if err != nil {
		w.quarantine(m, stream, number, "parse", "not_csv", "the message's value is "+err.Error())
		w.origin.pass(value, true)
		return nil
	}
	quoted := slices.ContainsFunc(cells, func(c wire.Cell) bool { return c.Quoted })
	if w.origin.layout == nil || !w.origin.named && len(w.origin.layout.columns) != len(cells) {
		if err := w.layout(len(cells)); err != nil {
			return err
		}
	}
	err = w.typed(m, stream, number, w.origin.layout, cells, w.at)
	w.origin.pass(value, quoted)
	return err
}

// typed adds a row, unless something is to keep it out. number is negative where the row
// is known by its offset alone.
func (w *worker) typed(m *broker.Message, stream schema.StreamID, number int64, l *layout, cells []wire.Cell, at func() schema.Witness) error {
	var extra []wire.Cell
	if want := len(l.columns); len(cells) != want && l.refused == nil {
		d := schema.Deviation{Kind: schema.CellCount, Policy: w.batch.contract.CellCount(), First: witness(nil, at)}
		if d.Policy == schema.PolicyRescue && w.batch.recipe.masks {
			d.Policy = schema.PolicyReject // which of its cells is to be masked is not known
		}
		switch d.Policy {
		case schema.PolicyFreeze:
			return d.Err()
		case schema.PolicyReject:
			w.quarantine(m, stream, number, "parse", string(d.Kind), fmt.Sprintf("the row has %d cells, its header %d", len(cells), want))
			return nil
		}
		if len(cells) > want {
			cells, extra = cells[:want], cells[want:]
		}
		for len(cells) < want {
			cells = append(cells, wire.Cell{})
		}
	}
	if d := w.batch.refuse(l, cells, at); d != nil {
		if d.Policy == schema.PolicyFreeze {
			return d.Err()
		}
		w.quarantine(m, stream, number, "schema", string(d.Kind), d.Message())
		w.batch.quarantine[len(w.batch.quarantine)-1].Column = d.Column
		w.batch.deviate(*d, []byte(d.First.Text), at)
		return nil
	}
	w.batch.add(l, cells, at)
	w.batch.surplus(len(cells), extra, at)
	if b := &w.batch; len(b.streams) == cap(b.streams) {
		size, _ := w.limits()
		b.growIDs(size)
	}
	id, row := identity(m, stream, number)
	w.batch.streams = append(w.batch.streams, id)
	w.batch.numbers = append(w.batch.numbers, row)
	if w.batch.places.on {
		w.batch.places.add(m, &w.origin, stream)
	}
	if w.batch.meta != nil {
		w.batch.meta.add(w.origin.source, number, m.Offset, m.Timestamp)
	}
	return nil
}

// identity is what tells a row from all others, as the files' hashes take it: its stream
// and number, or its offset alone.
func identity(m *broker.Message, stream schema.StreamID, number int64) (id uint64, row int64) {
	if number < 0 {
		return 0, m.Offset
	}
	return stream.Hash64(), number
}

// layout finds the columns for rows of the present origin.
func (w *worker) layout(width int) (err error) {
	if !w.origin.named {
		w.origin.layout = w.batch.numbered(width)
		return nil
	}
	w.origin.layout, err = w.batch.named(w.origin.header)
	return err
}

// lookBack finds the headers of a stream whose record batch began before the
// offset that was asked for, or was made anew without them by a mirror.
func (w *worker) lookBack(ctx context.Context, m *broker.Message, stream schema.StreamID) error {
	var f broker.Fetch
	for back := int64(1); ; back *= 4 {
		from := max(0, m.Offset-back)
		found, err := w.originBefore(ctx, &f, from, m.Offset, stream)
		if err != nil {
			return err
		}
		if found {
			return nil
		}
		if from == 0 {
			break
		}
	}
	// Without headers the row's cells are kept under numbered columns.
	w.origin = origin{known: true, stream: stream}
	return nil
}

// originBefore reads from..to for the last headers of a stream.
func (w *worker) originBefore(ctx context.Context, f *broker.Fetch, from, to int64, stream schema.StreamID) (found bool, err error) {
	for from < to {
		o := broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: time.Second, MinBytes: 1, WholeBatches: true}
		var outside *broker.OffsetOutOfRange
		err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, from, o, f)
		if errors.As(err, &outside) && outside.Start > from && outside.Start <= to {
			// Where the log was cut off inside a record batch, brokers keep all of it.
			from = outside.Start
			err = w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, from, o, f)
		}
		if err != nil {
			return found, err
		}
		var m broker.Message
		for f.Next(&m) && m.Offset < to {
			id, _, ours := wire.ParseKey(m.Key)
			if !ours || id != stream {
				continue
			}
			if len(m.Headers) > 0 {
				w.origin.read(&m, id, false)
				found = found || w.origin.known && w.origin.stream == stream
			}
			if found && header(&m, wire.Reject) == nil && m.Value != nil {
				w.origin.pass(m.Value, true)
			}
		}
		if err := f.Err(); err != nil {
			return found, err
		}
		if f.End() <= from {
			return found, nil
		}
		from = f.End()
	}
	return found, nil
}

// end takes the end of a stream.
func (w *worker) end(m *broker.Message, stream schema.StreamID, count int64) error {
	verdict, err := w.draft.End(stream, count, string(header(m, wire.Status)), string(header(m, wire.Hash)))
	if err != nil {
		return err
	}
	switch verdict {
	case sink.Duplicate:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipDuplicate)
	case sink.Conflict:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipConflict)
		if w.c.Events.Conflict != nil {
			w.c.Events.Conflict(w.partition, m.Offset, stream, count)
		}
	}
	return nil
}

// reject puts bytes that could not be split into a row into quarantine. why is what
// there is to say besides the rule.
func (w *worker) reject(m *broker.Message, stream schema.StreamID, number int64, rule, why string) {
	w.batch.bytes += len(m.Value)
	message := string(header(m, wire.Message))
	if why != "" {
		message += "; " + why
	}
	w.quarantine(m, stream, number, "split", rule, message)
	q := &w.batch.quarantine[len(w.batch.quarantine)-1]
	if at := header(m, wire.At); at != nil {
		if _, line, err := wire.ParseAt(at); err == nil {
			q.Line = line
		}
	}
	if r := header(m, wire.Bytes); r != nil {
		if from, to, err := wire.ParseRange(r); err == nil {
			q.BytesFrom, q.BytesTo = from, to
		}
	}
	w.origin.line = 0 // the next row says where it is
}

// quarantine keeps a message that cannot become a record.
func (w *worker) quarantine(m *broker.Message, stream schema.StreamID, number int64, stage, rule, message string) {
	q := sink.QuarantineRow{
		Raw: slices.Clone(m.Value), Source: w.origin.source, Row: number, Line: w.origin.line, BytesFrom: sink.Unknown, BytesTo: sink.Unknown,
		Topic: w.c.Topic.Name, Partition: int64(w.partition), Offset: m.Offset, Stage: stage, Rule: rule, Message: message,
		SchemaVersion: sink.Unknown, At: time.UnixMilli(m.Timestamp),
	}
	if w.batch.recipe.masks {
		q.Raw = nil // it can be read from the topic again
	}
	if number >= 0 {
		q.Stream = stream.String()
	}
	if q.Line == 0 {
		q.Line = sink.Unknown
	}
	w.batch.quarantine = append(w.batch.quarantine, q)
	id, row := identity(m, stream, number)
	w.batch.unfit.Stream = append(w.batch.unfit.Stream, id)
	w.batch.unfit.Row = append(w.batch.unfit.Row, row)
}

func header(m *broker.Message, key string) []byte {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return nil
}
