package transform

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lakefeed/schema"
	"lakefeed/schema/spelling"
)

// Compile checks a spec against the columns of a feed and makes a program of it. The
// error is Faults, with every fault.
//
// source has the columns as Declare has the feed's contract declare them; nil where
// they are not known yet: then the spec is checked as far as it can be, and there is
// no program to run.
func Compile(spec Spec, source *schema.Schema) (*Program, error) {
	b := &builder{spec: spec, known: source != nil, gone: map[string]string{}}
	if source != nil {
		for _, f := range source.Fields {
			v := &schema.Vector{}
			v.Reset(f.Type)
			b.program.sources = append(b.program.sources, Column{f.Name, v})
			b.live = append(b.live, &column{name: f.Name, typ: f.Type, slot: b.slot(f.Type), sources: []string{f.Name}, own: f.Name, late: f.Late, step: -1})
		}
	}
	if err := b.all(); err != nil {
		return nil, err
	}
	for _, c := range b.live {
		b.program.fields = append(b.program.fields, schema.Field{Name: c.name, Type: plain(c.typ)})
		b.program.output = append(b.program.output, c.slot)
		b.program.origins = append(b.program.origins, c.origin(spec))
	}
	return &b.program, nil
}

// Check checks a spec without knowing the feed's columns. The error is Faults.
func (s Spec) Check() error {
	_, err := Compile(s, nil)
	return err
}

// column is a column between two steps.
type column struct {
	name string
	typ  schema.Type
	slot int
	// sources are the feed's columns that it is made of; own is the one that it is,
	// under whatever name, "" for one that was made.
	sources []string
	own     string
	late    schema.Late
	// step is the place of the step that made it, -1 for a column of the feed, verb what
	// that does.
	step int
	verb string
}

func (c *column) origin(spec Spec) Origin {
	o := Origin{Step: c.step, Verb: c.verb, Sources: c.sources}
	if c.verb == "set" {
		o.Expression = spec[c.step].Set[c.name]
	}
	return o
}

// builder compiles the steps.
type builder struct {
	spec    Spec
	known   bool
	program Program
	live    []*column
	gone    map[string]string // columns that a step took away, and which
	faults  Faults

	at       int
	verb     string
	step     *Step
	troubles []*trouble
	masked   []masked
}

// masked is a column that a step hides.
type masked struct {
	step    int
	column  string
	of      any
	own     string
	sources []string
	reveal  []string
}

