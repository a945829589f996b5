package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"

	"lakefeed/schema"
)

// Retired is a file of the quarantine that a replay took out of it.
type Retired struct {
	Key  string `json:"key"`
	Rows int64  `json:"rows"`
	Size int64  `json:"size"` // bytes
}

// replay is what a draft has besides when it takes rows out of the quarantine.
type replay struct {
	retires []Retired
	offsets []Range
}

// checkReplay checks what a record of kind replay has besides others.
func (r *Record) checkReplay() error {
	if r.Kind != KindReplay {
		switch {
		case len(r.Offsets) > 0:
			return fmt.Errorf("a record of kind %s has offsets of a replay", r.Kind)
		case len(r.Retires) > 0 && r.Kind != KindRepair && r.Kind != KindGap:
			return fmt.Errorf("a record of kind %s retires files", r.Kind)
		}
		return nil
	}
	if len(r.Retires) == 0 || len(r.Offsets) == 0 || len(r.Streams) > 0 || len(r.Skipped) > 0 {
		return errors.New("a replay retires no files, takes no offsets, or has streams or skipped offsets of its own")
	}
	end := int64(-1)
	for _, o := range r.Offsets {
		if o[0] <= end || o[1] <= o[0] {
			return fmt.Errorf("replayed offsets %d to %d are out of order", o[0], o[1])
		}
		end = o[1]
	}
	have, want := int64(0), r.Counts.Filtered
	for _, f := range r.Retires {
		have += f.Rows
	}
	for _, f := range r.Files {
		want += f.Rows
	}
	if have != want {
		return fmt.Errorf("a replay retires %d rows, and accounts for %d", have, want)
	}
	return nil
}

// BeginReplay starts to take rows out of the quarantine: files are those that have
// them, offsets where the topic has the rows that are taken again. All rows of the files
// have to be in the draft's own: those that are records now, and the others, which
// stay in quarantine. The chain must be open.
func (c *Chain) BeginReplay(files []File, offsets []Range) *Draft {
	d := c.Begin()
	d.replay = &replay{offsets: offsets}
	for _, f := range files {
		d.replay.retires = append(d.replay.retires, Retired{Key: f.Key, Rows: f.Rows, Size: f.Size})
	}
	return d
}

// Put takes rows into a draft of BeginReplay, or of its repair: they were accepted by
// an earlier record, so that nothing is asked of their streams.
func (d *Draft) Put(rows int64) { d.accepted += rows }

// Replay decides a draft of BeginReplay: a record of kind replay lists the new files,
// and those of the quarantine that they take the place of, which are removed once the
// new ones are visible. As with Commit, after Lost or an error the chain must be opened
// again.
func (c *Chain) Replay(ctx context.Context, d *Draft, in Commit) (Outcome, error) {
	outcome, err := c.commitReplay(ctx, d, in)
	if err != nil {
		return outcome, fmt.Errorf("commit replay %d of %s: %w", d.Seq(), c, err)
	}
	return outcome, nil
}

func (c *Chain) commitReplay(ctx context.Context, d *Draft, in Commit) (Outcome, error) {
	switch {
	case !c.ready:
		return Undecided, errors.New("the chain is not open")
	case d.replay == nil || d.chain != c || d.used || d.base.seq != c.state.Seq || d.base.attempt != c.state.Attempt:
		return Undecided, errors.New("the draft is not a replay of the chain's present end, or was used before")
	case c.state.Closed > 0:
		return Undecided, &ClosedError{Table: c.table.name, Generation: c.table.generation, Swap: c.state.Closed}
	case in.Log != c.state.Log:
		return Undecided, fmt.Errorf("the rows are of log %s, the chain of log %s", in.Log, c.state.Log)
	}
	r := c.record(KindReplay)
	r.Files, r.Schema, r.Attempt = in.Files, in.Schema, d.attempt
	if in.Config != "" {
		r.Config = in.Config
	}
	r.Retires, r.Offsets = d.replay.retires, d.replay.offsets
	r.Counts.Rescued, r.Counts.Filtered = d.Counts.Rescued, d.filtered
	for _, f := range in.Files {
		if f.Table == Quarantine {
			r.Counts.Quarantined += f.Rows
		} else {
			r.Counts.Rows += f.Rows
		}
	}
	if rows := r.Counts.Rows + r.Counts.Quarantined; rows != d.accepted {
		return Undecided, fmt.Errorf("%d rows were taken, but its files hold %d", d.accepted, rows)
	}
	d.used = true
	return c.append(ctx, r)
}

