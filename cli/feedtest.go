package cli

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"lakefeed/cli/config"
	"lakefeed/schema"
	"lakefeed/sink"
)

// feedTest is one entry of a feed's tests: a CSV, and what becomes of it.
type feedTest struct {
	Name       string                `help:"What the test shows." yaml:"name"`
	CSV        string                `help:"The CSV that goes in, with its header." yaml:"csv"`
	Messages   []string              `help:"Instead of a CSV: the values of messages without a key, as others send them." yaml:"messages"`
	Rows       []map[string]testCell `help:"The rows of the table, in the order of the CSV; of each the columns that are to be compared." yaml:"rows"`
	Rejects    []testReject          `help:"The rows in quarantine, in the order of the CSV. Default: none." yaml:"rejects"`
	Partitions []string              `help:"The table's partitions, such as country=de, in any order." yaml:"partitions"`
	Schema     map[string]string     `help:"All of the table's columns with their types." yaml:"schema"`
	Error      string                `help:"What the error says with which the feed stops." yaml:"error"`

	doc *config.Document
	has struct{ rows, partitions, schema bool }
}

// testCell is a value that is expected: a text, or null.
type testCell struct {
	text string
	null bool
}

// UnmarshalText takes a value as it is written.
func (c *testCell) UnmarshalText(b []byte) error {
	c.text = string(b)
	return nil
}

// SetNull takes null.
func (c *testCell) SetNull() { c.null = true }

func (c testCell) String() string {
	if c.null {
		return "null"
	}
	return expectedText(&c.text)
}

// testReject is a row that is expected in quarantine.
type testReject struct {
	Line   int64  `help:"Its line in the CSV, or which of the messages it is." yaml:"line"`
	Rule   string `help:"The rule that it broke." yaml:"rule"`
	Column string `help:"In which column." yaml:"column"`
}

// check adds the faults of the feed's tests.
func (f *feedSettings) checkTests(doc *config.Document) {
	names := map[string]bool{}
	for i := range f.Tests {
		t := &f.Tests[i]
		t.doc = doc
		t.has.rows, t.has.partitions, t.has.schema = doc.Has(&t.Rows), doc.Has(&t.Partitions), doc.Has(&t.Schema)
		switch {
		case !doc.Has(t):
			continue
		case t.Name == "":
			if !doc.Has(&t.Name) {
				doc.Fault(t, "add name: what it shows", "a test without a name")
			}
		case names[t.Name]:
			doc.Fault(&t.Name, "", "there are two tests %s", quote(t.Name))
		}
		names[t.Name] = true
		switch {
		case !doc.Has(&t.CSV) && !doc.Has(&t.Messages):
			doc.Fault(t, "add csv: with a header and rows, or messages: with the values of messages", "a test without a CSV")
		case doc.Has(&t.CSV) && doc.Has(&t.Messages):
			doc.Fault(&t.Messages, "make two tests of it", "a test has a CSV or messages, and this has both")
		}
		if !t.has.rows && !t.has.partitions && !t.has.schema && !doc.Has(&t.Rejects) && !doc.Has(&t.Error) {
			doc.Fault(t, "add rows, rejects, partitions, schema or error", "a test that expects nothing")
		}
		for _, name := range sortedKeys(t.Schema) {
			if _, err := schema.ParseType(t.Schema[name]); err != nil {
				doc.EntryFault(&t.Schema, name, "", "tests: column %s: %v", name, err)
			}
		}
		for j := range t.Rejects {
			if r := &t.Rejects[j]; r.Line == 0 && r.Rule == "" && r.Column == "" && doc.Has(r) {
				doc.Fault(r, "it has line, rule and column", "a reject that says nothing")
			}
		}
	}
}

// found is what a test's run has made.
type found struct {
	columns    []sink.NamedType // without those of --meta
	rows       []foundRow       // by row number
	rejects    []sink.QuarantineRow
	partitions []string
	err        error
}

type foundRow struct {
	number int64
	cells  map[string]*string
	order  []string
}

// differences are the lines of a diff between what is expected and what was found,
// none when it is the same.
func (t *feedTest) differences(f *found) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case f.err != nil && t.Error == "":
		say("the feed stopped: %v", f.err)
	case t.Error != "" && f.err == nil:
		say("- error: %s", t.Error)
		say("+ the feed did not stop")
	case t.Error != "" && !strings.Contains(f.err.Error(), t.Error):
		say("- error: %s", t.Error)
		say("+ error: %v", f.err)
	}
	if t.has.schema {
		out = append(out, t.schemaDifferences(f)...)
	}
	if t.has.rows {
		out = append(out, t.rowDifferences(f)...)
	}
	out = append(out, t.rejectDifferences(f)...)
	if t.has.partitions {
		want := slices.Sorted(slices.Values(t.Partitions))
		for _, p := range want {
			if !slices.Contains(f.partitions, p) {
				say("- partition %s", p)
			}
		}
		for _, p := range f.partitions {
			if !slices.Contains(want, p) {
				say("+ partition %s", p)
			}
		}
	}
	return out
}

