package sink

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// bounds are the least and the greatest value of a page, a chunk or a file, in
// the form they have in statistics.
type bounds struct {
	min, max []byte
	// unknown: there are values that have no place between bounds (a NaN), or
	// that no short bound was found for.
	unknown bool
}

func (b *bounds) merge(l *leaf, o *bounds) {
	b.unknown = b.unknown || o.unknown
	if o.min == nil {
		return
	}
	if b.min == nil || l.compare(o.min, b.min) < 0 {
		b.min = o.min
	}
	if b.max == nil || l.compare(o.max, b.max) > 0 {
		b.max = o.max
	}
}

// text gives the bounds as text; not ok when there are none.
func (b *bounds) text(l *leaf) (lo, hi string, ok bool) {
	if b.unknown || b.min == nil || l.binary {
		return "", "", false
	}
	var v schema.Vector
	v.Reset(l.typ)
	for _, x := range [][]byte{b.min, b.max} {
		switch l.physical {
		case format.Boolean:
			v.AppendInt(int64(x[0]))
		case format.Int64:
			v.AppendInt(int64(binary.LittleEndian.Uint64(x)))
		case format.Int32:
			v.AppendInt(int64(int32(binary.LittleEndian.Uint32(x))))
		case format.Double:
			v.AppendFloat(math.Float64frombits(binary.LittleEndian.Uint64(x)))
		case format.FixedLenByteArray:
			v.AppendDecimal(widen(x))
		default:
			if !utf8.Valid(x) {
				return "", "", false
			}
			v.AppendText(x)
		}
	}
	return string(v.AppendValue(nil, 0)), string(v.AppendValue(nil, 1)), true
}

// widen extends a two's complement number to 16 bytes.
func widen(x []byte) (out [16]byte) {
	if len(x) > 0 && x[0]&0x80 != 0 {
		for i := range out {
			out[i] = 0xff
		}
	}
	copy(out[16-len(x):], x)
	return out
}

// maxBound is how long a bound of text gets before it is cut.
const maxBound = 64

// cutMin gives a short text that is not above x.
func cutMin(x []byte) []byte {
	if len(x) > maxBound {
		x = x[:cut(x)]
	}
	return append([]byte{}, x...) // not nil when empty
}

// cutMax gives a short text that is not below x: a beginning of it whose last
// character is the next one. Not ok when there is none.
func cutMax(x []byte) ([]byte, bool) {
	if len(x) <= maxBound {
		return append([]byte{}, x...), true
	}
	b := bytes.Clone(x[:cut(x)])
	if !utf8.Valid(b) {
		for n := len(b); n > 0; n-- {
			if b[n-1] < 0xff {
				b[n-1]++
				return b[:n], true
			}
		}
		return nil, false
	}
	for len(b) > 0 {
		r, n := utf8.DecodeLastRune(b)
		b = b[:len(b)-n]
		if r < utf8.MaxRune {
			if r++; r == 0xd800 {
				r = 0xe000 // surrogates are no characters
			}
			return utf8.AppendRune(b, r), true
		}
	}
	return nil, false
}

// cut is where to cut a long text, not within a character.
func cut(x []byte) int {
	for n := maxBound; n > maxBound-utf8.UTFMax; n-- {
		if utf8.RuneStart(x[n]) {
			return n
		}
	}
	return maxBound
}

