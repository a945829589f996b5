package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"lakefeed/schema/spelling"

	"github.com/goccy/go-yaml/ast"
)

// Nullable is a value for which the file may have null.
type Nullable interface{ SetNull() }

// value decodes a node into v. path is how messages call it: feeds[0].table.
func (d *Document) value(n ast.Node, v reflect.Value, path string) {
	switch x := n.(type) {
	case *ast.AnchorNode:
		d.value(x.Value, v, path)
		return
	case *ast.AliasNode:
		d.alias(x, func(n ast.Node) { d.value(n, v, path) })
		return
	case *ast.TagNode:
		d.fault(placeOf(n), "leave it out", "the tag %s is not understood", x.Start.Value)
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.places[v.Addr().Interface()] = placeOf(n)
		d.value(n, v.Elem(), path)
		return
	}
	d.places[v.Addr().Interface()] = placeOf(n)
	if _, null := n.(*ast.NullNode); null {
		if nullable, ok := v.Addr().Interface().(Nullable); ok {
			nullable.SetNull()
			return
		}
		d.fail(v, placeOf(n), "give it a value, or leave the key out", "%s has no value", orFile(path))
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// fail adds the fault of a value that cannot be decoded.
func (d *Document) fail(v reflect.Value, at place, hint, format string, args ...any) {
	d.fault(at, hint, format, args...)
	d.failed[v.Addr().Interface()] = true
}

func orFile(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// alias follows an alias, unless that leads back to where it came from.
func (d *Document) alias(a *ast.AliasNode, follow func(ast.Node)) {
	name := a.Value.GetToken().Value
	target, ok := d.anchors[name]
	switch {
	case !ok:
		d.fault(placeOf(a), "", "there is no anchor &%s", name)
	case slices.Contains(d.within, name):
		d.fault(placeOf(a), "", "*%s contains itself", name)
	default:
		d.within = append(d.within, name)
		follow(target)
		d.within = d.within[:len(d.within)-1]
	}
}

// pair is a key with its value.
type pair struct {
	key   ast.Node
	name  string
	value ast.Node
}

// pairs are a mapping's, with those that << brings in where the mapping has none
// of its own. Doubled keys are faults.
func (d *Document) pairs(n ast.Node, path string) (out []pair, ok bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil, false
	}
	var merged []pair
	for iter := m.MapRange(); iter.Next(); {
		key, value := iter.Key(), iter.Value()
		if key.IsMergeKey() {
			merged = append(merged, d.merge(value, path)...)
			continue
		}
		name := key.GetToken().Value
		if s, is := key.(*ast.StringNode); is {
			name = s.Value
		}
		if i := slices.IndexFunc(out, func(p pair) bool { return p.name == name }); i >= 0 {
			d.fault(placeOf(key), fmt.Sprintf("the first is in line %d", placeOf(out[i].key).line), "the key %q is there twice", name)
			continue
		}
		out = append(out, pair{key, name, value})
	}
	for _, p := range merged {
		if !slices.ContainsFunc(out, func(have pair) bool { return have.name == p.name }) {
			out = append(out, p)
		}
	}
	return out, true
}

// merge are the pairs that the value of << has.
func (d *Document) merge(n ast.Node, path string) (out []pair) {
	switch x := n.(type) {
	case *ast.AliasNode:
		d.alias(x, func(n ast.Node) { out = d.merge(n, path) })
	case *ast.SequenceNode:
		for _, one := range x.Values {
			out = append(out, d.merge(one, path)...)
		}
	default:
		var ok bool
		if out, ok = d.pairs(n, path); !ok {
			d.fault(placeOf(n), "", "<< takes keys with values, not %s", kindOf(n))
		}
	}
	return out
}

func (d *Document) structure(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		d.fail(v, placeOf(n), "it has the keys "+strings.Join(keys(v.Type()), ", "), "%s takes keys with values, not %s", orFile(path), kindOf(n))
		return
	}
	fields := fieldsOf(v)
	for _, p := range pairs {
		field, known := fields[p.name]
		if !known {
			d.strange[v.Addr().Interface()] = true
			d.fault(placeOf(p.key), d.suggest(p.name, v.Type(), path), "unknown key %q%s", p.name, in(path))
			continue
		}
		d.value(p.value, field, join(path, p.name))
		d.places[entry{v.Addr().Interface(), p.name}] = placeOf(p.key)
	}
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// suggest says what an unknown key may be meant to be.
func (d *Document) suggest(name string, t reflect.Type, path string) string {
	known := keys(t)
	if near := spelling.Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if at := d.elsewhere(name, index.ReplaceAllString(path, "[]")); at != "" {
		return at
	}
	return "known are " + strings.Join(known, ", ")
}

// elsewhere says where a key that is unknown here belongs.
func (d *Document) elsewhere(name, here string) string {
	for _, p := range paths(d.root, "") {
		parent, key := "", p
		if i := strings.LastIndexByte(p, '.'); i >= 0 {
			parent, key = p[:i], p[i+1:]
		}
		switch near := spelling.Nearest(name, []string{key}); {
		case near == "" || parent == here:
		case parent == "":
			return fmt.Sprintf("%s belongs to the top of the file, not here", near)
		default:
			return fmt.Sprintf("%s belongs to %s", near, strings.ReplaceAll(parent, "[]", "[…]"))
		}
	}
	return ""
}

func (d *Document) mapping(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		d.fail(v, placeOf(n), "", "%s takes keys with values, not %s", path, kindOf(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, element, join(path, p.name))
		v.SetMapIndex(reflect.ValueOf(p.name), element)
		if raw, ok := d.shown[element.Addr().Interface()]; ok {
			d.shown[entry{v.Addr().Interface(), p.name}] = raw
		}
		d.places[entry{v.Addr().Interface(), p.name}] = placeOf(p.key)
		d.values[entry{v.Addr().Interface(), p.name}] = placeOf(p.value)
	}
}

// list decodes a sequence. A single value stands for a list of one.
func (d *Document) list(n ast.Node, v reflect.Value, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		if one := v.Type().Elem(); one.Kind() == reflect.Struct || one.Kind() == reflect.Pointer {
			d.fail(v, placeOf(n), "begin each of its entries with a hyphen", "%s takes a list, not %s", path, kindOf(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.value(n, v.Index(0), path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, one := range s.Values {
		if element := path + "[" + strconv.Itoa(i) + "]"; !slices.Contains(d.without, element) {
			d.value(one, v.Index(i), element)
		}
	}
}

// scalar decodes a single value.
func (d *Document) scalar(n ast.Node, v reflect.Value, path string) {
	raw, ok := textOf(n)
	if !ok {
		d.fail(v, placeOf(n), "", "%s takes %s, not %s", path, wanted(v), kindOf(n))
		return
	}
	text, expanded, err := resolve(raw, d.Dir())
	if err != nil {
		if v.Type() == reflect.TypeFor[Secret]() {
			err = withoutText(err)
		}
		d.fail(v, placeOf(n), "", "%s: %v", path, err)
		return
	}
	if expanded {
		d.shown[v.Addr().Interface()] = raw
	}
	_, reads := v.Addr().Interface().(encoding.TextUnmarshaler) // takes numbers and words, too
	if _, isText := n.(*ast.StringNode); !isText && !expanded && !reads && v.Kind() == reflect.String && v.Type() != reflect.TypeFor[Secret]() {
		if _, literal := n.(*ast.LiteralNode); !literal {
			d.fail(v, placeOf(n), fmt.Sprintf("write it in quotes: %q", raw), "%s takes text, and %s is %s", path, raw, kindOf(n))
			return
		}
	}
	if err := set(v, text); err != nil {
		if expanded { // what is wrong is said of the reference: what it stands for may be secret
			if err = set(reflect.New(v.Type()).Elem(), raw); err == nil {
				err = fmt.Errorf("%q does not stand for %s", raw, wanted(v))
			}
		}
		d.fail(v, placeOf(n), "", "%s: %v", path, err)
	}
}

// set gives v the value of a text.
func set(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	bad := fmt.Errorf("%q is not %s", text, wanted(v))
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		x, err := time.ParseDuration(text)
		if err != nil || x < 0 {
			return fmt.Errorf("%q is no duration: write 60s, 5m or 1h30m", text)
		}
		v.SetInt(int64(x))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return bad
		}
		v.SetBool(text == "true")
	case v.CanInt():
		x, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return bad
		}
		v.SetInt(x)
	case v.CanFloat():
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad
		}
		v.SetFloat(x)
	default:
		panic("config: no value of type " + v.Type().String() + " can be read")
	}
	return nil
}

// wanted names what v takes.
func wanted(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return "a duration such as 60s"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt():
		return "a whole number"
	case v.CanFloat():
		return "a number"
	}
	return "text"
}

// textOf is a single value's text as the file has it, without quotes.
func textOf(n ast.Node) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kindOf names what a node is.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	}
	return "text"
}

