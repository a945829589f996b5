package transform

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones by name, on machines that have none
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"lakefeed/schema"
	"lakefeed/schema/spelling"
)

// function types one call. Its arguments are typed, but for those that must be
// written as literals, which are also in n.
type function struct {
	args string // for messages
	min  int
	max  int // -1 for any number
	make func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node
}

const tooLong = "the text is longer than 4 MiB"

var (
	functions     map[string]function
	functionNames []string
)

// The table is made here, since its functions call back into what reads it.
func init() {
	functions = functionTable()
	functionNames = slices.Sorted(maps.Keys(functions))
}

// call types a call of a function.
func (c *compiler) call(n ast.Node, name string, raw []ast.Node) *node {
	f, ok := functions[name]
	if !ok {
		hint := "the functions are " + strings.Join(functionNames, ", ")
		if near := spelling.Nearest(name, functionNames); near != "" {
			hint = "did you mean " + near + "?"
		}
		switch name {
		case "now", "today", "random", "rand", "uuid":
			hint = "the same row must always give the same record; --meta adds _ingested_at"
		}
		c.fail(n, hint, "there is no function %s", name)
	}
	if len(raw) < f.min || f.max >= 0 && len(raw) > f.max {
		c.fail(n, "", "%s takes %s", name, f.args)
	}
	x := make([]*node, len(raw))
	for i, r := range raw {
		x[i] = c.node(r)
	}
	return f.make(c, n, raw, x)
}

// textArgument is a literal text among a call's arguments.
func (c *compiler) textArgument(n ast.Node, what string) string {
	s, ok := n.(*ast.StringNode)
	if !ok {
		c.fail(n, "", "%s is written as a text in quotes", what)
	}
	return s.Value
}

func (c *compiler) countArgument(n ast.Node, what string, most int) int {
	i, ok := n.(*ast.IntegerNode)
	if !ok || i.Value < 0 || i.Value > most {
		c.fail(n, "", "%s is written as a whole number from 0 to %d", what, most)
	}
	return i.Value
}

// zone is a time zone that is named in a call.
func (c *compiler) zone(n ast.Node) *time.Location {
	name := c.textArgument(n, "a time zone")
	z, err := loadZone(name)
	if err != nil {
		c.fail(n, "write it as Europe/Berlin or UTC", "there is no time zone %q", name)
	}
	return z
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("no such zone")
	}
	return time.LoadLocation(name)
}

// onText is a function from text to text.
func onText(do func(out *block, text []byte) []byte) function {
	return function{"a text", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
		c.want(x[0], "it", schema.String)
		return each(kind(schema.String), x[0], func(out, a *block, i int) { out.texts[i] = do(out, a.texts[i]) })
	}}
}

// many makes a node of any number of others, null where one is.
func many(t schema.Type, x []*node, do func(out *block, in []*block, i int)) *node {
	out := &block{}
	in := make([]*block, len(x))
	return &node{typ: t, eval: func(f *frame) *block {
		for j := range x {
			in[j] = x[j].eval(f)
		}
		out.size(t.Kind, f.n())
	rows:
		for i := range out.null {
			for _, a := range in {
				if a.null[i] {
					out.null[i] = true
					continue rows
				}
			}
			do(out, in, i)
		}
		out.inherit(in...)
		return out
	}}
}

