package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"lakefeed/sink"
	"lakefeed/sink/glue"
)

// Catalog are the flags that say where tables are registered.
type Catalog struct {
	Glue Glue `embed:"" prefix:"glue-" yaml:"glue"`
}

// Glue are the flags of the Glue Data Catalog.
type Glue struct {
	Database   string `help:"Register the table in this database of the Glue Data Catalog, where Athena finds it. Default: a catalog file in the lake." placeholder:"NAME" yaml:"database"`
	Projection bool   `help:"Let readers work out the table's partitions (partition projection) instead of registering each." yaml:"projection"`
}

// open gives the catalog of a lake.
func (c *Catalog) open(ctx context.Context, store sink.Store, log *slog.Logger) (sink.Catalog, error) {
	if c.Glue.Database == "" {
		if c.Glue.Projection {
			return nil, &usageError{"--glue-projection is a property of tables in Glue: name the database too, with --glue-database NAME"}
		}
		return &sink.FileCatalog{Store: store}, nil
	}
	config := glue.Config{Database: c.Glue.Database, Lake: store.String(), Version: version(), Log: log}
	if err := config.Validate(); err != nil {
		return nil, &usageError{err.Error()}
	}
	return glue.Open(ctx, config)
}

// registrar gives what registers a table.
func (c *Catalog) registrar(ctx context.Context, table *sink.Table, log *slog.Logger) (*sink.Registrar, error) {
	catalog, err := c.open(ctx, table.Store(), log)
	if err != nil {
		return nil, err
	}
	return &sink.Registrar{Table: table, Catalog: catalog, Project: c.Glue.Projection, Log: log}, nil
}

// flags are the flags as a person has to write them again.
func (c *Catalog) flags() string {
	var b strings.Builder
	if c.Glue.Database != "" {
		b.WriteString(" --glue-database " + c.Glue.Database)
	}
	if c.Glue.Projection {
		b.WriteString(" --glue-projection")
	}
	return b.String()
}

// keepRegistered registers the table after commits, until stop, which waits for it.
func keepRegistered(ctx context.Context, r *sink.Registrar) (stop func()) {
	running, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { r.Run(running) })
	return func() {
		cancel()
		background.Wait()
	}
}

// lastRegistration is how long the end of a run may wait for the catalog.
const lastRegistration = 30 * time.Second

// registerCommand makes a table's catalog again.
type registerCommand struct {
	Table string `arg:"" help:"The table."`
	ConfigFile
	Lake
	Catalog
	Output
}

func (c *registerCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	table, err := c.table(ctx, g, c.Table)
	if err != nil {
		return err
	}
	registrar, err := c.registrar(ctx, table, g.logger())
	if err != nil {
		return err
	}
	if file, ok := registrar.Catalog.(*sink.FileCatalog); ok { // whatever became of it
		if err := file.Remove(ctx, table.Name()); err != nil {
			return err
		}
	}
	done, err := registrar.Register(ctx)
	if err != nil {
		return err
	}
	out := struct {
		Table         string   `json:"table"`
		Catalog       string   `json:"catalog"`
		SchemaVersion int64    `json:"schema_version"`
		Partitions    int      `json:"partitions"`
		Changed       int      `json:"tables_changed"`
		Written       int      `json:"partitions_changed"`
		Hidden        []string `json:"hidden,omitempty"` // folders that projection does not find
	}{c.Table, registrar.Catalog.String(), done.Snapshot.SchemaVersion, len(done.Snapshot.Partitions), done.Tables, done.Partitions, done.Hidden}
	if c.json() {
		return writeJSON(g.stdout, out)
	}
	fmt.Fprintf(g.stdout, "table %s is registered in %s: schema version %d, %s", c.Table, out.Catalog, out.SchemaVersion, plural(int64(out.Partitions), "partition"))
	if out.Changed+out.Written == 0 {
		fmt.Fprintln(g.stdout, "; all was there")
	} else {
		fmt.Fprintf(g.stdout, "; %s and %s written\n", plural(int64(out.Changed), "table"), plural(int64(out.Written), "partition"))
	}
	for _, warning := range projectionWarnings(&done) {
		fmt.Fprintln(g.stderr, "warning: "+warning)
	}
	return nil
}

// manyPartitions is how many partitions an engine is known to plan: Trino 476 dies of
// tens of millions.
const manyPartitions = 1_000_000

// projectionWarnings say what readers will not see, and what they will not get done.
func projectionWarnings(done *sink.Registration) (out []string) {
	if done.Projected > manyPartitions {
		out = append(out, fmt.Sprintf("partition projection makes readers look for %s partitions, of which the table has %s: they count from the least value to the greatest, so look for one that is far from the others; without --glue-projection they look for those that there are", countText(done.Projected), countText(int64(len(done.Snapshot.Partitions)))))
	}
	hidden := done.Hidden
	if len(hidden) == 0 {
		return out
	}
	return append(out, fmt.Sprintf("partition projection finds no rows in %s, such as %s: it cannot count to null, and takes spaces off the ends of text; without --glue-projection they are found", plural(int64(len(hidden)), "folder"), strconv.Quote(hidden[0])))
}
