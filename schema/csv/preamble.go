package csv

import (
	"bytes"
	"slices"
)

// mostTitles is how many lines of several cells may stand before a table.
const mostTitles = 20

// tableStart is the line at which the table begins: its header, or its first row.
// Lines before it are too narrow, or have one cell that is not empty.
func (c *candidate) tableStart(lines []line) int {
	if c.width < 2 {
		return 0
	}
	at := 0
	// A title may have as many delimiters as the rows, amid others that have none.
	for i, wide, narrow := 0, 0, 0; i < min(20, len(lines)/2); i++ {
		switch lines[i].width() {
		case c.width:
			wide++
		case 1:
			if narrow++; narrow > wide {
				at = i + 1
			}
		}
	}
	for at < len(lines) && lines[at].width() != c.width {
		at++
	}
	if at == len(lines) {
		return 0
	}
	// A program draws a line above the names, and one below them.
	if at > 1 && lines[at-1].isLine() && !lines[at-1].gap && lines[at-2].width() == c.width && c.clearlyNames(lines[at-2], lines[at:], 2) {
		return at - 2
	}
	// Rows that are not as wide as most are rows all the same where that is usual,
	// or where they hold only values; but not above the names.
	named := at > 0 && c.clearlyNames(lines[at], lines[at+1:], c.width)
	for i := range lines[:at] {
		l := lines[i]
		if named || l.width() < 2 || slices.ContainsFunc(lines[i+1:at+1], func(l line) bool { return l.gap }) {
			continue
		}
		text := slices.ContainsFunc(l.cells, func(cell Cell) bool { return classify(cell.Text) == classText })
		if c.share < 0.9 || !text && l.filled > 1 {
			return i
		}
	}
	if gap := c.startBehindGap(lines, at); gap > at {
		return gap
	}
	if names := c.startBehindKeys(lines, at); names > at {
		return names
	}
	if names := c.startBehindSentences(lines, at); names > at {
		return names
	}
	// Rows of which only one cell is filled are titles, unless such rows are usual.
	dense := func(l line) bool { return l.width() == c.width && l.filled >= 2 && !l.isKey() }
	usual := 0
	for _, l := range lines[at:] {
		if dense(l) {
			usual++
		}
	}
	if usual*10 >= (len(lines)-at)*6 {
		value := false
		for title := at; title < len(lines)-1 && title < at+50 && lines[title].width() == c.width; title++ {
			if l := lines[title]; !dense(l) {
				if !l.isKey() && !firstFilled(l.cells) {
					break // a value, and no title
				}
				value = value || classify(l.cells[0].Text) != classText && l.filled > 0
				continue
			}
			named, _, evidence := c.names(lines[title].cells, lines[title+1:])
			if value && !(named && sum(evidence) >= 1) {
				break // a value, and no title
			}
			if c.width > 2 || named {
				at = title
			}
			// So is one of two cells and more, if names are below it that it does not look like.
			if l := lines[at]; c.width > 2 && l.filled < c.width && sum(evidence) < 1 && at+2 < len(lines) &&
				lines[at+1].width() == c.width && !lines[at+1].gap && c.headerRows(lines, at) == 1 && c.clearlyNames(lines[at+1], lines[at+2:], c.width) {
				at++
			}
			break
		}
	}
	return at
}

// startBehindGap is the line behind a blank line that names the columns below it,
// where those above it are texts as wide as the table by chance: all of them have
// texts where the rows below have values. at where there is none.
func (c *candidate) startBehindGap(lines []line, at int) int {
	i := at + 1
	for i < len(lines)-1 && i <= at+mostTitles && !lines[i].gap {
		i++
	}
	if i >= len(lines)-1 || i > at+mostTitles || lines[i].width() != c.width {
		return at
	}
	columns := 0
	for j, t := range typedColumns(lines[i+1:], c.width) {
		if t != classNumber && t != classDate {
			continue
		}
		columns++
		if slices.ContainsFunc(lines[at:i], func(l line) bool { return j >= l.width() || classify(l.cells[j].Text) != classText }) {
			return at
		}
	}
	if yes, _, evidence := c.names(lines[i].cells, lines[i+1:]); columns == 0 || !yes || sum(evidence) < 1 {
		return at
	}
	return i
}

