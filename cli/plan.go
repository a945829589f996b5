package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"lakefeed/broker"
	"lakefeed/producer"
	"lakefeed/schema/csv"
	"lakefeed/sink"
)

type planCommand struct {
	Only     []string `name:"feed" help:"Plan these of the file's feeds, by their tables. Default: all." placeholder:"NAME"`
	Location string   `help:"Where Athena finds the lake, for the DDL. Default: the lake as it is here." placeholder:"s3://BUCKET/PREFIX"`
	NoDDL    bool     `name:"no-ddl" help:"Leave the DDL out."`
	ConfigFile
	Memory `embed:""`
	Output
}

// planned is what a feed would do to the lake.
type planned struct {
	Table   string `json:"table"`
	Exists  bool   `json:"exists"`
	Rows    int64  `json:"rows"` // that the table has
	Version int64  `json:"schema_version,omitempty"`
	// StepsChanged says that the table's rows were made by other steps than the file has.
	StepsChanged bool `json:"steps_changed,omitempty"`

	Objects  int64 `json:"objects"`      // of the sources
	Size     int64 `json:"size"`         // bytes of them as stored, -1 where unknown
	Looked   int64 `json:"bytes_looked"` // of their content, that the plan is made from
	Complete bool  `json:"complete"`     // that is all of it

	Taken       int64         `json:"rows_looked"`
	Quarantined int64         `json:"rows_to_quarantine"`
	Rescued     int64         `json:"cells_to_rescue"`
	Causes      []cause       `json:"quarantined_by,omitempty"`
	Columns     []plannedType `json:"columns"`
	PartitionBy []string      `json:"partition_by,omitempty"`
	Partitions  []string      `json:"partitions,omitempty"`
	Files       int64         `json:"files"` // about how many, for the sources as they are
	DDL         string        `json:"ddl,omitempty"`
	Error       string        `json:"error,omitempty"`

	err error
}

// plannedType is a column as it would be, and as it is.
type plannedType struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Was  string `json:"was,omitempty"` // its type in the table; empty where it has no such column
	New  bool   `json:"new,omitempty"`
}

