package csv

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// header is what was decided on the header.
type header struct {
	at       int // the line at which it begins, or the table's first row
	rows     int // 0: there is none
	names    []string
	shifted  bool // the first column has no name
	why      string
	evidence []Evidence
}

// maxHeaders is how many records a header may have.
const maxHeaders = 5

// headerOf decides whether the records at start name the columns. Their cells are
// held against those below: a name is no number over numbers, no date over dates;
// and where all is text, names look like names, and unlike what is below them.
func (c *candidate) headerOf(lines []line, start int, fixed Overrides) header {
	h := header{at: start}
	wanted := fixed.Header != nil && *fixed.Header || fixed.Headers != nil && *fixed.Headers > 0
	if fixed.Header != nil && !*fixed.Header || fixed.Headers != nil && *fixed.Headers == 0 {
		h.why = given
		return h
	}
	if lines[start].rule != "" {
		h.why = "its first line could not be read"
		return h
	}
	if n := recordsOf(fixed.Known, lines[start:]); n > 0 && fixed.Headers == nil {
		h.rows, h.names, h.why = n, joined(lines[start:start+n]), "it is a header of the feed"
		return h
	}
	if start > 0 && fixed.Skip == nil {
		if above, ok := c.raggedHeader(lines, start); ok {
			return above
		}
	}
	rows := c.headerRows(lines, start)
	if fixed.Headers != nil && *fixed.Headers > 0 {
		rows = min(*fixed.Headers, len(lines)-start)
	}
	yes := false
	yes, h.why, h.evidence = c.names(lines[start].cells, lines[start+rows:])
	if rows > 1 && yes && sum(h.evidence) >= 1 {
		h.why = fmt.Sprintf("the first %d records have names where the rows below have values", rows)
	}
	if wanted {
		yes, h.why = true, given
	}
	if !yes {
		return h
	}
	h.rows = rows
	h.names = joined(lines[start : start+rows])
	return h
}

// joined are the names in a header's records: those of a column joined with spaces.
func joined(lines []line) (names []string) {
	for i, l := range lines {
		if i > 0 && (l.isRule() || l.isLine()) {
			continue
		}
		for i, cell := range l.cells {
			if i == len(names) {
				names = append(names, "")
			}
			if names[i] != "" && len(cell.Text) > 0 {
				names[i] += " "
			}
			names[i] += string(cell.Text)
		}
	}
	return names
}

// fitNames makes the names fit rows of another width, where it is clear how: a
// name is missing before the first column of row names, or is there and empty once
// too often.
func fitNames(h header, width int) []string {
	names := h.names
	if h.shifted {
		return append([]string{""}, names...)
	}
	for len(names) > width && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	empty := -1
	for i, name := range names {
		if name == "" {
			if empty >= 0 {
				return names
			}
			empty = i
		}
	}
	if len(names) == width+1 && empty >= 0 {
		return slices.Delete(slices.Clone(names), empty, empty+1)
	}
	return names
}

// typedColumns are the classes of columns that hold nearly only numbers, dates or
// truths; classText of others.
func typedColumns(lines []line, width int) []class {
	counts := make([][classBoolean + 1]int, width)
	for _, l := range lines {
		if l.width() != width {
			continue
		}
		for i, cell := range l.cells {
			counts[i][classify(cell.Text)]++
		}
	}
	out := make([]class, width)
	for i, n := range counts {
		values := n[classText] + n[classNumber] + n[classDate] + n[classBoolean]
		for _, typed := range []class{classNumber, classDate, classBoolean} {
			if n[typed] > 0 && n[typed]*10 >= values*8 {
				out[i] = typed
			}
		}
	}
	return out
}

// emptyWhere says whether the cells of some columns are empty.
func (l *line) emptyWhere(some func(column int) bool) bool {
	for i, cell := range l.cells {
		if some(i) && len(bytes.TrimSpace(cell.Text)) > 0 {
			return false
		}
	}
	return true
}

