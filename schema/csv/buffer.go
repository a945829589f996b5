package csv

import (
	"bytes"
	"io"
	"unicode/utf8"
)

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
		size = max(s.size, min(2*size, s.most+s.size/4))
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
