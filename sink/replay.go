package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"lakefeed/schema"
)

// Replayed is a record of a chain, ready to be made again.
type Replayed struct {
	Record *Record
	Files  []File // its files, repaired ones in place of those that were lost
	// Draft is to take the record's offsets. It sees what the chain had seen before
	// the record. It cannot be committed.
	Draft *Draft
}

// Replay reads a chain from its first record to one, for its batches to be made
// again and compared. It writes nothing. Drafts are valid until the next record.
func (t *Table) Replay(ctx context.Context, partition int, last int64) iter.Seq2[Replayed, error] {
	return func(yield func(Replayed, error) bool) {
		c := t.Chain(partition)
		c.reset()
		for s, err := range t.settled(ctx, partition, last) {
			if err != nil {
				yield(Replayed{}, fmt.Errorf("replay %s: %w", c, err))
				return
			}
			d := c.Begin()
			if !yield(Replayed{Record: s.Record, Files: s.files, Draft: d}, nil) {
				return
			}
			d.used = true
			c.apply(s.Record)
			if s.Kind == KindReset {
				if err := c.inherit(ctx, s.Reset); err != nil {
					yield(Replayed{}, fmt.Errorf("replay %s: %w", c, err))
					return
				}
			}
			c.sealComplete()
		}
	}
}

// inherit is takeOver without writing anything.
func (c *Chain) inherit(ctx context.Context, reset int64) error {
	u, err := c.table.readUnion(ctx, reset)
	if errors.Is(err, ErrNotExist) || errors.Is(err, errDamaged) {
		u, err = c.table.joinChains(ctx, reset, c.table.partitions)
	}
	if err == nil {
		c.know(u)
	}
	return err
}

// sealComplete moves the streams that are complete out of the way, when they are
// many.
func (c *Chain) sealComplete() {
	if len(c.live) >= maxDone {
		c.seal()
	}
}

// Differences are how a record's offsets are not what it says, once the draft has
// taken them from the topic or its raw zone: empty when they are.
func (d *Draft) Differences(r *Record, with ComparedWith) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if d.err != nil {
		say("%v", d.err)
	}
	if want := r.Counts.Rows + r.Counts.Quarantined; d.accepted != want {
		say("the %s has %d rows that were new, the lake %d", with, d.accepted, want)
	}
	if d.ends != r.Counts.Ends {
		say("the %s has %d ends of streams, the lake %d", with, d.ends, r.Counts.Ends)
	}
	if have, want := d.skips, r.Skipped; !slices.Equal(have, want) {
		i := 0
		for i < len(have) && i < len(want) && have[i] == want[i] {
			i++
		}
		say("of the offsets without a row the %s has %s where the lake has %s", with, skipText(have, i), skipText(want, i))
	}
	if state := differentState(with, d.changes(), r.Streams); state != "" {
		say("%s", state)
	}
	return out
}

// differentState is the first stream, of lists that are ordered by id, of which a
// topic or raw zone and a record say different things.
func differentState(with ComparedWith, topic, lake []StreamState) string {
	for i, j := 0, 0; i < len(topic) || j < len(lake); i, j = i+1, j+1 {
		switch {
		case i == len(topic) || j < len(lake) && lake[j].ID.String() < topic[i].ID.String():
			return fmt.Sprintf("the %s has nothing new of stream %s, the lake %s", with, lake[j].ID, lake[j])
		case j == len(lake) || topic[i].ID != lake[j].ID:
			return fmt.Sprintf("the %s has %s, the lake nothing new of it", with, topic[i])
		case !topic[i].equal(lake[j]):
			return fmt.Sprintf("the %s has %s, the lake %s", with, topic[i], lake[j])
		}
	}
	return ""
}

