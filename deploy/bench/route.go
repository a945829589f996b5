package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// route is a way of the rows: through which Kafka, into which lake.
type route struct {
	name        string
	kafka, lake bool // a Kafka and a lake of their own, and not the embedded one and a folder
}

// routes are those that can be measured.
func (b *bench) routes() []route {
	out := []route{{name: "embedded Kafka, folder"}}
	if b.lake != "" {
		out = append(out, route{"embedded Kafka, S3", false, true})
	}
	if b.brokers != "" {
		out = append(out, route{"Kafka, folder", true, false})
	}
	if b.lake != "" && b.brokers != "" {
		out = append(out, route{"Kafka, S3", true, true})
	}
	return out
}

func (b *bench) routeHeader() {
	fmt.Fprintln(b.out, "| data | size | way | lakefeed CPU s | wall s | MB/s | peak MB |")
	fmt.Fprintln(b.out, "|---|---|---|---|---|---|---|")
}

// measureRoutes measures the ways in turn, so that what else the machine does falls
// on all.
func (b *bench) measureRoutes(ctx context.Context, name, source string) error {
	size, err := sizeOf(source)
	if err != nil {
		return err
	}
	routes := b.routes()
	all := make([][]usage, len(routes))
	for range b.runs {
		for i, r := range routes {
			u, err := b.take(ctx, source, r)
			if err != nil {
				return err
			}
			all[i] = append(all[i], u)
		}
	}
	for i, r := range routes {
		u := median(all[i])
		fmt.Fprintf(b.out, "| %s | %.0f MB | %s | %.2f | %.2f | %.0f | %d |\n", name, float64(size)/1e6, r.name,
			u.cpu.Seconds(), u.wall.Seconds(), float64(size)/1e6/u.wall.Seconds(), u.peak/1e6)
	}
	return nil
}

// take takes a source by a route, into a table and a topic of its own. What is in
// folders is removed again; the topic and the objects stay.
func (b *bench) take(ctx context.Context, source string, r route) (usage, error) {
	b.taken++
	table := fmt.Sprintf("bench_%d_%d", os.Getpid(), b.taken)
	folder := filepath.Join(b.dir, table)
	defer os.RemoveAll(folder)
	args := []string{"ingest", source, "--table", table, "--memory", strconv.FormatInt(b.memory<<20, 10)}
	if r.lake {
		args = append(args, "--lake", strings.TrimSuffix(b.lake, "/")+"/"+table)
	} else {
		args = append(args, "--lake", filepath.Join(folder, "lake"))
	}
	if r.kafka {
		args = append(args, "--brokers", b.brokers, "--partitions", "4")
	} else {
		args = append(args, "--kafka-dir", filepath.Join(folder, "kafka"))
	}
	return run(exec.CommandContext(ctx, b.binary, args...))
}
