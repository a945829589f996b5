package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lakefeed/broker"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// Replayed is what became of rows that were in quarantine.
type Replayed struct {
	Chosen   int64 // rows that were to be taken again
	Rows     int64 // of them, those that are in the table now
	Filtered int64 // those that the feed leaves out now
	Still    int64 // those that are in quarantine again, or still
	Gone     int64 // those that the topic does not have any more, which are in quarantine still
	Rescued  int64 // cells
	Causes   []Cause
	// GoneAt is the first offset of those that are gone, and its topic partition.
	GoneAt        int64
	GonePartition int
}

func (r *Replayed) add(o Replayed) {
	if r.Gone == 0 {
		r.GoneAt, r.GonePartition = o.GoneAt, o.GonePartition
	}
	r.Chosen, r.Rows, r.Filtered, r.Still, r.Gone, r.Rescued = r.Chosen+o.Chosen, r.Rows+o.Rows, r.Filtered+o.Filtered, r.Still+o.Still, r.Gone+o.Gone, r.Rescued+o.Rescued
	r.Causes = mergeCauses(r.Causes, o.Causes)
}

func mergeCauses(all, more []Cause) []Cause {
	for _, c := range more {
		i := slices.IndexFunc(all, func(o Cause) bool { return o.Rule == c.Rule })
		if i < 0 {
			all = append(all, c)
			continue
		}
		all[i].Rows += c.Rows
	}
	return all
}

const (
	// replayBytes is how much of the quarantine is taken again at a time; one file is
	// if it is larger.
	replayBytes = 16 << 20
	// replayTries is how often a replay loses its place in a chain to others.
	replayTries = 50
)

// Replay takes rows out of the quarantine again, as they are in the topic, and types
// them as the consumer would now: those that become records go to the table, the others
// stay. A row keeps its identity, and is in one place all the time: one record of its
// chain says where it is now, and which files of the quarantine that replaces. Those
// that choose does not want stay as they are. It may run beside consumers.
func (c *Consumer) Replay(ctx context.Context, choose func(*sink.QuarantineRow) bool) (Replayed, error) {
	var all Replayed
	if err := c.Validate(); err != nil {
		return all, err
	}
	for p := range min(c.Topic.Partitions, c.Table.Partitions()) {
		w := c.worker(p, ctx, func(context.Context, map[int]int64) error { return nil })
		done, err := w.replayAll(ctx, choose)
		all.add(done)
		if err != nil {
			return all, fmt.Errorf("replay the quarantine of %s/%d: %w", c.Topic.Name, p, err)
		}
	}
	return all, nil
}

// replayAll goes through the quarantine of one topic partition.
func (w *worker) replayAll(ctx context.Context, choose func(*sink.QuarantineRow) bool) (all Replayed, err error) {
	tried := map[int64]bool{} // offsets, which are taken again once whatever becomes of them
	fresh := func(q *sink.QuarantineRow) bool { return !tried[q.Offset] && choose(q) }
	for tries := 0; ; {
		if err := w.open(ctx); err != nil {
			return all, err
		}
		err := w.replayFiles(ctx, fresh, tried, &all)
		if !errors.Is(err, errAgain) {
			return all, err
		}
		if tries++; tries == replayTries {
			return all, fmt.Errorf("others were first to write the chain's next record %d times: stop the consumers for a moment", tries)
		}
	}
}

func (w *worker) replayFiles(ctx context.Context, choose func(*sink.QuarantineRow) bool, tried map[int64]bool, all *Replayed) error {
	files, err := w.table.QuarantineFiles(ctx, w.partition)
	if err != nil {
		return err
	}
	for len(files) > 0 {
		var some []sink.File
		var rows []sink.QuarantineRow
		for size := int64(0); len(files) > 0 && (len(some) == 0 || size+files[0].Size <= replayBytes); files = files[1:] {
			f := files[0]
			more, err := w.table.ReadQuarantine(ctx, f)
			if errors.Is(err, sink.ErrNotExist) {
				return errAgain // another replay has retired it
			}
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(more, func(q sink.QuarantineRow) bool { return choose(&q) }) {
				continue
			}
			some, rows, size = append(some, f), append(rows, more...), size+f.Size
		}
		if len(some) == 0 {
			continue
		}
		chosen, kept := part(rows, choose)
		done, err := w.replay(ctx, some, chosen, kept)
		if err != nil && !done.settled {
			return err
		}
		for i := range chosen {
			tried[chosen[i].Offset] = true
		}
		all.add(done.Replayed)
		if err != nil {
			return err
		}
	}
	return nil
}

