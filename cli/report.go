package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/duckdb"
)

// report is what a run tells at its end.
type report struct {
	Table       string   `json:"table,omitempty"`
	Lake        string   `json:"lake,omitempty"`
	Topic       string   `json:"topic,omitempty"`
	Seconds     float64  `json:"seconds"`
	Sent        int64    `json:"rows_sent"`
	Rows        int64    `json:"rows_committed"`
	Duplicates  int64    `json:"rows_already_in_lake"`
	Filtered    int64    `json:"rows_filtered"`
	Quarantined int64    `json:"rows_quarantined"`
	Rescued     int64    `json:"cells_rescued"`
	Files       int      `json:"files"`
	Bytes       int64    `json:"bytes"`
	Objects     []object `json:"objects,omitempty"`
	// Causes are why rows went into quarantine.
	Causes []cause `json:"quarantined_by,omitempty"`
	// Deviations are what the table did not take, by column.
	Deviations []schema.Deviation `json:"deviations,omitempty"`

	Total   *total         `json:"total,omitempty"`
	Columns []reportColumn `json:"columns,omitempty"`
	Version int64          `json:"schema_version,omitempty"`
	State   string         `json:"state,omitempty"` // which lakefeed files --at takes
	Query   string         `json:"query,omitempty"`

	Replay *replayReport `json:"replay,omitempty"`

	Warnings   []string `json:"warnings,omitempty"`
	finished   bool     // there is something to tell
	lake       *Lake    // the same
	canRebuild bool     // there is a command for it
}

// object is what became of one source object.
type object struct {
	URI     string `json:"uri"`
	Version string `json:"version,omitempty"`
	Stream  string `json:"stream,omitempty"`
	Status  string `json:"status"` // sent, already, changed, failed …
	Rows    int64  `json:"rows"`
	Sent    int64  `json:"rows_sent"`
	Rejects int64  `json:"rejects,omitempty"`
	Error   string `json:"error,omitempty"`

	err error // that Error tells
}

// cause is why rows went into quarantine, with the first of them.
type cause struct {
	Rule    string `json:"rule"`
	Rows    int64  `json:"rows"`
	Message string `json:"message"`
	Source  string `json:"source,omitempty"`
	Line    int64  `json:"line,omitempty"`
}

// total is what is in the table now.
type total struct {
	Rows       int64 `json:"rows"`
	Files      int   `json:"files"`
	Bytes      int64 `json:"bytes"`
	Partitions int   `json:"partitions"`
}

type reportColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func newReport(table string, lake *Lake) *report {
	return &report{Table: table, Lake: lake.Lake, lake: lake}
}

// sources takes what the producer did.
func (r *report) sources(s producer.Summary) {
	for _, o := range s.Objects {
		out := object{URI: o.URI, Version: o.Version, Status: o.Status, Rows: o.Rows, Sent: o.Sent, Rejects: o.Rejects}
		if o.Stream != (schema.StreamID{}) {
			out.Stream = o.Stream.String()
		}
		if o.Already && o.Status != producer.Abandoned {
			out.Status = "already sent"
		}
		switch {
		case errors.Is(o.Err, context.Canceled):
			out.Status = "interrupted, the next run goes on"
		case o.Err != nil:
			out.Status, out.Error, out.err = "failed", o.Err.Error(), o.Err
		}
		r.Sent += o.Sent
		r.Objects = append(r.Objects, out)
	}
	// They were sent side by side; people look for them by name.
	slices.SortStableFunc(r.Objects, func(a, b object) int { return strings.Compare(a.URI, b.URI) })
}

// objectName is an object's URI as people call it: a file below the working
// folder by its path from there.
func objectName(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return strings.TrimSuffix(uri, ":")
	}
	wd, err := os.Getwd()
	if err != nil {
		return u.Path
	}
	if rel, err := filepath.Rel(wd, filepath.FromSlash(u.Path)); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return u.Path
}

// commits takes what the consumer did.
func (r *report) commits(p *progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Rows, r.Filtered, r.Quarantined = p.commit.Rows, p.commit.Filtered, p.commit.Quarantined
	r.Rescued, r.Duplicates = p.commit.Rescued, p.commit.Duplicates
	r.Files, r.Bytes = p.commit.Files, p.commit.Bytes
	for _, c := range p.commit.Causes {
		r.Causes = append(r.Causes, cause{c.Rule, c.Rows, c.Message, c.Source, max(0, c.Line)})
	}
	r.Deviations = slices.Clone(p.deviations)
	slices.SortStableFunc(r.Causes, func(a, b cause) int { return cmp.Compare(b.Rows, a.Rows) })
}

