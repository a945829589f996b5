package csv

import (
	"bytes"
	"slices"
)

// Tail is a range of bytes behind a table that holds no rows of it, counted as
// Row.From is. The zero Tail is none. It has an end, so that rows which are
// appended to the object later are rows.
type Tail struct {
	From int64  `json:"from,omitempty"`
	To   int64  `json:"to,omitempty"`
	Rule string `json:"rule,omitempty"` // Footer or SecondTable
}

// holds says whether a line that begins at offset is in the tail.
func (t Tail) holds(offset int64) bool { return offset < t.To && offset >= t.From }

// TailBytes is how much of the end of an object FindTail should be given.
const TailBytes = 64 << 10

// fewestRows is how many rows FindTail wants before remarks, to know that it has
// not begun amid a quoted cell.
const fewestRows = 10

// FindTail finds the remarks behind a table, or another table, in the last bytes of its
// object, which begin at offset: of an object that is longer than the sample in which
// the table was found. The zero Tail says that there are none.
func (f Found) FindTail(end []byte, offset int64) Tail {
	if !f.Dialect.normal().ByteOffsets() {
		return Tail{}
	}
	return f.findTail(end, offset)
}

// findTail is FindTail of text as UTF-8, whatever the dialect says.
func (f Found) findTail(end []byte, offset int64) Tail {
	d := f.Dialect.normal()
	if f.Width < 2 || offset < f.Body {
		return Tail{}
	}
	// It may begin amid a line.
	o := f.Options()
	o.Line, o.Tail, o.SeekTail, o.Known, o.Unwrap = 1, Tail{}, false, nil, false
	first := newSplitter(d, o).indexLineEnd(end)
	if first < 0 {
		return Tail{}
	}
	o.Offset = offset + int64(first)
	c := candidate{d: d, table: table{text: end[first:], o: o}}
	if !c.read() {
		return Tail{}
	}
	c.unwrap()
	c.width = f.Width
	lines := c.all()
	// As many rows of the table have to stand before it.
	behindTable := func(at int) bool {
		rows := 0
		for _, l := range lines[:max(at, 0)] {
			if l.width() == f.Width {
				rows++
			}
		}
		return rows >= fewestRows && rows*10 >= at*9
	}
	to := offset + int64(len(end))
	if at := c.secondTable(lines, f.Columns, f.Known); behindTable(at) {
		return Tail{From: lines[at].from, To: to, Rule: SecondTable}
	}
	if at := c.footer(lines, 0); behindTable(at) {
		return Tail{From: lines[at].from, To: to, Rule: Footer}
	}
	return Tail{}
}

// mostRemarks is how many remarks may stand behind a table.
const mostRemarks = 200

// footer finds the line behind which there are only remarks, -1 where there is
// none: lines of one filled cell, a text, of which the rows before have none or
// hardly any.
func (c *candidate) footer(lines []line, body int) int {
	if c.width < 2 || len(lines) <= body {
		return -1
	}
	remarks := 0
	last := c.withCells(lines[max(body, len(lines)-mostRemarks):])
	typed := typedColumns(last, c.width)
	sentence := c.sentences(last, typed)
	remark := func(l line) bool {
		switch {
		case l.filled == 0:
			return true
		case sentence(l):
			remarks++
			return true
		case l.rule != "" || l.filled > 1 || l.width() > 1 && (c.width == 2 || l.width() != c.width):
			return false
		}
		cells := c.cellsAt(l)
		if classify(cells[0].Text) != classText || c.isStray(l, typed) {
			return false
		}
		remarks++
		return true
	}
	at := len(lines)
	for at > body && remark(lines[at-1]) {
		if at--; remarks > mostRemarks {
			return -1
		}
	}
	// What stands behind the last blank line, and is remarks for the most part, is
	// remarks: one may have as many delimiters as a row.
	for i, others := at-1, 0; i > body && others <= remarks; i-- {
		if !remark(lines[i]) {
			if others++; remarks > mostRemarks {
				break
			}
		}
		if lines[i].gap && others <= remarks {
			at = i
			break
		}
	}
	if remarks == 0 || at == body {
		if pairs := c.remarksOfPairs(lines, body); pairs >= 0 {
			return pairs
		}
		return c.remarksOfCells(lines, body)
	}
	sparse := 0
	body = max(body, at-10*mostRemarks)
	for _, l := range lines[body:at] {
		if l.filled > 0 && remark(l) {
			sparse++
		}
	}
	if sparse*50 > at-body && !((lines[at].gap || lines[at].filled == 0) && c.says(lines[at:]) && !c.says(lines[body:at])) {
		return -1
	}
	return at
}

