package consumer

import (
	"fmt"
	"slices"

	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// layout maps the cells of one header to the columns of a batch.
type layout struct {
	names   []string // as the header spells them; nil where the object has none
	columns []*column
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
	l := b.layout(names, schema.SafeNames(names))
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
	for i, name := range safe {
		c := b.column(name)
		if spellings != nil && !slices.Contains(c.spellings, spellings[i]) {
			c.spellings = append(c.spellings, spellings[i])
		}
		l.columns[i] = c
	}
	return l
}