// finish registers the table and takes down what it is now. A catalog that is out
// of reach is worth a warning: the rows are in the lake. A lake that is not whole is an
// error.
func (r *report) finish(ctx context.Context, registrar *sink.Registrar, flags Catalog) error {
	limited, cancel := context.WithTimeout(ctx, lastRegistration)
	defer cancel()
	done, err := registrar.Register(limited)
	var broken *sink.ChainError
	switch {
	case errors.As(err, &broken):
		return cmp.Or(removed(ctx, registrar.Table), err)
	case err != nil:
		but := ""
		if r.Rows+r.Quarantined > 0 || r.Replay != nil && r.Replay.Rows > 0 {
			but = "the rows are in the lake, but "
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s%v; when that is mended: lakefeed register %s --lake %s%s", but, err, r.Table, r.Lake, flags.flags()))
	}
	r.Warnings = append(r.Warnings, projectionWarnings(&done)...)
	catalog := done.Snapshot
	table, err := registrar.Table.Current(ctx)
	if err != nil {
		return err
	}
	if catalog.V == 0 {
		if catalog, err = sink.NewProjector(table).Snapshot(ctx); err != nil {
			return err
		}
	}
	if r.Rows > 0 && catalog.Rows == 0 {
		if err := removed(ctx, table); err != nil {
			return err
		}
	}
	r.finished = true
	r.Topic = table.Topic()
	r.Total = &total{Rows: catalog.Rows, Files: int(catalog.Files), Bytes: catalog.Bytes, Partitions: len(catalog.Partitions)}
	r.Version = catalog.SchemaVersion
	position, err := table.Position(ctx)
	if err != nil {
		return err
	}
	r.State = position.String()
	for _, c := range catalog.Columns {
		r.Columns = append(r.Columns, reportColumn{c.Name, c.Type})
	}
	for _, c := range catalog.PartitionBy {
		r.Columns = append(r.Columns, reportColumn{c.Name, c.Type + ", partition"})
	}
	if catalog.Files > 0 {
		r.Query = "SELECT * FROM " + duckdb.Scan(r.lake.folder(catalog.Folder))
	}
	return nil
}

// goneError says that a table was removed while a run wrote into it.
type goneError struct{ msg string }

func (e *goneError) Error() string { return e.msg }

// removed is an error if the table has been removed since it was opened.
func removed(ctx context.Context, table *sink.Table) error {
	if _, err := sink.ReadTable(ctx, table.Store(), table.Name()); errors.Is(err, sink.ErrNoTable) {
		return &goneError{fmt.Sprintf("table %s is not in %s any more: it was removed while this run wrote into it; move away what has come there since (all of the lake, if that was removed), and run again: the table is made anew of its topic, or of the sources where that is gone too", table.Name(), table.Store())}
	}
	return nil
}

// print tells people.
func (r *report) print(w io.Writer) {
	if r.Rows+r.Filtered+r.Quarantined+r.Sent == 0 && r.failure() == nil {
		fmt.Fprintf(w, "table %s: nothing new in the sources (%.1f s)\n", r.Table, r.Seconds)
	} else {
		fmt.Fprintf(w, "table %s: %s in %.1f s\n", r.Table, plural(r.Rows, "new row"), r.Seconds)
	}
	r.printObjects(w)
	if r.Filtered > 0 {
		fmt.Fprintf(w, "  %s left out by the feed's transforms\n", plural(r.Filtered, "row"))
	}
	if r.Duplicates > 0 {
		fmt.Fprintf(w, "  %s that were sent again were in the lake already and left out\n", plural(r.Duplicates, "row"))
	}
	if r.Rescued > 0 {
		fmt.Fprintf(w, "  %s did not fit the type of their column: their text is in the column _rescued\n", plural(r.Rescued, "cell"))
		for i := range r.Deviations {
			r.printDeviation(w, &r.Deviations[i])
		}
		if r.canRebuild {
			fmt.Fprintf(w, "    to decide the types anew, from all rows: lakefeed rebuild %s --lake %s\n", r.Table, r.Lake)
		}
	}
	if r.Quarantined > 0 {
		fmt.Fprintf(w, "  %s could not become a record and are in the table %s__quarantine, with reason, source and line:\n", plural(r.Quarantined, "row"), r.Table)
		for _, c := range r.Causes {
			fmt.Fprintf(w, "    %s: %s, such as %s\n", c.Rule, plural(c.Rows, "row"), c.example())
		}
	}
	if r.Total != nil {
		fmt.Fprintf(w, "\nthe table has %s in %s (%s)", plural(r.Total.Rows, "row"), plural(int64(r.Total.Files), "file"), bytesText(r.Total.Bytes))
		if r.Total.Partitions > 1 {
			fmt.Fprintf(w, ", %s", plural(int64(r.Total.Partitions), "partition"))
		}
		fmt.Fprintf(w, "; state %s, schema version %d:\n", r.State, r.Version)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range r.Columns {
			fmt.Fprintf(tab, "  %s\t%s\n", c.Name, c.Type)
		}
		tab.Flush()
	}
	if r.Query != "" {
		fmt.Fprintf(w, "\nquery it with DuckDB:\n  %s\n", r.Query)
	}
}

// warn tells what went wrong that the lake does not suffer from.
func (r *report) warn(w io.Writer) {
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}

// printDeviation says which cells of a column were rescued. Rows that the contract
// keeps out are among those in quarantine.
func (r *report) printDeviation(w io.Writer, d *schema.Deviation) {
	if d.Policy != schema.PolicyRescue {
		return
	}
	if d.Kind == schema.CellCount {
		fmt.Fprintf(w, "    %s with more cells than the header%s\n", plural(d.Count, "row"), witness(d.First))
		return
	}
	what := "no " + d.Type
	if d.Kind == schema.NewColumn {
		what = "of a column that the contract keeps out"
	}
	fmt.Fprintf(w, "    %s: %s, %s%s\n", d.Column, plural(d.Count, "cell"), what, witness(d.First))
}

// example is the first row of a cause: where it is, and what is wrong with it.
func (c *cause) example() string {
	if c.Source == "" || c.Line == 0 {
		return c.Message
	}
	return fmt.Sprintf("%s:%d, %s", objectName(c.Source), c.Line, c.Message)
}

// printedObjects is how many objects the summary names one by one.
const printedObjects = 10

func (r *report) printObjects(w io.Writer) {
	counts := map[string]int64{}
	for _, o := range r.Objects {
		counts[o.Status]++
	}
	if len(r.Objects) > printedObjects {
		for _, status := range sortedKeys(counts) {
			fmt.Fprintf(w, "  %s: %s\n", plural(counts[status], "object"), status)
		}
	}
	for _, o := range r.Objects {
		switch {
		case o.Error != "":
			fmt.Fprintf(w, "  %s: %s\n", objectName(o.URI), o.Error)
		case len(r.Objects) <= printedObjects && o.Sent < o.Rows:
			fmt.Fprintf(w, "  %s: %s, %s sent now, %s\n", objectName(o.URI), plural(o.Rows, "row"), countText(o.Sent), o.Status)
		case len(r.Objects) <= printedObjects:
			fmt.Fprintf(w, "  %s: %s, %s\n", objectName(o.URI), plural(o.Rows, "row"), o.Status)
		}
	}
}

// failure is the first object's error, after all others went in.
func (r *report) failure() error {
	var errs []error
	for _, o := range r.Objects {
		if o.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %w", objectName(o.URI), o.err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s of %d did not go in whole, the first: %w", plural(int64(len(errs)), "object"), len(r.Objects), errs[0])
}

// verdict is the run's outcome: an object's failure, or too many rows in
// quarantine.
func (r *report) verdict(limits *Quarantine) error {
	if err := r.failure(); err != nil {
		return err
	}
	exceeded := limits.exceeded(r.Rows, r.Quarantined)
	if exceeded == "" {
		return nil
	}
	exceeded += fmt.Sprintf(": see the table %s__quarantine, which lakefeed rejects %s shows by cause", r.Table, r.Table)
	if limits.OnExceed == "warn" {
		r.Warnings = append(r.Warnings, exceeded)
		return nil
	}
	return &quarantineError{exceeded}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
