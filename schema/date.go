package schema

import "time"

// dateOrder says what is known of day and month from a date's text alone.
type dateOrder uint8

const (
	settled  dateOrder = iota // the text says which is which: 2020-01-31, 31 Jan 2020
	either                    // 1/2/2020: the column must say
	dayFirst                  // 31.1.2020: with dots and four digits of year the day is first everywhere
)

// dateText is a date taken apart. first and second are month and day where the
// order is settled, else the numbers as they stand.
type dateText struct {
	year, first, second int
	order               dateOrder
	form                forms
}

// days counts from 1970-01-01 in a format.
func (d *dateText) days(f Format) (int64, bool) {
	month, day := d.first, d.second
	if d.order != settled {
		switch {
		case f == DayFirst:
			month, day = day, month
		case f != MonthFirst || d.order == dayFirst:
			return 0, false
		}
	}
	return civilDays(d.year, month, day)
}

// ParseDate reads a date in a format, as days since 1970-01-01: 2020-01-31,
// 2020/1/31, 2020.01.31, 31 Jan 2020, 31-Jan-20, Jan 31, 2020, January 31 2020,
// and 1/31/2020, 1-31-2020, 1/31/20 or 31.1.2020, 31.01.20 in the order that the
// format says. Years are 0001 to 9999. Of years of two digits 00 to 29 are 2000
// to 2029, and 70 to 99 are 1970 to 1999; in between programs differ in what they
// take them for, and such a text is no date. A day of the week before it must be
// the right one.
func ParseDate(b []byte, f Format) (days int64, ok bool) {
	if len(b) == 10 && b[4] == '-' && b[7] == '-' { // the common form; isoDays is not inlined
		y, ok1 := digits4(b)
		m, ok2 := digits2(b[5:])
		d, ok3 := digits2(b[8:])
		if !(ok1 && ok2 && ok3) {
			return 0, false
		}
		return civilDays(y, m, d)
	}
	return parseOtherDate(b, f)
}

func parseOtherDate(b []byte, f Format) (days int64, ok bool) {
	d, rest, ok := scanDate(b)
	if !ok || len(rest) > 0 {
		return 0, false
	}
	return d.days(f)
}

