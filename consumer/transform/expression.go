package transform

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"lakefeed/schema"
	"lakefeed/schema/spelling"
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
		if near := spelling.Nearest(name, c.names); near != "" {
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
