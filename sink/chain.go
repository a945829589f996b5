package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"lakefeed/schema"
)

// Chain is the commit chain of one topic partition: the truth about what of it is
// in the table. Open it, take rows into a Draft, Commit the draft, and so on. Any
// number of processes may work on one chain; of two that want the same number one
// wins, and the other opens the chain again. Not safe for concurrent use.
type Chain struct {
	table     *Table
	partition int
	ready     bool // state is the chain's end as far as this process knows, and published

	state        State
	live         map[schema.StreamID]*stream // all but those in segments
	segments     []segment                   // by falling size
	skipped      map[string]int64            // offsets by reason
	registered   int64                       // the catalog's cursor, as the checkpoint has it
	checkpointed int64                       // seq of the newest checkpoint, -1 when there is none
}

// Chain is the chain of a topic partition. It does no I/O.
func (t *Table) Chain(partition int) *Chain {
	return &Chain{table: t, partition: partition}
}

func (c *Chain) String() string {
	return fmt.Sprintf("chain %s of table %s", chainName(c.table.topic, c.partition), c.table.name)
}

func chainName(topic string, partition int) string { return fmt.Sprintf("%s/%d", topic, partition) }

func (t *Table) recordKey(partition int, seq int64) string {
	return t.chainFolder("commits", partition) + number(seq) + ".json"
}

// KindError is a record or checkpoint that this program can read but not follow.
type KindError struct {
	Key  string
	Kind string
}

func (e *KindError) Error() string {
	return fmt.Sprintf("follow %s: this lakefeed cannot go on from a record of kind %s: use a newer lakefeed", e.Key, e.Kind)
}

// ChainError is a chain that is not whole: somebody removed or changed an object
// that lakefeed never removes or changes. Nothing is committed to it.
type ChainError struct {
	Key string // of the object in question
	Err error
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("read %s: %v: the commit chain was changed by hand; put its objects back as they were", e.Key, e.Err)
}

func (e *ChainError) Unwrap() error { return e.Err }

// LostError says that data which a record lists is neither staged nor visible: a
// lifecycle rule or a person removed it. Nothing is committed behind it.
type LostError struct {
	Table     string
	Topic     string
	Partition int
	Seq       int64    // of the record
	From, To  int64    // its offsets
	Files     []string // keys
	Staged    []string // where they were staged, file by file
}

func (e *LostError) Error() string {
	rows := "Their rows are those of the record that it repairs"
	if e.To > e.From {
		rows = fmt.Sprintf("Their rows are among offsets %d to %d of the topic", e.From, e.To-1)
	}
	return fmt.Sprintf("publish record %d of %s: %d of its files are gone before they became visible (%s, staged as %s): a lifecycle rule or a person removed them. "+
		"%s; nothing more is committed to this topic partition of table %s until they are back: put the staged data back from a backup, or load the sources into another table",
		e.Seq, chainName(e.Topic, e.Partition), len(e.Files), strings.Join(e.Files, ", "), strings.Join(e.Staged, ", "), rows, e.Table)
}

// records reads the records behind a link, and checks that each fits the one
// before it. The link's own record must be there too.
func (t *Table) records(ctx context.Context, partition int, from link) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		folder := t.chainFolder("commits", partition)
		after := ""
		if from.seq > 0 {
			after = t.recordKey(partition, from.seq-1)
		}
		last, there := from.seq, from.seq < 0
		for o, err := range t.store.List(ctx, folder, after) {
			if err != nil {
				yield(nil, err)
				return
			}
			if seq, ok := numberOf(o.Key, folder); ok {
				last = max(last, seq)
				there = there || seq == from.seq
			}
		}
		if !there {
			yield(nil, &ChainError{Key: t.recordKey(partition, from.seq), Err: errors.New("a checkpoint names it, and it is not there")})
			return
		}
		for seq := from.seq + 1; seq <= last; seq++ {
			r, err := t.record(ctx, partition, seq)
			if errors.Is(err, ErrNotExist) {
				err = &ChainError{Key: t.recordKey(partition, seq), Err: fmt.Errorf("there is a record %d, and this one is not there", last)}
			}
			if err == nil {
				if e := r.follows(from); e != nil {
					err = &ChainError{Key: t.recordKey(partition, seq), Err: e}
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(r, nil) {
				return
			}
			from = r.link()
		}
	}
}

// record reads one record.
func (t *Table) record(ctx context.Context, partition int, seq int64) (*Record, error) {
	b, err := t.store.Get(ctx, t.recordKey(partition, seq))
	if err != nil {
		return nil, err
	}
	return t.decodeRecord(b, partition, seq)
}

func (t *Table) decodeRecord(b []byte, partition int, seq int64) (*Record, error) {
	key := t.recordKey(partition, seq)
	r, err := DecodeRecord(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if r.Seq != seq {
		return nil, &ChainError{Key: key, Err: fmt.Errorf("it says that it is record %d", r.Seq)}
	}
	return r, nil
}

// ReadChain reads all records of a topic partition from the first, and checks
// that the chain is whole. The files of the last one may not be visible yet.
func (t *Table) ReadChain(ctx context.Context, partition int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range t.records(ctx, partition, link{seq: -1}) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !yield(*r, nil) {
				return
			}
		}
	}
}

