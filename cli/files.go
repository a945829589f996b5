package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"lakefeed/sink"
)

type filesCommand struct {
	Table      string `arg:"" help:"The table."`
	At         string `help:"The state at a time, as 2026-11-25T10:00:00Z, or of a name that this command or a summary has printed, as g1.12.7. Default: now." placeholder:"TIME|STATE"`
	Quarantine bool   `help:"The files of the table's quarantine instead."`
	ConfigFile
	Lake
	Output
}

// listedFile is one data file, as -o json has it.
type listedFile struct {
	URI       string             `json:"uri"`
	Path      string             `json:"path"` // as readers take it
	Rows      int64              `json:"rows"`
	Bytes     int64              `json:"bytes"`
	Partition map[string]*string `json:"partition,omitempty"`
	Chain     int                `json:"topic_partition"`
	Seq       int64              `json:"seq"`
	From      int64              `json:"from"`
	To        int64              `json:"to"`
}

// Run lists the files of a state of the table, without holding them in memory.
func (c *filesCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	table, err := c.table(ctx, g, c.Table)
	if err != nil {
		return err
	}
	store := table.Store()
	state, err := c.state(ctx, table)
	if err != nil {
		return err
	}
	if table, err = table.At(ctx, state.Generation); err != nil {
		return err
	}
	out := bufio.NewWriter(g.stdout)
	wanted := sink.Main
	if c.Quarantine {
		wanted = sink.Quarantine
	}
	if c.json() {
		head, err := json.Marshal(map[string]any{"table": c.Table, "lake": store.String(), "state": state.String()})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s,\n\"files\": [", strings.TrimSuffix(string(head), "}"))
	}
	files, rows, bytes := int64(0), int64(0), int64(0)
	for f, err := range table.FilesAt(ctx, state) {
		if err != nil {
			return err
		}
		if f.Table != wanted {
			continue
		}
		if c.json() {
			line, err := json.Marshal(listed(store, f))
			if err != nil {
				return err
			}
			if files > 0 {
				fmt.Fprint(out, ",")
			}
			fmt.Fprintf(out, "\n%s", line)
		} else {
			fmt.Fprintln(out, readerPath(store, f.Key))
		}
		files, rows, bytes = files+1, rows+f.Rows, bytes+f.Size
	}
	if c.json() {
		fmt.Fprintf(out, "],\n\"count\": %d, \"rows\": %d, \"bytes\": %d}\n", files, rows, bytes)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(g.stderr, "table %s at %s: %s in %s (%s)\n", c.Table, state, plural(rows, "row"), plural(files, "file"), bytesText(bytes))
	return nil
}

// state is the state that --at names.
func (c *filesCommand) state(ctx context.Context, table *sink.Table) (sink.Position, error) {
	if c.At == "" {
		return table.Position(ctx)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, c.At, time.UTC); err == nil {
			return table.PositionAt(ctx, at)
		}
	}
	state, err := sink.ParsePosition(c.At)
	if err != nil {
		return state, &usageError{fmt.Sprintf("--at %s is neither a time, as 2026-11-25T10:00:00Z, nor the name of a state, as g1.12.7", quote(c.At))}
	}
	if table, err = table.At(ctx, state.Generation); err != nil {
		return state, err
	}
	return state, table.CheckPosition(ctx, state)
}

func listed(store sink.Store, f sink.ListedFile) listedFile {
	out := listedFile{Path: readerPath(store, f.Key), Rows: f.Rows, Bytes: f.Size, Chain: f.TopicPartition, Seq: f.Seq, From: f.From, To: f.To}
	out.URI = out.Path
	if strings.HasPrefix(store.String(), "file://") {
		out.URI = (&url.URL{Scheme: "file", Path: out.Path}).String()
	}
	for i := range f.Partition {
		if out.Partition == nil {
			out.Partition = map[string]*string{}
		}
		if v := &f.Partition[i]; v.Null {
			out.Partition[v.Column] = nil
		} else {
			out.Partition[v.Column] = &v.Value
		}
	}
	return out
}

// readerPath is a file as readers take it: a path in a folder lake, since few of
// them decode file URIs, else its URI as it is.
func readerPath(store sink.Store, key string) string {
	return strings.TrimPrefix(store.String(), "file://") + "/" + key
}
