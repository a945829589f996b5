// Package csv turns the bytes of CSV files into rows: it finds out how a file
// is written (Sniff), cuts it into records (Splitter), and gives every record as
// cells or as one RFC 4180 record.
//
// No byte is lost on the way. Every byte behind a BOM lies in exactly one row, one
// reject, one blank line or one comment, and the rows are the same however the
// reader cuts the stream into pieces. Real files are read leniently: a stray
// quote is a character, text behind a closing quote belongs to its cell, line
// ends may be LF, CRLF and CR, mixed. What cannot be cut into a record safely, a
// quote that never closes above all, is a reject: one line, and not the rest of
// the file.
package csv

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Version is the version of the rules by which a Splitter cuts. It changes
// whenever the same bytes and the same Dialect would give other rows.
const Version = 5

// The encodings that are told from each other without a word from the user, as
// far as bytes can tell. Encodings lists all that a Dialect may name.
const (
	UTF8        = "utf-8"
	UTF16LE     = "utf-16le"
	UTF16BE     = "utf-16be"
	Windows1250 = "windows-1250"
	Windows1251 = "windows-1251"
	Windows1252 = "windows-1252"
	KOI8R       = "koi8-r"
	IBM850      = "ibm850"
	Macintosh   = "macintosh"
	ShiftJIS    = "shift_jis"
	EUCJP       = "euc-jp"
	EUCKR       = "euc-kr"
	GB18030     = "gb18030"
)

// Dialect says how a file is written. The zero value of every field but
// Delimiter and Quote is the common case; Standard is the common dialect. As
// JSON, single characters are strings of one character.
type Dialect struct {
	Delimiter string // between cells: one or more bytes; "" means ","
	Quote     byte   // around cells; 0: none
	Escape    byte   // inside quoted cells, before a quote or itself; 0: the quote doubled. A doubled quote is read in either case. Without Quote it stands before a delimiter or itself.
	Comment   byte   // a line that begins with it is passed over; 0: none
	Encoding  string // UTF8 ("" means it) or another that Encodings lists
	Header    bool   // the first record names the columns
	Headers   int    // records that name them together, joined with spaces; 0 means 1
	Skip      int    // lines before the header
	Trailing  bool   // a delimiter ends each record: no cell begins behind it
	Padded    bool   // spaces may stand before the quote that opens a cell
	LineEnd   string // that ends a record: AnyLineEnd, LF or CRLF. Other line ends are characters of the cells
}

// The values of Dialect.LineEnd.
const (
	AnyLineEnd = ""     // LF, CRLF and CR, mixed
	LF         = "lf"   // LF, with a CR before it or not; a CR alone is a character
	CRLF       = "crlf" // an LF alone and a CR alone are characters
)

// Standard is the dialect of RFC 4180: comma, double quote, UTF-8.
func Standard() Dialect { return Dialect{Delimiter: ",", Quote: '"', Encoding: UTF8} }

// ByteOffsets says whether a Splitter's offsets are offsets in the object
// itself. They are in UTF-8. Else they are offsets in the object's text as UTF-8
// (its BOM, if it has one, included), and a reader has to begin at the object's
// first byte: see Options.Offset.
func (d Dialect) ByteOffsets() bool { return d.Encoding == UTF8 || d.Encoding == "" }

// normal fills in defaults.
func (d Dialect) normal() Dialect {
	if d.Delimiter == "" {
		d.Delimiter = ","
	}
	if d.Encoding == "" {
		d.Encoding = UTF8
	}
	if d.Escape == d.Quote {
		d.Escape = 0
	}
	d.Padded = d.Padded && d.Quote != 0 && d.Delimiter[0] != ' '
	return d
}

// Validate reports every fault of the dialect: characters that are not ASCII,
// are line ends, or have two meanings, and an unknown encoding.
func (d Dialect) Validate() error {
	d = d.normal()
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("csv dialect: "+format, args...)) }
	single := func(name string, c byte) {
		switch {
		case c == '\n' || c == '\r' || c >= utf8.RuneSelf:
			fault("%s %q: want one ASCII character that is no line end", name, string(rune(c)))
		case c != 0 && strings.IndexByte(d.Delimiter, c) >= 0:
			fault("%s %q is part of the delimiter %q", name, string(rune(c)), d.Delimiter)
		}
	}
	if strings.ContainsAny(d.Delimiter, "\r\n") || !utf8.ValidString(d.Delimiter) {
		fault("delimiter %q: want UTF-8 text without line ends", d.Delimiter)
	}
	single("quote", d.Quote)
	single("escape", d.Escape)
	single("comment", d.Comment)
	if d.Comment != 0 && d.Comment == d.Quote {
		fault("comment and quote are both %q", string(rune(d.Comment)))
	}
	if !slices.Contains(Encodings(), d.Encoding) {
		fault("unknown encoding %q: want one of %s", d.Encoding, strings.Join(Encodings(), ", "))
	}
	if !slices.Contains([]string{AnyLineEnd, LF, CRLF}, d.LineEnd) {
		fault("line end %q: want %s, %s, or nothing for any", d.LineEnd, LF, CRLF)
	}
	if d.Skip < 0 {
		fault("skip %d: want a number of lines", d.Skip)
	}
	if d.Headers < 0 {
		fault("headers %d: want a number of records", d.Headers)
	}
	return errors.Join(faults...)
}

// dialectJSON is the JSON form of a Dialect.
type dialectJSON struct {
	Delimiter string `json:"delimiter"`
	Quote     string `json:"quote,omitempty"`
	Escape    string `json:"escape,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Encoding  string `json:"encoding,omitempty"`
	Header    bool   `json:"header,omitempty"`
	Headers   int    `json:"headers,omitempty"`
	Skip      int    `json:"skip,omitempty"`
	Trailing  bool   `json:"trailing,omitempty"`
	Padded    bool   `json:"padded,omitempty"`
	LineEnd   string `json:"line_end,omitempty"`
}

// MarshalJSON writes single characters as strings of one character, and leaves
// out what is absent.
func (d Dialect) MarshalJSON() ([]byte, error) {
	text := func(c byte) string {
		if c == 0 {
			return ""
		}
		return string(rune(c))
	}
	return json.Marshal(dialectJSON{
		Delimiter: d.Delimiter, Quote: text(d.Quote), Escape: text(d.Escape), Comment: text(d.Comment),
		Encoding: d.Encoding, Header: d.Header, Headers: d.Headers, Skip: d.Skip, Trailing: d.Trailing, Padded: d.Padded, LineEnd: d.LineEnd,
	})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Dialect) UnmarshalJSON(b []byte) error {
	var j dialectJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("read csv dialect: %w", err)
	}
	*d = Dialect{Delimiter: j.Delimiter, Encoding: j.Encoding, Header: j.Header, Headers: j.Headers, Skip: j.Skip, Trailing: j.Trailing, Padded: j.Padded, LineEnd: j.LineEnd}
	for _, f := range []struct {
		name, text string
		to         *byte
	}{{"quote", j.Quote, &d.Quote}, {"escape", j.Escape, &d.Escape}, {"comment", j.Comment, &d.Comment}} {
		switch {
		case len(f.text) > 1:
			return fmt.Errorf("read csv dialect: %s %q: want one ASCII character", f.name, f.text)
		case len(f.text) == 1:
			*f.to = f.text[0]
		}
	}
	return nil
}
