package csv

import (
	"bytes"
	"slices"
	"strings"
)

// heads are the headers that may stand amid the rows, and which of them is in
// force.
type heads struct {
	names   [][]string // the object's own, and those known; nil for what has one name or none
	widths  []int
	present int
	any     bool
	begins  [256]bool // the bytes with which a record that is one of them may begin
	plain   []bool    // the first name stands in the text as it is
	joined  bool      // a header may be several records
	records int       // of the object's own
}

func newHeads(d Dialect, o Options) heads {
	h := heads{names: append([][]string{o.Columns}, o.Known...), plain: make([]bool, 1+len(o.Known)), widths: []int{o.Width}}
	for i, names := range h.names {
		if i > 0 {
			h.widths = append(h.widths, len(names))
		}
		if len(names) < 2 {
			h.names[i] = nil
			continue
		}
		h.any = true
		first := d.Delimiter[0]
		if names[0] != "" {
			first = names[0][0]
		}
		h.begins[first] = true
		if names[0] == "" { // which another delimiter may part from the next, too
			for _, c := range strayDelimiters {
				h.begins[c] = true
			}
		}
		h.plain[i] = first != ' ' && !strings.ContainsAny(names[0], string([]byte{d.Quote, d.Escape}))
	}
	h.records = d.Headers
	for range h.severalRecords {
		h.joined = o.Joined
	}
	if h.joined { // the first of its records may have no name in the first column
		h.begins[d.Delimiter[0]] = true
	}
	for _, c := range []byte{d.Quote, d.Escape, ' '} { // a space may be before a quote
		h.begins[c] = h.begins[c] || c != 0
	}
	if o.Header > 0 && o.Header < len(h.names) && h.names[o.Header] != nil {
		h.present = o.Header
	}
	return h
}

// width is the number of columns of the header in force.
func (h *heads) width() int { return h.widths[h.present] }

// mayBe says whether a record begins as one of the headers does, which hardly any
// row does.
func (h *heads) mayBe(record []byte, quote byte) bool {
	if len(record) == 0 || !h.begins[record[0]] {
		return false
	}
	text := bytes.TrimLeft(record, " ")
	for quote != 0 && len(text) > 0 && text[0] == quote { // one of the cell, and one of the whole record
		text = text[1:]
	}
	for i, names := range h.names {
		if names != nil && (!h.plain[i] || hasPrefix(text, names[0])) {
			return true
		}
	}
	return false
}

// headerOf is the header that a row is, as Options.Header counts; -1 where it is
// none.
func (s *Splitter) headerOf(row *Row) int {
	if row.Rule != "" || !s.heads.mayBe(row.Raw, s.d.Quote) {
		return -1
	}
	s.cells = s.Cells(s.cells[:0])
	return slices.IndexFunc(s.heads.names, func(names []string) bool {
		return names != nil && slices.EqualFunc(s.cells, names, isNamed)
	})
}

// headBytes is how many bytes the records of a header may have that are several.
const headBytes = 16 << 10

// mayBeJoined says whether a record begins as the first of a header's records may: with
// the first word of its first name, or with an empty cell.
func (h *heads) mayBeJoined(record []byte, d *Dialect) bool {
	if !h.begins[record[0]] {
		return false
	}
	text := bytes.TrimLeft(record, " ")
	if d.Quote != 0 && len(text) > 0 && text[0] == d.Quote {
		if text = text[1:]; len(text) > 0 && text[0] == d.Quote {
			return true
		}
	}
	if hasPrefix(text, d.Delimiter) {
		return true
	}
	for i, names := range h.severalRecords {
		word, _, _ := strings.Cut(names[0], " ")
		if !h.plain[i] || hasPrefix(text, word) {
			return true
		}
	}
	return false
}