// startBehindKeys is the line behind keys and their values that a spreadsheet made as wide
// as the table: two lines at least of which only the first two cells are filled, or that
// have values in columns of values, and then one that has a text in every column. at
// where there is none.
func (c *candidate) startBehindKeys(lines []line, at int) int {
	i := at
	for i < len(lines)-1 && i < at+mostTitles && c.width > 2 && lines[i].filled == 2 && lines[i].width() == c.width &&
		len(lines[i].cells[0].Text) > 0 && len(lines[i].cells[1].Text) > 0 {
		i++
	}
	if i-at < 2 {
		i = c.behindValues(lines, at)
	}
	if i-at < 2 || !c.clearlyNames(lines[i], lines[i+1:], c.width) {
		return at
	}
	return i
}

// behindValues is the line behind those whose first cell is a text, and the only one, or
// followed by another value than a year.
func (c *candidate) behindValues(lines []line, at int) int {
	i := at
	for i < len(lines)-1 && i < at+mostTitles && c.width > 2 && lines[i].width() == c.width {
		cells := lines[i].cells
		second := classify(cells[1].Text)
		if classify(cells[0].Text) != classText || lines[i].filled > 1 && (second != classNumber && second != classDate || year(cells[1].Text)) {
			break
		}
		i++
	}
	return i
}

// clearlyNames says whether a record has texts in columns as many as that, and no values,
// unlike the cells below it.
func (c *candidate) clearlyNames(l line, below []line, fewest int) bool {
	if l.filled < fewest || slices.ContainsFunc(l.cells, func(cell Cell) bool { is := classify(cell.Text); return is != classText && is != classEmpty }) {
		return false
	}
	yes, _, evidence := c.names(l.cells, below)
	return yes && sum(evidence) >= 1
}

// startBehindSentences is the line behind sentences, of which the first is as wide as the
// table by chance, and the last is not: the first that has a text in every column. at
// where there is none.
func (c *candidate) startBehindSentences(lines []line, at int) int {
	spaced := false
	for i := at; i < len(lines)-1 && i <= at+mostTitles; i++ {
		l := lines[i]
		if i > at && spaced && lines[i-1].width() != c.width && l.width() == c.width && c.clearlyNames(l, lines[i+1:], c.width) {
			return i
		}
		if l.isLine() || slices.ContainsFunc(l.cells, func(cell Cell) bool {
			is := classify(cell.Text)
			return is == classNumber || is == classDate
		}) {
			break
		}
		spaced = spaced || l.isSentence()
	}
	return at
}

// isSentence says whether a space stands behind each delimiter, and no cell is quoted.
func (l *line) isSentence() bool {
	for i, cell := range l.cells {
		if cell.Quoted || len(bytes.TrimSpace(cell.Text)) == 0 || i > 0 && cell.Text[0] != ' ' {
			return false
		}
	}
	return l.width() > 1
}

// isKey says whether a line is a key, which ends in a colon, and its value, or several
// of them.
func (l *line) isKey() bool {
	keys := 0
	for _, cell := range l.cells {
		if bytes.HasSuffix(bytes.TrimSpace(cell.Text), []byte(":")) {
			keys++
		} else if keys == 0 {
			return false
		}
	}
	return l.filled > 1 && l.width() > 2 && keys*2 >= l.filled && (l.filled > 2 || len(l.cells[1].Text) > 0)
}

// firstFilled says whether no cell but the first has a text.
func firstFilled(cells []Cell) bool {
	for i, cell := range cells {
		if i > 0 && len(bytes.TrimSpace(cell.Text)) > 0 {
			return false
		}
	}
	return true
}
