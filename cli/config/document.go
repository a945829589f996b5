// Package config reads a YAML file into a struct and says everything that is
// wrong with it at once: unknown and doubled keys, values of another type and
// references that lead nowhere, each with line, column and the line itself.
//
// The struct's fields are named by the tag yaml:"name"; yaml:",inline" takes an
// embedded struct's keys as the struct's own. Fields without the tag have no key.
// No struct may contain itself.
// ${VAR}, ${VAR:-default} and ${file:PATH} in a value are filled in after the
// file was parsed, so that what they stand for is a value and never syntax; $$ is
// a dollar sign.
package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Document is a file that was read, with the faults found so far. What was
// decoded is addressed by the pointer to it in the struct.
type Document struct {
	name    string
	lines   []string
	root    reflect.Type
	places  map[any]place
	values  map[entry]place // of a map's elements; places has those of their keys
	shown   map[any]string  // text of the file for values with references
	failed  map[any]bool    // what could not be decoded
	strange map[any]bool    // structs with keys that are not known
	anchors map[string]ast.Node
	within  []string // aliases being followed
	without []string // elements of lists that are passed over
	faults  []Fault
}

// place is where something begins in the file, both from 1.
type place struct{ line, column, width int }

// entry addresses a map's element.
type entry struct {
	of  any
	key string
}

// Decode reads the text of the file called name into the struct that v points to.
// Its faults, and those that the caller adds, are in Err. Files that values refer
// to are relative to the file's folder.
func Decode(name string, text []byte, v any) *Document { return DecodeWithout(name, text, v) }

// DecodeWithout is Decode that passes over some elements of lists, as feeds[1]: they
// stay as they are in v, and their faults are not looked for.
func DecodeWithout(name string, text []byte, v any, elements ...string) *Document {
	d := &Document{
		without: elements,
		name:    name, lines: strings.Split(lineEnds.Replace(string(text)), "\n"), root: reflect.TypeOf(v).Elem(),
		places: map[any]place{}, values: map[entry]place{}, shown: map[any]string{}, failed: map[any]bool{}, strange: map[any]bool{}, anchors: map[string]ast.Node{},
	}
	file, err := parse(text)
	if err != nil {
		d.syntax(err)
		d.failed[v] = true
		return d
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		d.fault(place{1, 1, 1}, "", "the file is empty")
		d.failed[v] = true
		return d
	case 1:
	default:
		d.fault(placeOf(bodies[1]), "put them into files of their own, or into one", "there is a second document in the file")
	}
	ast.Walk(visitor(func(n ast.Node) {
		if a, ok := n.(*ast.AnchorNode); ok {
			d.anchors[a.Name.GetToken().Value] = a.Value
		}
	}), bodies[0])
	d.value(bodies[0], reflect.ValueOf(v).Elem(), "")
	return d
}

// parse makes an error of the parser's panics, too.
func parse(text []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be read: %v", r)
		}
	}()
	return parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
}

type visitor func(ast.Node)

// Visit is called by ast.Walk.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

// syntax takes the parser's error, which is the only one it gives.
func (d *Document) syntax(err error) {
	at, message := place{1, 1, 1}, err.Error()
	if e, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	}); ok {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil {
			at = placeOfToken(t)
		}
	}
	hint := ""
	if at.line <= len(d.lines) && strings.Contains(d.lines[at.line-1], "\t") {
		hint = "YAML is indented with spaces, not with tabs"
	}
	d.fault(at, hint, "not YAML: %s", message)
}

// Has says whether the file has a value for what p points to.
func (d *Document) Has(p any) bool {
	_, ok := d.places[p]
	return ok
}

// HasEntry says whether the file has an element of the map that p points to.
func (d *Document) HasEntry(p any, key string) bool {
	_, ok := d.places[entry{p, key}]
	return ok
}

// HasUnknown says whether the file has keys for the struct that p points to that are
// not known, which are faults: what the struct lacks may be what they were meant to be.
func (d *Document) HasUnknown(p any) bool { return d.strange[p] }

// Clean is the document without the faults found so far.
func (d *Document) Clean() *Document {
	out := *d
	out.faults = nil
	return &out
}