// part tells rows that are chosen from the others.
func part(rows []sink.QuarantineRow, choose func(*sink.QuarantineRow) bool) (chosen, kept []sink.QuarantineRow) {
	for i := range rows {
		if choose(&rows[i]) {
			chosen = append(chosen, rows[i])
		} else {
			kept = append(kept, rows[i])
		}
	}
	return chosen, kept
}

// replayed is what became of some files' rows; settled says that it will not change.
type replayed struct {
	Replayed
	settled bool
}

// replay takes the chosen rows of some files again, and commits what became of all
// rows of the files.
func (w *worker) replay(ctx context.Context, files []sink.File, chosen, kept []sink.QuarantineRow) (done replayed, err error) {
	latest, err := w.table.Schemas().Latest(ctx)
	if err != nil {
		return done, err
	}
	if err := w.recipe.contract.Check(latest.Feed()); err != nil {
		return done, err
	}
	w.batch.reset(latest, w.recipe)
	done.Chosen = int64(len(chosen))
	taken, gone, err := w.takeAgain(ctx, chosen)
	if err != nil {
		return done, err
	}
	if done.Gone = int64(len(gone)); done.Gone > 0 {
		done.GoneAt, done.GonePartition = gone[0].Offset, w.partition
	}
	done.Still, done.Causes = int64(len(w.batch.quarantine)), causes(w.batch.quarantine)
	if w.batch.rows == 0 {
		done.settled = true
		return done, nil // nothing would be elsewhere
	}
	if err := w.checkTopic(ctx); err != nil {
		return done, err
	}
	if err := w.settle(ctx); err != nil {
		return done, err
	}
	draft := w.chain.BeginReplay(files, sink.Ranges(taken))
	records, err := w.withKept(ctx, draft, slices.Concat(kept, gone))
	if err != nil {
		return done, err
	}
	done.Rows, done.Filtered, done.Rescued = int64(records.Kept()), draft.Filtered(), records.Rescues
	done.Still, done.Causes = int64(len(w.batch.quarantine)), causes(w.batch.quarantine)
	if done.Rows+done.Filtered == 0 {
		done.settled = true
		return done, nil
	}
	records.Log, records.To = w.log, draft.From()
	committed, err := w.writer.Replay(ctx, draft, records)
	var lost *sink.LostError
	done.settled = err == nil && committed.Outcome == sink.Decided || errors.As(err, &lost)
	if lost != nil || err == nil && !done.settled {
		return done, errAgain // lost files are made again when the chain is opened
	}
	if err != nil {
		return done, err
	}
	w.tell(w.batch.deviations)
	return done, nil
}

// withKept is the batch with the rows that stay in quarantine as they are, counted for
// a draft.
func (w *worker) withKept(ctx context.Context, draft *sink.Draft, kept []sink.QuarantineRow) (*sink.Records, error) {
	w.draft = draft
	records, err := w.records(ctx)
	if err != nil {
		return nil, err
	}
	records.Quarantine = append(records.Quarantine, kept...)
	ids := sink.QuarantineIDs(kept)
	records.QuarantineIDs.Stream = append(records.QuarantineIDs.Stream, ids.Stream...)
	records.QuarantineIDs.Row = append(records.QuarantineIDs.Row, ids.Row...)
	draft.Put(int64(records.Kept()+len(records.Quarantine)) + draft.Filtered())
	return records, nil
}

// takeAgain reads the messages of quarantined rows and takes them into the batch. taken
// are their offsets; gone are the rows whose message is not in the topic any more.
func (w *worker) takeAgain(ctx context.Context, rows []sink.QuarantineRow) (taken []int64, gone []sink.QuarantineRow, err error) {
	w.again = true
	defer func() { w.again = false }()
	slices.SortStableFunc(rows, func(a, b sink.QuarantineRow) int { return int(min(1, max(-1, a.Offset-b.Offset))) })
	err = w.readAt(ctx, rows, func(q *sink.QuarantineRow, m *broker.Message) error {
		if m == nil || !isRow(q, m) {
			gone = append(gone, *q)
			return nil
		}
		taken = append(taken, m.Offset)
		if q.Line != sink.Unknown {
			w.origin.line = q.Line
		}
		return w.takeOne(ctx, m)
	})
	return taken, gone, err
}

