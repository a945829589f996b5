package schema

import (
	"slices"
)

// Seen is a column as a part of the feed has shown it.
type Seen struct {
	Name      string   // safe name
	Spellings []string // as headers wrote it
	// Evidence is of a column that the table has no type for.
	Evidence Evidence
	// Misfits are the cells that do not fit the column's type, but would fit a wider
	// one: those that Accommodates.
	Misfits Evidence
}

// Evolve is the table's schema after columns were seen, by what Plan says of each:
// those it lacks are added, those it has left undecided are decided by their first
// value, and a type grows where readers of the files there are survive it. changed is
// false, and the schema is old, when there is nothing to do. old may be nil, and so
// may the contract.
func Evolve(old *Schema, seen []Seen, c *Contract) (next *Schema, changed bool) {
	next = &Schema{Version: 1}
	if old != nil {
		next.Version, next.Previous = old.Version+1, old.Version
		next.Fields = slices.Clone(old.Fields)
	}
	for _, s := range seen {
		if c.Hidden(s.Name) || slices.ContainsFunc(s.Spellings, func(spelling string) bool { return c.Shows(s.Name, spelling) }) {
			s.Evidence, s.Misfits = s.Evidence.Redacted(), Evidence{}
		}
		i := next.Index(s.Name)
		if i < 0 {
			t := c.typed(s.Name, &s.Evidence)
			on := PolicyEvolve
			if old != nil {
				on = c.NewColumn(s.Name)
			}
			if Plan(Situation{Seen: t, On: on}).Do == Add {
				next.Fields = append(next.Fields, Field{Name: s.Name, Type: t, Spellings: slices.Clone(s.Spellings), Evidence: s.Evidence})
				next.Changes = append(next.Changes, Change{Kind: "add", Column: s.Name, To: t.Written(), Witness: s.Evidence.Decided})
			}
			continue
		}
		next.take(&next.Fields[i], s, c)
	}
	if len(next.Changes) == 0 {
		return old, false
	}
	return next, true
}

// take takes what was seen of a column of the table.
func (s *Schema) take(f *Field, seen Seen, c *Contract) {
	for _, spelling := range seen.Spellings {
		if !slices.Contains(f.Spellings, spelling) {
			f.Spellings = append(slices.Clone(f.Spellings), spelling)
			s.Changes = append(s.Changes, Change{Kind: "spelling", Column: f.Name, To: spelling})
		}
	}
	situation := Situation{Exists: true, Table: f.Type, On: c.TypeChange(f.Name)}
	witness := seen.Evidence.Decided
	if f.Type.Kind == Unknown {
		situation.Seen = c.typed(f.Name, &seen.Evidence)
	} else {
		situation.Files = []Type{f.Type}
		situation.Seen = f.Type.covering(&seen.Misfits)
		if c.declaration(f.Name).Type.Kind == Decimal {
			situation.Seen.Precision = f.Type.Precision // of what is declared, data finds the format alone
		}
		if c.Grows(*f) {
			situation.Seen.Precision = max(situation.Seen.Precision, c.declaration(f.Name).Type.Precision)
			situation.On = PolicyEvolve // it was asked for
		}
		witness = seen.Misfits.First
	}
	action := Plan(situation)
	switch action.Do {
	case Decide:
		f.Evidence.Join(seen.Evidence)
	case Widen, Settle:
		f.Evidence.Steps = append(slices.Clone(f.Evidence.Steps), Step{action.Type.Written(), witness})
	default:
		return
	}
	s.Changes = append(s.Changes, Change{Kind: action.Do.String(), Column: f.Name, From: f.Type.Written(), To: action.Type.Written(), Witness: witness})
	f.Type = action.Type
}

// Accommodates says of a cell that is no value of the type whether a wider type, to
// which a column of files can change, would take it.
func (t Type) Accommodates(text []byte) bool {
	var v Vector
	try := func(t Type) bool {
		v.Reset(t)
		return v.AppendCell(text)
	}
	if t.Kind == Decimal && t.Precision < maxPrecision {
		w := t
		if w.Precision = maxPrecision; try(w) {
			return true
		}
	}
	if t.Format != NoFormat {
		return false
	}
	for _, f := range [...]Format{Grouped, CommaDecimal, MonthFirst, DayFirst} {
		if w := t.as(f); f.of(t.Kind) && settles(t, w) {
			if t.Kind == Decimal {
				w.Precision = maxPrecision
			}
			if try(w) {
				return true
			}
		}
	}
	return false
}

// as is the type written in a format.
func (t Type) as(f Format) Type {
	t.Format = f
	return t
}

// covering is the type that takes the values of t and misfits that it accommodates,
// as far as their evidence settles it.
func (t Type) covering(misfits *Evidence) Type {
	if !misfits.seen {
		return t
	}
	seen := misfits.Type(Doubles)
	if t.Format == NoFormat && seen.Format.of(t.Kind) {
		t.Format = seen.Format
	}
	if t.Kind == Decimal {
		mark := 0
		if t.Format == CommaDecimal {
			mark = 1
		}
		if need := misfits.digits[mark] + t.Scale; need > t.Precision && need <= maxPrecision {
			t.Precision = inferredPrecision(need)
		}
	}
	return t
}
