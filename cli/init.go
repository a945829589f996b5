package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

type initCommand struct {
	Args    []string       `arg:"" name:"source" help:"A CSV file, a folder, a glob, or s3://bucket with a prefix, key or glob, to write the configuration for."`
	Table   string         `help:"Table to fill. Default: from the sources' names." placeholder:"NAME"`
	Config  string         `short:"c" help:"Write this file; - for standard output." default:"lakefeed.yaml" placeholder:"FILE"`
	Force   bool           `help:"Write it even if it is there."`
	Numbers schema.Numbers `help:"What a column of fractions becomes: double or decimal." default:"double" placeholder:"TYPE"`
	CSV
}

// Run writes a configuration for sources, with what is found of them as comments.
func (c *initCommand) Run(ctx context.Context, g *Globals) error {
	s := Settings{Feed: Feed{Table: c.Table}, CSV: c.CSV, Sources: c.Args}
	if slices.Contains(c.Args, "-") {
		return &usageError{"standard input cannot be a source of a configuration: name files, folders, globs or s3:// prefixes"}
	}
	if err := s.names(); err != nil {
		return err
	}
	if c.Config != "-" && !c.Force {
		if _, err := os.Stat(c.Config); err == nil {
			return &usageError{c.Config + " is there already: give another name with -c, or --force to write over it"}
		}
	}
	sources, err := s.openSources(ctx, g)
	if err != nil {
		return err
	}
	looked := &lookedAt{}
	inference := schema.Inference{Contract: &schema.Contract{Numbers: c.Numbers}}
	err = producer.Sample(ctx, sources, c.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		looked.add(found, head, complete)
		return observe(&inference, o.URI, found, head, complete)
	})
	if err != nil {
		return err
	}
	text := c.text(&s, looked, inference.Seen())
	if _, err := parseConfig(c.Config, text); err != nil {
		return fmt.Errorf("write %s: what was made of the sources is not valid: %w", c.Config, err)
	}
	if c.Config == "-" {
		_, err := g.stdout.Write(text)
		return err
	}
	if err := writeNew(c.Config, text, c.Force); err != nil {
		return err
	}
	fmt.Fprintf(g.stdout, "%s has a feed for table %s, with what was found in %s as comments\n  lakefeed plan    shows what it would do\n  lakefeed ingest  does it\n", c.Config, s.Table, plural(looked.objects, "object"))
	return nil
}

