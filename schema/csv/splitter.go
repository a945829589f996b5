package csv

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	defaultMaxRecord = 4 << 20
	bufferSize       = 256 << 10
	// A cell whose quotes are faulty is looked for so far behind its first line.
	repairBytes = 16 << 10
)

// A Splitter cuts a stream into records. Its memory is one buffer of 256 KiB,
// which grows to little more than Options.MaxRecord at most. It is not safe for
// concurrent use.
type Splitter struct {
	r        io.Reader
	d        Dialect
	delim    byte // where the delimiter is a single byte
	delims   []byte
	wide     bool // the delimiter has several bytes
	sampling bool // no row is parted by another delimiter, which would speak for a wrong one
	verbose  bool // records are not RFC 4180 as they stand, whatever they hold
	max      int
	most     int // bytes that have to be seen at once
	width    int
	hold     bool
	unwrap   bool
	heads    heads
	tail     Tail
	sought   bool   // tail was looked for at the reader's end
	tooLong  string // the message of a TooLong reject
	badText  string // the message of an Encoding reject

	blanks [256]bool // space and tab, but for those of the delimiter

	size    int // of the buffer at first
	buf     []byte
	base    int64 // the object's offset of buf[0]
	pos     int   // where unread bytes begin in buf
	line    int64 // the line on which they begin
	pass    int64 // decoded bytes still to be passed over before the first row
	begun   bool
	eof     bool
	readErr error // io.EOF or what the reader failed with
	fail    error // what Next gives from now on

	valid   int // buf[pos:valid] is valid UTF-8
	invalid int // while pos < invalid the buffer is not validated, but row by row

	scanner
	row       Row
	gap       bool
	lastTo    int64
	lastLine  int64
	headers   int64
	cells     []Cell
	unescaped []byte
	inner     []byte // the text of a record's only cell, which is cut again
}

// NewSplitter makes a Splitter of the rows of r, which begins at the offset that
// o says: for a whole object, at the Body that was found. Header and Skip of the
// dialect have no effect here. A dialect that is not valid is the first error
// that Next gives.
func NewSplitter(r io.Reader, d Dialect, o Options) *Splitter {
	s := newSplitter(d, o)
	if s.fail == nil && !s.d.ByteOffsets() {
		r = decode(r, s.d.Encoding)
		s.pass, s.base = o.Offset, 0
	}
	if o.SeekTail && o.Tail == (Tail{}) {
		r = &ahead{r: r, at: s.base, atEnd: func(end []byte, offset, held int64) {
			found := Found{Dialect: s.d, Columns: o.Columns, Width: o.Width, Known: o.Known}
			if s.tail = found.findTail(end, offset); s.tail.Rule != "" {
				s.tail.From = max(s.tail.From, held)
			}
			s.sought = true
		}}
	}
	s.r = r
	return s
}

// splitText makes a Splitter over text in memory, UTF-8 whatever the dialect
// says, which is not copied.
func splitText(text []byte, d Dialect, o Options) *Splitter {
	s := newSplitter(d, o)
	s.buf, s.eof, s.readErr = text[:len(text):len(text)], true, io.EOF
	s.sampling = true
	s.validate()
	return s
}

func newSplitter(d Dialect, o Options) *Splitter {
	s := &Splitter{d: d.normal(), base: o.Offset, line: o.Line, max: o.MaxRecord, width: o.Width, tail: o.Tail, hold: o.Hold, unwrap: o.Unwrap, gap: true, size: bufferSize}
	s.fail = s.d.Validate()
	s.delim, s.delims = s.d.Delimiter[0], []byte(s.d.Delimiter)
	s.wide = len(s.d.Delimiter) > 1
	s.verbose = s.d.Delimiter != "," || s.d.Quote != '"' || s.d.Padded || s.d.LineEnd != AnyLineEnd
	s.ends = s.d.LineEnd
	for _, c := range []byte(" \t") {
		s.blanks[c] = bytes.IndexByte(s.delims, c) < 0 && c != s.d.Quote && c != s.d.Escape && c != s.d.Comment
	}
	if s.line <= 0 {
		s.line = 1
	}
	if s.max <= 0 {
		s.max = defaultMaxRecord
	}
	s.tooLong = fmt.Sprintf("the record is longer than %d bytes", s.max)
	s.badText = "the record is not valid " + s.d.Encoding
	s.lastTo, s.lastLine = o.Offset, s.line
	s.heads = newHeads(s.d, o)
	s.row.Header = s.heads.present
	s.width = s.heads.width()
	if s.most = s.max; s.heads.joined {
		s.most = max(s.max, headBytes)
	}
	return s
}

