package csv

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// rate scores how much the sample looks like a table: by the share of rows that
// have the usual width, by that width, and by how many cells look like values
// and not like pieces of a row cut in wrong places. Lines before the first and
// behind the last row of that width may be a preamble and a footer.
func (c *candidate) rate() {
	first, last, n := -1, 0, 0
	for i := range c.lines {
		if c.lines[i].width() == c.width {
			if first < 0 {
				first = i
			}
			last = i
			n++
		}
	}
	inside := last - first + 1
	c.share = float64(n) / float64(inside)
	c.in = 1 - 0.5*float64(len(c.lines)-inside)/float64(len(c.lines))
	cells, quoted, empty, padded, wider := 0, 0, 0, 0, 0
	for i := first; i <= last; i++ {
		for j, cell := range c.lines[i].cells {
			c.worth += c.worthOf(cell)
			cells++
			switch {
			case cell.Quoted:
				quoted++
			case len(cell.Text) == 0:
				empty++
			case cell.Text[0] == ' ' && len(cell.Text) > 1:
				padded++
				if j > 0 {
					wider++
				}
			}
		}
	}
	c.worth /= float64(cells)
	c.worth *= 1 - 0.5*float64(c.loose)/float64(len(c.lines))
	c.worth *= 1 - 0.5*float64(c.torn(c.lines[first:last+1]))/float64(inside)
	if c.width == 1 {
		// A table of one column is what is left when nothing else fits.
		if c.score = 0.1 * c.worth; c.d.Delimiter != "," { // which some lines have, and parts nothing
			c.score *= 0.5
		}
		return
	}
	c.score = c.share * c.in * c.worth * float64(c.width-1) / float64(c.width)
	c.score *= 1 - 0.1*float64(padded)/float64(cells)
	switch d := strings.TrimSpace(c.d.Delimiter); {
	case d == ":" && (c.share < 1 || c.in < 1 || len(c.lines) < 3 || c.width == 2 && (len(c.lines) < 4 || c.clock())):
		c.score = 0 // times and URLs have colons
	case (d == ":" || d == "" && c.d.Delimiter[0] == ' ') && c.moments():
		c.score = 0
	case d == ":" && c.timed():
		c.score *= 0.3
	case d == ":":
		c.score *= 0.7
	case d == "" && c.d.Delimiter[0] == ' ':
		// Words have spaces, and so have columns that are set side by side.
		c.score *= 0.7 * (1 - float64(empty)/float64(cells))
		if c.share < 0.9 || c.width < 3 && quoted == 0 && c.worth < 1 || quoted == 0 && c.wordy() {
			c.score *= 0.1
		}
	case (d == "^" || d == "~" || d == "|~|") && c.share < 0.9:
		c.score *= 0.2
	case c.share < 0.5:
		c.score *= 0.2
	}
	// The rarer ways of writing need some evidence.
	if c.d.Quote != '"' && c.d.Quote != 0 && quoted == 0 {
		c.score *= 0.9
	}
	if c.d.Escape != 0 || c.d.Padded {
		c.score *= 0.999
	}
	if len(c.d.Delimiter) > 1 && c.share < 0.8 {
		c.score *= 0.5
	}
	if strings.HasSuffix(c.d.Delimiter, " ") && c.d.Delimiter[0] != ' ' && wider*10 > cells { // columns that are set below each other
		c.score *= 0.9
	}
}

// clock says whether the first two cells of a row look like a time, a URL, or a
// key and its value, which have a colon between them.
func (c *candidate) clock() bool {
	for _, l := range c.lines {
		a, b := l.cells[0].Text, l.cells[1].Text
		if len(b) > 0 && (b[0] == '/' || b[0] == ' ') || len(a) <= 2 && len(b) >= 2 && classify(a) == classNumber && classify(b[:2]) == classNumber {
			return true
		}
	}
	return false
}

// aTime is a time of day amid others.
var aTime = regexp.MustCompile(`(^|\D)\d{1,2}:\d\d(\D|$)`)

// timed says whether nearly every line has a time of day, which colons part.
func (c *candidate) timed() bool {
	lines := c.lines[:min(len(c.lines), 200)]
	n := 0
	for _, l := range lines {
		if aTime.Match(c.text[l.from-c.o.Offset : l.to-c.o.Offset]) {
			n++
		}
	}
	return n*10 >= len(lines)*9
}

