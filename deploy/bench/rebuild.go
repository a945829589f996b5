package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// rebuildParts is how many files a data set is cut into for rebuilds: a file is one
// stream, which is in one topic partition.
const rebuildParts = 16

// rebuilds are the numbers of topic partitions that a rebuild is measured with.
var rebuilds = []int{1, 2, 4}

func (b *bench) rebuildHeader() {
	fmt.Fprintln(b.out, "| data | size | rows | topic partitions | CPU s | wall s | rows/s | peak MB |")
	fmt.Fprintln(b.out, "|---|---|---|---|---|---|---|---|")
}

// measureRebuilds measures a rebuild of a data set's table: the topic is read twice,
// once for its columns, and written once, and its rows are compared in the audit.
func (b *bench) measureRebuilds(ctx context.Context, name, source string) error {
	size, err := sizeOf(source)
	if err != nil {
		return err
	}
	parts, rows, err := b.cut(source)
	if err != nil {
		return err
	}
	defer os.RemoveAll(parts)
	all := make([][]usage, len(rebuilds))
	for range b.runs {
		for i, n := range rebuilds {
			u, err := b.rebuild(ctx, parts, n)
			if err != nil {
				return err
			}
			all[i] = append(all[i], u)
		}
	}
	for i, n := range rebuilds {
		u := median(all[i])
		fmt.Fprintf(b.out, "| %s | %.0f MB | %d | %d | %.2f | %.2f | %.0f | %d |\n", name, float64(size)/1e6, rows, n,
			u.cpu.Seconds(), u.wall.Seconds(), float64(rows)/u.wall.Seconds(), u.peak/1e6)
	}
	return nil
}

// rebuild fills a lake in a folder by a topic of so many partitions, and builds its
// table anew, which is what is measured.
func (b *bench) rebuild(ctx context.Context, parts string, partitions int) (usage, error) {
	lake := filepath.Join(b.dir, "lake")
	defer os.RemoveAll(lake)
	memory := []string{"--lake", lake, "--memory", strconv.FormatInt(b.memory<<20, 10)}
	if _, err := run(exec.CommandContext(ctx, b.binary, append([]string{"ingest", parts, "--table", "bench", "--partitions", strconv.Itoa(partitions)}, memory...)...)); err != nil {
		return usage{}, err
	}
	return run(exec.CommandContext(ctx, b.binary, append([]string{"rebuild", "bench"}, memory...)...))
}

// cut writes a CSV file, or those of a pattern, as many files of some lines each. It
// holds one line: the system counts this process's memory among that of those that it
// starts.
func (b *bench) cut(pattern string) (folder string, rows int, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", 0, err
	}
	size, err := sizeOf(pattern)
	if err != nil {
		return "", 0, err
	}
	c := cutter{most: size/rebuildParts + 1}
	c.folder, err = os.MkdirTemp(b.dir, "parts-")
	for i := 0; i < len(names) && err == nil; i++ {
		err = c.take(names[i])
	}
	return c.folder, c.rows, err
}

// cutter writes lines into files of some size.
type cutter struct {
	folder      string
	most        int64 // bytes
	files, rows int
}

func (c *cutter) take(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := bufio.NewReaderSize(in, 1<<20)
	header, err := lines.ReadBytes('\n')
	for err == nil {
		err = c.part(header, lines)
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// part writes one file. io.EOF says that it was the last.
func (c *cutter) part(header []byte, lines *bufio.Reader) error {
	out, err := os.Create(filepath.Join(c.folder, fmt.Sprintf("%03d.csv", c.files)))
	if err != nil {
		return err
	}
	defer out.Close()
	c.files++
	w := bufio.NewWriterSize(out, 1<<20)
	w.Write(header)
	for n := int64(0); n < c.most && err == nil; {
		var line []byte
		if line, err = lines.ReadBytes('\n'); len(line) > 0 {
			n += int64(len(line))
			c.rows++
			w.Write(line)
		}
	}
	if e := errors.Join(w.Flush(), out.Close()); e != nil {
		return e
	}
	return err
}
