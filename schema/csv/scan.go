package csv

import "bytes"

// What a scan has found.
type finding uint8

const (
	more  finding = iota // the record does not end within the view
	whole                // the record's end
	open                 // the object ends inside a quoted cell
	fault                // a quote inside a quoted cell neither closes it nor is doubled
)

// A scanner is the state of reading one record, kept while more bytes are
// fetched. All of it depends on the record's bytes only, never on how they came.
type scanner struct {
	from   int  // where the record begins
	p      int  // the next byte to look at
	quoted bool // p is inside a quoted cell
	cell   bool // p is where a cell begins; only kept for delimiters of several bytes
	loose  bool // a stray quote, or spaces behind a closing quote, were seen
	escape bool // an escape was seen
	// spanned says that a quoted cell had a line break.
	spanned bool
	jumped  bool
	ends    string // Dialect.LineEnd
	found   marks
	front   frontier
}

// marks are where the next byte of each special kind is.
type marks struct{ lf, cr, quote, escape mark }

// A mark remembers a search: none of the bytes from since up to at is the one
// sought; the one at at may be it, or is only where the search goes on. So every
// byte is looked at about once for each kind.
type mark struct{ since, at int }

// next finds the first c at or behind p in view, len(view) where there is none.
func (m *mark) next(view []byte, c byte, p int) int {
	i := m.at
	if p > i || p < m.since {
		i, m.since = p, p
	}
	if i < len(view) && view[i] != c {
		if n := bytes.IndexByte(view[i:], c); n >= 0 {
			i += n
		} else {
			i = len(view)
		}
	}
	m.at = i
	return i
}

// A frontier is what a record that turned out to be a reject has taught about
// the lines behind its first: each of its line ends before end was inside a
// quoted cell. So when a later record, too, is inside a quoted cell at one of
// them, it goes on like the first, and may jump to where that was left. Without
// this a file in which every line seems to leave a quote open would be read
// MaxRecord bytes ahead for every line.
type frontier struct {
	end    int
	p      int
	quoted bool
	cell   bool
	fault  bool // the quote at p is one
}

// start begins a record at from.
func (c *scanner) start(from int) {
	c.from, c.p = from, from
	c.quoted, c.cell, c.loose, c.escape, c.spanned, c.jumped = false, true, false, false, false, false
}

// shift follows the buffer when its bytes move down.
func (c *scanner) shift(by int) {
	for _, i := range []*int{&c.from, &c.p, &c.front.end, &c.front.p} {
		*i = max(*i-by, 0)
	}
	for _, m := range []*mark{&c.found.lf, &c.found.cr, &c.found.quote, &c.found.escape} {
		m.since, m.at = max(m.since-by, 0), max(m.at-by, 0)
	}
}

// scan goes on reading the record, and gives the index of its line end. view is
// all of the buffer that may belong to the record, and atEnd says that nothing
// follows it.
func (s *Splitter) scan(view []byte, atEnd bool) (end int, f finding) {
	quote, p := s.d.Quote, s.p
	for {
		if s.quoted {
			switch s.scanQuoted(view, atEnd) {
			case fault:
				return s.p, fault
			case more:
				if atEnd {
					return len(view), open
				}
				return 0, more
			}
			p = s.p
			if p < len(view) && view[p] == '\n' && s.ends != CRLF { // many records end in a quoted cell
				return p, whole
			}
			continue
		}
		nl := s.lineEnd(view, p)
		q := len(view)
		switch {
		case quote == 0:
		case s.wide:
			q, p = s.openingWide(view, p, nl, atEnd)
		default:
			q = s.found.quote.next(view, quote, p)
		}
		if q >= nl {
			s.p = p
			if !atEnd && (nl == len(view) || view[nl] == '\r' && nl+1 == len(view)) {
				return 0, more
			}
			return nl, whole
		}
		p = q + 1
		switch {
		case q == s.from || s.wide || view[q-1] == s.delim:
			s.p, s.quoted = p, true
		case s.d.Padded && view[q-1] == ' ' && s.padded(view, q):
			s.p, s.quoted = p, true
		default:
			s.loose = true
		}
	}
}

// padded says whether a cell begins with the spaces before q.
func (s *Splitter) padded(view []byte, q int) bool {
	for q > s.from && view[q-1] == ' ' {
		q--
	}
	return q == s.from || view[q-1] == s.delim
}

