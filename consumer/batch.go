package consumer

import (
	"fmt"
	"slices"

	"lakefeed/consumer/transform"
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

	hidden   bool          // no cell of it may be shown
	nulls    *schema.Nulls // nil for the usual tokens
	onType   schema.Policy
	onNull   schema.Policy
	strict   bool            // a cell of it may keep its row out
	probe    schema.Vector   // of strict columns: a cell is tried here first
	misfits  schema.Evidence // cells that a wider type would take; whether they are rescued shows when the batch is flushed
	unfit    int             // place of its misfits among the deviations, plus one
	tokened  bool            // other null tokens than the usual ones, which count before all else
	keepNull bool            // the token of a null is rescued
}

// batch holds what one topic partition has had since its last commit, as typed
// columns. Its memory is kept from batch to batch, until it is told to shrink.
type batch struct {
	schema   *schema.Schema // of the feed: what the columns are typed by; nil for a table without one
	table    *schema.Schema // that it is a part of
	recipe   *recipe
	contract *schema.Contract // the recipe's
	columns  []*column
	byName   map[string]*column
	layouts  layouts

	rows       int
	bytes      int // text of the rows' values, which is what the flush size counts
	streams    []uint64
	numbers    []int64
	rescued    sink.Rescues
	rescues    int64
	quarantine []sink.QuarantineRow
	unfit      sink.IDs // identities of the quarantined rows
	deviations []schema.Deviation
	meta       *metaColumns // nil where neither columns nor partitions are of it
	showMeta   bool         // its columns are the table's
	places     places
}

