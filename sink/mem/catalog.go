package mem

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lakefeed/sink"
)

var _ sink.Catalog = (*Catalog)(nil)

// Catalog is a catalog in memory. The zero value is empty and ready.
type Catalog struct {
	mu     sync.Mutex
	tables map[string]*entry
	writes int
}

type entry struct {
	table      sink.CatalogTable
	partitions map[string]sink.CatalogPartition
}

// NewCatalog gives an empty catalog.
func NewCatalog() *Catalog { return new(Catalog) }

func (c *Catalog) String() string { return "mem://catalog" }

// Writes is how often something was changed.
func (c *Catalog) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// Drop removes a table, as a person does.
func (c *Catalog) Drop(table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tables, table)
}

// with calls do with a table's entry under the lock.
func (c *Catalog) with(ctx context.Context, verb, table string, do func(*entry) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := ctx.Err()
	e := c.tables[table]
	if err == nil && e == nil {
		err = sink.ErrNotExist
	}
	if err == nil {
		err = do(e)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, table, err)
	}
	return nil
}

func (c *Catalog) write() string {
	c.writes++
	return strconv.Itoa(c.writes)
}

func clone(t sink.CatalogTable) sink.CatalogTable {
	t.Columns, t.PartitionBy = slices.Clone(t.Columns), slices.Clone(t.PartitionBy)
	return t
}

// Table gives a table.
func (c *Catalog) Table(ctx context.Context, name string) (t sink.CatalogTable, err error) {
	err = c.with(ctx, "get table", name, func(e *entry) error {
		t = clone(e.table)
		return nil
	})
	return t, err
}

// CreateTable makes a table.
func (c *Catalog) CreateTable(ctx context.Context, t sink.CatalogTable) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := ctx.Err()
	if err == nil && c.tables[t.Name] != nil {
		err = sink.ErrExists
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", t.Name, err)
	}
	if c.tables == nil {
		c.tables = map[string]*entry{}
	}
	t = clone(t)
	t.Revision = c.write()
	c.tables[t.Name] = &entry{table: t, partitions: map[string]sink.CatalogPartition{}}
	return nil
}

// UpdateTable replaces a table.
func (c *Catalog) UpdateTable(ctx context.Context, t sink.CatalogTable) error {
	return c.with(ctx, "update table", t.Name, func(e *entry) error {
		if e.table.Revision != t.Revision {
			return sink.ErrConflict
		}
		e.table = clone(t)
		e.table.Revision = c.write()
		return nil
	})
}

// Partitions gives a table's partitions.
func (c *Catalog) Partitions(ctx context.Context, table string) iter.Seq2[sink.CatalogPartition, error] {
	return func(yield func(sink.CatalogPartition, error) bool) {
		var all []sink.CatalogPartition
		err := c.with(ctx, "get partitions of", table, func(e *entry) error {
			for _, p := range e.partitions {
				all = append(all, p)
			}
			return nil
		})
		if err != nil {
			yield(sink.CatalogPartition{}, err)
			return
		}
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func key(p sink.CatalogPartition) string { return strings.Join(p.Values, "\x00") }

// AddPartitions adds those that are not there.
func (c *Catalog) AddPartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) (there int, err error) {
	err = c.with(ctx, "add partitions to", t.Name, func(e *entry) error {
		for _, p := range partitions {
			if _, ok := e.partitions[key(p)]; ok {
				there++
				continue
			}
			e.partitions[key(p)] = p
			c.write()
		}
		return nil
	})
	return there, err
}

// UpdatePartitions replaces those that are there.
func (c *Catalog) UpdatePartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) error {
	return c.with(ctx, "update partitions of", t.Name, func(e *entry) error {
		for _, p := range partitions {
			if _, ok := e.partitions[key(p)]; !ok {
				return fmt.Errorf("partition %v: %w", p.Values, sink.ErrNotExist)
			}
			e.partitions[key(p)] = p
			c.write()
		}
		return nil
	})
}

// DeletePartitions removes those that are there.
func (c *Catalog) DeletePartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) error {
	return c.with(ctx, "delete partitions of", t.Name, func(e *entry) error {
		for _, p := range partitions {
			if _, ok := e.partitions[key(p)]; ok {
				delete(e.partitions, key(p))
				c.write()
			}
		}
		return nil
	})
}