// Vanished are the offsets of a record that hold no message now, and held a row or
// an end when it was written.
func (d *Draft) Vanished(r *Record) (out []Skip) {
	for _, s := range d.skips {
		if s.Reason != SkipCompacted {
			continue
		}
		at := s.From
		for _, known := range r.Skipped {
			if known.To <= at || known.From >= s.To {
				continue
			}
			if known.From > at {
				out = append(out, Skip{From: at, To: known.From, Reason: s.Reason})
			}
			at = min(known.To, s.To)
		}
		if at < s.To {
			out = append(out, Skip{From: at, To: s.To, Reason: s.Reason})
		}
	}
	return out
}

// AssumeEmpty takes a record's word for why offsets that hold no message do not, where
// that cannot be known: a raw zone does not tell the marker of a transaction from what
// compaction has removed.
func (d *Draft) AssumeEmpty(r *Record) {
	var out []Skip
	add := func(s Skip) {
		if n := len(out); n > 0 && out[n-1].To == s.From && out[n-1].Reason == s.Reason {
			out[n-1].To = s.To
			return
		}
		out = append(out, s)
	}
	for _, s := range d.skips {
		if s.Reason != SkipCompacted {
			add(s)
			continue
		}
		at := s.From
		for _, known := range r.Skipped {
			from, to := max(known.From, at), min(known.To, s.To)
			if from >= to || known.Reason != SkipControl && known.Reason != SkipAborted {
				continue
			}
			if at < from {
				add(Skip{From: at, To: from, Reason: SkipCompacted})
			}
			add(Skip{From: from, To: to, Reason: known.Reason})
			at = to
		}
		if at < s.To {
			add(Skip{From: at, To: s.To, Reason: SkipCompacted})
		}
	}
	d.skips = out
}

func skipText(s []Skip, i int) string {
	if i == len(s) {
		return "none more"
	}
	return fmt.Sprintf("%d to %d (%s)", s[i].From, s[i].To-1, s[i].Reason)
}

func (s StreamState) equal(o StreamState) bool {
	count := (s.Count == nil) == (o.Count == nil) && (s.Count == nil || *s.Count == *o.Count)
	return count && s.ID == o.ID && s.Next == o.Next && s.Status == o.Status && s.Hash == o.Hash && slices.Equal(s.Holes, o.Holes)
}

func (s StreamState) String() string {
	text := fmt.Sprintf("stream %s up to row %d", s.ID, s.Next)
	if len(s.Holes) > 0 {
		text += fmt.Sprintf(" but for %d gaps", len(s.Holes))
	}
	if s.Count != nil {
		text += fmt.Sprintf(", ended with %d rows (%s, hash %s)", *s.Count, s.Status, s.Hash)
	}
	return text
}

// CellDifference is a cell, or a file's rows, that are not in the lake as they are
// in the topic.
type CellDifference struct {
	Key     string // of the file
	Message string
	Row     int64  // row number, of the stream, or -1
	Stream  uint64 // stream id as a number
	Rows    int64
}

// cellDifferences is how many cells of one file are named.
const cellDifferences = 10

// Compare writes the files of a replayed record again from the topic's rows, and
// compares them with those in the lake, cell by cell: the sum of all cells first,
// and each where the sums differ. r has the rows that the draft took, from the topic
// or its raw zone.
func (w *Writer) Compare(ctx context.Context, p Replayed, r *Records, with ComparedWith) (out []CellDifference, err error) {
	left := slices.Clone(p.Files)
	err = w.encode(p.Draft, r, func(table string, g *group, _ int, made Encoded) error {
		i := slices.IndexFunc(left, func(f File) bool { return f.at(table, g.values) })
		if i < 0 {
			place := table
			if path := PartitionPath(g.values); path != "" {
				place = path
			}
			out = append(out, CellDifference{Row: -1, Rows: made.Rows, Message: fmt.Sprintf("the %s has %d rows of %s, for which the lake has no file", with, made.Rows, place)})
			return nil
		}
		f := left[i]
		left = slices.Delete(left, i, i+1)
		ids, rows := r.IDs, g.rows
		if table == Quarantine {
			ids = r.QuarantineIDs
		}
		found, err := w.compareFile(ctx, f, made, ids, rows, with)
		out = append(out, found...)
		return err
	})
	for _, f := range left {
		out = append(out, CellDifference{Key: f.Key, Row: -1, Rows: f.Rows, Message: fmt.Sprintf("the file has %d rows, and the %s none for it", f.Rows, with)})
	}
	return out, err
}

