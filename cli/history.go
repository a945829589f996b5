package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"lakefeed/consumer/transform"
	"lakefeed/schema"
)

// versions are the versions of a table's schema, the first one first.
func (l *Lake) versions(ctx context.Context, g *Globals, table string) ([]*schema.Schema, error) {
	t, err := l.table(ctx, g, table)
	if err != nil {
		return nil, err
	}
	latest, err := t.Schemas().Latest(ctx)
	if err != nil || latest == nil {
		return nil, err
	}
	out := make([]*schema.Schema, latest.Version)
	for v := range latest.Version {
		if out[v], err = t.Schemas().Get(ctx, v+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type schemaLog struct {
	Table string `arg:"" help:"The table."`
	Lake
	Output
}

// loggedVersion is a version in the log as JSON.
type loggedVersion struct {
	Version int64           `json:"version"`
	Changes []schema.Change `json:"changes"`
}

func (c *schemaLog) Run(ctx context.Context, g *Globals) error {
	versions, err := c.versions(ctx, g, c.Table)
	if err != nil {
		return err
	}
	log := []loggedVersion{}
	for _, v := range versions {
		log = append(log, loggedVersion{v.Version, v.Changes})
	}
	if c.json() {
		return writeJSON(g.stdout, log)
	}
	tab := tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	for _, v := range log {
		for _, change := range v.Changes {
			fmt.Fprintf(tab, "%d\t%s\t%s\t%s%s\n", v.Version, change.Kind, change.Column, fromTo(change.From, change.To), witness(change.Witness))
		}
	}
	return tab.Flush()
}

func fromTo(from, to string) string {
	if from == "" {
		return typeText(to)
	}
	return from + " to " + typeText(to)
}

type schemaDiff struct {
	Table string `arg:"" help:"The table."`
	A     int64  `arg:"" help:"A version of its schema."`
	B     int64  `arg:"" help:"Another one."`
	Lake
	Output
}

// difference is how a column differs between two versions.
type difference struct {
	Column string `json:"column"`
	A      string `json:"a,omitempty"` // type; empty where there is no such column
	B      string `json:"b,omitempty"`
}

func (c *schemaDiff) Run(ctx context.Context, g *Globals) error {
	versions, err := c.versions(ctx, g, c.Table)
	if err != nil {
		return err
	}
	for _, v := range []int64{c.A, c.B} {
		if v < 1 || v > int64(len(versions)) {
			return &usageError{fmt.Sprintf("schema version %d: table %s has the versions 1 to %d", v, c.Table, len(versions))}
		}
	}
	out := differences(versions[c.A-1], versions[c.B-1])
	if c.json() {
		return writeJSON(g.stdout, out)
	}
	tab := tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	for _, d := range out {
		switch {
		case d.A == "":
			fmt.Fprintf(tab, "+\t%s\t%s\n", d.Column, d.B)
		case d.B == "":
			fmt.Fprintf(tab, "-\t%s\t%s\n", d.Column, d.A)
		default:
			fmt.Fprintf(tab, "~\t%s\t%s to %s\n", d.Column, d.A, d.B)
		}
	}
	return tab.Flush()
}

func differences(a, b *schema.Schema) []difference {
	out := []difference{}
	for _, f := range a.Fields {
		d := difference{Column: f.Name, A: f.Type.Written()}
		if other, ok := b.Field(f.Name); ok {
			d.B = other.Type.Written()
		}
		if d.A != d.B {
			out = append(out, d)
		}
	}
	for _, f := range b.Fields {
		if a.Index(f.Name) < 0 {
			out = append(out, difference{Column: f.Name, B: f.Type.Written()})
		}
	}
	return out
}

type schemaWhy struct {
	Table  string `arg:"" help:"The table."`
	Column string `arg:"" help:"The column, by its name in the table or as a header has it."`
	Lake
	Output
}

// reason is why a column has its type.
type reason struct {
	Column    string          `json:"column"`
	Type      string          `json:"type"`
	Since     int64           `json:"since"` // schema version
	Spellings []string        `json:"spellings"`
	Evidence  schema.Evidence `json:"evidence"`
	Least     string          `json:"least,omitempty"`
	Greatest  string          `json:"greatest,omitempty"`
	Undecided string          `json:"undecided,omitempty"`   // what the cells have left open
	Made      string          `json:"made,omitempty"`        // by which step, of what
	Feed      string          `json:"feed_column,omitempty"` // that it is, and whose evidence this is
	Changes   []loggedVersion `json:"changes"`
}

func (c *schemaWhy) Run(ctx context.Context, g *Globals) error {
	versions, err := c.versions(ctx, g, c.Table)
	if err != nil {
		return err
	}
	name := c.Column
	if len(versions) == 0 {
		return &usageError{"table " + c.Table + " has no columns yet"}
	}
	latest := versions[len(versions)-1]
	f, ok := latest.Field(name)
	if !ok && latest.Source != nil && latest.Source.Index(name) >= 0 {
		return &usageError{fmt.Sprintf("table %s has no column %s: the feed has it, and its steps leave it out or call it otherwise", c.Table, name)}
	}
	if !ok {
		if f, ok = latest.Field(schema.SafeName(name)); !ok {
			var names []string
			for _, f := range latest.Fields {
				names = append(names, f.Name)
			}
			return &usageError{fmt.Sprintf("table %s has no column %s; it has %s", c.Table, name, strings.Join(names, ", "))}
		}
	}
	r := reason{Column: f.Name, Type: f.Type.Written(), Spellings: f.Spellings, Evidence: f.Evidence, Undecided: f.Evidence.Undecided(), Changes: []loggedVersion{}}
	if f.Type.Kind != schema.String {
		r.Undecided = ""
	}
	if latest.Source != nil {
		if err := r.trace(ctx, g, c, latest); err != nil {
			return err
		}
		if own, ok := latest.Source.Field(r.Feed); ok {
			f.Evidence, f.Spellings = own.Evidence, own.Spellings
			r.Evidence, r.Spellings = own.Evidence, own.Spellings
		}
	}
	r.Least, r.Greatest, _ = f.Evidence.Bounds(f.Type)
	for _, v := range versions {
		if was, ok := v.Field(f.Name); ok && was.Type == f.Type && r.Since == 0 {
			r.Since = v.Version
		}
		changes := slices.DeleteFunc(slices.Clone(v.Changes), func(c schema.Change) bool { return c.Column != f.Name })
		if len(changes) > 0 {
			r.Changes = append(r.Changes, loggedVersion{v.Version, changes})
		}
	}
	if c.json() {
		return writeJSON(g.stdout, r)
	}
	r.print(g, c.Table)
	return nil
}

// trace finds out what steps have made the column of.
func (r *reason) trace(ctx context.Context, g *Globals, c *schemaWhy, latest *schema.Schema) error {
	table, err := c.table(ctx, g, c.Table)
	if err != nil {
		return err
	}
	text, err := table.LastConfig(ctx)
	if err != nil {
		return err
	}
	steps, err := stepsOf(text)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if step.Key != nil {
			step.Key.Secret = make([]byte, transform.MinKey) // nothing is masked here
		}
	}
	program, err := transform.Compile(steps, latest.Source)
	if err != nil {
		return nil // the steps are not those of these columns
	}
	o, ok := program.Origin(r.Column)
	switch {
	case !ok:
		r.Made = "steps of before; those of now make no such column"
	case o.Step < 0:
		r.Feed = o.Sources[0]
	default:
		r.Made = fmt.Sprintf("transform[%d] %s", o.Step, o.Verb)
		if o.Expression != "" {
			r.Made += ": " + o.Expression
		}
		if len(o.Sources) > 0 {
			r.Made += ", of the feed's " + strings.Join(o.Sources, ", ")
		}
	}
	return nil
}

// stepsOf are the steps of a stored configuration.
func stepsOf(config []byte) (transform.Spec, error) {
	var stored struct {
		Transform transform.Spec `json:"transform"`
	}
	if err := json.Unmarshal(config, &stored); err != nil {
		return nil, fmt.Errorf("read the configuration that the table was written with: %w", err)
	}
	return stored.Transform, nil
}

// sameSteps says whether two lists of steps make the same of the same rows, but for what
// files hold that they look values up in.
func sameSteps(a, b transform.Spec) bool {
	text := func(s transform.Spec) string {
		s = slices.Clone(s)
		for i, step := range s {
			with := *step
			with.Key = nil // wherever it is, it is the same if its print is
			with.Map = maps.Clone(step.Map)
			for column, l := range with.Map {
				if l.File != "" {
					same := *l
					same.Values, same.SHA256 = nil, ""
					with.Map[column] = &same
				}
			}
			s[i] = &with
		}
		out, err := json.Marshal(s)
		if err != nil {
			return ""
		}
		return string(out)
	}
	if len(a) != len(b) || text(a) != text(b) {
		return false
	}
	for i := range a {
		if x, y := a[i].Key, b[i].Key; x != nil && y != nil && x.Print != "" && y.Print != "" && x.Print != y.Print {
			return false
		}
	}
	return true
}

func (r *reason) print(g *Globals, table string) {
	w, e := g.stdout, &r.Evidence
	fmt.Fprintf(w, "%s.%s is %s since schema version %d\n", table, r.Column, typeText(r.Type), r.Since)
	if len(r.Spellings) > 0 {
		fmt.Fprintf(w, "  in headers: %s\n", strings.Join(r.Spellings, ", "))
	}
	switch {
	case r.Made != "":
		fmt.Fprintf(w, "  made by %s\n", r.Made)
		e = &schema.Evidence{}
	case r.Feed != "" && r.Feed != r.Column:
		fmt.Fprintf(w, "  it is the feed's column %s\n", r.Feed)
	}
	if r.Made == "" {
		fmt.Fprintf(w, "  decided by %s, %s null, the longest of %s\n", plural(e.Cells, "cell"), countText(e.Nulls), plural(int64(e.Longest), "byte"))
	}
	if r.Least != "" || r.Greatest != "" {
		fmt.Fprintf(w, "  from %s to %s\n", r.Least, r.Greatest)
	}
	if r.Undecided != "" {
		fmt.Fprintf(w, "  it is a string because %s\n", r.Undecided)
	}
	for _, s := range e.Steps {
		fmt.Fprintf(w, "  %s%s\n", s.Became, cellWitness(s.Witness))
	}
	for _, v := range r.Changes {
		for _, c := range v.Changes {
			fmt.Fprintf(w, "  schema version %d: %s %s%s\n", v.Version, c.Kind, fromTo(c.From, c.To), witness(c.Witness))
		}
	}
}

// cellWitness says by which cell something came about.
func cellWitness(w schema.Witness) string {
	if w.Source == "" {
		return fmt.Sprintf(" by %q", w.Text)
	}
	return fmt.Sprintf(" by %s:%d %q", objectName(w.Source), w.Line, w.Text)
}
