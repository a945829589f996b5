package schema

import "time"

// order says where year, month and day stand in a format.
type order uint8

const (
	yearMonthDay order = iota
	monthDayYear
	dayMonthYear
)

// layout is how a format writes a date.
type layout struct {
	sep   byte
	order order
	short bool // two-digit year
	fixed bool // month and day always have two digits
}

var layouts = [formatCount]layout{
	ISO:           {sep: '-', order: yearMonthDay, fixed: true},
	SlashYMD:      {sep: '/', order: yearMonthDay},
	SlashMDY:      {sep: '/', order: monthDayYear},
	SlashDMY:      {sep: '/', order: dayMonthYear},
	SlashMDYShort: {sep: '/', order: monthDayYear, short: true},
	SlashDMYShort: {sep: '/', order: dayMonthYear, short: true},
	DotDMY:        {sep: '.', order: dayMonthYear},
	DashDMY:       {sep: '-', order: dayMonthYear},
	DashMDY:       {sep: '-', order: monthDayYear},
}

// ParseDate reads a date written in a format, as days since 1970-01-01. Years
// are 0001 to 9999; a two-digit year is 1969 to 2068, as POSIX reads it.
func ParseDate(b []byte, f Format) (days int64, ok bool) {
	if f == ISO { // the common form, without the general reader
		if len(b) != 10 || b[4] != '-' || b[7] != '-' {
			return 0, false
		}
		y, ok1 := digits4(b)
		m, ok2 := digits2(b[5:])
		d, ok3 := digits2(b[8:])
		if !(ok1 && ok2 && ok3) {
			return 0, false
		}
		return civilDays(y, m, d)
	}
	days, rest, ok := parseDatePart(b, f)
	return days, ok && len(rest) == 0
}

func digits2(b []byte) (int, bool) {
	x, y := b[0]-'0', b[1]-'0'
	return int(x)*10 + int(y), x <= 9 && y <= 9
}

func digits4(b []byte) (int, bool) {
	x, ok1 := digits2(b)
	y, ok2 := digits2(b[2:])
	return x*100 + y, ok1 && ok2
}

// parseDatePart reads a date at the beginning of b.
func parseDatePart(b []byte, f Format) (days int64, rest []byte, ok bool) {
	if f == NoFormat || f >= formatCount {
		return 0, b, false
	}
	l := &layouts[f]
	var part [3]int
	var width [3]int
	for i := range part {
		if i > 0 {
			if len(b) == 0 || b[0] != l.sep {
				return 0, b, false
			}
			b = b[1:]
		}
		n := 0
		for n < len(b) && n < 4 && b[n] >= '0' && b[n] <= '9' {
			part[i] = part[i]*10 + int(b[n]-'0')
			n++
		}
		width[i] = n
		b = b[n:]
	}
	y, m, d := 0, 1, 2
	switch l.order {
	case monthDayYear:
		m, d, y = 0, 1, 2
	case dayMonthYear:
		d, m, y = 0, 1, 2
	}
	least := 1
	if l.fixed {
		least = 2
	}
	if width[m] < least || width[m] > 2 || width[d] < least || width[d] > 2 {
		return 0, b, false
	}
	year := part[y]
	if l.short {
		if width[y] != 2 {
			return 0, b, false
		}
		if year += 1900; year < 1969 {
			year += 100
		}
	} else if width[y] != 4 {
		return 0, b, false
	}
	days, ok = civilDays(year, part[m], part[d])
	return days, b, ok
}

