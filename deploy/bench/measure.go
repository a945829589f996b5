package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is what all measurements share.
type bench struct {
	runs     int
	python   string
	testdata string
	keep     string // folder of the data sets
	dir      string // of what the runs write
	binary   string
	brokers  string // of a Kafka; "": none
	lake     string // on S3; "": none
	memory   int64  // MiB
	taken    int    // tables that were filled
	rebuilds bool
	out      io.Writer
}

// usage is what one run of a program took.
type usage struct {
	cpu, wall time.Duration
	peak      int64 // bytes resident
}

const duckCopy = `
import duckdb, sys
c = duckdb.connect()
c.execute("SET threads = 1")
c.execute("COPY (SELECT * FROM '" + sys.argv[1] + "') TO '" + sys.argv[2] + "' (FORMAT parquet, COMPRESSION zstd)")
`

// header tells what machine and programs the figures are of.
func (b *bench) header(ctx context.Context, ways bool) {
	fmt.Fprintf(b.out, "%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	if b.python != "" && !ways && !b.rebuilds {
		if v, err := exec.CommandContext(ctx, b.python, "-c", "import duckdb; print(duckdb.__version__)").Output(); err == nil {
			fmt.Fprintf(b.out, ", DuckDB %s on one thread", strings.TrimSpace(string(v)))
		}
	}
	fmt.Fprintf(b.out, "; medians of %d runs, in turn\n\n", b.runs)
	switch {
	case b.rebuilds:
		b.rebuildHeader()
		return
	case ways:
		b.routeHeader()
		return
	}
	fmt.Fprintln(b.out, "| data | size | lakefeed CPU s | wall s | peak MB | DuckDB CPU s | wall s | peak MB | CPU ratio |")
	fmt.Fprintln(b.out, "|---|---|---|---|---|---|---|---|---|")
}

// measure runs both programs in turn, so that what else the machine does falls
// on both.
func (b *bench) measure(ctx context.Context, name, source string, stages bool) error {
	var ours, duck []usage
	for range b.runs {
		u, err := b.ingest(ctx, source)
		if err != nil {
			return err
		}
		ours = append(ours, u)
		if b.python == "" {
			continue
		}
		target := filepath.Join(b.dir, "duck.parquet")
		if u, err = run(exec.CommandContext(ctx, b.python, "-c", duckCopy, source, target)); err != nil {
			return err
		}
		duck = append(duck, u)
	}
	size, err := sizeOf(source)
	if err != nil {
		return err
	}
	u := median(ours)
	fmt.Fprintf(b.out, "| %s | %.0f MB | %.2f | %.2f | %d | ", name, float64(size)/1e6, u.cpu.Seconds(), u.wall.Seconds(), u.peak/1e6)
	if len(duck) == 0 {
		fmt.Fprintln(b.out, "| | | |")
	} else {
		d := median(duck)
		fmt.Fprintf(b.out, "%.2f | %.2f | %d | %.1f |\n", d.cpu.Seconds(), d.wall.Seconds(), d.peak/1e6, u.cpu.Seconds()/d.cpu.Seconds())
	}
	if !stages {
		return nil
	}
	return b.stages(ctx, source)
}

// ingest takes a source into a lake of its own, which is removed again.
func (b *bench) ingest(ctx context.Context, source string, flags ...string) (usage, error) {
	lake := filepath.Join(b.dir, "lake")
	defer os.RemoveAll(lake)
	args := append([]string{"ingest", source, "--table", "bench", "--lake", lake}, flags...)
	return run(exec.CommandContext(ctx, b.binary, args...))
}

// run runs a program to its end.
func run(cmd *exec.Cmd) (usage, error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, output.Bytes())
	}
	u := usage{wall: time.Since(began), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = r.Maxrss
		if runtime.GOOS == "linux" {
			u.peak *= 1024
		}
	}
	return u, nil
}

// median takes the median of each figure by itself.
func median(all []usage) usage {
	of := func(figure func(usage) int64) int64 {
		var list []int64
		for _, u := range all {
			list = append(list, figure(u))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return usage{
		cpu:  time.Duration(of(func(u usage) int64 { return int64(u.cpu) })),
		wall: time.Duration(of(func(u usage) int64 { return int64(u.wall) })),
		peak: of(func(u usage) int64 { return u.peak }),
	}
}

func sizeOf(pattern string) (size int64, err error) {
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, err
}