// isRule says whether a record is a line of dashes that a program draws under the
// names.
func (l *line) isRule() bool {
	if l.width() < 2 || l.rule != "" {
		return false
	}
	short, empty := false, false
	for _, cell := range l.cells {
		text := bytes.Trim(cell.Text, " ")
		if len(bytes.Trim(text, "-=+")) > 0 {
			return false
		}
		empty = empty || len(text) == 0
		short = short || len(text) > 0 && len(text) < 3
	}
	return l.filled > 0 && !(empty && short)
}

func sameCells(a, b line) bool {
	return slices.EqualFunc(a.cells, b.cells, func(a, b Cell) bool { return bytes.Equal(a.Text, b.Text) })
}

// withoutAgain are the lines without those that are the first of others again, and the
// next of those behind it: headers amid the rows of files that were put together.
func withoutAgain(lines, first []line) (out []line) {
	again := 0
	for _, l := range lines {
		switch {
		case len(first) > 0 && sameCells(l, first[0]):
			again = 1
		case again > 0 && again < len(first) && sameCells(l, first[again]):
			again++
		default:
			again = 0
			out = append(out, l)
		}
	}
	return out
}

// isLine says whether a record of one cell is a line that a program draws under the names,
// whatever parts the cells of the others.
func (l *line) isLine() bool {
	if l.width() != 1 || l.rule != "" {
		return false
	}
	text := bytes.TrimSpace(l.cells[0].Text)
	return len(text) >= 3 && bytes.Contains(text, []byte("--")) && len(bytes.Trim(text, "-=+| ")) == 0
}

// headerRows is how many records from start on are the header, if there is one:
// further ones are the same again, or have names in the columns of values.
func (c *candidate) headerRows(lines []line, start int) int {
	most := min(maxHeaders, (len(lines)-start)/2)
	typed := typedColumns(withoutAgain(lines[start+most:], lines[start:start+most]), c.width)
	columns := 0
	for _, t := range typed {
		if t == classNumber || t == classDate {
			columns++
		}
	}
	rows := 1
	for n := 1; n < most; n++ {
		l := lines[start+n]
		if rows == n && l.isLine() && !l.gap {
			rows = n + 1
			continue
		}
		if l.width() != c.width || l.gap {
			break
		}
		if rows == n && columns > 0 && sameCells(l, lines[start]) {
			rows = n + 1
			continue
		}
		if rows == n && l.isRule() {
			rows = n + 1
			continue
		}
		unnamed := 0 // columns of values that have no name so far
		named, columnsNamed, dates, news := true, 0, 0, 0
		for i, t := range typed {
			if t != classNumber && t != classDate {
				continue
			}
			without := !slices.ContainsFunc(lines[start:start+n], func(l line) bool { return i < l.width() && len(l.cells[i].Text) > 0 })
			switch classify(l.cells[i].Text) {
			case classText:
				columnsNamed++
				if without {
					news++
				}
			case classEmpty:
				switch {
				case without:
					unnamed++
				case t == classDate:
					dates++ // which have no unit
				}
			default:
				named = false
			}
		}
		if rows == n && news > 0 && news == l.filled && named {
			rows = n + 1 // it names only what had no name
			continue
		}
		// Names below others have nothing in the columns that say what a row is of.
		below := columns < c.width && columnsNamed > 0 && l.emptyWhere(func(i int) bool { return typed[i] == classText })
		if columns >= 2 && named && (below || columnsNamed > 0 && columnsNamed*10 >= (columns-unnamed-dates)*8) {
			rows = n + 1
		}
	}
	return rows
}

