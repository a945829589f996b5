package csv

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// joined are the names in a header's records: those of a column joined with spaces.
func joined(lines []line) (names []string) {
	for i, l := range lines {
		if i > 0 && (l.isRule() || l.isLine()) {
			continue
		}
		for i, cell := range l.cells {
			if i == len(names) {
				names = append(names, "")
			}
			if names[i] != "" && len(cell.Text) > 0 {
				names[i] += " "
			}
			names[i] += string(cell.Text)
		}
	}
	return names
}

// fitNames makes the names fit rows of another width, where it is clear how: a
// name is missing before the first column of row names, or is there and empty once
// too often.
func fitNames(h header, width int) []string {
	names := h.names
	if h.shifted {
		return append([]string{""}, names...)
	}
	for len(names) > width && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	if len(names) == width+1 && isMark(names[0]) {
		return names[1:]
	}
	empty := -1
	for i, name := range names {
		if name == "" {
			if empty >= 0 {
				return names
			}
			empty = i
		}
	}
	if len(names) == width+1 && empty >= 0 {
		return slices.Delete(slices.Clone(names), empty, empty+1)
	}
	return names
}

// isMark says whether a name is none, but the mark of a comment before the names: alone,
// or with the word that log files have there.
func isMark(name string) bool {
	return name != "" && strings.IndexByte(commentMarks, name[0]) >= 0 && (strings.Trim(name, commentMarks) == "" || strings.HasSuffix(name, ":"))
}

// rowNames says whether the first column has no name because it numbers the rows,
// or names them, as programs for statistics write it.
func (c *candidate) rowNames(names []Cell, lines []line) bool {
	seen := map[string]bool{}
	numbers, quoted := true, true
	for _, l := range lines {
		if l.width() != c.width {
			continue
		}
		text := string(l.cells[0].Text)
		if text == "" || seen[text] {
			return false
		}
		seen[text] = true
		if n, err := strconv.Atoi(text); err != nil || n != len(seen) && n != len(seen)-1 {
			numbers = false
		}
		quoted = quoted && l.cells[0].Quoted
	}
	for _, name := range names {
		quoted = quoted && name.Quoted
	}
	typed := typedColumns(lines, c.width)
	matrix := c.width > 3 && typed[0] == classText && !slices.ContainsFunc(typed[1:], func(t class) bool { return t != classNumber })
	if numbers || !quoted && !matrix {
		return numbers
	}
	_, _, shifted := c.names(append([]Cell{{}}, names...), lines)
	_, _, same := c.names(append(slices.Clone(names), Cell{}), lines)
	return sum(shifted) > sum(same)
}

func sum(evidence []Evidence) (s float64) {
	for _, e := range evidence {
		s += e.Score
	}
	return s
}

// names says whether a record's cells name the columns of the rows below it, and
// why.
func (c *candidate) names(first []Cell, body []line) (yes bool, why string, evidence []Evidence) {
	like, numbers, text := true, false, 0
	seen := map[string]bool{}
	twice := 0
	for i, cell := range first {
		if cl := classify(cell.Text); cl == classNumber || cl == classDate {
			numbers = true
		} else if len(cell.Text) > 0 && !looksLikeName(cell.Text) && !c.namesOver(i, cell.Text, body) {
			like = false
		}
		if len(cell.Text) > 0 {
			if seen[string(cell.Text)] {
				twice++
			}
			seen[string(cell.Text)] = true
			text++
		}
	}
	if text == 0 {
		return false, "all of its cells are empty", nil
	}
	if len(body) == 0 {
		if like && !numbers && text == len(first) && twice == 0 {
			return true, "there is no other record, and its cells look like names", nil
		}
		return false, "there is no other record, and its cells do not look like names", nil
	}
	// The header again, in a file that was put together of several, is no row.
	body = slices.DeleteFunc(slices.Clone(body), func(l line) bool { return sameCells(l, line{cells: first}) })
	if len(body) == 0 {
		return like && !numbers && twice == 0, "there is no other record than it", nil
	}
	series := c.series(first, body)
	total := 0.0
	for i, cell := range first {
		e := Evidence{Name: string(cell.Text[:min(len(cell.Text), shownText)])}
		e.Score, e.Why = c.columnEvidence(i, cell, body, series[i])
		total += e.Score
		if cl := classify(cell.Text); (cl == classNumber || cl == classDate) && e.Score <= 0 {
			like = false
		}
		if e.Score != 0 {
			evidence = append(evidence, e)
		}
	}
	switch {
	case total >= 1:
		return true, "its cells are unlike those below them", evidence
	case total <= -1:
		return false, "its cells are like those below them", evidence
	case like && twice <= len(first)/2:
		return true, "its cells look like names, and nothing below speaks against it", evidence
	}
	return false, "its cells do not look like names", evidence
}

// isCapitals says whether all letters of a text are capitals.
func isCapitals(text []byte) bool {
	return bytes.IndexFunc(text, unicode.IsUpper) >= 0 && bytes.IndexFunc(text, unicode.IsLower) < 0
}