// Shown is the text that the file has for a value: the reference and not what it
// stands for, which may be secret.
func (d *Document) Shown(p any, value string) string {
	if raw, ok := d.shown[p]; ok {
		return raw
	}
	return value
}

// EntryShown is the same for an element of the map that p points to.
func (d *Document) EntryShown(p any, key, value string) string { return d.Shown(entry{p, key}, value) }

// Name is what the file is called.
func (d *Document) Name() string { return d.name }

// Line is where the value that p points to begins; 0 where there is none.
func (d *Document) Line(p any) int { return d.places[p].line }

// Dir is the folder of the file.
func (d *Document) Dir() string { return filepath.Dir(d.name) }

// Fault adds a fault of the value that p points to, or of the whole file where it
// has none. The hint says what to do. Of a value that could not be decoded there is
// nothing more to say.
func (d *Document) Fault(p any, hint, format string, args ...any) {
	if d.failed[p] {
		return
	}
	at, ok := d.places[p]
	if !ok {
		at = place{1, 1, 1}
	}
	d.fault(at, hint, format, args...)
}

// EntryFault adds a fault of one element of the map that p points to.
func (d *Document) EntryFault(p any, key, hint, format string, args ...any) {
	d.Fault(entry{p, key}, hint, format, args...)
}

// TextFault adds a fault of a part of a text: of the value that p points to, or of an
// element of the map that it points to where there is a key. offset and width are in
// characters of the text; where the file has the text in another form, the fault is of
// all of it, and shows the part.
func (d *Document) TextFault(p any, key, text string, offset, width int, hint, format string, args ...any) {
	at, ok := d.places[p]
	if key != "" {
		at, ok = d.values[entry{p, key}]
	}
	if !ok {
		at = place{1, 1, 1}
	}
	message := fmt.Sprintf(format, args...)
	if width > 0 {
		found := -1
		if ok && at.line <= len(d.lines) {
			line := []rune(d.lines[at.line-1])
			for skip := 0; skip <= 1 && found < 0; skip++ { // a quote
				from := at.column - 1 + skip
				if n := len([]rune(text)); from+n <= len(line) && string(line[from:from+n]) == text {
					found = from + 1
				}
			}
		}
		if found > 0 {
			at = place{at.line, found + offset, width}
		} else if !strings.Contains(text, "\n") {
			message += fmt.Sprintf("\n      | %s\n      | %s%s", text, strings.Repeat(" ", offset), strings.Repeat("^", width))
		} else {
			message += fmt.Sprintf(", at %q", string([]rune(text)[offset:offset+width]))
		}
	}
	d.fault(at, hint, "%s", message)
}

func (d *Document) fault(at place, hint, format string, args ...any) {
	d.faults = append(d.faults, Fault{Line: at.line, Column: at.column, Width: at.width, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// Err is an *Error with all faults in the file's order, or nil.
func (d *Document) Err() error {
	if len(d.faults) == 0 {
		return nil
	}
	faults := slices.Clone(d.faults)
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	// What is wrong with an anchored value is said once, not at each alias.
	faults = slices.CompactFunc(faults, func(a, b Fault) bool {
		return a.Line == b.Line && a.Column == b.Column && index.ReplaceAllString(a.Message, "[]") == index.ReplaceAllString(b.Message, "[]")
	})
	return &Error{Name: d.name, Faults: faults, lines: d.lines}
}

var index = regexp.MustCompile(`\[\d+\]`)

// placeOf is where a node begins.
func placeOf(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return placeOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return placeOf(n.Key)
	case *ast.LiteralNode:
		return placeOfToken(n.Start)
	}
	return placeOfToken(n.GetToken())
}

func placeOfToken(t *token.Token) place {
	width := len([]rune(strings.TrimSpace(t.Origin)))
	if i := strings.IndexByte(strings.TrimSpace(t.Origin), '\n'); i >= 0 {
		width = len([]rune(strings.TrimSpace(t.Origin)[:i]))
	}
	return place{max(1, t.Position.Line), max(1, t.Position.Column), max(1, width)}
}

// lineEnds are YAML's (specification 1.2.2, section 5.4).
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")
