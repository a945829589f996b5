package csv_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema/csv"
)

func TestSniff(t *testing.T) {
	standard := csv.Standard()
	with := func(change func(*csv.Dialect)) csv.Dialect {
		d := standard
		change(&d)
		return d
	}
	header := with(func(d *csv.Dialect) { d.Header = true })
	for _, c := range []struct {
		name, text string
		want       csv.Found
	}{
		{"typed columns", "id,name,at\n1,Ann,2024-01-02\n2,Bob,2024-01-03\n",
			csv.Found{Dialect: header, Columns: []string{"id", "name", "at"}, Width: 3, Body: 11, BodyLine: 2}},
		{"text only", "first,last\nJohn,Doe\nJane,Roe\n",
			csv.Found{Dialect: header, Columns: []string{"first", "last"}, Width: 2, Body: 11, BodyLine: 2}},
		{"bom and crlf", "\ufeffa,b\r\n1,2\r\n",
			csv.Found{Dialect: header, Columns: []string{"a", "b"}, Width: 2, Body: 8, BodyLine: 2}},
		{"cr only", "a,b\r1,2\r3,4\r",
			csv.Found{Dialect: header, Columns: []string{"a", "b"}, Width: 2, Body: 4, BodyLine: 2}},
		{"no header, numbers", "1,Goroka,-6.08\n2,Madang,-5.2\n3,Nadzab,-6.5\n",
			csv.Found{Dialect: standard, Width: 3, BodyLine: 1}},
		{"no header, codes", "\"Bonaire, Saint Eustatius and Saba\",\"BQ\",\"\"\n\"Aruba\",\"AW\",\"AA\"\n\"Barbados\",\"BB\",\"BB\"\n\"Bahamas\",\"BS\",\"BF\"\n\"Bermuda\",\"BM\",\"BD\"\n\"Belize\",\"BZ\",\\N\n",
			csv.Found{Dialect: standard, Width: 3, BodyLine: 1}},
		{"semicolons and decimal commas", "name;price\napple;1,50\npear;2,25\nplum;0,75\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Delimiter, d.Header = ";", true }), Columns: []string{"name", "price"}, Width: 2, Body: 11, BodyLine: 2}},
		{"tabs and commas in text", "k\tnote\n1\ta, b, c\n2\td, e\n3\tf\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Delimiter, d.Header = "\t", true }), Columns: []string{"k", "note"}, Width: 2, Body: 7, BodyLine: 2}},
		{"pipes", "a|b|c\n1|2|x\n3|4|y\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Delimiter, d.Header = "|", true }), Columns: []string{"a", "b", "c"}, Width: 3, Body: 6, BodyLine: 2}},
		{"colons", "city:state:pop\nA:MA:9686\nB:MA:14061\nC:RI:100\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Delimiter, d.Header = ":", true }), Columns: []string{"city", "state", "pop"}, Width: 3, Body: 15, BodyLine: 2}},
		{"times are no colons", "at\n10:20:30\n10:20:31\n10:20:32\n",
			csv.Found{Dialect: header, Columns: []string{"at"}, Width: 1, Body: 3, BodyLine: 2}},
		{"one column", "name\nalpha\nbeta\ngamma\n",
			csv.Found{Dialect: header, Columns: []string{"name"}, Width: 1, Body: 5, BodyLine: 2}},
		{"one column of sentences", "text\nHello, world. How are you?\nFine\nWell, well, well\nYes\nThat is all\n",
			csv.Found{Dialect: header, Columns: []string{"text"}, Width: 1, Body: 5, BodyLine: 2}},
		{"single quotes", "a,b\n'x, y',1\n'it''s',2\n'z',3\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Quote, d.Header = '\'', true }), Columns: []string{"a", "b"}, Width: 2, Body: 4, BodyLine: 2}},
		{"backslashes", "a,b\n\"say \\\"hi, you\\\"\",1\n\"x\",2\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Escape, d.Header = '\\', true }), Columns: []string{"a", "b"}, Width: 2, Body: 4, BodyLine: 2}},
		{"windows-1252", "name,n\ncaf\xe9,1\nna\xefve,2\n",
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Encoding, d.Header = csv.Windows1252, true }), Columns: []string{"name", "n"}, Width: 2, Body: 7, BodyLine: 2}},
		{"utf-16", string(utf16Bytes("\ufeffä,n\nx,1\ny,2\n", true)),
			csv.Found{Dialect: with(func(d *csv.Dialect) { d.Encoding, d.Header = csv.UTF16BE, true }), Columns: []string{"ä", "n"}, Width: 2, Body: 8, BodyLine: 2}},
		{"header alone", "a,b,c\n", csv.Found{Dialect: header, Columns: []string{"a", "b", "c"}, Width: 3, Body: 6, BodyLine: 2}},
		{"header over lines", "\"a\nb\",c\n1,2\n", csv.Found{Dialect: header, Columns: []string{"a\nb", "c"}, Width: 2, Body: 8, BodyLine: 3}},
		{"days over counts", "country,2020-01-01,2020-01-02\nItaly,1,2\nSpain,3,4\n",
			csv.Found{Dialect: header, Columns: []string{"country", "2020-01-01", "2020-01-02"}, Width: 3, Body: 30, BodyLine: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := csv.Sniff([]byte(c.text), true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestSniffNothing(t *testing.T) {
	for _, c := range []struct {
		text     string
		complete bool
		want     error
	}{
		{"", true, csv.ErrEmpty}, {"\n\n", true, csv.ErrEmpty}, {"\ufeff", true, csv.ErrEmpty},
		{"a,b", false, csv.ErrNoRecord}, {"\"a\nb", false, csv.ErrNoRecord},
		{"PAR1\x15\x04\x15", true, csv.ErrBinary}, {"\x1f\x8b\x08\x00", true, csv.ErrBinary},
		{strings.Repeat("\x00\x01\x02abc", 9), true, csv.ErrBinary}, {"\xff\xfe\x00\x00a\x00\x00\x00", true, csv.ErrBinary},
	} {
		if _, err := csv.Sniff([]byte(c.text), c.complete); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.text, err, c.want)
		}
	}
}

// TestSniffCutSample: a sample that ends anywhere tells the same as the whole.
func TestSniffCutSample(t *testing.T) {
	text := []byte("id;city;note\n" + strings.Repeat("1;Zürich;\"a; b\nc\"\n2;Genève;\n", 5))
	want, err := csv.Sniff(text, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := 60; n < len(text); n++ {
		if got, err := csv.Sniff(text[:n], false); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%q: %v\n%s", text[:n], err, cmp.Diff(want, got))
		}
	}
}

func TestSniffWith(t *testing.T) {
	text := []byte("report\nof today\na,b;c\n1,2;3\n4,5;6\n")
	delimiter, skip, no, none, encoding := ";", 2, false, byte(0), csv.Windows1252
	got, err := csv.SniffWith(text, true, csv.Overrides{Delimiter: &delimiter, Skip: &skip, Quote: &none, Encoding: &encoding})
	want := csv.Found{Dialect: csv.Dialect{Delimiter: ";", Encoding: csv.Windows1252, Header: true, Skip: 2}, Columns: []string{"a,b", "c"}, Width: 2, Body: 22, BodyLine: 4}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: -want +got\n%s", err, diff)
	}
	got, err = csv.SniffWith(text, true, csv.Overrides{Skip: &skip, Header: &no})
	if err != nil || got.Dialect.Header || got.Columns != nil || got.Body != 16 || got.BodyLine != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	bad := "latin-9"
	if _, err := csv.SniffWith(text, true, csv.Overrides{Encoding: &bad}); err == nil {
		t.Error("an unknown encoding is taken")
	}
}

// TestSniffKnown: a header of the feed is one whatever it looks like, by whichever
// dialect it comes out.
func TestSniffKnown(t *testing.T) {
	known := [][]string{{"id", "name"}, {"2020", "x;y", "z"}, {"one"}}
	for _, c := range []struct {
		name, text string
		delimiter  string
		columns    []string // nil for no header
		skip       int
		width      int
	}{
		{"looks like a row", "id,name\nno,game\nto,lame\nid,same\n", ",", known[0], 0, 2},
		{"by another delimiter", "2020|x;y|z\na;b;c\nd|e;f|g\n", "|", known[1], 0, 3},
		{"behind titles", "People\n2020-01-01\nid,name\n1,x\n", ",", known[0], 2, 2},
		{"behind a table with a header of its own", "no,size,k\n1,2,3\n4,5,6\nid,name\n1,x\n", ",", []string{"no", "size", "k"}, 0, 3},
		{"behind values", "1,2,3\n4,5,6\nid,name\n1,x\n2,y\n3,z\n", ",", nil, 0, 3},
		{"over a few rows of many", "id,name\n1,x\n2020,x;y,z\n1,2,3\n4,5,6\n7,8,9\n", ",", known[0], 0, 2},
		{"behind a blank line", "a,b,c\n1,2,3\n4,5,6\n7,8,9\n\nid,name\n1,x\n2,y\n3,z\n", ",", []string{"a", "b", "c"}, 0, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why, err := csv.Explain([]byte(c.text), true, csv.Overrides{Known: known})
			if err != nil {
				t.Fatal(err)
			}
			var others [][]string
			for _, names := range known[:2] {
				if !cmp.Equal(names, c.columns) {
					others = append(others, names)
				}
			}
			if got.Dialect.Delimiter != c.delimiter || !cmp.Equal(got.Columns, c.columns) || got.Dialect.Skip != c.skip || got.Width != c.width || got.Tail.Rule != "" || !cmp.Equal(got.Known, others) {
				t.Errorf("%+v\n%+v", got, why)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	for _, text := range []string{"a,b\n1,2\n", "a;b\n'x';\"\\\"\"\n", "\xff\xfea\x00\n\x00", "caf\xe9\n", "\ufeff\n\n", "a\tb\r1\t2\r", "1:2:3\n4:5:6\n7:8:9\n", ",,;\xba\r,\n*\r,"} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, complete bool) {
		found, err := csv.Sniff(text, complete)
		if err != nil {
			return
		}
		if err := found.Dialect.Validate(); err != nil {
			t.Fatal(err)
		}
		if found.Width < 1 || found.BodyLine < 1 || found.Dialect.Header != (found.Columns != nil) {
			t.Fatalf("%q: %+v", text, found)
		}
		// What it has found can be read from where it says.
		var r io.Reader = bytes.NewReader(text)
		if found.Dialect.ByteOffsets() {
			if found.Body > int64(len(text)) {
				t.Fatalf("%q: %+v", text, found)
			}
			r = bytes.NewReader(text[found.Body:])
		}
		split(t, r, found.Dialect, found.Options())
	})
}

func BenchmarkSniff(b *testing.B) {
	text := lines(1<<20, `"egular courts, above the"`, ",", "\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := csv.Sniff(text, false); err != nil {
			b.Fatal(err)
		}
	}
}
