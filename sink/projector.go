package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"lakefeed/schema"
)

// Projector works out from a table's chains what the table is. Each time it reads
// only the records that are new. It is not safe for concurrent use.
type Projector struct {
	table *Table
	base  Snapshot // files that no later record can replace
	at    []link   // the last record read, by topic partition
	held  []held   // its files, which the next may repair
}

// held are the files of a record, and the version of the columns they have.
type held struct {
	files  []File
	schema int64
}

// NewProjector gives a projector that has read nothing yet.
func NewProjector(t *Table) *Projector { return &Projector{table: t} }

// Snapshot reads what is new in the chains and gives what the table is now.
func (p *Projector) Snapshot(ctx context.Context) (Snapshot, error) {
	t := p.table
	latest, err := t.Schemas().Latest(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	count, err := t.setCount(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	for n := len(p.at); n < count; n++ {
		p.at, p.held = append(p.at, link{seq: -1}), append(p.held, held{})
	}
	p.base.Folder = t.Folder()
	for n := range p.at {
		if err := p.read(ctx, n); err != nil {
			return Snapshot{}, err
		}
	}
	s := p.base
	s.Partitions = append([]SnapshotPartition{}, p.base.Partitions...)
	for _, h := range p.held {
		s.addAll(h)
	}
	s.V, s.Table, s.Generation, s.Updated = SnapshotVersion, t.Name(), t.Generation(), t.now().UTC().Truncate(time.Millisecond)
	if s.PartitionBy, err = t.Shape().PartitionColumns(latest); err != nil {
		return s, err
	}
	if latest != nil {
		s.SchemaVersion = latest.Version
		s.Columns = t.tableTypes(latest, s.PartitionBy)
	}
	return s, nil
}

// tableTypes are the columns that the table declares, of which fileTypes leaves out
// those that no file of this version has.
func (t *Table) tableTypes(s *schema.Schema, by []NamedType) []NamedType {
	columns := TableTypes(s, by)
	if t.Shape().Meta {
		columns = slices.Insert(columns, len(columns)-1, metaTypes...)
	}
	return columns
}

func (t *Table) fileTypes(s *schema.Schema, by []NamedType) []NamedType {
	return slices.DeleteFunc(t.tableTypes(s, by), func(c NamedType) bool {
		f, ok := s.Field(c.Name)
		return ok && f.Type.Kind == schema.Unknown
	})
}

// read takes in the new records of one topic partition.
func (p *Projector) read(ctx context.Context, partition int) error {
	for r, err := range p.table.records(ctx, partition, p.at[partition]) {
		if err != nil {
			return err
		}
		last := p.held[partition]
		switch r.Kind {
		case KindRepair:
			for i := range last.files {
				if f, ok := r.Replaces[last.files[i].Key]; ok {
					last.files[i] = f
				}
			}
		case KindRedirect:
			return &KindError{Key: p.table.recordKey(partition, r.Seq), Kind: string(r.Kind)}
		default:
			if r.Kind == KindGap {
				last.files = slices.DeleteFunc(last.files, func(f File) bool { return slices.Contains(r.Lost, f.Key) })
			}
			p.base.addAll(last)
			if r.Kind == KindReplay {
				for _, f := range r.Retires {
					p.base.Quarantine.subtract(f.Rows, f.Size)
				}
			}
			p.held[partition] = held{r.Files, r.Schema}
		}
		p.at[partition] = r.link()
	}
	return nil
}

func (s *Snapshot) addAll(h held) {
	for _, f := range h.files {
		if f.Table == Main {
			s.Add(f.Partition, h.schema, f.Rows, f.Size)
		} else {
			s.Quarantine.add(f.Rows, f.Size)
		}
	}
}

// metaTypes are the columns that a table with Shape.Meta declares beside those
// of the feed.
var metaTypes = []NamedType{{"_source", "string"}, {"_row", "bigint"}, {"_offset", "bigint"}, {"_ingested_at", "timestamp"}}

// ErrNoTable says that the lake has no table of that name.
var ErrNoTable = errors.New("no such table")

// ReadTable opens a table that is there, to be read only.
func ReadTable(ctx context.Context, store Store, name string) (*Table, error) {
	t := &Table{store: store, name: name, generation: 1, log: slog.New(slog.DiscardHandler), now: time.Now, sleep: sleep, checkpointEvery: checkpointEvery}
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
	t.lake, t.topic = table.Lake, table.Topics[0]
	swap, live, err := t.newestSwap(ctx)
	if err == nil && swap >= 0 {
		t.generation = live
	}
	var build buildObject
	if err == nil {
		err = t.read(ctx, t.generationRoot()+"build.json", &build)
	}
	if err == nil {
		t.partitions, err = t.setCount(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open table %s in %s: %w", name, store, err)
	}
	t.shape = build.Shape
	t.configure([]byte(build.Text))
	t.schemas = &SchemaLog{table: t}
	return t, nil
}
