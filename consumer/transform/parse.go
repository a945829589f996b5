package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lakefeed/schema"
)

// pattern is a way to write a date or a timestamp, taken apart: an element is a letter
// of strftime, or a text that must stand there.
type pattern []element

type element struct {
	letter byte // 0 for text
	text   string
}

const letters = "%Y %y %m %d %j %H %I %M %S %f %p %b %B %z and %%"

// parsePattern reads a format of the letters of strftime.
func parsePattern(format string) (out pattern, err error) {
	seen := map[byte]bool{}
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			if n := len(out); n > 0 && out[n-1].letter == 0 {
				out[n-1].text += string(c)
			} else {
				out = append(out, element{text: string(c)})
			}
			continue
		}
		if i++; i == len(format) {
			return nil, fmt.Errorf("%q ends with %%; %%%% is a per cent sign", format)
		}
		switch c = format[i]; c {
		case '%':
			out = append(out, element{text: "%"})
			continue
		case 'e':
			c = 'd'
		case 'h':
			c = 'b'
		case 'F':
			out = append(out, element{letter: 'Y'}, element{text: "-"}, element{letter: 'm'}, element{text: "-"}, element{letter: 'd'})
			seen['Y'], seen['m'], seen['d'] = true, true, true
			continue
		case 'T':
			out = append(out, element{letter: 'H'}, element{text: ":"}, element{letter: 'M'}, element{text: ":"}, element{letter: 'S'})
			seen['H'], seen['M'], seen['S'] = true, true, true
			continue
		}
		if !strings.ContainsRune("YymdjHIMSfpbBz", rune(c)) {
			return nil, fmt.Errorf("%q: %%%c is not understood; there are %s", format, c, letters)
		}
		if seen[c] {
			return nil, fmt.Errorf("%q has %%%c twice", format, c)
		}
		seen[c] = true
		out = append(out, element{letter: c})
	}
	month := seen['m'] || seen['b'] || seen['B']
	switch {
	case !seen['Y'] && !seen['y']:
		return nil, fmt.Errorf("%q has no year: %%Y", format)
	case !(month && seen['d']) && !seen['j']:
		return nil, fmt.Errorf("%q has no month and day: %%m and %%d, or %%j", format)
	case seen['I'] != seen['p']:
		return nil, fmt.Errorf("%q: %%I, the hour of a clock of twelve, goes with %%p, AM or PM", format)
	}
	return out, nil
}

func (p pattern) has(letters string) bool {
	return slices.ContainsFunc(p, func(e element) bool { return e.letter != 0 && strings.IndexByte(letters, e.letter) >= 0 })
}

var months = [12]string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

// read reads a text as milliseconds of a wall clock, and its offset from UTC where the
// pattern has one.
func (p pattern) read(s []byte) (millis, offset int64, ok bool) {
	var year, month, day, yearday, hour, minute, second, fraction int64
	pm, am := false, false
	month, day = 1, 1
	number := func(most int) (n int64, ok bool) {
		i := 0
		for ; i < len(s) && i < most && s[i] >= '0' && s[i] <= '9'; i++ {
			n = n*10 + int64(s[i]-'0')
		}
		s = s[i:]
		return n, i > 0
	}
	for _, e := range p {
		ok := true
		switch e.letter {
		case 0:
			if ok = len(s) >= len(e.text) && string(s[:len(e.text)]) == e.text; ok {
				s = s[len(e.text):]
			}
		case 'Y':
			year, ok = number(4)
		case 'y':
			if year, ok = number(2); year < 69 {
				year += 100
			}
			year += 1900
		case 'm':
			month, ok = number(2)
		case 'd':
			if len(s) > 1 && s[0] == ' ' {
				s = s[1:]
			}
			day, ok = number(2)
		case 'j':
			yearday, ok = number(3)
			ok = ok && yearday >= 1 && yearday <= 366
		case 'H':
			hour, ok = number(2)
			ok = ok && hour < 24
		case 'I':
			hour, ok = number(2)
			ok = ok && hour >= 1 && hour <= 12
			hour %= 12
		case 'M':
			minute, ok = number(2)
			ok = ok && minute < 60
		case 'S':
			second, ok = number(2)
			ok = ok && second < 60
		case 'f':
			before := len(s)
			fraction, ok = number(9)
			for n := before - len(s); n < 3; n++ {
				fraction *= 10
			}
			for n := before - len(s); n > 3; n-- {
				ok = ok && fraction%10 == 0 // finer than a millisecond: it would be lost
				fraction /= 10
			}
		case 'p':
			if ok = len(s) >= 2 && s[1]|0x20 == 'm' && (s[0]|0x20 == 'a' || s[0]|0x20 == 'p'); ok {
				am, pm = s[0]|0x20 == 'a', s[0]|0x20 == 'p'
				s = s[2:]
			}
		case 'b', 'B':
			month, s, ok = monthOf(s, e.letter == 'B')
		case 'z':
			offset, s, ok = offsetOf(s)
		}
		if !ok {
			return 0, 0, false
		}
	}
	if pm && !am {
		hour += 12
	}
	days, ok := daysOf(year, month, day)
	if yearday > 0 {
		if days, ok = daysOf(year, 1, 1); ok {
			days += yearday - 1
			y, _, _ := civil(days)
			ok = y == year
		}
	}
	return days*dayMillis + hour*3600_000 + minute*60_000 + second*1000 + fraction, offset, ok && len(s) == 0
}