// reset empties the batch for rows of a table, to be typed and made by a recipe.
func (b *batch) reset(table *schema.Schema, r *recipe) {
	if b.byName == nil {
		b.byName = map[string]*column{}
	}
	b.schema, b.table, b.recipe, b.contract = table.Feed(), table, r, r.contract
	b.places.reset(len(r.steps) > 0)
	b.layouts.reset()
	b.deviations = nil
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

// shrink gives the memory of the batch's rows back. It is to be reset after.
func (b *batch) shrink() {
	for _, c := range b.columns {
		c.values, c.probe = schema.Vector{}, schema.Vector{}
	}
	b.streams, b.numbers, b.quarantine = nil, nil, nil
	b.rescued, b.unfit, b.places = sink.Rescues{}, sink.IDs{}, places{}
	if b.meta != nil {
		*b.meta = metaColumns{}
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
	c.evidence, c.misfits = schema.Evidence{}, schema.Evidence{}
	c.nulled, c.unfit = 0, 0

	c.hidden = b.contract.Hidden(c.name)
	c.nulls = b.contract.NullTokens(c.name)
	c.onType, c.onNull = b.contract.TypeChange(c.name), b.contract.Null(c.name)
	c.strict = outright(c.onType) || outright(c.onNull)
	c.tokened, c.keepNull = c.nulls != nil, c.onNull == schema.PolicyRescue
}

// outright says that a policy keeps rows out.
func outright(p schema.Policy) bool {
	return p == schema.PolicyReject || p == schema.PolicyFreeze
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
		text, quoted := cells[i].Text, cells[i].Quoted
		if c == nil {
			b.aside(l.asides[i], text, quoted, at)
			continue
		}
		if c.values.Len() < b.rows {
			c.values.PadTo(b.rows)
		}
		switch {
		case c.tokened && c.nulls.Declared(text, quoted):
			b.null(c, text)
		case c.undecided:
			c.keep(b.rows, text, quoted, at)
		case len(text) == 0 && !quoted:
			c.values.AppendNull()
		case c.values.AppendCell(text):
		default:
			b.misfit(c, text, quoted, at)
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

// aside keeps a cell of a column that the contract keeps out of the table.
func (b *batch) aside(a aside, text []byte, quoted bool, at func() schema.Witness) {
	if a.nulls.Declared(text, quoted) {
		return
	}
	if a.hidden {
		text = nil
	}
	b.rescued.Add(b.rows, a.name, text)
	b.rescues++
	b.deviate(schema.Deviation{Kind: schema.NewColumn, Column: a.name, Policy: schema.PolicyRescue}, text, at)
}

// surplus keeps the cells of the last row for which its header has no column, width of
// them named.
func (b *batch) surplus(width int, extra []wire.Cell, at func() schema.Witness) {
	for i, c := range extra {
		b.rescued.Add(b.rows-1, fmt.Sprintf("_cell_%d", width+i+1), c.Text)
		b.rescues++
	}
	if len(extra) > 0 {
		b.deviate(schema.Deviation{Kind: schema.CellCount, Policy: schema.PolicyRescue}, nil, at)
	}
}

// deviate counts what the table does not take, and gives its place, plus one.
func (b *batch) deviate(d schema.Deviation, text []byte, at func() schema.Witness) int {
	i := slices.IndexFunc(b.deviations, func(o schema.Deviation) bool {
		return o.Kind == d.Kind && o.Column == d.Column && o.Policy == d.Policy
	})
	if i < 0 {
		i = len(b.deviations)
		d.First = witness(text, at)
		b.deviations = append(b.deviations, d)
	}
	b.deviations[i].Count++
	return i + 1
}

func witness(text []byte, at func() schema.Witness) (w schema.Witness) {
	if at != nil {
		w = at()
	}
	w.Text = string(text[:min(len(text), 100)])
	return w
}

// refuse says why the contract keeps a row out, nil when it does not.
func (b *batch) refuse(l *layout, cells []wire.Cell, at func() schema.Witness) *schema.Deviation {
	if l.refused != nil {
		d := *l.refused
		d.First = witness(nil, at)
		return &d
	}
	if !l.strict {
		return nil
	}
	for i, c := range l.columns {
		if c == nil || !c.strict {
			continue
		}
		text, quoted := cells[i].Text, cells[i].Quoted
		d := schema.Deviation{Column: c.name, Type: c.values.Type.Written()}
		typed := !c.undecided && c.values.Type.Kind != schema.String
		switch {
		case c.nulls.Declared(text, quoted), typed && c.nulls.Typed(text, quoted):
			if !outright(c.onNull) {
				continue
			}
			d.Kind, d.Policy = schema.NullCell, c.onNull
		case typed && outright(c.onType) && !c.takes(text):
			d.Kind, d.Policy = schema.TypeChange, c.onType
		default:
			continue
		}
		if d.Hidden = b.recipe.masks; d.Hidden { // also of other columns: a row may be shifted
			text = nil
		}
		d.First = witness(text, at)
		return &d
	}
	return nil
}

// takes says whether a text is a value of a strict column.
func (c *column) takes(text []byte) bool {
	c.probe.Reset(c.values.Type)
	return c.probe.AppendCell(text)
}

// keep adds a cell to a column that has no type yet.
func (c *column) keep(row int, text []byte, quoted bool, at func() schema.Witness) {
	c.evidence.Observe(text, quoted, c.nulls, at)
	if len(text) == 0 && !quoted {
		c.values.AppendNull()
		return
	}
	if quoted && c.nulls.Typed(text, false) {
		c.quoted = append(c.quoted, row)
	}
	c.values.AppendText(text)
}

// null takes a cell that is null.
func (b *batch) null(c *column, text []byte) {
	c.values.AppendNull()
	if c.undecided {
		c.evidence.Cells++
		c.evidence.Nulls++
	}
	if c.keepNull && len(text) > 0 && !c.hidden {
		b.rescued.Add(b.rows, c.name, text)
		b.rescues++
	}
}

// misfit takes a cell that is no value of its column's type: null where it says
// so, else the text is rescued.
func (b *batch) misfit(c *column, text []byte, quoted bool, at func() schema.Witness) {
	switch {
	case c.nulls.Typed(text, quoted):
		if len(text) == 0 {
			c.nulled++
		}
		b.null(c, text)
		return
	case c.onType == schema.PolicyEvolve && c.values.Type.Accommodates(text):
		c.misfits.Observe(text, quoted, c.nulls, at)
	case c.unfit > 0:
		b.deviations[c.unfit-1].Count++
	default:
		c.unfit = b.deviate(schema.Deviation{Kind: schema.TypeChange, Column: c.name, Type: c.values.Type.Written(), Policy: schema.PolicyRescue}, text, at)
	}
	c.values.AppendNull()
	b.rescued.Add(b.rows, c.name, text)
	b.rescues++
}

// seen lists what the batch has shown that a schema does not know.
func (b *batch) seen(known *schema.Schema) []schema.Seen {
	var out []schema.Seen
	for _, c := range b.columns {
		if !c.used() {
			continue // a column of an earlier batch
		}
		s := schema.Seen{Name: c.name, Spellings: c.spellings, Evidence: c.evidence, Misfits: c.misfits}
		var f schema.Field
		found := false
		if known != nil {
			f, found = known.Field(c.name)
		}
		spelled := !slices.ContainsFunc(c.spellings, func(n string) bool { return !slices.Contains(f.Spellings, n) })
		if !found || !spelled || f.Type.Kind == schema.Unknown || c.misfits.Cells > 0 || b.contract.Grows(f) {
			s.Spellings = slices.Clone(s.Spellings)
			out = append(out, s)
		}
	}
	return out
}

func (c *column) used() bool { return len(c.spellings) > 0 || c.values.Len() > 0 }

// decide types the columns by the schema of the batch's version: the undecided ones,
// and those whose type has grown. Cells that do not fit are rescued; those that
// were and fit now are values. It is not whole when another writer's version has
// left a column out, or has a type that keeps rows out: then the batch has to be taken
// again, typed from the start.
func (b *batch) decide(table *schema.Schema) (whole bool) {
	s := table.Feed()
	b.schema, b.table = s, table
	whole = true
	var late []misfit
	grown := map[string]*column{}
	for _, c := range b.columns {
		f, found := s.Field(c.name)
		switch {
		case !found && c.used():
			whole = false
		case c.undecided && f.Type.Kind != schema.Unknown: // else nulls only: absent from the files
			more, nulls := c.decide(f.Type)
			if c.strict && (len(more) > 0 && outright(c.onType) || nulls && outright(c.onNull)) {
				whole = false
			}
			if c.keepNull && nulls {
				whole = false
			}
			for _, m := range more {
				c.unfit = b.deviate(schema.Deviation{Kind: schema.TypeChange, Column: c.name, Type: f.Type.Written(), Policy: schema.PolicyRescue}, m.text, nil)
			}
			late = append(late, more...)
		case !c.undecided && c.values.Type != f.Type && c.used():
			c.values.Type = f.Type
			grown[c.name] = c
		}
	}
	if len(late) > 0 || len(grown) > 0 {
		b.rescueAgain(late, grown)
	}
	for _, c := range b.columns {
		if n := c.misfits.Cells - c.misfits.Nulls; n > 0 {
			i := b.deviate(schema.Deviation{Kind: schema.TypeChange, Column: c.name, Type: c.values.Type.Written(), Policy: schema.PolicyRescue}, nil, nil)
			if w := c.misfits.First; b.deviations[i-1].Count == 1 {
				b.deviations[i-1].First = b.firstRescued(c.name, w)
			}
			b.deviations[i-1].Count += n - 1
		}
	}
	return whole
}

// firstRescued is the first cell of a column that is rescued. w is where it is, if it
// is that one.
func (b *batch) firstRescued(name string, w schema.Witness) schema.Witness {
	for i := range b.rescued.Len() {
		if _, column, text := b.rescued.Cell(i); column == name {
			if found := witness(text, nil); found.Text != w.Text {
				return found
			}
			return w
		}
	}
	return w
}

// rescueAgain makes the list of rescued cells anew: with those that are late, and
// without those that fit the type to which their column has grown.
func (b *batch) rescueAgain(late []misfit, grown map[string]*column) {
	for i := range b.rescued.Len() {
		row, name, text := b.rescued.Cell(i)
		if c := grown[name]; c != nil && row < c.values.Len() && c.values.Replace(row, text) {
			c.misfits.Cells--
			continue
		}
		late = append(late, misfit{row, name, slices.Clone(text)})
	}
	slices.SortStableFunc(late, func(x, y misfit) int { return x.row - y.row })
	b.rescued.Reset()
	for _, m := range late {
		b.rescued.Add(m.row, m.column, m.text)
	}
	b.rescues = int64(len(late))
}

// misfit is a cell that is rescued when its column is decided.
type misfit struct {
	row    int
	column string
	text   []byte
}

// decide types an undecided column's kept text. nulls says that a token was taken
// for null only now.
func (c *column) decide(t schema.Type) (late []misfit, nulls bool) {
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
			nulls = true
		case c.nulls.Typed(cell, isQuoted):
			nulls = true
		default:
			late = append(late, misfit{row, c.name, slices.Clone(cell)})
		}
	}
	return late, nulls
}

// records gives the batch to the sink: the columns of the table that have a type, in
// its order. made is what the recipe's steps have made of it, nil without.
func (b *batch) records(made *transform.Result) *sink.Records {
	for i := range b.quarantine {
		b.quarantine[i].SchemaVersion = sink.Unknown
		if b.schema != nil {
			b.quarantine[i].SchemaVersion = b.schema.Version
		}
	}
	r := &sink.Records{
		Schema: b.table, Rows: b.rows, IDs: sink.IDs{Stream: b.streams, Row: b.numbers},
		Rescued: &b.rescued, Rescues: b.rescues, Quarantine: b.quarantine, QuarantineIDs: b.unfit,
	}
	switch {
	case made != nil:
		r.Columns, r.Keep = b.made(made), made.Keep
		if made.Keep != nil {
			r.Rescues = rescuedOf(&b.rescued, made.Keep)
		}
	case b.table != nil:
		for _, f := range b.table.Fields {
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
		r.Ingested = &b.meta.ingested
	}
	if b.showMeta {
		r.Columns = append(r.Columns, b.meta.columns()...)
	}
	return r
}