// isoDays reads 2006-01-02 at the beginning of b, whose hyphens are there.
func isoDays(b []byte) (int64, bool) {
	y, ok1 := digits4(b)
	m, ok2 := digits2(b[5:])
	d, ok3 := digits2(b[8:])
	if !(ok1 && ok2 && ok3) {
		return 0, false
	}
	return civilDays(y, m, d)
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

// leadingDigits reads the digits at the beginning of b, up to five of them.
func leadingDigits(b []byte) (value, n int) {
	for n < len(b) && n < 5 && b[n] >= '0' && b[n] <= '9' {
		value = value*10 + int(b[n]-'0')
		n++
	}
	return value, n
}

// scanDate takes the date at the beginning of b apart. Its numbers need not make a
// day of the calendar.
func scanDate(b []byte) (d dateText, rest []byte, ok bool) {
	if len(b) == 0 {
		return d, b, false
	}
	if letter(b[0]) {
		return scanNamedDate(b)
	}
	x, n := leadingDigits(b)
	if n == 0 || n == 3 || n > 4 || n+4 > len(b) {
		return d, b, false
	}
	sep := b[n]
	b = b[n+1:]
	if n == 4 {
		d.year = x
		return scanYearFirst(d, sep, b)
	}
	if letter(b[0]) {
		if sep != ' ' && sep != '-' && sep != '/' {
			return d, b, false
		}
		month, k := monthName(b)
		if month == 0 || k == len(b) {
			return d, b, false
		}
		d.first, d.second, d.form = month, x, formName
		b = b[k:]
		if sep == ' ' && b[0] == ',' {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != sep {
			return d, b, false
		}
		d.year, rest, ok = scanYear(b[1:], true, &d.form)
		return d, rest, ok
	}
	y, k := leadingDigits(b)
	if k == 0 || k > 2 || k == len(b) || b[k] != sep {
		return d, b, false
	}
	b = b[k+1:]
	d.first, d.second, d.order = x, y, either
	switch sep {
	case '/':
		d.form = formSlash
		d.year, rest, ok = scanYear(b, true, &d.form)
	case '-': // 01-02-03 has a reading too many: the year may be first
		d.form = formDash
		d.year, rest, ok = scanYear(b, false, &d.form)
	case '.':
		d.form = formDot
		d.year, rest, ok = scanYear(b, n == 2 && k == 2 && y <= 12, &d.form)
		if d.form&formShortYear == 0 {
			d.order = dayFirst
		} // else it may be a version number: only a day above 12 settles it
	default:
		return d, b, false
	}
	return d, rest, ok
}

// scanYearFirst goes on behind the year and its separator.
func scanYearFirst(d dateText, sep byte, b []byte) (_ dateText, rest []byte, ok bool) {
	d.form = formYearFirst
	if letter(b[0]) && sep == '-' {
		month, k := monthName(b)
		if month == 0 || k == len(b) || b[k] != sep {
			return d, b, false
		}
		d.first, d.form = month, formName
		b = b[k+1:]
	} else {
		month, k := leadingDigits(b)
		if k == 0 || k > 2 || k == len(b) || b[k] != sep || sep != '-' && sep != '/' && sep != '.' {
			return d, b, false
		}
		if sep == '.' && k != 2 {
			return d, b, false // 2020.1.3 is how versions are numbered
		}
		d.first = month
		b = b[k+1:]
	}
	day, k := leadingDigits(b)
	if k == 0 || k > 2 || sep == '.' && k != 2 {
		return d, b, false
	}
	if sep == '-' && k == 2 && d.form == formYearFirst {
		d.form = formISO
	}
	d.second = day
	return d, b[k:], true
}

// scanNamedDate reads a date that begins with the name of a day or month.
func scanNamedDate(b []byte) (d dateText, rest []byte, ok bool) {
	if weekday, n := weekdayName(b); n > 0 {
		b = b[n:]
		if len(b) > 0 && b[0] == ',' {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != ' ' {
			return d, b, false
		}
		d, rest, ok = scanDate(b[1:])
		if !ok || d.order != settled {
			return d, rest, false
		}
		days, ok := d.days(NoFormat)
		return d, rest, ok && ((days+4)%7+7)%7 == int64(weekday)
	}
	month, n := monthName(b)
	if month == 0 || n == len(b) || b[n] != ' ' {
		return d, b, false
	}
	day, k := leadingDigits(b[n+1:])
	if b = b[n+1+k:]; k == 0 || k > 2 || len(b) == 0 {
		return d, b, false
	}
	if b[0] == ',' {
		b = b[1:]
	}
	if len(b) == 0 || b[0] != ' ' {
		return d, b, false
	}
	d.first, d.second, d.form = month, day, formName
	d.year, rest, ok = scanYear(b[1:], false, &d.form)
	return d, rest, ok
}

// scanYear reads a year of four digits, or of two where it may be short.
func scanYear(b []byte, short bool, form *forms) (year int, rest []byte, ok bool) {
	year, n := leadingDigits(b)
	switch {
	case n == 4:
		return year, b[n:], true
	case n != 2 || !short || year >= 30 && year < 70:
		return 0, b, false
	case year < 30:
		year += 2000
	default:
		year += 1900
	}
	*form |= formShortYear
	return year, b[n:], true
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// lowerWord is the run of letters at the beginning of b in lower case, at most nine
// of them.
func lowerWord(b []byte) (word [9]byte, n int) {
	for n < len(b) && letter(b[n]) {
		if n == len(word) {
			return word, 0
		}
		word[n] = b[n] | 0x20
		n++
	}
	return word, n
}

var monthNames = [12]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

// monthName reads an English month, whole or its first three letters (or sept),
// as 1 to 12.
func monthName(b []byte) (month, n int) {
	word, n := lowerWord(b)
	if n < 3 {
		return 0, 0
	}
	for i, name := range monthNames {
		if string(word[:3]) == name[:3] && (n == 3 || string(word[:n]) == name || string(word[:n]) == "sept") {
			return i + 1, n
		}
	}
	return 0, 0
}

var weekdayNames = [7]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// weekdayName reads an English day of the week, whole or its first three letters,
// Sunday being 0; n is 0 where there is none.
func weekdayName(b []byte) (day, n int) {
	word, n := lowerWord(b)
	if n < 3 {
		return 0, 0
	}
	for i, name := range weekdayNames {
		if string(word[:3]) == name[:3] && (n == 3 || string(word[:n]) == name) {
			return i, n
		}
	}
	return 0, 0
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

func appendDate(dst []byte, days int64) []byte {
	return time.Unix(days*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
}
