package schema

import "fmt"

// Format is how the text of a column's values is written, where its type can be
// written in ways that exclude each other. It is a property of the column, found by
// evidence over all of its cells: a cell that needs another one does not fit.
type Format uint8

// The formats. NoFormat is what every type has when there is nothing to tell:
// true/false, numbers with a decimal point and no separators, and dates whose text
// settles what is day and month by itself.
const (
	NoFormat     Format = iota
	LettersTF           // boolean: t and f
	WordsYesNo          // boolean: yes and no
	LettersYN           // boolean: y and n
	WordsOnOff          // boolean: on and off
	Grouped             // number: 1,234.5 with , or space or ' between thousands, all of them or none
	CommaDecimal        // number: 1.234,5 with . or space or ' between thousands, all of them or none
	MonthFirst          // date, timestamp: 1/31/2020, and all that NoFormat takes
	DayFirst            // date, timestamp: 31/1/2020, 31.1.2020, and all that NoFormat takes
	EpochSeconds        // timestamp: seconds since 1970-01-01T00:00:00Z; never inferred
	EpochMillis         // timestamp: milliseconds since then; never inferred
	formatCount
)

var formatNames = [formatCount]string{"", "t/f", "yes/no", "y/n", "on/off", "1,234.5", "1.234,5", "m/d/y", "d/m/y", "epoch_seconds", "epoch_milliseconds"}

// String gives the format's name as it is stored and shown, "" for NoFormat.
func (f Format) String() string {
	if f < formatCount {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// of says whether a kind can have the format.
func (f Format) of(k Kind) bool {
	switch f {
	case NoFormat:
		return true
	case LettersTF, WordsYesNo, LettersYN, WordsOnOff:
		return k == Boolean
	case Grouped, CommaDecimal:
		return k == Bigint || k == Double || k == Decimal
	case MonthFirst, DayFirst:
		return k == Date || k == Timestamp
	case EpochSeconds, EpochMillis:
		return k == Timestamp
	}
	return false
}

// firstFormats are the names in the first version of the stored form of a schema,
// where a column had one form of dates only. Each belongs to a format of today, which
// takes the same texts with the same values, and more.
var firstFormats = map[string]Format{
	"iso": NoFormat, "y/m/d": NoFormat, "m/d/yy": MonthFirst, "m-d-y": MonthFirst, "d/m/yy": DayFirst, "d.m.y": DayFirst, "d-m-y": DayFirst,
}

// ParseFormat reads what Format.String writes, and has written before.
func ParseFormat(s string) (Format, error) {
	for f, n := range formatNames {
		if n == s {
			return Format(f), nil
		}
	}
	if f, ok := firstFormats[s]; ok {
		return f, nil
	}
	return NoFormat, fmt.Errorf("parse format %q: unknown", s)
}
