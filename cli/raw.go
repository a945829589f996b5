package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"lakefeed/sink"
	"lakefeed/sink/raw"
)

type rawCommand struct {
	Table  string `arg:"" help:"The table."`
	Object string `arg:"" optional:"" help:"Write this object to standard output, byte for byte as it came in: its stream, or its URI for the newest version of it."`
	ConfigFile
	Lake
	Output
}

// rawObject is an object of a raw zone, as -o json has it.
type rawObject struct {
	Stream  string `json:"stream"`
	URI     string `json:"uri"`
	Version string `json:"version"`
	From    int64  `json:"from"` // the byte of the object at which the copy begins
	Bytes   int64  `json:"bytes"`
	Stored  int64  `json:"stored_bytes"`
}

// Run lists the raw zone of a table's topic, or writes one object of it.
func (c *rawCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	store, err := c.store(ctx, g)
	if err != nil {
		return err
	}
	table, err := sink.ReadTable(ctx, store, c.Table)
	if err != nil {
		return err
	}
	zone, err := raw.Open(store, table.Topic())
	if err != nil {
		return err
	}
	objects := []rawObject{}
	var found *raw.Copy
	for o, err := range zone.Copies(ctx) {
		if err != nil {
			return err
		}
		objects = append(objects, rawObject{o.Stream.String(), o.URI, o.Version, o.Base, o.Size, o.Stored})
		newer := found == nil || cmp.Or(cmp.Compare(len(o.Version), len(found.Version)), cmp.Compare(o.Version, found.Version)) > 0
		if o.Stream.String() == c.Object || o.URI == c.Object && newer {
			found = &o
		}
	}
	switch {
	case c.Object == "":
		if len(objects) == 0 {
			fmt.Fprintf(g.stderr, "topic %s has no raw zone: ingest or produce with --raw-zone begin one\n", table.Topic())
		}
		return c.list(g, objects)
	case found == nil:
		return &usageError{fmt.Sprintf("%s is not in the raw zone of topic %s: lakefeed raw %s lists what is", quote(c.Object), table.Topic(), c.Table)}
	case found.Size == 0:
		return errors.New("nothing was copied of " + found.URI + " yet")
	}
	if found.Base > 0 {
		fmt.Fprintf(g.stderr, "%s from byte %d on: what is before was sent as another stream\n", found.URI, found.Base)
	}
	return zone.WriteTo(ctx, g.stdout, &found.Manifest)
}

func (c *rawCommand) list(g *Globals, objects []rawObject) error {
	if c.json() {
		return writeJSON(g.stdout, struct {
			Objects []rawObject `json:"objects"`
		}{objects})
	}
	out := bufio.NewWriter(g.stdout)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(objects) > 0 {
		io.WriteString(w, "stream\tversion\tfrom\tsize\tstored\tobject\n")
	}
	for _, o := range objects {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", o.Stream, o.Version, o.From, bytesText(o.Bytes), bytesText(o.Stored), o.URI)
	}
	return errors.Join(w.Flush(), out.Flush())
}
