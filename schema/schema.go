package schema

import (
	"encoding/json"
	"fmt"
)

// Field is one column of a table. Its Name is its identity.
type Field struct {
	// Name is the safe name: lower case, [a-z0-9_].
	Name string
	// Type is the column's type; Kind Unknown while it is undecided.
	Type Type
	// Spellings are the names the column had in headers, in the order seen.
	Spellings []string
	// Evidence is what decided the type.
	Evidence Evidence
}

// Schema is one version of a table's columns. It is immutable once it has been
// stored: a change is a new Schema with a higher Version.
type Schema struct {
	Version  int64
	Previous int64 // the version it was made from, 0 for the first
	Fields   []Field
	// Changes say what this version changed, and the first witness of each.
	Changes []Change
}

// Change is one step from a schema version to the next.
type Change struct {
	Kind    string  `json:"kind"` // "add", "decide", "widen", "settle" or "spelling"
	Column  string  `json:"column"`
	From    string  `json:"from,omitempty"`
	To      string  `json:"to,omitempty"`
	Witness Witness `json:"witness,omitzero"`
}

// Witness is the first cell that made something happen.
type Witness struct {
	Source string `json:"source,omitempty"` // URI of the object, empty where unknown
	Line   int64  `json:"line,omitempty"`   // 1-based, 0 where unknown
	Text   string `json:"text,omitempty"`   // the cell, at most 100 bytes
}

// Field finds a column by its safe name.
func (s *Schema) Field(name string) (Field, bool) {
	if i := s.Index(name); i >= 0 {
		return s.Fields[i], true
	}
	return Field{}, false
}

// Index is the position of the column with that safe name, or -1.
func (s *Schema) Index(name string) int {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// formatVersion 2 has other formats and another set in the evidence than 1, which
// is read too.
const formatVersion = 2

// FormatError is a stored object whose format is newer than this program knows.
type FormatError struct{ Have, Know int }

func (e *FormatError) Error() string {
	return fmt.Sprintf("format version %d is newer than %d, the newest this lakefeed knows: use a newer lakefeed", e.Have, e.Know)
}

type storedSchema struct {
	V        int           `json:"v"`
	Version  int64         `json:"version"`
	Previous int64         `json:"previous"`
	Fields   []storedField `json:"columns"`
	Changes  []Change      `json:"changes,omitempty"`
}

type storedField struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Format    string   `json:"format,omitempty"`
	Spellings []string `json:"spellings,omitempty"`
	Evidence  Evidence `json:"evidence"`
}

// MarshalJSON gives the schema's stored form, which is stable.
func (s *Schema) MarshalJSON() ([]byte, error) {
	out := storedSchema{V: formatVersion, Version: s.Version, Previous: s.Previous, Changes: s.Changes}
	for _, f := range s.Fields {
		out.Fields = append(out.Fields, storedField{
			Name: f.Name, Type: f.Type.String(), Format: f.Type.Format.String(), Spellings: f.Spellings, Evidence: f.Evidence,
		})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the stored form. A newer format is a *FormatError.
func (s *Schema) UnmarshalJSON(b []byte) error {
	var in storedSchema
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	if in.V > formatVersion {
		return &FormatError{Have: in.V, Know: formatVersion}
	}
	*s = Schema{Version: in.Version, Previous: in.Previous, Changes: in.Changes}
	for _, f := range in.Fields {
		t, err := ParseType(f.Type)
		if err != nil {
			return fmt.Errorf("read schema version %d, column %q: %w", in.Version, f.Name, err)
		}
		if t.Format, err = ParseFormat(f.Format); err != nil {
			return fmt.Errorf("read schema version %d, column %q: %w", in.Version, f.Name, err)
		}
		if !t.Format.of(t.Kind) {
			return fmt.Errorf("read schema version %d, column %q: a %s is not written as %s", in.Version, f.Name, t, t.Format)
		}
		s.Fields = append(s.Fields, Field{Name: f.Name, Type: t, Spellings: f.Spellings, Evidence: f.Evidence})
	}
	return nil
}