// compareFile compares a file in the lake with the one in the writer's body.
func (w *Writer) compareFile(ctx context.Context, f File, made Encoded, ids IDs, rows []int32, with ComparedWith) (out []CellDifference, err error) {
	if f.RowHash != made.RowHash || f.Rows != made.Rows {
		out = append(out, CellDifference{Key: f.Key, Row: -1, Rows: f.Rows, Message: fmt.Sprintf("the record has %d rows with hash %s, the %s gives %d with %s", f.Rows, f.RowHash, with, made.Rows, made.RowHash)})
	}
	body, err := w.Table.store.Get(ctx, f.Key)
	if errors.Is(err, ErrNotExist) {
		return out, nil // reported by the audit of the files
	}
	if err != nil {
		return out, err
	}
	have, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return out, nil // likewise
	}
	n, sum, err := cellHashes(have, nil)
	if err != nil || n == made.Rows && sum.String() == made.CellHash {
		return out, nil
	}
	want, err := openParquet(bytes.NewReader(w.body.Bytes()), int64(w.body.Len()))
	if err != nil {
		return out, err
	}
	cells, all, err := differentCells(have, want)
	if err != nil {
		return append(out, CellDifference{Key: f.Key, Row: -1, Rows: f.Rows, Message: fmt.Sprintf("its cells are not those of the %s: %v", with, err)}), nil
	}
	for _, c := range cells {
		d := CellDifference{Key: f.Key, Row: -1, Rows: 1, Message: fmt.Sprintf("column %s: the lake has %s, the %s %s", c.column, c.have, with, c.want)}
		row := c.row
		if rows != nil && row < len(rows) {
			row = int(rows[row])
		}
		if row < len(ids.Row) {
			d.Stream, d.Row = ids.Stream[row], ids.Row[row]
		}
		out = append(out, d)
	}
	if more := all - len(cells); more > 0 {
		out = append(out, CellDifference{Key: f.Key, Row: -1, Message: fmt.Sprintf("and %d more cells of the file", more)})
	}
	return out, nil
}

type differentCell struct {
	column     string
	row        int
	have, want string
}

// differentCells compares two files, one column after the other. It gives the
// first cells that differ, and how many there are.
func differentCells(have, want *parquet.File) (out []differentCell, all int, err error) {
	columns := map[string]bool{}
	for _, f := range []*parquet.File{want, have} {
		for _, c := range f.Root().Columns() {
			if columns[c.Name()] {
				continue
			}
			columns[c.Name()] = true
			wanted, err := columnTexts(want, c.Name())
			if err != nil {
				return out, all, err
			}
			found, err := columnTexts(have, c.Name())
			if err != nil {
				return out, all, err
			}
			for row := range max(len(wanted), len(found)) {
				x, y := textOfRow(found, row), textOfRow(wanted, row)
				if x == y {
					continue
				}
				if all++; all <= cellDifferences {
					out = append(out, differentCell{column: c.Name(), row: row, have: x, want: y})
				}
			}
		}
	}
	return out, all, nil
}

func textOfRow(texts []string, row int) string {
	switch {
	case texts == nil:
		return "no such column"
	case row >= len(texts):
		return "no such row"
	}
	return texts[row]
}

