package schema

// Vector holds the values of one column, typed, one slot a row. Which of its
// slices holds the slots depends on the type's kind:
//
//	Boolean            Ints, 0 or 1
//	Bigint             Ints
//	Double             Floats
//	Date               Ints, days since 1970-01-01
//	Timestamp          Ints, milliseconds since 1970-01-01T00:00:00 (UTC or wall clock)
//	Decimal            Text, 16 bytes a row: the unscaled value, big-endian two's complement
//	String, Unknown    Text, row i is Text[Ends[i-1]:Ends[i]]
//
// A null row has a slot too (zero, or no text), so a row's slot is at its index.
// A vector grows only by its Append methods; it may be shorter than the records
// it belongs to, and the rows behind its end are null.
type Vector struct {
	Type   Type
	Ints   []int64
	Floats []float64
	Text   []byte
	Ends   []int
	valid  []uint64 // bit i is set when row i is not null
	n      int
	nulls  int
}

// Reset empties the vector, keeps its memory and gives it a type.
func (v *Vector) Reset(t Type) {
	v.Type = t
	v.Ints, v.Floats, v.Text, v.Ends = v.Ints[:0], v.Floats[:0], v.Text[:0], v.Ends[:0]
	v.valid = v.valid[:0]
	v.n, v.nulls = 0, 0
}

// Len is the number of rows the vector has slots for.
func (v *Vector) Len() int { return v.n }

// Nulls is the number of null rows among them.
func (v *Vector) Nulls() int { return v.nulls }

// Null says whether row i is null; rows at or behind Len are.
func (v *Vector) Null(i int) bool {
	return i >= v.n || v.valid[i>>6]&(1<<(i&63)) == 0
}

// TextAt is the text of row i of a String or Unknown vector. It aliases the vector.
func (v *Vector) TextAt(i int) []byte {
	from := 0
	if i > 0 {
		from = v.Ends[i-1]
	}
	return v.Text[from:v.Ends[i]]
}

// DecimalAt is the unscaled value of row i of a Decimal vector, 16 bytes
// big-endian. It aliases the vector.
func (v *Vector) DecimalAt(i int) []byte { return v.Text[16*i : 16*i+16] }

// mark adds a row's validity bit.
func (v *Vector) mark(valid bool) {
	if v.n&63 == 0 {
		v.valid = append(v.valid, 0)
	}
	if valid {
		v.valid[v.n>>6] |= 1 << (v.n & 63)
	} else {
		v.nulls++
	}
	v.n++
}

// AppendInt adds a row to a Boolean, Bigint, Date or Timestamp vector.
func (v *Vector) AppendInt(x int64) {
	v.Ints = append(v.Ints, x)
	v.mark(true)
}

// AppendFloat adds a row to a Double vector.
func (v *Vector) AppendFloat(x float64) {
	v.Floats = append(v.Floats, x)
	v.mark(true)
}

// AppendText adds a row to a String or Unknown vector; the text is copied.
func (v *Vector) AppendText(x []byte) {
	v.Text = append(v.Text, x...)
	v.Ends = append(v.Ends, len(v.Text))
	v.mark(true)
}

// AppendDecimal adds a row to a Decimal vector: the unscaled value, big-endian.
func (v *Vector) AppendDecimal(x [16]byte) {
	v.Text = append(v.Text, x[:]...)
	v.mark(true)
}

// AppendNull adds a null row.
func (v *Vector) AppendNull() {
	switch v.Type.Kind {
	case Double:
		v.Floats = append(v.Floats, 0)
	case Decimal:
		v.Text = append(v.Text, make([]byte, 16)...)
	case String, Unknown:
		v.Ends = append(v.Ends, len(v.Text))
	default:
		v.Ints = append(v.Ints, 0)
	}
	v.mark(false)
}

// Replace gives row i, which is null, the value of a cell's text. It says false, and
// changes nothing, when the text is no value of the vector's type, or that is String.
func (v *Vector) Replace(i int, text []byte) bool {
	one := Vector{Type: v.Type}
	if v.Type.Kind == String || !one.AppendCell(text) {
		return false
	}
	switch v.Type.Kind {
	case Double:
		v.Floats[i] = one.Floats[0]
	case Decimal:
		copy(v.DecimalAt(i), one.Text)
	default:
		v.Ints[i] = one.Ints[0]
	}
	v.valid[i>>6] |= 1 << (i & 63)
	v.nulls--
	return true
}

// PadTo adds null rows until the vector has n rows.
func (v *Vector) PadTo(n int) {
	for v.n < n {
		v.AppendNull()
	}
}

// Bytes is the memory the vector's slices hold, in bytes.
func (v *Vector) Bytes() int {
	return 8*cap(v.Ints) + 8*cap(v.Floats) + cap(v.Text) + 8*cap(v.Ends) + 8*cap(v.valid)
}
