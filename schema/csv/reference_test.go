package csv_test

import (
	"bytes"
	"io"
	"strings"
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
	Header   int
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
		res := result{Raw: string(row.Raw), From: row.From, To: row.To, Line: row.Line, Gap: row.Gap, Breaks: row.Breaks, Header: row.Header, Rule: row.Rule}
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
	case f.text[i] == '\n' && f.d.LineEnd == csv.CRLF:
		return 0
	case f.text[i] == '\n':
		return 1
	case f.text[i] != '\r':
		return 0
	case i+1 < len(f.text) && f.text[i+1] == '\n':
		return 2
	case f.d.LineEnd != csv.AnyLineEnd:
		return 0
	}
	return 1
}

// endsIn says whether a line ends at i of a part of the text. It is not known of a
// CR that is the part's last byte, unless that is the text's.
func (f reference) endsIn(view []byte, i int, atEnd bool) (ends, known bool) {
	part := f
	part.text = view
	n := part.lineEndAt(i)
	return n > 0, atEnd || view[i] != '\r' || i+1 < len(view)
}

// blank says whether the line at i has spaces and no more, and where it ends.
func (f reference) blank(i int) (int, bool) {
	end := f.lineEnd(i)
	pads := strings.NewReplacer(f.d.Delimiter, "").Replace(" \t")
	if len(f.d.Delimiter) > 1 {
		pads = strings.Map(func(r rune) rune {
			if strings.ContainsRune(f.d.Delimiter, r) {
				return -1
			}
			return r
		}, " \t")
	}
	return end, end > i && end-i < csv.BlankBytes && strings.Trim(string(f.text[i:end]), pads) == ""
}

func (f reference) lineEnd(i int) int {
	for i < len(f.text) && f.lineEndAt(i) == 0 {
		i++
	}
	return i
}

// outcome is how reading a record with its quotes as they should be ends.
type outcome struct {
	end     int  // of the record, from its first byte
	whole   bool // it is there
	fault   bool // a quote that neither closes nor is doubled
	quoted  bool // the bytes end inside a quoted cell
	spanned bool // a quoted cell has a line break
}

// opensAt says whether a cell at i is quoted, and where its text begins.
func (f reference) opensAt(view []byte, i int) (int, bool) {
	for f.d.Padded && i < len(view) && view[i] == ' ' {
		i++
	}
	return i + 1, f.d.Quote != 0 && i < len(view) && view[i] == f.d.Quote
}

// behind says what is behind a quote that may close a cell: "end", "fault", or
// "unknown" where the bytes end.
func (f reference) behind(view []byte, i int, atEnd bool) string {
	for {
		rest := view[i:]
		switch {
		case bytes.HasPrefix(rest, f.delim):
			return "end"
		case len(rest) == 0 && atEnd:
			return "end"
		case !atEnd && bytes.HasPrefix(f.delim, rest):
			return "unknown"
		}
		switch ends, known := f.endsIn(view, i, atEnd); {
		case ends:
			return "end"
		case !known:
			return "unknown"
		case rest[0] != ' ':
			return "fault"
		}
		i++
	}
}

// strict reads the record at the beginning of view byte after byte.
func (f reference) strict(view []byte, atEnd bool) (o outcome) {
	i, cell := 0, true
	for {
		if from, opens := f.opensAt(view, i); cell && opens {
			i = from
			for closed := false; !closed; {
				switch {
				case i >= len(view):
					o.quoted = true
					return o
				case f.d.Escape != 0 && view[i] == f.d.Escape:
					if i+1 == len(view) {
						o.quoted = true
						return o
					}
					if c := view[i+1]; c == f.d.Quote || c == f.d.Escape {
						i++
					}
					i++
				case view[i] == f.d.Quote && i+1 < len(view) && view[i+1] == f.d.Quote:
					i += 2
				case view[i] == f.d.Quote:
					switch f.behind(view, i+1, atEnd) {
					case "unknown":
						o.quoted = true
						return o
					case "fault":
						o.fault, o.quoted = true, true
						return o
					}
					i++
					closed = true
				default:
					ends, _ := f.endsIn(view, i, atEnd)
					o.spanned = o.spanned || ends
					i++
				}
			}
			cell = false
			continue
		}
		// A delimiter of several bytes is looked for in whole lines only.
		if part := (reference{text: view, d: f.d}); len(f.delim) > 1 && !atEnd && part.lineEnd(i) == len(view) {
			return o
		}
		if i >= len(view) {
			o.end, o.whole = i, atEnd
			return o
		}
		if ends, known := f.endsIn(view, i, atEnd); ends {
			o.end, o.whole = i, known
			return o
		}
		cell = bytes.HasPrefix(view[i:], f.delim)
		if cell {
			i += len(f.delim)
		} else {
			i++
		}
	}
}

