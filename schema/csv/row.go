package csv

// Options say where a Splitter begins and how far it goes.
type Options struct {
	// Offset and Line say where in the object the reader begins: a byte offset
	// and a 1-based line (0 means 1). At Offset 0 a BOM is passed over. In an
	// encoding other than UTF-8 the reader gives the object from its first byte,
	// and Offset counts the bytes of its text as UTF-8 that are passed over.
	Offset, Line int64
	// MaxRecord is the greatest length of a record in bytes, 4 MiB by default.
	MaxRecord int
	// Width is the number of columns where it is known. With one column a blank
	// line is a row of one null cell; else blank lines are passed over. A record
	// whose quotes do not pair is read in the way that gives it as many cells.
	Width int
	// Columns are the names in the header. A row of the same cells is the header
	// again, and is passed over; but not where there is one column only, in which
	// a value may be like the name.
	Columns []string
	// Known are other headers of the feed, of two names at least. A row of the same
	// cells as one of them is no row: it is the header of those behind it, up to
	// the next, and says how wide they are.
	Known [][]string
	// Joined says that a header may be two to five records whose names are joined with
	// spaces: a known one, and Columns where the dialect has several Headers.
	Joined bool
	// Unwrap reads a record of one quoted cell as the row that the cell's text is, if that
	// has Width cells: the line was quoted as a whole.
	Unwrap bool
	// Header says which is in force where the reader begins: 0 is Columns, n is
	// Known[n-1].
	Header int
	// Tail is what follows the table: its lines are rejects.
	Tail Tail
	// SeekTail looks for what follows the table where the reader ends, and Tail has
	// nothing: for a reader whose end cannot be had before. So the last TailBytes are
	// not cut into rows before the end was read, or the reader failed or said ErrPause.
	SeekTail bool
	// Hold keeps back a last record without a line end, since more of it may
	// come: Next gives io.EOF and Position stays before it. So is a record that
	// ends in CR at the very end of the stream, for an LF may follow.
	Hold bool
}

// Names are those of a header, counted as Header is; nil where it is absent.
func (o Options) Names(header int) []string {
	if header > 0 {
		return o.Known[header-1]
	}
	return o.Columns
}

// The rules a reject may have broken.
const (
	TooLong     = "too_long"     // longer than Options.MaxRecord
	OpenQuote   = "open_quote"   // a quote opens and does not close within Options.MaxRecord or the object
	Encoding    = "encoding"     // not valid in the dialect's encoding
	Footer      = "footer"       // a line behind the table's last row
	SecondTable = "second_table" // a line of another table behind the first
)

// Row is one record, or the bytes of a reject.
type Row struct {
	// Raw is the record without its line end, valid until the next call of Next.
	// Of a reject of the rule TooLong whose first line alone is too long it has
	// only the first Options.MaxRecord bytes.
	Raw []byte
	// From and To are its byte range in the object, line end included; in an
	// encoding other than UTF-8, in the object's text as UTF-8.
	From, To int64
	Line     int64  // the 1-based line on which it begins
	Gap      bool   // it is the first, or a blank line, comment, header or reject lies before it
	Header   int    // the header in force: 0 is Options.Columns, n is Options.Known[n-1]
	Breaks   int    // line breaks inside the record
	Rule     string // "" for a row, else the rule a reject has broken
	Message  string // the same in words

	plain   bool // Raw is an RFC 4180 record
	reading reading
}