func functionTable() map[string]function {
	texts := func(c *compiler, name string, x []*node) {
		for _, one := range x {
			c.want(one, name, schema.String)
		}
	}
	wholes := func(c *compiler, name string, x []*node) {
		for _, one := range x {
			c.want(one, name, schema.Bigint)
		}
	}
	table := map[string]function{
		"lower": onText(func(out *block, s []byte) []byte { return changeCase(out, s, bytes.ToLower, 'A', 'Z') }),
		"upper": onText(func(out *block, s []byte) []byte { return changeCase(out, s, bytes.ToUpper, 'a', 'z') }),
		"trim":  onText(func(_ *block, s []byte) []byte { return bytes.TrimSpace(s) }),
		"len": {"a text", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			texts(c, "len", x)
			return each(kind(schema.Bigint), x[0], func(out, a *block, i int) { out.ints[i] = int64(utf8.RuneCount(a.texts[i])) })
		}},
		"concat": {"one text or more", 1, -1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			texts(c, "concat", x)
			return many(kind(schema.String), x, func(out *block, in []*block, i int) {
				parts, n := make([][]byte, len(in)), 0
				for j, a := range in {
					parts[j] = a.texts[i]
					n += len(parts[j])
				}
				if n > maxText {
					out.fail(i, tooLong)
					return
				}
				out.texts[i] = out.keep(parts...)
			})
		}},
		"replace": {"a text, what to replace and what to replace it with", 3, 3, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			texts(c, "replace", x)
			return many(kind(schema.String), x, func(out *block, in []*block, i int) {
				s, old, to := in[0].texts[i], in[1].texts[i], in[2].texts[i]
				if len(old) == 0 {
					out.texts[i] = s
					return
				}
				if count := bytes.Count(s, old); len(s)+count*(len(to)-len(old)) > maxText {
					out.fail(i, tooLong)
					return
				}
				out.texts[i] = bytes.ReplaceAll(s, old, to)
			})
		}},
		"substring": {"a text, the place of its first character from 1 on, and a count", 2, 3, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			c.want(x[0], "substring", schema.String)
			wholes(c, "substring", x[1:])
			return many(kind(schema.String), x, func(out *block, in []*block, i int) {
				from, count := in[1].ints[i], int64(maxText)
				if len(in) == 3 {
					count = in[2].ints[i]
				}
				if from < 1 || count < 0 {
					out.fail(i, "substring begins at 1, and takes 0 characters or more")
					return
				}
				out.texts[i] = characters(in[0].texts[i], int(min(from-1, maxText)), int(min(count, maxText)))
			})
		}},
		"left": {"a text and a count", 2, 2, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			c.want(x[0], "left", schema.String)
			count := c.countArgument(raw[1], "the count", maxText)
			return each(kind(schema.String), x[0], func(out, a *block, i int) { out.texts[i] = characters(a.texts[i], 0, count) })
		}},
		"right": {"a text and a count", 2, 2, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			c.want(x[0], "right", schema.String)
			count := c.countArgument(raw[1], "the count", maxText)
			return each(kind(schema.String), x[0], func(out, a *block, i int) {
				out.texts[i] = characters(a.texts[i], max(0, utf8.RuneCount(a.texts[i])-count), count)
			})
		}},
		"split_part": {"a text, what parts it, and the part's number from 1 on", 3, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			texts(c, "split_part", x[:1])
			by := []byte(c.textArgument(raw[1], "what parts it"))
			part := c.countArgument(raw[2], "the part", 10_000)
			if len(by) == 0 || part == 0 {
				c.fail(n, "", "split_part takes a text that is not empty, and a number from 1 on")
			}
			return each(kind(schema.String), x[0], func(out, a *block, i int) {
				rest, found := a.texts[i], true
				var one []byte
				for range part {
					if !found {
						out.null[i] = true
						return
					}
					one, rest, found = bytes.Cut(rest, by)
				}
				out.texts[i] = one
			})
		}},
		"pad_left": {"a text, the length to fill it up to, and the text to fill it with", 3, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			texts(c, "pad_left", x[:1])
			length := c.countArgument(raw[1], "the length", 10_000)
			fill := []rune(c.textArgument(raw[2], "what fills it"))
			if len(fill) != 1 {
				c.fail(raw[2], "", "pad_left fills with one character")
			}
			return each(kind(schema.String), x[0], func(out, a *block, i int) {
				missing := length - utf8.RuneCount(a.texts[i])
				if out.texts[i] = a.texts[i]; missing > 0 {
					out.texts[i] = append(bytes.Repeat([]byte(string(fill)), missing), a.texts[i]...)
				}
			})
		}},
		"regex_replace": {"a text, a pattern, and what to put in place ($1 is its first group)", 3, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			texts(c, "regex_replace", x[:1])
			re, to := c.pattern(raw[1]), []byte(c.textArgument(raw[2], "what to put in place"))
			return each(kind(schema.String), x[0], func(out, a *block, i int) {
				if out.texts[i] = re.ReplaceAll(a.texts[i], to); len(out.texts[i]) > maxText {
					out.fail(i, tooLong)
				}
			})
		}},
		"regex_extract": {"a text, a pattern, and a group's number", 2, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			texts(c, "regex_extract", x[:1])
			re, group := c.pattern(raw[1]), 0
			if len(raw) == 3 {
				if group = c.countArgument(raw[2], "the group", 99); group > re.NumSubexp() {
					c.fail(raw[2], "", "the pattern has %d groups", re.NumSubexp())
				}
			}
			return each(kind(schema.String), x[0], func(out, a *block, i int) {
				found := re.FindSubmatch(a.texts[i])
				if found == nil || found[group] == nil {
					out.null[i] = true
					return
				}
				out.texts[i] = found[group]
			})
		}},
		"coalesce": {"one value or more", 1, -1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			out := x[len(x)-1]
			for i := len(x) - 2; i >= 0; i-- {
				out = c.firstOf(n, x[i], out)
			}
			return out
		}},
		"nullif": {"two values", 2, 2, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			a, b, t := c.alike(n, "nullif", x[0], x[1])
			out := &block{}
			return &node{typ: t, eval: func(f *frame) *block {
				p, q := a.eval(f), b.eval(f)
				out.size(t.Kind, f.n())
				for i := range out.null {
					if out.set(t.Kind, i, p); !p.null[i] && !q.null[i] && t.Kind != schema.Unknown && order(t.Kind, p, q, i) == 0 {
						out.null[i] = true
					}
				}
				out.inherit(q)
				return out
			}}
		}},
		"div": {"two whole numbers", 2, 2, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			wholes(c, "div", x)
			return both(kind(schema.Bigint), x[0], x[1], func(out, a, b *block, i int) {
				switch p, q := a.ints[i], b.ints[i]; {
				case q == 0:
					out.fail(i, divisionByZero)
				case p == math.MinInt64 && q == -1:
					out.fail(i, overflow)
				default:
					out.ints[i] = p / q
				}
			})
		}},
		"abs": {"a number", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			c.numeric(x[0], "abs")
			t := plain(x[0].typ)
			return each(t, x[0], func(out, a *block, i int) {
				switch t.Kind {
				case schema.Double:
					out.floats[i] = math.Abs(a.floats[i])
				case schema.Decimal:
					if out.decs[i] = a.decs[i]; out.decs[i].negative() {
						out.decs[i] = out.decs[i].negate()
					}
				default:
					if out.ints[i] = max(a.ints[i], -a.ints[i]); out.ints[i] < 0 {
						out.fail(i, overflow)
					}
				}
			})
		}},
		"round": {"a number, and digits behind the decimal mark", 1, 2, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			digits := 0
			if len(raw) == 2 {
				digits = c.countArgument(raw[1], "the digits", 18)
			}
			return c.rounded(x[0], "round", digits, math.Round)
		}},
		"floor": {"a number", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			return c.rounded(x[0], "floor", 0, math.Floor)
		}},
		"ceil": {"a number", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			return c.rounded(x[0], "ceil", 0, math.Ceil)
		}},
		"min":   {"two values or more", 2, -1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node { return c.extreme(n, "min", x, -1) }},
		"max":   {"two values or more", 2, -1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node { return c.extreme(n, "max", x, 1) }},
		"int":   conversion(schema.Bigint),
		"float": conversion(schema.Double),
		"string": {"a value", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node {
			return c.convert(n, x[0], kind(schema.String))
		}},
		"decimal": {"a value, its digits, and those behind the decimal mark", 3, 3, func(c *compiler, n ast.Node, raw []ast.Node, x []*node) *node {
			t := schema.Type{Kind: schema.Decimal, Precision: c.countArgument(raw[1], "the number of digits", maxDigits), Scale: c.countArgument(raw[2], "the number of digits", maxDigits)}
			if t.Precision == 0 || t.Scale > t.Precision {
				c.fail(n, "", "%s has more digits behind the decimal mark than in all", t)
			}
			return c.convert(n, x[0], t)
		}},
	}
	maps.Copy(table, timeFunctions(wholes))
	return table
}

