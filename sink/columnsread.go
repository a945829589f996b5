package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lakefeed/schema"
)

// ColumnsRead is what the rows of some offsets of a topic partition have shown of their
// columns, before the generation has any. It is kept so that several processes can read
// a topic, and none has to read again what one has read. Ranges may overlap: what is seen
// twice shows the same.
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

// columnsRanges lists what was kept of a topic partition, by its first offset.
func (t *Table) columnsRanges(ctx context.Context, log string, partition int) (out []ColumnsRead, err error) {
	folder := t.columnsFolder(log, partition)
	for o, err := range t.store.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("list what was read of topic partition %s/%d for table %s: %w", t.topic, partition, t.name, err)
		}
		from, to, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(o.Key, folder), ".json"), "-")
		first, notFirst := strconv.ParseInt(from, 10, 64)
		next, notNext := strconv.ParseInt(to, 10, 64)
		if notFirst == nil && notNext == nil {
			out = append(out, ColumnsRead{Log: log, Partition: partition, From: first, To: next})
		}
	}
	slices.SortFunc(out, func(a, b ColumnsRead) int { return int(max(-1, min(1, a.From-b.From))) })
	return out, nil
}

// ColumnsThrough is up to which offset a topic partition was read from an offset on, and
// what that has shown was kept.
func (t *Table) ColumnsThrough(ctx context.Context, log string, partition int, from int64) (int64, error) {
	ranges, err := t.columnsRanges(ctx, log, partition)
	for _, c := range ranges {
		if c.From <= from {
			from = max(from, c.To)
		}
	}
	return from, err
}

// ColumnsRead gives what was kept of a topic partition, by its first offset.
func (t *Table) ColumnsRead(ctx context.Context, log string, partition int) ([]ColumnsRead, error) {
	ranges, err := t.columnsRanges(ctx, log, partition)
	if err != nil {
		return nil, err
	}
	for i := range ranges {
		key := t.columnsFolder(log, partition) + number(ranges[i].From) + "-" + number(ranges[i].To) + ".json"
		if err := t.read(ctx, key, &ranges[i]); err != nil {
			return nil, fmt.Errorf("read what was read of topic partition %s/%d for table %s: %w", t.topic, partition, t.name, err)
		}
	}
	return ranges, nil
}
