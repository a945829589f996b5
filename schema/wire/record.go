package wire

import (
	"bytes"
	"errors"

	"github.com/zeebo/xxh3"

	"lakefeed/schema"
)

// Cell is one cell of a row. An unquoted empty cell is null, a quoted one is the
// empty string.
type Cell struct {
	Text   []byte
	Quoted bool
}

// AppendNames appends a header row as the value of a Columns header. Every name
// is quoted where a cell would be; an empty name is an empty quoted cell, so
// that a header of one empty name is not an empty value.
func AppendNames(dst []byte, names []string) []byte {
	for i, n := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = schema.AppendCSVCell(dst, []byte(n), true)
	}
	return dst
}

// ErrRecord is returned for a value that is not one RFC 4180 record.
var ErrRecord = errors.New("not one RFC 4180 record")

// A Splitter parts records into cells. The zero value is ready; it keeps memory
// between calls.
type Splitter struct {
	cells   []Cell
	scratch []byte
}

// Split parts one record, without line end, into its cells. An empty value is
// one null cell. The cells alias value or the splitter, and are valid until the
// next call. A value that is not a record by RFC 4180 gives ErrRecord: a quote
// that does not close, or text between a closing quote and the next comma. A
// quote inside an unquoted cell is a character.
func (s *Splitter) Split(value []byte) ([]Cell, error) {
	cells := s.cells[:0]
	s.scratch = s.scratch[:0]
	for p := 0; ; {
		if p < len(value) && value[p] == '"' {
			text, next, err := s.quoted(value, p+1)
			if err != nil {
				return nil, err
			}
			cells = append(cells, Cell{Text: text, Quoted: true})
			if next == len(value) {
				break
			}
			p = next + 1
			continue
		}
		n := indexComma(value[p:])
		if n < 0 {
			cells = append(cells, Cell{Text: value[p:]})
			break
		}
		cells = append(cells, Cell{Text: value[p : p+n]})
		p += n + 1
	}
	s.cells = cells
	return cells, nil
}

// indexComma finds the first comma. Cells are short: a plain loop beats the call
// of a vectorised search for the first bytes.
func indexComma(b []byte) int {
	for i, c := range b {
		if c == ',' {
			return i
		}
		if i == 31 {
			if n := bytes.IndexByte(b[32:], ','); n >= 0 {
				return 32 + n
			}
			return -1
		}
	}
	return -1
}

// quoted reads a quoted cell whose text begins at p. next is the index of the
// comma behind it, or the value's length.
func (s *Splitter) quoted(value []byte, p int) (text []byte, next int, err error) {
	from, start := p, len(s.scratch)
	for {
		n := bytes.IndexByte(value[p:], '"')
		if n < 0 {
			return nil, 0, ErrRecord
		}
		end := p + n
		after := end + 1
		switch {
		case after == len(value) || value[after] == ',':
			if len(s.scratch) == start {
				return value[from:end], after, nil
			}
			s.scratch = append(s.scratch, value[from:end]...)
			return s.scratch[start:len(s.scratch):len(s.scratch)], after, nil
		case value[after] == '"':
			s.scratch = append(s.scratch, value[from:after]...)
			p = after + 1
			from = p
		default:
			return nil, 0, ErrRecord
		}
	}
}

// ParseNames reads the value of a Columns header.
func ParseNames(b []byte) ([]string, error) {
	var s Splitter
	cells, err := s.Split(b)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(cells))
	for i, c := range cells {
		names[i] = string(c.Text)
	}
	return names, nil
}

// RowHash is the hash of one row or reject for the Hash of its stream's end: the
// 128-bit XXH3 of the row's key, a zero byte, and its value. buf is scratch
// memory, and is returned for the next call.
func RowHash(buf, key, value []byte) (hi, lo uint64, _ []byte) {
	buf = append(buf[:0], key...)
	buf = append(buf, 0)
	buf = append(buf, value...)
	h := xxh3.Hash128(buf)
	return h.Hi, h.Lo, buf
}