// Run shows what the feeds of a file would do. It takes the beginnings of their
// sources in as ingest would, into a lake of its own in a folder that is removed, and
// compares that with the lake; nothing is written there.
func (c *planCommand) Run(ctx context.Context, g *Globals) error {
	f, err := c.need()
	if err != nil {
		return err
	}
	feeds, err := f.choose(c.Only)
	if err != nil {
		return err
	}
	lake := f.Lake
	lake.Lake = cmp.Or(lake.Lake, defaultLake)
	plans := []*planned{}
	var failed feedErrors
	for i, feed := range feeds {
		p, err := c.plan(ctx, g, f, feed, &lake)
		if err != nil {
			return fmt.Errorf("plan feed %s: %w", feed.Table, err)
		}
		if p.err != nil {
			p.Error = p.err.Error()
			failed = append(failed, fmt.Errorf("feed %s: %w", feed.Table, p.err))
		}
		plans = append(plans, p)
		if !c.json() {
			if i > 0 {
				fmt.Fprintln(g.stdout)
			}
			p.print(g.stdout)
		}
	}
	if c.json() {
		if err := writeJSON(g.stdout, struct {
			Feeds []*planned `json:"feeds"`
		}{plans}); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

func (c *planCommand) plan(ctx context.Context, g *Globals, file *fileSettings, of *feedSettings, lake *Lake) (*planned, error) {
	p := &planned{Table: of.Table, PartitionBy: of.PartitionBy, Complete: true}
	dir, err := os.MkdirTemp("", "lakefeed-plan-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := temporary(dir, file, of, c.Memory)
	table, before, err := present(ctx, g, lake, of.Table)
	var state *sink.StateError
	if errors.As(err, &state) {
		p.err = err
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if table != nil {
		p.Exists, p.Rows, p.Version = true, before.Rows, before.SchemaVersion
		if p.StepsChanged, err = stepsChanged(ctx, table, of.Transform, before.Rows); err != nil {
			return nil, err
		}
		if have, want := table.Topic(), of.topicName(); have != want {
			p.err = &sink.TopicError{Table: of.Table, Have: []string{have}, Want: want}
			return p, nil
		}
		if have, want := table.Shape().String(), s.shape().String(); have != want {
			p.err = &sink.ShapeError{Table: of.Table, Have: table.Shape(), Want: s.shape()}
			return p, nil
		}
	}
	if len(of.Source) == 0 {
		return p, nil
	}
	real := Settings{Feed: of.Feed, Sources: of.Source}
	sources, err := real.openSources(ctx, g)
	if err != nil {
		p.err = err
		return p, nil
	}
	names, err := p.sample(ctx, sources, &of.CSV, dir)
	if err != nil {
		p.err = err
		return p, nil
	}
	if p.Objects == 0 {
		return p, nil
	}
	s.Sources = []string{filepath.Join(dir, "in")}
	quiet := *g
	quiet.stdout, quiet.stderr = io.Discard, &bytes.Buffer{}
	var done *report
	j := &job{
		settings: []Settings{s}, stored: true, print: (*report).print,
		check: func(ctx context.Context, f *feed) error { return f.checkIngest(ctx) },
		do: func(ctx context.Context, f *feed) error {
			done = f.report
			if table != nil { // what the table has of its schema
				err := f.open(ctx, func(ctx context.Context) (broker.Topic, error) { return f.Topic.ensure(ctx, f.conn) })
				if err != nil {
					return err
				}
				if err := copySchemas(ctx, table, f.table); err != nil {
					return err
				}
			}
			return f.ingest(ctx, false)
		},
	}
	p.err = named(j.run(ctx, &quiet), names)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if done != nil {
		p.take(done, names)
	}
	return p, p.compare(ctx, &quiet, &s, before, c, lake)
}

// temporary are a feed's settings for a run in a folder of its own, with one topic
// partition.
func temporary(dir string, file *fileSettings, of *feedSettings, memory Memory) Settings {
	var s Settings
	command := struct {
		Sink
		Memory
	}{Memory: memory}
	s.fill(&command, given{}, file.doc, of)
	s.Lake, s.Catalog = Lake{Lake: filepath.Join(dir, "lake")}, Catalog{}
	s.Kafka, s.Memory = Kafka{KafkaDir: filepath.Join(dir, "kafka")}, memory
	s.SourceName, s.Stream, s.RawZone = "", "", RawZone{}
	s.Topic = Topic{Topic: of.topicName(), Partitions: 1}
	s.Quarantine = Quarantine{MaxShare: 1}
	return s
}

// present is the table as the lake has it; nil where it has none.
func present(ctx context.Context, g *Globals, lake *Lake, name string) (*sink.Table, sink.Snapshot, error) {
	if !isBucket(lake.Lake) {
		if _, err := os.Stat(localPath(lake.Lake)); err != nil {
			return nil, sink.Snapshot{}, nil
		}
	}
	store, err := lake.store(ctx, g)
	if err != nil {
		return nil, sink.Snapshot{}, err
	}
	table, err := sink.ReadTable(ctx, store, name)
	if errors.Is(err, sink.ErrNoTable) {
		return nil, sink.Snapshot{}, sink.CheckFiles(ctx, store, name)
	}
	if err != nil {
		return nil, sink.Snapshot{}, err
	}
	snapshot, err := sink.NewProjector(table).Snapshot(ctx)
	return table, snapshot, err
}

// copySchemas gives a new table the versions that another has.
func copySchemas(ctx context.Context, from, to *sink.Table) error {
	latest, err := from.Schemas().Latest(ctx)
	if err != nil || latest == nil {
		return err
	}
	for v := int64(1); v <= latest.Version; v++ {
		version, err := from.Schemas().Get(ctx, v)
		if err != nil {
			return err
		}
		if err := to.Schemas().Append(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

// sample writes the beginnings of the sources' objects into the folder in, and gives
// what each is called there and in the sources.
func (p *planned) sample(ctx context.Context, sources []producer.Source, form *CSV, dir string) (names []string, err error) {
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
		return nil, err
	}
	err = producer.Sample(ctx, sources, form.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		p.Objects++
		p.Looked += int64(len(head))
		if p.Size >= 0 && o.Size >= 0 {
			p.Size += o.Size
		} else {
			p.Size = -1
		}
		if !complete {
			p.Complete = false
			head = head[:bytes.LastIndexByte(head, '\n')+1]
		}
		file := filepath.Join(dir, "in", fmt.Sprintf("%06d.csv", p.Objects))
		names = append(names, "file://"+filepath.ToSlash(file), o.URI, file, objectName(o.URI))
		return os.WriteFile(file, head, 0o600)
	})
	return names, err
}

// named is an error with the objects' own names.
func named(err error, names []string) error {
	if err == nil {
		return nil
	}
	return &renamedError{err, strings.NewReplacer(names...).Replace(err.Error())}
}

type renamedError struct {
	error
	text string
}

func (e *renamedError) Error() string { return e.text }
func (e *renamedError) Unwrap() error { return e.error }

// take takes what the run did.
func (p *planned) take(r *report, names []string) {
	rename := strings.NewReplacer(names...)
	p.Taken, p.Quarantined, p.Rescued, p.Causes = r.Rows+r.Quarantined, r.Quarantined, r.Rescued, r.Causes
	for i := range p.Causes {
		p.Causes[i].Source = rename.Replace(p.Causes[i].Source)
	}
}

// compare compares the table that was made with the one that is there.
func (p *planned) compare(ctx context.Context, g *Globals, s *Settings, before sink.Snapshot, c *planCommand, lake *Lake) error {
	store, err := s.store(ctx, g)
	if err != nil {
		return err
	}
	table, err := sink.ReadTable(ctx, store, s.Table)
	if errors.Is(err, sink.ErrNoTable) && p.err != nil {
		return nil
	}
	if err != nil {
		return err
	}
	after, err := sink.NewProjector(table).Snapshot(ctx)
	if err != nil {
		return err
	}
	was := map[string]string{}
	for _, col := range slices.Concat(before.Columns, before.PartitionBy) {
		was[col.Name] = col.Type
	}
	for _, col := range slices.Concat(after.Columns, after.PartitionBy) {
		_, known := was[col.Name]
		p.Columns = append(p.Columns, plannedType{Name: col.Name, Type: col.Type, Was: was[col.Name], New: !known})
	}
	for _, part := range after.Partitions {
		if path := sink.PartitionPath(part.Values); path != "" {
			p.Partitions = append(p.Partitions, fmt.Sprintf("%s (%s)", path, plural(part.Rows, "row")))
		}
	}
	batches := int64(1)
	if flush := int64(s.Flush.Size); flush > 0 && p.Size > flush {
		batches = (p.Size + flush - 1) / flush
	}
	p.Files = batches * max(1, int64(len(after.Partitions)))
	if !c.NoDDL && len(after.Columns) > 0 {
		location := cmp.Or(c.Location, lake.Lake)
		folder := cmp.Or(before.Folder, after.Folder)
		p.DDL, err = sink.DDL(sink.TableDDL{Table: s.Table, Columns: after.Columns, PartitionBy: after.PartitionBy, Location: strings.TrimSuffix(location, "/") + "/" + folder})
	}
	return err
}

func (p *planned) print(w io.Writer) {
	fmt.Fprintf(w, "table %s: ", p.Table)
	switch {
	case p.Exists:
		fmt.Fprintf(w, "it has %s, schema version %d\n", plural(p.Rows, "row"), p.Version)
	default:
		fmt.Fprintln(w, "new")
	}
	if p.StepsChanged {
		fmt.Fprintf(w, "  steps: they are not those that the table was written with: %s stay as they are, and new ones are made by these; lakefeed rebuild %s makes all by these\n", plural(p.Rows, "row"), p.Table)
	}
	switch {
	case p.Objects == 0 && p.err == nil:
		fmt.Fprintln(w, "  nothing to look at: no source of it has anything, or it takes what others send to its topic")
		return
	case p.Objects > 0:
		what := "all of them"
		if !p.Complete {
			what = "their beginnings, " + bytesText(p.Looked)
		}
		fmt.Fprintf(w, "  sources: %s", plural(p.Objects, "object"))
		if p.Size >= 0 {
			fmt.Fprintf(w, ", %s", bytesText(p.Size))
		}
		fmt.Fprintf(w, "; looked at: %s\n", what)
		fmt.Fprintf(w, "  of %s looked at %s to the table and %s into quarantine; %s rescued\n", plural(p.Taken, "row"), countText(p.Taken-p.Quarantined), countText(p.Quarantined), plural(p.Rescued, "cell"))
		for _, c := range p.Causes {
			fmt.Fprintf(w, "    %s: %s, such as %s\n", c.Rule, plural(c.Rows, "row"), c.example())
		}
	}
	if p.err != nil {
		fmt.Fprintf(w, "  it would stop: %v\n", p.err)
	}
	if len(p.Columns) > 0 {
		p.printColumns(w)
	}
	if len(p.Partitions) > 0 {
		fmt.Fprintf(w, "  partitions, of what was looked at: %s\n", countText(int64(len(p.Partitions))))
		for _, name := range p.Partitions[:min(len(p.Partitions), 10)] {
			fmt.Fprintf(w, "    %s\n", name)
		}
		if more := len(p.Partitions) - 10; more > 0 {
			fmt.Fprintf(w, "    and %s more\n", countText(int64(more)))
		}
	}
	if p.Files > 0 {
		fmt.Fprintf(w, "  files: about %s for each topic partition\n", countText(p.Files))
	}
	if p.DDL != "" {
		fmt.Fprintf(w, "\n%s;\n", p.DDL)
	}
}

func (p *planned) printColumns(w io.Writer) {
	changes := 0
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range p.Columns {
		switch {
		case p.Exists && c.New:
			changes++
			fmt.Fprintf(tab, "  + %s\t%s\tnew column\n", c.Name, c.Type)
		case p.Exists && c.Was != c.Type:
			changes++
			fmt.Fprintf(tab, "  ~ %s\t%s\twas %s\n", c.Name, c.Type, c.Was)
		default:
			fmt.Fprintf(tab, "    %s\t%s\n", c.Name, c.Type)
		}
	}
	if p.Exists && changes == 0 {
		fmt.Fprintln(w, "  schema: no change")
		return
	}
	fmt.Fprintln(w, "  schema:")
	tab.Flush()
}
