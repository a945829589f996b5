package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Policy says what a kind of change may do to a table.
type Policy uint8

// The policies. The zero value leaves it to the table's, and that to PolicyEvolve.
const (
	_            Policy = iota
	PolicyEvolve        // the table takes the change where readers survive it, else as PolicyRescue
	PolicyFreeze        // the run stops before the first row of it: nothing of the change enters, nothing is lost
	PolicyRescue        // the table stays as it is, and the text goes to `_rescued`
	PolicyReject        // the table stays as it is, and the row goes to quarantine
)

var policyNames = [...]string{"", "evolve", "freeze", "rescue", "reject"}

func (p Policy) String() string { return policyNames[p] }

// MarshalText and UnmarshalText give a policy its name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads evolve, freeze, rescue or reject.
func (p *Policy) UnmarshalText(b []byte) error {
	if i := slices.Index(policyNames[1:], string(b)); i >= 0 {
		*p = Policy(i + 1)
		return nil
	}
	return fmt.Errorf("parse policy %q: want evolve, freeze, rescue or reject", b)
}

var numbersNames = [...]string{"double", "decimal"}

func (n Numbers) String() string { return numbersNames[n] }

// MarshalText gives double or decimal.
func (n Numbers) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads double or decimal.
func (n *Numbers) UnmarshalText(b []byte) error {
	if i := slices.Index(numbersNames[:], string(b)); i >= 0 {
		*n = Numbers(i)
		return nil
	}
	return fmt.Errorf("parse numbers %q: want double or decimal", b)
}

// Contract is what is declared of a table's columns. The zero value, and nil, is
// that nothing is: every change is taken that readers survive. Names are safe names.
type Contract struct {
	// OnNewColumn is for a column that the table has not, once it has columns.
	OnNewColumn Policy `json:"on_new_column,omitzero"`
	// OnMissingColumn is for a header without a column of the table. There is no text
	// that could be rescued.
	OnMissingColumn Policy `json:"on_missing_column,omitzero"`
	// OnTypeChange is for a cell that does not fit its column's type.
	OnTypeChange Policy `json:"on_type_change,omitzero"`
	// OnNull is for a null. PolicyRescue keeps the token that stood for it.
	OnNull Policy `json:"on_null,omitzero"`
	// OnCellCount is for a row that has more or fewer cells than its header:
	// PolicyRescue takes missing ones for null and keeps others in `_rescued`. Unlike
	// the others it is PolicyReject where nothing is said.
	OnCellCount Policy `json:"on_cell_count,omitzero"`
	// Numbers says what a column of fractions becomes.
	Numbers Numbers `json:"numbers,omitzero"`
	// Nulls are the tokens that are null in every column instead of the usual ones;
	// nil are the usual ones, and an empty list is none.
	Nulls []string `json:"nulls,omitzero"`
	// Columns are what is declared of single columns.
	Columns map[string]Declaration `json:"columns,omitempty"`
	// Aliases give the new name of a column for an old one: both are one column.
	Aliases map[string]string `json:"aliases,omitempty"`
}

// Declaration is what is declared of one column. What it leaves out is as the
// contract has it for the table.
type Declaration struct {
	// Type is not changed by data; Unknown leaves it to evidence. So does NoFormat
	// the format of a type that has some.
	Type            Type     `json:"type,omitzero"`
	OnMissingColumn Policy   `json:"on_missing_column,omitzero"`
	OnTypeChange    Policy   `json:"on_type_change,omitzero"`
	OnNull          Policy   `json:"on_null,omitzero"`
	Nulls           []string `json:"nulls,omitzero"`
	// Hidden says that no cell of the column may be shown, in evidence or elsewhere.
	Hidden bool `json:"hidden,omitempty"`
}

// Empty says that nothing is declared.
func (c *Contract) Empty() bool {
	return c == nil || c.OnNewColumn|c.OnMissingColumn|c.OnTypeChange|c.OnNull|c.OnCellCount == 0 && c.Numbers == Doubles &&
		c.Nulls == nil && len(c.Columns)+len(c.Aliases) == 0
}

