package transform

import (
	"strings"

	"github.com/expr-lang/expr/ast"

	"lakefeed/schema"
)

// alike gives two nodes one type, in which they can be compared or chosen from.
func (c *compiler) alike(n ast.Node, by string, x, y *node) (*node, *node, schema.Type) {
	t, ok := join(x, y)
	if !ok {
		hint := ""
		switch {
		case x.typ.Kind == schema.String || y.typ.Kind == schema.String:
			hint = "string(…) makes text of a value, and int(…), float(…), date(…) and timestamp(…) read text"
		case x.typ.Kind == schema.Timestamp && y.typ.Kind == schema.Timestamp:
			hint = `in_zone(…, "Europe/Berlin") gives the wall clock of an instant`
		}
		c.fail(n, hint, "%s takes two values of one kind, and these are %s and %s", by, x.typ, y.typ)
	}
	return c.as(x, t), c.as(y, t), t
}

// join is the type that takes the values of both.
func join(x, y *node) (schema.Type, bool) {
	a, b := plain(x.typ), plain(y.typ)
	switch {
	case a.Kind == schema.Unknown:
		return b, true
	case b.Kind == schema.Unknown || a == b:
		return a, true
	case a.Kind == schema.String && x.literal != nil && readable(b, *x.literal):
		return b, true
	case b.Kind == schema.String && y.literal != nil && readable(a, *y.literal):
		return a, true
	case a.Kind == schema.Date && b.Kind == schema.Timestamp && !b.Zoned:
		return b, true
	case b.Kind == schema.Date && a.Kind == schema.Timestamp && !a.Zoned:
		return a, true
	case !isNumber(a.Kind) || !isNumber(b.Kind):
		return unknown, false
	}
	a, b = asDecimal(x, b), asDecimal(y, a)
	if a.Kind == schema.Double || b.Kind == schema.Double {
		return kind(schema.Double), true
	}
	scale := max(a.Scale, b.Scale)
	return schema.Type{Kind: schema.Decimal, Scale: scale, Precision: min(maxDigits, max(a.Precision-a.Scale, b.Precision-b.Scale)+scale)}, true
}

// readable says whether a text is a value of a type that is not a number's.
func readable(t schema.Type, text string) bool {
	if t.Kind != schema.Date && t.Kind != schema.Timestamp {
		return false
	}
	var v schema.Vector
	v.Reset(t)
	return v.AppendCell([]byte(text)) || t.Kind == schema.Timestamp && v.AppendCell([]byte(text+"T00:00:00"))
}

// plain is a type without the format of its text.
func plain(t schema.Type) schema.Type {
	t.Format = schema.NoFormat
	return t
}

// asDecimal is the decimal type of a number that stands beside one of type other: a
// literal has the digits that it is written with.
func asDecimal(x *node, other schema.Type) schema.Type {
	t := plain(x.typ)
	switch {
	case other.Kind != schema.Decimal && t.Kind != schema.Decimal || other.Kind == schema.Double:
		return t
	case x.literal != nil && t.Kind != schema.Decimal:
		digits := strings.TrimPrefix(*x.literal, "-")
		whole, fraction, _ := strings.Cut(digits, ".")
		if len(whole)+len(fraction) <= maxDigits {
			return schema.Type{Kind: schema.Decimal, Precision: max(1, len(whole)+len(fraction)), Scale: len(fraction)}
		}
	case t.Kind == schema.Bigint:
		return schema.Type{Kind: schema.Decimal, Precision: 19}
	}
	return t
}

// as makes a node's values those of a type that has them.
func (c *compiler) as(x *node, t schema.Type) *node {
	from := plain(x.typ)
	switch {
	case from == t:
		return x
	case from.Kind == schema.Unknown:
		return constant(t, nil)
	case x.literal != nil && t.Kind != schema.String && (from.Kind == schema.String || t.Kind == schema.Decimal):
		var v schema.Vector
		v.Reset(t)
		if !v.AppendCell([]byte(*x.literal)) && !v.AppendCell([]byte(*x.literal+"T00:00:00")) {
			c.failAt(x.at, "", "%s is no %s", *x.literal, t)
		}
		var b block
		b.load(&v, t.Kind, 0, 1)
		return constant(t, func(out *block, i int) {
			if t.Kind == schema.Decimal {
				out.decs[i] = b.decs[0]
			} else {
				out.ints[i] = b.ints[0]
			}
		})
	case t.Kind == schema.Double && from.Kind == schema.Bigint:
		return each(t, x, func(out, a *block, i int) { out.floats[i] = float64(a.ints[i]) })
	case t.Kind == schema.Double && from.Kind == schema.Decimal:
		return each(t, x, func(out, a *block, i int) { out.floats[i] = a.decs[i].float(from.Scale) })
	case t.Kind == schema.Decimal && from.Kind == schema.Bigint:
		return each(t, x, func(out, a *block, i int) {
			d, ok := wholeDecimal(a.ints[i]).shift(t.Scale)
			if out.decs[i] = d; !ok || !d.abs().less(powers[t.Precision]) {
				out.fail(i, overflow)
			}
		})
	case t.Kind == schema.Decimal && from.Kind == schema.Decimal && t.Scale >= from.Scale:
		return each(t, x, func(out, a *block, i int) {
			d, ok := a.decs[i].shift(t.Scale - from.Scale)
			if out.decs[i] = d; !ok || !d.abs().less(powers[t.Precision]) {
				out.fail(i, overflow)
			}
		})
	case t.Kind == schema.Timestamp && from.Kind == schema.Date:
		return each(t, x, func(out, a *block, i int) { out.ints[i] = a.ints[i] * dayMillis })
	}
	c.failAt(x.at, "", "this is %s, and %s is needed", x.typ, t)
	return nil
}

const dayMillis = 24 * 60 * 60 * 1000