func (b *builder) fault(of any, key, hint, format string, args ...any) {
	b.faults = append(b.faults, Fault{Step: b.at, Of: of, Key: key, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// slot makes room for the values of a column.
func (b *builder) slot(t schema.Type) int {
	v := &schema.Vector{}
	v.Reset(t)
	b.program.made = append(b.program.made, v)
	return len(b.program.made) - 1
}

func (b *builder) run(do runner) { b.program.steps = append(b.program.steps, do) }

func (b *builder) names() []string {
	if !b.known {
		return nil
	}
	out := make([]string, len(b.live))
	for i, c := range b.live {
		out[i] = c.name
	}
	return out
}

func (b *builder) index(name string) int {
	return slices.IndexFunc(b.live, func(c *column) bool { return c.name == name })
}

// find is a column that a step names, nil after a fault.
func (b *builder) find(of any, name string) *column {
	if i := b.index(name); i >= 0 {
		return b.live[i]
	}
	if by := b.gone[name]; by != "" {
		b.fault(of, name, "", "there is no column %s any more: %s", name, by)
		return nil
	}
	if safe := schema.SafeName(name); safe != name {
		b.fault(of, name, "write it as "+safe, "columns are called by their names in the table, and %q is none", name)
		return nil
	}
	if !b.known {
		c := &column{name: name, slot: b.slot(unknown), sources: []string{name}, own: name, step: -1}
		b.live = append(b.live, c)
		return c
	}
	hint := "the columns are " + strings.Join(b.names(), ", ")
	if near := spelling.Nearest(name, b.names()); near != "" {
		hint = "did you mean " + near + "?"
	}
	b.fault(of, name, hint, "there is no column %s", name)
	return nil
}

// put sets a column by its name, in the place of one that has it.
func (b *builder) put(c *column) {
	c.step, c.verb = b.at, b.verb
	delete(b.gone, c.name)
	if i := b.index(c.name); i >= 0 {
		b.live[i] = c
		return
	}
	b.live = append(b.live, c)
}

// remake is a column with other values: of the same name, and the same of the feed's.
func (b *builder) remake(c *column, t schema.Type) *column {
	made := *c
	made.typ, made.slot, made.late = t, b.slot(t), schema.NotLate
	b.put(&made)
	return &made
}

// name checks the name that a step gives a column.
func (b *builder) name(of any, key, name string) bool {
	switch {
	case schema.SafeName(name) != name || name == "":
		hint := "a-z, 0-9 and _ are its letters"
		if safe := schema.SafeName(name); safe != "" {
			hint = "write it as " + safe
		}
		b.fault(of, key, hint, "%q is no name of a column", name)
	default:
		return true
	}
	return false
}

// trouble is how the step fails for a column.
func (b *builder) trouble(verb, c string) *trouble {
	name := b.step.Name
	if name == "" {
		name = fmt.Sprintf("transform[%d] %s", b.at, verb)
	}
	t := &trouble{step: name, verb: verb, column: c, null: b.step.OnError == OnErrorNull}
	b.troubles = append(b.troubles, t)
	return t
}

// all compiles all steps. The error is Faults.
func (b *builder) all() error {
	for i, step := range b.spec {
		b.at, b.step = i, step
		b.add(step)
	}
	b.hide()
	if len(b.faults) > 0 {
		return b.faults
	}
	return nil
}

// add compiles one step.
func (b *builder) add(s *Step) {
	verbs := []struct {
		name    string
		set     bool
		n       int    // of what it is given
		of      any    // where that is
		example string // of it
		do      func(*Step)
	}{
		{"rename", s.Rename != nil, len(s.Rename), &s.Rename, "{old: new}", b.rename}, {"drop", s.Drop != nil, len(s.Drop), &s.Drop, "[a, b]", b.drop},
		{"keep", s.Keep != nil, len(s.Keep), &s.Keep, "[a, b]", b.keep}, {"cast", s.Cast != nil, len(s.Cast), &s.Cast, "{a: bigint}", b.cast},
		{"set", s.Set != nil, len(s.Set), &s.Set, "{total: amount * qty}", b.set}, {"where", s.Where != "", len(s.Where), &s.Where, "amount > 0", b.where},
		{"fill", s.Fill != nil, len(s.Fill), &s.Fill, "{a: 0}", b.fill}, {"trim", s.Trim != nil, len(s.Trim), &s.Trim, "[a, b]", b.trim},
		{"lower", s.Lower != nil, len(s.Lower), &s.Lower, "[a, b]", b.lower}, {"upper", s.Upper != nil, len(s.Upper), &s.Upper, "[a, b]", b.upper},
		{"parse", s.Parse != nil, len(s.Parse), &s.Parse, `{a: {formats: ["%Y-%m-%d"]}}`, b.parse}, {"split", s.Split != nil, len(s.Split), &s.Split, `{a: {by: ",", into: [first, second]}}`, b.split},
		{"map", s.Map != nil, len(s.Map), &s.Map, "{a: {values: {from: to}}}", b.lookup}, {"mask", s.Mask != nil, len(s.Mask), &s.Mask, "{a: redact}", b.mask},
		{"json", s.JSON != nil, len(s.JSON), &s.JSON, "{a: {columns: {b: {}}}}", b.json},
	}
	var set []string
	for _, v := range verbs {
		if v.set {
			set = append(set, v.name)
		}
	}
	all := make([]string, len(verbs))
	for i, v := range verbs {
		all[i] = v.name
	}
	switch {
	case len(set) == 0:
		b.fault(s, "", "a step is one of "+strings.Join(all, ", "), "the step does nothing")
		b.faults[len(b.faults)-1].Bare = true
		return
	case len(set) > 1:
		b.fault(s, "", "make them steps of their own, each with its hyphen: they run one after the other", "the step has %s", strings.Join(set, " and "))
		return
	}
	if s.OnError != "" && s.OnError != OnErrorNull && s.OnError != OnErrorQuarantine {
		b.fault(&s.OnError, "", "", "on_error is quarantine or null, not %q", s.OnError)
	}
	if s.OnError != "" && slices.Contains([]string{"rename", "drop", "keep", "fill", "trim", "lower", "upper", "mask"}, set[0]) {
		b.fault(&s.OnError, "", "leave it out", "%s does not fail, so that on_error has nothing to say", set[0])
	}
	if (s.Key != nil || s.Reveal != nil) && set[0] != "mask" {
		b.fault(s, "", "leave them out", "key and reveal are of mask, and this is %s", set[0])
	}
	for _, v := range verbs {
		switch {
		case v.set && v.n == 0:
			b.fault(v.of, "", fmt.Sprintf("name the columns, as in %s: %s, or leave the step out", v.name, v.example), "%s is empty", v.name)
		case v.set:
			b.verb = v.name
			v.do(s)
		}
	}
}

func (b *builder) rename(s *Step) {
	type change struct {
		c  *column
		to string
	}
	var changes []change
	for _, old := range slices.Sorted(maps.Keys(s.Rename)) {
		to := s.Rename[old]
		if c := b.find(&s.Rename, old); b.name(&s.Rename, old, to) && c != nil {
			changes = append(changes, change{c, to})
		}
	}
	for i, one := range changes { // at once, so that two may change places
		other := b.index(one.to)
		if other >= 0 && !slices.ContainsFunc(changes, func(o change) bool { return o.c == b.live[other] }) ||
			slices.ContainsFunc(changes[:i], func(o change) bool { return o.to == one.to }) {
			b.fault(&s.Rename, one.c.name, "drop or rename the other first", "%s cannot become %s: there would be two", one.c.name, one.to)
			return
		}
	}
	for _, one := range changes {
		b.gone[one.c.name] = fmt.Sprintf("transform[%d] called it %s", b.at, one.to)
	}
	for _, one := range changes {
		renamed := *one.c
		renamed.name = one.to
		delete(b.gone, one.to)
		b.live[slices.Index(b.live, one.c)] = &renamed
	}
}

func (b *builder) drop(s *Step) {
	for i, name := range s.Drop {
		if c := b.find(&s.Drop[i], name); c != nil {
			b.remove(c, "dropped it")
		}
	}
}

func (b *builder) remove(c *column, how string) {
	b.live = slices.DeleteFunc(b.live, func(o *column) bool { return o == c })
	b.gone[c.name] = fmt.Sprintf("transform[%d] %s", b.at, how)
}

func (b *builder) keep(s *Step) {
	for i, name := range s.Keep {
		b.find(&s.Keep[i], name)
	}
	for _, c := range slices.Clone(b.live) {
		if !slices.Contains(s.Keep, c.name) {
			b.remove(c, "did not keep it")
		}
	}
}

// expression compiles an expression of the step. Where the type of late columns does
// not fit, it is compiled as if they had only nulls, which it fails for if they have not.
func (b *builder) expression(of any, key, text string) (*expression, []string) {
	e, err := b.typed(of, text, schema.LateUntyped)
	if err != nil && slices.ContainsFunc(b.live, func(c *column) bool { return c.late == schema.LateMisfit }) {
		if untyped, e2 := b.typed(of, text, schema.LateMisfit); e2 == nil {
			e, err = untyped, nil
		}
	}
	if err != nil {
		f := Fault{Step: b.at, Of: of, Key: key, Text: text, Message: err.Error()}
		if broken, ok := err.(*expressionError); ok {
			f.Hint = broken.hint
			f.Offset, f.Width = broken.at.From, max(0, broken.at.To-broken.at.From)
			f.Width = max(0, min(f.Width, len([]rune(text))-f.Offset))
			if f.Width == 0 && f.Offset > 0 {
				f.Width = 1
			}
			for name, by := range b.gone {
				if broken.message == "there is no column "+name {
					f.Message += " any more: " + by
				}
			}
		}
		b.faults = append(b.faults, f)
		return nil, nil
	}
	var sources []string
	for _, name := range e.uses {
		sources = union(sources, b.live[b.index(name)].sources)
	}
	return e, sources
}

// typed compiles an expression, to which columns that are as late as that have no type.
func (b *builder) typed(of any, text string, untyped schema.Late) (*expression, error) {
	e, err := compile(text, func(name string) (int, schema.Type, bool) {
		i := b.index(name)
		if i < 0 && !b.known && b.gone[name] == "" && schema.SafeName(name) == name {
			b.find(of, name) // which takes it for one of the feed's
			i = b.index(name)
		}
		if i < 0 {
			return 0, unknown, false
		}
		if c := b.live[i]; c.late < untyped {
			return c.slot, c.typ, true
		}
		return b.live[i].slot, unknown, true
	}, b.names())
	if err != nil {
		return nil, err
	}
	for _, name := range e.uses {
		if c := b.live[b.index(name)]; c.late >= untyped {
			e.untyped = append(e.untyped, untypedColumn{c.slot, fmt.Sprintf("column %s has a value, %s, and had none when the table got its columns: the step does not take it", name, c.typ)})
		}
	}
	return e, nil
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func (b *builder) set(s *Step) {
	var made []*column
	for _, name := range slices.Sorted(maps.Keys(s.Set)) {
		e, sources := b.expression(&s.Set, name, s.Set[name])
		if !b.name(&s.Set, name, name) || e == nil {
			continue
		}
		t := plain(e.root.typ)
		c := &column{name: name, typ: t, slot: b.slot(t), sources: sources}
		made = append(made, c)
		if !b.known {
			continue
		}
		trouble := b.trouble("set", name)
		b.run(func(r *run) {
			v := r.columns[c.slot]
			v.Reset(t)
			r.values(e, func(from int, values *block) {
				for i, why := range values.errs {
					r.fail(trouble, from+i, nil, why)
				}
				values.appendTo(v, t.Kind)
			})
		})
	}
	for _, c := range made {
		b.put(c)
	}
}

func (b *builder) where(s *Step) {
	e, _ := b.expression(&s.Where, "", s.Where)
	if e == nil {
		return
	}
	if k := e.root.typ.Kind; k != schema.Boolean && k != schema.Unknown {
		b.faults = append(b.faults, Fault{Step: b.at, Of: &s.Where, Text: s.Where, Width: len([]rune(s.Where)), Message: "where takes a condition, and this is " + e.root.typ.String(), Hint: "compare it with something: " + s.Where + " != …"})
		return
	}
	trouble := b.trouble("where", "")
	b.run(func(r *run) {
		r.values(e, func(from int, values *block) {
			for i, why := range values.errs {
				r.fail(trouble, from+i, nil, why)
			}
			for i, null := range values.null {
				if (null || values.ints[i] == 0) && r.fate[from+i] == kept {
					r.fate[from+i] = leftOut
					r.filtered++
				}
			}
		})
	})
}

// hide works out which of the feed's columns must not be shown: those of which a masked
// column is made, unless they are in the table themselves. What is made of a masked
// column and is not masked is a fault.
func (b *builder) hide() {
	for _, t := range b.troubles { // of any column: cells of a broken row may be another's
		t.hide = len(b.masked) > 0
	}
	for _, m := range b.masked {
		if m.own == "" {
			continue
		}
		for _, c := range b.live {
			if c.own == m.own || !slices.Contains(c.sources, m.own) || slices.Contains(m.reveal, c.name) {
				continue
			}
			b.at = m.step
			b.fault(m.of, m.column, "mask it before "+c.name+" is made, mask "+c.name+" too, or say reveal: ["+c.name+"] if it may be shown", "the table would show %s by %s, which is made of it", m.column, c.name)
		}
	}
}

func (b *builder) hidden() (out []string) {
	for _, m := range b.masked {
		for _, s := range m.sources {
			shown := slices.ContainsFunc(b.live, func(c *column) bool { return c.own == s })
			if (m.own == s || !shown) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func quoted(text []byte) string { return strconv.Quote(string(text)) }
