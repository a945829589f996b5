package schema

import (
	"math/big"
	"regexp"
	"strings"
	"time"
)

// The slow twin: what a text is as a type, and what type a column has, written to be
// read. It knows fewer forms of dates than the kernel, and says so with ok.

var (
	plainForm   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]{1,4})?$`)
	groupedForm = regexp.MustCompile(`^-?([1-9][0-9]{0,2})((,[0-9]{3})+|( [0-9]{3})+|('[0-9]{3})+)(\.[0-9]+)?$`)
	commaForm   = regexp.MustCompile(`^-?([1-9][0-9]{0,2})((\.[0-9]{3})+|( [0-9]{3})+|('[0-9]{3})+)(,[0-9]+)?$|^-?(0|[1-9][0-9]*),[0-9]+$`)
)

// slowPlain writes a number in a format as a plain one.
func slowPlain(text string, f Format) (string, bool) {
	for from, to := range map[string]string{"\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'"} {
		if strings.Contains(text, from) {
			text = strings.ReplaceAll(text, from, to)
			if strings.Count(text, to)*len(from) > len(text) {
				return "", false
			}
		}
	}
	plain := plainForm.MatchString(text) && strings.ContainsAny(text, "0123456789")
	switch f {
	case Grouped:
		if plain {
			return text, true
		}
		return strings.NewReplacer(",", "", " ", "", "'", "").Replace(text), groupedForm.MatchString(text)
	case CommaDecimal:
		if plain && !strings.Contains(text, ".") {
			return text, true
		}
		return strings.NewReplacer(".", "", " ", "", "'", "", ",", ".").Replace(text), commaForm.MatchString(text)
	}
	return text, plain
}

// slowValue is the normal form of a text that fits the type; not ok where the twin
// does not know.
func slowValue(t Type, text string) (normal string, ok bool) {
	switch t.Kind {
	case Bigint, Decimal:
		plain, good := slowPlain(text, t.Format)
		if !good {
			return "", false
		}
		x, good := new(big.Rat).SetString(strings.TrimSuffix(plain, "."))
		if !good {
			return "", false
		}
		return x.FloatString(t.Scale), true
	case Date, Timestamp:
		dates := []string{"2006-01-02", "2006-1-2", "2006/1/2", "2 Jan 2006", "2-Jan-2006", "Jan 2, 2006"}
		switch t.Format {
		case MonthFirst:
			dates = append(dates, "1/2/2006", "1-2-2006")
		case DayFirst:
			dates = append(dates, "2/1/2006", "2-1-2006", "2.1.2006")
		case EpochSeconds, EpochMillis:
			return "", false
		}
		clocks, out := []string{""}, "2006-01-02"
		if t.Kind == Timestamp {
			clocks, out = nil, "2006-01-02T15:04:05"
			for _, clock := range []string{" 15:04", " 15:04:05", "T15:04", "T15:04:05", " 3:04 PM", " 3:04:05PM"} {
				if t.Zoned {
					clocks = append(clocks, clock+"Z07:00")
				} else {
					clocks = append(clocks, clock)
				}
			}
		}
		for _, date := range dates {
			for _, clock := range clocks {
				if at, err := time.Parse(date+clock, text); err == nil {
					if at.Nanosecond() > 0 {
						return "", false
					}
					if t.Zoned {
						return at.UTC().Format(out + "Z"), true
					}
					return at.Format(out), true
				}
			}
		}
	}
	return "", false
}

// slowType is the type of a column of whole numbers, fractions with a point, words
// and plain dates; not ok where there are other cells.
func slowType(cells []string) (string, bool) {
	candidates := []string{"boolean", "bigint", "double", "date"}
	seen := false
	for _, c := range cells {
		if IsNullToken([]byte(c)) {
			continue
		}
		if c = strings.Trim(c, " "); c == "" {
			continue
		}
		seen = true
		fits := map[string]bool{}
		switch {
		case c == "true":
			fits["boolean"] = true
		case regexp.MustCompile(`^-?[1-9][0-9]{0,14}$`).MatchString(c):
			fits["bigint"], fits["double"] = true, true
		case regexp.MustCompile(`^-?[0-9]\.[0-9]{1,2}$`).MatchString(c):
			fits["double"] = true
		case regexp.MustCompile(`^2020-[01][0-9]-[0-2][0-9]$`).MatchString(c):
			_, err := time.Parse(time.DateOnly, c)
			fits["date"] = err == nil
		case c == "x" || c == "07":
		default:
			return "", false
		}
		var left []string
		for _, name := range candidates {
			if fits[name] {
				left = append(left, name)
			}
		}
		candidates = left
	}
	switch {
	case !seen:
		return "unknown", true
	case len(candidates) == 0:
		return "string", true
	}
	return candidates[0], true
}