// fewestBelow is how many texts below a record tell what its cells are.
const fewestBelow = 3

// namesOver says whether a text may be the name of a column although it has traits of
// values, and is no sentence: hardly any text of the column has one of them.
func (c *candidate) namesOver(column int, text []byte, body []line) bool {
	t := traitsOf(text)
	if t&(traitNoLetter|traitStop) != 0 || c.width < 2 || column >= c.width {
		return false
	}
	texts, same := 0, 0
	for _, l := range body {
		if l.width() != c.width || classify(l.cells[column].Text) == classEmpty {
			continue
		}
		texts++
		if traitsOf(l.cells[column].Text)&t != 0 {
			same++
		}
	}
	return texts >= fewestBelow && same*10 <= texts
}

// series says which cells of a record are numbers in equal steps, as years and
// months are as names, where the rows below have none.
func (c *candidate) series(cells []Cell, body []line) []bool {
	in := steps(cells, true)
	for _, l := range body[:min(len(body), 3)] {
		for i, also := range steps(l.cells, false) {
			if also && i < len(in) {
				in[i] = false
			}
		}
	}
	return in
}

// steps says which cells are numbers in equal steps, three at least; as names are, if
// three are years, or count from 0 or 1: others may have equal steps by chance.
func steps(cells []Cell, asNames bool) []bool {
	in := make([]bool, len(cells))
	number := func(i int) (n int, ok bool) {
		if i >= len(cells) {
			return 0, false
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(cells[i].Text)))
		return n, err == nil
	}
	for from := 0; from < len(cells); from++ {
		first, ok := number(from)
		second, also := number(from + 1)
		if !ok || !also || first == second {
			continue
		}
		to := from + 1
		for n, ok := number(to); ok && n-first == (to-from)*(second-first); n, ok = number(to) {
			to++
		}
		if to-from > 3 || to-from == 3 && (!asNames || second-first == 1 && first >= 0 && first <= 1 || year(cells[from].Text) && year(cells[to-1].Text)) {
			for i := from; i < to; i++ {
				in[i] = true
			}
		}
	}
	return in
}

// columnEvidence holds a column's first cell against the rest: above zero where
// it looks like its name, below where it looks like one more value.
func (c *candidate) columnEvidence(i int, first Cell, body []line, series bool) (score float64, why string) {
	var counts [classBoolean + 1]int
	values, same, short, long, years, digits, capitals := 0, 0, 1<<30, 0, 0, 0, 0
	var value []byte // the one of all rows
	constant := true
	for _, l := range body {
		if i >= l.width() || l.width() != c.width && c.width > 1 {
			continue
		}
		text := l.cells[i].Text
		cl := classify(text)
		counts[cl]++
		if cl != classEmpty {
			values++
			n := utf8.RuneCount(text)
			short, long = min(short, n), max(long, n)
			if bytes.Equal(text, first.Text) {
				same++
			}
			if year(text) {
				years++
			}
			if bytes.ContainsAny(text, "0123456789") {
				digits++
			}
			if capitals == values-1 && isCapitals(text) {
				capitals++
			}
			if value == nil {
				value = text
			}
			constant = constant && bytes.Equal(text, value)
		}
	}
	if values == 0 {
		return 0, ""
	}
	is := classify(first.Text)
	if series {
		return 1, "one of a series of numbers, over none"
	}
	for _, typed := range []class{classNumber, classDate, classBoolean} {
		if counts[typed]*10 < values*9 {
			continue
		}
		switch {
		case is == typed && is == classNumber && year(first.Text) && years*10 < values:
			return 0.5, "a year over numbers"
		case is == typed:
			return -1, typed.String() + " over " + typed.plural()
		case is == classText:
			return 1, "text over " + typed.plural()
		case is == classNumber || is == classDate:
			return 0.5, is.String() + " over " + typed.plural() // a day over counts, a number over truths
		}
		return 0, ""
	}
	n := utf8.RuneCount(first.Text)
	switch {
	case is == classNumber || is == classDate:
		return -0.5, is.String() + " over text"
	case same > 0 && len(body) > 2:
		return -1, "the same as a cell below"
	case values >= 5 && constant && is == classText:
		return 0.5, "another text than that of all rows"
	case values >= 5 && digits == values && is == classText && !bytes.ContainsAny(first.Text, "0123456789"):
		return 0.5, "no digit over texts that all have some"
	case values >= 5 && capitals == values && is == classText && bytes.IndexFunc(first.Text, unicode.IsLower) >= 0:
		return 0.5, "small letters over texts in capitals"
	case values >= 5 && short == long: // a column of codes
		if n == short {
			if bytes.EqualFold(first.Text, []byte("id")) {
				return 0, ""
			}
			return -1, "as long as each of the codes below"
		}
		if is == classText {
			return 0.5, "not as long as the codes below"
		}
	case values >= 3 && is == classText && !looksLikeName(first.Text) && !c.namesOver(i, first.Text, body):
		return -0.5, "no name"
	}
	return 0, ""
}
