package csv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/text/transform"
)

// Reject is what a Splitter could make no row of, as it was kept.
type Reject struct {
	Rule string
	// Raw is what was kept of its bytes, without a line end; Whole says that these are
	// all.
	Raw   []byte
	Whole bool
	// Dialect is what it was split with. Of an encoding other than UTF-8 Raw is the text as
	// UTF-8.
	Dialect Dialect
	Width   int // cells of the table's rows; 0 where that is not known
}

// Mends says whether something is fixed that can make a row of a reject of the rule,
// and was otherwise when it was split.
func (f Overrides) Mends(rule string, d Dialect) bool {
	d = d.normal()
	switch rule {
	case OpenQuote, TooLong:
		f.Encoding = nil
		return f.apply(d).normal() != d
	case Encoding:
		return f.Encoding != nil && *f.Encoding != d.Encoding
	case Footer, SecondTable:
		return f.Tail != nil && !*f.Tail
	}
	return false
}

// Remedy says what is to be fixed for that, as the configuration has it, and what to do
// where that is of no use.
func Remedy(rule string) string {
	again := "; else send the source again under another name (--source-name URI)"
	switch rule {
	case OpenQuote:
		return `if quotes are characters there, say csv: {quote: none}, and if they are escaped otherwise, csv: {escape: "\\"}` + again
	case TooLong:
		return "if a quote that opens in it is a character, say csv: {quote: none}" + again + ", with larger messages in its topic"
	case Encoding:
		return "say which encoding it is, csv: {encoding: windows-1252}" + again
	case Footer, SecondTable:
		return "if it is a row of the table, say csv: {tail: false}" + again
	}
	return ""
}

// Resplit splits a reject again, with what is fixed, and adds it to dst as one RFC 4180
// record. The error says why it is no row still. What comes behind it in its object has
// been split as it was: only a reject that is one record by itself becomes a row.
func (f Overrides) Resplit(dst []byte, r Reject) ([]byte, error) {
	if !r.Whole {
		return nil, fmt.Errorf("only its first %d bytes were kept", len(r.Raw))
	}
	text, d := r.Raw, r.Dialect.normal()
	if r.Rule == Encoding {
		if !d.ByteOffsets() {
			return nil, errors.New("its bytes as they are in the source were not kept, but what is text of them in " + d.Encoding)
		}
		if t := decoder(*f.Encoding); t != nil {
			var err error
			if text, _, err = transform.Append(t, nil, text); err != nil {
				return nil, fmt.Errorf("it cannot be read as %s: %w", *f.Encoding, err)
			}
		}
	}
	f.Encoding = nil // what is kept of other rejects is UTF-8
	d = f.apply(d)
	d.Encoding = UTF8
	if err := d.Validate(); err != nil {
		return nil, err
	}
	s := splitText(text, d, Options{Offset: 1, Width: r.Width, Unwrap: true}) // not at 0, where a BOM is
	s.sampling = false
	row, err := s.Next()
	switch {
	case err == io.EOF:
		return nil, errors.New("there is no record in it")
	case err != nil:
		return nil, err
	case row.Rule != "":
		return nil, errors.New(row.Message + " still")
	case row.To != int64(1+len(text)):
		return nil, errors.New("it is several records")
	}
	return s.AppendRFC4180(dst), nil
}

// overridesJSON is the JSON form of Overrides, without what is known of other objects.
type overridesJSON struct {
	Delimiter *string `json:"delimiter,omitempty"`
	Quote     *string `json:"quote,omitempty"`
	Escape    *string `json:"escape,omitempty"`
	Comment   *string `json:"comment,omitempty"`
	Encoding  *string `json:"encoding,omitempty"`
	Header    *bool   `json:"header,omitempty"`
	Headers   *int    `json:"headers,omitempty"`
	Skip      *int    `json:"skip,omitempty"`
	Trailing  *bool   `json:"trailing,omitempty"`
	Padded    *bool   `json:"padded,omitempty"`
	LineEnd   *string `json:"line_end,omitempty"`
	Tail      *bool   `json:"tail,omitempty"`
}

// IsZero says that nothing is fixed.
func (f Overrides) IsZero() bool {
	return f.json() == overridesJSON{} && len(f.Known) == 0
}

func (f Overrides) json() overridesJSON {
	text := func(c *byte) *string {
		if c == nil {
			return nil
		}
		s := ""
		if *c != 0 {
			s = string(rune(*c))
		}
		return &s
	}
	return overridesJSON{f.Delimiter, text(f.Quote), text(f.Escape), text(f.Comment), f.Encoding, f.Header, f.Headers, f.Skip, f.Trailing, f.Padded, f.LineEnd, f.Tail}
}

// MarshalJSON writes what is fixed, characters as strings that are empty for none.
// Known is not written.
func (f Overrides) MarshalJSON() ([]byte, error) { return json.Marshal(f.json()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Overrides) UnmarshalJSON(b []byte) error {
	var j overridesJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("read csv overrides: %w", err)
	}
	*f = Overrides{Delimiter: j.Delimiter, Encoding: j.Encoding, Header: j.Header, Headers: j.Headers, Skip: j.Skip, Trailing: j.Trailing, Padded: j.Padded, LineEnd: j.LineEnd, Tail: j.Tail}
	for _, c := range []struct {
		text *string
		to   **byte
	}{{j.Quote, &f.Quote}, {j.Escape, &f.Escape}, {j.Comment, &f.Comment}} {
		if c.text == nil {
			continue
		}
		if len(*c.text) > 1 {
			return fmt.Errorf("read csv overrides: %q: want one ASCII character", *c.text)
		}
		var b byte
		if len(*c.text) == 1 {
			b = (*c.text)[0]
		}
		*c.to = &b
	}
	if f.Encoding != nil && !slices.Contains(Encodings(), *f.Encoding) {
		return fmt.Errorf("read csv overrides: unknown encoding %q", *f.Encoding)
	}
	return nil
}
