package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
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

// cut writes a CSV file, or those of a pattern, as many files of some lines each.
func (b *bench) cut(pattern string) (folder string, rows int, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", 0, err
	}
	size, err := sizeOf(pattern)
	if err != nil {
		return "", 0, err
	}
	folder, err = os.MkdirTemp(b.dir, "parts-")
	if err != nil {
		return "", 0, err
	}
	part := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return folder, rows, err
		}
		header, body, _ := bytes.Cut(text, []byte("\n"))
		for len(body) > 0 {
			end := min(int(size)/rebuildParts+1, len(body))
			if line := bytes.IndexByte(body[end:], '\n'); line >= 0 {
				end += line + 1
			} else {
				end = len(body)
			}
			rows += bytes.Count(body[:end], []byte("\n"))
			if err := writePart(filepath.Join(folder, fmt.Sprintf("%03d.csv", part)), header, body[:end]); err != nil {
				return folder, rows, err
			}
			part, body = part+1, body[end:]
		}
	}
	return folder, rows, nil
}

func writePart(name string, header, body []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	w.Write(header)
	w.WriteByte('\n')
	w.Write(body)
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
