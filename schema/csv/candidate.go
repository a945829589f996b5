package csv

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
)

// A candidate is a dialect and what the sample looks like by it.
type candidate struct {
	d     Dialect
	score float64
	share float64 // of the rows inside that have the usual width
	in    float64 // how much of the sample lies between the first and last of them
	worth float64
	table
}

// table is the head of the sample, cut by a dialect.
type table struct {
	text  []byte // the sample, from o.Offset on
	o     Options
	lines []line
	width int // cells that most rows have
	loose int // rows with quotes in places where they should not be
}

// line is one record of a sample, or one reject.
type line struct {
	from, to int64 // where it is, as Row.From counts
	number   int64
	gap      bool // a blank line or comment is before it
	cells    []Cell
	rule     string
	filled   int // cells that are not empty
}

func (l *line) width() int { return len(l.cells) }

const (
	sampleRows  = 1000
	sampleBytes = 256 << 10
)

// The delimiters that are looked for, the likelier ones first: of two that fit
// equally well the first is taken. Those of several bytes are held against their
// first byte.
var delimiters = []string{",", ";", "\t", "|", ", ", "; ", "||", " | ", "\t\t", "::", "|~|", "^|^", ":", "\x01", "^", "~", " "}

// The characters that begin a comment.
const commentMarks = "#~%!"

// choose cuts the sample by every dialect that it might be written in, and takes
// the one by which it looks most like a table.
func choose(text []byte, base Dialect, fixed Overrides, o Options, why *Explanation) (best candidate, ok bool) {
	tried := delimiters
	if fixed.Delimiter != nil {
		tried = []string{base.normal().Delimiter}
	}
	quotes := []byte{'"'}
	switch {
	case fixed.Quote != nil:
		quotes = []byte{*fixed.Quote}
	default:
		if bytes.IndexByte(text, '\'') >= 0 {
			quotes = append(quotes, '\'')
		}
		if tildes(text) {
			quotes = append(quotes, '~')
		}
	}
	var all []candidate
	for _, delimiter := range tried {
		if len(tried) > 1 && delimiter != "," && !bytes.Contains(text, []byte(delimiter)) {
			continue
		}
		if len(tried) > 1 && len(quotes) > 1 && delimiter == string(rune(quotes[len(quotes)-1])) {
			continue
		}
		for _, quote := range quotes {
			escapes := []byte{0}
			if fixed.Escape != nil {
				escapes = []byte{*fixed.Escape}
			} else if quote != 0 && bytes.Contains(text, []byte{'\\', quote}) {
				escapes = append(escapes, '\\')
			}
			paddings := []bool{base.Padded}
			if fixed.Padded == nil && quote != 0 && bytes.Contains(text, []byte{' ', quote}) {
				paddings = append(paddings, true)
			}
			for _, escape := range escapes {
				for _, padded := range paddings {
					c := candidate{d: base, table: table{text: text, o: o}}
					c.d.Delimiter, c.d.Quote, c.d.Escape, c.d.Padded = delimiter, quote, escape, padded
					if c.tried(fixed) {
						all = append(all, c)
					}
				}
			}
		}
	}
	if len(all) == 0 {
		return best, false
	}
	for i := range all {
		if all[i].halved(all) || all[i].worded(all) || all[i].outdone(all) {
			all[i].score *= 0.5
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if math.Abs(a.score-b.score) < 1e-9 {
			return 0
		}
		return cmp.Compare(b.score, a.score)
	})
	for _, c := range all[:min(len(all), shownLines)] {
		why.Candidates = append(why.Candidates, Candidate{Dialect: c.d, Score: c.score, Width: c.width, Share: c.share, Inside: c.in, Worth: c.worth, Rows: len(c.lines)})
	}
	return all[0].withLineEnd(fixed, why.LineEnds), true
}

// tildes says whether tildes quote cells: they begin a text, and stand on both sides of a
// delimiter.
func tildes(text []byte) bool {
	return bytes.HasPrefix(text, []byte("~")) && slices.ContainsFunc(delimiters, func(d string) bool {
		return d != "~" && d != "|~|" && bytes.Contains(text, []byte("~"+d+"~"))
	})
}

