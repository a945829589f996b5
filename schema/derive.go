package schema

import (
	"fmt"
	"slices"
)

// Feed has the columns of the feed that the table is made of: the table's own where no
// transforms make others of them. It is nil for nil.
func (s *Schema) Feed() *Schema {
	if s == nil || s.Source == nil {
		return s
	}
	return s.Source
}

// Derive is a table's next version, of the feed's columns and the columns that
// transforms make of them. changed says that the feed has changed since the version
// before; the table may also change by itself. It is old where nothing changes.
//
// A table never loses a column, and keeps the type of each: the error is a
// *ContractError where the transforms make one of another type.
func Derive(old, feed *Schema, changed bool, columns []Field) (next *Schema, isNew bool, err error) {
	next = &Schema{Version: feed.Version, Previous: feed.Previous, Source: feed}
	if !changed && old != nil {
		source := *feed
		source.Version, source.Previous, source.Changes = old.Version+1, old.Version, nil
		next.Version, next.Previous, next.Source = source.Version, source.Previous, &source
	}
	if old != nil {
		next.Fields = slices.Clone(old.Fields)
	}
	for _, c := range columns {
		i := next.Index(c.Name)
		if i < 0 {
			next.Fields = append(next.Fields, Field{Name: c.Name, Type: c.Type})
			next.Changes = append(next.Changes, Change{Kind: Add.String(), Column: c.Name, To: c.Type.Written()})
			continue
		}
		f := &next.Fields[i]
		if c.Type == f.Type || c.Type.Kind == Unknown || f.Type.Kind != Unknown && f.Type.contains(c.Type) {
			continue
		}
		action := Plan(Situation{Exists: true, Table: f.Type, Files: filesOf(f.Type), Seen: c.Type})
		if action.Do != Decide && action.Do != Widen {
			return nil, false, &ContractError{Column: f.Name, Message: fmt.Sprintf("the transforms make it %s, and the table has it as %s since it was made: a table keeps a column's type. Cast it to %s, call it by another name, or build the table again", c.Type, f.Type, f.Type)}
		}
		next.Changes = append(next.Changes, Change{Kind: action.Do.String(), Column: f.Name, From: f.Type.Written(), To: action.Type.Written()})
		f.Type = action.Type
	}
	if old != nil && old.Source != nil && !changed && len(next.Changes) == 0 {
		return old, false, nil
	}
	return next, true, nil
}

// WithLate gives the version with some columns each as late as is said. changed says that
// they were not: then it is another, which is the caller's.
func (s *Schema) WithLate(names []string, as []Late) (out *Schema, changed bool) {
	for n, name := range names {
		i := s.Index(name)
		if i < 0 || s.Fields[i].Late == as[n] {
			continue
		}
		if !changed {
			changed = true
			out = &Schema{Version: s.Version, Previous: s.Previous, Fields: slices.Clone(s.Fields), Changes: s.Changes, Source: s.Source}
		}
		out.Fields[i].Late = as[n]
	}
	if !changed {
		return s, false
	}
	return out, true
}

// filesOf are the types that files have an only column in, none while it is undecided.
func filesOf(t Type) []Type {
	if t.Kind == Unknown {
		return nil
	}
	return []Type{t}
}

// Redacted is evidence without anything of the cells but how many there were.
func (e *Evidence) Redacted() Evidence {
	out := Evidence{Cells: e.Cells, Nulls: e.Nulls, Quoted: e.Quoted, First: e.First, Decided: e.Decided}
	out.First.Text, out.Decided.Text = "", ""
	return out
}

// Hidden says whether no cell of the column may be shown.
func (c *Contract) Hidden(name string) bool { return c.declaration(name).Hidden }

// Shows says whether a column would show what a hidden one has: its header calls it by
// that one's name, or by an alias of it, and has another column that got the name.
func (c *Contract) Shows(name, spelling string) bool {
	return c != nil && c.Hidden(SafeName(spelling)) && !c.Columns[name].Hidden
}
