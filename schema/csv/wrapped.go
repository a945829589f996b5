package csv

import (
	"bytes"
	"slices"
)

// wraps says whether a record is one quoted cell whose text is a row of the table: a
// program took the line for one cell, quoted it, and doubled the quotes in it. Where none
// of the row's own cells is quoted, it is told from a sentence, which has a space behind
// each delimiter.
func (s *Splitter) wraps(raw []byte) bool {
	quote, last := s.d.Quote, len(raw)-1
	if !s.unwrap || s.width < 2 || quote == 0 || s.d.Escape != 0 || last < 3 || raw[0] != quote || raw[last] != quote {
		return false
	}
	k := 1
	for k < min(last, 16) && raw[k] != quote { // most cells are short, and a search costs its call
		k++
	}
	if raw[k] != quote {
		k += bytes.IndexByte(raw[k:], quote)
	}
	if k < last && raw[k+1] != quote { // a row of quoted cells
		return false
	}
	// The whole record is the cell, and a delimiter in it is none of the record's.
	if s.count(raw, strict) != 1 || s.count(raw, wrapped) != s.width {
		return false
	}
	quoted, dense := false, false
	for i, c := range s.cells {
		quoted = quoted || c.Quoted
		dense = dense || i > 0 && (len(c.Text) == 0 || c.Text[0] != ' ')
		if !c.Quoted && indexLineEnd(c.Text) >= 0 {
			return false
		}
	}
	return quoted || dense && bytes.IndexByte(s.delims, ' ') < 0
}

// cellsOfWrapped cuts the row that the text of a record's only cell is.
func (s *Splitter) cellsOfWrapped(dst []Cell, raw []byte) []Cell {
	at := len(dst)
	if dst = s.cellsOf(dst, raw, strict); len(dst) != at+1 || !dst[at].Quoted {
		return dst
	}
	s.inner = append(s.inner[:0], dst[at].Text...)
	return s.cellsOf(dst[:at], s.inner, strict)
}

// The delimiters of tables whose lines may have been wrapped in quotes.
const wrappedDelimiters = ",;\t|"

// unwrap says whether lines of the sample are rows that were wrapped in quotes, and then
// has the candidate cut so: with these, nine of ten lines have one width. Quotes that were
// doubled around cells tell them from texts with delimiters, or the first line, which has
// as many texts.
func (c *candidate) unwrap() bool {
	if len(c.d.Delimiter) > 1 || bytes.IndexByte([]byte(wrappedDelimiters), c.d.Delimiter[0]) < 0 || c.d.Quote != '"' || c.d.Escape != 0 {
		return false
	}
	s := newSplitter(c.d, Options{})
	quoted := 0
	var rows []line // the wrapped ones, without their cells' texts
	for _, l := range c.lines {
		if l.rule != "" || l.width() != 1 || !l.cells[0].Quoted || bytes.IndexByte(l.cells[0].Text, s.delim) < 0 {
			continue
		}
		s.cells = s.cellsOf(s.cells[:0], l.cells[0].Text, strict)
		rows = append(rows, line{cells: make([]Cell, len(s.cells))})
		for _, cell := range s.cells {
			if cell.Quoted {
				quoted++
				break
			}
		}
	}
	if len(rows) == 0 {
		return false
	}
	other := *c
	other.o.Unwrap, other.o.Width = true, usualWidth(rows)
	few := len(rows) < 2 || len(rows)*10 < len(c.lines)
	if few && (quoted == 0 || other.o.Width != c.width) {
		return false
	}
	if !other.read() || other.width != other.o.Width {
		return false
	}
	wide := 0
	for i := range other.lines {
		if other.lines[i].width() == other.width {
			wide++
		}
	}
	first := other.lines[0]
	named := first.width() == other.width && !slices.ContainsFunc(first.cells, func(cell Cell) bool { return classify(cell.Text) != classText })
	if wide*10 < len(other.lines)*9 || quoted == 0 && !named {
		return false
	}
	*c = other
	return true
}