// takeOne takes a message that an earlier record has accounted for into the batch.
func (w *worker) takeOne(ctx context.Context, m *broker.Message) error {
	stream, number, ours := wire.ParseKey(m.Key)
	if !ours {
		return w.foreign(m)
	}
	return w.accept(ctx, m, stream, number)
}

// isRow says whether a message is that of a quarantined row. A topic that was made
// again has others at the same offsets.
func isRow(q *sink.QuarantineRow, m *broker.Message) bool {
	stream, number, ours := wire.ParseKey(m.Key)
	if !ours {
		return q.Row < 0 && (q.Raw == nil || bytes.Equal(q.Raw, m.Value))
	}
	return m.Value != nil && q.Row == number && q.Stream == stream.String()
}

// readAt reads the messages of rows, which are in the order of their offsets, and gives
// each with its row: nil where there is none. The origin is that of the message.
func (w *worker) readAt(ctx context.Context, rows []sink.QuarantineRow, take func(*sink.QuarantineRow, *broker.Message) error) error {
	start, end, err := w.c.Source.Offsets(ctx, w.c.Topic.Name, w.partition)
	if err != nil {
		return err
	}
	for len(rows) > 0 {
		q := &rows[0]
		if q.Offset < start || q.Offset >= end {
			if err := take(q, nil); err != nil {
				return err
			}
			rows = rows[1:]
			continue
		}
		o := broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: time.Second, MinBytes: 1, WholeBatches: true}
		if err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, q.Offset, o, &w.fetch); err != nil {
			return err
		}
		w.origin = origin{}
		var m broker.Message
		for len(rows) > 0 && w.fetch.Next(&m) {
			for len(rows) > 0 && rows[0].Offset < m.Offset { // compacted
				if err := take(&rows[0], nil); err != nil {
					return err
				}
				rows = rows[1:]
			}
			stream, _, _ := wire.ParseKey(m.Key)
			if m.FirstOfBatch || len(m.Headers) > 0 {
				w.origin.read(&m, stream, m.FirstOfBatch)
			}
			switch {
			case len(rows) > 0 && rows[0].Offset == m.Offset:
				if err := take(&rows[0], &m); err != nil {
					return fmt.Errorf("offset %d: %w", m.Offset, err)
				}
				rows = rows[1:]
			case m.Value != nil && header(&m, wire.Reject) == nil:
				w.origin.pass(m.Value, true)
			}
		}
		if err := w.fetch.Err(); err != nil {
			return fmt.Errorf("read at offset %d: %w", q.Offset, err)
		}
		for len(rows) > 0 && rows[0].Offset < w.fetch.End() {
			if err := take(&rows[0], nil); err != nil {
				return err
			}
			rows = rows[1:]
		}
		if w.fetch.End() <= q.Offset {
			return fmt.Errorf("nothing can be read at offset %d", q.Offset)
		}
	}
	return nil
}

// remakeReplay makes the rows of a replay again, from the topic and the files that it
// retires: these are there until its own are visible.
func (w *worker) remakeReplay(ctx context.Context, draft *sink.Draft, replay *sink.Record) (*sink.Records, error) {
	if err := w.prepare(ctx, replay); err != nil {
		return nil, err
	}
	w.log, w.position = replay.Log, replay.To
	var chosen, kept []sink.QuarantineRow
	for _, f := range replay.Retires {
		rows, err := w.table.ReadQuarantine(ctx, sink.File{Key: f.Key, Rows: f.Rows})
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if slices.ContainsFunc(replay.Offsets, func(r sink.Range) bool { return r[0] <= rows[i].Offset && rows[i].Offset < r[1] }) {
				chosen = append(chosen, rows[i])
			} else {
				kept = append(kept, rows[i])
			}
		}
	}
	_, gone, err := w.takeAgain(ctx, chosen)
	if err == nil && len(gone) > 0 {
		err = fmt.Errorf("the topic has %d of its rows no more, the first at offset %d", len(gone), gone[0].Offset)
	}
	if err != nil {
		return nil, err
	}
	records, err := w.withKept(ctx, draft, kept)
	if err != nil {
		return nil, err
	}
	records.Log, records.To = replay.Log, replay.To
	return records, nil
}
