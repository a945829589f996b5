package schema

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// ParseBigint reads a whole number that its digits give back: an optional minus,
// then digits without a leading zero, in the range of 64 bits. `07`, `+7`, `-0`
// and 20 digits are none.
func ParseBigint(b []byte) (int64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 || (b[0] == '0' && (len(b) > 1 || neg)) {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + uint64(d)
	}
	if neg {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n < 1<<63
}

// decimalText is a number taken apart: sign, digits and power of ten.
type decimalText struct {
	neg      bool
	mantissa uint64 // the first 19 significant digits
	digits   int    // significant digits, leading zeros not counted
	exp      int    // value = mantissa * 10^exp, where digits <= 19
	scale    int    // digits behind the point, as written
	whole    int    // digits before the point, leading zero not counted
	hasExp   bool
}

// scanDecimal takes a number apart: optional minus, digits with at most one
// point among or around them, optional exponent. A leading zero must stand
// alone before the point.
func scanDecimal(b []byte) (d decimalText, ok bool) {
	p := 0
	if p < len(b) && b[p] == '-' {
		d.neg = true
		p++
	}
	start, point, zeros := p, -1, 0
scan:
	for ; p < len(b); p++ {
		switch c := b[p]; {
		case c >= '0' && c <= '9':
			if d.digits == 0 && c == '0' {
				zeros++
				continue
			}
			if d.digits < 19 {
				d.mantissa = d.mantissa*10 + uint64(c-'0')
			}
			d.digits++
		case c == '.' && point < 0:
			point = p
			d.whole = d.digits
		default:
			break scan
		}
	}
	end := p
	if point < 0 {
		d.whole = d.digits
		if end == start {
			return d, false
		}
	} else {
		d.scale = end - point - 1
		if end-start == 1 {
			return d, false // a lone point
		}
	}
	wholeLen := end - start
	if point >= 0 {
		wholeLen = point - start
	}
	if wholeLen > 1 && b[start] == '0' {
		return d, false
	}
	d.exp = -d.scale
	if p == len(b) {
		return d, true
	}
	if b[p] != 'e' && b[p] != 'E' {
		return d, false
	}
	p++
	expNeg := false
	if p < len(b) && (b[p] == '-' || b[p] == '+') {
		expNeg = b[p] == '-'
		p++
	}
	if p == len(b) || len(b)-p > 4 {
		return d, false
	}
	e := 0
	for ; p < len(b); p++ {
		if b[p] < '0' || b[p] > '9' {
			return d, false
		}
		e = e*10 + int(b[p]-'0')
	}
	if expNeg {
		e = -e
	}
	d.exp += e
	d.hasExp = true
	return d, true
}

// approximate is the nearest double, for numbers that it cannot give back.
func (d *decimalText) approximate() float64 {
	exp := d.exp + max(0, d.digits-19)
	x := float64(d.mantissa) * math.Pow10(exp)
	if d.neg {
		x = -x
	}
	return x
}

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// ParseDouble reads a number that a double gives back exactly: the shortest
// decimal that stands for the double has the same digits as the text, but for
// zeros that do not count, the place of the point and the form of the exponent.
// `0.10` is one, `0.1234567890123456789` and `1e400` are none. NaN, nan, Inf,
// inf, Infinity and their negatives are doubles.
func ParseDouble(b []byte) (float64, bool) {
	d, ok := scanDecimal(b)
	if !ok {
		return parseSpecial(b)
	}
	if d.digits == 0 {
		if d.neg {
			return math.Copysign(0, -1), true
		}
		return 0, true
	}
	// Both numbers are exact, so one rounding gives the nearest double (Clinger
	// 1990), and up to 15 digits come back from it.
	if d.digits <= 15 && d.exp >= -22 && d.exp <= 22 {
		f := float64(d.mantissa)
		if d.exp < 0 {
			f /= pow10[-d.exp]
		} else {
			f *= pow10[d.exp]
		}
		if d.neg {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, false
	}
	return f, sameDigits(b, f)
}

func parseSpecial(b []byte) (float64, bool) {
	switch string(b) {
	case "NaN", "nan":
		return math.NaN(), true
	case "Inf", "inf", "Infinity":
		return math.Inf(1), true
	case "-Inf", "-inf", "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// sameDigits says whether f's shortest decimal is the number in b.
func sameDigits(b []byte, f float64) bool {
	var buf [32]byte
	short := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	x, xe := significant(b)
	y, ye := significant(short)
	return xe == ye && x == y
}

// significant gives a number's digits without the zeros that do not count, and
// the power of ten of the first of them.
func significant(b []byte) (digits string, exp int) {
	out := make([]byte, 0, len(b))
	point, seen := 0, false
	for p, c := range b {
		switch {
		case c >= '0' && c <= '9':
			if c == '0' && len(out) == 0 {
				if seen {
					point--
				}
				continue
			}
			out = append(out, c)
			if !seen {
				point++
			}
		case c == '.':
			seen = true
		case c == 'e' || c == 'E':
			e, _ := strconv.Atoi(string(b[p+1:]))
			point += e
		}
		if c == 'e' || c == 'E' {
			break
		}
	}
	n := len(out)
	for n > 0 && out[n-1] == '0' {
		n--
	}
	return string(out[:n]), point
}

// ParseDecimal reads a number of at most precision-scale digits before the
// point and scale digits behind it, as its unscaled value, 16 bytes big-endian
// two's complement. Zeros at the end of the fraction do not count. An exponent
// is not accepted.
func ParseDecimal(b []byte, precision, scale int) (out [16]byte, ok bool) {
	d, ok := scanDecimal(b)
	if !ok || d.hasExp || (d.neg && d.digits == 0) {
		return out, false
	}
	if pad := scale - d.scale; pad >= 0 && d.digits+pad <= 18 {
		n := int64(d.mantissa)
		for range pad {
			n *= 10
		}
		if limit := decimalLimits[precision]; limit.hi == 0 && uint64(n) >= limit.lo {
			return out, false
		}
		if d.neg {
			n = -n
		}
		binary.BigEndian.PutUint64(out[:], uint64(n>>63))
		binary.BigEndian.PutUint64(out[8:], uint64(n))
		return out, true
	}
	var hi, lo uint64
	fraction, count := false, 0
	for _, c := range b {
		switch {
		case c == '.':
			fraction = true
		case c >= '0' && c <= '9':
			if fraction {
				if count == scale {
					if c != '0' {
						return out, false
					}
					continue
				}
				count++
			}
			if !muladd(&hi, &lo, uint64(c-'0')) {
				return out, false
			}
		}
	}
	for ; count < scale; count++ {
		if !muladd(&hi, &lo, 0) {
			return out, false
		}
	}
	limit := decimalLimits[precision]
	if hi > limit.hi || hi == limit.hi && lo >= limit.lo {
		return out, false
	}
	if d.neg {
		var carry uint64
		lo, carry = bits.Add64(^lo, 1, 0)
		hi, _ = bits.Add64(^hi, 0, carry)
	}
	for i := range 8 {
		out[i] = byte(hi >> (56 - 8*i))
		out[8+i] = byte(lo >> (56 - 8*i))
	}
	return out, true
}

// muladd sets hi:lo to hi:lo*10+d, and says whether it stayed under 2^127.
func muladd(hi, lo *uint64, d uint64) bool {
	carry, low := bits.Mul64(*lo, 10)
	over, high := bits.Mul64(*hi, 10)
	low, c := bits.Add64(low, d, 0)
	high, c2 := bits.Add64(high, carry, c)
	*hi, *lo = high, low
	return over == 0 && c2 == 0 && high < 1<<63
}

// decimalLimits are the powers of ten: 10^p is the first unscaled value that
// precision p does not hold.
var decimalLimits = func() (limits [39]struct{ hi, lo uint64 }) {
	limits[0].lo = 1
	for p := 1; p < len(limits); p++ {
		limits[p] = limits[p-1]
		muladd(&limits[p].hi, &limits[p].lo, 0)
	}
	return limits
}()

// appendDecimal writes an unscaled value as text with its scale.
func appendDecimal(dst, unscaled []byte, scale int) []byte {
	n := new(big.Int).SetBytes(unscaled)
	if unscaled[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	if n.Sign() < 0 {
		dst = append(dst, '-')
		n.Neg(n)
	}
	digits := n.String()
	for len(digits) <= scale {
		digits = "0" + digits
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	if scale > 0 {
		dst = append(dst, '.')
		dst = append(dst, digits[len(digits)-scale:]...)
	}
	return dst
}
