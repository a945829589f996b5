// Bench measures `lakefeed ingest` as users run it, beside DuckDB's COPY of the
// same CSV to Parquet on one thread: the two in turn, several times, and the
// medians of CPU time, wall time and peak memory. It prints the tables of
// deploy/docs/performance.md.
//
//	go run ./deploy/bench                        # all data sets, five runs each
//	go run ./deploy/bench -runs 1 -only narrow   # a quick look
//
// With a Kafka, an S3 or both it measures lakefeed's ways through them beside the
// embedded Kafka and a folder; the S3 is found as every AWS tool finds it:
//
//	docker compose up -d --wait kafka minio && docker compose run --rm buckets
//	AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000 AWS_ACCESS_KEY_ID=minioadmin AWS_SECRET_ACCESS_KEY=minioadmin \
//		go run ./deploy/bench -brokers 127.0.0.1:9092 -lake s3://lake/bench
//
// With -rebuild it measures `lakefeed rebuild` of each data set's table instead, with 1,
// 2 and 4 topic partitions, in a folder and with the embedded Kafka.
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
	flag.StringVar(&b.brokers, "brokers", "", "a Kafka to measure the way through")
	flag.StringVar(&b.lake, "lake", "", "a lake on S3 to measure the way into; what is put there stays")
	flag.Int64Var(&b.memory, "memory", 256, "memory that lakefeed may take for its buffers, in MiB, on the ways through Kafka and S3 and in rebuilds")
	flag.BoolVar(&b.rebuilds, "rebuild", false, "measure rebuilds, with 1, 2 and 4 topic partitions")
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
	ways := b.brokers != "" || b.lake != ""
	b.header(ctx, ways)
	for _, set := range dataSets {
		if !match.MatchString(set.name) {
			continue
		}
		source, err := set.make(ctx, b)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: left out: %v\n", set.name, err)
			continue
		}
		switch {
		case b.rebuilds:
			err = b.measureRebuilds(ctx, set.name, source)
		case ways:
			err = b.measureRoutes(ctx, set.name, source)
		default:
			err = b.measure(ctx, set.name, source, stages)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
	}
	return nil
}
