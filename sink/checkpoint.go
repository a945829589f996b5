package sink

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"lakefeed/schema"
	"lakefeed/schema/fault"
)

// checkpointObject is a chain's state behind a record. It can be made again from
// the records at any time: losing it costs time, never truth.
type checkpointObject struct {
	V          int               `json:"v"`
	Seq        int64             `json:"seq"`
	To         int64             `json:"to"`
	Log        string            `json:"log"`
	Attempt    string            `json:"attempt"`
	Reset      int64             `json:"reset,omitempty"` // number of the last reset
	FP         *Fingerprint      `json:"fp,omitempty"`
	Streams    []StreamState     `json:"streams,omitempty"`  // the live ones
	Segments   []segmentRef      `json:"segments,omitempty"` // the others
	Redirects  []json.RawMessage `json:"redirects,omitempty"`
	Closed     int64             `json:"closed,omitempty"`     // by this swap
	Registered int64             `json:"registered,omitempty"` // records before this one are in the catalog; a hint
	Skipped    map[string]int64  `json:"skipped,omitempty"`    // offsets by reason
	At         time.Time         `json:"at"`
}

type segmentRef struct {
	Name    string `json:"name"`
	Streams int    `json:"streams"`
	Shared  bool   `json:"shared,omitempty"` // of all chains, made at a reset
}

func (s segment) ref() segmentRef {
	return segmentRef{Name: s.name, Streams: s.len(), Shared: s.shared}
}

func (t *Table) segmentKey(partition int, ref segmentRef) string {
	folder := t.chainFolder("streams", partition)
	if ref.Shared {
		folder = t.topicFolder("streams") + "union/"
	}
	return folder + ref.Name + ".seg"
}

func (k *checkpointObject) state() State {
	return State{Seq: k.Seq, To: k.To, Log: k.Log, FP: k.FP, Attempt: k.Attempt, Reset: k.Reset, Closed: k.Closed}
}

