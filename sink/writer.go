package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"sync"

	"lakefeed/schema"
	"lakefeed/schema/fault"
)

// Records is one batch of a topic partition, typed: what is to be committed as
// [the chain's end, To).
type Records struct {
	Schema  *schema.Schema // whose version the files are of; nil when there is no row
	Columns []Column       // in table order, undecided columns left out, partition columns too
	Rows    int
	// Ingested is when each row was sent to the topic, where Shape.UsesIngestedAt.
	Ingested   *schema.Vector
	Keep       []int32 // the rows that go into files, ascending; nil for all
	IDs        IDs
	Rescued    *Rescues
	Rescues    int64 // cells in Rescued
	Quarantine []QuarantineRow
	// QuarantineIDs are the identities of the quarantined rows.
	QuarantineIDs IDs

	To     int64        // offset behind the batch
	Log    string       // log id that the offsets are of
	FP     *Fingerprint // of the last message before To
	Config string       // hash of the configuration that made the rows, by KeepConfig; empty for the table's
}

// Kept is how many rows go into files of the table.
func (r *Records) Kept() int {
	if r.Keep != nil {
		return len(r.Keep)
	}
	return r.Rows
}

// Committed says what became of a batch.
type Committed struct {
	Outcome Outcome
	Files   int
	Bytes   int64 // of the files
}

// A Writer makes the files of a topic partition's batches and commits them, one
// batch after the other. While a batch is written one file is under construction at
// a time, whatever the number of table partitions; between batches a writer holds no
// memory worth telling.
type Writer struct {
	Table *Table
	Chain *Chain

	partitioner *partitioner
	*workspace  // while files are written
}

