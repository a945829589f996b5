package schema

import (
	"slices"
)

// Seen is a column as a part of the feed has shown it.
type Seen struct {
	Name      string   // safe name
	Spellings []string // as headers wrote it
	Evidence  Evidence
}

// Evolve is the table's schema after columns were seen: those it lacks are
// added, those it has left undecided are decided by their first value. A column
// that has a type keeps it for the whole generation, whatever was seen: a cell
// that does not fit is rescued. changed is false, and the schema is old, when
// there is nothing to do. old may be nil.
func Evolve(old *Schema, seen []Seen) (next *Schema, changed bool) {
	next = &Schema{Version: 1}
	if old != nil {
		next.Version, next.Previous = old.Version+1, old.Version
		next.Fields = slices.Clone(old.Fields)
	}
	for _, s := range seen {
		t := s.Evidence.Type()
		i := next.Index(s.Name)
		if i < 0 {
			next.Fields = append(next.Fields, Field{Name: s.Name, Type: t, Spellings: slices.Clone(s.Spellings), Evidence: s.Evidence})
			next.Changes = append(next.Changes, Change{Kind: "add", Column: s.Name, To: t.String(), Witness: s.Evidence.Decided})
			continue
		}
		f := &next.Fields[i]
		for _, spelling := range s.Spellings {
			if !slices.Contains(f.Spellings, spelling) {
				f.Spellings = append(slices.Clone(f.Spellings), spelling)
				next.Changes = append(next.Changes, Change{Kind: "spelling", Column: s.Name, To: spelling})
			}
		}
		if f.Type.Kind == Unknown && t.Kind != Unknown {
			f.Evidence.Join(s.Evidence)
			f.Type = t
			next.Changes = append(next.Changes, Change{Kind: "decide", Column: s.Name, From: Unknown.String(), To: t.String(), Witness: s.Evidence.Decided})
		}
	}
	if len(next.Changes) == 0 {
		return old, false
	}
	return next, true
}