// openingWide finds the quote that opens a cell between p and the line end at
// nl, where the delimiter has several bytes, len(view) where there is none. It
// gives the place to go on from when it has found none.
func (s *Splitter) openingWide(view []byte, p, nl int, atEnd bool) (q, at int) {
	for {
		if s.cell {
			q := p + s.padding(view[p:])
			if q == len(view) {
				return q, p
			}
			if view[q] == s.d.Quote {
				s.cell = false
				return q, p
			}
		}
		// Only whole lines: half a delimiter may be at the end of the view.
		if nl == len(view) && !atEnd {
			return len(view), p
		}
		n := bytes.Index(view[p:nl], []byte(s.d.Delimiter))
		if n < 0 {
			return len(view), p
		}
		p += n + len(s.d.Delimiter)
		s.cell = true
	}
}

// scanQuoted reads to behind the quote that closes the cell: whole. It stops at
// one that is a fault, and says more where the view does not tell.
func (s *Splitter) scanQuoted(view []byte, atEnd bool) finding {
	quote := s.d.Quote
	nl := s.lineEnd(view, s.p)
	for {
		// Most cells are short, and a search costs its call.
		p := s.p
		k := p
		for end := min(p+16, len(view)); k < end && view[k] != quote; k++ {
		}
		if k == p+16 {
			k = s.found.quote.next(view, quote, k)
		}
		e := len(view)
		if s.d.Escape != 0 {
			e = s.found.escape.next(view, s.d.Escape, p)
		}
		if nl < p {
			nl = s.lineEnd(view, p)
		}
		if nl < min(k, e) {
			s.spanned = true
			if nl < s.front.end && s.front.p > nl {
				s.p, s.quoted, s.cell, s.jumped = s.front.p, s.front.quoted, s.front.cell, true
				if s.front.fault {
					return fault
				}
				if !s.quoted {
					return whole
				}
				continue
			}
		}
		if e < k {
			if e+1 == len(view) {
				return more
			}
			s.escape = true
			s.p = e + 1
			if c := view[e+1]; c == quote || c == s.d.Escape {
				s.p++
			}
			continue
		}
		if k == len(view) {
			return more
		}
		if k+1 == len(view) {
			if !atEnd {
				return more
			}
			s.p, s.quoted = k+1, false
			return whole
		}
		c := view[k+1]
		if c == quote {
			s.p = k + 2
			continue
		}
		if c == s.delim && !s.wide {
			if k+2 < len(view) && view[k+2] == quote {
				s.p = k + 3 // the next cell is quoted, too
				continue
			}
		} else if c != '\n' && c != '\r' || s.ends != AnyLineEnd {
			switch s.closes(view, k+1, atEnd) {
			case more:
				s.p = k
				return more
			case fault:
				s.p = k
				return fault
			}
			s.loose = s.loose || c == ' '
		}
		s.p, s.quoted = k+1, false
		return whole
	}
}

// closes says whether a quote closes its cell, by what is behind it at p: the
// delimiter or a line end, with or without spaces before it.
func (s *Splitter) closes(view []byte, p int, atEnd bool) finding {
	for {
		rest := view[p:]
		switch {
		case hasPrefix(rest, s.d.Delimiter):
			return whole
		case len(rest) == 0 || len(rest) < len(s.d.Delimiter) && s.d.Delimiter[:len(rest)] == string(rest):
			if len(rest) == 0 && atEnd {
				return whole
			}
			if !atEnd {
				return more
			}
		}
		if rest[0] == ' ' {
			p++
			continue
		}
		n, known := s.lineEndLen(rest, atEnd)
		switch {
		case n > 0: // what is behind a CR does not matter
			return whole
		case !known:
			return more
		}
		return fault
	}
}

// hasPrefix is bytes.HasPrefix of a string.
func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// frontier gives what the scan of view, which failed, has taught.
func (s *Splitter) frontier(view []byte, found finding) frontier {
	f := frontier{end: len(view), p: s.p, quoted: s.quoted, cell: s.cell, fault: found == fault}
	if f.fault {
		f.end = s.p
		return f
	}
	if !f.quoted {
		f.end = s.lineEnd(view, f.p)
	}
	return f
}
