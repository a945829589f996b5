package transform

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"lakefeed/schema"
)

func (c *compiler) unary(n *ast.UnaryNode) *node {
	x := c.node(n.Node)
	switch n.Operator {
	case "!", "not":
		c.want(x, "not", schema.Boolean)
		return each(kind(schema.Boolean), x, func(out, a *block, i int) { out.ints[i] = 1 - a.ints[i] })
	case "+":
		c.numeric(x, "+")
		return x
	case "-":
		c.numeric(x, "-")
		if x.literal != nil {
			text := "-" + *x.literal
			x.literal = &text
		}
		out := each(x.typ, x, func(out, a *block, i int) {
			switch x.typ.Kind {
			case schema.Double:
				out.floats[i] = -a.floats[i]
			case schema.Decimal:
				out.decs[i] = a.decs[i].negate()
			default:
				if out.ints[i] = -a.ints[i]; out.ints[i] == a.ints[i] && a.ints[i] != 0 {
					out.fail(i, overflow)
				}
			}
		})
		out.literal = x.literal
		return out
	}
	c.fail(n, "", "the operator %s is not part of the language of transforms", n.Operator)
	return nil
}

const overflow = "the number is too large"

// want says that a node is of one of some kinds, or undecided.
func (c *compiler) want(x *node, by string, kinds ...schema.Kind) {
	if x.typ.Kind == schema.Unknown || slices.Contains(kinds, x.typ.Kind) {
		return
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.String()
	}
	hint := ""
	switch {
	case x.typ.Kind == schema.String && slices.Contains(kinds, schema.Bigint):
		hint = "int(…), float(…) and the step cast make numbers of text"
	case kinds[0] == schema.String:
		hint = "string(…) makes text of it"
	case x.typ.Kind == schema.String && slices.Contains(kinds, schema.Timestamp):
		hint = "date(…), timestamp(…) and the step parse read text"
	}
	c.failAt(x.at, hint, "%s takes %s, and this is %s", by, strings.Join(names, " or "), x.typ)
}

func (c *compiler) numeric(x *node, by string) {
	c.want(x, by, schema.Bigint, schema.Double, schema.Decimal)
}

func isNumber(k schema.Kind) bool {
	return k == schema.Bigint || k == schema.Double || k == schema.Decimal
}

// each makes a node that works on one value at a time, null for null.
func each(t schema.Type, x *node, do func(out, a *block, i int)) *node {
	b := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		a := x.eval(f)
		b.size(t.Kind, f.n())
		for i, null := range a.null {
			if null || t.Kind == schema.Unknown {
				b.null[i] = true
			} else {
				do(b, a, i)
			}
		}
		b.inherit(a)
		return b
	}}
}

// both makes a node that works on two values, null where one is.
func both(t schema.Type, x, y *node, do func(out, a, b *block, i int)) *node {
	out := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		a, b := x.eval(f), y.eval(f)
		out.size(t.Kind, f.n())
		if t.Kind != schema.Unknown {
			for i := range out.null {
				if a.null[i] || b.null[i] {
					out.null[i] = true
				} else {
					do(out, a, b, i)
				}
			}
		}
		out.inherit(a, b)
		return out
	}}
}

func (c *compiler) binary(n *ast.BinaryNode) *node {
	switch n.Operator {
	case "and", "&&", "or", "||":
		x, y := c.node(n.Left), c.node(n.Right)
		c.want(x, n.Operator, schema.Boolean)
		c.want(y, n.Operator, schema.Boolean)
		decided := int64(0)
		if n.Operator == "or" || n.Operator == "||" {
			decided = 1
		}
		return logical(x, y, decided)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "+", "-", "*", "/", "%":
		return c.arithmetic(n)
	case "??":
		return c.firstOf(n, c.node(n.Left), c.node(n.Right))
	case "in":
		return c.in(n)
	case "contains", "startsWith", "endsWith":
		x, y := c.node(n.Left), c.node(n.Right)
		c.want(x, n.Operator, schema.String)
		c.want(y, n.Operator, schema.String)
		test := map[string]func(a, b []byte) bool{"contains": containsText, "startsWith": startsWith, "endsWith": endsWith}[n.Operator]
		return both(kind(schema.Boolean), x, y, func(out, a, b *block, i int) { out.ints[i] = truth(test(a.texts[i], b.texts[i])) })
	case "matches":
		x := c.node(n.Left)
		c.want(x, n.Operator, schema.String)
		re := c.pattern(n.Right)
		return each(kind(schema.Boolean), x, func(out, a *block, i int) { out.ints[i] = truth(re.Match(a.texts[i])) })
	}
	c.fail(n, "", "the operator %s is not part of the language of transforms", n.Operator)
	return nil
}

func truth(x bool) int64 {
	if x {
		return 1
	}
	return 0
}

// pattern is a regular expression that is written as a text.
func (c *compiler) pattern(n ast.Node) *regexp.Regexp {
	s, ok := n.(*ast.StringNode)
	if !ok {
		c.fail(n, "", "a pattern is written as a text in quotes")
	}
	re, err := regexp.Compile(s.Value)
	if err != nil {
		c.fail(n, "", "%v", err)
	}
	return re
}

