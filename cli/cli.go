// Package cli is lakefeed's command line: one file a command, the wiring of the
// engine's packages, and nothing of the engine itself. Data goes to standard
// output, talk to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"lakefeed/schema/fault"
)

// Globals are the flags that every command has.
type Globals struct {
	LogLevel levelFlag `help:"Log messages from this level on: debug, info, warn, error." default:"warn" placeholder:"LEVEL"`
	LogJSON  bool      `name:"log-json" help:"Log as JSON lines."`
	Fault    string    `hidden:"" help:"Fail or die at a point, for tests." placeholder:"POINT:N:ACTION"`
	Profile  string    `name:"cpu-profile" hidden:"" help:"Write a CPU profile to this file." placeholder:"FILE"`

	commands map[string]bool // that there are
	given    given           // what the command line and the environment set
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
}

// Output is the flag of commands that print data.
type Output struct {
	Output string `short:"o" help:"Print the result as ${enum}." enum:"table,json" default:"table"`
}

func (o Output) json() bool { return o.Output == "json" }

func (g *Globals) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(g.LogLevel), ReplaceAttr: redactedAttr}
	if g.LogJSON {
		return slog.New(slog.NewJSONHandler(g.stderr, options))
	}
	return slog.New(slog.NewTextHandler(g.stderr, options))
}

type commands struct {
	Globals

	Ingest       ingestCommand       `cmd:"" help:"Take CSV sources into a table of the lake, until every row is there."`
	Produce      produceCommand      `cmd:"" help:"Send the rows of CSV sources to a topic, and no more."`
	Consume      consumeCommand      `cmd:"" help:"Take a topic's rows into a table of the lake; as many processes as it has topic partitions."`
	Adopt        adoptCommand        `cmd:"" name:"adopt-topic" help:"Go on with a topic that was deleted and made again."`
	Sniff        sniffCommand        `cmd:"" help:"Show what a CSV file's dialect, header and types are found to be."`
	Init         initCommand         `cmd:"" help:"Write lakefeed.yaml for sources, with what is found of them as comments."`
	Plan         planCommand         `cmd:"" help:"Show what the feeds of lakefeed.yaml would do to the lake, and write nothing there."`
	Validate     validateCommand     `cmd:"" help:"Check lakefeed.yaml, and say what it has or everything that is wrong with it."`
	Test         testCommand         `cmd:"" help:"Run the tests in lakefeed.yaml: a CSV in, the rows, rejects, partitions and schema that it becomes out."`
	ConfigSchema configSchemaCommand `cmd:"" name:"config-schema" help:"Print a JSON schema of lakefeed.yaml, for editors."`
	Schema       schemaCommands      `cmd:"" help:"Show a table's schema, or its DDL for Athena."`
	Register     registerCommand     `cmd:"" help:"Make a table's catalog again from the lake: in Glue, or the catalog file."`
	Query        queryCommand        `cmd:"" help:"Run one statement of SQL over the lake: with Athena or Trino where one is named, else with DuckDB."`
	Rejects      rejectsCommands     `cmd:"" help:"Show a table's quarantine by cause, and put rows back after a fix."`
	Rebuild      rebuildCommand      `cmd:"" help:"Build a table anew from its topic, with the present configuration, and swap it in while the feed goes on."`
	Audit        auditCommand        `cmd:"" help:"Prove that a table has each row of its sources once."`
	Files        filesCommand        `cmd:"" help:"List the files of a state of a table, for other readers."`
	Raw          rawCommand          `cmd:"" help:"List the copies of the source objects in a table's raw zone, or write one of them out."`
	Version      kong.VersionFlag    `help:"Print the version." env:"-"`
}

// Main runs one command line and gives the process's exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := interruptible(stderr)
	defer stop()
	return run(ctx, args, stdin, stdout, stderr)
}

// interruptible is a context that ends at the first interrupt or termination
// signal. The second ends the process at once.
func interruptible(stderr io.Writer) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(stderr, "interrupted: committing what was read; interrupt again to stop at once (nothing is lost, the next run goes on)")
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

// parsed carries kong's wish to exit out of its parser.
type parsed struct{ code int }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	c := &commands{Globals: Globals{stdin: stdin, stdout: stdout, stderr: stderr}}
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(parsed)
			if !ok {
				panic(r)
			}
			code = exit.code
		}
	}()
	parser, err := kong.New(c,
		kong.Name("lakefeed"),
		kong.Description("CSV feeds in; typed, evolving Parquet tables out, queryable in Athena; rebuilt by replaying Kafka topics."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.DefaultEnvars("LAKEFEED"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(parsed{code}) }),
		kong.Vars{"version": version(), "default_lake": defaultLake},
		kong.Bind(&c.Globals),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	c.commands = map[string]bool{}
	for _, command := range parser.Model.Children {
		c.commands[command.Name] = true
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "lakefeed: %s\n", withoutSecrets(err))
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context != nil {
			fmt.Fprintf(stderr, "lakefeed: see %s --help\n", strings.TrimSpace("lakefeed "+parse.Context.Command()))
		}
		return exitUsage
	}
	if c.Fault != "" {
		hook, err := fault.Parse(c.Fault)
		if err != nil {
			fmt.Fprintf(stderr, "lakefeed: %v\n", err)
			return exitUsage
		}
		k.BindTo(fault.With(ctx, hook), (*context.Context)(nil))
	}
	c.given = givenBy(k)
	stop, err := c.profile()
	if err != nil {
		fmt.Fprintf(stderr, "lakefeed: %v\n", err)
		return exitCode(err)
	}
	err = k.Run()
	if e := stop(); err == nil {
		err = e
	}
	if err != nil {
		code := exitCode(err)
		if code != exitInterrupted {
			fmt.Fprintf(stderr, "lakefeed: %s\n", redacted(err.Error()))
		}
		return code
	}
	return exitDone
}

// withoutSecrets is the error of a command line. That of --kafka, whose values may
// be passwords, and its environment variable is said without them.
func withoutSecrets(err error) string {
	if text := err.Error(); !strings.HasPrefix(text, "--kafka:") {
		return redacted(text)
	}
	return "--kafka (LAKEFEED_KAFKA): it is NAME=VALUE, or several with commas between; write a value that has a comma itself into " + defaultConfig
}

// profile starts the CPU profile that is asked for; stop ends it.
func (g *Globals) profile() (stop func() error, err error) {
	if g.Profile == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(g.Profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// version is the module's version and the commit it was built from, where the
// build recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "lakefeed (unknown build)"
	}
	out := "lakefeed " + info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			out += " " + s.Value
		}
	}
	return out + " " + info.GoVersion
}
