package schema

// Situation is what a change of one column is decided by.
type Situation struct {
	Exists bool   // the table has the column
	Table  Type   // its type there; Unknown while it is undecided
	Files  []Type // the types that files have it in
	Seen   Type   // the type that takes its values and the new cells; Unknown when these are null
	On     Policy // of the contract for this kind of change
}

// Deed is what to do about a change.
type Deed uint8

// The deeds.
const (
	Nothing     Deed = iota
	Add              // a column
	Decide           // the type of a column that had none
	Widen            // a decimal, to more digits
	Settle           // the format of a column's text
	RescueCells      // the cells, as text
	RejectRows       // the rows
	Stop             // the feed
)

var deedNames = [...]string{"nothing", "add", "decide", "widen", "settle", "rescue", "reject", "stop"}

func (d Deed) String() string { return deedNames[d] }

// Action is a deed, the type that the column has after it, and why.
type Action struct {
	Do   Deed
	Type Type
	Why  string
}

// Plan decides what to do about a change of one column. It looks at nothing but
// the situation. A column of files changes only to what Coercions says is read right
// by every engine, with and without conditions.
func Plan(s Situation) Action {
	switch {
	case !s.Exists && s.On == 0, !s.Exists && s.On == PolicyEvolve:
		return Action{Add, s.Seen, "the table has no such column: files of before read as null"}
	case !s.Exists:
		return s.byContract()
	case s.Table.Kind == Unknown && s.Seen.Kind == Unknown:
		return Action{Nothing, s.Table, "there are only nulls"}
	case s.Table.Kind == Unknown:
		return Action{Decide, s.Seen, "the column is in no file yet: its first value decides"}
	case s.Seen.Kind == Unknown || s.Seen == s.Table:
		return Action{Nothing, s.Table, "the column's type has the values"}
	case s.On != 0 && s.On != PolicyEvolve:
		return s.byContract()
	}
	for _, from := range s.Files {
		if !Allows(from, s.Seen) {
			return Action{RescueCells, s.Table, "files have the column as " + from.String() + ", which is not read right as " + s.Seen.String()}
		}
	}
	switch {
	case s.Seen.Kind == Decimal && s.Seen.Precision != s.Table.Precision:
		return Action{Widen, s.Seen, "decimals with more digits and the same scale are read right"}
	case !settles(s.Table, s.Seen):
		return Action{RescueCells, s.Table, "cells of before would have another value as " + s.Seen.Written()}
	}
	return Action{Settle, s.Seen, "what the column has held so far reads the same as " + s.Seen.Format.String()}
}

// settles says whether all that fits one type has the same value in another that
// differs in its format.
func settles(from, to Type) bool {
	switch to.Format {
	case MonthFirst, DayFirst, Grouped:
		return from.Format == NoFormat
	case CommaDecimal: // 1.234 would be another number
		return from.Format == NoFormat && from.Kind == Bigint
	}
	return false
}

func (s Situation) byContract() Action {
	a := Action{Type: s.Table, Why: "the contract says " + s.On.String()}
	switch s.On {
	case PolicyRescue:
		a.Do = RescueCells
	case PolicyReject:
		a.Do = RejectRows
	case PolicyFreeze:
		a.Do = Stop
	}
	return a
}
