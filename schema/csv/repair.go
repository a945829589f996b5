package csv

import (
	"bytes"
)

// repair reads a record of which the quotes do not pair. It is the first line
// where that has as many cells as the table has columns in one of the two ways to
// understand the quotes; else the lines up to a quote that closes, where they
// have. It says false where more bytes are needed to tell.
func (s *Splitter) repair(view []byte, found finding, atEnd, atLimit bool) (_ *Row, _ error, ok bool) {
	first, ok := s.firstLine(view, atEnd)
	switch {
	case !ok && !atLimit:
		return nil, nil, false
	case !ok || len(first) > s.max:
		row, err := s.rejectLine(view, found, OpenQuote)
		return row, err, true
	}
	how := lenient
	if s.width > 0 {
		if n := s.count(first, lenient); n != s.width {
			if s.count(first, literal) == s.width {
				how = literal
			} else {
				window := view[s.pos:min(len(view), s.pos+repairBytes)]
				if !atEnd && !atLimit && len(window) < repairBytes {
					return nil, nil, false
				}
				end, known := s.lenientEnd(window, atEnd && s.pos+len(window) == len(view))
				if known && end <= s.max && s.count(window[:end], lenient) == s.width {
					s.front = s.frontier(view, found)
					s.spanned, s.loose = true, true
					end += s.pos
					return s.emit(end, s.behindLineEnd(view, end), lenient), nil, true
				}
			}
		}
	}
	// A last line without a line end may be all that is left of a file that was cut.
	cut := atEnd && s.pos+len(first) == len(view)
	if found != fault && (cut || s.width == 0 || s.count(first, how) != s.width) {
		row, err := s.rejectLine(view, found, OpenQuote)
		return row, err, true
	}
	s.front = s.frontier(view, found)
	return s.emitLine(first, how), nil, true
}

// count is how many cells a record has.
func (s *Splitter) count(raw []byte, how reading) int {
	s.cells = s.cellsOf(s.cells[:0], raw, how)
	return len(s.cells)
}

// firstLine is the line at pos. It says false where the view does not hold its
// line end.
func (s *Splitter) firstLine(view []byte, atEnd bool) (_ []byte, ok bool) {
	n := s.indexLineEnd(view[s.pos:])
	switch {
	case n < 0:
		return view[s.pos:], atEnd
	case view[s.pos+n] == '\r' && s.pos+n+1 == len(view) && !atEnd:
		return nil, false
	}
	return view[s.pos : s.pos+n], true
}

// emitLine returns the line at pos as the row.
func (s *Splitter) emitLine(line []byte, how reading) *Row {
	s.spanned, s.loose = false, true
	end := s.pos + len(line)
	return s.emit(end, s.behindLineEnd(s.buf, end), how)
}

// lenientEnd finds the end of the record that begins with window, read leniently.
// It is not known where the window has no line end behind the record.
func (s *Splitter) lenientEnd(window []byte, atEnd bool) (end int, known bool) {
	for p := 0; ; {
		if q := p + s.padding(window[p:]); q < len(window) && window[q] == s.d.Quote {
			if k, ok := s.lenientClose(window, q+1); ok {
				p = k
			}
		}
		nl := s.indexLineEnd(window[p:])
		n := bytes.Index(window[p:], s.delims)
		switch {
		case n >= 0 && (nl < 0 || n < nl):
			p += n + len(s.delims)
		case nl >= 0 && (p+nl+1 < len(window) || atEnd):
			return p + nl, true
		default:
			return len(window), atEnd
		}
	}
}

// lenientClose finds the first quote at or behind p that closes a cell, and gives
// the place behind it.
func (s *Splitter) lenientClose(window []byte, p int) (next int, ok bool) {
	for from := p; ; {
		k := bytes.IndexByte(window[p:], s.d.Quote)
		if k < 0 {
			return 0, false
		}
		if e := -1; s.d.Escape != 0 {
			if e = bytes.IndexByte(window[p:p+k], s.d.Escape); e >= 0 {
				p += e + 1
				if p < len(window) && (window[p] == s.d.Quote || window[p] == s.d.Escape) {
					p++
				}
				continue
			}
		}
		k += p
		if s.closes(window, k+1, true) == whole {
			return k + 1, true
		}
		if k+1 < len(window) && window[k+1] == s.d.Quote {
			if k > from && s.closes(window, k+2, true) == whole {
				return k + 2, true
			}
			k++
			from = k + 1
		}
		p = k + 1
	}
}
