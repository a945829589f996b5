package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// dataSet is a CSV to measure with, or a glob of several.
type dataSet struct {
	name string
	make func(context.Context, *bench) (source string, err error)
}

var dataSets = []dataSet{
	{"lineitem SF 0.1", lineitem("0.1")},
	{"lineitem SF 1", lineitem("1")},
	{"flights", flights},
	{"narrow", synthetic("narrow", 4_000_000, 3)},
	{"wide", synthetic("wide", 20_000, 400)},
}

// lineitem is the largest table of TPC-H at a scale factor.
func lineitem(scale string) func(context.Context, *bench) (string, error) {
	return func(ctx context.Context, b *bench) (string, error) {
		folder := filepath.Join(b.keep, "lineitem-"+scale)
		name := filepath.Join(folder, "lineitem.csv")
		if exists(name) {
			return name, nil
		}
		if b.python == "" {
			return "", errors.New("no -python with tpchgen-cli to make it")
		}
		generator := filepath.Join(filepath.Dir(b.python), "tpchgen-cli")
		out, err := exec.CommandContext(ctx, generator, "csv", "-s", scale, "--tables", "lineitem", "-o", folder).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w\n%s", generator, err, out)
		}
		return name, nil
	}
}

// flights is two months of departures from New York.
func flights(_ context.Context, b *bench) (string, error) {
	pattern := filepath.Join(b.testdata, "nycflights13", "flights-2013-*.csv")
	if names, err := filepath.Glob(pattern); err != nil || len(names) == 0 || b.testdata == "" {
		return "", errors.New("no -data folder that has nycflights13")
	}
	return pattern, nil
}

// synthetic makes rows whose columns are in turn a number, a price, a date, a
// word of few and a text of many.
func synthetic(name string, rows, columns int) func(context.Context, *bench) (string, error) {
	return func(_ context.Context, b *bench) (string, error) {
		file := filepath.Join(b.keep, name+".csv")
		if exists(file) {
			return file, nil
		}
		f, err := os.Create(file + ".new")
		if err != nil {
			return "", err
		}
		defer f.Close()
		w := bufio.NewWriterSize(f, 1<<20)
		for c := range columns {
			if c > 0 {
				w.WriteByte(',')
			}
			fmt.Fprintf(w, "c%d", c)
		}
		w.WriteByte('\n')
		random := rand.New(rand.NewPCG(1, 2))
		var line []byte
		for range rows {
			line = line[:0]
			for c := range columns {
				if c > 0 {
					line = append(line, ',')
				}
				line = appendCell(line, c, random)
			}
			w.Write(append(line, '\n'))
		}
		if err := w.Flush(); err != nil {
			return "", err
		}
		return file, os.Rename(f.Name(), file)
	}
}

var words = []string{"north", "south", "east", "west", "centre"}

func appendCell(line []byte, column int, random *rand.Rand) []byte {
	switch column % 5 {
	case 0:
		return strconv.AppendInt(line, random.Int64N(1_000_000), 10)
	case 1:
		return strconv.AppendFloat(line, float64(random.IntN(1_000_000))/100, 'f', 2, 64)
	case 2:
		return fmt.Appendf(line, "%d-%02d-%02d", 2000+random.IntN(25), 1+random.IntN(12), 1+random.IntN(28))
	case 3:
		return append(line, words[random.IntN(len(words))]...)
	}
	return fmt.Appendf(line, "customer %d", random.IntN(1<<30))
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
