package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

type sniffCommand struct {
	File    string         `arg:"" help:"A CSV file or s3://bucket/key; - for standard input."`
	Numbers schema.Numbers `help:"What a column of fractions becomes: double or decimal." default:"double" placeholder:"TYPE"`
	CSV
	Output
}

// sniffed is what sniff prints.
type sniffed struct {
	URI      string          `json:"uri"`
	Dialect  csv.Dialect     `json:"dialect"`
	Width    int             `json:"width"` // cells of a row
	Tail     csv.Tail        `json:"tail,omitzero"`
	Complete bool            `json:"complete"` // the whole object was looked at
	Columns  []sniffedColumn `json:"columns"`
	Why      csv.Explanation `json:"why"`
}

type sniffedColumn struct {
	Header   string          `json:"header,omitempty"`
	Name     string          `json:"name"`
	Type     string          `json:"type"`
	Format   string          `json:"format,omitempty"`
	Evidence schema.Evidence `json:"evidence"`
	// Undecided says what the cells have left open, so that the column is a string.
	Undecided string `json:"undecided,omitempty"`
}

// onlySampled is a source of which nobody reads the rows later, so that standard input can
// be looked at as well.
type onlySampled struct{ producer.Source }

// Objects lists the source's objects as ones that may be sampled.
func (s onlySampled) Objects(ctx context.Context) iter.Seq2[producer.Object, error] {
	return func(yield func(producer.Object, error) bool) {
		for o, err := range s.Source.Objects(ctx) {
			o.Once = false
			if !yield(o, err) {
				return
			}
		}
	}
}

func (c *sniffCommand) Run(ctx context.Context, g *Globals) error {
	one := Settings{Sources: []string{c.File}}
	sources, err := one.openSources(ctx, g)
	if err != nil {
		return err
	}
	for i := range sources {
		sources[i] = onlySampled{sources[i]}
	}
	var all []sniffed
	err = producer.Sample(ctx, sources, c.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		var inference schema.Inference
		if err := observe(&inference, o.URI, found, head, complete); err != nil {
			return err
		}
		sample := head[:min(len(head), producer.SniffBytes)]
		_, why, err := csv.Explain(sample, complete && len(sample) == len(head), c.overrides())
		if err != nil {
			return err
		}
		s := sniffed{URI: o.URI, Dialect: found.Dialect, Width: found.Width, Tail: found.Tail, Complete: complete, Why: why}
		for i, seen := range inference.Seen() {
			t := seen.Evidence.Type(c.Numbers)
			col := sniffedColumn{Name: seen.Name, Type: t.String(), Format: t.Format.String(), Evidence: seen.Evidence, Undecided: seen.Evidence.Undecided()}
			if i < len(found.Columns) {
				col.Header = found.Columns[i]
			}
			s.Columns = append(s.Columns, col)
		}
		all = append(all, s)
		return nil
	})
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	if len(all) == 0 {
		return c.nothing(ctx, sources)
	}
	if c.json() {
		return writeJSON(g.stdout, all[0])
	}
	for _, s := range all {
		s.print(g)
	}
	return nil
}

// nothing says why nothing could be looked at: what was passed over cannot be read, or is
// no text, or it is empty.
func (c *sniffCommand) nothing(ctx context.Context, sources []producer.Source) error {
	if c.File != "-" { // which was read
		if err := producer.DryRun(ctx, io.Discard, sources, c.overrides(), producer.Events{}); err != nil {
			return fmt.Errorf("sniff %w", err)
		}
	}
	return &usageError{fmt.Sprintf("sniff %s: there is nothing in it to look at", c.File)}
}

