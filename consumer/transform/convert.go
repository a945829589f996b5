package transform

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"lakefeed/schema"
)

// converter adds the value of a row, which is not null, to a vector of another type. It
// says false, and adds nothing, where that has no such value.
type converter func(out, in *schema.Vector, row int) bool

// converterOf is the conversion of one type to another. Text is read as the feed's is,
// and the feed's null tokens are null; what would lose more than digits behind the
// decimal mark, or the time of day for a date, is an error.
func converterOf(from, to schema.Type) (converter, error) {
	k := [2]schema.Kind{from.Kind, to.Kind}
	switch {
	case from.Kind == schema.Unknown:
		return func(out, _ *schema.Vector, _ int) bool { out.AppendNull(); return true }, nil
	case from.Kind == schema.String && to.Kind == schema.String:
		return func(out, in *schema.Vector, row int) bool { out.AppendText(in.TextAt(row)); return true }, nil
	case from.Kind == schema.String:
		return readText, nil
	case to.Kind == schema.String:
		var text []byte
		return func(out, in *schema.Vector, row int) bool {
			text = in.AppendValue(text[:0], row)
			out.AppendText(text)
			return true
		}, nil
	}
	switch k {
	case [2]schema.Kind{schema.Bigint, schema.Bigint}, [2]schema.Kind{schema.Boolean, schema.Boolean}, [2]schema.Kind{schema.Date, schema.Date}, [2]schema.Kind{schema.Boolean, schema.Bigint}:
		return func(out, in *schema.Vector, row int) bool { out.AppendInt(in.Ints[row]); return true }, nil
	case [2]schema.Kind{schema.Double, schema.Double}:
		return func(out, in *schema.Vector, row int) bool { out.AppendFloat(in.Floats[row]); return true }, nil
	case [2]schema.Kind{schema.Bigint, schema.Double}:
		return func(out, in *schema.Vector, row int) bool { out.AppendFloat(float64(in.Ints[row])); return true }, nil
	case [2]schema.Kind{schema.Decimal, schema.Double}:
		return func(out, in *schema.Vector, row int) bool {
			out.AppendFloat(decimalOf(in.DecimalAt(row)).float(from.Scale))
			return true
		}, nil
	case [2]schema.Kind{schema.Bigint, schema.Decimal}:
		return func(out, in *schema.Vector, row int) bool {
			return appendDecimal(out, wholeDecimal(in.Ints[row]), 0, to)
		}, nil
	case [2]schema.Kind{schema.Decimal, schema.Decimal}:
		return func(out, in *schema.Vector, row int) bool {
			return appendDecimal(out, decimalOf(in.DecimalAt(row)), from.Scale, to)
		}, nil
	case [2]schema.Kind{schema.Double, schema.Decimal}:
		var text []byte
		return func(out, in *schema.Vector, row int) bool {
			text = strconv.AppendFloat(text[:0], in.Floats[row], 'f', to.Scale, 64)
			if f := in.Floats[row]; f < 0 && bytes.Trim(text, "-0.") == nil {
				text = text[1:]
			}
			return out.AppendCell(text)
		}, nil
	case [2]schema.Kind{schema.Double, schema.Bigint}:
		return func(out, in *schema.Vector, row int) bool {
			f := in.Floats[row]
			if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
				return false
			}
			out.AppendInt(int64(f))
			return true
		}, nil
	case [2]schema.Kind{schema.Decimal, schema.Bigint}:
		return func(out, in *schema.Vector, row int) bool {
			n, ok := decimalOf(in.DecimalAt(row)).whole(from.Scale)
			if ok {
				out.AppendInt(n)
			}
			return ok
		}, nil
	case [2]schema.Kind{schema.Bigint, schema.Boolean}:
		return func(out, in *schema.Vector, row int) bool {
			n := in.Ints[row]
			if n == 0 || n == 1 {
				out.AppendInt(n)
			}
			return n == 0 || n == 1
		}, nil
	case [2]schema.Kind{schema.Timestamp, schema.Date}:
		return func(out, in *schema.Vector, row int) bool {
			out.AppendInt(floorDiv(in.Ints[row], dayMillis))
			return true
		}, nil
	}
	switch {
	case from.Kind == schema.Date && to.Kind == schema.Timestamp && !to.Zoned:
		return func(out, in *schema.Vector, row int) bool { out.AppendInt(in.Ints[row] * dayMillis); return true }, nil
	case from.Kind == schema.Timestamp && to.Kind == schema.Timestamp && from.Zoned == to.Zoned:
		return func(out, in *schema.Vector, row int) bool { out.AppendInt(in.Ints[row]); return true }, nil
	}
	return nil, fmt.Errorf("a %s cannot be made a %s", plain(from), to.Written())
}

func readText(out, in *schema.Vector, row int) bool {
	text := in.TextAt(row)
	switch {
	case out.AppendCell(text):
	case schema.IsNullToken(text):
		out.AppendNull()
	default:
		return false
	}
	return true
}

// appendDecimal adds a value of another scale; digits too many behind the mark are
// rounded off.
func appendDecimal(out *schema.Vector, d decimal, scale int, to schema.Type) bool {
	ok := true
	if scale > to.Scale {
		d = d.rounded(scale - to.Scale)
	} else {
		d, ok = d.shift(to.Scale - scale)
	}
	if !ok || !d.abs().less(powers[to.Precision]) {
		return false
	}
	out.AppendDecimal(d.bytes())
	return true
}

