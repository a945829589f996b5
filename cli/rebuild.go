package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

type rebuildCommand struct {
	Table    string `arg:"" help:"The table."`
	DryRun   bool   `help:"Read the topic and say what would become of the columns; write nothing."`
	Keep     bool   `help:"Build and audit the new generation and leave it aside. The next rebuild brings it up to date and swaps it in."`
	Rollback bool   `help:"Make the generation live again that was before the present one, once it has caught up."`
	Now      bool   `help:"With --rollback: readers turn to that generation at once, and do not see what it has to catch up with until it has; how many rows these are is said."`
	Cancel   bool   `help:"Give up the swap that is under way, or else the generation that is being built."`
	Join     bool   `help:"Share the work of a rebuild that another process is at, on this machine or another: write a part of its rows, with its configuration, until they are written."`
	Limit    int    `help:"Name so many findings of the audit of each kind; all are counted." default:"100" placeholder:"N"`
	ConfigFile
	Lake
	Kafka `embed:""`
	Sink
	Catalog
	Memory `embed:""`
	Output
}

// Run builds the table anew from its topic and swaps it in.
func (c *rebuildCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.check(); err != nil {
		return err
	}
	s, fromFile, err := c.settings(g)
	if err != nil {
		return err
	}
	s.Memory.Memory.limitRuntime()
	open := s.writable
	if c.DryRun {
		open = func(ctx context.Context, g *Globals, _ bytesFlag) (sink.Store, error) { return s.store(ctx, g) }
	}
	store, err := open(ctx, g, s.Memory.Memory)
	if err != nil {
		return err
	}
	table, err := sink.ReadTable(ctx, store, c.Table)
	if err != nil {
		return err
	}
	switch {
	case c.Cancel:
		return c.cancel(ctx, g, table)
	case c.Join:
		return c.join(ctx, g, s, table)
	}
	build, err := c.build(ctx, g, s, table, fromFile)
	if err != nil {
		return err
	}
	if err := c.checkCatalog(s, table, build.Shape); err != nil {
		return err
	}
	if c.DryRun {
		remove, err := s.leaveNoLog(&s.Lake)
		if err != nil {
			return err
		}
		defer remove()
	}
	conn, err := s.connect(g, &s.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := c.rebuild(ctx, g, s, table, conn)
	if err != nil {
		return err
	}
	if !c.DryRun {
		holding, hold, err := table.Hold(ctx, conn.embedded != nil)
		if err != nil {
			return err
		}
		defer hold.Release(context.WithoutCancel(ctx))
		ctx = holding
		if conn.embedded == nil {
			r.Hold = hold
		}
	}
	build.Partitions = r.Topic.Partitions
	r.Build, r.DryRun, r.Keep, r.Now, r.Limit = build, c.DryRun, c.Keep, c.Now, c.Limit
	r.Turned = func() { c.register(ctx, g, s, table) }
	run := r.Run
	if c.Rollback {
		run = r.Rollback
	}
	report, err := run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(cause, sink.ErrAtWork) {
		err = cause
	}
	if report == nil || err != nil && report.Audit == nil {
		return err
	}
	if report.Swap > 0 {
		c.register(ctx, g, s, table)
	}
	return errors.Join(err, c.print(g, report))
}

// rebuild is what a generation is written with.
func (c *rebuildCommand) rebuild(ctx context.Context, g *Globals, s *Settings, table *sink.Table, conn *connection) (*consumer.Rebuild, error) {
	topic, err := conn.client.Topic(ctx, table.Topic())
	if errors.Is(err, broker.ErrNoTopic) { // it may be in the raw zone
		topic, err = broker.Topic{Name: table.Topic()}, nil
	}
	if err != nil {
		return nil, err
	}
	zone, err := raw.Open(table.Store(), table.Topic())
	if err != nil {
		return nil, err
	}
	budget := consumer.NewBudget(int(s.Memory.Memory))
	return &consumer.Rebuild{
		Client: conn.client, Topic: topic, Table: table, Raw: zone,
		Consumer: func() *consumer.Consumer {
			return &consumer.Consumer{FlushBytes: int(s.Flush.Size), FlushEvery: s.Flush.Every, Budget: budget, OnDataLoss: s.dataLoss(), Secret: maskKey, Log: g.logger()}
		},
		Step: func(step string) { fmt.Fprintln(g.stderr, step) },
	}, nil
}

// join shares the work of a rebuild that another process leads.
func (c *rebuildCommand) join(ctx context.Context, g *Globals, s *Settings, table *sink.Table) error {
	if s.Kafka.embeddedLog() {
		return &usageError{fmt.Sprintf("join the rebuild of table %s: the embedded Kafka is of one process: --join wants the --brokers that the process that leads the rebuild has, too", c.Table)}
	}
	leader, err := table.Leader(ctx)
	if err != nil {
		return err
	}
	conn, err := s.connect(g, &s.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := c.rebuild(ctx, g, s, table, conn)
	if err != nil {
		return err
	}
	report, err := r.Join(ctx, leader)
	switch {
	case err != nil:
		return err
	case c.json():
		return writeJSON(g.stdout, report)
	case report.RowsRead == 0 && report.Commits == 0:
		fmt.Fprintf(g.stdout, "table %s: there was nothing left to do for this process: generation %d is written\n", c.Table, report.Generation)
		return nil
	}
	fmt.Fprintf(g.stdout, "table %s: this process has read %s of the topic for columns, and written %s of generation %d in %s\n", c.Table, plural(report.RowsRead, "row"), plural(report.Rows, "row"), report.Generation, plural(report.Commits, "commit"))
	return nil
}

func (c *rebuildCommand) check() error {
	n := 0
	for _, flag := range []bool{c.DryRun, c.Keep, c.Rollback, c.Cancel, c.Join} {
		if flag {
			n++
		}
	}
	switch {
	case n > 1:
		return &usageError{"--dry-run, --keep, --rollback, --cancel and --join are five things to do: give one of them"}
	case c.Now && !c.Rollback:
		return &usageError{"--now says how --rollback is to be done: give both"}
	case c.Limit < 1:
		return &usageError{"--limit must be 1 or more"}
	}
	return nil
}

// settings are those of the table's feed in lakefeed.yaml, if it is there.
func (c *rebuildCommand) settings(g *Globals) (s *Settings, fromFile bool, err error) {
	s = &Settings{}
	f, err := c.read()
	switch {
	case err != nil:
		return nil, false, err
	case f == nil:
		s.fill(c, g.given, nil)
	default:
		files := []any{f}
		for i := range f.Feeds {
			if f.Feeds[i].Table == c.Table {
				files, fromFile = append(files, &f.Feeds[i]), true
			}
		}
		s.fill(c, g.given, f.doc, files...)
	}
	s.Table = c.Table
	return s, fromFile, nil
}

// build is what the new generation is to be: what the feed's entry in the file says,
// else what the table was last written with; flags win over both.
func (c *rebuildCommand) build(ctx context.Context, g *Globals, s *Settings, table *sink.Table, fromFile bool) (sink.BuildConfig, error) {
	if fromFile {
		if err := s.unlock(); err != nil {
			return sink.BuildConfig{}, err
		}
		text, err := s.recipe(table.Topic(), s.Transform)
		return sink.BuildConfig{Shape: s.shape(), Config: text}, err
	}
	text, err := table.LastConfig(ctx)
	if err != nil {
		return sink.BuildConfig{}, err
	}
	shape, changed := table.Shape(), map[string]any{}
	if g.given[&c.PartitionBy] {
		shape.PartitionBy = c.PartitionBy
		changed["partition_by"] = c.PartitionBy
	}
	if g.given[&c.Meta] {
		shape.Meta = c.Meta
		changed["meta"] = c.Meta
	}
	declared := reflect.ValueOf(&c.Schema).Elem()
	for i := range declared.NumField() {
		if g.given[declared.Field(i).Addr().Interface()] {
			contract, err := c.Schema.contract()
			if err != nil {
				return sink.BuildConfig{}, err
			}
			changed["schema"] = contract
		}
	}
	if _, err := shape.Sources(); err != nil {
		return sink.BuildConfig{}, &usageError{err.Error()}
	}
	if len(changed) == 0 {
		return sink.BuildConfig{Shape: shape, Config: text}, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return sink.BuildConfig{}, fmt.Errorf("read the configuration of table %s: %w", c.Table, err)
	}
	for name, value := range changed {
		if fields[name], err = json.Marshal(value); err != nil {
			return sink.BuildConfig{}, err
		}
	}
	text, err = json.Marshal(fields)
	return sink.BuildConfig{Shape: shape, Config: text}, err
}

// checkCatalog refuses what a catalog that registers partitions one by one cannot
// turn to in one step.
func (c *rebuildCommand) checkCatalog(s *Settings, table *sink.Table, shape sink.Shape) error {
	if s.Glue.Database == "" || s.Glue.Projection || c.DryRun || c.Keep || c.Rollback || reflect.DeepEqual(table.Shape().PartitionBy, shape.PartitionBy) || len(table.Shape().PartitionBy)+len(shape.PartitionBy) == 0 {
		return nil
	}
	return &usageError{fmt.Sprintf("build table %s anew: it is %s and would be %s, and partitions that are registered in Glue one by one cannot be exchanged for others in one step: give --glue-projection, or take the topic into another table with lakefeed consume --table NAME --topic %s", c.Table, table.Shape(), shape, table.Topic())}
}

// register turns the catalog to the generation that is live now.
func (c *rebuildCommand) register(ctx context.Context, g *Globals, s *Settings, table *sink.Table) {
	limited, cancel := context.WithTimeout(ctx, lastRegistration)
	defer cancel()
	registrar, err := s.registrar(ctx, table, g.logger())
	if err == nil {
		_, err = registrar.Register(limited)
	}
	if err != nil {
		fmt.Fprintf(g.stderr, "warning: the swap is done, but readers of the catalog see the generation before: %v; a feed of the table that runs turns the catalog, or when that is mended: lakefeed register %s --lake %s%s\n", err, c.Table, s.Lake.Lake, s.Catalog.flags())
	}
}

// cancel gives up a swap or a build.
func (c *rebuildCommand) cancel(ctx context.Context, g *Globals, table *sink.Table) error {
	status, err := table.Swaps(ctx)
	if err != nil {
		return err
	}
	if status.Pending != nil {
		live, err := table.CancelSwap(ctx)
		if err != nil {
			return err
		}
		if !live.Cancelled {
			fmt.Fprintf(g.stdout, "table %s: swap %d was done just before, and generation %d is live; lakefeed rebuild %s --rollback goes back\n", c.Table, live.Swap, live.Generation, c.Table)
			return nil
		}
		fmt.Fprintf(g.stdout, "table %s: swap %d is cancelled, generation %d stays live and its feed goes on; generation %d is kept\n", c.Table, live.Swap, live.Generation, status.Pending.To)
		return nil
	}
	build, err := table.Unfinished(ctx)
	if err != nil {
		return err
	}
	if build == nil {
		fmt.Fprintf(g.stdout, "table %s: no swap is under way and no generation is being built\n", c.Table)
		return nil
	}
	if err := build.GiveUp(ctx); err != nil {
		return err
	}
	fmt.Fprintf(g.stdout, "table %s: generation %d is given up; the next rebuild begins another\n", c.Table, build.Generation())
	return nil
}

func (c *rebuildCommand) print(g *Globals, r *consumer.RebuildReport) error {
	if c.json() {
		return writeJSON(g.stdout, r)
	}
	w := g.stdout
	switch {
	case r.DryRun:
		fmt.Fprintf(w, "table %s would be built anew:\n", r.Table)
	case r.Swap > 0:
		fmt.Fprintf(w, "table %s: generation %d is live since swap %d, in place of generation %d\n", r.Table, r.After.Generation, r.Swap, r.Before.Generation)
	default:
		fmt.Fprintf(w, "table %s: generation %d is built beside generation %d, which is live\n", r.Table, r.After.Generation, r.Before.Generation)
	}
	printGenerations(w, r)
	if len(r.Missed) > 0 {
		fmt.Fprintf(w, "  until it had caught up readers did not see %s\n", consumer.MissingText(r.Topic, r.Missed))
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "  the columns are the same")
	}
	for _, change := range r.Changes {
		switch {
		case change.Before == "":
			fmt.Fprintf(w, "  column %s: new, %s\n", change.Column, change.After)
		case change.After == "":
			fmt.Fprintf(w, "  column %s: %s, is gone\n", change.Column, change.Before)
		default:
			fmt.Fprintf(w, "  column %s: %s -> %s\n", change.Column, change.Before, change.After)
		}
	}
	if r.Audit != nil {
		for _, f := range r.Audit.Findings {
			if f.Level != sink.Note {
				printFinding(w, &f)
			}
		}
		if r.Audit.Of(sink.Damage) == 0 {
			fmt.Fprintf(w, "  audit: clean, %s\n", comparedText(r.Audit))
		}
	}
	switch {
	case r.DryRun:
		fmt.Fprintln(w, "nothing was written")
	case r.Swap > 0:
		fmt.Fprintf(w, "to go back: lakefeed rebuild %s --rollback\n", r.Table)
	default:
		fmt.Fprintf(w, "to swap it in: lakefeed rebuild %s; to give it up: lakefeed rebuild %s --cancel\n", r.Table, r.Table)
	}
	return nil
}

// printGenerations puts what was beside what is.
func printGenerations(w io.Writer, r *consumer.RebuildReport) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, before, after any) { fmt.Fprintf(tab, "  %s\t%v\t%v\n", name, before, after) }
	before, after := &r.Before, &r.After
	line("", "before", "after")
	line("rows", countText(before.Rows), countText(after.Rows))
	line("rows in quarantine", countText(before.Quarantined), countText(after.Quarantined))
	if !r.DryRun {
		line("cells rescued", countText(before.Rescued), countText(after.Rescued))
		line("files", countText(before.Files), countText(after.Files))
		line("size", bytesText(before.Bytes), bytesText(after.Bytes))
		line("partitions", before.Partitions, after.Partitions)
	}
	line("columns", before.Columns, after.Columns)
	line("shape", before.Shape, after.Shape)
	tab.Flush()
}