var monthDays = [13]int{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// civilDays counts the days from 1970-01-01 to a date of the Gregorian calendar,
// by the method of Howard Hinnant, "chrono-compatible low-level date algorithms".
func civilDays(y, m, d int) (int64, bool) {
	if y < 1 || y > 9999 || m < 1 || m > 12 || d < 1 {
		return 0, false
	}
	last := monthDays[m]
	if m == 2 && y%4 == 0 && (y%100 != 0 || y%400 == 0) {
		last = 29
	}
	if d > last {
		return 0, false
	}
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468, true
}

const dayMillis = 24 * 60 * 60 * 1000

// ParseTimestamp reads a date in a format, then a T or space, then hours and
// minutes, and where they are there seconds and a fraction of them whose digits
// behind the third are zero. A zoned timestamp ends in Z or an offset (+01:00,
// +0100, +01) and is given in UTC; one that is not zoned has none of these. The
// value is milliseconds since 1970-01-01T00:00:00.
func ParseTimestamp(b []byte, f Format, zoned bool) (millis int64, ok bool) {
	days, b, ok := parseDatePart(b, f)
	if !ok || len(b) < 5 || (b[0] != 'T' && b[0] != ' ') {
		return 0, false
	}
	b = b[1:]
	if b[1] == ':' { // 9:05
		h := b[0] - '0'
		if h > 9 || f == ISO {
			return 0, false
		}
		millis = int64(h) * 3600_000
		b = b[1:]
	} else {
		h, ok := digits2(b)
		if !ok || h > 23 {
			return 0, false
		}
		millis = int64(h) * 3600_000
		b = b[2:]
	}
	if len(b) < 3 || b[0] != ':' {
		return 0, false
	}
	m, ok := digits2(b[1:])
	if !ok || m > 59 {
		return 0, false
	}
	millis += int64(m) * 60_000
	b = b[3:]
	if len(b) > 0 && b[0] == ':' {
		if len(b) < 3 {
			return 0, false
		}
		s, ok := digits2(b[1:])
		if !ok || s > 59 {
			return 0, false
		}
		millis += int64(s) * 1000
		b = b[3:]
		if len(b) > 0 && b[0] == '.' {
			frac, rest, ok := parseMillis(b[1:])
			if !ok {
				return 0, false
			}
			millis += frac
			b = rest
		}
	}
	if zoned {
		offset, ok := parseZone(b)
		if !ok {
			return 0, false
		}
		millis -= offset
	} else if len(b) > 0 {
		return 0, false
	}
	millis += days * dayMillis
	return millis, firstMilli <= millis && millis <= lastMilli
}

// The years 0001 to 9999. An offset can lead an instant out of them, where it has no
// normal form.
var (
	firstMilli = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	lastMilli  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

// parseMillis reads the digits of a fraction of a second. Digits finer than a
// millisecond must be zero: they would be lost.
func parseMillis(b []byte) (millis int64, rest []byte, ok bool) {
	n, unit := 0, int64(100)
	for ; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
		d := int64(b[n] - '0')
		if n >= 3 && d != 0 {
			return 0, b, false
		}
		millis += d * unit
		unit /= 10
	}
	return millis, b[n:], n > 0
}

// parseZone reads Z, +01:00, +0100 or +01 as milliseconds east of UTC.
func parseZone(b []byte) (millis int64, ok bool) {
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return 0, true
	}
	if len(b) < 3 || (b[0] != '+' && b[0] != '-') {
		return 0, false
	}
	h, ok := digits2(b[1:])
	if !ok || h > 18 {
		return 0, false
	}
	m := 0
	switch rest := b[3:]; {
	case len(rest) == 0:
	case len(rest) == 2:
		m, ok = digits2(rest)
	case len(rest) == 3 && rest[0] == ':':
		m, ok = digits2(rest[1:])
	default:
		return 0, false
	}
	if !ok || m > 59 {
		return 0, false
	}
	millis = int64(h)*3600_000 + int64(m)*60_000
	if b[0] == '-' {
		millis = -millis
	}
	return millis, true
}

func appendDate(dst []byte, days int64) []byte {
	return time.Unix(days*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
}

func appendTimestamp(dst []byte, millis int64, zoned bool) []byte {
	layout := "2006-01-02T15:04:05"
	if millis%1000 != 0 {
		layout += ".000"
	}
	if zoned {
		layout += "Z"
	}
	return time.UnixMilli(millis).UTC().AppendFormat(dst, layout)
}