// columnTexts reads a column for people, nil when the file has none of that name.
func columnTexts(f *parquet.File, name string) (texts []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read values of %s: %v", name, p)
		}
	}()
	column := f.Root().Column(name)
	if column == nil {
		return nil, nil
	}
	texts = []string{}
	for _, g := range f.RowGroups() {
		chunks := g.ColumnChunks()
		if !column.Leaf() {
			more, err := rescuedTexts(column, chunks)
			if err != nil {
				return nil, err
			}
			texts = append(texts, more...)
			continue
		}
		t := fileType(column.Type())
		var v schema.Vector
		err := eachValue(chunks[column.Index()], func(x parquet.Value) error {
			texts = append(texts, valueText(&v, t, x))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func valueText(v *schema.Vector, t schema.Type, x parquet.Value) string {
	if x.IsNull() {
		return "null"
	}
	v.Reset(t)
	switch x.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(x.Boolean())
	case parquet.Int32:
		v.AppendInt(int64(x.Int32()))
	case parquet.Int64:
		v.AppendInt(x.Int64())
	case parquet.Double:
		v.AppendFloat(x.Double())
	case parquet.FixedLenByteArray:
		v.AppendDecimal(widen(x.ByteArray()))
	default:
		return strconv.Quote(string(x.ByteArray()))
	}
	return string(v.AppendValue(nil, 0))
}

// rescuedTexts reads the column `_rescued` of a row group.
func rescuedTexts(column *parquet.Column, chunks []parquet.ColumnChunk) (texts []string, err error) {
	if len(column.Columns()) != 1 || len(column.Columns()[0].Columns()) != 2 {
		return nil, fmt.Errorf("column %s is nested", column.Name())
	}
	kv := column.Columns()[0].Columns()
	var keys []string
	err = eachValue(chunks[kv[0].Index()], func(v parquet.Value) error {
		key := ""
		if !v.IsNull() {
			key = string(v.ByteArray())
		}
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		return nil, err
	}
	at := 0
	err = eachValue(chunks[kv[1].Index()], func(v parquet.Value) error {
		if at >= len(keys) {
			return errors.New("its keys and values do not match")
		}
		text := "null"
		if !v.IsNull() {
			text = fmt.Sprintf("%s=%q", keys[at], v.ByteArray())
		}
		at++
		if v.RepetitionLevel() == 0 {
			texts = append(texts, text)
		} else {
			texts[len(texts)-1] += ", " + text
		}
		return nil
	})
	return texts, err
}

// Blank gives a draft that has seen nothing and begins at an offset, to read a topic
// partition whatever its chain has. It cannot be committed.
func (t *Table) Blank(partition int, from int64) *Draft {
	c := t.Chain(partition)
	c.reset()
	c.state.To = from
	return c.Begin()
}

// Lack says that a generation does not have all rows of a stream that another has.
type Lack struct {
	Stream  schema.StreamID
	Missing int64 // rows, at least
}

// Lacks compares what two generations have seen: the streams of which this one does
// not have all rows and the end that the other has at a position.
func (t *Table) Lacks(ctx context.Context, other *Table, at Position) (out []Lack, err error) {
	have, want := &seenStreams{}, &seenStreams{}
	for p := range t.partitions {
		c := t.Chain(p)
		if _, err := c.load(ctx, toEnd); err != nil {
			return nil, fmt.Errorf("read %s: %w", c, err)
		}
		have.all(c)
	}
	for p := range at.Seqs {
		c := other.Chain(p)
		if _, err := c.load(ctx, stop{reset: toEnd.reset, seq: at.Seqs[p] + 1}); err != nil {
			return nil, fmt.Errorf("read %s: %w", c, err)
		}
		want.all(c)
	}
	told := map[schema.StreamID]bool{} // several chains know it, since a reset
	want.each(func(w *stream) {
		if told[w.id] {
			return
		}
		h := have.find(w.id)
		if h == nil {
			h = newStream(w.id)
		}
		if !h.extends(w) || w.ended && !h.ended {
			told[w.id] = true
			out = append(out, Lack{Stream: w.id, Missing: max(0, w.rows()-h.rows())})
		}
	})
	return out, nil
}

// all takes all streams of a chain, joined with what others have of them.
func (s *seenStreams) all(c *Chain) {
	s.segments = append(s.segments, c.segments...)
	for id, x := range c.live {
		if known := s.live[id]; known != nil {
			known.join(x)
			continue
		}
		s.put(x.clone())
	}
}