// cell reads the cell of raw that begins at i, in one way to understand quotes.
func (f reference) cell(raw []byte, i int, how string) (text string, quoted bool, next int) {
	ways := []string{"strict"}
	if how == "lenient" {
		ways = append(ways, how)
	}
	if from, opens := f.opensAt(raw, i); opens {
		for _, way := range ways {
			if text, next, ok := f.quotedCell(raw, from, way == "lenient"); ok {
				return text, true, next
			}
		}
	}
	var b []byte
	for i < len(raw) && !bytes.HasPrefix(raw[i:], f.delim) {
		if f.d.Quote == 0 && f.d.Escape != 0 && raw[i] == f.d.Escape {
			switch {
			case bytes.HasPrefix(raw[i+1:], f.delim):
				b = append(b, f.delim...)
				i += 1 + len(f.delim)
				continue
			case i+1 < len(raw) && raw[i+1] == f.d.Escape:
				i++
			}
		}
		b = append(b, raw[i])
		i++
	}
	return string(b), false, i
}

func (f reference) quotedCell(raw []byte, i int, lenient bool) (text string, next int, ok bool) {
	var b []byte
	run := i // where the bytes since the last pair of quotes begin
	ends := func(i int) bool {
		i += len(raw[i:]) - len(bytes.TrimLeft(raw[i:], " "))
		return i == len(raw)
	}
	endsCell := func(i int) (int, bool) {
		for j := i; j <= len(raw); j++ {
			if bytes.HasPrefix(raw[j:], f.delim) {
				return j, true
			}
			if j < len(raw) && raw[j] != ' ' {
				break
			}
		}
		return len(raw), ends(i)
	}
	for i < len(raw) {
		c := raw[i]
		switch {
		case f.d.Escape != 0 && c == f.d.Escape:
			if i+1 < len(raw) && (raw[i+1] == f.d.Quote || raw[i+1] == f.d.Escape) {
				i++
				c, run = raw[i], i
			}
		case c == f.d.Quote && i+1 < len(raw) && raw[i+1] == f.d.Quote:
			if next, end := endsCell(i + 2); lenient && end && i > run {
				return string(append(b, c)), next, true
			}
			i++
			run = i + 1
		case c == f.d.Quote:
			if next, end := endsCell(i + 1); end {
				return string(b), next, true
			}
			if !lenient {
				return "", 0, false
			}
		}
		b = append(b, c)
		i++
	}
	return "", 0, false
}

// cells cuts a record.
func (f reference) cells(raw []byte, how string) (cells []string) {
	if f.d.Trailing {
		raw = bytes.TrimSuffix(raw, f.delim)
	}
	for i := 0; ; {
		text, quoted, next := f.cell(raw, i, how)
		cells = append(cells, show([]byte(text), quoted))
		if next == len(raw) {
			return cells
		}
		i = next + len(f.delim)
	}
}

