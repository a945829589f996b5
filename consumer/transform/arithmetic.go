package transform

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/expr-lang/expr/ast"

	"lakefeed/schema"
)

func containsText(a, b []byte) bool   { return bytes.Contains(a, b) }
func startsWith(a, b []byte) bool     { return bytes.HasPrefix(a, b) }
func endsWith(a, b []byte) bool       { return bytes.HasSuffix(a, b) }
func compareText(a, b []byte) int     { return bytes.Compare(a, b) }
func addInt(a, b int64) (int64, bool) { c := a + b; return c, (c > a) == (b > 0) }
func subInt(a, b int64) (int64, bool) { c := a - b; return c, (c < a) == (b > 0) }

// mulInt multiplies; ok is false where that is no int64.
func mulInt(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	negative := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(magnitudeOf(a), magnitudeOf(b))
	if hi != 0 || lo > 1<<63 || lo == 1<<63 && !negative {
		return 0, false
	}
	if negative {
		return -int64(lo), true
	}
	return int64(lo), true
}

func magnitudeOf(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}

const divisionByZero = "it is divided by zero"

// arithmetic types +, -, *, / and %. Whole numbers give whole numbers but for /,
// which gives a double; decimals are exact; days are added to dates.
func (c *compiler) arithmetic(n *ast.BinaryNode) *node {
	x, y := c.node(n.Left), c.node(n.Right)
	op := n.Operator
	switch {
	case op == "+" && (x.typ.Kind == schema.String || y.typ.Kind == schema.String):
		c.want(x, op, schema.String)
		c.want(y, op, schema.String)
		return both(kind(schema.String), x, y, func(out, a, b *block, i int) {
			if len(a.texts[i])+len(b.texts[i]) > maxText {
				out.fail(i, tooLong)
				return
			}
			out.texts[i] = out.keep(a.texts[i], b.texts[i])
		})
	case x.typ.Kind == schema.Date && y.typ.Kind == schema.Unknown && op == "-": // days, or a date
		return both(unknown, x, y, nil)
	case (x.typ.Kind == schema.Date || x.typ.Kind == schema.Unknown) && y.typ.Kind == schema.Date && op == "-":
		return both(kind(schema.Bigint), x, y, func(out, a, b *block, i int) { out.ints[i] = a.ints[i] - b.ints[i] })
	case x.typ.Kind == schema.Date && (op == "+" || op == "-"):
		c.want(y, op+" of a date", schema.Bigint)
		sign := int64(1)
		if op == "-" {
			sign = -1
		}
		return both(kind(schema.Date), x, y, func(out, a, b *block, i int) { out.moment(i, a.ints[i], b.ints[i], sign, firstDay, lastDay) })
	case x.typ.Kind == schema.Timestamp || y.typ.Kind == schema.Timestamp:
		c.fail(n, "add_days, add_hours, add_minutes and add_seconds add to a timestamp; seconds_between(a, b) is what lies between two", "%s does not take a timestamp", op)
	}
	c.numeric(x, op)
	c.numeric(y, op)
	if x.typ.Kind == schema.Unknown || y.typ.Kind == schema.Unknown {
		t := unknown
		if op == "/" || x.typ.Kind == schema.Double || y.typ.Kind == schema.Double {
			t = kind(schema.Double)
		}
		return both(t, x, y, func(*block, *block, *block, int) {})
	}
	t, _ := join(x, y)
	if op == "/" {
		t = kind(schema.Double)
	}
	switch t.Kind {
	case schema.Bigint:
		return whole(x, y, op)
	case schema.Double:
		return real(c.as(x, t), c.as(y, t), op)
	}
	return c.exact(n, x, y, op, t)
}

// lastDay is 9999-12-31 in days since 1970-01-01, firstDay 0001-01-01.
const (
	firstDay = -719162
	lastDay  = 2932896
)

// The same for timestamps, in milliseconds.
const (
	firstMilli = firstDay * dayMillis
	lastMilli  = (lastDay+1)*dayMillis - 1
)

// moment sets a date or time to at + n*unit, if that is from first to last.
func (b *block) moment(i int, at, n, unit, first, last int64) {
	step, ok := mulInt(n, unit)
	sum, fits := addInt(at, step)
	if !ok || !fits || sum < first || sum > last {
		b.fail(i, noYear)
		return
	}
	b.ints[i] = sum
}

const noYear = "the date is not in the years 0001 to 9999"

func whole(x, y *node, op string) *node {
	return both(kind(schema.Bigint), x, y, func(out, a, b *block, i int) {
		ok := true
		switch p, q := a.ints[i], b.ints[i]; op {
		case "+":
			out.ints[i], ok = addInt(p, q)
		case "-":
			out.ints[i], ok = subInt(p, q)
		case "*":
			out.ints[i], ok = mulInt(p, q)
		case "%":
			if q == 0 {
				out.fail(i, divisionByZero)
				return
			}
			out.ints[i] = p % q
		}
		if !ok {
			out.fail(i, overflow)
		}
	})
}

func real(x, y *node, op string) *node {
	return both(kind(schema.Double), x, y, func(out, a, b *block, i int) {
		switch p, q := a.floats[i], b.floats[i]; {
		case op == "+":
			out.floats[i] = p + q
		case op == "-":
			out.floats[i] = p - q
		case op == "*":
			out.floats[i] = p * q
		case q == 0:
			out.fail(i, divisionByZero)
		case op == "/":
			out.floats[i] = p / q
		default:
			out.floats[i] = math.Mod(p, q)
		}
	})
}

// exact types decimals, of which one operand at least is.
func (c *compiler) exact(n *ast.BinaryNode, x, y *node, op string, t schema.Type) *node {
	switch op {
	case "+", "-":
		t.Precision = min(maxDigits, t.Precision+1)
		x, y = c.as(x, t), c.as(y, t)
	case "*":
		a, b := asDecimal(x, y.typ), asDecimal(y, x.typ)
		t = schema.Type{Kind: schema.Decimal, Precision: min(maxDigits, a.Precision+b.Precision), Scale: a.Scale + b.Scale}
		if t.Scale > maxDigits {
			c.fail(n, "make one of them a double: float(…)", "the product has %d digits behind the decimal mark, and %d are the most", t.Scale, maxDigits)
		}
		x, y = c.as(x, a), c.as(y, b)
	default:
		c.fail(n, "float(…) makes a double of a decimal", "%s does not take decimals", op)
	}
	return both(t, x, y, func(out, a, b *block, i int) {
		p, q := a.decs[i], b.decs[i]
		var ok bool
		switch op {
		case "+":
			p, ok = p.plus(q)
		case "-":
			p, ok = p.plus(q.negate())
		default:
			p, ok = p.times(q)
		}
		if out.decs[i] = p; !ok || !p.abs().less(powers[t.Precision]) {
			out.fail(i, overflow)
		}
	})
}
