package producer

import (
	"slices"

	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

// A claim holds all of the feed's headers that were known when it was made, for
// they decide which records are rows. So it holds the newest of them only, where a
// feed has more than any should.
const (
	mostHeaders     = 16
	mostHeaderBytes = 16 << 10
)

// headers are those that a feed's objects have, the newest last.
type headers [][]string

// with are the headers with one more, or with one of them as the newest. What it
// is called on is not changed.
func (h headers) with(columns []string) headers {
	if len(columns) < 2 || len(h) > 0 && slices.Equal(h[len(h)-1], columns) {
		return h
	}
	out := make(headers, 0, len(h)+1)
	for _, names := range h {
		if !slices.Equal(names, columns) {
			out = append(out, names)
		}
	}
	out = append(out, columns)
	size := 0
	for i := len(out) - 1; i >= 0; i-- {
		size += len(wire.AppendNames(nil, out[i]))
		if len(out)-i > mostHeaders || size > mostHeaderBytes {
			return out[i+1:]
		}
	}
	return out
}

// overrides are the user's, and the headers of the feed.
func (h headers) overrides(o csv.Overrides) csv.Overrides {
	o.Known = h
	return o
}

// header is the names of one of a claim's headers, counted as csv.Options.Header
// is; nil where the object has none.
func (c *claim) header(n int) []string {
	if n > 0 && n <= len(c.Known) {
		return c.Known[n-1]
	}
	return c.Columns
}

// goOn makes a claim go on from the one before it, whose stream ended with one of
// its headers in force.
func (c *claim) goOn(before *claim, header int) {
	c.Dialect, c.Columns, c.Width, c.Known = before.Dialect, before.Columns, before.Width, before.Known
	if header == 0 || header > len(before.Known) {
		return
	}
	c.Columns = before.Known[header-1]
	c.Dialect.Headers = max(c.Dialect.Headers, 2) // it may have as many records
	c.Width = len(c.Columns)
	c.Known = slices.DeleteFunc(slices.Clone(before.Known), func(names []string) bool { return slices.Equal(names, c.Columns) })
	if len(before.Columns) > 1 {
		c.Known = append(c.Known, before.Columns)
	}
}