func decodeCheckpoint(b []byte) (*checkpointObject, error) {
	k := new(checkpointObject)
	if err := decodeObject(b, k); err != nil {
		return nil, err
	}
	if k.Seq < 0 || k.To < 0 || k.Attempt == "" {
		return nil, errors.New("its fields are not those of a checkpoint")
	}
	for i := range k.Streams {
		if err := k.Streams[i].check(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// newestCheckpoint gives use the checkpoints of a chain that are before a record,
// from the newest on until it takes one. Damage is no reason to stop: an older one
// and the records say the same.
func (t *Table) newestCheckpoint(ctx context.Context, partition int, until stop, use func(*checkpointObject) error) (found bool, err error) {
	folder := t.chainFolder("checkpoints", partition)
	var keys []string
	for o, err := range t.store.List(ctx, folder, "") {
		if err != nil {
			return false, err
		}
		if seq, ok := numberOf(o.Key, folder); ok && seq < until.seq {
			keys = append(keys, o.Key)
		}
	}
	for _, key := range slices.Backward(keys) {
		k, err := t.checkpoint(ctx, key, folder)
		if err == nil && k.Reset >= until.reset {
			continue
		}
		if err == nil {
			err = use(k)
		}
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, errDamaged) {
			return false, err
		}
		t.log.Warn("checkpoint cannot be read, going back to the one before", "key", key, "err", err)
	}
	return false, nil
}

// loadCheckpoint sets the chain to its newest checkpoint before a record that can
// be read, or to its beginning.
func (c *Chain) loadCheckpoint(ctx context.Context, until stop) error {
	found, err := c.table.newestCheckpoint(ctx, c.partition, until, func(k *checkpointObject) error { return c.restore(ctx, k) })
	if err == nil && !found {
		c.reset()
	}
	return err
}

// reset sets the chain to before its first record.
func (c *Chain) reset() {
	c.state = State{Seq: -1, To: -1}
	c.live = make(map[schema.StreamID]*stream)
	c.skipped = make(map[string]int64)
	c.segments, c.registered, c.checkpointed, c.union = nil, 0, -1, false
}

// errDamaged marks what is there but is not what it should be.
var errDamaged = errors.New("damaged object")

// checkpoint reads one checkpoint.
func (t *Table) checkpoint(ctx context.Context, key, folder string) (*checkpointObject, error) {
	b, err := t.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	k, err := decodeCheckpoint(b)
	if err != nil {
		var format *FormatError
		if errors.As(err, &format) {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		return nil, fmt.Errorf("read %s: %w: %w", key, errDamaged, err)
	}
	if seq, _ := numberOf(key, folder); seq != k.Seq {
		return nil, fmt.Errorf("read %s: %w: it says that it is checkpoint %d", key, errDamaged, k.Seq)
	}
	if len(k.Redirects) > 0 {
		return nil, &KindError{Key: key, Kind: string(KindRedirect)}
	}
	return k, nil
}

// restore sets the chain to a checkpoint.
func (c *Chain) restore(ctx context.Context, k *checkpointObject) error {
	segments := make([]segment, 0, len(k.Segments))
	for _, ref := range k.Segments {
		s, err := c.loadSegment(ctx, ref)
		if err != nil {
			return err
		}
		segments = append(segments, s)
	}
	c.state = k.state()
	c.live = make(map[schema.StreamID]*stream, len(k.Streams))
	for _, s := range k.Streams {
		c.live[s.ID] = streamOf(s)
	}
	c.skipped = make(map[string]int64)
	maps.Copy(c.skipped, k.Skipped)
	c.segments, c.registered, c.checkpointed, c.union = segments, k.Registered, k.Seq, false
	return nil
}

// loadSegment reads a segment, unless the chain has it from before.
func (c *Chain) loadSegment(ctx context.Context, ref segmentRef) (segment, error) {
	for _, s := range c.segments {
		if s.ref() == ref {
			return s, nil
		}
	}
	key := c.table.segmentKey(c.partition, ref)
	b, err := c.table.store.Get(ctx, key)
	if errors.Is(err, ErrNotExist) {
		return segment{}, fmt.Errorf("read %s: %w: %w", key, errDamaged, err)
	}
	if err != nil {
		return segment{}, err
	}
	s, err := decodeSegment(b)
	var format *FormatError
	if errors.As(err, &format) {
		return segment{}, fmt.Errorf("read %s: %w", key, err)
	}
	if err == nil && (s.name != ref.Name || s.len() != ref.Streams) {
		err = errors.New("it is not the one that the checkpoint names")
	}
	if err != nil {
		return segment{}, fmt.Errorf("read %s: %w: %w", key, errDamaged, err)
	}
	s.shared = ref.Shared
	return s, nil
}

// tryCheckpoint writes a checkpoint unless it fails: it saves time only, and the
// next commit tries again.
func (c *Chain) tryCheckpoint(ctx context.Context) {
	if err := c.Checkpoint(ctx); err != nil {
		c.table.log.Warn("checkpoint not written", "topic", c.table.topic, "partition", c.partition, "seq", c.state.Seq, "err", err)
	}
}

// Checkpoint writes the chain's state, so that who opens it next need not read
// the records before. It is written every 256 records anyway; call it at a clean
// stop. Nothing is written when nothing was committed since the last one.
func (c *Chain) Checkpoint(ctx context.Context) error {
	if !c.ready {
		return fmt.Errorf("checkpoint %s: it is not open", c)
	}
	if c.state.To < 0 || c.state.Seq == c.checkpointed {
		return nil
	}
	err := fault.At(ctx, fault.CheckpointWrite)
	if err == nil {
		err = c.writeCheckpoint(ctx)
	}
	if err == nil {
		err = fault.At(ctx, fault.CheckpointWritten)
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s at record %d: %w", c, c.state.Seq, err)
	}
	c.table.events.checkpointed(c.partition, c.state.Seq)
	return nil
}

func (c *Chain) writeCheckpoint(ctx context.Context) error {
	var done []sealed
	k := checkpointObject{
		V: formatVersion, Seq: c.state.Seq, To: c.state.To, Log: c.state.Log, Attempt: c.state.Attempt, Reset: c.state.Reset, Closed: c.state.Closed, FP: c.state.FP,
		Registered: max(c.registered, c.table.registered.of(c.partition)), Skipped: c.skipped, At: c.table.now().UTC(),
	}
	for id, s := range c.live {
		if s.complete() {
			done = append(done, sealed{id: id, count: s.limit})
		} else {
			k.Streams = append(k.Streams, s.state())
		}
	}
	slices.SortFunc(k.Streams, func(a, b StreamState) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	segments := c.segments
	if len(done) > 0 {
		segments = addSegment(segments, done)
		added := segments[len(segments)-1] // all others were there before
		if err := c.table.create(ctx, c.table.segmentKey(c.partition, added.ref()), added.body); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	for _, s := range segments {
		k.Segments = append(k.Segments, s.ref())
	}
	body, err := json.Marshal(k)
	if err != nil {
		return err
	}
	key := c.table.chainFolder("checkpoints", c.partition) + number(k.Seq) + ".json"
	// If there is one it is another owner's, and says the same.
	if err := c.table.create(ctx, key, body); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	for _, s := range done {
		delete(c.live, s.id)
	}
	c.segments, c.checkpointed, c.union = segments, k.Seq, false
	return nil
}
