package csv

import (
	"bytes"
	"slices"
)

// found finds the table in the sample: what is before it, its header, and what is
// behind it.
func (c *candidate) found(fixed Overrides, complete bool, why *Explanation) Found {
	start, end := 0, len(c.lines)
	all := c.lines
	whole := fixed.Tail != nil && !*fixed.Tail
	if complete && !whole && c.width > 1 {
		all = c.all()
	}
	second := -1
	if complete && !whole {
		if second = c.secondTable(all, texts(all[0].cells), fixed.Known); second >= 0 && second < len(c.lines) {
			end = second
			c.width = usualWidth(c.lines[:end])
		}
	}
	table := c.lines[:end]
	if part, at, ok := c.partOfFeed(table, fixed); ok {
		table, start = part, at
	} else if fixed.Skip == nil {
		start = c.tableStart(table)
		wide := 0
		for _, l := range table[:start] {
			if l.filled > 1 {
				wide++
			}
		}
		if wide > mostTitles { // the table, and what follows is rows of another width
			c.width = usualWidth(table[:start])
			start = c.tableStart(table[:start])
		} else if at := c.tableBefore(table[:start]); at >= 0 {
			start, c.width = at, table[at].width()
			if complete && !whole {
				if second = c.secondTable(all[at:], texts(all[at].cells), fixed.Known); second >= 0 {
					second += at
					table = table[:min(second, len(table))]
					end = len(table)
				}
			}
		}
	}
	h := c.headerOf(table, start, fixed)
	if fixed.Skip == nil {
		start = h.at
	}
	f := Found{Dialect: c.d, Width: c.width, Known: others(fixed.Known, nil)}
	f.Dialect.Header = h.rows > 0
	if h.rows > 1 {
		f.Dialect.Headers = h.rows
	}
	switch {
	case fixed.Trailing != nil:
	case c.trailing(table[min(h.at+h.rows, len(table)):], h):
		f.Dialect.Trailing = true
		f.Width--
		if len(h.names) == c.width && h.names[len(h.names)-1] == "" {
			h.names = h.names[:len(h.names)-1]
		}
	}
	if h.rows > 0 {
		f.Columns = fitNames(h, f.Width)
		f.Known = others(fixed.Known, f.Columns)
	}
	first := table[start]
	f.Body, f.BodyLine = c.o.Offset, c.o.Line
	if start > 0 {
		f.Body, f.BodyLine = first.from, first.number
		f.Dialect.Skip = int(first.number) - 1
	}
	if h.rows > 0 {
		last := table[h.at+h.rows-1]
		f.Body = last.to
		_, f.BodyLine = c.positionBehind(last)
	}
	if end == second || second >= len(c.lines) {
		f.Tail = Tail{From: all[second].from, Rule: SecondTable}
	} else if complete && !whole {
		if at := c.footer(all, h.at+h.rows); at >= 0 {
			f.Tail = Tail{From: all[at].from, Rule: Footer}
		}
	}
	if f.Tail.Rule != "" {
		f.Tail.To = c.o.Offset + int64(len(c.text))
	}
	c.explain(why, h, f, table, all, start)
	return f
}