func (b *builder) cast(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.Cast)) {
		c := b.find(&s.Cast, name)
		t, err := schema.ParseType(s.Cast[name])
		if err == nil && t.Kind == schema.Unknown {
			err = fmt.Errorf("unknown is no type to cast to")
		}
		if err != nil {
			b.fault(&s.Cast, name, "", "cast of %s: %v", name, err)
		}
		if c == nil || err != nil {
			continue
		}
		conv, err := converterOf(c.typ, t)
		if err != nil {
			hint := ""
			if c.typ.Kind == schema.Timestamp || t.Kind == schema.Timestamp {
				hint = "the step parse reads text with a time zone, and in_zone(…) gives an instant's wall clock"
			}
			b.fault(&s.Cast, name, hint, "cast of %s: %v", name, err)
			continue
		}
		b.convert("cast", name, c, t, conv)
	}
}

// convert gives a column values of another type.
func (b *builder) convert(verb, name string, c *column, t schema.Type, conv converter) {
	made := b.remake(c, t)
	trouble := b.trouble(verb, name)
	from := c.slot
	var shown []byte
	b.run(func(r *run) {
		in, out := r.columns[from], r.columns[made.slot]
		out.Reset(t)
		r.each(in, out, func(row int) {
			if !conv(out, in, row) {
				out.AppendNull()
				shown = in.AppendValue(shown[:0], row)
				r.fail(trouble, row, shown, "is no "+t.Written())
			}
		})
		out.Type = plain(t)
	})
}

func (b *builder) fill(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.Fill)) {
		c := b.find(&s.Fill, name)
		if c == nil {
			continue
		}
		text := []byte(s.Fill[name])
		t := c.typ
		late := c.late == schema.LateUntyped || c.late == schema.LateMisfit && !reads(t, text)
		if late || t.Kind == schema.Unknown {
			var e schema.Evidence
			e.Observe(text, false, nil, nil)
			if t = e.Type(schema.Doubles); t.Kind == schema.Unknown {
				t = kind(schema.String)
			}
		}
		var one schema.Vector
		one.Reset(t)
		if !one.AppendCell(text) {
			one.Reset(plain(t))
			if !one.AppendCell(text) {
				b.fault(&s.Fill, name, "", "fill of %s: %s is no %s", name, quoted(text), t.Written())
				continue
			}
		}
		t = plain(t)
		one.Type = t
		made := b.remake(c, t)
		same, _ := converterOf(t, t)
		from := c.slot
		trouble := b.trouble("fill", name)
		why := fmt.Sprintf("column %s has a value, %s, and had none when the table got its columns: the step makes it %s", name, c.typ, t)
		b.run(func(r *run) {
			in, out := r.columns[from], r.columns[made.slot]
			out.Reset(t)
			have := min(in.Len(), r.rows)
			for row := range r.rows {
				switch {
				case row >= have || in.Null(row):
					same(out, &one, 0)
				case late:
					out.AppendNull()
					r.fail(trouble, row, nil, why)
				default:
					same(out, in, row)
				}
			}
		})
	}
}

// reads says whether a text is a value of a type, with its format or without.
func reads(t schema.Type, text []byte) bool {
	var v schema.Vector
	v.Reset(t)
	if v.AppendCell(text) {
		return true
	}
	v.Reset(plain(t))
	return v.AppendCell(text)
}

func (b *builder) trim(s *Step) {
	b.texts("trim", s.Trim, func(_, text []byte) []byte { return bytes.TrimSpace(text) })
}

func (b *builder) lower(s *Step) {
	b.texts("lower", s.Lower, func(scratch, text []byte) []byte { return caseOf(scratch, text, bytes.ToLower, 'A', 'Z') })
}

func (b *builder) upper(s *Step) {
	b.texts("upper", s.Upper, func(scratch, text []byte) []byte { return caseOf(scratch, text, bytes.ToUpper, 'a', 'z') })
}

// caseOf changes the case of text, in the scratch where that is all it takes.
func caseOf(scratch, text []byte, other func([]byte) []byte, from, to byte) []byte {
	for _, b := range text {
		if b >= 0x80 {
			return other(text)
		}
		if b >= from && b <= to {
			b ^= 0x20
		}
		scratch = append(scratch, b)
	}
	return scratch
}

// texts compiles a step that changes text. scratch is empty, and may be used.
func (b *builder) texts(verb string, names []string, do func(scratch, text []byte) []byte) {
	for i, name := range names {
		c := b.find(&names[i], name)
		if c == nil || !b.text(&names[i], "", verb, c) {
			continue
		}
		made := b.remake(c, c.typ)
		from := c.slot
		var scratch [256]byte
		b.run(func(r *run) {
			in, out := r.columns[from], r.columns[made.slot]
			out.Reset(c.typ)
			r.each(in, out, func(row int) { out.AppendText(do(scratch[:0], in.TextAt(row))) })
		})
	}
}

// text says whether a column is text, or undecided. Else that is a fault.
func (b *builder) text(of any, key, verb string, c *column) bool {
	if c.typ.Kind == schema.String || c.typ.Kind == schema.Unknown {
		return true
	}
	b.fault(of, key, "a step that sets it from string(…) makes text of it", "%s takes text, and %s is %s", verb, c.name, c.typ)
	return false
}
