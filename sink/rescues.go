package sink

import (
	"sort"

	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// Rescues is a compact list of cells that did not fit their column.
type Rescues struct {
	rows    []int32
	columns []string
	text    []byte
	ends    []int
}

// Add adds one cell. Rows come in ascending order; the text is copied.
func (r *Rescues) Add(row int, column string, text []byte) {
	r.rows = append(r.rows, int32(row))
	r.columns = append(r.columns, column)
	r.text = append(r.text, text...)
	r.ends = append(r.ends, len(r.text))
}

// Reset empties the list and keeps its memory.
func (r *Rescues) Reset() {
	r.rows, r.columns, r.text, r.ends = r.rows[:0], r.columns[:0], r.text[:0], r.ends[:0]
}

// Len is the number of cells in the list.
func (r *Rescues) Len() int { return len(r.rows) }

// Cell gives one of the cells; the text aliases the list.
func (r *Rescues) Cell(i int) (row int, column string, text []byte) {
	return int(r.rows[i]), r.columns[i], r.text[r.start(i):r.ends[i]]
}

// Bytes is the memory the list holds, in bytes.
func (r *Rescues) Bytes() int {
	return 4*cap(r.rows) + 16*cap(r.columns) + cap(r.text) + 8*cap(r.ends)
}

func (r *Rescues) start(i int) int {
	if i == 0 {
		return 0
	}
	return r.ends[i-1]
}

// find gives the range of cells of a row.
func (r *Rescues) find(row int32) (from, to int) {
	from = sort.Search(len(r.rows), func(i int) bool { return r.rows[i] >= row })
	for to = from; to < len(r.rows) && r.rows[to] == row; to++ {
	}
	return from, to
}

// rescuedLeaves are the two leaves of the column `_rescued`.
var rescuedLeaves = [2]leaf{
	{name: "key", path: []string{RescuedColumn, "key_value", "key"}, typ: schema.Type{Kind: schema.String}, physical: format.ByteArray, maxDef: 2, maxRep: 1},
	{name: "value", path: []string{RescuedColumn, "key_value", "value"}, typ: schema.Type{Kind: schema.String}, physical: format.ByteArray, maxDef: 3, maxRep: 1},
}

// gatherRescued collects the rescued cells of some rows, and adds their hashes.
func (c *chunk) gatherRescued(r *Rescues, rows []int32, sums []schema.Sum128) {
	c.rows = len(rows)
	c.levels, c.reps, c.keys, c.spans, c.cells = c.levels[:0], c.reps[:0], c.keys[:0], c.spans[:0], c.cells[:0]
	if r == nil || r.Len() == 0 {
		return
	}
	next, last := 0, int32(-1)
	for i, row := range rows {
		if row <= last || next < len(r.rows) && r.rows[next] < row {
			next, _ = r.find(row)
		}
		last = row
		if next == len(r.rows) || r.rows[next] != row {
			c.levels, c.reps = append(c.levels, 0), append(c.reps, 0)
			continue
		}
		for first := true; next < len(r.rows) && r.rows[next] == row; next++ {
			_, column, text := r.Cell(next)
			at := len(c.cells)
			c.cells = append(append(c.cells, column...), 0)
			mid := len(c.cells)
			c.cells = append(c.cells, text...)
			c.keys = append(c.keys, span{uint32(at), uint32(mid - 1)})
			c.spans = append(c.spans, span{uint32(mid), uint32(len(c.cells))})
			h := cellHash(rescuedSeed, c.cells[at:])
			sums[i].Add(h.Hi, h.Lo)
			rep := byte(1)
			if first {
				rep, first = 0, false
			}
			c.levels, c.reps = append(c.levels, 1), append(c.reps, rep)
		}
	}
	if len(c.spans) == 0 {
		c.levels, c.reps = c.levels[:0], c.reps[:0]
	}
}

// writeRescued writes one of the two leaves of `_rescued`.
func (c *chunk) writeRescued(e *Encoder, l *leaf, values bool) error {
	c.begin(l)
	c.text = c.cells
	spans := c.keys
	if values {
		spans = c.spans
	}
	if len(spans) == 0 {
		c.body = appendRun(appendRun(c.body[:0], c.rows, 0), c.rows, 0)
		c.meta.NumValues = int64(c.rows)
		err := c.writePage(e, l, 0, c.rows, 0, bounds{})
		c.end()
		return err
	}
	c.meta.NumValues = int64(len(c.levels))
	c.scaled = resize(c.scaled, len(c.levels))
	for i, x := range c.levels {
		c.scaled[i] = x * l.maxDef
	}
	for from, row, value := 0, 0, 0; from < len(c.levels); {
		to, rows, n, size := from, 0, 0, 0
		for to < len(c.levels) { // a page ends before a row
			if c.reps[to] == 0 {
				if rows == maxPageRows || size > maxPageBytes {
					break
				}
				rows++
			}
			if c.levels[to] == 1 {
				size += 4 + int(spans[value+n].to-spans[value+n].from)
				n++
			}
			to++
		}
		c.body = c.appendLevels(c.body[:0], c.reps[from:to], l.maxRep)
		c.body = c.appendLevels(c.body, c.scaled[from:to], l.maxDef)
		c.body = appendText(c.body, spans[value:value+n], c.text)
		var b bounds
		if n > 0 {
			lo, hi := c.spanBounds(spans[value : value+n])
			b.min = cutMin(lo)
			if cutHi, ok := cutMax(hi); ok {
				b.max = cutHi
			} else {
				b = bounds{unknown: true}
			}
		}
		if err := c.writePage(e, l, row, to-from, n, b); err != nil {
			return err
		}
		from, row, value = to, row+rows, value+n
	}
	c.end()
	return nil
}