func conversion(k schema.Kind) function {
	return function{"a value", 1, 1, func(c *compiler, n ast.Node, _ []ast.Node, x []*node) *node { return c.convert(n, x[0], kind(k)) }}
}

// changeCase works on ASCII in place, and on other text by Unicode's rules.
func changeCase(out *block, s []byte, other func([]byte) []byte, from, to byte) []byte {
	change := false
	for _, b := range s {
		if b >= utf8.RuneSelf {
			return other(s)
		}
		change = change || b >= from && b <= to
	}
	if !change {
		return s
	}
	s = out.keep(s)
	for i, b := range s {
		if b >= from && b <= to {
			s[i] = b ^ 0x20
		}
	}
	return s
}

// rounded types round, floor and ceil: doubles stay doubles.
func (c *compiler) rounded(x *node, name string, digits int, do func(float64) float64) *node {
	c.numeric(x, name)
	t := plain(x.typ)
	switch t.Kind {
	case schema.Decimal:
		from := t.Scale
		if digits >= from {
			return x
		}
		t.Scale = digits
		t.Precision = min(maxDigits, t.Precision-from+digits+1)
		half := map[string]int{"round": 0, "floor": -1, "ceil": 1}[name]
		return each(t, x, func(out, a *block, i int) {
			d := a.decs[i].rounded(from - digits)
			if back, ok := d.shift(from - digits); half != 0 && ok { // rounded the wrong way?
				if o := back.compare(a.decs[i]); o == -half {
					d, _ = d.plus(wholeDecimal(int64(half)))
				}
			}
			out.decs[i] = d
		})
	case schema.Double:
		unit := pow10(digits)
		return each(t, x, func(out, a *block, i int) {
			v := a.floats[i]
			if out.floats[i] = do(v*unit) / unit; math.IsInf(v*unit, 0) {
				out.floats[i] = v
			}
		})
	}
	return x
}

