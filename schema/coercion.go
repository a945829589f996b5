package schema

// Reads is how an engine reads a column of files that is declared as another type.
type Reads uint8

// The ways, the worst first.
const (
	Fails      Reads = iota // the query fails
	Wrong                   // no error, and another value
	SelectOnly              // right as long as no condition is on the column; then it fails, or rows are missing without an error
	Right                   // with and without conditions
)

var readsNames = [...]string{"fails", "wrong value", "select only", "right"}

func (r Reads) String() string { return readsNames[r] }

// Engines are what Coercions was measured on: two generations of the engine that
// Athena is made of, newer and older than it.
var Engines = [2]string{"Trino 406", "Trino 476"}

// Coercion is how files of one type are read as another, by each of the Engines:
// within a table partition that declares the other type itself, and where the
// partition declares the files' type and only the table the other.
type Coercion struct {
	From, To      Type
	In, Partition [2]Reads
}

// Allowed says that it is right everywhere.
func (c Coercion) Allowed() bool {
	return c.In == [2]Reads{Right, Right} && c.Partition == c.In
}

func dec(p, s int) Type { return Type{Kind: Decimal, Precision: p, Scale: s} }

// Coercions has every pair of the types that files are written in. Of decimals
// there is one of each relation: other digits, fewer digits, another scale.
var Coercions = []Coercion{
	{Type{Kind: Boolean}, Type{Kind: Bigint}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Boolean}, Type{Kind: Double}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Boolean}, dec(18, 2), [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Boolean}, Type{Kind: Date}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Boolean}, Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Boolean}, Type{Kind: String}, [2]Reads{Fails, Fails}, [2]Reads{Fails, SelectOnly}},

	{Type{Kind: Bigint}, Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Bigint}, Type{Kind: Double}, [2]Reads{Fails, SelectOnly}, [2]Reads{Fails, SelectOnly}},
	{Type{Kind: Bigint}, dec(18, 2), [2]Reads{Wrong, Fails}, [2]Reads{Fails, SelectOnly}},
	{Type{Kind: Bigint}, Type{Kind: Date}, [2]Reads{Wrong, Wrong}, [2]Reads{Fails, Fails}},
	{Type{Kind: Bigint}, Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Bigint}, Type{Kind: String}, [2]Reads{Fails, SelectOnly}, [2]Reads{SelectOnly, SelectOnly}},

	{Type{Kind: Double}, Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Double}, Type{Kind: Bigint}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Double}, dec(18, 2), [2]Reads{Fails, Fails}, [2]Reads{SelectOnly, SelectOnly}},
	{Type{Kind: Double}, Type{Kind: Date}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Double}, Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Double}, Type{Kind: String}, [2]Reads{Fails, SelectOnly}, [2]Reads{Fails, SelectOnly}},

	{dec(15, 2), Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{dec(15, 2), Type{Kind: Bigint}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Wrong}},
	{dec(15, 2), Type{Kind: Double}, [2]Reads{Fails, Fails}, [2]Reads{SelectOnly, SelectOnly}},
	{dec(15, 2), dec(18, 2), [2]Reads{Right, Right}, [2]Reads{Right, Right}},
	{dec(15, 2), dec(38, 2), [2]Reads{Right, Right}, [2]Reads{Right, Right}},
	{dec(38, 2), dec(15, 2), [2]Reads{SelectOnly, SelectOnly}, [2]Reads{SelectOnly, SelectOnly}},
	{dec(15, 2), dec(18, 4), [2]Reads{SelectOnly, SelectOnly}, [2]Reads{SelectOnly, SelectOnly}},
	{dec(15, 2), Type{Kind: Date}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{dec(15, 2), Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{dec(15, 2), Type{Kind: String}, [2]Reads{Fails, SelectOnly}, [2]Reads{SelectOnly, SelectOnly}},

	{Type{Kind: Date}, Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Date}, Type{Kind: Bigint}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Date}, Type{Kind: Double}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Date}, dec(18, 2), [2]Reads{Wrong, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Date}, Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Date}, Type{Kind: String}, [2]Reads{Fails, Fails}, [2]Reads{Fails, SelectOnly}},

	{Type{Kind: Timestamp}, Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Timestamp}, Type{Kind: Bigint}, [2]Reads{Wrong, Wrong}, [2]Reads{Fails, Fails}},
	{Type{Kind: Timestamp}, Type{Kind: Double}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Timestamp}, dec(18, 2), [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: Timestamp}, Type{Kind: Date}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Wrong}},
	{Type{Kind: Timestamp}, Type{Kind: String}, [2]Reads{Fails, Fails}, [2]Reads{Fails, SelectOnly}},

	{Type{Kind: String}, Type{Kind: Boolean}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Wrong}},
	{Type{Kind: String}, Type{Kind: Bigint}, [2]Reads{Fails, Fails}, [2]Reads{SelectOnly, SelectOnly}},
	{Type{Kind: String}, Type{Kind: Double}, [2]Reads{Fails, Fails}, [2]Reads{Fails, SelectOnly}},
	{Type{Kind: String}, dec(18, 2), [2]Reads{Fails, Fails}, [2]Reads{Fails, Fails}},
	{Type{Kind: String}, Type{Kind: Date}, [2]Reads{Fails, Fails}, [2]Reads{Fails, SelectOnly}},
	{Type{Kind: String}, Type{Kind: Timestamp}, [2]Reads{Fails, Fails}, [2]Reads{Fails, Right}},
}

// Allows says whether a column of files can be declared as another type from then
// on. Naive and zoned timestamps read alike, and mean something else.
func Allows(from, to Type) bool {
	if from.Kind == to.Kind && from.Kind != Decimal {
		return from.Zoned == to.Zoned
	}
	for _, c := range Coercions {
		if c.From.Kind == from.Kind && c.To.Kind == to.Kind && (from.Kind != Decimal || to.Kind != Decimal || relation(c.From, c.To) == relation(from, to)) {
			return c.Allowed()
		}
	}
	return from.Kind == Decimal && from.Precision == to.Precision && from.Scale == to.Scale
}

// relation says how a decimal relates to another: the same scale and more digits 1,
// fewer -1, as many 0, another scale 2.
func relation(from, to Type) int {
	switch {
	case from.Scale != to.Scale:
		return 2
	case from.Precision < to.Precision:
		return 1
	case from.Precision > to.Precision:
		return -1
	}
	return 0
}
