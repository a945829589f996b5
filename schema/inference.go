package schema

import "slices"

// Inference gathers what rows of any number of headers show of their columns.
// The zero value has seen nothing.
type Inference struct {
	// Contract says which names are one column, and what is null; it may be nil.
	Contract *Contract

	columns []Seen
	nulls   []*Nulls
	index   map[string]int
}

// Header gives the places of a header's columns, for Observe. A header without
// names is one of NumberedNames; pass named false so that these are not taken
// for spellings.
func (f *Inference) Header(names []string, named bool) []int {
	if f.index == nil {
		f.index = map[string]int{}
	}
	places := make([]int, len(names))
	for i, safe := range f.Contract.Names(names, nil) {
		at, ok := f.index[safe]
		if !ok {
			at = len(f.columns)
			f.index[safe] = at
			f.columns = append(f.columns, Seen{Name: safe})
			f.nulls = append(f.nulls, f.Contract.NullTokens(safe))
		}
		if c := &f.columns[at]; named && !slices.Contains(c.Spellings, names[i]) {
			c.Spellings = append(c.Spellings, names[i])
		}
		places[i] = at
	}
	return places
}

// Observe looks at one cell of the column at place, as Evidence.Observe does.
func (f *Inference) Observe(place int, text []byte, quoted bool, at func() Witness) {
	f.columns[place].Evidence.Observe(text, quoted, f.nulls[place], at)
}

// Seen lists the columns in the order in which headers named them. It aliases
// the inference.
func (f *Inference) Seen() []Seen { return f.columns }
