package transform

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"lakefeed/schema"
)

// The bounds of an expression.
const (
	maxNodes      = 500
	maxExpression = 8 << 10 // bytes
	maxText       = 4 << 20 // bytes of a value that an expression makes
)

// frame is the chunk of rows that is worked out.
type frame struct {
	from, to int
	columns  []*schema.Vector // by slot
}

func (f *frame) n() int { return f.to - f.from }

// node is a part of an expression, typed. Its block is its own until it is evaluated
// again.
type node struct {
	typ     schema.Type
	literal *string // text of a literal number or string
	at      file.Location
	eval    func(*frame) *block
}

// The language is expr's, as far as its syntax goes; what the operators do to nulls,
// decimals and dates is SQL's. So an expression is not run by expr's machine, which
// knows neither, but over columns, a node at a time.

// expression is a parsed and typed expression.
type expression struct {
	root    *node
	uses    []string // columns
	untyped []untypedColumn
	out     block // where there are those
}

// untypedColumn is a column that an expression sees as null.
type untypedColumn struct {
	slot int
	why  string // it fails where it is not
}

// eval works the expression out for a chunk.
func (e *expression) eval(f *frame) *block {
	values := e.root.eval(f)
	if len(e.untyped) == 0 {
		return values
	}
	e.out.size(e.root.typ.Kind, f.n())
	for i := range f.n() {
		e.out.set(e.root.typ.Kind, i, values)
	}
	for _, c := range e.untyped {
		v := f.columns[c.slot]
		for i := range min(f.n(), max(0, v.Len()-f.from)) {
			if !v.Null(f.from + i) {
				e.out.fail(i, c.why)
			}
		}
	}
	return &e.out
}

// scope are the columns that an expression may use.
type scope func(name string) (slot int, t schema.Type, ok bool)

// expressionError is what is wrong at one place of an expression.
type expressionError struct {
	at      file.Location
	message string
	hint    string
}

func (e *expressionError) Error() string { return e.message }

// compile types an expression. names are the columns there are, for suggestions; nil
// where they are not known yet: then a column that is not in scope may be anything.
func compile(text string, columns scope, names []string) (out *expression, err error) {
	if len(text) > maxExpression {
		return nil, &expressionError{message: fmt.Sprintf("the expression has %d bytes, and %d are the most", len(text), maxExpression)}
	}
	tree, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{columns: columns, names: names, text: []rune(text)}
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(*expressionError)
			if !ok {
				panic(r)
			}
			out, err = nil, fault
		}
	}()
	root := c.node(tree.Node)
	return &expression{root: root, uses: c.uses}, nil
}

// parse makes an error of the parser's panics, too.
func parse(text string) (tree *parser.Tree, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &expressionError{message: fmt.Sprintf("it cannot be read: %v", r)}
		}
	}()
	if strings.TrimSpace(text) == "" {
		return nil, &expressionError{message: "the expression is empty"}
	}
	c := conf.CreateNew()
	c.Builtins, c.MaxNodes = conf.FunctionsTable{}, maxNodes
	tree, err = parser.ParseWithConfig(text, c)
	var broken *file.Error
	if errors.As(err, &broken) {
		out := &expressionError{at: broken.Location, message: broken.Message}
		if strings.Contains(broken.Message, "maximum allowed nodes") {
			out.message = fmt.Sprintf("the expression has more than %d parts", maxNodes)
		}
		if strings.Contains(text, "=") && strings.Contains(broken.Message, `Operator("=")`) {
			out.hint = "equal is written =="
		}
		if out.at.To <= out.at.From {
			out.at.To = out.at.From + 1
		}
		return nil, out
	}
	return tree, err
}

// compiler types the nodes of one expression. What is wrong it panics with, as an
// *expressionError.
type compiler struct {
	columns scope
	names   []string
	uses    []string
	text    []rune
	depth   int
}

func (c *compiler) fail(at ast.Node, hint, format string, args ...any) {
	panic(&expressionError{at: c.extent(at), message: fmt.Sprintf(format, args...), hint: hint})
}

func (c *compiler) failAt(at file.Location, hint, format string, args ...any) {
	panic(&expressionError{at: at, message: fmt.Sprintf(format, args...), hint: hint})
}

