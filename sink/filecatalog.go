package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

var (
	_ Catalog         = (*FileCatalog)(nil)
	_ CatalogReplacer = (*FileCatalog)(nil)
)

// FileCatalog is the catalog of a lake that has no other: what each table is, in a
// file of the lake, for people and programs that read it.
//
// A state of a table's entry is an object of its own, numbered and created if
// absent, which decides between writers. catalog.json is a copy of the newest.
type FileCatalog struct{ Store Store }

// catalogFile is one state of a table's entry.
type catalogFile struct {
	V int `json:"v"`
	CatalogTable
	Partitions []CatalogPartition `json:"partitions"`
}

// catalogKept is how many states stay beside the newest: enough that nobody reads
// one that is just being removed.
const catalogKept = 8

func (c *FileCatalog) String() string { return "the lake's catalog in " + c.Store.String() }

// catalogKeys are the folder of a table's states and the copy of the newest.
func catalogKeys(table string) (folder, current string) {
	root := Root + "/" + TableOfFolder(table) + "/"
	name := "catalog"
	if table != TableOfFolder(table) {
		name += quarantineSuffix
	}
	return root + name + "/", root + name + ".json"
}

// newest reads the newest state of a table; number is -1 when there is none.
func (c *FileCatalog) newest(ctx context.Context, table string) (file catalogFile, number int64, err error) {
	folder, _ := catalogKeys(table)
	for {
		numbers, err := c.numbers(ctx, folder)
		if err != nil {
			return file, -1, fmt.Errorf("read catalog of %s: %w", table, err)
		}
		if len(numbers) == 0 {
			return file, -1, nil
		}
		last := numbers[len(numbers)-1]
		body, err := c.Store.Get(ctx, folder+numberName(last))
		if errors.Is(err, ErrNotExist) { // it has been replaced meanwhile
			continue
		}
		if err == nil {
			err = decodeObject(body, &file)
		}
		if err != nil {
			return file, -1, fmt.Errorf("read catalog of %s: %s: %w (it may be deleted, and is made again by lakefeed register)", table, folder+numberName(last), err)
		}
		file.Revision = strconv.FormatInt(last, 10)
		return file, last, nil
	}
}

func numberName(n int64) string { return number(n) + ".json" }