// raggedHeader looks for the names in the line above the first row of the table's
// width: a delimiter more or fewer, or others than the rows have, do not keep it
// from being the header.
func (c *candidate) raggedHeader(lines []line, start int) (h header, ok bool) {
	at := start - 1
	l := lines[at]
	if lines[start].gap || l.rule != "" {
		return h, false
	}
	isName := func(cells []Cell) bool {
		filled := 0
		for _, cell := range cells {
			if cl := classify(cell.Text); cl == classNumber || cl == classDate || len(cell.Text) > 0 && !looksLikeName(cell.Text) {
				return false
			}
			if len(cell.Text) > 0 {
				filled++
			}
		}
		return filled >= 2 && filled*2 >= c.width
	}
	yes, _, evidence := c.names(lines[start].cells, lines[start+1:])
	typed := false
	for _, e := range evidence {
		typed = typed || e.Score <= -1
	}
	if yes && !typed && (c.width < 3 || l.width() < c.width-1 || l.width() > c.width+1) || sum(evidence) >= 1 {
		return h, false
	}
	if l.width() > 1 && isName(l.cells) {
		h = header{at: at, rows: 1, names: joined(lines[at : at+1]), evidence: evidence}
		h.why = fmt.Sprintf("the line above the rows has names, though %d of them and not %d", l.width(), c.width)
		if l.width() == c.width-1 && !c.lastEmpty(lines[start:]) {
			h.shifted = c.rowNames(l.cells, lines[start:])
		}
		return h, true
	}
	if l.width() > 1 || c.width < 2 {
		return h, false
	}
	raw := c.text[l.from-c.o.Offset : l.to-c.o.Offset]
	for _, delimiter := range delimiters {
		d := c.d
		d.Delimiter = delimiter
		if d.Validate() != nil || delimiter == c.d.Delimiter {
			continue
		}
		s := splitText(raw, d, Options{})
		row, err := s.Next()
		if err != nil || row.Rule != "" {
			continue
		}
		if other := s.sampled(row, true); other.width() == c.width && isName(other.cells) {
			h = header{at: at, rows: 1, names: joined([]line{other}), evidence: evidence}
			h.why = fmt.Sprintf("the line above the rows has as many names, parted by %q", delimiter)
			return h, true
		}
	}
	return h, false
}

// rowNames says whether the first column has no name because it numbers the rows,
// or names them, as programs for statistics write it.
func (c *candidate) rowNames(names []Cell, lines []line) bool {
	seen := map[string]bool{}
	numbers, quoted := true, true
	for _, l := range lines {
		if l.width() != c.width {
			continue
		}
		text := string(l.cells[0].Text)
		if text == "" || seen[text] {
			return false
		}
		seen[text] = true
		if n, err := strconv.Atoi(text); err != nil || n != len(seen) && n != len(seen)-1 {
			numbers = false
		}
		quoted = quoted && l.cells[0].Quoted
	}
	for _, name := range names {
		quoted = quoted && name.Quoted
	}
	if numbers || !quoted {
		return numbers
	}
	_, _, shifted := c.names(append([]Cell{{}}, names...), lines)
	_, _, same := c.names(append(slices.Clone(names), Cell{}), lines)
	return sum(shifted) > sum(same)
}

func sum(evidence []Evidence) (s float64) {
	for _, e := range evidence {
		s += e.Score
	}
	return s
}

// names says whether a record's cells name the columns of the rows below it, and
// why.
func (c *candidate) names(first []Cell, body []line) (yes bool, why string, evidence []Evidence) {
	like, numbers, text := true, false, 0
	seen := map[string]bool{}
	twice := 0
	for _, cell := range first {
		if cl := classify(cell.Text); cl == classNumber || cl == classDate {
			numbers = true
		} else if len(cell.Text) > 0 && !looksLikeName(cell.Text) {
			like = false
		}
		if len(cell.Text) > 0 {
			if seen[string(cell.Text)] {
				twice++
			}
			seen[string(cell.Text)] = true
			text++
		}
	}
	if text == 0 {
		return false, "all of its cells are empty", nil
	}
	if len(body) == 0 {
		if like && !numbers && text == len(first) && twice == 0 {
			return true, "there is no other record, and its cells look like names", nil
		}
		return false, "there is no other record, and its cells do not look like names", nil
	}
	// The header again, in a file that was put together of several, is no row.
	body = slices.DeleteFunc(slices.Clone(body), func(l line) bool { return sameCells(l, line{cells: first}) })
	if len(body) == 0 {
		return like && !numbers && twice == 0, "there is no other record than it", nil
	}
	series := c.series(first, body)
	total := 0.0
	for i, cell := range first {
		e := Evidence{Name: string(cell.Text[:min(len(cell.Text), shownText)])}
		e.Score, e.Why = c.columnEvidence(i, cell, body, series[i])
		total += e.Score
		if cl := classify(cell.Text); (cl == classNumber || cl == classDate) && e.Score <= 0 {
			like = false
		}
		if e.Score != 0 {
			evidence = append(evidence, e)
		}
	}
	switch {
	case total >= 1:
		return true, "its cells are unlike those below them", evidence
	case total <= -1:
		return false, "its cells are like those below them", evidence
	case like && twice <= len(first)/2:
		return true, "its cells look like names, and nothing below speaks against it", evidence
	}
	return false, "its cells do not look like names", evidence
}

