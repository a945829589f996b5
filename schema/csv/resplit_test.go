package csv_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lakefeed/schema/csv"
)

func ptr[T any](v T) *T { return &v }

// A reject becomes a row where what is fixed makes one record of its bytes, and only
// of them.
func TestResplit(t *testing.T) {
	standard := csv.Standard()
	semicolons := standard
	semicolons.Delimiter, semicolons.Encoding = ";", csv.Windows1252
	for _, c := range []struct {
		name  string
		fixed csv.Overrides
		rule  string
		d     csv.Dialect
		raw   string
		want  string // the record, or a part of the error
		fails bool
		idle  bool // what is fixed has nothing to do with the rule
	}{
		{name: "a quote is a character", fixed: csv.Overrides{Quote: ptr(byte(0))}, rule: csv.OpenQuote, d: standard, raw: `1,"a,b`, want: `1,"""a",b`},
		{name: "in another form", fixed: csv.Overrides{Quote: ptr(byte(0))}, rule: csv.OpenQuote, d: semicolons, raw: `1;"ä;b,c`, want: `1,"""ä","b,c"`},
		{name: "another escape", fixed: csv.Overrides{Escape: ptr(byte('\\'))}, rule: csv.OpenQuote, d: standard, raw: `1,"a \" b",c`, want: `1,"a "" b",c`},
		{name: "it goes on", fixed: csv.Overrides{Escape: ptr(byte('\\'))}, rule: csv.OpenQuote, d: standard, raw: `1,"a \" b`, want: "does not close still", fails: true},
		{name: "as it was", fixed: csv.Overrides{Quote: ptr(byte('"'))}, rule: csv.OpenQuote, d: standard, raw: `1,"a`, idle: true},
		{name: "not of this rule", fixed: csv.Overrides{Tail: ptr(false)}, rule: csv.OpenQuote, d: standard, raw: `1,"a`, idle: true},
		{name: "another encoding", fixed: csv.Overrides{Encoding: ptr(csv.Windows1252)}, rule: csv.Encoding, d: standard, raw: "1,caf\xe9", want: "1,café"},
		{name: "with line breaks", fixed: csv.Overrides{Encoding: ptr(csv.Windows1252)}, rule: csv.Encoding, d: standard, raw: "1,\"caf\xe9\nb\"", want: "1,\"café\nb\""},
		{name: "not that either", fixed: csv.Overrides{Encoding: ptr("shift_jis")}, rule: csv.Encoding, d: standard, raw: "1,\x81", want: "", fails: true},
		{name: "its bytes are gone", fixed: csv.Overrides{Encoding: ptr(csv.UTF8)}, rule: csv.Encoding, d: semicolons, raw: "1;x", want: "windows-1252", fails: true},
		{name: "a remark is a row", fixed: csv.Overrides{Tail: ptr(false)}, rule: csv.Footer, d: semicolons, raw: "Note: ä, b", want: `"Note: ä, b"`},
		{name: "tails are left out still", fixed: csv.Overrides{Tail: ptr(true)}, rule: csv.SecondTable, d: standard, raw: "a,b", idle: true},
		{name: "several records", fixed: csv.Overrides{LineEnd: ptr(csv.AnyLineEnd)}, rule: csv.OpenQuote, d: csv.Dialect{Delimiter: ",", Quote: '"', LineEnd: csv.CRLF}, raw: "1,a\n2,b", want: "several records", fails: true},
		{name: "no record", fixed: csv.Overrides{Tail: ptr(false), Comment: ptr(byte('#'))}, rule: csv.Footer, d: standard, raw: "# x", want: "no record", fails: true},
		{name: "two meanings", fixed: csv.Overrides{Quote: ptr(byte(','))}, rule: csv.OpenQuote, d: standard, raw: `1,"a`, want: "part of the delimiter", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.fixed.Mends(c.rule, c.d) == c.idle {
				t.Fatalf("mends: %v", !c.idle)
			}
			if c.idle {
				return
			}
			r := csv.Reject{Rule: c.rule, Raw: []byte(c.raw), Whole: true, Dialect: c.d}
			got, err := c.fixed.Resplit(nil, r)
			switch {
			case c.fails && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%q, error %v, want one of %q", got, err, c.want)
			case !c.fails && (err != nil || string(got) != c.want):
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			r.Whole = false
			if got, err := c.fixed.Resplit(nil, r); err == nil {
				t.Errorf("of a part of it: %q", got)
			}
			if csv.Remedy(c.rule) == "" {
				t.Error("nothing is said of what would mend it")
			}
		})
	}
}

// What is fixed comes back from its JSON form.
func TestOverridesJSON(t *testing.T) {
	for _, text := range []string{`{}`, `{"delimiter":";","quote":"","escape":"\\","comment":"#","encoding":"utf-16le","header":false,"headers":2,"skip":1,"trailing":true,"padded":false,"line_end":"crlf","tail":false}`} {
		var f csv.Overrides
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(f)
		if err != nil || string(again) != text || f.IsZero() != (text == "{}") {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
	for _, text := range []string{`{"quote":"ab"}`, `{"encoding":"klingon"}`, `[]`} {
		var f csv.Overrides
		if err := json.Unmarshal([]byte(text), &f); err == nil {
			t.Errorf("%s was read as %+v", text, f)
		}
	}
}
