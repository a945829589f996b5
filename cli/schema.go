package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"lakefeed/sink"
)

type schemaCommands struct {
	Show schemaShow `cmd:"" help:"Print a table's columns and types."`
	DDL  schemaDDL  `cmd:"" name:"ddl" help:"Print the CREATE TABLE statement for Athena."`
	Why  schemaWhy  `cmd:"" help:"Print why a column has its type: the cells that decided it."`
	Log  schemaLog  `cmd:"" help:"Print the versions of a table's schema, and what changed."`
	Diff schemaDiff `cmd:"" help:"Print how two versions of a table's schema differ."`
}

type schemaShow struct {
	Table string `arg:"" help:"The table."`
	ConfigFile
	Lake
	Output
}

func (c *schemaShow) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	catalog, err := c.snapshot(ctx, g, c.Table)
	if err != nil {
		return err
	}
	if c.json() {
		return writeJSON(g.stdout, catalog)
	}
	fmt.Fprintf(g.stdout, "table %s, generation %d, schema version %d: %s in %s, %s\n", catalog.Table, catalog.Generation, catalog.SchemaVersion,
		plural(catalog.Rows, "row"), plural(catalog.Files, "file"), bytesText(catalog.Bytes))
	tab := tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	for _, col := range catalog.Columns {
		fmt.Fprintf(tab, "  %s\t%s\n", col.Name, col.Type)
	}
	for _, col := range catalog.PartitionBy {
		fmt.Fprintf(tab, "  %s\t%s\tpartition\n", col.Name, col.Type)
	}
	return tab.Flush()
}

type schemaDDL struct {
	Table    string `arg:"" help:"The table."`
	Location string `help:"Where Athena finds the lake. Default: the lake as it is here." placeholder:"s3://BUCKET/PREFIX"`
	ConfigFile
	Lake
}

func (c *schemaDDL) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	catalog, err := c.snapshot(ctx, g, c.Table)
	if err != nil {
		return err
	}
	location := c.Location
	if location == "" {
		location = c.Lake.Lake
	}
	ddl, err := sink.DDL(sink.TableDDL{
		Table: catalog.Table, Columns: catalog.Columns, PartitionBy: catalog.PartitionBy, Location: strings.TrimSuffix(location, "/") + "/" + catalog.Folder,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(g.stdout, ddl+";")
	if len(catalog.PartitionBy) > 0 {
		fmt.Fprintf(g.stdout, "\nMSCK REPAIR TABLE `%s`;\n", catalog.Table)
	}
	return nil
}

// snapshot reads what a table is from its chains.
func (l *Lake) snapshot(ctx context.Context, g *Globals, table string) (sink.Snapshot, error) {
	t, err := l.table(ctx, g, table)
	if err != nil {
		return sink.Snapshot{}, err
	}
	return sink.NewProjector(t).Snapshot(ctx)
}
