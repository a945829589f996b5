package sink

import (
	"context"
	"time"
)

// Tune sets what tests need to be small or quick: a checkpoint every so many
// records, and waiting that takes no time.
func (t *Table) Tune(checkpointEvery int64, sleep func(context.Context) error) {
	t.checkpointEvery = checkpointEvery
	t.sleep = func(ctx context.Context, _ time.Duration) error { return sleep(ctx) }
}

// OpenTuned is OpenTable with Tune before it begins.
func OpenTuned(ctx context.Context, c TableConfig, checkpointEvery int64, sleep func(context.Context) error) (*Table, error) {
	t := newTable(c)
	t.Tune(checkpointEvery, sleep)
	return t, t.open(ctx, c)
}

// SetNow sets the table's clock.
func (t *Table) SetNow(now func() time.Time) { t.now = now }

// RecordKey is the key of a record.
func (t *Table) RecordKey(partition int, seq int64) string { return t.recordKey(partition, seq) }

// Segments are the sizes of the chain's segments.
func (c *Chain) Segments() (sizes []int) {
	for _, s := range c.segments {
		sizes = append(sizes, s.len())
	}
	return sizes
}

// Live is how many streams the chain has outside of segments.
func (c *Chain) Live() int { return len(c.live) }

// DecodeSegment decodes a segment and encodes its entries again.
func DecodeSegment(b []byte) (again []byte, err error) {
	s, err := decodeSegment(b)
	if err != nil {
		return nil, err
	}
	entries := make([]sealed, s.len())
	for i := range entries {
		entries[i] = s.at(i)
	}
	return encodeSegment(entries).body, nil
}

const MaxHoles = maxHoles
