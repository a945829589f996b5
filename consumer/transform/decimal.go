package transform

import (
	"encoding/binary"
	"math/big"
	"math/bits"
	"strconv"
)

// maxDigits is how many digits a decimal has at most.
const maxDigits = 38

// decimal is the unscaled value of a decimal: 128 bits in two's complement.
type decimal struct {
	hi int64
	lo uint64
}

// magnitude is a value without its sign.
type magnitude struct{ hi, lo uint64 }

// powers are the powers of ten.
var powers = func() (p [maxDigits + 1]magnitude) {
	p[0].lo = 1
	for i := 1; i < len(p); i++ {
		p[i], _ = p[i-1].times(magnitude{0, 10})
	}
	return p
}()

func decimalOf(b []byte) decimal {
	return decimal{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}
}

func (d decimal) bytes() (out [16]byte) {
	binary.BigEndian.PutUint64(out[:], uint64(d.hi))
	binary.BigEndian.PutUint64(out[8:], d.lo)
	return out
}

func wholeDecimal(n int64) decimal { return decimal{n >> 63, uint64(n)} }

func (d decimal) negative() bool { return d.hi < 0 }

func (d decimal) negate() decimal {
	lo, carry := bits.Add64(^d.lo, 1, 0)
	return decimal{int64(^uint64(d.hi) + carry), lo}
}

func (d decimal) abs() magnitude {
	if d.negative() {
		d = d.negate()
	}
	return magnitude{uint64(d.hi), d.lo}
}

func (m magnitude) less(o magnitude) bool { return m.hi < o.hi || m.hi == o.hi && m.lo < o.lo }

// times multiplies; ok is false past 128 bits.
func (m magnitude) times(o magnitude) (out magnitude, ok bool) {
	if m.hi != 0 && o.hi != 0 {
		return out, false
	}
	hi, lo := bits.Mul64(m.lo, o.lo)
	over1, cross1 := bits.Mul64(m.hi, o.lo)
	over2, cross2 := bits.Mul64(m.lo, o.hi)
	hi, c1 := bits.Add64(hi, cross1, 0)
	hi, c2 := bits.Add64(hi, cross2, 0)
	return magnitude{hi, lo}, over1|over2|c1|c2 == 0
}

// signed gives a magnitude its sign; ok is false when it has more than 38 digits.
func (m magnitude) signed(negative bool) (out decimal, ok bool) {
	if !m.less(powers[maxDigits]) {
		return out, false
	}
	out = decimal{int64(m.hi), m.lo}
	if negative {
		out = out.negate()
	}
	return out, true
}

func (d decimal) plus(o decimal) (out decimal, ok bool) {
	lo, carry := bits.Add64(d.lo, o.lo, 0)
	hi, _ := bits.Add64(uint64(d.hi), uint64(o.hi), carry)
	out = decimal{int64(hi), lo}
	if d.negative() == o.negative() && out.negative() != d.negative() {
		return out, false
	}
	return out, out.abs().less(powers[maxDigits])
}

func (d decimal) times(o decimal) (out decimal, ok bool) {
	m, ok := d.abs().times(o.abs())
	if !ok {
		return out, false
	}
	return m.signed(d.negative() != o.negative())
}

// shift adds digits behind the decimal mark.
func (d decimal) shift(digits int) (out decimal, ok bool) {
	if digits == 0 {
		return d, true
	}
	m, ok := d.abs().times(powers[digits])
	if !ok {
		return out, false
	}
	return m.signed(d.negative())
}

func (d decimal) compare(o decimal) int {
	switch {
	case d == o:
		return 0
	case d.hi < o.hi || d.hi == o.hi && d.lo < o.lo:
		return -1
	}
	return 1
}

func (d decimal) big() *big.Int {
	m := d.abs()
	n := new(big.Int).SetUint64(m.hi)
	n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(m.lo))
	if d.negative() {
		n.Neg(n)
	}
	return n
}

// rounded takes digits off the end; halves go away from zero.
func (d decimal) rounded(digits int) decimal {
	if digits <= 0 {
		return d
	}
	ten := powers[digits]
	unit := decimal{int64(ten.hi), ten.lo}.big()
	n := new(big.Int).Abs(d.big())
	n.Add(n, new(big.Int).Rsh(unit, 1)).Quo(n, unit)
	low := new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1)).Uint64()
	out, _ := magnitude{n.Rsh(n, 64).Uint64(), low}.signed(d.negative())
	return out
}

// float is the nearest double.
func (d decimal) float(scale int) float64 {
	const exact = 22 // powers of ten up to it are doubles
	if m := d.abs(); m.hi == 0 && m.lo < 1<<53 && scale <= exact {
		x := float64(m.lo) / pow10(scale)
		if d.negative() {
			x = -x
		}
		return x
	}
	x, _ := strconv.ParseFloat(d.big().String()+"e-"+strconv.Itoa(scale), 64)
	return x
}

func pow10(n int) float64 {
	x := 1.0
	for range n {
		x *= 10
	}
	return x
}

// whole is the value as a whole number, if it is one that fits.
func (d decimal) whole(scale int) (int64, bool) {
	n := d.big()
	if scale > 0 {
		unit := decimal{int64(powers[scale].hi), powers[scale].lo}.big()
		rest := new(big.Int)
		n.QuoRem(n, unit, rest)
		if rest.Sign() != 0 {
			return 0, false
		}
	}
	return n.Int64(), n.IsInt64()
}
