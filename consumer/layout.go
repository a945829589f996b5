package consumer

import (
	"fmt"
	"slices"

	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// layout maps the cells of one header to the columns of a batch.
type layout struct {
	names   []string      // as the header spells them; nil where the object has none
	columns []*column     // nil for those that the contract keeps out of the table
	asides  map[int]aside // those
	// refused says why the contract keeps all rows of the header out.
	refused *schema.Deviation
	strict  bool // there are columns that may keep a row out
}

// aside is a column whose cells are rescued.
type aside struct {
	name   string
	nulls  *schema.Nulls
	hidden bool
}

// layouts finds the layout of a header, made once a batch.
type layouts struct {
	byHeader map[string]*layout
	byWidth  map[int]*layout // objects without a header
}

func (l *layouts) reset() {
	if l.byHeader == nil {
		l.byHeader, l.byWidth = map[string]*layout{}, map[int]*layout{}
	}
	clear(l.byHeader)
	clear(l.byWidth)
}

// named is the layout of a Columns header.
func (b *batch) named(header []byte) (*layout, error) {
	if l := b.layouts.byHeader[string(header)]; l != nil {
		return l, nil
	}
	names, err := wire.ParseNames(header)
	if err != nil {
		return nil, fmt.Errorf("read header %s %q: %w", wire.Columns, header, err)
	}
	l := b.layout(names, b.contract.Names(names, b.schema))
	b.layouts.byHeader[string(header)] = l
	return l, nil
}

// numbered is the layout of rows of an object that has no header.
func (b *batch) numbered(width int) *layout {
	if l := b.layouts.byWidth[width]; l != nil {
		return l
	}
	l := b.layout(nil, schema.NumberedNames(width))
	b.layouts.byWidth[width] = l
	return l
}

func (b *batch) layout(spellings, safe []string) *layout {
	l := &layout{names: spellings, columns: make([]*column, len(safe))}
	for _, name := range b.contract.Required(b.schema) {
		if p := b.contract.MissingColumn(name); outright(p) && !slices.Contains(safe, name) {
			l.refuse(schema.MissingColumn, name, p)
		}
	}
	kept := make([]bool, len(safe))
	for i, name := range safe {
		if b.schema == nil || b.schema.Index(name) >= 0 {
			continue
		}
		p := b.contract.NewColumn(name)
		if kept[i] = p == schema.PolicyRescue; outright(p) {
			l.refuse(schema.NewColumn, name, p)
		}
	}
	for i, name := range safe {
		if spellings != nil && b.contract.Shows(name, spellings[i]) {
			b.column(name).spell(spellings[i]) // so that it can be masked
			l.refuse(schema.Unmasked, name, schema.PolicyReject)
		}
	}
	if l.refused != nil {
		return l
	}
	for i, name := range safe {
		if kept[i] {
			if l.asides == nil {
				l.asides = map[int]aside{}
			}
			l.asides[i] = aside{name, b.contract.NullTokens(name), b.contract.Hidden(name)}
			continue
		}
		c := b.column(name)
		if spellings != nil {
			c.spell(spellings[i])
		}
		l.columns[i] = c
		l.strict = l.strict || c.strict
	}
	return l
}

// spell says how a header writes the column's name.
func (c *column) spell(name string) {
	if !slices.Contains(c.spellings, name) {
		c.spellings = append(c.spellings, name)
	}
}

// refuse keeps the header's rows out; a reason that stops the feed comes before one
// that does not.
func (l *layout) refuse(kind schema.DeviationKind, name string, p schema.Policy) {
	if l.refused == nil || l.refused.Policy != schema.PolicyFreeze && p == schema.PolicyFreeze {
		l.refused = &schema.Deviation{Kind: kind, Column: name, Policy: p}
	}
}
