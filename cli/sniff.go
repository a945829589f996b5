package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

type sniffCommand struct {
	File string `arg:"" help:"A CSV file or s3://bucket/key; - for standard input."`
	CSV
	Output
}

// sniffed is what sniff prints.
type sniffed struct {
	URI      string          `json:"uri"`
	Dialect  csv.Dialect     `json:"dialect"`
	Complete bool            `json:"complete"` // the whole object was looked at
	Columns  []sniffedColumn `json:"columns"`
}

type sniffedColumn struct {
	Header   string          `json:"header,omitempty"`
	Name     string          `json:"name"`
	Type     string          `json:"type"`
	Format   string          `json:"format,omitempty"`
	Evidence schema.Evidence `json:"evidence"`
}

func (c *sniffCommand) Run(ctx context.Context, g *Globals) error {
	feed := Feed{}
	sources, err := feed.sources(ctx, g, []string{c.File})
	if err != nil {
		return err
	}
	var all []sniffed
	err = producer.Sample(ctx, sources, c.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		var inference schema.Inference
		if err := observe(&inference, o.URI, found, head, complete); err != nil {
			return err
		}
		s := sniffed{URI: o.URI, Dialect: found.Dialect, Complete: complete}
		for i, seen := range inference.Seen() {
			t := seen.Evidence.Type()
			col := sniffedColumn{Name: seen.Name, Type: t.String(), Format: t.Format.String(), Evidence: seen.Evidence}
			if i < len(found.Columns) {
				col.Header = found.Columns[i]
			}
			s.Columns = append(s.Columns, col)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return &usageError{fmt.Sprintf("sniff %s: there is nothing in it to look at", c.File)}
	}
	if c.json() {
		return writeJSON(g.stdout, all[0])
	}
	for _, s := range all {
		s.print(g)
	}
	return nil
}

func (s *sniffed) print(g *Globals) {
	w := g.stdout
	d := s.Dialect
	fmt.Fprintf(w, "%s\n  delimiter %q, quote %s, escape %s, encoding %s, %s\n", s.URI, d.Delimiter, byteText(d.Quote, "none"), byteText(d.Escape, "doubled"), d.Encoding, headerText(d.Header))
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
		fmt.Fprintf(tab, "  %s\t%s\t%d\t%d\t%s\n", c.Name, strings.TrimSpace(c.Type+" "+formatText(c.Format)), c.Evidence.Cells, c.Evidence.Nulls, decided)
	}
	tab.Flush()
}

func formatText(format string) string {
	if format == "" || format == schema.ISO.String() {
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

// shortText is a cell for a line of a table.
func shortText(s string) string {
	if len(s) > 40 {
		s = s[:37] + "..."
	}
	return fmt.Sprintf("%q", s)
}
