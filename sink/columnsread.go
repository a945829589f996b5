package sink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"lakefeed/schema"
)

// ColumnsRead is what the rows of some offsets of a topic partition have shown of their
// columns, before the generation has any. It is kept so that several processes can read
// a topic, and none has to read again what one has read. Ranges may overlap: what is seen
// twice fits the same types, and is counted twice.
type ColumnsRead struct {
	V           int          `json:"v"`
	Log         string       `json:"log"` // id of the topic
	Partition   int          `json:"partition"`
	From        int64        `json:"from"` // offsets
	To          int64        `json:"to"`
	Rows        int64        `json:"rows"`
	Quarantined int64        `json:"quarantined,omitempty"`
	Columns     []ColumnSeen `json:"columns"`
}

// ColumnSeen is a column, as schema.Seen before a table has it.
type ColumnSeen struct {
	Name      string          `json:"name"`
	Spellings []string        `json:"spellings"`
	Evidence  schema.Evidence `json:"evidence"`
}

func (t *Table) columnsFolder(log string, partition int) string {
	return fmt.Sprintf("%scolumns/%s/%s/%s/", t.generationRoot(), url.PathEscape(t.topic), url.PathEscape(log), number(int64(partition)))
}

// KeepColumns keeps what was read of a topic partition. It is not to be changed any more.
func (t *Table) KeepColumns(ctx context.Context, c ColumnsRead) error {
	c.V = formatVersion
	b, err := json.Marshal(c)
	if err == nil {
		err = t.create(ctx, t.columnsFolder(c.Log, c.Partition)+number(c.From)+"-"+number(c.To)+".json", b)
	}
	if err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("keep what offsets %d to %d of topic partition %s/%d have shown of the columns of table %s: %w", c.From, c.To-1, t.topic, c.Partition, t.name, err)
	}
	return nil
}

// ColumnsKept are the offsets of a topic partition of which it was kept what they have shown
// of their columns.
type ColumnsKept struct {
	ranges []ColumnsRead // by their first offset, without what was seen
}

// ColumnsKept lists what was kept of a topic partition.
func (t *Table) ColumnsKept(ctx context.Context, log string, partition int) (kept ColumnsKept, err error) {
	folder := t.columnsFolder(log, partition)
	for o, err := range t.store.List(ctx, folder, "") {
		if err != nil {
			return kept, fmt.Errorf("list what was read of topic partition %s/%d for table %s: %w", t.topic, partition, t.name, err)
		}
		from, to, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(o.Key, folder), ".json"), "-")
		first, notFirst := strconv.ParseInt(from, 10, 64)
		next, notNext := strconv.ParseInt(to, 10, 64)
		if notFirst == nil && notNext == nil {
			kept.ranges = append(kept.ranges, ColumnsRead{Log: log, Partition: partition, From: first, To: next})
		}
	}
	slices.SortFunc(kept.ranges, func(a, b ColumnsRead) int { return cmp.Compare(a.From, b.From) })
	return kept, nil
}

// Through is up to which offset all was kept from an offset on; that one if nothing was.
func (k ColumnsKept) Through(from int64) int64 {
	for _, c := range k.ranges {
		if c.From <= from {
			from = max(from, c.To)
		}
	}
	return from
}

// columnsAtOnce is how many of the objects of a topic partition are read at a time.
const columnsAtOnce = 8

// ColumnsRead gives what was kept of a topic partition, by its first offset.
func (t *Table) ColumnsRead(ctx context.Context, log string, partition int) ([]ColumnsRead, error) {
	kept, err := t.ColumnsKept(ctx, log, partition)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(columnsAtOnce)
	for i := range kept.ranges {
		group.Go(func() error {
			c := &kept.ranges[i]
			if err := t.read(ctx, t.columnsFolder(log, partition)+number(c.From)+"-"+number(c.To)+".json", c); err != nil {
				return fmt.Errorf("read what was read of topic partition %s/%d for table %s: %w", t.topic, partition, t.name, err)
			}
			return nil
		})
	}
	return kept.ranges, group.Wait()
}
