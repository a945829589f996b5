package csv

import (
	"bytes"

	"lakefeed/schema"
)

// Cell is one cell of a row: its text, without the quotes and escapes it was
// written with, and whether it was quoted. An unquoted empty cell is null, a
// quoted one is the empty string.
type Cell struct {
	Text   []byte
	Quoted bool
}

// A reading is how the quotes of a record are understood.
type reading uint8

const (
	strict  reading = iota // they are as they should be
	lenient                // where they are not, inner ones that do not close the cell are characters
	literal                // where they are not, all of the cell's are
	wrapped                // around the whole record, whose cells are in the text of the only one
)

// Cells appends the cells of the current row to dst. Their texts are valid until
// the next call of Next. It appends nothing for a reject.
func (s *Splitter) Cells(dst []Cell) []Cell {
	if s.row.Rule != "" || s.row.To == 0 {
		return dst
	}
	return s.cellsOf(dst, s.row.Raw, s.row.reading)
}

// cellsOf cuts a record.
func (s *Splitter) cellsOf(dst []Cell, raw []byte, how reading) []Cell {
	switch {
	case how >= byStray:
		return s.cellsByStray(dst, raw, how)
	case how == wrapped:
		return s.cellsOfWrapped(dst, raw)
	}
	delim := s.delims
	if s.d.Trailing {
		raw = bytes.TrimSuffix(raw, delim)
	}
	s.unescaped = s.unescaped[:0]
	for p := 0; ; {
		var c Cell
		switch {
		case s.opens(raw[p:]):
			c, p = s.cellWithQuote(raw, p, how)
		case s.d.Quote == 0 && s.d.Escape != 0:
			c.Text, p = s.escapedCell(raw, p)
		default:
			if n := s.indexDelim(raw[p:], delim); n >= 0 {
				c.Text, p = raw[p:p+n], p+n
			} else {
				c.Text, p = raw[p:], len(raw)
			}
		}
		dst = append(dst, c)
		if p == len(raw) {
			return dst
		}
		p += len(delim)
	}
}

// padding is how many spaces a cell may begin with before its quote.
func (s *Splitter) padding(text []byte) (n int) {
	if s.d.Padded {
		for n < len(text) && text[n] == ' ' {
			n++
		}
	}
	return n
}

// opens says whether a cell begins with a quote.
func (s *Splitter) opens(text []byte) bool {
	if s.d.Quote == 0 {
		return false
	}
	n := s.padding(text)
	return n < len(text) && text[n] == s.d.Quote
}

// cellWithQuote reads a cell at p that begins with a quote. next is the index of
// the delimiter behind it, or the end of the record.
func (s *Splitter) cellWithQuote(raw []byte, p int, how reading) (c Cell, next int) {
	at, q := len(s.unescaped), p+s.padding(raw[p:])
	if text, next, ok := s.quotedCell(raw, q+1, false); ok {
		return Cell{Text: text, Quoted: true}, next
	}
	s.unescaped = s.unescaped[:at]
	if how == lenient {
		if text, next, ok := s.quotedCell(raw, q+1, true); ok {
			return Cell{Text: text, Quoted: true}, next
		}
		s.unescaped = s.unescaped[:at]
	}
	if n := s.indexDelim(raw[p:], s.delims); n >= 0 {
		return Cell{Text: raw[p : p+n]}, p + n
	}
	return Cell{Text: raw[p:]}, len(raw)
}

// indexDelim finds the first delimiter. Cells are short: a plain loop beats the
// call of a vectorised search for the first bytes.
func (s *Splitter) indexDelim(b, delim []byte) int {
	if s.wide {
		return bytes.Index(b, delim)
	}
	for i, c := range b {
		if c == s.delim {
			return i
		}
		if i == 31 {
			if n := bytes.IndexByte(b[32:], s.delim); n >= 0 {
				return 32 + n
			}
			return -1
		}
	}
	return -1
}

