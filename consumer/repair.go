package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/sink"
)

// maxRepairs is how often files are made again that vanish before they are
// visible, until the chain can be opened.
const maxRepairs = 5

// openChain opens the chain, and makes lost files of its last record again.
func (w *worker) openChain(ctx context.Context) (sink.State, error) {
	for try := 0; ; try++ {
		if err := w.route(ctx); err != nil {
			return sink.State{}, err
		}
		state, err := w.chain.Open(ctx)
		if err == nil && state.Closed > 0 {
			if err := w.closed(ctx, state); err != nil {
				return state, err
			}
			continue
		}
		var lost *sink.LostError
		if !errors.As(err, &lost) || try == maxRepairs {
			return state, err
		}
		if err := w.mend(ctx, lost); err != nil {
			return state, err
		}
	}
}

// mend makes lost files again, also those of a chain that a reset must pass, or
// gives them up. The chain is to be opened again.
func (w *worker) mend(ctx context.Context, lost *sink.LostError) error {
	if lost.Partition != w.partition {
		_, err := w.c.worker(lost.Partition, w.process, w.hint).openChain(ctx)
		return err
	}
	present, err := w.view(ctx, sink.State{})
	if err != nil {
		return err
	}
	gone := unreadable(lost.Rows, present)
	switch {
	case gone == nil:
		return w.repair(ctx, lost)
	case w.c.OnDataLoss != Record:
		return lost.Because(gone)
	}
	outcome, err := w.chain.GiveUp(ctx)
	if err == nil && outcome == sink.Decided {
		w.c.Events.gap(Gap{Partition: w.partition, From: lost.Rows.From, To: lost.Rows.To, Files: lost.Keys(), Rows: lost.RowCount()})
	}
	return err
}

// unreadable says why the offsets of a record cannot be read any more, nil if they
// can.
func unreadable(r *sink.Record, present sink.LogView) error {
	switch from := firstRead(r); {
	case present.Log != r.Log:
		return fmt.Errorf("the topic was deleted and made again: its id is %s, the rows are of %s", present.Log, r.Log)
	case present.Start > from && from < r.To:
		return fmt.Errorf("the topic partition begins at offset %d now", present.Start)
	case present.End < r.To:
		return fmt.Errorf("the topic partition ends at offset %d now", present.End)
	}
	return nil
}

// firstRead is the first offset of a record that was there to be read.
func firstRead(r *sink.Record) int64 {
	from := r.From
	for _, s := range r.Skipped {
		if s.From == from && s.Reason == sink.SkipRetention {
			from = s.To
		}
	}
	return from
}

// repair makes lost files again from the messages that they were made of, and
// commits them in their place.
func (w *worker) repair(ctx context.Context, lost *sink.LostError) error {
	draft, err := w.chain.BeginRepair(ctx)
	if err != nil {
		return err
	}
	remake := w.remake
	if lost.Rows.Kind == sink.KindReplay {
		remake = w.remakeReplay
	}
	records, err := remake(ctx, draft, lost.Rows)
	if err != nil {
		return fmt.Errorf("make files of record %d again: %w", lost.Seq, err)
	}
	if err := w.checkTopic(ctx); err != nil {
		return err
	}
	done, err := w.writer.Repair(ctx, draft, records)
	var again *sink.LostError
	if errors.As(err, &again) && again.Reason == nil {
		return nil // decided, and its own files are lost: they are made by the next repair
	}
	if err == nil && done.Outcome == sink.Decided {
		w.c.Events.repaired(w.partition, lost.Seq, lost.Keys())
	}
	return err
}

// remake takes the messages of a record into a draft and into the batch, typed as
// they were then.
func (w *worker) remake(ctx context.Context, draft *sink.Draft, rows *sink.Record) (*sink.Records, error) {
	if err := w.prepare(ctx, rows); err != nil {
		return nil, err
	}
	if err := w.reread(ctx, draft, rows, func(m *broker.Message) error { return w.message(ctx, m) }); err != nil {
		return nil, err
	}
	return w.remade(ctx, rows)
}

// prepare empties the batch for rows typed as those of a record.
func (w *worker) prepare(ctx context.Context, rows *sink.Record) error {
	made, err := w.recipeOf(ctx, rows)
	if err != nil {
		return err
	}
	var typed *schema.Schema
	if rows.Schema > 0 {
		if typed, err = w.table.Schemas().Get(ctx, rows.Schema); err != nil {
			return err
		}
	}
	w.batch.reset(typed, made)
	return nil
}

// remade is the batch that was made again for a record.
func (w *worker) remade(ctx context.Context, rows *sink.Record) (*sink.Records, error) {
	records, err := w.records(ctx)
	if err != nil {
		return nil, err
	}
	records.Log, records.To = rows.Log, w.position
	return records, nil
}

// reread reads the messages of a record again, for a draft that begins where the
// record does, and gives each to take.
func (w *worker) reread(ctx context.Context, draft *sink.Draft, rows *sink.Record, take func(*broker.Message) error) error {
	w.log, w.draft, w.position, w.origin = rows.Log, draft, firstRead(rows), origin{}
	if w.position > rows.From {
		draft.Skip(rows.From, w.position, sink.SkipRetention)
	}
	for w.position < rows.To {
		o := broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: time.Second, MinBytes: 1, ReadCommitted: true}
		if err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, w.position, o, &w.fetch); err != nil {
			return err
		}
		before := w.position
		var m broker.Message
		for w.fetch.Next(&m) {
			w.skipTo(min(m.Offset, rows.To))
			if m.Offset >= rows.To {
				break
			}
			if err := take(&m); err != nil {
				return fmt.Errorf("offset %d: %w", m.Offset, err)
			}
			w.position = m.Offset + 1
		}
		if err := w.fetch.Err(); err != nil {
			return fmt.Errorf("read at offset %d: %w", w.position, err)
		}
		w.skipTo(min(w.fetch.End(), rows.To))
		if w.position == before {
			return fmt.Errorf("nothing can be read at offset %d", w.position)
		}
	}
	return nil
}
