package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"lakefeed/schema/fault"
)

// Projector keeps a table's catalog up to date with its chains. Each update
// reads only the records that are new. It is not safe for concurrent use.
type Projector struct {
	table *Table
	base  Catalog  // files that no later record can replace
	at    []link   // the last record read, by topic partition
	held  [][]File // of that record, which the next may repair
}

// NewProjector gives a projector that has read nothing yet.
func NewProjector(t *Table) *Projector { return &Projector{table: t} }

// Catalog reads what is new in the chains and gives what the table is now.
func (p *Projector) Catalog(ctx context.Context) (Catalog, error) {
	t := p.table
	latest, err := t.Schemas().Latest(ctx)
	if err != nil {
		return Catalog{}, err
	}
	for n := len(p.at); n < t.Partitions(); n++ {
		p.at, p.held = append(p.at, link{seq: -1}), append(p.held, nil)
	}
	p.base.Folder = t.Folder()
	for n := range p.at {
		if err := p.read(ctx, n); err != nil {
			return Catalog{}, err
		}
	}
	c := p.base
	c.Partitions = append([]CatalogPartition{}, p.base.Partitions...)
	for _, files := range p.held {
		c.addAll(files)
	}
	c.V, c.Table, c.Generation, c.Updated = CatalogVersion, t.Name(), t.Generation(), t.now().UTC().Truncate(time.Millisecond)
	if c.PartitionBy, err = t.Shape().PartitionColumns(latest); err != nil {
		return c, err
	}
	if latest != nil {
		c.SchemaVersion = latest.Version
		c.Columns = TableTypes(latest, c.PartitionBy)
		if t.Shape().Meta {
			c.Columns = slices.Insert(c.Columns, len(c.Columns)-1, metaTypes...)
		}
	}
	return c, nil
}

// read takes in the new records of one topic partition.
func (p *Projector) read(ctx context.Context, partition int) error {
	for r, err := range p.table.records(ctx, partition, p.at[partition]) {
		if err != nil {
			return err
		}
		held := p.held[partition]
		switch r.Kind {
		case KindRepair:
			for i := range held {
				if f, ok := r.Replaces[held[i].Key]; ok {
					held[i] = f
				}
			}
		case KindRedirect:
			return &KindError{Key: p.table.recordKey(partition, r.Seq), Kind: string(r.Kind)}
		default:
			if r.Kind == KindGap {
				held = slices.DeleteFunc(held, func(f File) bool { return slices.Contains(r.Lost, f.Key) })
			}
			p.base.addAll(held)
			p.held[partition] = r.Files
		}
		p.at[partition] = r.link()
	}
	return nil
}

func (c *Catalog) addAll(files []File) {
	for _, f := range files {
		if f.Table == Main {
			c.Add(f.Partition, f.Rows, f.Size)
		}
	}
}

// Write writes the catalog of a folder lake, catalog.json, as the chains have it
// now.
func (p *Projector) Write(ctx context.Context) (Catalog, error) {
	c, err := p.Catalog(ctx)
	if err == nil {
		err = fault.At(ctx, fault.CatalogWrite)
	}
	if err != nil {
		return c, err
	}
	body, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return c, fmt.Errorf("write catalog of %s: %w", p.table.name, err)
	}
	return c, p.table.store.Put(ctx, p.table.root()+"catalog.json", append(body, '\n'))
}

// metaTypes are the columns that a table with Shape.Meta declares beside those
// of the feed.
var metaTypes = []NamedType{{"_source", "string"}, {"_row", "bigint"}, {"_offset", "bigint"}, {"_ingested_at", "timestamp"}}

// ErrNoTable says that the lake has no table of that name.
var ErrNoTable = errors.New("no such table")

// ReadTable opens a table that is there, to be read only.
func ReadTable(ctx context.Context, store Store, name string) (*Table, error) {
	t := &Table{store: store, name: name, generation: 1, log: slog.New(slog.DiscardHandler), now: time.Now, sleep: sleep}
	var table tableObject
	err := t.read(ctx, t.root()+"table.json", &table)
	if errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("open table %s in %s: %w", name, store, ErrNoTable)
	}
	if err != nil {
		return nil, fmt.Errorf("open table %s in %s: %w", name, store, err)
	}
	if len(table.Topics) != 1 {
		return nil, fmt.Errorf("open table %s in %s: it is built from %d topics, this lakefeed reads tables of one", name, store, len(table.Topics))
	}
	t.lake, t.feed, t.topic = table.Lake, table.Feed, table.Topics[0]
	outcome, found, err := t.newestOutcome(ctx)
	if err == nil && found {
		t.generation = outcome.Live
	}
	var build buildObject
	if err == nil {
		err = t.read(ctx, t.generationRoot()+"build.json", &build)
	}
	if err == nil {
		err = t.readSet(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open table %s in %s: %w", name, store, err)
	}
	t.shape, t.config = build.Shape, build.Config
	t.schemas = &SchemaLog{table: t}
	return t, nil
}

// readSet reads how many topic partitions the generation knows.
func (t *Table) readSet(ctx context.Context) error {
	last, err := t.newest(ctx, t.generationRoot()+"set/")
	if err != nil || last == "" {
		return err
	}
	var set setObject
	if err := t.read(ctx, last, &set); err != nil {
		return err
	}
	if set.Close != nil || set.Open != nil {
		return fmt.Errorf("read %s: a swap of generations is under way, which this lakefeed cannot follow: use a newer lakefeed", last)
	}
	t.partitions = set.Count
	return nil
}
