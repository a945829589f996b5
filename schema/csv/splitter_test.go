package csv_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema/csv"
)

// The tests write a row as "line from-to record", a reject as "line from-to
// !rule raw", with "~" before it where it has a Gap, and "+n" behind it where it
// has n Breaks.
func TestSplitter(t *testing.T) {
	standard := csv.Standard()
	for _, c := range []struct {
		name, text string
		d          csv.Dialect
		o          csv.Options
		want       []string
	}{
		{"line ends", "a,b\n1,2\r\n3,4\r5,6", standard, csv.Options{}, []string{"~1 0-4 a,b", "2 4-9 1,2", "3 9-13 3,4", "4 13-16 5,6"}},
		{"bom and blank lines", "\ufeffa\n\n\r\nb,\n", standard, csv.Options{}, []string{"~1 3-5 a", "~4 8-11 b,"}},
		{"one column", "a\n\n\"\"\n", standard, csv.Options{Width: 1}, []string{"~1 0-2 a", "2 2-3 ", `3 3-6 ""`}},
		{"quoted line ends", "\"a\n\r\nb\r\",1\r\n2", standard, csv.Options{}, []string{"~1 0-12 \"a\n\r\nb\r\",1 +3", "5 12-13 2"}},
		{"stray quotes", "5\" pipe,1\n\"a\"b,c\n", standard, csv.Options{}, []string{`~1 0-10 "5"" pipe",1`, `2 10-17 """a""b",c`}},
		{"a quote that does not close in its line", "a,b,c\n1,\"2,3\n4,\"x\ny\",6\n", standard, csv.Options{Width: 3}, []string{"~1 0-6 a,b,c", `2 6-13 1,"""2",3`, "3 13-23 4,\"x\ny\",6 +1"}},
		{"quotes that were not doubled", "\"say \"hi\" to\nme\",2\n3,\"x \"y\"\"\n", standard, csv.Options{Width: 2}, []string{"~1 0-19 \"say \"\"hi\"\" to\nme\",2 +1", `3 19-29 3,"x ""y"""`}},
		{"a stray quote that another closes", "1,\"2\n3,\",x\"\n", standard, csv.Options{Width: 2}, []string{`~1 0-5 1,"""2"`, `2 5-12 3,",x"`}},
		{"spaces around quotes", "\"a\"  ,\"b\" \n", standard, csv.Options{}, []string{"~1 0-11 a,b"}},
		{"the header again", "1,2\na,\"b\"\n3,4\n", standard, csv.Options{Columns: []string{"a", "b"}}, []string{"~1 0-4 1,2", "~3 10-14 3,4"}},
		{"the header again by another delimiter", "1,2,3\n\ta\tbc\n", standard, csv.Options{Width: 3, Columns: []string{"", "a", "bc"}}, []string{"~1 0-6 1,2,3"}},
		{"a header of several records", "1,2\nt,\"v\"\ns,m\n3,4\nt,v\n5,6\nt,v\ns", csv.Dialect{Quote: '"', Headers: 2}, csv.Options{Width: 2, Columns: []string{"t s", "v m"}, Joined: true}, []string{"~1 0-4 1,2", "~4 14-18 3,4", "5 18-22 t,v", "6 22-26 5,6", "7 26-30 t,v", "8 30-31 s"}},
		{"a header of several records behind a row that is blank", "\ufeff\t\na,a\n,bc\n", csv.Dialect{Quote: '"', Headers: 2}, csv.Options{Width: 1, Columns: []string{"a", "a bc"}, Joined: true}, []string{"~1 3-5 \t"}},
		{"a header of several records that may come", "1,2\nt,v\n", csv.Dialect{Quote: '"', Headers: 2}, csv.Options{Width: 2, Columns: []string{"t s", "v m"}, Joined: true, Hold: true}, []string{"~1 0-4 1,2"}},
		{"a tail", "1,2\n\nnote, \"x\n\nend\n3,4\n", standard, csv.Options{Width: 2, Tail: csv.Tail{From: 4, To: 19, Rule: csv.Footer}}, []string{"~1 0-4 1,2", `~3 5-14 !footer note, "x`, "~5 15-19 !footer end", "~6 19-23 3,4"}},
		{"a delimiter behind each record", "1,2,\n3,\"4\",\n5\n", csv.Dialect{Quote: 34, Trailing: true}, csv.Options{Width: 2}, []string{"~1 0-5 1,2", `2 5-12 3,"4"`, "3 12-14 5"}},
		{"open quote at the end", "a,\"b\nc,d\n", standard, csv.Options{}, []string{`~1 0-5 !open_quote a,"b`, "~2 5-9 c,d"}},
		{"open quote beyond the limit", "a,\"b\nc,d\ne,\"\n", standard, csv.Options{MaxRecord: 6}, []string{`~1 0-5 !open_quote a,"b`, "~2 5-9 c,d", `3 9-13 !open_quote e,"`}},
		{"too long", "abcdefgh\nx\n", standard, csv.Options{MaxRecord: 4}, []string{"~1 0-9 !too_long abcd", "~2 9-11 x"}},
		{"as long as may be", "abcd\r\nx\n", standard, csv.Options{MaxRecord: 4}, []string{"~1 0-6 abcd", "2 6-8 x"}},
		{"too long on more lines", "\"a\nb\",cdef\nx\n", standard, csv.Options{MaxRecord: 8}, []string{"~1 0-3 !too_long \"a", `~2 3-11 "b"",cdef"`, "3 11-13 x"}[:1]},
		{"bad utf-8", "a\n\xff,b\n\"\n\xc3\"\nc", standard, csv.Options{}, []string{"~1 0-2 a", "2 2-6 !encoding \xff,b", "~3 6-11 !encoding \"\n\xc3\" +1", "~5 11-12 c"}},
		{"comments", "#x\na#,1\n#\"\n2,3", csv.Dialect{Comment: '#', Quote: '"'}, csv.Options{}, []string{"~2 3-8 a#,1", "~4 11-14 2,3"}},
		{"escape", `"a\"b","\\",\N,"\x"` + "\n", csv.Dialect{Quote: '"', Escape: '\\'}, csv.Options{}, []string{`~1 0-20 "a""b",\,\N,\x`}},
		{"escape without quotes", `a\,b,c\\,\N` + "\n", csv.Dialect{Escape: '\\'}, csv.Options{}, []string{`~1 0-12 "a,b",c\,\N`}},
		{"tokens stay apart", `'NA';NA;'';;'\N';'null';'x';1,5`, csv.Dialect{Delimiter: ";", Quote: '\''}, csv.Options{}, []string{`~1 0-31 "NA",NA,"",,"\N","null",x,"1,5"`}},
		{"tokens are copied", `"NA",NA,"",,"x"`, standard, csv.Options{}, []string{`~1 0-15 "NA",NA,"",,"x"`}},
		{"tabs", "a\tb \"c\"\t\n", csv.Dialect{Delimiter: "\t", Quote: '"'}, csv.Options{}, []string{`~1 0-9 a,"b ""c""",`}},
		{"several bytes", "a|||\"b||c\"||\n||\"\n\"", csv.Dialect{Delimiter: "||", Quote: '"'}, csv.Options{}, []string{`~1 0-13 a,"|""b","c""",`, "2 13-18 ,\"\n\" +1"}},
		{"a row by another delimiter", "a,b,c\n1;\"2.5\";x\n4\t5\t6\n7;8\n9|\"q;\"|\n", standard, csv.Options{Width: 3}, []string{"~1 0-6 a,b,c", "2 6-16 1,2.5,x", "3 16-22 4,5,6", "4 22-26 7;8", "5 26-34 9,q;,"}},
		{"a row by spaces", "a,b,c\n1 \"x y\" NA\nthree little words\n\"say\" three words\n", standard, csv.Options{Width: 3}, []string{"~1 0-6 a,b,c", `2 6-17 1,x y,NA`, "3 17-36 three little words", `4 36-54 """say"" three words"`}},
		{"from the middle", "x,y\nz", standard, csv.Options{Offset: 100, Line: 7}, []string{"~7 100-104 x,y", "8 104-105 z"}},
		{"held", "a\nb,\"c", standard, csv.Options{Hold: true}, []string{"~1 0-2 a"}},
		{"held after cr", "a\rb\r", standard, csv.Options{Hold: true}, []string{"~1 0-2 a"}},
		{"nothing", "", standard, csv.Options{}, nil},
		{"only a bom", "\ufeff", standard, csv.Options{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, s := split(t, strings.NewReader(c.text), c.d, c.o)
			var got []string
			for _, r := range rows {
				line := fmt.Sprintf("%d %d-%d %s", r.Line, r.From, r.To, r.Record)
				if r.Rule != "" {
					line = fmt.Sprintf("%d %d-%d !%s %s", r.Line, r.From, r.To, r.Rule, r.Raw)
				}
				if r.Gap {
					line = "~" + line
				}
				if r.Breaks > 0 {
					line += fmt.Sprintf(" +%d", r.Breaks)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got[:min(len(got), max(len(c.want), 1))]); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if offset, _ := s.Position(); len(rows) > 0 && offset != rows[len(rows)-1].To {
				t.Errorf("Position is %d, want %d", offset, rows[len(rows)-1].To)
			}
		})
	}
}

// TestSplitterOverManyBuffers holds the splitter against the reference on texts
// that do not fit its buffer, with records of all lengths.
func TestSplitterOverManyBuffers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, d := range dialects {
		var b bytes.Buffer
		for b.Len() < 20<<10 {
			if rnd.IntN(30) == 0 {
				b.WriteByte(d.Quote)
			}
			n := rnd.IntN(40)
			if rnd.IntN(50) == 0 {
				n = rnd.IntN(4000)
			}
			b.WriteString(strings.Repeat("x", n))
			b.WriteString([]string{d.Delimiter, d.Delimiter + string(rune(d.Quote)), string(rune(d.Quote)) + d.Delimiter, "\n", "\r\n", "\xff", "#"}[rnd.IntN(7)])
		}
		checkSplit(t, b.Bytes(), d, csv.Options{MaxRecord: 700 + 100*i}, rnd.IntN(b.Len()))
	}
}