func (s *sniffed) print(g *Globals) {
	w := g.stdout
	d := s.Dialect
	fmt.Fprintf(w, "%s\n  delimiter %q, quote %s, escape %s, encoding %s, %s%s\n", s.URI, d.Delimiter, byteText(d.Quote, "none"), byteText(d.Escape, "doubled"), d.Encoding, headerText(d.Header), otherText(d))
	s.printWhy(g)
	if !s.Complete {
		fmt.Fprintf(w, "  from the first %s\n", bytesText(sampleObject))
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "  COLUMN\tTYPE\tCELLS\tNULL\tDECIDED BY\n")
	for _, c := range s.Columns {
		decided := ""
		if e := c.Evidence.Decided; e.Line > 0 {
			decided = fmt.Sprintf("line %d: %s", e.Line, shortText(e.Text))
		}
		if c.Undecided != "" {
			decided = c.Undecided
		}
		fmt.Fprintf(tab, "  %s\t%s\t%d\t%d\t%s\n", c.Name, strings.TrimSpace(c.Type+" "+formatText(c.Format)), c.Evidence.Cells, c.Evidence.Nulls, decided)
	}
	tab.Flush()
}

// printWhy says what was weighed for the dialect and which lines decided.
func (s *sniffed) printWhy(g *Globals) {
	w, why := g.stdout, s.Why
	fmt.Fprintf(w, "  encoding: %s; line ends: %d LF, %d CRLF, %d CR\n", why.Encoding, why.LineEnds.LF, why.LineEnds.CRLF, why.LineEnds.CR)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "  CANDIDATE\tSCORE\tCELLS A ROW\tROWS OF THAT WIDTH\tTABLE\tCELLS LIKE VALUES\n")
	for _, c := range why.Candidates[:min(len(why.Candidates), 5)] {
		fmt.Fprintf(tab, "  delimiter %q, quote %s, escape %s\t%.3f\t%d\t%.0f%% of %d\t%.0f%%\t%.0f%%\n", c.Dialect.Delimiter, byteText(c.Dialect.Quote, "none"),
			byteText(c.Dialect.Escape, "doubled"), c.Score, c.Width, 100*c.Share, c.Rows, 100*c.Inside, 100*c.Worth)
	}
	tab.Flush()
	fmt.Fprintf(w, "  %s: %s\n", headerText(s.Dialect.Header), why.Header)
	for _, e := range why.Columns[:min(len(why.Columns), 10)] {
		fmt.Fprintf(w, "    %+.1f %s: %s\n", e.Score, shortText(e.Name), e.Why)
	}
	for _, part := range []struct {
		name  string
		lines []csv.Line
	}{{"before the table", why.Preamble}, {"not as wide as the table", why.Ragged}, {"behind the table", why.Tail}} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "  %s:\n", part.name)
		for _, l := range part.lines {
			fmt.Fprintf(w, "    line %d, %s: %s\n", l.Number, plural(int64(l.Cells), "cell"), shortText(l.Text))
		}
	}
}

func formatText(format string) string {
	if format == "" {
		return ""
	}
	return "(" + format + ")"
}

func byteText(b byte, none string) string {
	if b == 0 {
		return none
	}
	return string(rune(b))
}

func headerText(header bool) string {
	if header {
		return "a header"
	}
	return "no header"
}

// otherText is what a dialect has of the rarer kind.
func otherText(d csv.Dialect) (out string) {
	if d.Headers > 1 {
		out += fmt.Sprintf(" of %d records", d.Headers)
	}
	if d.Skip > 0 {
		out += fmt.Sprintf(", %s before it", plural(int64(d.Skip), "line"))
	}
	if d.Comment != 0 {
		out += fmt.Sprintf(", comments begin with %s", byteText(d.Comment, ""))
	}
	if d.Trailing {
		out += ", a delimiter ends each record"
	}
	if d.Padded {
		out += ", spaces before quotes"
	}
	if d.LineEnd != csv.AnyLineEnd {
		out += ", records end in " + strings.ToUpper(d.LineEnd)
	}
	return out
}

// shortText is a cell for a line of a table.
func shortText(s string) string {
	if len(s) > 40 {
		s = s[:37] + "..."
	}
	return fmt.Sprintf("%q", s)
}