// Files gives the data files of a topic partition as its chain lists them, with
// repaired ones in place of those that were lost. The files of the last record
// may not be visible yet.
func (t *Table) Files(ctx context.Context, partition int) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		var held []File // of the last record, which the next may repair
		for r, err := range t.records(ctx, partition, link{seq: -1}) {
			if err != nil {
				yield(File{}, err)
				return
			}
			switch r.Kind {
			case KindRedirect:
				yield(File{}, &KindError{Key: t.recordKey(partition, r.Seq), Kind: string(r.Kind)})
				return
			case KindRepair:
				for i := range held {
					if f, ok := r.Replaces[held[i].Key]; ok {
						held[i] = f
					}
				}
				continue
			case KindGap:
				held = slices.DeleteFunc(held, func(f File) bool { return slices.Contains(r.Lost, f.Key) })
			}
			for _, f := range held {
				if !yield(f, nil) {
					return
				}
			}
			held = r.Files
		}
		for _, f := range held {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// Open reads the chain to its end and publishes what its last record lists, so
// that nothing before the end is left undone. It is called again whenever a batch
// was lost or an error came up; drafts made before it are void.
func (c *Chain) Open(ctx context.Context) (State, error) {
	c.ready = false
	if c.partition < 0 || c.partition >= c.table.partitions {
		return State{}, fmt.Errorf("open %s: the table knows topic partitions 0 to %d", c, c.table.partitions-1)
	}
	last, err := c.load(ctx)
	if err != nil {
		return State{}, fmt.Errorf("open %s: %w", c, err)
	}
	if last != nil {
		if err := c.publish(ctx, last); err != nil {
			return State{}, fmt.Errorf("open %s: %w", c, err)
		}
		c.table.events.published(c.partition, last)
	}
	c.ready = true
	return c.state, nil
}

// load reads the newest checkpoint and the records behind it. It gives the last
// record, nil when there is none behind the checkpoint.
func (c *Chain) load(ctx context.Context) (last *Record, err error) {
	if err := c.loadCheckpoint(ctx); err != nil {
		return nil, err
	}
	from := link{seq: c.state.Seq, to: max(c.state.To, 0), log: c.state.Log, attempt: c.state.Attempt}
	for r, err := range c.table.records(ctx, c.partition, from) {
		if err != nil {
			return nil, err
		}
		switch r.Kind {
		case KindRows, KindRepair, KindGap, KindRewind:
			c.apply(r)
		default:
			return nil, &KindError{Key: c.table.recordKey(c.partition, r.Seq), Kind: string(r.Kind)}
		}
		last = r
	}
	return last, nil
}

// apply moves the state behind a record. Streams that ended stay known, and so do
// all streams when the log is cut: their rows are in the table.
func (c *Chain) apply(r *Record) {
	c.state = State{Seq: r.Seq, To: r.To, Log: r.Log, FP: r.FP, Attempt: r.Attempt}
	for _, s := range r.Streams {
		c.live[s.ID] = streamOf(s)
	}
	for _, s := range r.Skipped {
		c.skipped[s.Reason] += s.To - s.From
	}
}

// publish makes all files of a record visible. The record is one that was read
// from the store: what this process remembers may not be what was decided.
func (c *Chain) publish(ctx context.Context, r *Record) error {
	lost := &LostError{Table: c.table.name, Topic: c.table.topic, Partition: c.partition, Seq: r.Seq, From: r.From, To: r.To}
	for f := range r.Added() {
		err := c.retry(ctx, func() error { return c.table.store.Publish(ctx, f.Staged) }, ErrLost)
		switch {
		case err == nil:
		case errors.Is(err, ErrLost):
			// The others come first: only then can the lost ones be made again.
			lost.Files = append(lost.Files, f.Key)
			lost.Staged = append(lost.Staged, f.Staged.Upload)
		default:
			return fmt.Errorf("publish record %d: %w", r.Seq, err)
		}
	}
	if len(lost.Files) > 0 {
		return lost
	}
	return nil
}

// retries is how often an operation is tried that may be repeated freely: about
// two minutes.
const retries = 20

// retry repeats an operation until it succeeds, gives a known answer, or does not
// succeed for too long.
func (c *Chain) retry(ctx context.Context, do func() error, known error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || errors.Is(err, known) || final(err) || try == retries || ctx.Err() != nil {
			return err
		}
		if e := c.table.sleep(ctx, backoff(try)); e != nil {
			return errors.Join(e, err)
		}
	}
}

// find gives what the chain knows of a stream, nil if nothing.
func (c *Chain) find(id schema.StreamID) *stream {
	if s := c.live[id]; s != nil {
		return s
	}
	for _, g := range c.segments {
		if count, ok := g.find(id); ok {
			return sealedStream(id, count)
		}
	}
	return nil
}

// Complete says whether the table has all rows of a stream and its end, and how
// many they are. The chain must be open.
func (c *Chain) Complete(id schema.StreamID) (complete bool, count int64, err error) {
	if !c.ready {
		return false, 0, fmt.Errorf("look up stream %s: %s is not open", id, c)
	}
	s := c.find(id)
	if s == nil || !s.complete() {
		return false, 0, nil
	}
	return true, s.limit, nil
}

// Begin starts the next batch at the chain's end.
func (c *Chain) Begin() *Draft {
	return &Draft{
		chain: c, attempt: newAttempt(), met: make(map[schema.StreamID]*stream),
		base: link{seq: c.state.Seq, to: c.state.To, log: c.state.Log, attempt: c.state.Attempt},
	}
}