// pageBounds finds the bounds of the gathered values a to b.
func (c *chunk) pageBounds(l *leaf, a, b int) bounds {
	if a == b {
		return bounds{}
	}
	le := binary.LittleEndian
	switch l.physical {
	case format.Boolean, format.Int32, format.Int64:
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for _, x := range c.words[a:b] {
			lo, hi = min(lo, int64(x)), max(hi, int64(x))
		}
		switch l.physical {
		case format.Boolean:
			return bounds{min: []byte{byte(lo)}, max: []byte{byte(hi)}}
		case format.Int32:
			return bounds{min: le.AppendUint32(nil, uint32(lo)), max: le.AppendUint32(nil, uint32(hi))}
		}
		return bounds{min: le.AppendUint64(nil, uint64(lo)), max: le.AppendUint64(nil, uint64(hi))}
	case format.Double:
		return doubleBounds(c.words[a:b])
	case format.FixedLenByteArray:
		lo, hi := c.wide[a], c.wide[a]
		for _, x := range c.wide[a+1 : b] {
			if x.less(lo) {
				lo = x
			}
			if hi.less(x) {
				hi = x
			}
		}
		return bounds{min: appendWide(nil, []wide{lo}, l.width), max: appendWide(nil, []wide{hi}, l.width)}
	}
	return c.textBounds(a, b)
}

// doubleBounds: a page with a NaN has none, since engines differ on where it
// stands. A zero counts as both zeros.
func doubleBounds(words []uint64) bounds {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, w := range words {
		x := math.Float64frombits(w)
		if x != x {
			return bounds{unknown: true}
		}
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0
	}
	return bounds{
		min: binary.LittleEndian.AppendUint64(nil, math.Float64bits(lo)),
		max: binary.LittleEndian.AppendUint64(nil, math.Float64bits(hi)),
	}
}

func (c *chunk) textBounds(a, b int) bounds {
	var lo, hi []byte
	if c.dict.on { // each entry is looked at once a page
		c.page++
		for _, k := range c.dict.indexes[a:b] {
			if c.seen[k] == c.page {
				continue
			}
			c.seen[k] = c.page
			s := c.dict.spans[k]
			lo, hi = extend(lo, hi, c.text[s.from:s.to])
		}
	} else {
		lo, hi = c.spanBounds(c.spans[a:b])
	}
	out := bounds{min: cutMin(lo)}
	var ok bool
	if out.max, ok = cutMax(hi); !ok {
		return bounds{unknown: true}
	}
	return out
}

// spanBounds is extend over many, comparing eight bytes at a time first.
func (c *chunk) spanBounds(spans []span) (lo, hi []byte) {
	s := spans[0]
	lo = c.text[s.from:s.to]
	hi = lo
	plo, phi := head(lo), head(hi)
	for _, s := range spans[1:] {
		x := c.text[s.from:s.to]
		p := head(x)
		if p <= plo && (p < plo || bytes.Compare(x, lo) < 0) {
			lo, plo = x, p
		}
		if p >= phi && (p > phi || bytes.Compare(x, hi) > 0) {
			hi, phi = x, p
		}
	}
	return lo, hi
}

// head is the first eight bytes as a number; texts of different heads are
// ordered as these are.
func head(x []byte) uint64 {
	if len(x) >= 8 {
		return binary.BigEndian.Uint64(x)
	}
	var n uint64
	for i, b := range x {
		n |= uint64(b) << (56 - 8*i)
	}
	return n
}

func extend(lo, hi, x []byte) ([]byte, []byte) {
	if lo == nil || bytes.Compare(x, lo) < 0 {
		lo = x
	}
	if hi == nil || bytes.Compare(x, hi) > 0 {
		hi = x
	}
	return lo, hi
}

// boundaryOrder says whether the bounds of pages only rise, or only fall.
func boundaryOrder(l *leaf, x *format.ColumnIndex) format.BoundaryOrder {
	rises, falls := true, true
	last := -1
	for i, null := range x.NullPages {
		if null || len(x.MinValues[i]) == 0 && l.physical != format.ByteArray {
			continue
		}
		if last >= 0 {
			lo, hi := l.compare(x.MinValues[last], x.MinValues[i]), l.compare(x.MaxValues[last], x.MaxValues[i])
			rises = rises && lo <= 0 && hi <= 0
			falls = falls && lo >= 0 && hi >= 0
		}
		last = i
	}
	switch {
	case rises:
		return format.Ascending
	case falls:
		return format.Descending
	}
	return format.Unordered
}
