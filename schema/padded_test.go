package schema_test

import (
	"testing"

	"lakefeed/schema"
)

// Files that align their columns with spaces have values in them, and nulls where
// there is nothing else; in texts spaces are characters.
func TestSpacesAroundValues(t *testing.T) {
	for _, c := range []struct {
		cells []string
		want  string
		text  []string // in their normal form
	}{
		{[]string{"   1", "  22", "-333", "    "}, "bigint", []string{"1", "22", "-333", ""}},
		{[]string{"1.5  ", "22   ", ""}, "double", []string{"1.5", "22", ""}},
		{[]string{" true", "false"}, "boolean", []string{"true", "false"}},
		{[]string{"2020-01-31 ", " 2020-02-01"}, "date", []string{"2020-01-31", "2020-02-01"}},
		{[]string{" 2020-01-31 10:00 "}, "timestamp", []string{"2020-01-31T10:00:00"}},
		{[]string{" 1", "x ", "  "}, "string", []string{" 1", "x ", "  "}},
		{[]string{"\t1"}, "string", []string{"\t1"}},
	} {
		var e schema.Evidence
		for _, cell := range c.cells {
			e.Observe([]byte(cell), false, nil, nil)
		}
		typed := e.Type(schema.Doubles)
		if typed.Kind.String() != c.want {
			t.Errorf("%q: %s, want %s", c.cells, typed, c.want)
			continue
		}
		var v schema.Vector
		v.Reset(typed)
		for i, cell := range c.cells {
			if !v.AppendCell([]byte(cell)) {
				if !(*schema.Nulls)(nil).Typed([]byte(cell), false) {
					t.Errorf("%q is no %s", cell, typed)
				}
				v.AppendNull()
			}
			if got := string(v.AppendValue(nil, i)); got != c.text[i] {
				t.Errorf("%q became %q, want %q", cell, got, c.text[i])
			}
		}
	}
}