// tried cuts the sample by the candidate's dialect and rates it. It says false where
// that cannot be.
func (c *candidate) tried(fixed Overrides) bool {
	if c.d.Padded && c.d.normal() != c.d || c.d.Validate() != nil || !c.read() {
		return false
	}
	if c.loose > 0 && c.width > 1 {
		c.o.Width = c.width // which tells how quotes are meant that do not pair
		if !c.read() {
			c.o.Width = 0
		}
	}
	c.unwrap()
	if fixed.Comment == nil && c.comment() && !c.read() {
		c.d.Comment = 0
	}
	c.rate()
	if slices.ContainsFunc(c.lines, func(l line) bool { return isOf(fixed.Known, l.cells) }) {
		c.score++ // by chance that does not happen
	}
	return true
}

// withLineEnd is the candidate with the line end that ends its records, where there
// are others in the sample that make rows of pieces.
func (c candidate) withLineEnd(fixed Overrides, n LineEnds) candidate {
	if fixed.LineEnd != nil || c.width < 2 || c.share == 1 && c.in == 1 {
		return c
	}
	for _, end := range []struct {
		name   string
		others bool
	}{{LF, n.CR > 0 && n.LF+n.CRLF > n.CR}, {CRLF, n.CRLF > n.LF+n.CR && n.LF+n.CR > 0}} {
		if !end.others {
			continue
		}
		other := candidate{d: c.d, table: table{text: c.text, o: c.o}}
		other.d.LineEnd = end.name
		if other.tried(fixed) && other.width == c.width && other.share*other.in > c.share*c.in {
			c = other
		}
	}
	return c
}

// read cuts the sample's head into lines, and counts their widths. It says false
// when there is no record, and leaves what was read before.
func (c *candidate) read() bool {
	var lines []line
	loose := 0
	s := splitText(c.text, c.d, c.o)
	for len(lines) < sampleRows {
		row, err := s.Next()
		if err != nil || len(lines) > 0 && row.To-c.o.Offset > sampleBytes {
			break
		}
		if row.Rule != "" || s.loose {
			loose++
		}
		lines = append(lines, s.sampled(row, true))
	}
	if len(lines) == 0 {
		return false
	}
	c.lines, c.loose, c.width = lines, loose, usualWidth(lines)
	return true
}

// sampled is the current row as a line; its cells hold copies of their texts, or
// with keep none.
func (s *Splitter) sampled(row *Row, keep bool) line {
	l := line{from: row.From, to: row.To, number: row.Line, gap: row.Gap, rule: row.Rule}
	if row.Rule != "" {
		s.cells = append(s.cells[:0], Cell{Text: row.Raw})
	} else {
		s.cells = s.Cells(s.cells[:0])
	}
	n := 0
	for _, c := range s.cells {
		n += len(c.Text)
		if len(bytes.TrimSpace(c.Text)) > 0 {
			l.filled++
		}
	}
	if !keep {
		l.cells = make([]Cell, len(s.cells))
		return l
	}
	texts := make([]byte, 0, n)
	l.cells = slices.Clone(s.cells)
	for i := range l.cells {
		at := len(texts)
		texts = append(texts, l.cells[i].Text...)
		l.cells[i].Text = texts[at:len(texts):len(texts)]
	}
	return l
}

// usualWidth is the width of most lines; of two that are as frequent, the larger.
func usualWidth(lines []line) (width int) {
	counts := map[int]int{}
	for i := range lines {
		counts[lines[i].width()]++
	}
	for w, n := range counts {
		if n > counts[width] || n == counts[width] && w > width {
			width = w
		}
	}
	return width
}

// comment finds lines amid the table that begin with a mark and have not the
// table's width, where no line of that width begins with it.
func (c *candidate) comment() bool {
	if c.width < 2 || c.d.Comment != 0 {
		return false
	}
	rows := 0
	for _, l := range c.lines {
		if l.width() == c.width {
			rows++
		}
	}
	for _, mark := range []byte(commentMarks) {
		if strings.IndexByte(c.d.Delimiter, mark) >= 0 || mark == c.d.Quote {
			continue
		}
		before, amid, not := 0, 0, false
		for _, l := range c.lines {
			marked := len(l.cells[0].Text) > 0 && l.cells[0].Text[0] == mark && !l.cells[0].Quoted
			switch {
			case l.width() == c.width:
				not = not || marked
				before++
			case marked && before > 0 && before < rows:
				amid++
			}
		}
		if amid > 0 && !not {
			c.d.Comment = mark
			return true
		}
	}
	return false
}