// Position is where the stream goes on behind the last row or reject that Next
// has returned: the Offset and Line with which another Splitter goes on.
func (s *Splitter) Position() (offset, line int64) { return s.lastTo, s.lastLine }

// Tail is what follows the table, and whether that is known by now: a Splitter with
// Options.SeekTail knows it when its reader has ended, before it gives any of the last
// TailBytes. Another that goes on behind those needs it as its Options.Tail.
func (s *Splitter) Tail() (t Tail, sought bool) { return s.tail, s.sought }

// Header is the header in force at Position, as Options.Header counts.
func (s *Splitter) Header() int { return s.row.Header }

// Headers is how many rows were passed over because they were a header.
func (s *Splitter) Headers() int64 { return s.headers }

// Next gives the next row or reject, valid until the next call. The error is
// io.EOF at the end, and else what the reader failed with, or the dialect's
// fault; it stays. A row whose end was not read because the reader failed is not
// returned.
func (s *Splitter) Next() (*Row, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	if !s.begun {
		s.begin()
	}
	for {
		if s.pos == len(s.buf) {
			if !s.fill() {
				return nil, s.stop()
			}
			continue
		}
		outside := s.tail.To > 0 && s.tail.holds(s.base+int64(s.pos))
		c := s.buf[s.pos]
		if s.blanks[c] && s.width != 1 {
			n, ended, known := s.blankLine()
			if !known {
				if !s.fill() {
					return nil, s.stop()
				}
				continue
			}
			if n > 0 {
				s.pos += n
				s.gap = true
				if ended {
					s.line++
				}
				continue
			}
		}
		if c == '\n' || c == '\r' {
			n, known := s.lineEndLen(s.buf[s.pos:], s.eof && !s.hold)
			if !known {
				if !s.fill() {
					return nil, s.stop()
				}
				continue
			}
			if n > 0 && s.width == 1 && !outside {
				s.scanner.start(s.pos)
				return s.emit(s.pos, s.pos+n, strict), nil
			}
			if n > 0 {
				s.pos += n
				s.line++
				s.gap = true
				continue
			}
			// Else it is a character.
		}
		switch {
		case outside:
			return s.outsideLine()
		case c == s.d.Comment && c != 0:
			if !s.passComment() {
				return nil, s.stop()
			}
			s.gap = true
		default:
			if !s.heads.any {
				return s.record()
			}
			if s.heads.joined && s.heads.mayBeJoined(s.buf[s.pos:], &s.d) {
				switch i, next, line, known := s.joinedHeader(); {
				case !known:
					return nil, s.stop()
				case i >= 0:
					s.pos, s.line = next, line
					s.passed(i)
					continue
				}
			}
			offset, line, header := s.lastTo, s.lastLine, s.row.Header
			row, err := s.record()
			if err != nil {
				return row, err
			}
			i := s.headerOf(row)
			if i < 0 {
				return row, nil
			}
			s.passed(i)
			s.lastTo, s.lastLine, row.Header = offset, line, header
		}
	}
}

// passed puts a header in force that was passed over.
func (s *Splitter) passed(header int) {
	s.heads.present = header
	s.width = s.heads.width()
	s.headers++
	s.gap = true
}

// record reads the record at pos.
func (s *Splitter) record() (*Row, error) {
	s.scanner.start(s.pos)
	for {
		// Two bytes more than a record may have tell how it ends. An end of the
		// stream right there must not tell more than other bytes would.
		view, atEnd := s.buf, s.eof && !s.hold
		limit := s.pos + s.max + 2
		if limit <= len(view) {
			view, atEnd = view[:limit], false
		}
		end, found := s.scan(view, atEnd)
		switch {
		case found == whole && end-s.pos <= s.max:
			if s.jumped { // over bytes that it has not looked at
				s.front = frontier{}
				s.scanner.start(s.pos)
				continue
			}
			if s.spanned && s.width > 1 && s.count(s.buf[s.pos:end], strict) != s.width && !s.wraps(s.buf[s.pos:end]) {
				// A stray quote that another closes, lines later?
				if first, ok := s.firstLine(view, atEnd); ok && s.count(first, literal) == s.width {
					return s.emitLine(first, literal), nil
				}
			}
			return s.emit(end, s.behindLineEnd(view, end), strict), nil
		case found == whole || found == more && len(view) == limit || found == open || found == fault:
			if found == whole || found == more && !s.quoted {
				return s.rejectLine(view, found, TooLong)
			}
			row, err, ok := s.repair(view, found, atEnd, len(view) == limit)
			if ok {
				return row, err
			}
			if !s.fill() {
				return nil, s.stop()
			}
		case !s.fill():
			return nil, s.stop()
		}
	}
}

