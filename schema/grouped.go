package schema

import "bytes"

// maxNumber is the longest text of a number that is looked at, in bytes.
const maxNumber = 64

// mark is a character of a number that is neither digit nor sign.
type mark uint8

const (
	noMark mark = iota
	point
	comma
	space      // also those that do not break a line
	apostrophe // also the typographic one
)

// markAt reads the mark at the beginning of b, n bytes long.
func markAt(b []byte) (m mark, n int) {
	switch b[0] {
	case '.':
		return point, 1
	case ',':
		return comma, 1
	case ' ':
		return space, 1
	case '\'':
		return apostrophe, 1
	case 0xC2:
		if len(b) >= 2 && b[1] == 0xA0 { // no-break space
			return space, 2
		}
	case 0xE2:
		if len(b) >= 3 && b[1] == 0x80 {
			switch b[2] {
			case 0xAF, 0x89: // narrow no-break space, thin space
				return space, 3
			case 0x99:
				return apostrophe, 3
			}
		}
	}
	return noMark, 0
}

// grouping is what is seen of a number whose thousands are parted.
type grouping struct {
	by    mark // between thousands, noMark for none
	short bool // the first group has one or two digits
	// fraction: there is a decimal mark.
	fraction bool
}

// ungroup writes a number in a format as plain digits with a decimal point into
// buf. Groups are of three digits but for the first, which has one to three and does
// not begin with a zero; one number has one kind of separator.
func ungroup(buf *[maxNumber]byte, b []byte, f Format) (plain []byte, g grouping, ok bool) {
	decimal := point
	if f == CommaDecimal {
		decimal = comma
	}
	if len(b) > maxNumber {
		return nil, g, false
	}
	plain = buf[:0]
	if len(b) > 0 && b[0] == '-' {
		plain, b = append(plain, '-'), b[1:]
	}
	lead := len(b) > 0 && b[0] == '0'
	run := 0 // digits since the last separator
	for len(b) > 0 {
		if c := b[0]; c >= '0' && c <= '9' {
			plain, b, run = append(plain, c), b[1:], run+1
			continue
		}
		m, n := markAt(b)
		switch {
		case m == noMark || run == 0 || g.by != noMark && run != 3:
			return nil, g, false
		case m == decimal:
			g.fraction = true
			plain = append(plain, '.')
			for _, c := range b[n:] {
				if c < '0' || c > '9' {
					return nil, g, false
				}
				plain = append(plain, c)
			}
			return plain, g, len(b) > n
		case g.by == noMark:
			if run > 3 || lead {
				return nil, g, false
			}
			g.by, g.short = m, run < 3
		case m != g.by:
			return nil, g, false
		}
		b, run = b[n:], 0
	}
	return plain, g, run > 0 && (g.by == noMark || run == 3)
}

// plainNumber gives a number in a format as plain text: b itself where it is plain
// already. It may alias buf.
func plainNumber(buf *[maxNumber]byte, b []byte, f Format) ([]byte, bool) {
	switch f {
	case Grouped:
		if !marked(b) {
			return b, true
		}
	case CommaDecimal:
		if !marked(b) && bytes.IndexByte(b, '.') < 0 {
			return b, true
		}
	default:
		return b, true
	}
	plain, _, ok := ungroup(buf, b, f)
	return plain, ok
}

// marked says whether there is a mark in a number that no plain number has.
func marked(b []byte) bool {
	for _, c := range b {
		if c == ',' || c == ' ' || c == '\'' || c >= 0x80 {
			return true
		}
	}
	return false
}
