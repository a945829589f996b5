package cli

import "lakefeed/schema/csv"

// CSV are the flags that override what is found of a CSV's form.
type CSV struct {
	Delimiter *string `help:"What parts the cells. Default: found." placeholder:"TEXT"`
	Quote     *string `help:"The quote character; none for no quotes. Default: found." placeholder:"CHAR"`
	Escape    *string `help:"What escapes a quote inside quotes; double for the quote doubled. Default: found." placeholder:"CHAR"`
	Encoding  *string `help:"utf-8, windows-1252, utf-16le or utf-16be. Default: found." placeholder:"NAME"`
	Header    *bool   `help:"The first record names the columns. Default: found." negatable:""`
}

func (c *CSV) overrides() csv.Overrides {
	o := csv.Overrides{Encoding: c.Encoding, Header: c.Header}
	if c.Delimiter != nil {
		d := *c.Delimiter
		if d == `\t` || d == "tab" {
			d = "\t"
		}
		o.Delimiter = &d
	}
	o.Quote = oneByte(c.Quote, "none")
	o.Escape = oneByte(c.Escape, "double")
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
	for _, s := range []*string{c.Quote, c.Escape} {
		if s != nil && len(*s) > 1 && *s != "none" && *s != "double" {
			return &usageError{"--quote and --escape take one character, not " + quote(*s)}
		}
	}
	return nil
}
