package csv

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// Options say where a Splitter begins and how far it goes.
type Options struct {
	// Offset and Line say where in the object the reader begins: a byte offset
	// and a 1-based line (0 means 1). At Offset 0 a BOM is passed over. In an
	// encoding other than UTF-8 the reader gives the object from its first byte,
	// and Offset counts the bytes of its text as UTF-8 that are passed over.
	Offset, Line int64
	// MaxRecord is the greatest length of a record in bytes, 4 MiB by default.
	MaxRecord int
	// Width is the number of columns where it is known. With one column a blank
	// line is a row of one null cell; else blank lines are passed over.
	Width int
	// Hold keeps back a last record without a line end, since more of it may
	// come: Next gives io.EOF and Position stays before it. So is a record that
	// ends in CR at the very end of the stream, for an LF may follow.
	Hold bool
}

// The rules a reject may have broken.
const (
	TooLong   = "too_long"   // longer than Options.MaxRecord
	OpenQuote = "open_quote" // a quote opens and does not close within Options.MaxRecord or the object
	Encoding  = "encoding"   // not valid in the dialect's encoding
)

// Row is one record, or the bytes of a reject.
type Row struct {
	// Raw is the record without its line end, valid until the next call of Next.
	// Of a reject of the rule TooLong whose first line alone is too long it has
	// only the first Options.MaxRecord bytes.
	Raw []byte
	// From and To are its byte range in the object, line end included; in an
	// encoding other than UTF-8, in the object's text as UTF-8.
	From, To int64
	Line     int64  // the 1-based line on which it begins
	Gap      bool   // it is the first, or a blank line, comment or reject lies before it
	Breaks   int    // line breaks inside the record
	Rule     string // "" for a row, else the rule a reject has broken
	Message  string // the same in words

	plain bool // Raw is an RFC 4180 record
}

const (
	defaultMaxRecord = 4 << 20
	bufferSize       = 256 << 10
)

// A Splitter cuts a stream into records. Its memory is one buffer of 256 KiB,
// which grows to little more than Options.MaxRecord at most. It is not safe for
// concurrent use.
type Splitter struct {
	r       io.Reader
	d       Dialect
	delim   byte // where the delimiter is a single byte
	wide    bool // the delimiter has several bytes
	verbose bool // records are not RFC 4180 as they stand, whatever they hold
	max     int
	width   int
	hold    bool
	tooLong string // the message of a TooLong reject
	badText string // the message of an Encoding reject

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
	cells     []Cell
	unescaped []byte
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
	s.r = r
	return s
}

// splitText makes a Splitter over text in memory, UTF-8 whatever the dialect
// says, which is not copied.
func splitText(text []byte, d Dialect, o Options) *Splitter {
	s := newSplitter(d, o)
	s.buf, s.eof, s.readErr = text[:len(text):len(text)], true, io.EOF
	s.validate()
	return s
}

func newSplitter(d Dialect, o Options) *Splitter {
	s := &Splitter{d: d.normal(), base: o.Offset, line: o.Line, max: o.MaxRecord, width: o.Width, hold: o.Hold, gap: true, size: bufferSize}
	s.fail = s.d.Validate()
	s.delim = s.d.Delimiter[0]
	s.wide = len(s.d.Delimiter) > 1
	s.verbose = s.d.Delimiter != "," || s.d.Quote != '"'
	if s.line <= 0 {
		s.line = 1
	}
	if s.max <= 0 {
		s.max = defaultMaxRecord
	}
	s.tooLong = fmt.Sprintf("the record is longer than %d bytes", s.max)
	s.badText = "the record is not valid " + s.d.Encoding
	s.lastTo, s.lastLine = o.Offset, s.line
	return s
}

// Position is where the stream goes on behind the last row or reject that Next
// has returned: the Offset and Line with which another Splitter goes on.
func (s *Splitter) Position() (offset, line int64) { return s.lastTo, s.lastLine }

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
		switch c := s.buf[s.pos]; {
		case c == '\n' || c == '\r':
			n, ok := s.lineEndLen(s.pos)
			if !ok {
				if !s.fill() {
					return nil, s.stop()
				}
				continue
			}
			if s.width == 1 {
				s.scanner.start(s.pos)
				return s.emit(s.pos, s.pos+n), nil
			}
			s.pos += n
			s.line++
			s.gap = true
		case c == s.d.Comment && c != 0:
			if !s.passComment() {
				return nil, s.stop()
			}
			s.gap = true
		default:
			return s.record()
		}
	}
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
			next := end
			if end < len(s.buf) {
				next++
				if view[end] == '\r' && next < len(view) && view[next] == '\n' {
					next++
				}
			}
			return s.emit(end, next), nil
		case found == open:
			return s.rejectLine(view, OpenQuote)
		case found == whole || len(view) == limit:
			if s.quoted {
				return s.rejectLine(view, OpenQuote)
			}
			return s.rejectLine(view, TooLong)
		case !s.fill():
			return nil, s.stop()
		}
	}
}

