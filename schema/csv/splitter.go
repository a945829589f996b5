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
	// line is a row of one null cell; else blank lines are passed over. A record
	// whose quotes do not pair is read in the way that gives it as many cells.
	Width int
	// Columns are the names in the header. A row of the same cells is the header
	// again, and is passed over; but not where there is one column only, in which
	// a value may be like the name.
	Columns []string
	// Known are other headers of the feed, of two names at least. A row of the same
	// cells as one of them is no row: it is the header of those behind it, up to
	// the next, and says how wide they are.
	Known [][]string
	// Header says which is in force where the reader begins: 0 is Columns, n is
	// Known[n-1].
	Header int
	// Tail is what follows the table: its lines are rejects.
	Tail Tail
	// Hold keeps back a last record without a line end, since more of it may
	// come: Next gives io.EOF and Position stays before it. So is a record that
	// ends in CR at the very end of the stream, for an LF may follow.
	Hold bool
}

// Names are those of a header, counted as Header is; nil where it is absent.
func (o Options) Names(header int) []string {
	if header > 0 {
		return o.Known[header-1]
	}
	return o.Columns
}

// The rules a reject may have broken.
const (
	TooLong     = "too_long"     // longer than Options.MaxRecord
	OpenQuote   = "open_quote"   // a quote opens and does not close within Options.MaxRecord or the object
	Encoding    = "encoding"     // not valid in the dialect's encoding
	Footer      = "footer"       // a line behind the table's last row
	SecondTable = "second_table" // a line of another table behind the first
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
	Gap      bool   // it is the first, or a blank line, comment, header or reject lies before it
	Header   int    // the header in force: 0 is Options.Columns, n is Options.Known[n-1]
	Breaks   int    // line breaks inside the record
	Rule     string // "" for a row, else the rule a reject has broken
	Message  string // the same in words

	plain   bool // Raw is an RFC 4180 record
	reading reading
}

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
	width    int
	hold     bool
	heads    heads
	tail     Tail
	tooLong  string // the message of a TooLong reject
	badText  string // the message of an Encoding reject

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
	s.sampling = true
	s.validate()
	return s
}

func newSplitter(d Dialect, o Options) *Splitter {
	s := &Splitter{d: d.normal(), base: o.Offset, line: o.Line, max: o.MaxRecord, width: o.Width, tail: o.Tail, hold: o.Hold, gap: true, size: bufferSize}
	s.fail = s.d.Validate()
	s.delim, s.delims = s.d.Delimiter[0], []byte(s.d.Delimiter)
	s.wide = len(s.d.Delimiter) > 1
	s.verbose = s.d.Delimiter != "," || s.d.Quote != '"' || s.d.Padded || s.d.LineEnd != AnyLineEnd
	s.ends = s.d.LineEnd
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
	return s
}

// Position is where the stream goes on behind the last row or reject that Next
// has returned: the Offset and Line with which another Splitter goes on.
func (s *Splitter) Position() (offset, line int64) { return s.lastTo, s.lastLine }

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
		switch c := s.buf[s.pos]; {
		case c == '\n' || c == '\r':
			n, known := s.lineEndLen(s.buf[s.pos:], s.eof && !s.hold)
			if !known {
				if !s.fill() {
					return nil, s.stop()
				}
				continue
			}
			if n == 0 {
				break // a character
			}
			if s.width == 1 && !outside {
				s.scanner.start(s.pos)
				return s.emit(s.pos, s.pos+n, strict), nil
			}
			s.pos += n
			s.line++
			s.gap = true
			continue
		}
		switch {
		case outside:
			return s.outsideLine()
		case s.buf[s.pos] == s.d.Comment && s.d.Comment != 0:
			if !s.passComment() {
				return nil, s.stop()
			}
			s.gap = true
		default:
			if !s.heads.any {
				return s.record()
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
			s.heads.present = i
			s.width = s.heads.width()
			s.headers++
			s.gap, s.lastTo, s.lastLine, row.Header = true, offset, line, header
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
			if s.spanned && s.width > 1 && s.count(s.buf[s.pos:end], strict) != s.width {
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
	if s.width > 2 && how == strict && !s.spanned && !s.sampling && s.indexDelim(r.Raw, s.delims) < 0 {
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

// passLine reads to the end of the line at pos, of which it keeps the first
// bytes only where the buffer cannot hold all of it. Then base moves on by what
// it drops: it is right for bytes behind pos+keep. It says false when the
// reader failed, or when the line's end has to be held back.
func (s *Splitter) passLine(keep int) (end, next int, ok bool) {
	from := s.pos + keep
	for {
		n := s.indexLineEnd(s.buf[from:])
		if n >= 0 {
			if length, ok := s.lineEndLen(s.buf[from+n:], s.eof && !s.hold); ok {
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
		switch {
		case n >= 0:
			drop = n
		case drop > 0 && s.buf[len(s.buf)-1] == '\r':
			drop--
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
