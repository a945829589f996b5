// Bench measures `lakefeed ingest` as users run it, beside DuckDB's COPY of the
// same CSV to Parquet on one thread: the two in turn, several times, and the
// medians of CPU time, wall time and peak memory. It prints the tables of
// deploy/docs/performance.md.
//
//	go run ./deploy/bench                        # all data sets, five runs each
//	go run ./deploy/bench -runs 1 -only narrow   # a quick look
//
// DuckDB and the TPC-H generator are Python packages: name a python3 that has
// duckdb and tpchgen-cli with -python or LAKEFEED_PYTHON. Without it lakefeed is
// measured alone, on the data that can be made without it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{out: os.Stdout}
	flag.IntVar(&b.runs, "runs", 5, "runs of each program on each data set")
	flag.StringVar(&b.python, "python", os.Getenv("LAKEFEED_PYTHON"), "python3 that has duckdb and tpchgen-cli")
	flag.StringVar(&b.testdata, "data", os.Getenv("LAKEFEED_TESTDATA"), "folder that has nycflights13")
	flag.StringVar(&b.keep, "keep", "", "folder that keeps the data sets for the next time")
	only := flag.String("only", "", "regular expression of the data sets to use")
	stages := flag.Bool("stages", true, "show where the time goes, from a CPU profile")
	flag.Parse()
	err := b.run(ctx, *only, *stages)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures all data sets.
func (b *bench) run(ctx context.Context, only string, stages bool) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "lakefeed-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.keep == "" {
		b.keep = b.dir
	}
	if err := os.MkdirAll(b.keep, 0o777); err != nil {
		return err
	}
	b.binary = filepath.Join(b.dir, "lakefeed")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build lakefeed, from the module's folder: %w\n%s", err, out)
	}
	b.header(ctx)
	for _, set := range dataSets {
		if !match.MatchString(set.name) {
			continue
		}
		source, err := set.make(ctx, b)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: left out: %v\n", set.name, err)
			continue
		}
		if err := b.measure(ctx, set.name, source, stages); err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
	}
	return nil
}