// stray cuts a record that has not the table's delimiter by another, where that
// gives as many cells as the table has columns.
func (f reference) stray(raw []byte, cells []string) []string {
	if f.o.Width < 3 || bytes.Contains(raw, f.delim) || f.d.Quote == 0 && f.d.Escape != 0 {
		return cells
	}
	for _, delimiter := range []string{",", ";", "\t", "|", " "} {
		if delimiter[0] == f.d.Quote || delimiter[0] == f.d.Escape || !bytes.Contains(raw, []byte(delimiter)) {
			continue
		}
		by := f
		by.delim, by.d.Padded = []byte(delimiter), false
		other := by.cells(raw, "strict")
		// By spaces it has to have a number, and a text in quotes.
		number, quote := false, false
		for i := 0; i <= len(raw); i++ {
			text, quoted, next := by.cell(raw, i, "strict")
			quote = quote || quoted
			number = number || !quoted && strings.ContainsAny(text, "0123456789") && strings.Trim(text, "0123456789.,+-/:%") == ""
			i = next
		}
		if len(other) == f.o.Width && (delimiter != " " || number && quote) {
			return other
		}
	}
	return cells
}

// unwrapped cuts the row that the text of a record's only cell is, where that has as many
// cells as the table has columns, and is no sentence.
func (f reference) unwrapped(raw []byte) []string {
	if !f.o.Unwrap || f.o.Width < 2 || f.d.Quote == 0 || f.d.Escape != 0 || len(raw) < 4 || raw[0] != f.d.Quote || raw[len(raw)-1] != f.d.Quote {
		return nil
	}
	text, quoted, next := f.cell(raw, 0, "strict")
	if !quoted || next < len(raw) {
		return nil
	}
	own, dense := false, false
	inner := []byte(text)
	if f.d.Trailing {
		inner = bytes.TrimSuffix(inner, f.delim)
	}
	for i := 0; ; {
		text, quoted, next := f.cell(inner, i, "strict")
		own = own || quoted
		dense = dense || i > 0 && !strings.HasPrefix(text, " ")
		if !quoted && strings.ContainsAny(text, "\r\n") {
			return nil
		}
		if next == len(inner) {
			break
		}
		i = next + len(f.delim)
	}
	cells := f.cells([]byte(text), "strict")
	if len(cells) != f.o.Width || !own && (!dense || bytes.Contains(f.delim, []byte(" "))) {
		return nil
	}
	return cells
}

// lenient finds the end of the record at the beginning of window, read leniently:
// after its last cell a line end stands.
func (f reference) lenient(window []byte, atEnd bool) (end int, known bool) {
	cell := true
	for i := 0; ; {
		if run, opens := f.opensAt(window, i); cell && opens {
			for j := run; j < len(window); j++ {
				c, two := window[j], j+1 < len(window) && window[j+1] == f.d.Quote
				if f.d.Escape != 0 && c == f.d.Escape {
					if j+1 < len(window) && (two || window[j+1] == f.d.Escape) {
						j++
						run = j // what is escaped is a character before a quote
					}
					continue
				}
				if c != f.d.Quote {
					continue
				}
				if f.behind(window, j+1, true) == "end" {
					i = j + 1
					break
				}
				if two && j > run && f.behind(window, j+2, true) == "end" {
					i = j + 2
					break
				}
				if two {
					j++
					run = j + 1
				}
			}
		}
		cell = false
		switch {
		case i >= len(window):
			return len(window), atEnd
		case bytes.HasPrefix(window[i:], f.delim):
			i += len(f.delim)
			cell = true
			continue
		}
		if ends, _ := f.endsIn(window, i, true); ends {
			return i, i+1 < len(window) || atEnd
		}
		i++
	}
}