// says whether one of the lines of one filled cell is a remark, and no part of the table
// that has a title: it has a colon, or ends as a sentence.
func (c *candidate) says(lines []line) bool {
	return slices.ContainsFunc(lines, func(l line) bool {
		if l.filled != 1 {
			return false
		}
		text := c.cellsAt(l)[0].Text
		return bytes.IndexByte(text, ':') >= 0 || traitsOf(text)&traitStop != 0
	})
}

// sentences tells lines that are sentences from rows: a space stands behind each
// delimiter, as in none of the rows, and the columns of numbers and dates have texts.
func (c *candidate) sentences(above []line, typed []class) func(line) bool {
	rows := 0
	for _, l := range above {
		if l.width() == c.width {
			rows++
		}
	}
	spaced := slices.ContainsFunc(above[:len(above)*9/10], func(l line) bool { return l.isSentence() })
	if spaced || rows < fewestRows {
		return func(line) bool { return false }
	}
	return func(l line) bool {
		if l.rule != "" || l.filled < 2 || l.filled != l.width() {
			return false
		}
		l.cells = c.cellsAt(l)
		texts, words := 0, false
		for i, cell := range l.cells {
			is := classify(cell.Text)
			words = words || bytes.ContainsAny(bytes.TrimSpace(cell.Text), " :")
			if i == 0 && is != classText {
				return false
			}
			if i >= len(typed) || typed[i] == classText {
				continue
			}
			if is != classText {
				return false
			}
			texts++
		}
		return texts > 0 && words && l.isSentence()
	}
}

// isStray says whether a line without the table's delimiter is a row by another one, with a
// value in a column of such.
func (c *candidate) isStray(l line, typed []class) bool {
	if l.width() != 1 || c.width < 3 {
		return false
	}
	raw := bytes.TrimRight(c.text[l.from-c.o.Offset:l.to-c.o.Offset], "\r\n")
	s := newSplitter(c.d, Options{Width: c.width})
	how := s.strayReading(raw)
	if how == strict {
		return false
	}
	for i, cell := range s.cellsByStray(nil, raw, how) {
		if t := typed[i]; (t == classNumber || t == classDate) && classify(cell.Text) == t {
			return true
		}
	}
	return false
}

// remarksOfPairs finds the empty line, -1 where there is none, behind which there are only
// lines of a table of two columns with a text in the first, and one that says something, as
// no row does.
func (c *candidate) remarksOfPairs(lines []line, body int) int {
	at := len(lines)
	for at > body && len(lines)-at < mostTitles && lines[at-1].filled <= 1 && (lines[at-1].filled == 0 || classify(c.cellsAt(lines[at-1])[0].Text) == classText) {
		at--
	}
	for at < len(lines) && lines[at].filled > 0 && !lines[at].gap {
		at++
	}
	if c.width != 2 || at == len(lines) || at-body < fewestRows || !c.says(lines[at:]) || c.says(lines[body:at]) {
		return -1
	}
	return at
}

// remarksUnderTitle says whether lines are remarks in few cells, as numbered ones are: a
// text of one cell, and then none that is as wide as the table, whose rows all are.
func (c *candidate) remarksUnderTitle(lines, above []line) bool {
	if c.width < 3 || len(lines) < 2 || lines[0].width() != 1 || classify(c.cellsAt(lines[0])[0].Text) != classText {
		return false
	}
	other := func(l line) bool { return l.width() != c.width }
	return !slices.ContainsFunc(above, other) && !slices.ContainsFunc(lines, func(l line) bool { return !other(l) || l.width() > 2 })
}

// remarksOfCells finds the blank line, -1 where there is none, behind which there are
// only a few lines of words with a text, or nothing, in each column of numbers or dates:
// remarks that have delimiters.
func (c *candidate) remarksOfCells(lines []line, body int) int {
	at := len(lines) - 1
	for at > body && !lines[at].gap {
		at--
	}
	if at <= body || len(lines)-at > mostTitles || at-body < len(lines)-at {
		return -1
	}
	above := c.withCells(lines[max(body, at-mostRemarks):at])
	if c.remarksUnderTitle(lines[at:], above) {
		return at
	}
	typed := typedColumns(above, c.width)
	texts := 0
	for _, l := range lines[at:] {
		cells := c.cellsAt(l)
		if l.filled > 0 && !bytes.ContainsAny(bytes.TrimSpace(cells[0].Text), " :") {
			return -1
		}
		for i, cell := range cells {
			if i >= len(typed) || typed[i] != classNumber && typed[i] != classDate {
				continue
			}
			switch classify(cell.Text) {
			case classText:
				texts++
			case classEmpty:
			default:
				return -1
			}
		}
	}
	if texts == 0 {
		return -1
	}
	return at
}
