package transform

import (
	"lakefeed/schema"
)

// Column is a column of a batch. A vector may be shorter than the batch: the rows
// behind its end are null.
type Column struct {
	Name   string
	Vector *schema.Vector
}

// Batch is rows of a feed, typed by the version of its columns that the program was
// compiled for. Columns may come in any order; those that are not there are null.
type Batch struct {
	Rows    int
	Columns []Column
}

// Result is what a program makes of a batch. It belongs to the program until its next
// run, and its vectors may be the batch's own.
type Result struct {
	// Columns are the program's fields, in their order, a slot for each row of the
	// batch, also for those that are not kept.
	Columns []Column
	// Keep are the rows that become records, in ascending order; nil for all.
	Keep []int32
	// Filtered are the rows that a step left out, Failed those that a step has failed
	// for, each in ascending order.
	Filtered []int32
	Failed   []Failure
	// Nulled are values that became null because a step with OnErrorNull failed.
	Nulled int64
}

// Failure is why a row does not become a record.
type Failure struct {
	Row     int32
	Rule    string // the step's verb
	Column  string // empty for a filter
	Message string
}

// Program is a spec, compiled for one version of a feed's columns. It keeps its memory
// from run to run, and is not safe for concurrent use.
type Program struct {
	fields  []schema.Field
	origins []Origin // of the fields
	sources []Column // slot i is of source i
	made    []*schema.Vector
	steps   []runner
	output  []int // slots of the fields

	run run
}

// runner runs one step, or a part of one.
type runner func(*run)

// run is the state of one run.
type run struct {
	rows     int
	columns  []*schema.Vector // by slot
	fate     []byte           // of each row
	filtered int
	failed   map[int32]Failure
	nulled   int64
	frame    frame
}

// The fates of a row.
const (
	kept byte = iota
	leftOut
	failed
)

// Fields are the columns of the table that the program makes, in order. Those whose
// kind is Unknown have held only nulls.
func (p *Program) Fields() []schema.Field { return p.fields }

// Bytes is the memory of the columns that the program has made.
func (p *Program) Bytes() (n int) {
	for _, v := range p.made {
		n += v.Bytes()
	}
	return n
}

// Origin says what a column of the table is made of.
type Origin struct {
	Step       int      // place of the last step that made its values; -1 for a column of the feed as it is
	Verb       string   // what that step does
	Expression string   // of a set
	Sources    []string // columns of the feed; none of a mask, which shows nothing of them
}

// Origin of a column of the table. ok is false where the program makes none of the name.
func (p *Program) Origin(name string) (o Origin, ok bool) {
	for i, f := range p.fields {
		if f.Name == name {
			return p.origins[i], true
		}
	}
	return o, false
}

// Run makes the records of a batch.
func (p *Program) Run(in *Batch) *Result {
	r := &p.run
	r.rows = in.Rows
	r.columns = append(r.columns[:0], p.made...)
	r.fate = resize(r.fate, in.Rows)
	clear(r.fate)
	r.filtered, r.failed, r.nulled = 0, nil, 0
	for i, s := range p.sources {
		r.columns[i] = s.Vector // empty, which is null
		for _, c := range in.Columns {
			if c.Name == s.Name {
				r.columns[i] = c.Vector
			}
		}
	}
	for _, step := range p.steps {
		step(r)
	}
	return p.result(r)
}

func (p *Program) result(r *run) *Result {
	out := &Result{Nulled: r.nulled}
	for i, slot := range p.output {
		out.Columns = append(out.Columns, Column{p.fields[i].Name, r.columns[slot]})
	}
	if r.filtered+len(r.failed) == 0 {
		return out
	}
	out.Keep = make([]int32, 0, r.rows-r.filtered-len(r.failed))
	out.Filtered = make([]int32, 0, r.filtered)
	for i, fate := range r.fate {
		switch fate {
		case kept:
			out.Keep = append(out.Keep, int32(i))
		case leftOut:
			out.Filtered = append(out.Filtered, int32(i))
		default:
			out.Failed = append(out.Failed, r.failed[int32(i)])
		}
	}
	return out
}

// trouble is how a step, or its part for one column, fails.
type trouble struct {
	step   string // what messages call it
	verb   string
	column string
	null   bool // its value is null then, and the row is kept
	hide   bool // no value may be shown
}

// fail says that the step fails for a row. What the value was is said unless it is
// hidden; text is nil where there is nothing to show.
func (r *run) fail(t *trouble, row int, text []byte, why string) {
	if r.fate[row] != kept {
		return
	}
	if t.null {
		r.nulled++
		return
	}
	if r.failed == nil {
		r.failed = map[int32]Failure{}
	}
	r.fate[row] = failed
	message := t.step
	if t.column != "" {
		message += " of " + t.column
	}
	if text != nil && !t.hide {
		const shown = 100
		if len(text) > shown {
			text = append(text[:shown:shown], "…"...)
		}
		message += ": " + quoted(text)
		if why != "" {
			message += " " + why
		}
	} else {
		if t.hide && text != nil {
			why = "the value, which is not shown as the feed has masks, " + why
		}
		message += ": " + why
	}
	r.failed[int32(row)] = Failure{int32(row), t.verb, t.column, message}
}

// each gives every row of a column to do that is not null.
func (r *run) each(in *schema.Vector, out *schema.Vector, do func(row int)) {
	have := min(in.Len(), r.rows)
	for row := range have {
		if in.Null(row) {
			out.AppendNull()
		} else {
			do(row)
		}
	}
	out.PadTo(r.rows)
}

// values works an expression out for all rows, a chunk at a time.
func (r *run) values(e *expression, take func(from int, b *block)) {
	r.frame.columns = r.columns
	for from := 0; from < r.rows; from += chunkRows {
		r.frame.from, r.frame.to = from, min(from+chunkRows, r.rows)
		take(from, e.eval(&r.frame))
	}
}
