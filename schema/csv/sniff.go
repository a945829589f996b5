package csv

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

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
	Columns []string // the names in the header; nil without one
	Width   int      // the columns that most rows have
	// Body and BodyLine are the offset and the 1-based line at which splitting
	// the data begins, behind BOM, skipped lines and header: what Options.Offset
	// and Options.Line want. Body counts as Row.From does.
	Body     int64
	BodyLine int64
}

// Overrides are what the user knows of the dialect. What is nil is found.
type Overrides struct {
	Delimiter *string
	Quote     *byte // 0: no quotes
	Escape    *byte // 0: the quote doubled
	Comment   *byte
	Encoding  *string
	Header    *bool
	Skip      *int
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
	if len(sample) == 0 {
		return Found{}, ErrEmpty
	}
	base := Dialect{Delimiter: ",", Quote: '"', Encoding: findEncoding(sample, complete)}
	if fixed.Encoding != nil {
		base.Encoding = *fixed.Encoding
	} else if err := binary(sample, base.Encoding); err != nil {
		return Found{}, err
	}
	base = fixed.apply(base)
	if err := base.Validate(); err != nil {
		return Found{}, err
	}
	text := sample
	if t := decoder(base.Encoding); t != nil {
		// Half a character at the sample's end is dropped like the record's rest.
		text, _, _ = transform.Append(t, nil, sample)
	}
	body, line := skipLines(text, base.Skip)
	o := Options{Offset: int64(body), Line: line, Hold: !complete, Width: 1}
	best, ok := choose(text[body:], base, fixed, o)
	if !ok {
		if complete {
			return Found{}, ErrEmpty
		}
		return Found{}, ErrNoRecord
	}
	return best.found(fixed), nil
}

// apply puts what is fixed into d.
func (f Overrides) apply(d Dialect) Dialect {
	set := func(to *byte, from *byte) {
		if from != nil {
			*to = *from
		}
	}
	set(&d.Quote, f.Quote)
	set(&d.Escape, f.Escape)
	set(&d.Comment, f.Comment)
	if f.Delimiter != nil {
		d.Delimiter = *f.Delimiter
	}
	if f.Header != nil {
		d.Header = *f.Header
	}
	if f.Skip != nil {
		d.Skip = *f.Skip
	}
	return d
}

// findEncoding takes the BOM's word; else text that is UTF-8, or mostly, is it,
// and all other text is Windows-1252, in which all bytes are characters.
func findEncoding(sample []byte, complete bool) string {
	switch {
	case bytes.HasPrefix(sample, []byte("\xff\xfe")):
		return UTF16LE
	case bytes.HasPrefix(sample, []byte("\xfe\xff")):
		return UTF16BE
	case bytes.HasPrefix(sample, []byte("\ufeff")):
		return UTF8
	}
	good, bad := 0, 0
	for rest := sample; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			if complete || utf8.FullRune(rest) {
				bad++
			}
		case n > 1:
			good++
		}
		rest = rest[n:]
	}
	if bad*20 > good {
		return Windows1252
	}
	return UTF8
}