func writeNew(name string, text []byte, over bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if over {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{name + " is there already: give another name with -c, or --force to write over it"}
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// lookedAt is what a sample of sources was.
type lookedAt struct {
	objects  int64
	complete bool
	bytes    int64
	first    csv.Found
	differ   bool // objects are not all of one form
}

func (l *lookedAt) add(found csv.Found, head []byte, complete bool) {
	if l.objects == 0 {
		l.first, l.complete = found, true
	}
	l.differ = l.differ || found.Dialect != l.first.Dialect
	l.complete = l.complete && complete
	l.objects++
	l.bytes += int64(len(head))
}

// text is the file for a feed.
func (c *initCommand) text(s *Settings, looked *lookedAt, columns []schema.Seen) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What lakefeed ingest, produce and consume run. lakefeed validate checks it, lakefeed plan shows what")
	line("# it would do to the lake, lakefeed test runs its tests. All keys: deploy/docs/config.md; for editors:")
	line("# lakefeed config-schema > lakefeed.schema.json, and this as the first line of the file:")
	line("# yaml-language-server: $schema=lakefeed.schema.json")
	line("lake: ./lake                     # or s3://bucket/prefix")
	line(`# kafka: {bootstrap.servers: "k1:9092"}     # without it: a Kafka inside the process, with its log in the lake`)
	line("# catalog: {glue: {database: lake}}         # for a lake on S3")
	line("feeds:")
	line("  - table: %s", s.Table)
	line("    source: %s", sourceText(c.Args, filepath.Dir(c.Config)))
	for _, text := range c.given() {
		line("    %s", text)
	}
	if looked.objects > 0 {
		d := looked.first.Dialect
		what := "all of it"
		if !looked.complete {
			what = "the beginnings"
		}
		line("    # Found in %s (%s looked at, %s): delimiter %q, quote %s, escape %s,", plural(looked.objects, "object"), bytesText(looked.bytes), what, d.Delimiter, byteText(d.Quote, "none"), byteText(d.Escape, "doubled"))
		more := ""
		if looked.differ {
			more = "; not all have the same form, each is read by its own"
		}
		line("    # encoding %s, %s%s%s. To say otherwise:", d.Encoding, headerText(d.Header), otherText(d), more)
	}
	line("    # csv: {delimiter: %s, header: true, encoding: utf-8}", strconv.Quote(";"))
	line("    # partition_by: [%s]", partitionHint(columns, c.Numbers))
	line("    # flush: {size: 64MB, every: 60s}         # when a batch is committed: what comes first")
	line("    # quarantine: {max_share: 1%%, on_exceed: finish}      # or stop, or warn")
	line("    # schema:")
	line("    #   on_new_column: evolve                 # or rescue, reject, freeze")
	line("    #   on_type_change: evolve")
	if len(columns) > 0 {
		line("    #   columns:                              # as found; what is declared does not change")
		width := 0
		for _, col := range columns {
			width = max(width, len(col.Name))
		}
		for _, col := range columns {
			line("    #     %s", columnText(col, width, c.Numbers))
		}
	}
	line("    # tests:")
	line("    #   - name: a row")
	line("    #     csv: |")
	for _, row := range exampleCSV(columns, cmp.Or(looked.first.Dialect.Delimiter, ",")) {
		line("    #       %s", row)
	}
	line("    #     rejects: []")
	return b.Bytes()
}

// given are the flags for the CSV's form, which are to hold for the feed too.
func (c *initCommand) given() (out []string) {
	var parts []string
	add := func(key string, value *string) {
		if value != nil {
			parts = append(parts, key+": "+strconv.Quote(*value))
		}
	}
	add("delimiter", c.Delimiter)
	add("quote", c.Quote)
	add("escape", c.Escape)
	add("comment", c.Comment)
	add("encoding", c.Encoding)
	if c.Header != nil {
		parts = append(parts, fmt.Sprintf("header: %t", *c.Header))
	}
	if c.Headers != nil {
		parts = append(parts, fmt.Sprintf("headers: %d", *c.Headers))
	}
	if c.Skip != nil {
		parts = append(parts, fmt.Sprintf("skip: %d", *c.Skip))
	}
	if c.Tail != nil {
		parts = append(parts, fmt.Sprintf("tail: %t", *c.Tail))
	}
	if len(parts) > 0 {
		out = append(out, "csv: {"+strings.Join(parts, ", ")+"}")
	}
	if c.Numbers != schema.Doubles {
		out = append(out, "schema: {numbers: "+c.Numbers.String()+"}")
	}
	return out
}

// sourceText is the sources as a value of the file, local ones relative to its folder.
func sourceText(sources []string, dir string) string {
	var out []string
	for _, name := range sources {
		if !strings.Contains(name, "://") && !filepath.IsAbs(name) && dir != "." {
			if abs, err := filepath.Abs(name); err == nil {
				name = abs
				if folder, err := filepath.Abs(dir); err == nil {
					if rel, err := filepath.Rel(folder, abs); err == nil {
						name = rel
					}
				}
			}
		}
		name = strings.ReplaceAll(filepath.ToSlash(name), "$", "$$")
		if strings.ContainsAny(name, " ,:#[]{}*&!|>'\"%@`\\") || name != strings.TrimSpace(name) {
			name = strconv.Quote(name)
		}
		out = append(out, name)
	}
	if len(out) == 1 {
		return out[0]
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// partitionHint is an example of a partitioning with the columns that there are.
func partitionHint(columns []schema.Seen, numbers schema.Numbers) string {
	for _, c := range columns {
		if kind := c.Evidence.Type(numbers).Kind; kind == schema.Date || kind == schema.Timestamp {
			return "date(" + c.Name + ")"
		}
	}
	if len(columns) > 0 {
		return columns[0].Name
	}
	return "country"
}

// columnText is a column with its type as the file declares it, and why.
func columnText(c schema.Seen, width int, numbers schema.Numbers) string {
	e := &c.Evidence
	t := e.Type(numbers)
	if t.Kind == schema.Unknown {
		return fmt.Sprintf("%-*s             # only nulls in %s: its first value decides", width+2, c.Name+":", plural(e.Cells, "cell"))
	}
	declared := t.Written()
	if strings.ContainsAny(declared, ",:") {
		declared = strconv.Quote(declared)
	}
	why := plural(e.Cells, "cell")
	if e.Nulls > 0 {
		why += fmt.Sprintf(", %s null", countText(e.Nulls))
	}
	if open := e.Undecided(); open != "" {
		why += ": " + open
	} else if e.Decided.Line > 0 {
		why += fmt.Sprintf(", decided by %s in line %d", commentText(e.Decided.Text), e.Decided.Line)
	}
	return fmt.Sprintf("%-*s %-12s # %s", width+1, c.Name+":", declared, why)
}

// commentText is a cell for a comment, which has one line.
func commentText(s string) string { return shortText(strings.ToValidUTF8(s, "?")) }

// exampleCSV is a header and a row of the columns that there are, parted as the source is.
func exampleCSV(columns []schema.Seen, delimiter string) []string {
	if len(columns) == 0 {
		return []string{"id" + delimiter + "amount", "1" + delimiter + "2.50"}
	}
	apart := "\",\r\n" + delimiter
	var names, cells []string
	for _, c := range columns[:min(len(columns), 6)] {
		name := c.Name
		if len(c.Spellings) > 0 {
			name = c.Spellings[0]
		}
		cell := c.Evidence.First.Text
		if len(cell) > 20 || strings.ContainsAny(cell, apart) || strings.ContainsAny(name, apart) {
			continue
		}
		names, cells = append(names, strings.ToValidUTF8(name, "?")), append(cells, strings.ToValidUTF8(cell, "?"))
	}
	return []string{strings.Join(names, delimiter), strings.Join(cells, delimiter)}
}
