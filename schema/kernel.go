package schema

import (
	"bytes"
	"math"
	"strconv"
)

// AppendCell adds a cell's text to a vector as a value of the vector's type. It
// says false, and adds nothing, when the text is no such value. It knows nothing
// of nulls: the caller does. Spaces around a value are none of it; in a string they are
// characters.
func (v *Vector) AppendCell(text []byte) bool {
	if v.Type.Kind != String && v.Type.Kind != Unknown {
		text = unpadded(text)
	}
	switch v.Type.Kind {
	case String, Unknown:
		v.AppendText(text)
		return true
	case Bigint:
		if v.Type.Format != NoFormat {
			return v.appendFormatted(text)
		}
		x, ok := ParseBigint(text)
		if ok {
			v.AppendInt(x)
		}
		return ok
	case Double:
		if v.Type.Format != NoFormat {
			return v.appendFormatted(text)
		}
		x, ok := ParseDouble(text)
		if ok {
			v.AppendFloat(x)
		}
		return ok
	case Date:
		x, ok := ParseDate(text, v.Type.Format)
		if ok {
			v.AppendInt(x)
		}
		return ok
	case Timestamp:
		x, ok := ParseTimestamp(text, v.Type.Format, v.Type.Zoned)
		if ok {
			v.AppendInt(x)
		}
		return ok
	case Boolean:
		x, ok := ParseBoolean(text, v.Type.Format)
		if ok {
			n := int64(0)
			if x {
				n = 1
			}
			v.AppendInt(n)
		}
		return ok
	case Decimal:
		if v.Type.Format != NoFormat {
			return v.appendFormatted(text)
		}
		x, ok := ParseDecimal(text, v.Type.Precision, v.Type.Scale)
		if ok {
			v.AppendDecimal(x)
		}
		return ok
	}
	return false
}

// unpadded is a text without the spaces around it, with which files align their
// columns.
func unpadded(text []byte) []byte {
	if n := len(text); n == 0 || text[0] != ' ' && text[n-1] != ' ' {
		return text
	}
	return bytes.Trim(text, " ")
}

// appendFormatted adds a number that is not written plainly.
func (v *Vector) appendFormatted(text []byte) bool {
	var buf [maxNumber]byte
	plain, ok := plainNumber(&buf, text, v.Type.Format)
	if !ok {
		return false
	}
	switch v.Type.Kind {
	case Bigint:
		x, ok := ParseBigint(plain)
		if ok {
			v.AppendInt(x)
		}
		return ok
	case Double:
		x, ok := ParseDouble(plain)
		if ok {
			v.AppendFloat(x)
		}
		return ok
	}
	x, ok := ParseDecimal(plain, v.Type.Precision, v.Type.Scale)
	if ok {
		v.AppendDecimal(x)
	}
	return ok
}

// AppendValue appends row i of a vector as text in its normal form, nothing for
// a null. The normal forms, whatever the format: true and false; digits without leading zeros; the
// shortest decimal that gives the double back, with an exponent where it is
// shorter; a decimal with all digits of its scale; 2006-01-02;
// 2006-01-02T15:04:05 with .000 where there are milliseconds and Z where zoned.
func (v *Vector) AppendValue(dst []byte, i int) []byte {
	if v.Null(i) {
		return dst
	}
	switch v.Type.Kind {
	case Boolean:
		return strconv.AppendBool(dst, v.Ints[i] != 0)
	case Bigint:
		return strconv.AppendInt(dst, v.Ints[i], 10)
	case Double:
		return appendDouble(dst, v.Floats[i])
	case Date:
		return appendDate(dst, v.Ints[i])
	case Timestamp:
		return appendTimestamp(dst, v.Ints[i], v.Type.Zoned)
	case Decimal:
		return appendDecimal(dst, v.DecimalAt(i), v.Type.Scale)
	}
	return append(dst, v.TextAt(i)...)
}

func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
