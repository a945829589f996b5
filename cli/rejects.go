package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lakefeed/sink"
)

type rejectsCommands struct {
	List   rejectsCommand       `cmd:"" default:"withargs" help:"Show a table's quarantine by cause, with examples."`
	Replay rejectsReplayCommand `cmd:"" help:"Take rows in quarantine again after a fix of the configuration, and put those that are right now into the table."`
}

type rejectsCommand struct {
	Table string `arg:"" help:"The table."`
	Where
	Examples int `help:"Show so many rows of each cause." default:"3" placeholder:"N"`
	ConfigFile
	Lake
	Output
}

// rejected is a table's quarantine.
type rejected struct {
	Table  string         `json:"table"`
	Rows   int64          `json:"rows"`
	Causes []rejectsCause `json:"causes"`
}

// rejectsCause is what rows in quarantine have in common.
type rejectsCause struct {
	Stage    string          `json:"stage"`
	Rule     string          `json:"rule"`
	Column   string          `json:"column,omitempty"`
	Rows     int64           `json:"rows"`
	Sources  int             `json:"sources"`
	First    time.Time       `json:"first_at"` // when a producer read the oldest
	Last     time.Time       `json:"last_at"`
	Examples []rejectExample `json:"examples"`

	sources map[string]bool
}

type rejectExample struct {
	Source    string  `json:"source,omitempty"`
	Line      int64   `json:"line,omitempty"`
	Stream    string  `json:"stream,omitempty"`
	Row       *int64  `json:"row,omitempty"`
	Partition int64   `json:"partition"`
	Offset    int64   `json:"offset"`
	Message   string  `json:"message"`
	Raw       *string `json:"raw"` // at most 1000 bytes; null where the table hides it
}

// Run shows the quarantine by cause.
func (c *rejectsCommand) Run(ctx context.Context, g *Globals) error {
	if c.Examples < 0 {
		return &usageError{"--examples is less than 0"}
	}
	choose, err := c.Where.filter()
	if err != nil {
		return err
	}
	if err := c.fill(g, c); err != nil {
		return err
	}
	table, err := c.table(ctx, g, c.Table)
	if err != nil {
		return err
	}
	out := rejected{Table: c.Table, Causes: []rejectsCause{}}
	for p := range table.Partitions() {
		rows, err := quarantined(ctx, table, p, choose)
		if err != nil {
			return err
		}
		for i := range rows {
			out.add(&rows[i], c.Examples)
		}
	}
	slices.SortStableFunc(out.Causes, func(a, b rejectsCause) int { return cmp.Compare(b.Rows, a.Rows) })
	if c.json() {
		return writeJSON(g.stdout, out)
	}
	out.print(g.stdout, len(c.Where.Where) > 0)
	return nil
}

// relists is how often the quarantine is listed again, because a replay has retired a
// file between its listing and its reading.
const relists = 20

// quarantined are chosen rows of the quarantine of a topic partition, as of one moment.
func quarantined(ctx context.Context, table *sink.Table, partition int, choose func(*sink.QuarantineRow) bool) (chosen []sink.QuarantineRow, err error) {
	for range relists {
		var files []sink.File
		if files, err = table.QuarantineFiles(ctx, partition); err != nil {
			return nil, err
		}
		chosen = chosen[:0]
		for _, f := range files {
			var rows []sink.QuarantineRow
			if rows, err = table.ReadQuarantine(ctx, f); err != nil {
				break
			}
			for i := range rows {
				if choose(&rows[i]) {
					chosen = append(chosen, rows[i])
				}
			}
		}
		if !errors.Is(err, sink.ErrNotExist) {
			return chosen, err
		}
	}
	return nil, err
}

func (r *rejected) add(q *sink.QuarantineRow, examples int) {
	r.Rows++
	i := slices.IndexFunc(r.Causes, func(c rejectsCause) bool { return c.Stage == q.Stage && c.Rule == q.Rule && c.Column == q.Column })
	if i < 0 {
		i = len(r.Causes)
		r.Causes = append(r.Causes, rejectsCause{Stage: q.Stage, Rule: q.Rule, Column: q.Column, First: q.At, Last: q.At, Examples: []rejectExample{}, sources: map[string]bool{}})
	}
	c := &r.Causes[i]
	c.Rows++
	if !c.sources[q.Source] {
		c.sources[q.Source] = true
		c.Sources++
	}
	if q.At.Before(c.First) {
		c.First = q.At
	}
	if q.At.After(c.Last) {
		c.Last = q.At
	}
	if len(c.Examples) == examples {
		return
	}
	e := rejectExample{Source: q.Source, Line: max(0, q.Line), Stream: q.Stream, Partition: q.Partition, Offset: q.Offset, Message: q.Message}
	if q.Row >= 0 {
		e.Row = &q.Row
	}
	if q.Raw != nil {
		raw := string(q.Raw[:min(len(q.Raw), 1000)])
		e.Raw = &raw
	}
	c.Examples = append(c.Examples, e)
}