// monthOf reads the name of a month, in full or its first three letters.
func monthOf(s []byte, full bool) (month int64, rest []byte, ok bool) {
	for i, name := range months {
		if !full {
			name = name[:3]
		}
		if len(s) >= len(name) && strings.EqualFold(string(s[:len(name)]), name) {
			return int64(i + 1), s[len(name):], true
		}
	}
	return 0, s, false
}

// offsetOf reads Z, +0100, +01:00 or +01 as milliseconds east of UTC.
func offsetOf(s []byte) (millis int64, rest []byte, ok bool) {
	if len(s) > 0 && (s[0] == 'Z' || s[0] == 'z') {
		return 0, s[1:], true
	}
	two := func(s []byte) (int64, bool) {
		if len(s) < 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' {
			return 0, false
		}
		return int64(s[0]-'0')*10 + int64(s[1]-'0'), true
	}
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return 0, s, false
	}
	h, ok := two(s[1:])
	if !ok || h > 18 {
		return 0, s, false
	}
	rest = s[3:]
	colon := rest
	if len(colon) > 0 && colon[0] == ':' {
		colon = colon[1:]
	}
	m, has := two(colon)
	if has {
		rest = colon[2:]
	}
	millis = h*3600_000 + m*60_000
	if s[0] == '-' {
		millis = -millis
	}
	return millis, rest, m < 60
}

func (b *builder) parse(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.Parse)) {
		p := s.Parse[name]
		c := b.find(&s.Parse, name)
		var patterns []pattern
		good := true
		fault := func(of any, hint, format string, args ...any) {
			b.fault(of, "", hint, "parse of "+name+": "+format, args...)
			good = false
		}
		if len(p.Formats) == 0 {
			fault(p, `add formats: ["%Y-%m-%d"]`, "there are no formats")
		}
		times, offsets := false, 0
		for i, format := range p.Formats {
			one, err := parsePattern(format)
			if err != nil {
				fault(&p.Formats[i], "", "%v", err)
				continue
			}
			times = times || one.has("HIMSf")
			if one.has("z") {
				offsets++
			}
			patterns = append(patterns, one)
		}
		t := kind(schema.Date)
		switch p.As {
		case "date":
		case "timestamp":
			t = kind(schema.Timestamp)
		case "":
			if times {
				t = kind(schema.Timestamp)
			}
		default:
			fault(&p.As, "", "as is date or timestamp, not %q", p.As)
		}
		var zone *time.Location
		if p.Zone != "" {
			var err error
			if zone, err = loadZone(p.Zone); err != nil {
				fault(&p.Zone, "write it as Europe/Berlin or UTC", "there is no time zone %q", p.Zone)
			}
		}
		if offsets > 0 && offsets < len(patterns) && zone == nil {
			fault(&p.Formats, "say the zone of the others: zone: Europe/Berlin", "some formats have an offset (%%z) and some have not")
		}
		t.Zoned = t.Kind == schema.Timestamp && (offsets > 0 || zone != nil)
		if c == nil || !good || !b.text(&s.Parse, name, "parse", c) {
			continue
		}
		b.convert("parse", name, c, t, func(out, in *schema.Vector, row int) bool {
			if in.Type.Kind != schema.String {
				return false
			}
			text := in.TextAt(row)
			for _, p := range patterns {
				millis, offset, ok := p.read(text)
				switch {
				case !ok:
					continue
				case t.Kind == schema.Date:
					out.AppendInt(floorDiv(millis, dayMillis))
					return true
				case p.has("z"):
					millis -= offset
				case t.Zoned:
					if millis, ok = instantOf(millis, zone); !ok {
						continue
					}
				}
				if millis < firstMilli || millis > lastMilli { // in UTC it is another year
					continue
				}
				out.AppendInt(millis)
				return true
			}
			if schema.IsNullToken(text) {
				out.AppendNull()
				return true
			}
			return false
		})
	}
}

// instantOf is the instant at which a zone's clocks show a time: the earlier one where
// they do twice, none where they skip it.
func instantOf(wall int64, zone *time.Location) (millis int64, ok bool) {
	at := time.UnixMilli(wall).UTC()
	guess := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), zone)
	best, found := int64(0), false
	for _, around := range [...]time.Duration{-24 * time.Hour, 24 * time.Hour} { // before and after a change of the clocks
		_, offset := guess.Add(around).Zone()
		if millis := wall - int64(offset)*1000; inZone(millis, zone) == wall && (!found || millis < best) {
			best, found = millis, true
		}
	}
	return best, found
}
