package csv

import (
	"bytes"
	"errors"

	"golang.org/x/text/transform"
)

// What Sniff says of a sample that is no CSV.
var (
	ErrEmpty    = errors.New("no rows: the file is empty")
	ErrBinary   = errors.New("not text")
	ErrNoRecord = errors.New("no whole record in the sample")
)

// Found is what Sniff has found.
type Found struct {
	Dialect Dialect
	// Columns are the names in the header, nil without one. There may be more or
	// fewer than Width, where the header is not as wide as the rows.
	Columns []string
	Width   int // the cells that a row of the table has
	// Body and BodyLine are the offset and the 1-based line at which splitting
	// the data begins, behind BOM, skipped lines and header: what Options.Offset
	// and Options.Line want. Body counts as Row.From does.
	Body     int64
	BodyLine int64
	Tail     Tail // what follows the table, where the sample is the whole object
	// SeekTail is for a Splitter to find what follows the table. Sniff leaves it false:
	// who knows that the sample was not all may set it.
	SeekTail bool
	// Known are the other headers of the feed, as they were given.
	Known [][]string
}

// Options are those with which a Splitter reads the rows that were found.
func (f Found) Options() Options {
	return Options{Offset: f.Body, Line: f.BodyLine, Width: f.Width, Columns: f.Columns, Known: f.Known, Joined: true, Unwrap: true, Tail: f.Tail, SeekTail: f.SeekTail}
}

// Overrides are what the user knows of the dialect. What is nil is found.
type Overrides struct {
	Delimiter *string
	Quote     *byte // 0: no quotes
	Escape    *byte // 0: the quote doubled
	Comment   *byte // 0: none
	Encoding  *string
	Header    *bool
	Headers   *int // records that name the columns
	Skip      *int // lines before the header
	Trailing  *bool
	Padded    *bool
	LineEnd   *string
	Tail      *bool // false: every line behind the header is the table's
	// Known are headers that other objects of the feed have: a record of the same
	// cells is a header, whatever speaks against it.
	Known [][]string
}

// Sniff finds the dialect of a file from its first bytes. complete says that the
// sample is the whole object; else its last record is taken to go on behind it.
// The errors are ErrEmpty, ErrBinary, and ErrNoRecord where an incomplete sample
// has no whole record.
func Sniff(sample []byte, complete bool) (Found, error) {
	return SniffWith(sample, complete, Overrides{})
}

// SniffWith is Sniff with a part of the dialect fixed.
func SniffWith(sample []byte, complete bool, fixed Overrides) (Found, error) {
	found, _, err := Explain(sample, complete, fixed)
	return found, err
}

// Explain is SniffWith, and says what was weighed and what decided.
func Explain(sample []byte, complete bool, fixed Overrides) (Found, Explanation, error) {
	var why Explanation
	if len(sample) == 0 {
		return Found{}, why, ErrEmpty
	}
	base := Dialect{Delimiter: ",", Quote: '"'}
	base.Encoding, why.Encoding = findEncoding(sample, complete)
	if fixed.Encoding != nil {
		base.Encoding, why.Encoding = *fixed.Encoding, given
	} else if err := binary(sample, base.Encoding); err != nil {
		return Found{}, why, err
	}
	base = fixed.apply(base)
	if err := base.Validate(); err != nil {
		return Found{}, why, err
	}
	text := sample
	if t := decoder(base.Encoding); t != nil {
		// Half a character at the sample's end is dropped like the record's rest.
		text, _, _ = transform.Append(t, nil, sample)
	}
	why.LineEnds = countLineEnds(text)
	body, line := skipLines(text, base.Skip)
	o := Options{Offset: int64(body), Line: line, Hold: !complete}
	best, ok := choose(text[body:], base, fixed, o, &why)
	if !ok {
		if complete {
			return Found{}, why, ErrEmpty
		}
		return Found{}, why, ErrNoRecord
	}
	return best.found(fixed, complete, &why), why, nil
}

// given is why what the user has fixed is so.
const given = "given"

// apply puts what is fixed into d.
func (f Overrides) apply(d Dialect) Dialect {
	fix(&d.Delimiter, f.Delimiter)
	fix(&d.Quote, f.Quote)
	fix(&d.Escape, f.Escape)
	fix(&d.Comment, f.Comment)
	fix(&d.Header, f.Header)
	fix(&d.Headers, f.Headers)
	fix(&d.Skip, f.Skip)
	fix(&d.Trailing, f.Trailing)
	fix(&d.Padded, f.Padded)
	fix(&d.LineEnd, f.LineEnd)
	return d
}

func fix[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// skipLines gives the offset behind a BOM and n lines, and its line.
func skipLines(text []byte, n int) (offset int, line int64) {
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		offset = len("\ufeff")
	}
	line = 1
	for ; n > 0; n-- {
		i := indexLineEnd(text[offset:])
		if i < 0 {
			return len(text), line
		}
		offset += i + 1
		if text[offset-1] == '\r' && offset < len(text) && text[offset] == '\n' {
			offset++
		}
		line++
	}
	return offset, line
}

// countLineEnds counts the line ends of each kind, those in quoted cells among them.
func countLineEnds(text []byte) (n LineEnds) {
	lf, cr := bytes.Count(text, []byte{'\n'}), bytes.Count(text, []byte{'\r'})
	n.CRLF = bytes.Count(text, []byte("\r\n"))
	n.LF, n.CR = lf-n.CRLF, cr-n.CRLF
	return n
}
