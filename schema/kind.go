// Package schema is the vocabulary of a feed: kinds and types, the fields of a
// table, columns of typed values, and the one conversion kernel that both infers
// a type from text and writes text as that type. It does no I/O.
package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the family a column's type belongs to.
type Kind uint8

// The kinds. Unknown is a column that has held only nulls: it is undecided,
// declared string in the table and absent from the files.
const (
	Unknown Kind = iota
	Boolean
	Bigint
	Double
	Decimal
	Date
	Timestamp
	String
)

var kindNames = [...]string{"unknown", "boolean", "bigint", "double", "decimal", "date", "timestamp", "string"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// maxPrecision is the most digits that a decimal has.
const maxPrecision = 38

// Type is a column's type. Two types are written alike into files iff they are equal
// but for Format, and for the Precision of decimals.
type Type struct {
	Kind Kind
	// Precision and Scale are those of a Decimal: digits in all (1 to 38), and
	// digits behind the point.
	Precision, Scale int
	// Zoned says that a Timestamp is an instant, kept in UTC. A timestamp that is
	// not zoned is a wall clock.
	Zoned bool
	// Format says how the text of the values is written.
	Format Format
}

// String gives the type as users write and read it: "bigint", "decimal(12,2)",
// "timestamp", "timestamp with time zone".
func (t Type) String() string {
	switch t.Kind {
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case Timestamp:
		if t.Zoned {
			return "timestamp with time zone"
		}
	}
	return t.Kind.String()
}

// DDL gives the type as Athena's CREATE TABLE wants it. An undecided column is
// declared string; zoned and naive timestamps share one name there.
func (t Type) DDL() string {
	switch t.Kind {
	case Unknown:
		return "string"
	case Timestamp:
		return "timestamp"
	}
	return t.String()
}

// Written gives the type with its format: "date d/m/y", "double 1.234,5".
func (t Type) Written() string {
	switch t.Format {
	case NoFormat:
		return t.String()
	case EpochSeconds, EpochMillis:
		return t.Format.String()
	}
	return t.String() + " " + t.Format.String()
}

// MarshalText and UnmarshalText are Written and ParseType.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.Written()), nil }

// UnmarshalText reads what MarshalText gives.
func (t *Type) UnmarshalText(b []byte) (err error) {
	*t, err = ParseType(string(b))
	return err
}

// ParseType reads what Type.String and Type.Written write.
func ParseType(s string) (Type, error) {
	name, format := strings.ToLower(strings.TrimSpace(s)), NoFormat
	if f, err := ParseFormat(name); err == nil && f.of(Timestamp) && !f.of(Date) {
		return Type{Kind: Timestamp, Zoned: true, Format: f}, nil // an instant, as epoch_seconds
	}
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		if f, err := ParseFormat(name[i+1:]); err == nil {
			name, format = strings.TrimSpace(name[:i]), f
		}
	}
	t, err := parseKind(name)
	if err != nil && strings.Contains(s, "(") && !strings.Contains(s, ")") {
		return Type{}, fmt.Errorf("parse type %q: its bracket does not close; between braces a type with a comma is written in quotes, \"decimal(12,2)\"", s)
	}
	if err != nil {
		return Type{}, fmt.Errorf("parse type %q: want boolean, bigint, double, decimal(p,s) with p up to 38, date, timestamp, timestamp with time zone, epoch_seconds, epoch_milliseconds or string", s)
	}
	if !format.of(t.Kind) {
		return Type{}, fmt.Errorf("parse type %q: a %s is not written as %s", s, t.Kind, format)
	}
	t.Format = format
	return t, nil
}

var errKind = errors.New("no such type")

func parseKind(name string) (Type, error) {
	if name == "timestamp with time zone" {
		return Type{Kind: Timestamp, Zoned: true}, nil
	}
	for k, n := range kindNames {
		if n == name && Kind(k) != Decimal {
			return Type{Kind: Kind(k)}, nil
		}
	}
	digits, ok := strings.CutPrefix(name, "decimal(")
	digits, closed := strings.CutSuffix(digits, ")")
	precision, scale, two := strings.Cut(digits, ",")
	if !ok || !closed || !two {
		return Type{}, errKind
	}
	p, err := strconv.Atoi(strings.TrimSpace(precision))
	if err != nil {
		return Type{}, err
	}
	sc, err := strconv.Atoi(strings.TrimSpace(scale))
	if err != nil || p < 1 || p > maxPrecision || sc < 0 || sc > p {
		return Type{}, errKind
	}
	return Type{Kind: Decimal, Precision: p, Scale: sc}, nil
}
