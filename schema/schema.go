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
	// Late says of a feed's column whose type was decided when transforms were at work
	// already, and does not fit them, how they see it.
	Late Late
}

// Late says what transforms make of a column of the feed that had no type when they
// began.
type Late uint8

// What a late column is to expressions, and to the filling of nulls.
const (
	// NotLate is any other column, or one whose type fits.
	NotLate Late = iota
	// LateMisfit has no type where its own does not fit: a step there fails for each of
	// its values.
	LateMisfit
	// LateUntyped has none anywhere, as what is made of it would be of another type than
	// the table has.
	LateUntyped
)

// Schema is one version of a table's columns. It is immutable once it has been
// stored: a change is a new Schema with a higher Version.
type Schema struct {
	Version  int64
	Previous int64 // the version it was made from, 0 for the first
	Fields   []Field
	// Changes say what this version changed, and the first witness of each.
	Changes []Change
	// Source has the columns of the feed, of the same version, where transforms make
	// those of the table of them; nil where they are the same. Evidence and spellings
	// are the feed's then.
	Source *Schema
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
	Source   *storedSource `json:"source,omitempty"`
}

// storedSource are the columns of the feed, of the same version.
type storedSource struct {
	Fields  []storedField `json:"columns"`
	Changes []Change      `json:"changes,omitempty"`
}

type storedField struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Format    string   `json:"format,omitempty"`
	Spellings []string `json:"spellings,omitempty"`
	Late      Late     `json:"late,omitempty"`
	Evidence  Evidence `json:"evidence"`
}

// MarshalJSON gives the schema's stored form, which is stable.
func (s *Schema) MarshalJSON() ([]byte, error) {
	out := storedSchema{V: formatVersion, Version: s.Version, Previous: s.Previous, Changes: s.Changes}
	out.Fields = storedFields(s.Fields)
	if s.Source != nil {
		out.Source = &storedSource{storedFields(s.Source.Fields), s.Source.Changes}
	}
	return json.Marshal(out)
}

func storedFields(fields []Field) (out []storedField) {
	for _, f := range fields {
		out = append(out, storedField{
			Name: f.Name, Type: f.Type.String(), Format: f.Type.Format.String(), Spellings: f.Spellings, Evidence: f.Evidence, Late: f.Late,
		})
	}
	return out
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
	if err := s.readFields(in.Fields); err != nil {
		return err
	}
	if in.Source != nil {
		s.Source = &Schema{Version: in.Version, Previous: in.Previous, Changes: in.Source.Changes}
		return s.Source.readFields(in.Source.Fields)
	}
	return nil
}

func (s *Schema) readFields(stored []storedField) error {
	for _, f := range stored {
		t, err := ParseType(f.Type)
		if err != nil {
			return fmt.Errorf("read schema version %d, column %q: %w", s.Version, f.Name, err)
		}
		if t.Format, err = ParseFormat(f.Format); err != nil {
			return fmt.Errorf("read schema version %d, column %q: %w", s.Version, f.Name, err)
		}
		if !t.Format.of(t.Kind) {
			return fmt.Errorf("read schema version %d, column %q: a %s is not written as %s", s.Version, f.Name, t, t.Format)
		}
		s.Fields = append(s.Fields, Field{Name: f.Name, Type: t, Spellings: f.Spellings, Evidence: f.Evidence, Late: f.Late})
	}
	return nil
}