func (c *FileCatalog) numbers(ctx context.Context, folder string) (numbers []int64, err error) {
	for o, err := range c.Store.List(ctx, folder, "") {
		if err != nil {
			return nil, err
		}
		if n, ok := numberOf(o.Key, folder); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// put makes a file the state after number n; ErrExists if another did.
func (c *FileCatalog) put(ctx context.Context, file catalogFile, n int64) error {
	file.V = formatVersion
	if file.Partitions == nil {
		file.Partitions = []CatalogPartition{}
	}
	body, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	body = append(body, '\n')
	folder, current := catalogKeys(file.Name)
	if err := c.Store.Create(ctx, folder+numberName(n+1), body); err != nil {
		// The answer to a first try may have been lost.
		have, getErr := c.Store.Get(ctx, folder+numberName(n+1))
		if getErr != nil || !bytes.Equal(have, body) {
			return err
		}
	}
	return c.publish(ctx, folder, current, n+1, body)
}

// publish copies a state to where readers look, and removes what is old. A newer
// state is copied instead, and then n was never one that others built on.
func (c *FileCatalog) publish(ctx context.Context, folder, current string, n int64, body []byte) error {
	mine := n
	for {
		if err := c.Store.Put(ctx, current, body); err != nil {
			return err
		}
		numbers, err := c.numbers(ctx, folder)
		if err != nil {
			return err
		}
		if len(numbers) == 0 || numbers[len(numbers)-1] <= n {
			for _, old := range numbers {
				if old < n-catalogKept {
					if err := c.Store.Delete(ctx, folder+numberName(old)); err != nil {
						return err
					}
				}
			}
			return nil
		}
		newest := numbers[len(numbers)-1]
		if newest > mine+catalogKept {
			return ErrExists // the number was free only because old ones are removed
		}
		newBody, err := c.Store.Get(ctx, folder+numberName(newest))
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		n, body = newest, newBody
	}
}

// Table reads a table's entry.
func (c *FileCatalog) Table(ctx context.Context, name string) (CatalogTable, error) {
	file, n, err := c.newest(ctx, name)
	if err == nil && n < 0 {
		err = fmt.Errorf("read catalog of %s: %w", name, ErrNotExist)
	}
	return file.CatalogTable, err
}

// CreateTable makes a table's entry.
func (c *FileCatalog) CreateTable(ctx context.Context, t CatalogTable) error {
	_, n, err := c.newest(ctx, t.Name)
	if err == nil && n >= 0 {
		err = ErrExists
	}
	if err == nil {
		err = c.put(ctx, catalogFile{CatalogTable: t}, n)
	}
	if err != nil {
		return fmt.Errorf("create catalog of %s: %w", t.Name, err)
	}
	return nil
}

// UpdateTable replaces a table's entry, and keeps its partitions.
func (c *FileCatalog) UpdateTable(ctx context.Context, t CatalogTable) error {
	return c.change(ctx, "update catalog", t.Name, func(file *catalogFile) error {
		if file.Revision != t.Revision {
			return ErrConflict
		}
		file.CatalogTable = t
		return nil
	})
}

// ReplaceTable replaces a table's entry and its partitions, in one state.
func (c *FileCatalog) ReplaceTable(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error {
	return c.change(ctx, "replace catalog", t.Name, func(file *catalogFile) error {
		if file.Revision != t.Revision {
			return ErrConflict
		}
		file.CatalogTable = t
		file.Partitions = slices.Clone(partitions)
		slices.SortFunc(file.Partitions, func(a, b CatalogPartition) int { return slices.Compare(a.Values, b.Values) })
		return nil
	})
}

// change replaces the newest state of a table by what do makes of it. Only a change
// of the table is bound to a state: others are made to the newest until one
// succeeds.
func (c *FileCatalog) change(ctx context.Context, verb, table string, do func(*catalogFile) error) error {
	for {
		file, n, err := c.newest(ctx, table)
		if err == nil && n < 0 {
			err = ErrNotExist
		}
		if err == nil {
			err = do(&file)
		}
		if err == nil {
			err = c.put(ctx, file, n)
		}
		if errors.Is(err, ErrExists) {
			continue // look again
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", verb, table, err)
		}
		return nil
	}
}

// Partitions gives the partitions of a table's entry.
func (c *FileCatalog) Partitions(ctx context.Context, table string) iter.Seq2[CatalogPartition, error] {
	return func(yield func(CatalogPartition, error) bool) {
		file, n, err := c.newest(ctx, table)
		if err == nil && n < 0 {
			err = fmt.Errorf("read catalog of %s: %w", table, ErrNotExist)
		}
		if err != nil {
			yield(CatalogPartition{}, err)
			return
		}
		for _, p := range file.Partitions {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// AddPartitions adds partitions to a table's entry.
func (c *FileCatalog) AddPartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) (there int, err error) {
	err = c.change(ctx, "add partitions to catalog", t.Name, func(file *catalogFile) error {
		there = 0
		for _, p := range partitions {
			i, found := file.find(p.Values)
			if found {
				there++
			} else {
				file.Partitions = slices.Insert(file.Partitions, i, p)
			}
		}
		return nil
	})
	return there, err
}

// UpdatePartitions replaces partitions of a table's entry.
func (c *FileCatalog) UpdatePartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error {
	return c.change(ctx, "update partitions in catalog", t.Name, func(file *catalogFile) error {
		for _, p := range partitions {
			i, found := file.find(p.Values)
			if !found {
				return fmt.Errorf("partition %v: %w", p.Values, ErrNotExist)
			}
			file.Partitions[i] = p
		}
		return nil
	})
}

// DeletePartitions removes partitions of a table's entry.
func (c *FileCatalog) DeletePartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error {
	return c.change(ctx, "delete partitions from catalog", t.Name, func(file *catalogFile) error {
		for _, p := range partitions {
			if i, found := file.find(p.Values); found {
				file.Partitions = slices.Delete(file.Partitions, i, i+1)
			}
		}
		return nil
	})
}

// find is the place of the partition with these values, by which they are sorted.
func (f *catalogFile) find(values []string) (int, bool) {
	return slices.BinarySearchFunc(f.Partitions, values, func(p CatalogPartition, v []string) int { return slices.Compare(p.Values, v) })
}

// Remove removes the entries of a table and its quarantine table, to be made again.
func (c *FileCatalog) Remove(ctx context.Context, table string) error {
	for _, name := range []string{table, table + quarantineSuffix} {
		folder, current := catalogKeys(name)
		numbers, err := c.numbers(ctx, folder)
		for i := 0; i < len(numbers) && err == nil; i++ {
			err = c.Store.Delete(ctx, folder+numberName(numbers[i]))
		}
		if err == nil {
			err = c.Store.Delete(ctx, current)
		}
		if err != nil {
			return fmt.Errorf("remove catalog of %s: %w", name, err)
		}
	}
	return nil
}
