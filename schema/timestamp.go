package schema

import "time"

const dayMillis = 24 * 60 * 60 * 1000

// ParseTimestamp reads a date in a format (see ParseDate), then a T or space, then
// hours and minutes, and where they are there seconds and a fraction of them whose
// digits behind the third are zero, and AM or PM. A zoned timestamp ends in Z, an
// offset (+01:00, +0100, +01), UTC or GMT, and is given in UTC; one that is not zoned
// has none of these. The value is milliseconds since 1970-01-01T00:00:00.
func ParseTimestamp(b []byte, f Format, zoned bool) (millis int64, ok bool) {
	var days int64
	if len(b) >= 16 && b[4] == '-' && b[7] == '-' && b[9]-'0' <= 9 { // the common form
		days, ok = isoDays(b)
		b = b[10:]
	} else {
		switch f {
		case EpochSeconds, EpochMillis:
			return parseEpoch(b, f)
		}
		var d dateText
		if d, b, ok = scanDate(b); ok {
			days, ok = d.days(f)
		}
	}
	if !ok || len(b) < 5 || (b[0] != 'T' && b[0] != ' ') {
		return 0, false
	}
	millis, b, _, ok = scanClock(b[1:])
	if !ok {
		return 0, false
	}
	if zoned {
		offset, ok := parseZone(b)
		if !ok {
			return 0, false
		}
		millis += days*dayMillis - offset
		return millis, inYears(millis)
	}
	return days*dayMillis + millis, len(b) == 0
}

// parseEpoch reads a number of seconds or milliseconds since 1970, within the years
// 0001 to 9999. Seconds may have a fraction.
func parseEpoch(b []byte, f Format) (millis int64, ok bool) {
	if f == EpochMillis {
		millis, ok = ParseBigint(b)
		return millis, ok && inYears(millis)
	}
	const digits = 18
	d, ok := scanDecimal(b)
	if !ok || d.hasExp || d.whole > 12 || d.digits > digits || d.neg && d.digits == 0 {
		return 0, false
	}
	millis = int64(d.mantissa)
	for ; d.scale < 3; d.scale++ {
		millis *= 10
	}
	for ; d.scale > 3; d.scale-- {
		if millis%10 != 0 {
			return 0, false
		}
		millis /= 10
	}
	if d.neg {
		millis = -millis
	}
	return millis, inYears(millis)
}

// inYears says whether an instant is in the years 0001 to 9999.
func inYears(millis int64) bool {
	const first, last = -62135596800000, 253402300800000
	return millis >= first && millis < last
}

// scanClock reads a time of day as milliseconds. twelve says that it had AM or PM.
func scanClock(b []byte) (millis int64, rest []byte, twelve, ok bool) {
	if len(b) < 4 {
		return 0, b, false, false
	}
	var h int
	if b[1] == ':' { // 9:05
		h = int(b[0]) - '0'
		if h < 0 || h > 9 {
			return 0, b, false, false
		}
		b = b[1:]
	} else {
		if h, ok = digits2(b); !ok || h > 23 {
			return 0, b, false, false
		}
		b = b[2:]
	}
	if len(b) < 3 || b[0] != ':' {
		return 0, b, false, false
	}
	m, ok := digits2(b[1:])
	if !ok || m > 59 {
		return 0, b, false, false
	}
	millis = int64(m) * 60_000
	b = b[3:]
	if len(b) > 0 && b[0] == ':' {
		if len(b) < 3 {
			return 0, b, false, false
		}
		s, ok := digits2(b[1:])
		if !ok || s > 59 {
			return 0, b, false, false
		}
		millis += int64(s) * 1000
		b = b[3:]
		if len(b) > 0 && b[0] == '.' {
			frac, rest, ok := parseMillis(b[1:])
			if !ok {
				return 0, b, false, false
			}
			millis += frac
			b = rest
		}
	}
	if after, pm, found := scanHalf(b); found {
		if h < 1 || h > 12 {
			return 0, b, false, false
		}
		if h %= 12; pm {
			h += 12
		}
		b, twelve = after, true
	}
	return millis + int64(h)*3600_000, b, twelve, true
}

// scanHalf reads AM or PM, a space before it or none.
func scanHalf(b []byte) (rest []byte, pm, found bool) {
	if len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) < 2 || b[1]|0x20 != 'm' {
		return b, false, false
	}
	c := b[0] | 0x20
	return b[2:], c == 'p', c == 'a' || c == 'p'
}

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

// parseZone reads Z, +01:00, +0100, +01, UTC or GMT, a space before it or none, as
// milliseconds east of UTC.
func parseZone(b []byte) (millis int64, ok bool) {
	if len(b) > 1 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return 0, true
	}
	if len(b) < 3 || (b[0] != '+' && b[0] != '-') {
		return 0, string(b) == "UTC" || string(b) == "GMT"
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
