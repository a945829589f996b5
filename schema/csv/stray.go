package csv

import "bytes"

// strayDelimiters are those by which a row may be parted that has not the table's:
// it was typed in by hand, or comes from another file.
var strayDelimiters = [...]byte{',', ';', '\t', '|', ' '}

// byStray is the reading of a record by the first of strayDelimiters; the others
// follow.
const byStray = wrapped + 1

// strayReading is how a record without a delimiter is read in a table of several
// columns: by another delimiter, where that gives as many cells as the table has columns.
// Texts have as many words by chance, so by spaces some of the cells have to be
// quoted, and some be numbers or dates in digits.
func (s *Splitter) strayReading(raw []byte) reading {
	if s.d.Quote == 0 && s.d.Escape != 0 {
		return strict
	}
	for i, delimiter := range strayDelimiters {
		if delimiter == s.d.Quote || delimiter == s.d.Escape || bytes.IndexByte(raw, delimiter) < 0 {
			continue
		}
		how := byStray + reading(i)
		if s.count(raw, how) != s.width {
			continue
		}
		if delimiter != ' ' {
			return how
		}
		quoted, values := false, false
		for _, c := range s.cells {
			quoted = quoted || c.Quoted
			values = values || !c.Quoted && bytes.ContainsAny(c.Text, "0123456789") && len(bytes.Trim(c.Text, "0123456789.,+-/:%")) == 0
		}
		if quoted && values {
			return how
		}
	}
	return strict
}

// cellsByStray cuts a record by a stray delimiter.
func (s *Splitter) cellsByStray(dst []Cell, raw []byte, how reading) []Cell {
	d, delim, delims, wide := s.d, s.delim, s.delims, s.wide
	s.delim, s.wide = strayDelimiters[how-byStray], false
	s.delims = strayText[how-byStray : how-byStray+1]
	s.d.Delimiter = strayNames[how-byStray]
	s.d.Padded = false
	dst = s.cellsOf(dst, raw, strict)
	s.d, s.delim, s.delims, s.wide = d, delim, delims, wide
	return dst
}

var (
	strayText  = strayDelimiters[:]
	strayNames = [...]string{",", ";", "\t", "|", " "}
)
