package csv_test

import (
	"bytes"
	"io"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

// result is a row as the tests compare it.
type result struct {
	Raw      string
	From, To int64
	Line     int64
	Gap      bool
	Breaks   int
	Rule     string
	Record   string // as RFC 4180
	Cells    []string
}

// fataler is what is common to testing.TB and rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// split gives all rows of r.
func split(t fataler, r io.Reader, d csv.Dialect, o csv.Options) ([]result, *csv.Splitter) {
	t.Helper()
	s := csv.NewSplitter(r, d, o)
	s.SetBufferSize(64) // so that it is moved and grows
	var rows []result
	for {
		row, err := s.Next()
		if err == io.EOF {
			return rows, s
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		res := result{Raw: string(row.Raw), From: row.From, To: row.To, Line: row.Line, Gap: row.Gap, Breaks: row.Breaks, Rule: row.Rule}
		if row.Rule == "" {
			res.Record = string(s.AppendRFC4180(nil))
			for _, c := range s.Cells(nil) {
				res.Cells = append(res.Cells, show(c.Text, c.Quoted))
			}
		}
		rows = append(rows, res)
	}
}

func show(text []byte, quoted bool) string {
	if !quoted && schema.IsNullToken(text) {
		return "null:" + string(text)
	}
	return "text:" + string(text)
}

// reference cuts text the plain way: byte after byte, all of it in memory. It
// knows neither buffers nor searches, and no marks or frontiers.
type reference struct {
	text  []byte
	d     csv.Dialect
	o     csv.Options
	delim []byte
}

func (f reference) lineEndAt(i int) int { // length of the line end at i
	switch {
	case i >= len(f.text):
		return 0
	case f.text[i] == '\n':
		return 1
	case f.text[i] != '\r':
		return 0
	case i+1 < len(f.text) && f.text[i+1] == '\n':
		return 2
	}
	return 1
}

func (f reference) lineEnd(i int) int {
	for i < len(f.text) && f.lineEndAt(i) == 0 {
		i++
	}
	return i
}

// record finds the end of the record at p, and whether it was inside a quoted
// cell at the limit or at the end of the text.
func (f reference) record(p int) (end int, ok, quoted bool) {
	limit := p + f.o.MaxRecord
	cell := true
	at := func(i int) byte {
		if i < len(f.text) {
			return f.text[i]
		}
		return 0
	}
	for ; ; cell = false {
		if p > limit+1 {
			return 0, false, quoted
		}
		if quoted {
			switch {
			case p >= len(f.text):
				return 0, false, true
			case f.d.Escape != 0 && at(p) == f.d.Escape:
				if p+1 > limit+1 || p+1 == len(f.text) {
					return 0, false, true
				}
				if c := at(p + 1); p+1 < len(f.text) && (c == f.d.Quote || c == f.d.Escape) {
					p++
				}
			case at(p) == f.d.Quote:
				if p+1 > limit+1 {
					return 0, false, true
				}
				if p+1 < len(f.text) && at(p+1) == f.d.Quote {
					p++
				} else {
					quoted = false
				}
			}
			p++
			continue
		}
		if p == len(f.text) || f.lineEndAt(p) > 0 {
			return p, p <= limit, false
		}
		if cell && f.d.Quote != 0 && at(p) == f.d.Quote {
			quoted = true
			p++
			continue
		}
		if bytes.HasPrefix(f.text[p:], f.delim) {
			p += len(f.delim)
			for {
				// The next byte begins a cell.
				if f.d.Quote != 0 && p <= limit+1 && p < len(f.text) && at(p) == f.d.Quote {
					quoted = true
					p++
				} else if bytes.HasPrefix(f.text[p:], f.delim) {
					p += len(f.delim)
					continue
				}
				break
			}
			continue
		}
		p++
	}
}

func (f reference) split() []result {
	var rows []result
	p, line, gap := 0, int64(1), true
	if bytes.HasPrefix(f.text, []byte("\ufeff")) {
		p = 3
	}
	for p < len(f.text) {
		n := f.lineEndAt(p)
		if n > 0 && f.o.Width != 1 || f.d.Comment != 0 && f.text[p] == f.d.Comment {
			p = f.lineEnd(p)
			p += f.lineEndAt(p)
			line++
			gap = true
			continue
		}
		r := result{From: int64(p), Line: line, Gap: gap}
		gap = false
		end, ok, quoted := f.record(p)
		first := f.lineEnd(p)
		switch {
		case ok:
			r.Raw = string(f.text[p:end])
			for i := p; i < end; {
				n := f.lineEndAt(i)
				if n > 0 {
					r.Breaks++
				}
				i += max(n, 1)
			}
			if !utf8.ValidString(r.Raw) {
				r.Rule = csv.Encoding
			}
		case first-p > f.o.MaxRecord:
			r.Rule, end = csv.TooLong, first
			r.Raw = string(f.text[p : p+f.o.MaxRecord])
		case quoted:
			r.Rule, end = csv.OpenQuote, first
			r.Raw = string(f.text[p:end])
		default:
			r.Rule, end = csv.TooLong, first
			r.Raw = string(f.text[p:end])
		}
		n = f.lineEndAt(end)
		gap = r.Rule != ""
		line += int64(r.Breaks)
		if n > 0 {
			line++
		}
		p = end + n
		r.To = int64(p)
		rows = append(rows, r)
	}
	return rows
}

// checkSplit holds the splitter against the reference, against itself over
// readers that give other pieces, and its records against the wire codec.
func checkSplit(t fataler, text []byte, d csv.Dialect, o csv.Options, cut int) {
	t.Helper()
	rows, s := split(t, bytes.NewReader(text), d, o)
	want := reference{text: text, d: d, o: o, delim: []byte(d.Delimiter)}.split()
	got := make([]result, len(rows))
	for i, r := range rows {
		got[i] = r
		got[i].Record, got[i].Cells = "", nil
		if len(d.Delimiter) > 1 && r.Rule == csv.TooLong && i < len(want) && want[i].Rule == csv.OpenQuote {
			got[i].Rule = want[i].Rule // a quote right at the limit may not be told
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("split %q by %+v %+v: -reference +splitter\n%s", text, d, o, diff)
	}
	checkCoverage(t, text, rows, d, o)

	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(text)),
		"cut":      io.MultiReader(bytes.NewReader(text[:cut%(len(text)+1)]), iotest.DataErrReader(bytes.NewReader(text[cut%(len(text)+1):]))),
	} {
		again, _ := split(t, r, d, o)
		if diff := cmp.Diff(rows, again); diff != "" {
			t.Fatalf("split %q by %+v %+v, %s: -whole +pieces\n%s", text, d, o, name, diff)
		}
	}

	// Beginning behind any row gives the rows that follow.
	if len(rows) > 1 && rows[0].To > 0 {
		i := cut % (len(rows) - 1)
		at := rows[i]
		rest, _ := split(t, bytes.NewReader(text[at.To:]), d, csv.Options{Offset: at.To, Line: rows[i+1].Line - gapLines(text[at.To:rows[i+1].From]), MaxRecord: o.MaxRecord, Width: o.Width})
		if len(rest) > 0 {
			rest[0].Gap = rows[i+1].Gap
		}
		if diff := cmp.Diff(rows[i+1:], rest, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("split %q by %+v %+v, from %d: -whole +rest\n%s", text, d, o, at.To, diff)
		}
	}

	// With Hold the rows are the same, but for a last one that may go on.
	o.Hold = true
	held, hs := split(t, bytes.NewReader(text), d, o)
	if len(held) > len(rows) || !cmp.Equal(held, rows[:len(held)], cmpopts.EquateEmpty()) {
		t.Fatalf("split %q by %+v %+v: rows\n%+v\nheld\n%+v", text, d, o, rows, held)
	}
	offset, line := hs.Position()
	o.Offset, o.Line = offset, line
	o.Hold = false
	rest, rs := split(t, bytes.NewReader(text[offset:]), d, o)
	all := append(held, rest...)
	for i := range all {
		all[i].Gap = i < len(rows) && rows[i].Gap
	}
	if offset > 0 && !cmp.Equal(all, rows, cmpopts.EquateEmpty()) {
		t.Fatalf("split %q by %+v %+v: held, then the rest from %d, line %d\n%s", text, d, o, offset, line, cmp.Diff(rows, all))
	}
	_, wantLine := s.Position()
	if _, line := rs.Position(); offset > 0 && line != wantLine {
		t.Fatalf("split %q: line %d at the end of the rest, want %d", text, line, wantLine)
	}

	var ws wire.Splitter
	for _, r := range rows {
		if r.Rule != "" {
			continue
		}
		cells, err := ws.Split([]byte(r.Record))
		if err != nil {
			t.Fatalf("record %q of row %q by %+v: %v", r.Record, r.Raw, d, err)
		}
		var texts []string
		for _, c := range cells {
			texts = append(texts, show(c.Text, c.Quoted))
		}
		if diff := cmp.Diff(r.Cells, texts); diff != "" {
			t.Fatalf("record %q of row %q by %+v: -cells +record\n%s", r.Record, r.Raw, d, diff)
		}
		if bytes.ContainsAny([]byte(r.Raw), `"'\`) || d.Delimiter != "," {
			continue
		}
		if r.Record != r.Raw {
			t.Fatalf("row %q became record %q", r.Raw, r.Record)
		}
	}
}

func gapLines(gap []byte) (n int64) {
	f := reference{text: gap}
	for i := 0; i < len(gap); {
		l := f.lineEndAt(i)
		if l > 0 {
			n++
		}
		i += max(l, 1)
	}
	return n
}

// checkCoverage: every byte is in one row, one reject, or a gap of blank lines,
// comments and a BOM.
func checkCoverage(t fataler, text []byte, rows []result, d csv.Dialect, o csv.Options) {
	t.Helper()
	var at int64
	gap := func(to int64) {
		g := text[at:to]
		if at == 0 {
			g = bytes.TrimPrefix(g, []byte("\ufeff"))
		}
		for len(g) > 0 {
			i := bytes.IndexAny(g, "\r\n")
			if i != 0 && (d.Comment == 0 || g[0] != d.Comment) || i == 0 && o.Width == 1 {
				t.Fatalf("split %q by %+v: bytes %d to %d are lost: %q", text, d, at, to, g)
			}
			if i < 0 {
				return
			}
			g = g[i+1:]
			if o.Width == 1 && len(g) > 0 && g[0] == '\n' {
				g = g[1:]
			}
		}
	}
	for _, r := range rows {
		if r.From < at || r.To <= r.From || r.To > int64(len(text)) {
			t.Fatalf("split %q: row %q is from %d to %d, behind %d", text, r.Raw, r.From, r.To, at)
		}
		if r.Gap != (r.From > at || at == 0 || r.Gap) {
			t.Fatalf("split %q: row %q has no Gap", text, r.Raw)
		}
		gap(r.From)
		if !bytes.HasPrefix(text[r.From:r.To], []byte(r.Raw)) {
			t.Fatalf("split %q: row %q is not at %d", text, r.Raw, r.From)
		}
		at = r.To
	}
	gap(int64(len(text)))
}
