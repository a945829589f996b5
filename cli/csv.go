package cli

import (
	"slices"
	"strings"

	"lakefeed/cli/config"
	"lakefeed/schema/csv"
	"lakefeed/schema/spelling"
)

// CSV are the flags that override what is found of a CSV's form.
type CSV struct {
	Delimiter *string `help:"What parts the cells. Default: found." placeholder:"TEXT" yaml:"delimiter"`
	Quote     *string `help:"The quote character; none for no quotes. Default: found." placeholder:"CHAR" yaml:"quote"`
	Escape    *string `help:"What escapes a quote inside quotes; double for the quote doubled. Default: found." placeholder:"CHAR" yaml:"escape"`
	Comment   *string `help:"What begins a line that is no row; none for nothing. Default: found." placeholder:"CHAR" yaml:"comment"`
	Encoding  *string `help:"utf-8, windows-1252, shift_jis, utf-16le, or another of those that deploy/docs/csv.md lists. Default: found." placeholder:"NAME" yaml:"encoding"`
	Header    *bool   `help:"The first record names the columns. Default: found." negatable:"" yaml:"header"`
	Headers   *int    `help:"How many records name the columns together. Default: found." placeholder:"N" yaml:"headers"`
	Skip      *int    `help:"How many lines stand before the header. Default: found." placeholder:"N" yaml:"skip"`
	Trailing  *bool   `help:"A delimiter ends each record, and no cell begins behind it. Default: found." negatable:"" yaml:"trailing"`
	Padded    *bool   `help:"Spaces may stand before the quote that opens a cell. Default: found." negatable:"" yaml:"padded"`
	LineEnd   *string `help:"What ends a record: any; lf, with a CR before it or not; or crlf. Other line ends are characters of the cells. Default: found." placeholder:"any|lf|crlf" yaml:"line_end"`
	Tail      *bool   `help:"What follows the table, remarks or another table, is no row of it. --no-tail: every line is. Default: found." negatable:"" yaml:"tail"`
}

func (c *CSV) overrides() csv.Overrides {
	o := csv.Overrides{Encoding: c.Encoding, Header: c.Header, Headers: c.Headers, Skip: c.Skip, Trailing: c.Trailing, Padded: c.Padded, Tail: c.Tail}
	if c.Delimiter != nil {
		d := *c.Delimiter
		if d == `\t` || d == "tab" {
			d = "\t"
		}
		o.Delimiter = &d
	}
	if c.LineEnd != nil {
		end := strings.TrimPrefix(*c.LineEnd, "any")
		o.LineEnd = &end
	}
	o.Quote = oneByte(c.Quote, "none")
	o.Escape = oneByte(c.Escape, "double")
	o.Comment = oneByte(c.Comment, "none")
	return o
}

// oneByte is a flag's first byte; 0 for the word that stands for none.
func oneByte(s *string, none string) *byte {
	if s == nil {
		return nil
	}
	var b byte
	if *s != none && *s != "" {
		b = (*s)[0]
	}
	return &b
}

// Validate is called by the command line's parser.
func (c *CSV) Validate() error {
	for _, s := range []*string{c.Quote, c.Escape, c.Comment} {
		if s != nil && len(*s) > 1 && *s != "none" && *s != "double" {
			return &usageError{"--quote, --escape and --comment take one character, not " + quote(*s)}
		}
	}
	for _, n := range []*int{c.Headers, c.Skip} {
		if n != nil && *n < 0 {
			return &usageError{"--headers and --skip take a number that is not below 0"}
		}
	}
	if c.LineEnd != nil && !slices.Contains([]string{"any", csv.LF, csv.CRLF}, *c.LineEnd) {
		return &usageError{"--line-end takes any, lf or crlf, not " + quote(*c.LineEnd)}
	}
	if c.Encoding != nil && !slices.Contains(csv.Encodings(), *c.Encoding) {
		return &usageError{"--encoding takes one of " + strings.Join(csv.Encodings(), ", ") + ", not " + quote(*c.Encoding)}
	}
	o := c.overrides()
	d := csv.Dialect{Delimiter: "\x00"} // which has no other meaning
	for _, f := range []struct{ to, from *byte }{{&d.Quote, o.Quote}, {&d.Escape, o.Escape}, {&d.Comment, o.Comment}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if o.Delimiter != nil {
		if d.Delimiter = *o.Delimiter; d.Delimiter == "" {
			return &usageError{"--delimiter takes the text between two cells, not nothing"}
		}
	}
	if err := d.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	return nil
}

// check adds the faults of the overrides of a CSV's form.
func (c *CSV) check(doc *config.Document) {
	for _, one := range []struct {
		value     **string
		key, word string
	}{{&c.Quote, "quote", "none"}, {&c.Escape, "escape", "double"}, {&c.Comment, "comment", "none"}} {
		if s := *one.value; s != nil && len(*s) != 1 && *s != one.word {
			doc.Fault(one.value, "", "csv.%s takes one character, or %s", one.key, one.word)
		}
	}
	if c.Delimiter != nil && *c.Delimiter == "" {
		doc.Fault(&c.Delimiter, `give it the text between the cells, such as ";" or tab`, "csv.delimiter is empty")
	}
	for _, one := range []struct {
		value **int
		key   string
	}{{&c.Headers, "headers"}, {&c.Skip, "skip"}} {
		if n := *one.value; n != nil && *n < 0 {
			doc.Fault(one.value, "", "csv.%s is less than 0", one.key)
		}
	}
	if encodings := csv.Encodings(); c.Encoding != nil && !slices.Contains(encodings, *c.Encoding) {
		hint := "it is one of " + strings.Join(encodings, ", ")
		if near := spelling.Nearest(*c.Encoding, encodings); near != "" {
			hint = "did you mean " + near + "?"
		}
		doc.Fault(&c.Encoding, hint, "csv.encoding %q is not known", doc.Shown(c.Encoding, *c.Encoding))
	}
}