// emit returns buf[pos:end] as the row, and goes on at next.
func (s *Splitter) emit(end, next int) *Row {
	r := &s.row
	r.Raw = s.buf[s.pos:end:end]
	r.From, r.To = s.base+int64(s.pos), s.base+int64(next)
	r.Line, r.Gap, r.Breaks = s.line, s.gap, 0
	r.Rule, r.Message = "", ""
	r.plain = !s.loose && !s.escape && !s.verbose
	if s.spanned {
		r.Breaks = countBreaks(r.Raw)
		s.line += int64(r.Breaks)
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

// rejectLine returns the first line of the record at pos as a reject. view has
// failed to be a record; what its scan has learnt is kept for the next lines.
func (s *Splitter) rejectLine(view []byte, rule string) (*Row, error) {
	s.front = s.frontier(view)
	r := &s.row
	*r = Row{From: s.base + int64(s.pos), Line: s.line, Gap: s.gap, Rule: rule, Message: s.tooLong}
	if rule == OpenQuote {
		r.Message = "a quote opens and does not close"
	}
	s.gap = true
	n := indexLineEnd(view[s.pos:])
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
		n, _ := s.lineEndLen(end)
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

// passLine reads to the end of the line at pos, of which it keeps the first
// bytes only where the buffer cannot hold all of it. Then base moves on by what
// it drops: it is right for bytes behind pos+keep. It says false when the
// reader failed, or when the line's end has to be held back.
func (s *Splitter) passLine(keep int) (end, next int, ok bool) {
	from := s.pos + keep
	for {
		n := indexLineEnd(s.buf[from:])
		if n >= 0 {
			if length, ok := s.lineEndLen(from + n); ok {
				return from + n, from + n + length, true
			}
		}
		if s.eof {
			return len(s.buf), len(s.buf), !s.hold
		}
		if s.readErr != nil {
			return 0, 0, false
		}
		// Drop what is known to be the line, but for a CR at the end.
		drop := len(s.buf) - from
		if n >= 0 {
			drop = n
		}
		s.base += int64(drop)
		s.buf = append(s.buf[:from], s.buf[from+drop:]...)
		s.valid, s.invalid = min(s.valid, from), from
		s.found = marks{}
		at := s.pos
		s.room()
		from -= at - s.pos
		s.read()
	}
}

// lineEndLen is the length of the line end at i. It is not known when a CR is
// the last byte read so far.
func (s *Splitter) lineEndLen(i int) (n int, ok bool) {
	switch {
	case s.buf[i] == '\n':
		return 1, true
	case i+1 < len(s.buf):
		if s.buf[i+1] == '\n' {
			return 2, true
		}
		return 1, true
	}
	return 1, s.eof && !s.hold
}

// stop gives the error with which the stream ends here.
func (s *Splitter) stop() error {
	s.fail = s.readErr
	if s.fail != io.EOF {
		s.fail = fmt.Errorf("read csv at byte %d: %w", s.base+int64(len(s.buf)), s.fail)
	}
	return s.fail
}

// begin passes over a BOM at the object's first byte.
func (s *Splitter) begin() {
	s.begun = true
	const bom = "\ufeff"
	if s.base != 0 || s.pass != 0 {
		return
	}
	for len(s.buf) < len(bom) && bytes.HasPrefix([]byte(bom), s.buf) {
		if !s.fill() {
			return
		}
	}
	if bytes.HasPrefix(s.buf, []byte(bom)) {
		s.pos = len(bom)
	}
}

// fill reads more bytes behind those in the buffer. It says false at the end of
// the stream or when the reader failed. At the end of the stream it says true
// once, so that the caller looks again, knowing it.
func (s *Splitter) fill() bool {
	if s.eof || s.readErr != nil {
		return false
	}
	s.room()
	s.read()
	for s.pass > 0 && len(s.buf) > 0 {
		n := min(s.pass, int64(len(s.buf)))
		s.buf = s.buf[:copy(s.buf, s.buf[n:])]
		s.base += n
		if s.pass -= n; s.pass > 0 && s.readErr == nil {
			s.read()
		}
	}
	s.validate()
	return s.eof || s.readErr == nil
}

// room makes room for a read: it moves unread bytes to the buffer's head, or
// grows the buffer when they fill half of it.
func (s *Splitter) room() {
	size := cap(s.buf)
	if size > 0 && size-len(s.buf) >= s.size/16 {
		return
	}
	to := s.buf[:0]
	if unread := len(s.buf) - s.pos; unread > size/2 || size == 0 {
		size = max(s.size, min(2*size, s.max+s.size/4))
		if size > cap(s.buf) {
			to = make([]byte, 0, size)
		}
	}
	by := s.pos
	s.buf = append(to, s.buf[by:]...)
	s.base += int64(by)
	s.pos = 0
	s.valid = max(s.valid-by, 0)
	s.invalid = max(s.invalid-by, 0)
	s.scanner.shift(by)
}

// read reads once into the free end of the buffer.
func (s *Splitter) read() {
	for range 100 {
		n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err != nil {
			s.readErr = err
			s.eof = err == io.EOF
			return
		}
		if n > 0 {
			return
		}
	}
	s.readErr = io.ErrNoProgress
}

// validate looks whether what was read is valid UTF-8, so that rows need not be
// looked at one by one. A buffer that is not is left to the rows.
func (s *Splitter) validate() {
	if s.pos < s.invalid {
		return
	}
	from := max(s.valid, s.pos)
	end := len(s.buf)
	for i := 1; i < utf8.UTFMax && end-i >= from; i++ {
		if c := s.buf[end-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(s.buf[end-i:]) {
				end -= i
			}
			break
		}
	}
	s.valid = from
	if utf8.Valid(s.buf[from:end]) {
		s.valid = end
	} else {
		s.invalid = end
	}
}