// workspace is the memory in which files are made. Writers of many topic partitions
// share a few: no more than write at once.
type workspace struct {
	encoder Encoder
	body    bytes.Buffer
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// release gives a workspace back, without what is left in it of a batch.
func (s *workspace) release() {
	s.encoder.chunk.text = nil
	workspaces.Put(s)
}

// Commit writes the batch's files, stages them, and decides the batch. On Lost
// another owner's record stands at its place: the batch is void, and the chain
// is to be opened again. So it is after an error, which leaves open whether the
// batch was decided: then who opens the chain publishes it, and its rows are seen.
func (w *Writer) Commit(ctx context.Context, d *Draft, r *Records) (Committed, error) {
	return w.commit(ctx, d, r, w.Chain.Commit)
}

func (w *Writer) commit(ctx context.Context, d *Draft, r *Records, decide func(context.Context, *Draft, Commit) (Outcome, error)) (Committed, error) {
	files, err := w.stage(ctx, d, r)
	if err != nil {
		return Committed{}, errors.Join(err, w.discard(ctx, files))
	}
	d.Counts.Rescued = r.Rescues
	c := Commit{To: r.To, Log: r.Log, FP: r.FP, Files: files, Config: r.Config}
	if r.Schema != nil {
		c.Schema = r.Schema.Version
	}
	outcome, err := decide(ctx, d, c)
	if err != nil {
		return Committed{}, err
	}
	done := Committed{Outcome: outcome, Files: len(files)}
	for _, f := range files {
		done.Bytes += f.Size
	}
	return done, nil
}

// stage writes and stages all files of the batch. On an error it gives those
// that are staged.
func (w *Writer) stage(ctx context.Context, d *Draft, r *Records) (files []File, err error) {
	err = w.encode(d, r, func(table string, g *group, n int, made Encoded) error {
		file, err := w.put(ctx, table, d, r, made, g.values, n)
		if err != nil {
			return err
		}
		files = append(files, file)
		return fault.At(ctx, fault.FileStaged)
	})
	return files, err
}

// encode writes one file after the other of the batch into the writer's body, and
// gives each to use, with its number.
func (w *Writer) encode(d *Draft, r *Records, use func(table string, g *group, n int, made Encoded) error) error {
	if w.partitioner == nil {
		columns, err := parsePartitionBy(w.Table.Shape().PartitionBy)
		if err != nil {
			return err
		}
		w.partitioner = &partitioner{columns: columns}
	}
	w.workspace = workspaces.Get().(*workspace)
	defer func() {
		w.release()
		w.workspace = nil
	}()
	if r.Kept() > 0 {
		spec := FileSpec{Rows: r.Rows, IDs: r.IDs, Rescued: r.Rescued, Meta: w.meta(d, r)}
		groups := []*group{{rows: r.Keep}}
		if len(w.partitioner.columns) > 0 {
			groups = w.partitioner.part(r)
			spec.Rescued = w.partitioner.rescue(r.Rescued)
		}
		for _, c := range r.Columns {
			if !slices.ContainsFunc(w.partitioner.columns, func(p partitionColumn) bool { return p.name == c.Name }) {
				spec.Columns = append(spec.Columns, c)
			}
		}
		for n, g := range groups {
			if !d.repair.wants(Main, g.values) {
				continue
			}
			w.body.Reset()
			made, err := w.encoder.Encode(&w.body, spec, g.rows)
			if err != nil {
				return fmt.Errorf("encode rows of %s: %w", PartitionPath(g.values), err)
			}
			if err := use(Main, g, n, made); err != nil {
				return err
			}
		}
	}
	if len(r.Quarantine) > 0 && d.repair.wants(Quarantine, nil) {
		w.body.Reset()
		made, err := w.encoder.EncodeQuarantine(&w.body, r.Quarantine, r.QuarantineIDs, w.meta(d, r))
		if err != nil {
			return fmt.Errorf("encode quarantined rows: %w", err)
		}
		return use(Quarantine, &group{}, 0, made)
	}
	return nil
}

// put checks the file that was just encoded and stages it.
func (w *Writer) put(ctx context.Context, table string, d *Draft, r *Records, made Encoded, values []PartitionValue, n int) (File, error) {
	key := w.Table.FileKey(table, PartitionPath(values), w.Table.Topic(), w.Chain.partition, d, r.To, n)
	body := bytes.NewReader(w.body.Bytes())
	if err := Verify(body, int64(w.body.Len()), made, false); err != nil {
		return File{}, fmt.Errorf("verify %s before it is stored: %w", key, err)
	}
	if err := fault.At(ctx, fault.FileStage); err != nil {
		return File{}, err
	}
	staged, err := w.Table.store.Stage(ctx, key, body)
	if err != nil {
		return File{}, err
	}
	return File{
		Table: table, Key: key, Staged: staged, Size: made.Size, ETag: staged.ETag, Rows: made.Rows,
		RowHash: made.RowHash, CellHash: made.CellHash, Partition: values, Min: made.Min, Max: made.Max,
	}, nil
}

// discard forgets staged files that no record lists.
func (w *Writer) discard(ctx context.Context, files []File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, w.Table.store.Discard(context.WithoutCancel(ctx), f.Staged))
	}
	return errors.Join(errs...)
}

// meta is the key-value metadata of a batch's files.
func (w *Writer) meta(d *Draft, r *Records) map[string]string {
	m := map[string]string{
		"lakefeed.table":     w.Table.Name(),
		"lakefeed.topic":     w.Table.Topic(),
		"lakefeed.partition": strconv.Itoa(w.Chain.partition),
		"lakefeed.from":      strconv.FormatInt(d.From(), 10),
		"lakefeed.to":        strconv.FormatInt(r.To, 10),
		"lakefeed.attempt":   d.Attempt(),
	}
	if r.Schema != nil {
		m["lakefeed.schema_version"] = strconv.FormatInt(r.Schema.Version, 10)
	}
	return m
}

// rescue adds the cells that could not be partition values to those that were
// rescued before.
func (p *partitioner) rescue(before *Rescues) *Rescues {
	if len(p.lost) == 0 {
		return before
	}
	all := slices.Clone(p.lost)
	if before != nil {
		for i := range before.Len() {
			row, column, text := before.Cell(i)
			all = append(all, misplaced{int32(row), column, text})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].row < all[j].row })
	out := &Rescues{}
	for _, m := range all {
		out.Add(int(m.row), m.column, m.text)
	}
	return out
}
