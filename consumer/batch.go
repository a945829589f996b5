package consumer

import (
	"slices"

	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// column is one column of a batch while its rows arrive.
type column struct {
	name      string
	spellings []string
	values    schema.Vector
	// Undecided columns, which the table has no type for, keep their cells as
	// text until the batch is flushed; then the evidence decides.
	undecided bool
	evidence  schema.Evidence
	quoted    []int // rows of an undecided column whose cell is a null token in quotes
	nulled    int64 // quoted empty cells that a typed column took for null
}

// batch holds what one topic partition has had since its last commit, as typed
// columns. Its memory is kept from batch to batch.
type batch struct {
	schema  *schema.Schema // what the columns are typed by; nil for a table without one
	columns []*column
	byName  map[string]*column
	layouts layouts

	rows       int
	bytes      int // text of the rows' values, which is what the flush size counts
	streams    []uint64
	numbers    []int64
	rescued    sink.Rescues
	rescues    int64
	quarantine []sink.QuarantineRow
	unfit      sink.IDs     // identities of the quarantined rows
	meta       *metaColumns // nil without --meta
}

// reset empties the batch for rows typed by s.
func (b *batch) reset(s *schema.Schema) {
	if b.byName == nil {
		b.byName = map[string]*column{}
	}
	b.schema = s
	b.layouts.reset()
	b.rows, b.bytes, b.rescues = 0, 0, 0
	b.streams, b.numbers = b.streams[:0], b.numbers[:0]
	b.rescued.Reset()
	b.quarantine = b.quarantine[:0]
	b.unfit.Stream, b.unfit.Row = b.unfit.Stream[:0], b.unfit.Row[:0]
	for _, c := range b.columns {
		b.prepare(c)
	}
	if b.meta != nil {
		b.meta.reset()
	}
}

// prepare empties a column and types it by the batch's schema.
func (b *batch) prepare(c *column) {
	var t schema.Type
	if b.schema != nil {
		f, _ := b.schema.Field(c.name)
		t = f.Type
	}
	c.values.Reset(t)
	c.spellings, c.quoted = c.spellings[:0], c.quoted[:0]
	c.undecided = t.Kind == schema.Unknown
	c.evidence = schema.Evidence{}
	c.nulled = 0
}

// column finds the column of a safe name, and adds it when it is new.
func (b *batch) column(name string) *column {
	if c := b.byName[name]; c != nil {
		return c
	}
	c := &column{name: name}
	b.prepare(c)
	b.columns = append(b.columns, c)
	b.byName[name] = c
	return c
}

// add adds one row whose cells are as many as the layout has columns. at gives
// the row's position, for witnesses.
func (b *batch) add(l *layout, cells []wire.Cell, at func() schema.Witness) {
	for i := range cells {
		c := l.columns[i]
		if c.values.Len() < b.rows {
			c.values.PadTo(b.rows)
		}
		text, quoted := cells[i].Text, cells[i].Quoted
		switch {
		case c.undecided:
			c.keep(b.rows, text, quoted, at)
		case len(text) == 0 && !quoted:
			c.values.AppendNull()
		case c.values.AppendCell(text):
		default:
			b.misfit(c, text, quoted)
		}
	}
	b.rows++
}

// growIDs makes room for the identities of more rows: to twice as many, as long as
// a batch of so many bytes will have them. A quarter more each time, which is what
// append makes of it, copies millions of rows again and again.
func (b *batch) growIDs(bytes int) {
	n := len(b.streams)
	more := max(n, 1024)
	if b.bytes > 0 && n > 1024 {
		full := float64(n) * float64(bytes) / float64(b.bytes) // rows of the whole batch, if the others are like these
		more = min(more, max(int(full*1.02)-n, n/8))
	}
	b.streams, b.numbers = slices.Grow(b.streams, more), slices.Grow(b.numbers, more)
}

// keep adds a cell to a column that has no type yet.
func (c *column) keep(row int, text []byte, quoted bool, at func() schema.Witness) {
	c.evidence.Observe(text, quoted, at)
	if len(text) == 0 && !quoted {
		c.values.AppendNull()
		return
	}
	if quoted && schema.IsNullToken(text) {
		c.quoted = append(c.quoted, row)
	}
	c.values.AppendText(text)
}

// misfit takes a cell that is no value of its column's type: null where it says
// so, else the text is rescued.
func (b *batch) misfit(c *column, text []byte, quoted bool) {
	c.values.AppendNull()
	switch {
	case len(text) == 0:
		c.nulled++
	case !quoted && schema.IsNullToken(text):
	default:
		b.rescued.Add(b.rows, c.name, text)
		b.rescues++
	}
}

// seen lists what the batch has shown that a schema does not know.
func (b *batch) seen(known *schema.Schema) []schema.Seen {
	var out []schema.Seen
	for _, c := range b.columns {
		if len(c.spellings) == 0 && c.values.Len() == 0 {
			continue // a column of an earlier batch
		}
		s := schema.Seen{Name: c.name, Spellings: c.spellings, Evidence: c.evidence}
		var f schema.Field
		found := false
		if known != nil {
			f, found = known.Field(c.name)
		}
		spelled := !slices.ContainsFunc(c.spellings, func(n string) bool { return !slices.Contains(f.Spellings, n) })
		decides := f.Type.Kind == schema.Unknown && c.evidence.Type().Kind != schema.Unknown
		if !found || !spelled || decides {
			s.Spellings = slices.Clone(s.Spellings)
			out = append(out, s)
		}
	}
	return out
}

// decide types the undecided columns by a schema that knows every column of the
// batch. Cells that do not fit are rescued.
func (b *batch) decide(s *schema.Schema) {
	b.schema = s
	var late []misfit
	for _, c := range b.columns {
		if !c.undecided {
			continue
		}
		f, _ := s.Field(c.name)
		if f.Type.Kind == schema.Unknown {
			continue // nulls only: absent from the files
		}
		late = append(late, c.decide(f.Type)...)
	}
	if len(late) == 0 {
		return
	}
	b.rescues += int64(len(late))
	for i := range b.rescued.Len() {
		row, name, text := b.rescued.Cell(i)
		late = append(late, misfit{row, name, slices.Clone(text)})
	}
	slices.SortStableFunc(late, func(x, y misfit) int { return x.row - y.row })
	b.rescued.Reset()
	for _, m := range late {
		b.rescued.Add(m.row, m.column, m.text)
	}
}

// misfit is a cell that is rescued when its column is decided.
type misfit struct {
	row    int
	column string
	text   []byte
}

// decide types an undecided column's kept text.
func (c *column) decide(t schema.Type) (late []misfit) {
	text := c.values
	c.values = schema.Vector{}
	c.values.Reset(t)
	c.undecided = false
	quoted := c.quoted
	for row := range text.Len() {
		isQuoted := len(quoted) > 0 && quoted[0] == row
		if isQuoted {
			quoted = quoted[1:]
		}
		if text.Null(row) {
			c.values.AppendNull()
			continue
		}
		cell := text.TextAt(row)
		if c.values.AppendCell(cell) {
			continue
		}
		c.values.AppendNull()
		switch {
		case len(cell) == 0:
			c.nulled++
		case !isQuoted && schema.IsNullToken(cell):
		default:
			late = append(late, misfit{row, c.name, slices.Clone(cell)})
		}
	}
	return late
}

// records gives the batch to the sink: the columns of the schema that have a
// type, in its order.
func (b *batch) records() *sink.Records {
	for i := range b.quarantine {
		b.quarantine[i].SchemaVersion = sink.Unknown
		if b.schema != nil {
			b.quarantine[i].SchemaVersion = b.schema.Version
		}
	}
	r := &sink.Records{
		Schema: b.schema, Rows: b.rows, IDs: sink.IDs{Stream: b.streams, Row: b.numbers},
		Rescued: &b.rescued, Rescues: b.rescues, Quarantine: b.quarantine, QuarantineIDs: b.unfit,
	}
	if b.schema != nil {
		for _, f := range b.schema.Fields {
			if f.Type.Kind == schema.Unknown {
				continue
			}
			var values *schema.Vector
			if c := b.byName[f.Name]; c != nil {
				values = &c.values
			} else {
				values = &schema.Vector{Type: f.Type}
			}
			r.Columns = append(r.Columns, sink.Column{Name: f.Name, Type: f.Type, Vector: values})
		}
	}
	if b.meta != nil {
		r.Columns = append(r.Columns, b.meta.columns()...)
	}
	return r
}