// fieldsOf are a struct's fields by their keys.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		switch name, inline, ok := keyOf(v.Type().Field(i)); {
		case !ok:
		case inline:
			maps.Copy(out, fieldsOf(v.Field(i)))
		default:
			out[name] = v.Field(i)
		}
	}
	return out
}

func keyOf(f reflect.StructField) (name string, inline, ok bool) {
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if options == "inline" {
		return "", true, true
	}
	return name, false, name != "" && name != "-"
}

// keys are a struct's keys in the order of its fields.
func keys(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		switch name, inline, ok := keyOf(t.Field(i)); {
		case !ok:
		case inline:
			out = append(out, keys(t.Field(i).Type)...)
		default:
			out = append(out, name)
		}
	}
	return out
}

// Paths are all keys that a struct has, in order: feeds, feeds[].table.
func Paths(v any) []string { return paths(reflect.TypeOf(v), "") }

func paths(t reflect.Type, under string) (out []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, inline, ok := keyOf(f)
		switch {
		case !ok:
		case inline:
			out = append(out, paths(f.Type, under)...)
		case f.Type.Kind() == reflect.Slice:
			out = append(append(out, join(under, name)), paths(f.Type.Elem(), join(under, name)+"[]")...)
		default:
			out = append(append(out, join(under, name)), paths(f.Type, join(under, name))...)
		}
	}
	return out
}