// partOfFeed finds the part of the lines that the object's own header is over, and
// where it begins, where one of the feed's headers stands among them: up to the next
// of these, from the first on. Before the first is a part of its own, if it is a
// table, with a header of its own, or of values, or too long for titles; else there
// are titles.
func (c *candidate) partOfFeed(lines []line, fixed Overrides) (part []line, start int, ok bool) {
	if fixed.Skip != nil || fixed.Headers != nil || fixed.Header != nil {
		return nil, 0, false
	}
	// next is where a header of the feed begins, from a line on; -1 where none does.
	next := func(from int) int {
		for i := from; len(fixed.Known) > 0 && i < len(lines); i++ {
			if recordsOf(fixed.Known, lines[i:]) > 0 {
				return i
			}
		}
		return -1
	}
	at := next(0)
	if at < 0 {
		return nil, 0, false
	}
	own := *c
	if own.width = usualWidth(lines[:max(at, 1)]); at > 1 && own.width > 1 && lines[0].width() == own.width {
		yes, _, evidence := own.names(lines[0].cells, lines[1:at])
		text := slices.ContainsFunc(lines[:at], func(l line) bool {
			return slices.ContainsFunc(l.cells, func(cell Cell) bool { return classify(cell.Text) == classText })
		})
		if yes && sum(evidence) >= 1 || !text || at > mostTitles {
			c.width = own.width
			return lines[:at], 0, true
		}
	}
	c.width = lines[at].width()
	if behind := next(at + recordsOf(fixed.Known, lines[at:])); behind >= 0 {
		lines = lines[:behind]
	}
	return lines, at, true
}

// positionBehind is where the lines go on behind l.
func (c *candidate) positionBehind(l line) (offset, number int64) {
	s := splitText(c.text[l.from-c.o.Offset:l.to-c.o.Offset], c.d, Options{Offset: l.from, Line: l.number, Width: c.o.Width, Unwrap: c.o.Unwrap})
	s.begun = true
	for {
		if _, err := s.Next(); err != nil {
			return s.Position()
		}
	}
}

// all are all lines of a sample that is the whole object, those beyond the head
// without their cells' texts.
func (c *candidate) all() []line {
	lines := slices.Clone(c.lines)
	last := lines[len(lines)-1]
	if last.to-c.o.Offset >= int64(len(c.text)) {
		return lines
	}
	o := c.o
	o.Offset, o.Line = c.positionBehind(last)
	s := splitText(c.text[o.Offset-c.o.Offset:], c.d, o)
	s.begun, s.gap = true, false
	for {
		row, err := s.Next()
		if err != nil {
			return lines
		}
		lines = append(lines, s.sampled(row, false))
	}
}

// cellsAt are a line's cells, also where they were not kept.
func (c *candidate) cellsAt(l line) []Cell {
	for _, cell := range l.cells {
		if cell.Text != nil {
			return l.cells
		}
	}
	s := splitText(c.text[l.from-c.o.Offset:l.to-c.o.Offset], c.d, Options{Offset: l.from, Line: l.number, Width: c.o.Width, Unwrap: c.o.Unwrap})
	s.begun = true
	row, err := s.Next()
	if err != nil {
		return l.cells
	}
	return s.sampled(row, true).cells
}

// withCells are lines with their cells, also where they were not kept.
func (c *candidate) withCells(lines []line) []line {
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i].cells = c.cellsAt(lines[i])
	}
	return lines
}

// secondTable finds the line at which another table begins, -1 where there is
// none. It has another width than the first, whose names, if it has some, are own; no
// row behind it has the width of the first, and it begins with names. One that begins
// with a header of the feed is no other table.
func (c *candidate) secondTable(lines []line, own []string, known [][]string) int {
	above, below := map[int]int{}, map[int]int{} // lines of each width before and from at on
	for i := range lines {
		below[lines[i].width()]++
	}
	usual := 0 // width above
	for at := 0; at+1 < len(lines); at++ {
		if at > 0 {
			w := lines[at-1].width()
			above[w]++
			below[w]--
			if above[w] > above[usual] {
				usual = w
			}
		}
		w := lines[at].width()
		if at < 2 || w < 2 || w == usual || w == lines[at-1].width() || w != lines[at+1].width() ||
			usual < 2 || above[usual]*10 < at*9 || below[usual] > 0 {
			continue
		}
		// Of several tables behind the first each has names and stands by itself.
		if below[w]*10 < (len(lines)-at)*9 && !((lines[at].gap || lines[at-1].width() == 1) && c.newNames(lines, at, own)) {
			continue
		}
		// A few lines of keys and values before a larger table are its preamble.
		if n := above[usual]; n < 5 && n*4 < len(lines)-at || n < 3 {
			continue
		}
		if !lines[at].gap && lines[at-1].width() != 1 && !c.newNames(lines, at, own) || recordsOf(known, c.withCells(lines[at:min(len(lines), at+maxHeaders)])) > 0 {
			continue
		}
		// Titles above it are of the second table, too.
		for at > 2 && lines[at-1].width() == 1 {
			at--
		}
		return at
	}
	return -1
}

