package csv

import (
	"bytes"
	"fmt"
	"slices"
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
	if rows > 1 && !yes { // numbers of channels, over what they measure
		if below, why, evidence := c.names(lines[start+rows-1].cells, lines[start+rows:]); below && sum(evidence) >= 2 {
			yes, h.why, h.evidence = true, why, evidence
		}
	}
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
// whatever parts the cells of the others, or only the mark of a comment.
func (l *line) isLine() bool {
	if l.width() != 1 || l.rule != "" {
		return false
	}
	text := bytes.TrimSpace(l.cells[0].Text)
	if len(bytes.Trim(text, "#")) == 0 {
		return len(text) > 0
	}
	return len(text) >= 3 && bytes.Contains(text, []byte("--")) && len(bytes.Trim(text, "-=+| ")) == 0
}

// unnamed says whether a column has no name in a header's records.
func unnamed(records []line, column int) bool {
	return !slices.ContainsFunc(records, func(l line) bool { return column < l.width() && len(l.cells[column].Text) > 0 })
}

// belowGroups says whether a record has what the records above it leave out, as names
// below groups have: something in a column of values without a name, nothing in columns of
// texts that have one, and a text, or a column of texts that it leaves empty.
func belowGroups(l line, above []line, typed []class) bool {
	fills, text := false, false
	for i, t := range typed {
		empty := len(bytes.TrimSpace(l.cells[i].Text)) == 0
		switch {
		case t == classText && !empty && !unnamed(above, i):
			return false
		case t != classText && !empty:
			fills = fills || unnamed(above, i)
		}
		text = text || !empty && classify(l.cells[i].Text) == classText || empty && t == classText
	}
	return fills && text
}

// onlyFirst says whether the first of several cells is a text, and the only one that is
// filled.
func onlyFirst(l line) bool {
	return l.width() > 1 && l.filled == 1 && classify(l.cells[0].Text) == classText
}

// namesUnnamed says whether a record has a text in every column that has no name in the
// records above it, one at least, and nothing in the columns of values, some of which have
// a name. The first column may have none: it names the rows.
func namesUnnamed(l line, above []line, typed []class) bool {
	news, values := 0, 0
	for i, cell := range l.cells {
		empty, nameless := len(bytes.TrimSpace(cell.Text)) == 0, unnamed(above, i)
		switch {
		case nameless && (i == 0 || empty || classify(cell.Text) != classText), !empty && typed[i] != classText && !nameless:
			return false
		case nameless:
			news++
		case typed[i] != classText:
			values++
		}
	}
	return news > 0 && values > 0
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
		if rows == n && n > 1 && unnamed(lines[start:start+n], 0) && onlyFirst(l) && !slices.ContainsFunc(lines[start+n+1:], onlyFirst) {
			rows = n + 1 // the name of the rows' own column
			continue
		}
		if rows == n && namesUnnamed(l, lines[start:start+n], typed) {
			rows = n + 1
			continue
		}
		levels := belowGroups(l, lines[start:start+n], typed)
		nameless := 0 // columns of values that have no name so far
		named, columnsNamed, dates, news := true, 0, 0, 0
		for i, t := range typed {
			if t != classNumber && t != classDate {
				continue
			}
			without := unnamed(lines[start:start+n], i)
			switch is := classify(l.cells[i].Text); {
			case is == classText, is == classBoolean, // as n is a name
				levels && year(l.cells[i].Text):
				columnsNamed++
				if without {
					news++
				}
			case is == classEmpty:
				switch {
				case without:
					nameless++
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
		below := (columns < c.width || rows == n && n > 1) && columnsNamed > 0 && l.emptyWhere(func(i int) bool { return typed[i] == classText })
		if columns >= 2 && named && (below || columnsNamed > 0 && columnsNamed*10 >= (columns-nameless-dates)*8) {
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
	marked := l.width() == c.width+1 && isMark(string(l.cells[0].Text))
	if l.width() > 1 && (isName(l.cells) || marked && isName(l.cells[1:])) {
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