// Validate reports every fault at once.
func (c *Contract) Validate() error {
	if c == nil {
		return nil
	}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	safe := func(where, name string) {
		if s := SafeName(name); s != name || s == "" {
			fault("%s: %q is not the name of a column in the table: write it as %q", where, name, s)
		}
	}
	if c.OnMissingColumn == PolicyRescue {
		fault("on_missing_column: rescue keeps text, and a column that is missing has none: use evolve, freeze or reject")
	}
	if c.OnCellCount == PolicyEvolve {
		fault("on_cell_count: a table does not grow by cells that no header names: use rescue, reject or freeze")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		safe("columns", name)
		if c.Columns[name].OnMissingColumn == PolicyRescue {
			fault("columns: %s: on_missing_column: rescue keeps text, and a column that is missing has none: use evolve, freeze or reject", name)
		}
		if f := c.Columns[name].Type.Format; !f.of(c.Columns[name].Type.Kind) {
			fault("columns: %s: a %s is not written as %s", name, c.Columns[name].Type, f)
		}
	}
	for _, old := range slices.Sorted(maps.Keys(c.Aliases)) {
		safe("aliases", old)
		safe("aliases", c.Aliases[old])
		name, hops := old, 0
		for next, ok := c.Aliases[name]; ok && hops <= len(c.Aliases); next, ok = c.Aliases[name] {
			name, hops = next, hops+1
		}
		if hops > len(c.Aliases) {
			fault("aliases: %s: %s comes back to itself: write old name: new name", old, c.Aliases[old])
		}
		if _, declared := c.Columns[old]; declared {
			fault("columns: %s: it is an old name of %s: declare the column by the new one", old, c.Aliases[old])
		}
	}
	return errors.Join(errs...)
}

// newest is the last name of a column that was called name.
func (c *Contract) newest(name string) (newest string, hops int) {
	for next, ok := c.Aliases[name]; ok; next, ok = c.Aliases[name] {
		name, hops = next, hops+1
	}
	return name, hops
}