// extent is where a node is in the text. The parser gives operators their own place.
func (c *compiler) extent(n ast.Node) file.Location {
	at := n.Location()
	if at.To <= at.From {
		at.To = at.From + 1
	}
	return at
}

var unknown = schema.Type{}

func kind(k schema.Kind) schema.Type { return schema.Type{Kind: k} }

// node types one node.
func (c *compiler) node(n ast.Node) *node {
	if c.depth++; c.depth > 100 {
		c.fail(n, "", "the expression is nested more than 100 deep")
	}
	defer func() { c.depth-- }()
	out := c.typed(n)
	out.at = c.extent(n)
	return out
}

func (c *compiler) typed(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(unknown, nil)
	case *ast.BoolNode:
		x := int64(0)
		if n.Value {
			x = 1
		}
		return constant(kind(schema.Boolean), func(b *block, i int) { b.ints[i] = x })
	case *ast.IntegerNode:
		text := strconv.Itoa(n.Value)
		out := constant(kind(schema.Bigint), func(b *block, i int) { b.ints[i] = int64(n.Value) })
		out.literal = &text
		return out
	case *ast.FloatNode:
		text := strconv.FormatFloat(n.Value, 'f', -1, 64)
		out := constant(kind(schema.Double), func(b *block, i int) { b.floats[i] = n.Value })
		out.literal = &text
		return out
	case *ast.StringNode:
		value := []byte(n.Value)
		out := constant(kind(schema.String), func(b *block, i int) { b.texts[i] = value })
		out.literal = &n.Value
		return out
	case *ast.IdentifierNode:
		return c.column(n, n.Value)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.SliceNode:
		return c.slice(n)
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			return c.call(n, name.Value, n.Arguments)
		}
	case *ast.BuiltinNode:
		return c.call(n, n.Name, n.Arguments)
	case *ast.MemberNode:
		if env, ok := n.Node.(*ast.IdentifierNode); ok && env.Value == "$env" {
			if name, ok := n.Property.(*ast.StringNode); ok {
				return c.column(n, name.Value)
			}
		}
		c.fail(n, "a column whose name is no word is written $env[\"2013\"]; for JSON text there is the step json", "a column has no members")
	case *ast.ArrayNode:
		c.fail(n, "", "a list is for x in [1, 2] only")
	}
	c.fail(n, "", "this is not part of the language of transforms")
	return nil
}

// constant is a node of one value; set is nil for null.
func constant(t schema.Type, set func(*block, int)) *node {
	b := &block{}
	b.size(t.Kind, chunkRows)
	for i := range b.null {
		if set == nil {
			b.null[i] = true
		} else {
			set(b, i)
		}
	}
	cut := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		n := f.n()
		*cut = block{null: b.null[:n]}
		switch t.Kind {
		case schema.Unknown:
		case schema.Double:
			cut.floats = b.floats[:n]
		case schema.Decimal:
			cut.decs = b.decs[:n]
		case schema.String:
			cut.texts = b.texts[:n]
		default:
			cut.ints = b.ints[:n]
		}
		return cut
	}}
}

func (c *compiler) column(n ast.Node, name string) *node {
	slot, t, ok := c.columns(name)
	if !ok {
		if c.names == nil {
			return constant(unknown, nil)
		}
		hint := "the columns are " + strings.Join(c.names, ", ")
		if near := nearest(name, c.names); near != "" {
			hint = "did you mean " + near + "?"
		} else if safe := schema.SafeName(name); slices.Contains(c.names, safe) {
			hint = "columns are called as in the table: " + safe
		} else if slices.Contains(functionNames, name) {
			hint = name + " is a function: write " + name + "(…)"
		}
		c.fail(n, hint, "there is no column %s", name)
	}
	if !slices.Contains(c.uses, name) {
		c.uses = append(c.uses, name)
	}
	b := &block{}
	return &node{typ: t, eval: func(f *frame) *block {
		b.load(f.columns[slot], t.Kind, f.from, f.to)
		return b
	}}
}

// nearest is the name that may have been meant.
func nearest(name string, known []string) (best string) {
	limit := max(1, len(name)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d <= limit {
			best, limit = k, d-1
		}
	}
	return best
}

// distance counts the letters to be changed, added, left out or swapped.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows = [3][]int{last, row, before}
	}
	return rows[1][len(b)]
}

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