// Replay writes the files of a draft of BeginReplay, stages them, and decides it.
func (w *Writer) Replay(ctx context.Context, d *Draft, r *Records) (Committed, error) {
	if d.replay == nil {
		return Committed{}, errors.New("replay: the draft is not one of a replay")
	}
	return w.commit(ctx, d, r, w.Chain.Replay)
}

// retire removes the files whose rows a record has taken into its own. That comes
// after these are visible, and before anything is recorded behind: who opens the
// chain does it again. A row is seen twice for that moment, rather than not at all.
func (c *Chain) retire(ctx context.Context, r *Record) error {
	for _, f := range r.Retires {
		err := c.retry(ctx, func() error { return c.table.store.Delete(ctx, f.Key) }, nil)
		if err != nil {
			return fmt.Errorf("retire files by record %d: %w", r.Seq, err)
		}
	}
	return nil
}

// retirements are the files of a chain that replays have retired, which are read
// when the first file of the quarantine is asked for.
type retirements struct {
	table     *Table
	partition int
	keys      map[string]bool
}

func (t *Table) retirements(partition int) *retirements {
	return &retirements{table: t, partition: partition}
}

func (x *retirements) of(ctx context.Context, f File) (bool, error) {
	if f.Table != Quarantine {
		return false, nil
	}
	if x.keys == nil {
		x.keys = map[string]bool{}
		for r, err := range x.table.records(ctx, x.partition, link{seq: -1}) {
			if err != nil {
				x.keys = nil
				return false, err
			}
			for _, gone := range r.Retires {
				x.keys[gone.Key] = true
			}
		}
	}
	return x.keys[f.Key], nil
}

// QuarantineFiles are the files of the quarantine that a topic partition's chain has at
// present, in the order of records.
func (t *Table) QuarantineFiles(ctx context.Context, partition int) (files []File, err error) {
	for f, err := range t.Files(ctx, partition) {
		if err != nil {
			return nil, fmt.Errorf("list the quarantine of %s: %w", t.name, err)
		}
		if f.Table == Quarantine {
			files = append(files, f)
		}
	}
	return files, nil
}

// ReadQuarantine reads a file of the quarantine.
func (t *Table) ReadQuarantine(ctx context.Context, f File) ([]QuarantineRow, error) {
	body, err := t.store.Get(ctx, f.Key)
	if err != nil {
		return nil, err
	}
	rows, err := decodeQuarantine(body)
	if err == nil && int64(len(rows)) != f.Rows {
		err = fmt.Errorf("it has %d rows, its record says %d", len(rows), f.Rows)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Key, err)
	}
	return rows, nil
}

// decodeQuarantine reads what EncodeQuarantine writes.
func decodeQuarantine(body []byte) (rows []QuarantineRow, err error) {
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read values: %v", p)
		}
	}()
	for _, g := range f.RowGroups() {
		n := g.NumRows()
		if n > maxGroupRows {
			return nil, fmt.Errorf("a row group of %d rows, at most %d are read", n, maxGroupRows)
		}
		from := len(rows)
		rows = append(rows, make([]QuarantineRow, n)...)
		for i, c := range quarantineColumns {
			column := f.Root().Column(c.name)
			if column == nil || !column.Leaf() {
				return nil, fmt.Errorf("it has no column %s", c.name)
			}
			at := from
			err := eachValue(g.ColumnChunks()[column.Index()], func(v parquet.Value) error {
				if at == len(rows) {
					return fmt.Errorf("column %s has more values than the row group has rows", c.name)
				}
				quarantineColumns[i].set(&rows[at], v)
				at++
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// QuarantineIDs are the identities of quarantined rows, as their files' hashes take
// them: the stream and its row, or, of rows without, the offset.
func QuarantineIDs(rows []QuarantineRow) (ids IDs) {
	for i := range rows {
		stream, row := uint64(0), rows[i].Offset
		if q := &rows[i]; q.Row >= 0 && len(q.Stream) == len(schema.StreamID{}) {
			stream, row = schema.StreamID([]byte(q.Stream)).Hash64(), q.Row
		}
		ids.Stream, ids.Row = append(ids.Stream, stream), append(ids.Row, row)
	}
	return ids
}

// Ranges are numbers as ranges, ascending.
func Ranges(numbers []int64) (out []Range) {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	for _, n := range numbers {
		if last := len(out) - 1; last >= 0 && n <= out[last][1] {
			out[last][1] = max(out[last][1], n+1)
			continue
		}
		out = append(out, Range{n, n + 1})
	}
	return out
}