// logical is "and" (decided by 0) or "or" (decided by 1) of three values.
func logical(x, y *node, decided int64) *node {
	out := &block{}
	return &node{typ: kind(schema.Boolean), eval: func(f *frame) *block {
		a, b := x.eval(f), y.eval(f)
		out.size(schema.Boolean, f.n())
		for i := range out.null {
			switch {
			case !a.null[i] && x.typ.Kind != schema.Unknown && a.ints[i] == decided, !b.null[i] && y.typ.Kind != schema.Unknown && b.ints[i] == decided && a.errs[i] == "":
				out.ints[i] = decided
			case a.null[i] || b.null[i]:
				out.null[i] = true
				if why := cmp.Or(a.errs[i], b.errs[i]); why != "" {
					out.fail(i, why)
				}
			default:
				out.ints[i] = 1 - decided
			}
		}
		return out
	}}
}

// isNil makes a node that says whether another is null.
func isNil(x *node, want int64) *node {
	out := &block{}
	return &node{typ: kind(schema.Boolean), eval: func(f *frame) *block {
		a := x.eval(f)
		out.size(schema.Boolean, f.n())
		for i, null := range a.null {
			if out.ints[i] = 1 - want; null {
				out.ints[i] = want
			}
		}
		out.inherit(a)
		return out
	}}
}

func (c *compiler) comparison(n *ast.BinaryNode) *node {
	if n.Operator == "==" || n.Operator == "!=" {
		want := int64(1)
		if n.Operator == "!=" {
			want = 0
		}
		if _, ok := n.Right.(*ast.NilNode); ok {
			return isNil(c.node(n.Left), want)
		}
		if _, ok := n.Left.(*ast.NilNode); ok {
			return isNil(c.node(n.Right), want)
		}
	}
	x, y := c.node(n.Left), c.node(n.Right)
	x, y, t := c.alike(n, n.Operator, x, y)
	holds := map[string]func(order int) bool{
		"==": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
		"<": func(o int) bool { return o == -1 }, "<=": func(o int) bool { return o == -1 || o == 0 },
		">": func(o int) bool { return o == 1 }, ">=": func(o int) bool { return o == 0 || o == 1 },
	}[n.Operator]
	return both(kind(schema.Boolean), x, y, func(out, a, b *block, i int) { out.ints[i] = truth(holds(order(t.Kind, a, b, i))) })
}

// order compares two values: -1, 0 or 1, and 2 where NaN has none.
func order(k schema.Kind, a, b *block, i int) int {
	switch k {
	case schema.Double:
		x, y := a.floats[i], b.floats[i]
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		case x == y:
			return 0
		}
		return 2
	case schema.Decimal:
		return a.decs[i].compare(b.decs[i])
	case schema.String:
		return compareText(a.texts[i], b.texts[i])
	}
	return cmp.Compare(a.ints[i], b.ints[i])
}

func (c *compiler) conditional(n *ast.ConditionalNode) *node {
	cond := c.node(n.Cond)
	c.want(cond, "a condition", schema.Boolean)
	x, y, t := c.alike(n, "a choice", c.node(n.Exp1), c.node(n.Exp2))
	out := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		q, a, b := cond.eval(f), x.eval(f), y.eval(f)
		out.size(t.Kind, f.n())
		for i := range out.null {
			switch {
			case q.errs[i] != "":
				out.fail(i, q.errs[i])
			case !q.null[i] && cond.typ.Kind != schema.Unknown && q.ints[i] != 0:
				out.set(t.Kind, i, a)
			default:
				out.set(t.Kind, i, b)
			}
		}
		return out
	}}
}

// firstOf is the first value that is not null.
func (c *compiler) firstOf(n ast.Node, x, y *node) *node {
	x, y, t := c.alike(n, "??", x, y)
	out := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		a, b := x.eval(f), y.eval(f)
		out.size(t.Kind, f.n())
		for i := range out.null {
			if a.null[i] && a.errs[i] == "" {
				out.set(t.Kind, i, b)
			} else {
				out.set(t.Kind, i, a)
			}
		}
		return out
	}}
}

func (c *compiler) in(n *ast.BinaryNode) *node {
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok || len(list.Nodes) == 0 {
		c.fail(n.Right, "", "in takes a list, as in x in [\"a\", \"b\"]")
	}
	x := c.node(n.Left)
	var out *node
	for _, one := range list.Nodes {
		y := c.node(one)
		a, b, t := c.alike(one, "in", x, y)
		equal := both(kind(schema.Boolean), a, b, func(out, a, b *block, i int) { out.ints[i] = truth(order(t.Kind, a, b, i) == 0) })
		if out == nil {
			out = equal
		} else {
			out = logical(out, equal, 1)
		}
	}
	return out
}

func (c *compiler) slice(n *ast.SliceNode) *node {
	x := c.node(n.Node)
	c.want(x, "[from:to]", schema.String)
	bound := func(at ast.Node, otherwise int) int {
		if at == nil {
			return otherwise
		}
		i, ok := at.(*ast.IntegerNode)
		if !ok {
			c.fail(at, "substring(text, from, count) takes columns, too", "the bounds of [from:to] are whole numbers")
		}
		return i.Value
	}
	from, to := bound(n.From, 0), bound(n.To, maxText)
	if from < 0 || to < 0 {
		c.fail(n, "left(…) and right(…) give so many characters", "the bounds of [from:to] are 0 or more")
	}
	return each(kind(schema.String), x, func(out, a *block, i int) { out.texts[i] = characters(a.texts[i], from, to-from) })
}

// characters are count characters of a text, from the one at place from.
func characters(text []byte, from, count int) []byte {
	for ; from > 0 && len(text) > 0; from-- {
		_, n := utf8.DecodeRune(text)
		text = text[n:]
	}
	end := 0
	for ; count > 0 && end < len(text); count-- {
		_, n := utf8.DecodeRune(text[end:])
		end += n
	}
	return text[:end]
}