func (f reference) split() []result {
	var rows []result
	p, line, gap, header := 0, int64(1), true, f.o.Header
	headers := append([][]string{f.o.Columns}, f.o.Known...)
	widths := []int{f.o.Width}
	for _, names := range f.o.Known {
		widths = append(widths, len(names))
	}
	if bytes.HasPrefix(f.text, []byte("\ufeff")) {
		p = 3
	}
	for p < len(f.text) {
		f.o.Width = widths[header]
		if end, blank := f.blank(p); blank && f.o.Width != 1 {
			p = end + f.lineEndAt(end)
			if p > end {
				line++
			}
			gap = true
			continue
		}
		n := f.lineEndAt(p)
		outside := f.o.Tail.From <= int64(p) && int64(p) < f.o.Tail.To
		if n > 0 && (outside || f.o.Width != 1) || !outside && f.d.Comment != 0 && f.text[p] == f.d.Comment {
			p = f.lineEnd(p)
			p += f.lineEndAt(p)
			line++
			gap = true
			continue
		}
		if i, end, lines := f.joined(p, headers); i >= 0 && !outside {
			p, line = end, line+lines
			gap, header = true, i
			continue
		}
		r, end := f.row(p, outside)
		r.From, r.Line, r.Gap, r.Header = int64(p), line, gap, header
		gap = r.Rule != ""
		n = f.lineEndAt(end)
		line += int64(r.Breaks)
		if n > 0 {
			line++
		}
		p = end + n
		r.To = int64(p)
		again := -1
		for i, names := range headers {
			if same := r.Rule == "" && len(names) > 1 && len(names) == len(r.Cells); same && again < 0 {
				for j := range r.Cells {
					_, text, _ := strings.Cut(r.Cells[j], ":")
					same = same && text == names[j]
				}
				if same {
					again = i
				}
			}
		}
		if again >= 0 {
			gap, header = true, again
			continue
		}
		rows = append(rows, r)
	}
	return rows
}

// joined finds the header whose several records begin at p, and the place and lines behind
// them.
func (f reference) joined(p int, headers [][]string) (header, end int, lines int64) {
	f.o.Width = 0
	var names []string
	for n := 1; n <= 5 && f.o.Joined && p < len(f.text); n++ {
		_, blank := f.blank(p)
		if n > 1 && (blank || f.lineEndAt(p) > 0 || f.d.Comment != 0 && f.text[p] == f.d.Comment) {
			break
		}
		r, end := f.row(p, false)
		if r.Rule != "" || len(r.Cells) < 2 {
			break
		}
		more := f.lineEndAt(end)
		lines += int64(r.Breaks)
		if more > 0 {
			lines++
		}
		p = end + more
		dashes, short, empty, filled := len(r.Cells) > 1, false, false, false
		var texts []string
		for _, c := range r.Cells {
			_, text, _ := strings.Cut(c, ":")
			texts = append(texts, text)
			text = strings.Trim(text, " ")
			dashes = dashes && strings.Trim(text, "-=+") == ""
			empty, short, filled = empty || text == "", short || text != "" && len(text) < 3, filled || text != ""
		}
		dashes = dashes && filled && !(empty && short)
		for i, text := range texts {
			if n > 1 && dashes {
				break
			}
			if i == len(names) {
				names = append(names, "")
			}
			if names[i] != "" && text != "" {
				text = " " + text
			}
			names[i] += text
		}
		for i, of := range headers {
			if len(of) < 2 || i == 0 && f.d.Headers < 2 || n < 2 {
				continue
			}
			for _, of := range [][]string{of, of[1:]} {
				if len(of) < len(headers[i]) && headers[i][0] != "" {
					continue
				}
				same := len(names) >= len(of)
				for j, name := range names {
					same = same && (j < len(of) && name == of[j] || j >= len(headers[i]) && name == "")
				}
				if same {
					return i, p, lines
				}
			}
		}
	}
	return -1, 0, 0
}