// TestOpenQuotesInEveryLine reads a text whose every line leaves a quote open,
// which would take hours if every line were read MaxRecord bytes ahead.
func TestOpenQuotesInEveryLine(t *testing.T) {
	const lines = 1 << 18
	text := strings.Repeat("a\",\"\n", lines)
	s := csv.NewSplitter(strings.NewReader(text), csv.Standard(), csv.Options{})
	for n := 0; ; n++ {
		row, err := s.Next()
		if err == io.EOF {
			if n != lines {
				t.Errorf("%d rejects, want %d", n, lines)
			}
			return
		}
		if err != nil || row.Rule != csv.OpenQuote {
			t.Fatalf("row %d: %+v, %v", n, row, err)
		}
	}
}

func TestSplitterMemoryIsBounded(t *testing.T) {
	// 64 MiB on one line, then a row.
	line := io.LimitReader(endless('x'), 64<<20)
	r := io.MultiReader(line, strings.NewReader("\r"), strings.NewReader("\na,b\n#"), io.LimitReader(endless('y'), 8<<20), strings.NewReader("\nc"))
	s := csv.NewSplitter(r, csv.Dialect{Quote: '"', Comment: '#'}, csv.Options{MaxRecord: 1 << 20})
	row, err := s.Next()
	if err != nil || row.Rule != csv.TooLong || len(row.Raw) != 1<<20 || row.To != 64<<20+2 {
		t.Fatalf("a row of %d bytes from %d to %d, rule %q, %v", len(row.Raw), row.From, row.To, row.Rule, err)
	}
	if row, err = s.Next(); err != nil || string(row.Raw) != "a,b" || row.From != 64<<20+2 || row.Line != 2 || !row.Gap {
		t.Fatalf("%+v, %v", row, err)
	}
	if row, err = s.Next(); err != nil || string(row.Raw) != "c" || row.From != 72<<20+2+4+2 || row.Line != 4 || !row.Gap {
		t.Fatalf("%+v, %v", row, err)
	}
	if n := s.BufferSize(); n > 2<<20 {
		t.Errorf("the buffer grew to %d bytes", n)
	}
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestSplitterReadError(t *testing.T) {
	boom := errors.New("boom")
	s := csv.NewSplitter(io.MultiReader(strings.NewReader("a\nb\nc,"), iotest.ErrReader(boom)), csv.Standard(), csv.Options{Offset: 10, Line: 3})
	for _, want := range []string{"a", "b"} {
		if row, err := s.Next(); err != nil || string(row.Raw) != want {
			t.Fatalf("%+v, %v, want %s", row, err, want)
		}
	}
	for range 2 {
		if _, err := s.Next(); !errors.Is(err, boom) {
			t.Fatalf("error %v, want boom", err)
		}
	}
	if offset, line := s.Position(); offset != 14 || line != 5 {
		t.Errorf("position %d:%d, want 14:5", offset, line)
	}
}

func TestSplitterEncodings(t *testing.T) {
	for _, c := range []struct {
		encoding string
		text     []byte
		want     []string
	}{
		{csv.Windows1252, []byte("caf\xe9,\x80\n\x81,b\n"), []string{"café,€", "\u0081,b"}},
		{csv.UTF16LE, utf16Bytes("\ufeffä,\"x\ny\"\r\n😀,b", false), []string{"ä,\"x\ny\"", "😀,b"}},
		{csv.UTF16BE, utf16Bytes("\ufeffä,b\n😀,c\n", true), []string{"ä,b", "😀,c"}},
		{csv.UTF16LE, append(utf16Bytes("a\n", false), 'b', 0xd8, '\n', 0, 'c'), []string{"a", "!encoding", "!encoding"}},
	} {
		d := csv.Dialect{Quote: '"', Encoding: c.encoding}
		rows, _ := split(t, bytes.NewReader(c.text), d, csv.Options{})
		var got []string
		for i, r := range rows {
			if r.Rule != "" {
				got = append(got, "!"+r.Rule)
				continue
			}
			got = append(got, r.Record)
			rest, _ := split(t, iotest.OneByteReader(bytes.NewReader(c.text)), d, csv.Options{Offset: r.To, Line: r.Line + int64(r.Breaks) + 1})
			if len(rest) > 0 {
				rest[0].Gap = false
			}
			if diff := cmp.Diff(append([]result{}, rows[i+1:]...), append([]result{}, rest...)); diff != "" {
				t.Errorf("%s from %d: -whole +rest\n%s", c.encoding, r.To, diff)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.encoding, diff)
		}
	}
}

func utf16Bytes(text string, big bool) (b []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return b
}

func TestSplitterAllocatesNothingPerRow(t *testing.T) {
	for _, w := range workloads {
		text := w.text()[:1<<20]
		r := bytes.NewReader(text)
		s := csv.NewSplitter(r, w.d, csv.Options{})
		var dst []byte
		var cells []csv.Cell
		allocs := testing.AllocsPerRun(2000, func() {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			dst = s.AppendRFC4180(dst[:0])
			cells = s.Cells(cells[:0])
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations a row", w.name, allocs)
		}
	}
}

func TestDialect(t *testing.T) {
	for _, d := range append(dialects, csv.Dialect{Delimiter: "¦", Quote: '"', Encoding: csv.Windows1252, Header: true, Skip: 3}) {
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again csv.Dialect
		if err := json.Unmarshal(b, &again); err != nil || again != d {
			t.Errorf("%s became %+v, %v", b, again, err)
		}
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	if b, _ := json.Marshal(csv.Standard()); string(b) != `{"delimiter":",","quote":"\"","encoding":"utf-8"}` {
		t.Errorf("the standard dialect is %s", b)
	}
	for _, d := range []csv.Dialect{
		{Delimiter: "\n"}, {Delimiter: "\xff"}, {Delimiter: `a"`, Quote: '"'}, {Delimiter: ",", Quote: '\r'},
		{Delimiter: ",", Escape: 0xe9}, {Delimiter: ",", Comment: ','}, {Delimiter: ",", Quote: '#', Comment: '#'},
		{Delimiter: ",", Encoding: "ebcdic"}, {Delimiter: ",", Skip: -1},
	} {
		want := d.Validate()
		if want == nil {
			t.Errorf("%+v is taken for valid", d)
			continue
		}
		if _, err := csv.NewSplitter(strings.NewReader("a"), d, csv.Options{}).Next(); err == nil || err.Error() != want.Error() {
			t.Errorf("%+v: Next gives %v, want %v", d, err, want)
		}
	}
}
