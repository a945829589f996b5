package csv

import (
	"bytes"
)

// behindLineEnd is the place behind the line end at end.
func (s *Splitter) behindLineEnd(view []byte, end int) int {
	switch {
	case end == len(s.buf):
		return end
	case view[end] == '\r' && end+1 < len(view) && view[end+1] == '\n':
		return end + 2
	}
	return end + 1
}

// lineEnd finds the first line end at or behind p, len(view) where there is none.
func (c *scanner) lineEnd(view []byte, p int) int {
	if c.ends == AnyLineEnd {
		return min(c.found.lf.next(view, '\n', p), c.found.cr.next(view, '\r', p))
	}
	for from := p; ; p++ {
		p = c.found.lf.next(view, '\n', p)
		switch {
		case p == len(view):
			return p
		case p > from && view[p-1] == '\r':
			return p - 1
		case c.ends == LF:
			return p
		}
	}
}

// blankBytes is how many spaces a blank line may have.
const blankBytes = 4 << 10

// blankLine is the length of the line at pos where that holds nothing but spaces and
// tabs, with its line end if it has ended; 0 where it holds more. It is not known where
// the view ends before.
func (s *Splitter) blankLine() (n int, ended, known bool) {
	view := s.buf[s.pos:min(len(s.buf), s.pos+blankBytes)]
	for i, c := range view {
		switch {
		case s.blanks[c]:
		case c == '\n' || c == '\r':
			n, known := s.lineEndLen(s.buf[s.pos+i:], s.eof && !s.hold)
			if n == 0 || !known {
				return 0, false, known
			}
			return i + n, true, true
		default:
			return 0, false, true
		}
	}
	if len(view) == blankBytes {
		return 0, false, true
	}
	return len(view), false, s.eof && !s.hold
}

// lineEndLen is the length of the line end that b begins with, 0 where it begins
// with none. It is not known while the byte behind a CR is not.
func (c *scanner) lineEndLen(b []byte, atEnd bool) (n int, known bool) {
	alone := c.ends == AnyLineEnd
	switch {
	case b[0] == '\n':
		if c.ends == CRLF {
			return 0, true
		}
		return 1, true
	case b[0] != '\r':
		return 0, true
	case len(b) > 1 && b[1] == '\n':
		return 2, true
	case !alone:
		return 0, len(b) > 1 || atEnd
	}
	return 1, len(b) > 1 || atEnd
}

// indexLineEnd finds the first line end, -1 where there is none. It looks at
// little more than the bytes before it.
func (c *scanner) indexLineEnd(b []byte) int {
	if c.ends == AnyLineEnd {
		return indexLineEnd(b)
	}
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n')
		switch {
		case n < 0:
			return -1
		case at+n > 0 && b[at+n-1] == '\r':
			return at + n - 1
		case c.ends == LF:
			return at + n
		}
		at += n + 1
	}
}

// indexLineEnd finds the first LF or CR, -1 where there is none. It looks at
// little more than the bytes before it.
func indexLineEnd(b []byte) int {
	const window = 4 << 10
	for at := 0; at < len(b); at += window {
		w := b[at:min(at+window, len(b))]
		lf := bytes.IndexByte(w, '\n')
		if lf >= 0 {
			w = w[:lf]
		}
		if cr := bytes.IndexByte(w, '\r'); cr >= 0 {
			return at + cr
		}
		if lf >= 0 {
			return at + lf
		}
	}
	return -1
}

// countBreaks counts the line ends in b; CRLF is one.
func countBreaks(b []byte) int {
	n := bytes.Count(b, []byte{'\n'})
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return n
		}
		if b = b[i+1:]; len(b) == 0 || b[0] != '\n' {
			n++
		}
	}
}