// binary says what the sample is when it is not text.
func binary(sample []byte, encoding string) error {
	for _, m := range []struct{ magic, name, hint string }{
		{"\x1f\x8b", "gzip", ""}, {"PK\x03\x04", "a zip archive or a spreadsheet", ""}, {"PAR1", "Parquet", ""},
		{"\x28\xb5\x2f\xfd", "zstd", ""}, {"BZh", "bzip2", ""}, {"\xfd7zXZ\x00", "xz", ""}, {"%PDF-", "PDF", ""},
		{"SQLite format 3\x00", "SQLite", ""}, {"\xd0\xcf\x11\xe0", "an old office document", ""},
	} {
		if bytes.HasPrefix(sample, []byte(m.magic)) && (m.name != "bzip2" || len(sample) > 3 && sample[3]-'0' <= 9 && bytes.IndexByte(sample, 0) >= 0) {
			return fmt.Errorf("%w: it begins like %s", ErrBinary, m.name)
		}
	}
	if encoding == UTF16LE || encoding == UTF16BE {
		if bytes.HasPrefix(sample, []byte("\xff\xfe\x00\x00")) {
			return fmt.Errorf("%w in an encoding that is read: it begins like UTF-32", ErrBinary)
		}
		return nil
	}
	control := 0
	for _, c := range sample {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b || c == 0x7f {
			control++
		}
	}
	if control*10 > len(sample) {
		return fmt.Errorf("%w: %d of its first %d bytes are control characters", ErrBinary, control, len(sample))
	}
	return nil
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

// A candidate is a dialect and what the sample looks like by it.
type candidate struct {
	d     Dialect
	score float64
	table
}

// table is the head of the sample, cut by a dialect.
type table struct {
	rows   [][]Cell // their texts are the table's own
	body   int64    // behind the first record
	line   int64
	start  int64 // before it
	first  int64 // its line
	width  int   // that most rows have
	reject bool  // the first record is a reject
	loose  int   // rows with quotes in places where they should not be
}

// choose cuts the sample by every dialect that it might be written in, and takes
// the one by which it looks most like a table.
func choose(text []byte, base Dialect, fixed Overrides, o Options) (best candidate, ok bool) {
	delimiters := []string{",", "\t", ";", "|", ":"}
	if fixed.Delimiter != nil {
		delimiters = []string{*fixed.Delimiter}
	}
	quotes := []byte{'"'}
	if fixed.Quote != nil {
		quotes = []byte{*fixed.Quote}
	} else if bytes.IndexByte(text, '\'') >= 0 {
		quotes = append(quotes, '\'')
	}
	for _, delimiter := range delimiters {
		if len(delimiters) > 1 && delimiter != "," && !bytes.Contains(text, []byte(delimiter)) {
			continue
		}
		for _, quote := range quotes {
			escapes := []byte{0}
			if fixed.Escape != nil {
				escapes = []byte{*fixed.Escape}
			} else if quote != 0 && bytes.Contains(text, []byte{'\\', quote}) {
				escapes = append(escapes, '\\')
			}
			for _, escape := range escapes {
				c := candidate{d: base}
				c.d.Delimiter, c.d.Quote, c.d.Escape = delimiter, quote, escape
				if c.d.Validate() != nil || !c.read(text, o) {
					continue
				}
				if c.rate(); !ok || c.score > best.score+1e-9 {
					best, ok = c, true
				}
			}
		}
	}
	return best, ok
}

const (
	sampleRows  = 1000
	sampleBytes = 256 << 10
)

// read cuts the sample into the table. It says false when there is no record.
func (c *candidate) read(text []byte, o Options) bool {
	s := splitText(text, c.d, o)
	c.start, c.first = o.Offset, o.Line
	var arena []byte
	for len(c.rows) < sampleRows {
		row, err := s.Next()
		if err != nil {
			break
		}
		// Blank lines are rows of a table of one column only.
		if len(row.Raw) == 0 {
			continue
		}
		if len(c.rows) > 0 && row.To-o.Offset > sampleBytes {
			break
		}
		if len(c.rows) == 0 {
			c.body, c.line = s.Position()
			c.reject = row.Rule != ""
		}
		cells := []Cell{{Text: row.Raw}}
		if row.Rule == "" {
			cells = s.Cells(nil)
		}
		if row.Rule != "" || s.loose {
			c.loose++
		}
		for i := range cells {
			at := len(arena)
			arena = append(arena, cells[i].Text...)
			cells[i].Text = arena[at:len(arena):len(arena)]
		}
		c.rows = append(c.rows, cells)
	}
	return len(c.rows) > 0
}

// rate scores how much the sample looks like a table: by the share of rows that
// have the usual width, by that width, and by how many cells look like values
// and not like pieces of a row cut in wrong places.
func (c *candidate) rate() {
	counts := map[int]int{}
	for _, row := range c.rows {
		counts[len(row)]++
	}
	for width, n := range counts {
		if n > counts[c.width] || n == counts[c.width] && width > c.width {
			c.width = width
		}
	}
	share := float64(counts[c.width]) / float64(len(c.rows))
	worth, cells, quoted := 0.0, 0, 0
	for _, row := range c.rows {
		for _, cell := range row {
			worth += c.worth(cell)
			cells++
			if cell.Quoted {
				quoted++
			}
		}
	}
	worth /= float64(cells)
	worth *= 1 - 0.5*float64(c.loose)/float64(len(c.rows))
	if c.width == 1 {
		// A table of one column is what is left when nothing else fits.
		c.score = 0.1 * worth
		return
	}
	c.score = share * worth * float64(c.width-1) / float64(c.width)
	switch {
	case c.d.Delimiter == ":" && (share < 1 || c.width < 3 || len(c.rows) < 3):
		c.score = 0 // times and URLs have colons
	case c.d.Delimiter == ":":
		c.score *= 0.7
	case share < 0.5 && counts[1] > 0:
		c.score *= 0.2
	}
	// The rarer ways of writing need some evidence.
	if c.d.Quote == '\'' && quoted == 0 {
		c.score *= 0.9
	}
	if c.d.Escape != 0 {
		c.score *= 0.999
	}
}

// worth is how much a cell looks like a value, 0 to 1.
func (c *candidate) worth(cell Cell) float64 {
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
		case '\t', '|', '"':
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