func (t *feedTest) schemaDifferences(f *found) (out []string) {
	have := map[string]string{}
	for _, c := range f.columns {
		have[c.Name] = c.Type
	}
	for _, name := range sortedKeys(t.Schema) {
		want, err := schema.ParseType(t.Schema[name])
		if err != nil {
			continue // which the file's check has said
		}
		switch typ, ok := have[name]; {
		case !ok:
			out = append(out, fmt.Sprintf("- column %s %s", name, want.DDL()))
		case typ != want.DDL():
			out = append(out, fmt.Sprintf("- column %s %s", name, want.DDL()), fmt.Sprintf("+ column %s %s", name, typ))
		}
	}
	for _, c := range f.columns {
		if _, ok := t.Schema[c.Name]; !ok {
			out = append(out, fmt.Sprintf("+ column %s %s", c.Name, c.Type))
		}
	}
	return out
}

func (t *feedTest) rowDifferences(f *found) (out []string) {
	for i := range max(len(t.Rows), len(f.rows)) {
		switch {
		case i >= len(f.rows):
			out = append(out, fmt.Sprintf("- row %d {%s}", i+1, t.expected(i, nil)))
		case i >= len(t.Rows):
			out = append(out, fmt.Sprintf("+ row %d {%s}", i+1, f.rows[i].text(f.rows[i].order)))
		default:
			var names []string
			for _, name := range sortedKeys(t.Rows[i]) {
				if value, ok := f.rows[i].cells[name]; !ok || !t.Rows[i][name].is(value) {
					names = append(names, name)
				}
			}
			if len(names) > 0 {
				out = append(out, fmt.Sprintf("- row %d {%s}", i+1, t.expected(i, names)), fmt.Sprintf("+ row %d {%s}", i+1, f.rows[i].text(names)))
			}
		}
	}
	return out
}

// expected is a row as it should be: some columns of it, or all.
func (t *feedTest) expected(i int, names []string) string {
	if names == nil {
		names = sortedKeys(t.Rows[i])
	}
	var cells []string
	for _, name := range names {
		cells = append(cells, name+": "+t.Rows[i][name].String())
	}
	return strings.Join(cells, ", ")
}

func (r *foundRow) text(names []string) string {
	var cells []string
	for _, name := range names {
		value, ok := r.cells[name]
		if !ok {
			cells = append(cells, name+": (no such column)")
			continue
		}
		cells = append(cells, name+": "+expectedText(value))
	}
	return strings.Join(cells, ", ")
}

// expectedText is a value as it may be written into the file.
func expectedText(value *string) string {
	switch {
	case value == nil:
		return "null"
	case *value == "" || *value == "null" || strings.TrimSpace(*value) != *value || strings.ContainsAny(*value, ",:{}[]\"'\n#"):
		return strconv.Quote(*value)
	}
	return *value
}

// is says whether a value is the one that is expected: the same text, or the same
// number.
func (c testCell) is(value *string) bool {
	if value == nil || c.null {
		return value == nil && c.null
	}
	if *value == c.text {
		return true
	}
	x, ok := new(big.Rat).SetString(c.text)
	y, fine := new(big.Rat).SetString(*value)
	return ok && fine && !strings.ContainsAny(c.text+*value, "/_") && x.Cmp(y) == 0
}

func (t *feedTest) rejectDifferences(f *found) (out []string) {
	for i := range max(len(t.Rejects), len(f.rejects)) {
		var want, have string
		same := false
		if i < len(t.Rejects) {
			want = t.Rejects[i].String()
		}
		if i < len(f.rejects) {
			q := &f.rejects[i]
			have = testReject{q.Line, q.Rule, q.Column}.String() + ": " + q.Message
			same = i < len(t.Rejects) && t.Rejects[i].is(q)
		}
		if same {
			continue
		}
		if want != "" {
			out = append(out, "- reject "+want)
		}
		if have != "" {
			out = append(out, "+ reject "+have)
		}
	}
	return out
}

func (r testReject) String() string {
	var parts []string
	if r.Line > 0 {
		parts = append(parts, fmt.Sprintf("in line %d", r.Line))
	}
	parts = append(parts, cmp.Or(r.Rule, "by any rule"))
	if r.Column != "" {
		parts = append(parts, "of column "+r.Column)
	}
	return strings.Join(parts, ", ")
}

func (r testReject) is(q *sink.QuarantineRow) bool {
	return (r.Line == 0 || r.Line == q.Line) && (r.Rule == "" || r.Rule == q.Rule) && (r.Column == "" || r.Column == q.Column)
}