// names are a column's names, the newest first.
func (c *Contract) names(newest string) []string {
	out := []string{newest}
	for old := range c.Aliases {
		if last, _ := c.newest(old); last == newest {
			out = append(out, old)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		_, x := c.newest(a)
		_, y := c.newest(b)
		if x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return out
}

// Names gives the columns of a header: SafeNames, and the aliases followed. A column
// that was renamed has the newest of its names that the table has already; where it
// has none, the newest of all. Where one header has several names of a column, each
// is a column of its own. table may be nil.
func (c *Contract) Names(header []string, table *Schema) []string {
	names := SafeNames(header)
	if c == nil || len(c.Aliases) == 0 {
		return names
	}
	out := slices.Clone(names)
	count := map[string]int{}
	for i, name := range names {
		out[i] = c.Name(name, table)
		count[out[i]]++
	}
	for i, name := range names {
		if count[out[i]] > 1 {
			out[i] = name
		}
	}
	return out
}

// Name is the name in the table of a column that a header calls by a safe name.
func (c *Contract) Name(name string, table *Schema) string {
	if c == nil {
		return name
	}
	newest, _ := c.newest(name)
	if table == nil || table.Index(newest) >= 0 {
		return newest
	}
	for _, other := range c.names(newest) {
		if table.Index(other) >= 0 {
			return other
		}
	}
	return newest
}

// declaration is what is declared of a column, by any of its names.
func (c *Contract) declaration(name string) Declaration {
	if c == nil {
		return Declaration{}
	}
	if d, ok := c.Columns[name]; ok {
		return d
	}
	newest, _ := c.newest(name)
	return c.Columns[newest]
}

func first(policies ...Policy) Policy {
	for _, p := range policies {
		if p != 0 {
			return p
		}
	}
	return PolicyEvolve
}

// NewColumn is the policy for columns that the table has not. One that is declared
// may come.
func (c *Contract) NewColumn(name string) Policy {
	if c == nil || c.declaration(name).Type.Kind != Unknown {
		return PolicyEvolve
	}
	return first(c.OnNewColumn)
}

// MissingColumn is the policy for headers without the column.
func (c *Contract) MissingColumn(name string) Policy {
	if c == nil {
		return PolicyEvolve
	}
	return first(c.declaration(name).OnMissingColumn, c.OnMissingColumn)
}

// TypeChange is the policy for cells that do not fit the column's type.
func (c *Contract) TypeChange(name string) Policy {
	if c == nil {
		return PolicyEvolve
	}
	return first(c.declaration(name).OnTypeChange, c.OnTypeChange)
}

// Null is the policy for nulls in the column.
func (c *Contract) Null(name string) Policy {
	if c == nil {
		return PolicyEvolve
	}
	return first(c.declaration(name).OnNull, c.OnNull)
}

// CellCount is the policy for rows that have not as many cells as their header.
func (c *Contract) CellCount() Policy {
	if c == nil || c.OnCellCount == 0 {
		return PolicyReject
	}
	return c.OnCellCount
}

// NullTokens are the column's null tokens, nil for the usual ones.
func (c *Contract) NullTokens(name string) *Nulls {
	if c == nil {
		return nil
	}
	if d := c.declaration(name); d.Nulls != nil {
		return NewNulls(d.Nulls)
	}
	if c.Nulls != nil {
		return NewNulls(c.Nulls)
	}
	return nil
}

// Required are the columns that headers must have: those of the table, and those
// declared, for which a missing column is not just null.
func (c *Contract) Required(table *Schema) (names []string) {
	if c == nil {
		return nil
	}
	add := func(name string) {
		if c.MissingColumn(name) != PolicyEvolve && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if table != nil {
		for _, f := range table.Fields {
			add(f.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		if c.Columns[name].OnMissingColumn != 0 {
			add(c.Name(name, table))
		}
	}
	return names
}

// typed is the type of a column that has none yet, by declaration and evidence.
func (c *Contract) typed(name string, e *Evidence) Type {
	if c == nil {
		return e.Type(Doubles)
	}
	t, seen := c.declaration(name).Type, e.Type(c.Numbers)
	if t.Kind == Unknown {
		return seen
	}
	if t.Format == NoFormat && seen.Format.of(t.Kind) {
		t.Format = seen.Format
	}
	return t
}

// Grows says whether a column is declared with more digits than the table has it with.
func (c *Contract) Grows(f Field) bool {
	want := c.declaration(f.Name).Type
	return want.Kind == Decimal && f.Type.Kind == Decimal && want.Scale == f.Type.Scale && want.Precision > f.Type.Precision
}

// Check says whether a table can keep what is declared: a table keeps the type of a
// column for a generation. The error is a *ContractError.
func (c *Contract) Check(table *Schema) error {
	if c == nil || table == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		want := c.Columns[name].Type
		f, found := table.Field(c.Name(name, table))
		if !found || want.Kind == Unknown || f.Type.Kind == Unknown || f.Type.contains(want) || Plan(Situation{Exists: true, Table: f.Type, Files: []Type{f.Type}, Seen: want}).Do == Widen {
			continue
		}
		return &ContractError{Column: f.Name, Message: fmt.Sprintf("it is declared %s, and the table has it as %s since it was made: a table keeps a column's type. Declare %s, or build the table again", want.Written(), f.Type.Written(), f.Type.Written())}
	}
	return nil
}

// contains says whether a column of type t holds every value of another type.
func (t Type) contains(o Type) bool {
	if t.Kind == Decimal && o.Kind == Decimal {
		return t.Scale == o.Scale && t.Precision >= o.Precision
	}
	return t.Kind == o.Kind && t.Zoned == o.Zoned
}

// ContractError says that a contract was broken, where that stops the feed.
type ContractError struct {
	Column  string
	Message string
	// Witness is where it was broken.
	Witness Witness
}

func (e *ContractError) Error() string {
	at := ""
	if e.Witness.Source != "" {
		at = fmt.Sprintf("%s:%d: ", e.Witness.Source, e.Witness.Line)
	}
	if e.Column == "" {
		return at + e.Message
	}
	return fmt.Sprintf("%scolumn %s: %s", at, e.Column, e.Message)
}

// Deviation is what a part of the feed brought and the table did not take.
type Deviation struct {
	Kind   DeviationKind `json:"kind"`
	Column string        `json:"column"`
	// Type is the column's in the table, "" where it has none.
	Type string `json:"type,omitempty"`
	// Policy says what became of it: PolicyRescue the cells, PolicyReject the rows.
	Policy Policy  `json:"policy"`
	Count  int64   `json:"count"` // cells, or rows
	First  Witness `json:"first,omitzero"`
	// Hidden says that the message must not show the cell, which First does not have.
	Hidden bool `json:"-"`
}

// DeviationKind says what kind of change a deviation is. It is the rule of the
// quarantined row too.
type DeviationKind string

// The kinds of changes for which there are policies.
const (
	NewColumn     DeviationKind = "new_column"
	MissingColumn DeviationKind = "missing_column"
	TypeChange    DeviationKind = "type_change"
	NullCell      DeviationKind = "null"
	CellCount     DeviationKind = "cell_count" // of no column
	Unmasked      DeviationKind = "unmasked"   // a column beside a masked one of its name
)

// Message says what is wrong, without where.
func (d *Deviation) Message() string {
	switch d.Kind {
	case NewColumn:
		return "the header has a column " + d.Column + ", which the table has not"
	case MissingColumn:
		return "the header has no column " + d.Column
	case Unmasked:
		return "the header has a masked column twice, the second time as " + d.Column + ", which would show it: mask " + d.Column + " too"
	case NullCell:
		return "it is null"
	case CellCount:
		return "the row has not as many cells as its header"
	}
	if d.Hidden {
		return "the value, which is not shown as the feed has masks, is no " + d.Type
	}
	return fmt.Sprintf("%q is no %s", d.First.Text, d.Type)
}

// Err is the deviation as the error that stops the feed.
func (d *Deviation) Err() *ContractError {
	return &ContractError{Column: d.Column, Message: d.Message() + ", and the contract says freeze. Change the contract or the feed; the rows are in the topic and go in then", Witness: d.First}
}