// aMoment is a time of day, with the day before it or not.
var aMoment = regexp.MustCompile(`^"?(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T])?\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?([AaPp][Mm]|Z|UTC|GMT|[+-]\d\d(:?\d\d)?))?"?$`)

// moments says whether nearly every line, its name aside, is one moment: a column of
// timestamps, whose parts are no cells.
func (c *candidate) moments() bool {
	lines := c.lines[:min(len(c.lines), 200)]
	if len(lines) > 1 {
		lines = lines[1:]
	}
	n := 0
	for _, l := range lines {
		if aMoment.Match(bytes.TrimRight(c.text[l.from-c.o.Offset:l.to-c.o.Offset], " \r\n")) {
			n++
		}
	}
	return n*10 >= len(lines)*9
}

// halved says whether the delimiter is half of the one that the text has: nearly
// always it stands twice, and rows parted by the two have one width.
func (c *candidate) halved(all []candidate) bool {
	if len(c.d.Delimiter) != 1 {
		return false
	}
	twice := c.d.Delimiter + c.d.Delimiter
	return slices.ContainsFunc(all, func(o candidate) bool {
		return o.d.Delimiter == twice && o.width > 1 && o.share >= 0.95 &&
			bytes.Count(c.text, []byte(twice))*10 >= bytes.Count(c.text, []byte(c.d.Delimiter))*4
	})
}

// worded says whether the delimiter is the space between words: another parts all
// rows alike, and stands amid the texts that this one makes.
func (c *candidate) worded(all []candidate) bool {
	if c.d.Delimiter != " " {
		return false
	}
	return slices.ContainsFunc(all, func(o candidate) bool {
		if d := o.d.Delimiter; d == ":" || d[0] == ' ' || o.width < 2 || o.share < 0.95 {
			return false
		}
		cut := 0
		for _, l := range c.lines {
			if slices.ContainsFunc(l.cells, func(cell Cell) bool {
				return !cell.Quoted && classify(cell.Text) == classText && bytes.Contains(cell.Text, []byte(o.d.Delimiter))
			}) {
				cut++
			}
		}
		return cut*2 >= len(c.lines)
	})
}

// outdone says whether the lines that the candidate leaves before its table are rows
// by another delimiter, which parts all lines alike: then its own stands in texts.
func (c *candidate) outdone(all []candidate) bool {
	if c.width < 2 || c.lines[0].width() == c.width {
		return false
	}
	return slices.ContainsFunc(all, func(o candidate) bool {
		return o.d.Delimiter[0] != ' ' && o.d.Delimiter != ":" && o.d.Delimiter != c.d.Delimiter &&
			o.width > 1 && o.share == 1 && o.in == 1 && len(o.lines) > 2
	})
}

// wordy says whether spaces part nothing but words, of which texts may have as many by
// chance: no column holds values, or few do and the first line has not as many words.
func (c *candidate) wordy() bool {
	values := 0
	for _, t := range typedColumns(c.lines, c.width) {
		if t != classText {
			values++
		}
	}
	return values == 0 || values*2 < c.width && c.lines[0].width() != c.width
}

// torn counts the rows in which a cell begins with a character that quotes, and a
// later one ends with it: the delimiter between them was in a quoted cell.
func (c *candidate) torn(rows []line) (n int) {
	for _, l := range rows {
		open := byte(0)
		for _, cell := range l.cells {
			text := bytes.TrimSpace(cell.Text)
			if cell.Quoted || len(text) < 2 {
				continue
			}
			first, last := text[0], text[len(text)-1]
			switch {
			case open != 0 && last == open && first != open:
				n++
				open = 0
			case (first == '"' || first == '\'') && last != first && first != c.d.Quote:
				open = first
			}
		}
	}
	return n
}

// worthOf is how much a cell looks like a value, 0 to 1.
func (c *candidate) worthOf(cell Cell) float64 {
	switch classify(cell.Text) {
	case classEmpty, classNumber, classDate, classBoolean:
		return 1
	}
	if cell.Quoted {
		return 1
	}
	if n := len(cell.Text); n > 0 {
		if q := cell.Text[0]; (q == '"' || q == '\'') && (n == 1 || cell.Text[n-1] == q) {
			return 0
		}
	}
	torn := 0
	for _, b := range cell.Text {
		switch b {
		case '\t', '|', '"', 1:
			return 0.1
		case ',', ';':
			torn++
		}
	}
	if torn > 0 {
		return 0.4
	}
	return 0.9
}