// emit returns buf[pos:end] as the row, and goes on at next.
func (s *Splitter) emit(end, next int, how reading) *Row {
	r := &s.row
	r.Raw = s.buf[s.pos:end:end]
	r.From, r.To = s.base+int64(s.pos), s.base+int64(next)
	r.Line, r.Gap, r.Breaks, r.Header = s.line, s.gap, 0, s.heads.present
	r.Rule, r.Message = "", ""
	r.plain, r.reading = !s.loose && !s.escape && !s.verbose, how
	if s.spanned || s.ends != AnyLineEnd {
		r.Breaks = countBreaks(r.Raw)
		s.line += int64(r.Breaks)
	}
	if how == strict && s.unwrap && end > s.pos && r.Raw[0] == s.d.Quote && s.wraps(r.Raw) {
		r.reading, r.plain = wrapped, false
	} else if s.width > 2 && how == strict && r.Breaks == 0 && !s.sampling && s.indexDelim(r.Raw, s.delims) < 0 {
		if r.reading = s.strayReading(r.Raw); r.reading != strict {
			r.plain = false
		}
	}
	s.gap = false
	if end > s.valid && !utf8.Valid(r.Raw) {
		r.Rule, r.Message = Encoding, s.badText
		s.gap = true
	}
	s.advance(end, next)
	return r
}

// advance moves to next, behind a record or reject that ends at end.
func (s *Splitter) advance(end, next int) {
	s.pos = next
	if next > end {
		s.line++
	}
	s.lastTo, s.lastLine = s.base+int64(next), s.line
}

// outsideLine returns the line at pos, which is not of the table, as a reject.
func (s *Splitter) outsideLine() (*Row, error) {
	for {
		if _, ok := s.firstLine(s.buf, s.eof && !s.hold); ok || len(s.buf)-s.pos > s.max+1 {
			s.scanner.start(s.pos)
			return s.rejectLine(s.buf, more, s.tail.Rule)
		}
		if !s.fill() {
			return nil, s.stop()
		}
	}
}

// rejectLine returns the first line of the record at pos as a reject. view has
// failed to be a record; what its scan has learnt is kept for the next lines.
func (s *Splitter) rejectLine(view []byte, found finding, rule string) (*Row, error) {
	s.front = s.frontier(view, found)
	r := &s.row
	*r = Row{From: s.base + int64(s.pos), Line: s.line, Gap: s.gap, Header: s.heads.present, Rule: rule, Message: s.tooLong}
	switch rule {
	case OpenQuote:
		r.Message = "a quote opens and does not close"
	case Footer:
		r.Message = "it stands behind the table's last row"
	case SecondTable:
		r.Message = "it belongs to another table behind the first"
	}
	s.gap = true
	n := s.indexLineEnd(view[s.pos:])
	switch {
	case n > s.max || n < 0 && len(view)-s.pos > s.max:
		r.Rule, r.Message = TooLong, s.tooLong
		end, next, ok := s.passLine(s.max)
		if !ok {
			return nil, s.stop()
		}
		r.Raw = s.buf[s.pos : s.pos+s.max : s.pos+s.max]
		r.To = s.base + int64(next)
		s.advance(end, next)
		s.front = frontier{}
	case n < 0: // the object's last line
		r.Raw = view[s.pos:len(view):len(view)]
		r.To = s.base + int64(len(view))
		s.advance(len(view), len(view))
	default:
		end := s.pos + n
		r.Raw = view[s.pos:end:end]
		n, _ := s.lineEndLen(view[end:], s.eof && !s.hold)
		r.To = s.base + int64(end+n)
		s.advance(end, end+n)
	}
	return r, nil
}

// passComment goes behind the comment line at pos.
func (s *Splitter) passComment() bool {
	end, next, ok := s.passLine(0)
	if !ok {
		return false
	}
	s.pos = next
	if next > end {
		s.line++
	}
	return true
}

// stop gives the error with which the stream ends here.
func (s *Splitter) stop() error {
	s.fail = s.readErr
	if s.fail != io.EOF {
		s.fail = fmt.Errorf("read csv at byte %d: %w", s.base+int64(len(s.buf)), s.fail)
	}
	return s.fail
}