// print shows the causes; of rows that were chosen not all of the quarantine is there.
func (r *rejected) print(w io.Writer, chosen bool) {
	switch {
	case r.Rows == 0 && chosen:
		fmt.Fprintf(w, "table %s: no such row is in quarantine\n", r.Table)
		return
	case r.Rows == 0:
		fmt.Fprintf(w, "table %s: nothing is in quarantine\n", r.Table)
		return
	}
	fmt.Fprintf(w, "table %s: %s in quarantine\n", r.Table, plural(r.Rows, "row"))
	for _, c := range r.Causes {
		fmt.Fprintf(w, "\n%s: %s", c.Stage, c.Rule)
		if c.Column != "" {
			fmt.Fprintf(w, ", column %s", c.Column)
		}
		fmt.Fprintf(w, ": %s of %s, read %s", plural(c.Rows, "row"), plural(int64(c.Sources), "source"), c.First.Format(time.DateTime))
		if last := c.Last.Format(time.DateTime); last != c.First.Format(time.DateTime) {
			fmt.Fprintf(w, " to %s", last)
		}
		fmt.Fprintln(w)
		for _, e := range c.Examples {
			fmt.Fprintf(w, "  %s: %s\n", e.place(), e.Message)
			if e.Raw != nil {
				fmt.Fprintf(w, "    %s\n", printable(*e.Raw, 100))
			}
		}
	}
	first := r.Causes[0]
	where := "--where rule=" + first.Rule
	if first.Column != "" {
		where += " --where column=" + first.Column
	}
	fmt.Fprintf(w, "\nwhen their cause is mended: lakefeed rejects replay %s %s\n", r.Table, where)
}

// place is where a row is, as far as it is known.
func (e *rejectExample) place() string {
	switch {
	case e.Source != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d", objectName(e.Source), e.Line)
	case e.Source != "":
		return fmt.Sprintf("%s, offset %d of topic partition %d", objectName(e.Source), e.Offset, e.Partition)
	}
	return fmt.Sprintf("offset %d of topic partition %d", e.Offset, e.Partition)
}

// printable is a text for a terminal: quoted where it would change what is there.
func printable(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return s
	}
	return strconv.Quote(s)
}

// Where is the flag that chooses rows of the quarantine.
type Where struct {
	Where []string `help:"Only rows of which this holds: COLUMN=VALUE or COLUMN!=VALUE, with a column of the quarantine and * for any text. All must hold where there are several." placeholder:"CONDITION" sep:"none"`
}

// whereColumns are the columns that can be asked for.
var whereColumns = map[string]func(*sink.QuarantineRow) string{
	"source":         func(q *sink.QuarantineRow) string { return q.Source },
	"stream":         func(q *sink.QuarantineRow) string { return q.Stream },
	"row":            func(q *sink.QuarantineRow) string { return numberText(q.Row) },
	"line":           func(q *sink.QuarantineRow) string { return numberText(q.Line) },
	"topic":          func(q *sink.QuarantineRow) string { return q.Topic },
	"partition":      func(q *sink.QuarantineRow) string { return numberText(q.Partition) },
	"offset":         func(q *sink.QuarantineRow) string { return numberText(q.Offset) },
	"stage":          func(q *sink.QuarantineRow) string { return q.Stage },
	"rule":           func(q *sink.QuarantineRow) string { return q.Rule },
	"column":         func(q *sink.QuarantineRow) string { return q.Column },
	"message":        func(q *sink.QuarantineRow) string { return q.Message },
	"schema_version": func(q *sink.QuarantineRow) string { return numberText(q.SchemaVersion) },
	"at":             func(q *sink.QuarantineRow) string { return q.At.UTC().Format(time.RFC3339) },
}

func numberText(n int64) string {
	if n == sink.Unknown {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// filter is the conditions as one.
func (c *Where) filter() (func(*sink.QuarantineRow) bool, error) {
	var all []func(*sink.QuarantineRow) bool
	for _, text := range c.Where {
		name, pattern, ok := strings.Cut(text, "=")
		name, not := strings.CutSuffix(name, "!")
		name = strings.TrimSpace(name)
		column, known := whereColumns[name]
		switch {
		case !ok:
			return nil, &usageError{fmt.Sprintf("--where %s: write COLUMN=VALUE or COLUMN!=VALUE, such as rule=type_change", quote(text))}
		case !known:
			return nil, &usageError{fmt.Sprintf("--where %s: there is no column %s to ask for; there are %s", quote(text), name, strings.Join(sortedKeys(whereColumns), ", "))}
		}
		matches := globMatcher(strings.TrimSpace(pattern))
		all = append(all, func(q *sink.QuarantineRow) bool { return matches(column(q)) != not })
	}
	return func(q *sink.QuarantineRow) bool {
		for _, holds := range all {
			if !holds(q) {
				return false
			}
		}
		return true
	}, nil
}

// globMatcher matches texts with a pattern in which * is any text.
func globMatcher(pattern string) func(string) bool {
	parts := strings.Split(pattern, "*")
	return func(text string) bool {
		if len(parts) == 1 {
			return text == pattern || path.Base(text) == pattern // of a source the file's name will do
		}
		rest, ok := strings.CutPrefix(text, parts[0])
		if !ok {
			return false
		}
		for _, part := range parts[1 : len(parts)-1] {
			i := strings.Index(rest, part)
			if i < 0 {
				return false
			}
			rest = rest[i+len(part):]
		}
		return strings.HasSuffix(rest, parts[len(parts)-1])
	}
}
