package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"lakefeed/broker"
	"lakefeed/sink"
)

type testCommand struct {
	Only []string `name:"feed" help:"Run the tests of these feeds, by their tables. Default: all." placeholder:"NAME"`
	ConfigFile
	Memory `embed:""`
	Output
}

// testResult is what became of one test.
type testResult struct {
	Feed    string   `json:"feed"`
	Test    string   `json:"test"`
	Line    int      `json:"line"` // in the file
	OK      bool     `json:"ok"`
	Differs []string `json:"differs,omitempty"` // lines of a diff: - is expected, + was found
	Seconds float64  `json:"seconds"`
}

// testsError says that tests have failed.
type testsError struct{ failed, all int }

func (e *testsError) Error() string {
	return fmt.Sprintf("%s of %s failed", countText(int64(e.failed)), plural(int64(e.all), "test"))
}

// Run runs the tests of a file's feeds: each ingests its CSV into a lake of its own, in
// a folder that is removed.
func (c *testCommand) Run(ctx context.Context, g *Globals) error {
	f, err := c.need()
	if err != nil {
		return err
	}
	feeds, err := f.choose(c.Only)
	if err != nil {
		return err
	}
	results := []testResult{}
	failed := 0
	for _, feed := range feeds {
		for i := range feed.Tests {
			t := &feed.Tests[i]
			began := time.Now()
			found, err := c.run(ctx, g, f, feed, t)
			if err != nil {
				return fmt.Errorf("test %s of feed %s: %w", quote(t.Name), feed.Table, err)
			}
			r := testResult{Feed: feed.Table, Test: t.Name, Line: f.doc.Line(&t.Name), Differs: t.differences(found)}
			r.OK, r.Seconds = len(r.Differs) == 0, time.Since(began).Seconds()
			if !r.OK {
				failed++
			}
			results = append(results, r)
			if !c.json() {
				r.print(g.stdout, f.doc.Name())
			}
		}
	}
	if c.json() {
		err = writeJSON(g.stdout, struct {
			File  string       `json:"file"`
			Tests []testResult `json:"tests"`
		}{f.doc.Name(), results})
		if err != nil {
			return err
		}
	}
	switch {
	case failed > 0:
		return &testsError{failed, len(results)}
	case len(results) == 0:
		return &usageError{f.doc.Name() + " has no tests: add tests: to a feed, with a csv and the rows that it becomes"}
	}
	if !c.json() {
		fmt.Fprintf(g.stdout, "%s passed\n", plural(int64(len(results)), "test"))
	}
	return nil
}

func (r *testResult) print(w io.Writer, file string) {
	if r.OK {
		fmt.Fprintf(w, "ok    %s: %s\n", r.Feed, r.Test)
		return
	}
	fmt.Fprintf(w, "FAIL  %s: %s (%s:%d; - is expected, + was found)\n", r.Feed, r.Test, file, r.Line)
	for _, line := range r.Differs {
		fmt.Fprintf(w, "      %s\n", line)
	}
}

// run ingests a test's CSV as the feed would.
func (c *testCommand) run(ctx context.Context, g *Globals, file *fileSettings, of *feedSettings, t *feedTest) (*found, error) {
	dir, err := os.MkdirTemp("", "lakefeed-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := temporary(dir, file, of, c.Memory)
	if t.Messages == nil {
		source := filepath.Join(dir, "test.csv")
		if err := os.WriteFile(source, []byte(t.CSV), 0o600); err != nil {
			return nil, err
		}
		s.Sources = []string{source}
	}
	s.Meta = true // by which the rows are put in order

	quiet := *g
	quiet.stdout, quiet.stderr = io.Discard, &bytes.Buffer{}
	j := &job{
		settings: []Settings{s}, stored: true, print: (*report).print,
		check: func(ctx context.Context, f *feed) error { return f.checkIngest(ctx) },
		do: func(ctx context.Context, f *feed) error {
			if err := f.send(ctx, t.Messages); err != nil {
				return err
			}
			return f.ingest(ctx, false)
		},
	}
	out := &found{err: j.run(ctx, &quiet)}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	store, err := s.store(ctx, &quiet)
	if err != nil {
		return nil, err
	}
	table, err := sink.ReadTable(ctx, store, s.Table)
	if err != nil {
		if out.err != nil {
			return out, nil // it did not get so far
		}
		return nil, err
	}
	if err := out.read(ctx, table, of.Meta); err != nil {
		return nil, err
	}
	for i := range out.rejects {
		if q := &out.rejects[i]; t.Messages != nil {
			q.Line = q.Offset + 1
		}
	}
	return out, nil
}

// send sends messages of others to the feed's topic, which is made for them.
func (f *feed) send(ctx context.Context, values []string) error {
	if len(values) == 0 {
		return nil
	}
	topic, err := f.Topic.ensure(ctx, f.conn)
	if err != nil {
		return err
	}
	var b broker.Batch
	for _, v := range values {
		b.Append(nil, []byte(v), nil, time.Now().UnixMilli())
	}
	_, err = f.conn.client.Produce(ctx, topic.Name, 0, &b)
	return err
}

// read takes what is in the lake.
func (x *found) read(ctx context.Context, table *sink.Table, meta bool) error {
	snapshot, err := sink.NewProjector(table).Snapshot(ctx)
	if err != nil {
		return err
	}
	for _, c := range append(slices.Clone(snapshot.Columns), snapshot.PartitionBy...) {
		if c.Name != sink.RescuedColumn && (meta || !slices.Contains(metaColumns, c.Name)) {
			x.columns = append(x.columns, c)
		}
	}
	for f, err := range table.Files(ctx, 0) {
		if err != nil {
			return err
		}
		if f.Table == sink.Quarantine {
			rows, err := table.ReadQuarantine(ctx, f)
			if err != nil {
				return err
			}
			x.rejects = append(x.rejects, rows...)
			continue
		}
		if path := sink.PartitionPath(f.Partition); path != "" && !slices.Contains(x.partitions, path) {
			x.partitions = append(x.partitions, path)
		}
		rows, err := table.ReadRows(ctx, f)
		if err != nil {
			return err
		}
		for _, cells := range rows.Rows {
			r := foundRow{cells: map[string]*string{}}
			for i, name := range rows.Columns {
				if name == "_row" && cells[i] != nil {
					r.number, _ = strconv.ParseInt(*cells[i], 10, 64)
				}
				r.cells[name] = cells[i]
				if !slices.Contains(metaColumns, name) && (name != sink.RescuedColumn || cells[i] != nil) {
					r.order = append(r.order, name)
				}
			}
			// What is in no file is null.
			for _, c := range x.columns {
				if _, ok := r.cells[c.Name]; !ok {
					r.cells[c.Name] = nil
				}
			}
			x.rows = append(x.rows, r)
		}
	}
	slices.Sort(x.partitions)
	slices.SortStableFunc(x.rows, func(a, b foundRow) int { return cmp.Compare(a.number, b.number) })
	slices.SortStableFunc(x.rejects, func(a, b sink.QuarantineRow) int { return cmp.Compare(a.Row, b.Row) })
	return nil
}

// metaColumns are those that meta adds.
var metaColumns = []string{"_source", "_row", "_offset", "_ingested_at"}