// quotedCell reads a quoted cell whose text begins at p, and says whether it
// closes. Leniently, a quote that does not close it is a character; and so is the
// first of two before a delimiter, for the writer did not double them.
func (s *Splitter) quotedCell(raw []byte, p int, leniently bool) (text []byte, next int, ok bool) {
	quote, escape := s.d.Quote, s.d.Escape
	from, start := p, len(s.unescaped)
	for {
		k := bytes.IndexByte(raw[p:], quote)
		if k < 0 {
			k = len(raw) - p
		}
		if escape != 0 {
			if e := bytes.IndexByte(raw[p:p+k], escape); e >= 0 {
				e += p
				p = e + 1
				if p < len(raw) && (raw[p] == quote || raw[p] == escape) {
					s.unescaped = append(s.unescaped, raw[from:e]...)
					from = p
					p++
				}
				continue
			}
		}
		end := p + k
		if end == len(raw) {
			return nil, 0, false
		}
		if end+1 < len(raw) && raw[end+1] == quote {
			if leniently && end > from {
				if next, ok := s.cellEnd(raw, end+2); ok {
					end++
					return s.cellText(raw, from, end, start), next, true
				}
			}
			s.unescaped = append(s.unescaped, raw[from:end+1]...)
			p = end + 2
			from = p
			continue
		}
		if next, ok := s.cellEnd(raw, end+1); ok {
			return s.cellText(raw, from, end, start), next, true
		}
		if !leniently {
			return nil, 0, false
		}
		p = end + 1
	}
}

// cellText is a quoted cell's text: what was unescaped of it, and raw[from:end].
func (s *Splitter) cellText(raw []byte, from, end, start int) []byte {
	if len(s.unescaped) == start {
		return raw[from:end]
	}
	s.unescaped = append(s.unescaped, raw[from:end]...)
	return s.unescaped[start:len(s.unescaped):len(s.unescaped)]
}

// cellEnd says whether a cell ends at p or behind the spaces there, and where.
func (s *Splitter) cellEnd(raw []byte, p int) (next int, ok bool) {
	for ; ; p++ {
		if p == len(raw) || hasPrefix(raw[p:], s.d.Delimiter) {
			return p, true
		}
		if raw[p] != ' ' {
			return 0, false
		}
	}
}

// escapedCell reads a cell of a dialect without quotes, in which the escape
// stands before a delimiter or itself.
func (s *Splitter) escapedCell(raw []byte, p int) (text []byte, next int) {
	delim := s.delims
	from, start := p, len(s.unescaped)
	for {
		n := s.indexDelim(raw[p:], delim)
		if n < 0 {
			n = len(raw) - p
		}
		if e := bytes.IndexByte(raw[p:p+n], s.d.Escape); e >= 0 {
			e += p
			p = e + 1
			switch rest := raw[p:]; {
			case bytes.HasPrefix(rest, delim):
				s.unescaped = append(s.unescaped, raw[from:e]...)
				from, p = p, p+len(delim)
			case len(rest) > 0 && rest[0] == s.d.Escape:
				s.unescaped = append(s.unescaped, raw[from:e]...)
				from, p = p, p+1
			}
			continue
		}
		next = p + n
		if len(s.unescaped) == start {
			return raw[from:next], next
		}
		s.unescaped = append(s.unescaped, raw[from:next]...)
		return s.unescaped[start:len(s.unescaped):len(s.unescaped)], next
	}
}

// AppendRFC4180 appends the current row as one RFC 4180 record: UTF-8, commas,
// double quotes, no line end. A row that already is one is copied as it stands.
// Else a cell is quoted where its text asks for it, and where it was quoted and
// would be taken for null otherwise. A row of one null cell appends nothing. Of
// a reject it appends Raw.
func (s *Splitter) AppendRFC4180(dst []byte) []byte {
	raw := s.row.Raw
	if s.row.Rule != "" {
		return append(dst, raw...)
	}
	if s.d.Trailing {
		raw = bytes.TrimSuffix(raw, s.delims)
	}
	if s.row.plain {
		return append(dst, raw...)
	}
	if s.row.reading == strict && !s.wide && s.d.Escape == 0 && s.ends == AnyLineEnd && bytes.IndexByte(raw, '"') < 0 && bytes.IndexByte(raw, s.d.Quote) < 0 &&
		(s.delim == ',' || bytes.IndexByte(raw, ',') < 0) {
		at := len(dst)
		dst = append(dst, raw...)
		if s.delim != ',' {
			for i, c := range dst[at:] {
				if c == s.delim {
					dst[at+i] = ','
				}
			}
		}
		return dst
	}
	s.cells = s.Cells(s.cells[:0])
	for i, c := range s.cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = schema.AppendCSVCell(dst, c.Text, c.Quoted)
	}
	return dst
}