// extreme is the least or the greatest of some values.
func (c *compiler) extreme(n ast.Node, name string, x []*node, which int) *node {
	out := x[0]
	for _, y := range x[1:] {
		a, b, t := c.alike(n, name, out, y)
		if t.Kind == schema.Boolean {
			c.fail(n, "", "%s does not take booleans", name)
		}
		out = both(t, a, b, func(out, p, q *block, i int) {
			if order(t.Kind, q, p, i) == which {
				out.set(t.Kind, i, q)
			} else {
				out.set(t.Kind, i, p)
			}
		})
	}
	return out
}

// convert makes values of another type.
func (c *compiler) convert(n ast.Node, x *node, t schema.Type) *node {
	from := plain(x.typ)
	if from.Kind == schema.Unknown {
		return constant(t, nil)
	}
	if x.literal == nil || from.Kind != schema.String {
		switch {
		case from == t:
			return x
		case t.Kind == schema.Double && isNumber(from.Kind), t.Kind == schema.Decimal && from.Kind == schema.Bigint,
			t.Kind == schema.Decimal && from.Kind == schema.Decimal && t.Scale >= from.Scale, t.Kind == schema.Timestamp && !t.Zoned && from.Kind == schema.Date:
			return c.as(x, t)
		}
	}
	conv, err := converterOf(x.typ, t)
	if err != nil {
		c.fail(n, "", "%v", err)
	}
	var one, made schema.Vector
	return each(t, x, func(out, a *block, i int) {
		one.Reset(from)
		cell := block{null: a.null[i : i+1]}
		switch from.Kind {
		case schema.Double:
			cell.floats = a.floats[i : i+1]
		case schema.Decimal:
			cell.decs = a.decs[i : i+1]
		case schema.String:
			cell.texts = a.texts[i : i+1]
		default:
			cell.ints = a.ints[i : i+1]
		}
		cell.appendTo(&one, from.Kind)
		made.Reset(t)
		if !conv(&made, &one, 0) {
			out.fail(i, "it is no "+t.Written())
			return
		}
		if made.Null(0) {
			out.null[i] = true
			return
		}
		switch t.Kind {
		case schema.Double:
			out.floats[i] = made.Floats[0]
		case schema.Decimal:
			out.decs[i] = decimalOf(made.DecimalAt(0))
		case schema.String:
			out.texts[i] = out.keep(made.TextAt(0))
		default:
			out.ints[i] = made.Ints[0]
		}
	})
}