// row reads the row or reject at p, and gives the index of its line end.
func (f reference) row(p int, outside bool) (r result, end int) {
	limit := min(p+f.o.MaxRecord+2, len(f.text))
	view, atEnd := f.text[p:limit], p+f.o.MaxRecord+2 > len(f.text)
	first := f.text[p:f.lineEnd(p)]
	reject := func(rule string) (result, int) {
		if len(first) > f.o.MaxRecord {
			return result{Rule: csv.TooLong, Raw: string(first[:f.o.MaxRecord])}, p + len(first)
		}
		return result{Rule: rule, Raw: string(first)}, p + len(first)
	}
	row := func(raw []byte, how string) (result, int) {
		r := result{Raw: string(raw)}
		for i := 0; i < len(raw); {
			n := (reference{text: raw}).lineEndAt(i)
			if n > 0 {
				r.Breaks++
			}
			i += max(n, 1)
		}
		if !utf8.Valid(raw) {
			r.Rule = csv.Encoding
		} else {
			r.Cells = f.cells(raw, how)
			if how == "strict" && r.Breaks == 0 {
				r.Cells = f.stray(raw, r.Cells)
			}
		}
		return r, p + len(raw)
	}
	if outside {
		return reject(f.o.Tail.Rule)
	}
	width := f.o.Width
	fits := func(raw []byte, how string) bool { return width > 0 && len(f.cells(raw, how)) == width }
	firstKnown := p+len(first) < limit-1 || atEnd || p+len(first) == limit-1 && f.text[limit-1] == '\n' && f.d.LineEnd != csv.CRLF
	o := f.strict(view, atEnd)
	switch {
	case o.whole && o.end > f.o.MaxRecord, !o.whole && !o.quoted:
		return reject(csv.TooLong)
	case o.whole:
		if cells := f.unwrapped(view[:o.end]); cells != nil {
			r, end := row(view[:o.end], "strict")
			if r.Rule == "" {
				r.Cells = cells
			}
			return r, end
		}
		if o.spanned && width > 1 && !fits(view[:o.end], "strict") && fits(first, "literal") {
			return row(first, "literal")
		}
		return row(view[:o.end], "strict")
	case !firstKnown || len(first) > f.o.MaxRecord:
		return reject(csv.OpenQuote)
	}
	if !o.fault && atEnd && p+len(first) == len(f.text) {
		return reject(csv.OpenQuote)
	}
	if fits(first, "lenient") {
		return row(first, "lenient")
	}
	if fits(first, "literal") {
		return row(first, "literal")
	}
	if width > 0 {
		window := view[:min(len(view), csv.RepairBytes)]
		end, known := f.lenient(window, atEnd && len(window) == len(view))
		if known && end <= f.o.MaxRecord && fits(window[:end], "lenient") {
			return row(window[:end], "lenient")
		}
	}
	if o.fault {
		return row(first, "lenient")
	}
	return reject(csv.OpenQuote)
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
		got[i].Record = ""
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
		from := o
		from.Offset, from.Line, from.Header = at.To, rows[i+1].Line-gapLines(text[at.To:rows[i+1].From], d), at.Header
		rest, _ := split(t, bytes.NewReader(text[at.To:]), d, from)
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
	o.Offset, o.Line, o.Header = offset, line, hs.Header()
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
		if bytes.ContainsAny([]byte(r.Raw), `"'\`) || d.Delimiter != "," || d.Trailing || d.LineEnd != csv.AnyLineEnd || len(r.Cells) > 1 && !strings.Contains(r.Raw, ",") {
			continue
		}
		if r.Record != r.Raw {
			t.Fatalf("row %q became record %q", r.Raw, r.Record)
		}
	}
}

func gapLines(gap []byte, d csv.Dialect) (n int64) {
	f := reference{text: gap, d: d}
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
			f := reference{text: g, d: d}
			i, n := f.lineEnd(0), 0
			if i == len(g) {
				i = -1
			} else {
				n = f.lineEndAt(i)
			}
			if o.Columns != nil || o.Known != nil { // a header, which the reference has compared
				return
			}
			if _, blank := f.blank(0); blank && o.Width != 1 {
				g = g[max(i, 0)+n:]
				if i < 0 {
					return
				}
				continue
			}
			if i != 0 && (d.Comment == 0 || g[0] != d.Comment) || i == 0 && o.Width == 1 && o.Tail.To == 0 {
				t.Fatalf("split %q by %+v: bytes %d to %d are lost: %q", text, d, at, to, g)
			}
			if i < 0 {
				return
			}
			g = g[i+n:]
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
