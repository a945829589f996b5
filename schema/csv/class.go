package csv

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"lakefeed/schema"
)

// class is what a cell's text looks like. It is no type: it only has to tell a
// name from a value.
type class uint8

const (
	classText class = iota
	classEmpty
	classNumber
	classDate
	classBoolean
)

// classify looks at a cell's text.
func classify(text []byte) class {
	text = bytes.TrimSpace(text)
	if schema.IsNullToken(text) {
		return classEmpty
	}
	if len(text) > 64 {
		return classText
	}
	if bytes.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		text = []byte(signs.Replace(string(text)))
	}
	switch string(bytes.ToLower(text)) {
	case "true", "false", "yes", "no", "t", "f", "y", "n":
		return classBoolean
	case "nan", "inf", "-inf", "infinity", "-infinity", "n/a", "none", "-", "--", "...":
		return classEmpty
	}
	digits, letters, separators, points, other := 0, 0, 0, 0, 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' && i > 0 && !(text[i-1]|0x20 == 'e'), c == '/', c == ':':
			separators++
		case c == '.' || c == ',':
			points++
		case c == '+', c == '-', c == '%', c == '$', c == ' ':
		case (c|0x20 == 'e') && i > 0 && digits > 0 && i+1 < len(text), (c == 'T' || c == 'Z') && separators > 0:
			letters++
		default:
			other++
		}
	}
	switch {
	case other > 0 || digits == 0 || letters > 2:
		return classText
	case separators == 0 && points == 2 && dayWithPoints(text):
		return classDate
	case separators == 0:
		return classNumber
	case digits >= 3:
		return classDate
	}
	return classText
}

// signs are what numbers have beside digits, in the form that classify knows.
var signs = strings.NewReplacer("€", "$", "£", "$", "¥", "$", "−", "-", "\u00a0", " ", "\u2009", " ", "\u202f", " ")

// dayWithPoints says whether a text of digits is a day as 31.12.2020 or 31.12.20.
func dayWithPoints(text []byte) bool {
	day, rest, _ := bytes.Cut(text, []byte("."))
	month, year, ok := bytes.Cut(rest, []byte("."))
	two := len(day) == 2 && len(month) == 2
	return ok && (len(year) == 4 || len(year) == 2 && two) && len(day) <= 2 && len(month) <= 2 && len(day)*len(month) > 0 &&
		len(bytes.Trim(text, "0123456789.")) == 0
}

func year(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) == 4 && string(text) >= "1900" && string(text) <= "2100" && classify(text) == classNumber
}

func (c class) String() string {
	return [...]string{"text", "nothing", "a number", "a date", "a truth"}[c]
}

func (c class) plural() string {
	return [...]string{"texts", "nothing", "numbers", "dates", "truths"}[c]
}

// A trait is what names hardly ever have, and values often.
type trait uint8

const (
	traitLong  trait = 1 << iota // more than 80 bytes
	traitBreak                   // a line break
	traitURL                     // a URL or an address
	traitComma                   // a comma or semicolon, but in parentheses
	traitStop                    // it ends as a sentence
	traitNoLetter
)

// traitsOf are the traits of a text.
func traitsOf(text []byte) (t trait) {
	if len(text) > 80 {
		t |= traitLong
	}
	if bytes.ContainsAny(text, "\r\n") {
		t |= traitBreak
	}
	if bytes.Contains(text, []byte("://")) || bytes.IndexByte(text, '@') > 0 {
		t |= traitURL
	}
	deep := 0
	for _, c := range text {
		switch c {
		case '(', '[':
			deep++
		case ')', ']':
			deep--
		case ',', ';':
			if deep <= 0 {
				t |= traitComma
			}
		}
	}
	if deep > 0 && bytes.ContainsAny(text, ",;") { // parentheses that do not close
		t |= traitComma
	}
	if n := len(text); n > 0 && text[n-1] == '.' && !isAbbreviation(text) {
		t |= traitStop
	}
	if bytes.IndexFunc(text, unicode.IsLetter) < 0 {
		t |= traitNoLetter
	}
	return t
}

// isAbbreviation says whether a text that ends in a point is few words of which the last
// is cut short, as Ref. No. is.
func isAbbreviation(text []byte) bool {
	words := bytes.Fields(text)
	return len(words) > 0 && len(words) <= 3 && len(words[len(words)-1]) <= 5
}

// looksLikeName says whether a text may be a column's name: short, one line,
// some letter, and none of the marks of a sentence or a value.
func looksLikeName(text []byte) bool { return len(text) > 0 && traitsOf(text) == 0 }