func texts(cells []Cell) (out []string) {
	for _, cell := range cells {
		out = append(out, string(cell.Text))
	}
	return out
}

// fewestBefore is how many lines a smaller table has before the largest.
const fewestBefore = 5

// tableBefore finds the line at which a table begins among those before the one that
// has more rows, which is then another behind it: with names, wider than that, and with
// no other line behind its rows but after a blank line. -1 where there is none.
func (c *candidate) tableBefore(lines []line) int {
	for at := range lines {
		w, n := lines[at].width(), 1
		if w <= c.width {
			continue
		}
		for at+n < len(lines) && lines[at+n].width() == w && !lines[at+n].gap {
			n++
		}
		if n < fewestBefore || at+n < len(lines) && !lines[at+n].gap {
			return -1
		}
		own := *c
		own.width = w
		if !own.clearlyNames(lines[at], lines[at+1:at+n], w) {
			return -1
		}
		return at
	}
	return -1
}

// newNames says whether the record at at names columns: its cells are unlike those
// below it, or half of them are names of the first table.
func (c *candidate) newNames(lines []line, at int, own []string) bool {
	first := c.cellsAt(lines[at])
	again := 0
	for _, cell := range first {
		if len(cell.Text) > 0 && slices.Contains(own, string(cell.Text)) {
			again++
		}
	}
	below := c.withCells(lines[at+1 : min(len(lines), at+51)])
	other := *c
	other.width = len(first)
	yes, _, evidence := other.names(first, below)
	return again*2 >= len(first) || yes && sum(evidence) >= 1
}

// trailing says whether each row ends with a delimiter behind which no cell is
// meant: its last cell is always empty, and has no name in the header.
func (c *candidate) trailing(rows []line, h header) bool {
	if c.width < 2 || len(rows) == 0 || c.d.Escape != 0 && c.d.Quote == 0 {
		return false
	}
	if h.rows > 0 && (len(h.names) != c.width-1 || h.shifted) {
		return false
	}
	if h.rows == 0 && len(rows) < 2 {
		return false
	}
	return c.lastEmpty(rows)
}

// lastEmpty says whether the last cell of every row is empty.
func (c *candidate) lastEmpty(rows []line) bool {
	n := 0
	for _, l := range rows {
		if l.width() != c.width {
			continue
		}
		if last := l.cells[len(l.cells)-1]; len(last.Text) > 0 || last.Quoted {
			return false
		}
		n++
	}
	return n > 0
}

// explain tells what decided.
func (c *candidate) explain(why *Explanation, h header, f Found, table, all []line, start int) {
	why.Header, why.Columns = h.why, h.evidence
	shown := func(l line) Line {
		raw := c.text[l.from-c.o.Offset : l.to-c.o.Offset]
		raw = bytes.TrimRight(raw[:min(len(raw), shownText)], "\r\n")
		return Line{Number: l.number, Text: string(bytes.ToValidUTF8(raw, nil)), Cells: l.width()}
	}
	for _, l := range table[:min(start, shownLines)] {
		why.Preamble = append(why.Preamble, shown(l))
	}
	for _, l := range table[start:] {
		if l.width() != c.width && len(why.Ragged) < shownLines {
			why.Ragged = append(why.Ragged, shown(l))
		}
	}
	if f.Tail.Rule == "" {
		return
	}
	for _, l := range all {
		if f.Tail.holds(l.from) && len(why.Tail) < shownLines {
			why.Tail = append(why.Tail, shown(l))
		}
	}
}
