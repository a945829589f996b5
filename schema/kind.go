// Package schema is the vocabulary of a feed: kinds and types, the fields of a
// table, columns of typed values, and the one conversion kernel that both infers
// a type from text and writes text as that type. It does no I/O.
package schema

import (
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

// Type is a column's type. Two types are the same column type in a file iff
// they are equal but for Format.
type Type struct {
	Kind Kind
	// Precision and Scale are those of a Decimal: digits in all (1 to 38), and
	// digits behind the point.
	Precision, Scale int
	// Zoned says that a Timestamp is an instant, kept in UTC. A timestamp that is
	// not zoned is a wall clock.
	Zoned bool
	// Format says how the text of a Date or Timestamp is written.
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

// ParseType reads what Type.String writes.
func ParseType(s string) (Type, error) {
	name := strings.ToLower(strings.TrimSpace(s))
	switch name {
	case "timestamp with time zone":
		return Type{Kind: Timestamp, Zoned: true}, nil
	}
	for k, n := range kindNames {
		if n == name && Kind(k) != Decimal {
			return Type{Kind: Kind(k)}, nil
		}
	}
	var p, sc int
	if n, err := fmt.Sscanf(name, "decimal(%d,%d)", &p, &sc); err == nil && n == 2 && p >= 1 && p <= 38 && sc >= 0 && sc <= p {
		return Type{Kind: Decimal, Precision: p, Scale: sc}, nil
	}
	return Type{}, fmt.Errorf("parse type %q: want boolean, bigint, double, decimal(p,s) with p up to 38, date, timestamp, timestamp with time zone or string", s)
}
