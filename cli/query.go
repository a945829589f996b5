package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"lakefeed/cli/config"
	"lakefeed/sink"
	"lakefeed/sink/athena"
	"lakefeed/sink/duckdb"
	"lakefeed/sink/query"
	"lakefeed/sink/trino"
)

type queryCommand struct {
	SQL string `arg:"" help:"One statement, or - for standard input."`
	ConfigFile
	Lake
	Athena Athena `embed:"" prefix:"athena-"`
	Trino  Trino  `embed:"" prefix:"trino-"`
	DuckDB string `name:"duckdb" help:"The DuckDB program. Default: duckdb, or lakefeed-duckdb as deploy/duckdb builds it, from PATH." placeholder:"FILE"`
	Output string `short:"o" help:"Print the result as ${enum}." enum:"table,csv,json" default:"table"`
}

// Athena are the flags of queries that Athena answers.
type Athena struct {
	Database  string `help:"Ask Athena, where names without a database are of this one." placeholder:"NAME"`
	Workgroup string `help:"Work group. Default: the account's primary one." placeholder:"NAME"`
	Output    string `help:"Where Athena puts its results. Default: the work group's place." placeholder:"s3://BUCKET/PREFIX"`
}

// Trino are the flags of queries that Trino answers.
type Trino struct {
	URL      string        `help:"Ask the Trino server at this URL." placeholder:"http://HOST:8080"`
	User     string        `help:"Who asks." default:"lakefeed" placeholder:"NAME"`
	Password config.Secret `help:"Password, over https only; best given by its environment variable." placeholder:"TEXT"`
	Catalog  string        `help:"Catalog of names without one." default:"hive" placeholder:"NAME"`
	Schema   string        `help:"Schema of names without one." placeholder:"NAME"`
}

// engine answers statements.
type engine interface {
	Query(ctx context.Context, sql string, out query.Writer) error
}

// duckPrograms are the names of programs that DuckDB's engine can be asked with.
var duckPrograms = []string{"duckdb", "lakefeed-duckdb"}

// Run asks the engine that is configured: Athena or Trino where one is named, else
// DuckDB on this machine.
func (c *queryCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	sql := c.SQL
	if sql == "-" {
		text, err := io.ReadAll(g.stdin)
		if err != nil {
			return fmt.Errorf("read the statement from standard input: %w", err)
		}
		sql = string(text)
	}
	if strings.TrimSpace(sql) == "" {
		return &usageError{"there is no statement to run: give one, or - to read it from standard input"}
	}
	e, err := c.engine(ctx, g)
	if err != nil {
		return err
	}
	out := newResultWriter(c.Output, g.stdout)
	if err := e.Query(ctx, sql, out); err != nil {
		return err
	}
	rows, err := out.end()
	if err == nil && c.Output == "table" {
		fmt.Fprintf(g.stderr, "%s\n", plural(rows, "row"))
	}
	return err
}

func (c *queryCommand) engine(ctx context.Context, g *Globals) (engine, error) {
	switch asksAthena, asksTrino := c.Athena != (Athena{}), c.Trino.URL != ""; {
	case asksAthena && asksTrino:
		return nil, &usageError{"ask Athena or Trino, not both: leave --trino-url or the --athena flags out"}
	case asksAthena:
		return &athena.Engine{Database: c.Athena.Database, Workgroup: c.Athena.Workgroup, Output: c.Athena.Output, Log: g.logger()}, nil
	case asksTrino:
		e := &trino.Engine{URL: c.Trino.URL, User: c.Trino.User, Password: c.Trino.Password.Reveal(), Catalog: c.Trino.Catalog, Schema: c.Trino.Schema}
		if err := e.Validate(); err != nil {
			return nil, &usageError{err.Error()}
		}
		return e, nil
	}
	program, err := c.duckProgram()
	if err != nil {
		return nil, err
	}
	views, err := c.views(ctx, g)
	if err != nil {
		return nil, err
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL_S3")
	if endpoint == "" {
		endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	return &duckdb.Engine{Path: program, Views: views, S3: isBucket(c.Lake.Lake), Endpoint: endpoint}, nil
}

func (c *queryCommand) duckProgram() (string, error) {
	if c.DuckDB != "" {
		program, err := exec.LookPath(c.DuckDB)
		if err != nil {
			return "", &usageError{fmt.Sprintf("find DuckDB: %v", err)}
		}
		return program, nil
	}
	for _, name := range duckPrograms {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", &usageError{"there is nothing to ask: put DuckDB's program duckdb on the PATH (https://duckdb.org), build lakefeed-duckdb (cd deploy/duckdb && go build -o lakefeed-duckdb .), or name Trino (--trino-url) or Athena (--athena-database)"}
}

// views are a view for each table of the lake, and for the quarantine of each, that has
// files.
func (c *queryCommand) views(ctx context.Context, g *Globals) ([]duckdb.View, error) {
	store, err := c.store(ctx, g)
	if err != nil {
		return nil, err
	}
	names, err := sink.Tables(ctx, store)
	if err != nil {
		return nil, err
	}
	var views []duckdb.View
	for _, name := range names {
		table, err := sink.ReadTable(ctx, store, name)
		if err != nil {
			return nil, err
		}
		for view, folder := range map[string]string{name: table.Folder(), name + "__quarantine": table.QuarantineFolder()} {
			some := false
			for _, err := range store.List(ctx, folder+"/", "") {
				if err != nil {
					return nil, err
				}
				some = true
				break
			}
			if some {
				views = append(views, duckdb.View{Name: view, Folder: c.folder(folder)})
			}
		}
	}
	if len(views) == 0 {
		return nil, fmt.Errorf("query lake %s: it has no table with rows: %w", store, sink.ErrNoTable)
	}
	return views, nil
}

// queryExit is the code of a query's failure; ok is false where err is none.
func queryExit(err error) (code int, ok bool) {
	var failed *query.Error
	switch {
	case errors.As(err, &failed) && failed.User:
		return exitUsage, true
	case errors.As(err, &failed):
		return exitUnexpected, true
	case errors.Is(err, query.ErrUnreachable):
		return exitUnreachable, true
	}
	return 0, false
}
