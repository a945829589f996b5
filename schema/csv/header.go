package csv

import (
	"bytes"
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
	case separators == 0:
		return classNumber
	case digits >= 3:
		return classDate
	}
	return classText
}

// found decides on the header, and says what was found.
func (c *candidate) found(fixed Overrides) Found {
	header := c.header()
	if fixed.Header != nil {
		header = *fixed.Header
	}
	f := Found{Dialect: c.d, Width: c.width, Body: c.start, BodyLine: c.first}
	f.Dialect.Header = header && !c.reject
	if f.Dialect.Header {
		f.Columns = make([]string, len(c.rows[0]))
		for i, cell := range c.rows[0] {
			f.Columns[i] = string(cell.Text)
		}
		f.Body, f.BodyLine = c.body, c.line
	}
	return f
}

// header says whether the first record names the columns. Its cells are held
// against those below: a name is no number over numbers, no date over dates; and
// where all is text, names look like names, and unlike what is below them.
func (c *candidate) header() bool {
	first, body := c.rows[0], c.rows[1:]
	if c.reject {
		return false
	}
	names, text := true, 0
	seen := map[string]bool{}
	for _, cell := range first {
		cl := classify(cell.Text)
		if cl == classNumber || cl == classDate {
			names = false
		}
		if len(cell.Text) > 0 {
			if seen[string(cell.Text)] {
				names = false
			}
			seen[string(cell.Text)] = true
			if !looksLikeName(cell.Text) {
				names = false
			}
			text++
		}
	}
	if text == 0 {
		return false
	}
	if len(body) == 0 {
		return names && text == len(first)
	}
	evidence := 0.0
	for i, cell := range first {
		evidence += c.columnEvidence(i, cell)
	}
	switch {
	case evidence >= 1:
		return true
	case evidence <= -1:
		return false
	}
	return names
}

// columnEvidence holds a column's first cell against the rest: above zero where
// it looks like its name, below where it looks like one more value.
func (c *candidate) columnEvidence(i int, first Cell) float64 {
	var counts [classBoolean + 1]int
	values, same, short, long := 0, 0, 1<<30, 0
	for _, row := range c.rows[1:] {
		if i >= len(row) || len(row) != c.width && c.width > 1 {
			continue
		}
		cl := classify(row[i].Text)
		counts[cl]++
		if cl != classEmpty {
			values++
			n := utf8.RuneCount(row[i].Text)
			short, long = min(short, n), max(long, n)
			if bytes.Equal(row[i].Text, first.Text) {
				same++
			}
		}
	}
	if values == 0 {
		return 0
	}
	is := classify(first.Text)
	for _, typed := range []class{classNumber, classDate, classBoolean} {
		if counts[typed]*10 < values*9 {
			continue
		}
		switch {
		case is == typed:
			return -1
		case is == classText:
			return 1
		case is == classNumber || is == classDate:
			return 0.5 // a day over counts, a number over truths
		}
		return 0
	}
	n := utf8.RuneCount(first.Text)
	switch {
	case is == classNumber || is == classDate:
		return -0.5
	case same > 0 && len(c.rows) > 3:
		return -1
	case values >= 5 && short == long: // a column of codes
		if n == short {
			if bytes.EqualFold(first.Text, []byte("id")) {
				return 0
			}
			return -1
		}
		if is == classText {
			return 0.5
		}
	case values >= 3 && !looksLikeName(first.Text) && is == classText:
		return -0.5
	}
	return 0
}

// looksLikeName says whether a text may be a column's name: short, one line,
// some letter, and none of the marks of a sentence or a value.
func looksLikeName(text []byte) bool {
	if len(text) == 0 || len(text) > 80 || bytes.ContainsAny(text, "\r\n") || bytes.Contains(text, []byte("://")) {
		return false
	}
	if n := len(text); text[n-1] == '.' || bytes.ContainsAny(text, ",;") {
		return false
	}
	return bytes.IndexFunc(text, unicode.IsLetter) >= 0
}