// joinedHeader is the header whose several records begin at pos, as Options.Header
// counts, -1 where there is none, and the place and line behind them. It is not known
// where more of it may come.
func (s *Splitter) joinedHeader() (header, next int, number int64, known bool) {
	for !s.eof && len(s.buf)-s.pos < headBytes {
		if !s.fill() {
			return -1, 0, 0, false
		}
	}
	view := s.buf[s.pos:min(len(s.buf), s.pos+headBytes)]
	waits := len(view) < headBytes && s.hold
	peek := splitText(view, s.d, Options{Offset: s.base + int64(s.pos), Line: s.line, MaxRecord: s.max, Hold: len(view) == headBytes || s.hold})
	peek.begun = true
	var records []line
	for n := 1; n <= maxHeaders; n++ {
		row, err := peek.Next()
		if err != nil {
			return -1, 0, 0, n == 1 || !waits
		}
		// Behind a blank line it is not that which begins at pos, or goes on.
		if row.Rule != "" || row.Gap && n > 1 || n == 1 && row.From != s.base+int64(s.pos) {
			break
		}
		if records = append(records, peek.sampled(row, true)); records[n-1].width() < 2 {
			break
		}
		names := joined(records)
		if !s.heads.mayGoOn(names) {
			break
		}
		if i := s.heads.indexJoined(names, n); i >= 0 {
			to, number := peek.Position()
			return i, int(to - s.base), number, true
		}
	}
	return -1, 0, 0, true
}

// severalRecords are the headers that may have several records, by their numbers.
func (h *heads) severalRecords(yield func(int, []string) bool) {
	for i, names := range h.names {
		if names != nil && (i > 0 || h.records > 1) && !yield(i, names) {
			return
		}
	}
}

// mayGoOn says whether names are beginnings of a header's names.
func (h *heads) mayGoOn(names []string) bool {
	for _, of := range h.severalRecords {
		for _, of := range [][]string{of, of[1:]} { // the rows' own column may have no name
			ok := true
			for i, name := range names {
				ok = ok && (name == "" || i < len(of) && strings.HasPrefix(of[i], name))
			}
			if ok {
				return true
			}
		}
	}
	return false
}

// indexJoined is the header to which n records are joined, -1 if there is none: two at
// least.
func (h *heads) indexJoined(names []string, n int) int {
	for i, of := range h.severalRecords {
		if n > 1 && fit(names, of) {
			return i
		}
	}
	return -1
}

// fit says whether names that were joined are those of a header, which has no empty ones
// behind the others, and may have one for the column that names the rows.
func fit(joined, names []string) bool {
	for len(joined) > len(names) && joined[len(joined)-1] == "" {
		joined = joined[:len(joined)-1]
	}
	return slices.Equal(joined, names) || names[0] == "" && slices.Equal(joined, names[1:])
}

// recordsOf is how many of the first lines are one of the headers, 0 where none is.
func recordsOf(headers [][]string, lines []line) int {
	if len(headers) == 0 || len(lines) == 0 || lines[0].width() < 2 {
		return 0
	}
	if isOf(headers, lines[0].cells) {
		return 1
	}
	for n := 2; n <= min(maxHeaders, len(lines)); n++ {
		if l := lines[n-1]; l.gap || l.rule != "" || l.width() < 2 {
			return 0
		}
		names := joined(lines[:n])
		if slices.ContainsFunc(headers, func(of []string) bool { return len(of) > 1 && fit(names, of) }) {
			return n
		}
	}
	return 0
}

func isNamed(c Cell, name string) bool { return string(c.Text) == name }

// isOf says whether a record is one of the headers.
func isOf(headers [][]string, cells []Cell) bool {
	return slices.ContainsFunc(headers, func(names []string) bool {
		return len(names) > 1 && slices.EqualFunc(cells, names, isNamed)
	})
}

// others are the headers of more than one name that are not the object's own.
func others(headers [][]string, own []string) (out [][]string) {
	for _, names := range headers {
		if len(names) > 1 && !slices.Equal(names, own) {
			out = append(out, names)
		}
	}
	return out
}
