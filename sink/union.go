package sink

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lakefeed/schema"
)

// unionObject is what all chains had seen when they were reset. It can be made
// again from the records, which says the same: losing it costs time.
type unionObject struct {
	V       int           `json:"v"`
	Reset   int64         `json:"reset"`
	Streams []StreamState `json:"streams,omitempty"` // the live ones
	Segment *segmentRef   `json:"segment,omitempty"` // the others

	segment segment
}

func (t *Table) unionKey(reset int64) string {
	return t.topicFolder("unions") + number(reset) + ".json"
}

// takeOver gives a chain, at its reset, what all chains had seen at theirs.
func (c *Chain) takeOver(ctx context.Context, reset int64) error {
	u, err := c.table.union(ctx, reset)
	if err != nil {
		return err
	}
	c.know(u)
	return nil
}

// know makes a union all that the chain has seen.
func (c *Chain) know(u *unionObject) {
	c.live = make(map[schema.StreamID]*stream, len(u.Streams))
	for _, s := range u.Streams {
		c.live[s.ID] = streamOf(s)
	}
	c.segments, c.union = nil, true
	if u.Segment != nil {
		c.segments = []segment{u.segment}
	}
}

// union gives what all chains had seen at a reset. There is one only behind the
// barrier: if it is not there, all chains are brought to their reset first.
func (t *Table) union(ctx context.Context, reset int64) (*unionObject, error) {
	u, err := t.readUnion(ctx, reset)
	if err == nil || !errors.Is(err, ErrNotExist) && !errors.Is(err, errDamaged) {
		return u, err
	}
	log, err := t.readLog(ctx, t.logKey(reset))
	if err != nil {
		return nil, err
	}
	count, err := t.barrier(ctx, log)
	if err != nil {
		return nil, err
	}
	if u, err = t.joinChains(ctx, reset, count); err != nil {
		return nil, err
	}
	return u, t.writeUnion(ctx, u)
}

func (t *Table) readUnion(ctx context.Context, reset int64) (*unionObject, error) {
	key := t.unionKey(reset)
	b, err := t.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	u := new(unionObject)
	var format *FormatError
	if err := decodeObject(b, u); errors.As(err, &format) {
		return nil, fmt.Errorf("read %s: %w", key, err)
	} else if err != nil || u.Reset != reset {
		return nil, fmt.Errorf("read %s: %w: %w", key, errDamaged, cmp.Or(err, errors.New("it is of another reset")))
	}
	for i := range u.Streams {
		if err := u.Streams[i].check(); err != nil {
			return nil, fmt.Errorf("read %s: %w: %w", key, errDamaged, err)
		}
	}
	if u.Segment != nil {
		u.segment, err = t.Chain(0).loadSegment(ctx, *u.Segment)
	}
	return u, err
}

// writeUnion stores a union, unless another process has stored the same.
func (t *Table) writeUnion(ctx context.Context, u *unionObject) error {
	if u.Segment != nil {
		if err := t.create(ctx, t.segmentKey(0, *u.Segment), u.segment.body); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	if err := t.create(ctx, t.unionKey(u.Reset), b); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

// joinChains reads all chains to their reset and joins what they have seen. The
// records before a reset never change, so that all who do this find the same.
func (t *Table) joinChains(ctx context.Context, reset int64, count int) (*unionObject, error) {
	var ended []sealed
	live := make(map[schema.StreamID]*stream)
	for p := range count {
		c := t.Chain(p)
		if _, err := c.load(ctx, stop{reset: reset, seq: toEnd.seq}); err != nil {
			return nil, fmt.Errorf("read %s to reset %d: %w", c, reset, err)
		}
		for _, s := range c.segments {
			ended = mergeEntries(s, ended)
		}
		for id, s := range c.live {
			if known := live[id]; known != nil {
				known.join(s)
			} else {
				live[id] = s.clone()
			}
		}
	}
	u := &unionObject{V: formatVersion, Reset: reset}
	var done []sealed
	for id, s := range live {
		if s.complete() {
			done = append(done, sealed{id: id, count: s.limit})
		}
	}
	slices.SortFunc(done, func(a, b sealed) int { return bytes.Compare(a.id[:], b.id[:]) })
	if len(ended)+len(done) > 0 {
		u.segment = encodeSegment(mergeEntries(encodeSegment(ended), done))
		u.segment.shared = true
		ref := u.segment.ref()
		u.Segment = &ref
	}
	for id, s := range live {
		_, complete := int64(0), false
		if u.Segment != nil {
			_, complete = u.segment.find(id)
		}
		if !complete {
			u.Streams = append(u.Streams, s.state())
		}
	}
	slices.SortFunc(u.Streams, func(a, b StreamState) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return u, nil
}