// series says which cells of a record are numbers in equal steps, as years and
// months are as names, where the rows below have none.
func (c *candidate) series(cells []Cell, body []line) []bool {
	steps := func(cells []Cell) []bool {
		in := make([]bool, len(cells))
		number := func(i int) (int, bool) {
			if i >= len(cells) {
				return 0, false
			}
			n, err := strconv.Atoi(strings.TrimSpace(string(cells[i].Text)))
			return n, err == nil
		}
		for i := range cells {
			a, ok1 := number(i)
			b, ok2 := number(i + 1)
			d, ok3 := number(i + 2)
			if ok1 && ok2 && ok3 && b-a == d-b && b != a {
				in[i], in[i+1], in[i+2] = true, true, true
			}
		}
		return in
	}
	in := steps(cells)
	for _, l := range body[:min(len(body), 3)] {
		for i, also := range steps(l.cells) {
			if also && i < len(in) {
				in[i] = false
			}
		}
	}
	return in
}

// columnEvidence holds a column's first cell against the rest: above zero where
// it looks like its name, below where it looks like one more value.
func (c *candidate) columnEvidence(i int, first Cell, body []line, series bool) (score float64, why string) {
	var counts [classBoolean + 1]int
	values, same, short, long, years, digits := 0, 0, 1<<30, 0, 0, 0
	var value []byte // the one of all rows
	constant := true
	for _, l := range body {
		if i >= l.width() || l.width() != c.width && c.width > 1 {
			continue
		}
		text := l.cells[i].Text
		cl := classify(text)
		counts[cl]++
		if cl != classEmpty {
			values++
			n := utf8.RuneCount(text)
			short, long = min(short, n), max(long, n)
			if bytes.Equal(text, first.Text) {
				same++
			}
			if year(text) {
				years++
			}
			if bytes.ContainsAny(text, "0123456789") {
				digits++
			}
			if value == nil {
				value = text
			}
			constant = constant && bytes.Equal(text, value)
		}
	}
	if values == 0 {
		return 0, ""
	}
	is := classify(first.Text)
	if series {
		return 1, "one of a series of numbers, over none"
	}
	for _, typed := range []class{classNumber, classDate, classBoolean} {
		if counts[typed]*10 < values*9 {
			continue
		}
		switch {
		case is == typed && is == classNumber && year(first.Text) && years*10 < values:
			return 0.5, "a year over numbers"
		case is == typed:
			return -1, typed.String() + " over " + typed.plural()
		case is == classText:
			return 1, "text over " + typed.plural()
		case is == classNumber || is == classDate:
			return 0.5, is.String() + " over " + typed.plural() // a day over counts, a number over truths
		}
		return 0, ""
	}
	n := utf8.RuneCount(first.Text)
	switch {
	case is == classNumber || is == classDate:
		return -0.5, is.String() + " over text"
	case same > 0 && len(body) > 2:
		return -1, "the same as a cell below"
	case values >= 5 && constant && is == classText:
		return 0.5, "another text than that of all rows"
	case values >= 5 && digits == values && is == classText && !bytes.ContainsAny(first.Text, "0123456789"):
		return 0.5, "no digit over texts that all have some"
	case values >= 5 && short == long: // a column of codes
		if n == short {
			if bytes.EqualFold(first.Text, []byte("id")) {
				return 0, ""
			}
			return -1, "as long as each of the codes below"
		}
		if is == classText {
			return 0.5, "not as long as the codes below"
		}
	case values >= 3 && !looksLikeName(first.Text) && is == classText:
		return -0.5, "no name"
	}
	return 0, ""
}
