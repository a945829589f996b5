package cli

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"lakefeed/cli/config"
	"lakefeed/consumer/transform"
)

type configSchemaCommand struct{}

// Run prints a JSON schema of lakefeed.yaml, by which editors complete and check
// it. It is made from the structs that the file is read into.
func (configSchemaCommand) Run(g *Globals) error { return writeJSON(g.stdout, configSchema()) }

func configSchema() *jsonschema.Schema {
	r := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true, FieldNameTag: "yaml", Mapper: valueSchema, LookupComment: fieldHelp,
	}
	s := r.Reflect(&fileSettings{})
	s.Title = defaultConfig
	s.Required = []string{"feeds"}
	if feeds, ok := s.Properties.Get("feeds"); ok {
		feeds.Items.Required = []string{"table"}
	}
	return s
}

// referenceSchema is that of a value which is filled in when the file is read.
func referenceSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `\$\{`}
}

// valueSchema is what a value of a type may be, where that is not what Go's types
// say; nil where it is.
func valueSchema(t reflect.Type) *jsonschema.Schema {
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	either := func(types ...string) *jsonschema.Schema {
		s := &jsonschema.Schema{}
		for _, name := range types {
			s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Type: name})
		}
		return s
	}
	switch {
	case t == reflect.TypeFor[bytesFlag](), t == reflect.TypeFor[percentFlag]():
		return either("string", "number")
	case t == reflect.TypeFor[transform.Literal]():
		return either("string", "number", "boolean")
	case t == reflect.TypeFor[time.Duration](), reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return text()
	case t == reflect.TypeFor[testCell]():
		return either("string", "number", "boolean", "null")
	case t == reflect.TypeFor[map[string]config.Secret]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: either("string", "number", "boolean")}
	case t == reflect.TypeFor[[]string]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(), {Type: "array", Items: text()}}}
	case t.Kind() == reflect.Bool:
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "boolean"}, referenceSchema()}}
	case t.Kind() == reflect.Int:
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer"}, referenceSchema()}}
	}
	return nil
}

// fieldHelp is a field's description: what its flag's help says.
func fieldHelp(t reflect.Type, field string) string {
	if t.Kind() != reflect.Struct {
		return ""
	}
	f, ok := t.FieldByName(field)
	if !ok {
		return ""
	}
	help := strings.ReplaceAll(f.Tag.Get("help"), "${enum}", strings.ReplaceAll(f.Tag.Get("enum"), ",", " or "))
	if d := f.Tag.Get("default"); d != "" && !strings.Contains(help, "Default:") {
		help += " Default: " + strings.ReplaceAll(d, "${default_lake}", defaultLake) + "."
	}
	return help
}
