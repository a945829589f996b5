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
		h.plain[i] = first != ' ' && !strings.ContainsAny(names[0], string([]byte{d.Quote, d.Escape}))
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
	if quote != 0 && len(text) > 0 && text[0] == quote {
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
