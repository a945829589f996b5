package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"lakefeed/schema"
)

// Chain is the commit chain of one topic partition: the truth about what of it is
// in the table. Open it, take rows into a Draft, Commit the draft, and so on. Any
// number of processes may work on one chain; of two that want the same number one
// wins, and the other opens the chain again. Not safe for concurrent use.
type Chain struct {
	table     *Table
	partition int
	ready     bool       // state is the chain's end as far as this process knows, and published
	lost      *LostError // of the chain's end, when that is what keeps it from being published

	state        State
	streamSet                     // what was seen of streams
	skipped      map[string]int64 // offsets by reason
	union        bool             // a reset was met behind the checkpoint
	registered   int64            // the catalog's cursor, as the checkpoint has it
	checkpointed int64            // seq of the newest checkpoint, -1 when there is none
}

// A chain is read to its end, or to before a record.
var toEnd = stop{reset: math.MaxInt64, seq: math.MaxInt64}

// stop says before which record the reading of a chain ends: the first that has
// the number of a reset, or a number of its own, that is not below these.
type stop struct{ reset, seq int64 }

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
	return fmt.Sprintf("read %s: %v: the commit chain was changed by hand; put its objects back as they were; without a copy of them, move the table's folders, its quarantine's and its _lakefeed/TABLE away: it is made anew of its topic and of the sources that are sent again", e.Key, e.Err)
}

func (e *ChainError) Unwrap() error { return e.Err }

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
	var format *FormatError
	if errors.As(err, &format) {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if err != nil {
		return nil, &ChainError{Key: key, Err: err}
	}
	if r.Seq != seq {
		return nil, &ChainError{Key: key, Err: fmt.Errorf("it says that it is record %d", r.Seq)}
	}
	return r, nil
}

// readable reads one record, nil when it is not there or damaged.
func (t *Table) readable(ctx context.Context, partition int, seq int64) (*Record, error) {
	r, err := t.record(ctx, partition, seq)
	var broken *ChainError
	if errors.Is(err, ErrNotExist) || errors.As(err, &broken) {
		return nil, nil
	}
	return r, err
}

// hasRecord says whether there is a record under a number.
func (t *Table) hasRecord(ctx context.Context, partition int, seq int64) (bool, error) {
	_, err := t.store.Stat(ctx, t.recordKey(partition, seq))
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil, err
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
// repaired ones in place of those that were lost, and without those of the quarantine
// that a replay has retired. The files of the last record may not be visible yet.
func (t *Table) Files(ctx context.Context, partition int) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		retired := t.retirements(partition)
		for b, err := range t.settled(ctx, partition, math.MaxInt64) {
			if err != nil {
				yield(File{}, err)
				return
			}
			for _, f := range b.files {
				gone, err := retired.of(ctx, f)
				if err != nil {
					yield(File{}, err)
					return
				}
				if gone {
					continue
				}
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// Open reads the chain to its end and publishes what its last record lists, so
// that nothing before the end is left undone. It is called again whenever a batch
// was lost or an error came up; drafts made before it are void.
//
// A chain that was reset takes over what all chains of the table had seen: if
// others lack the reset, Open writes it. When files of the last record are lost
// the error is a *LostError, and all its other files are published.
func (c *Chain) Open(ctx context.Context) (State, error) {
	c.ready, c.lost = false, nil
	if c.partition < 0 || c.partition >= c.table.partitions {
		return State{}, fmt.Errorf("open %s: the table knows topic partitions 0 to %d", c, c.table.partitions-1)
	}
	for {
		done, err := c.open(ctx)
		if err != nil {
			return State{}, fmt.Errorf("open %s: %w", c, err)
		}
		if done {
			return c.state, nil
		}
	}
}

// open opens the chain unless it grows meanwhile.
func (c *Chain) open(ctx context.Context) (done bool, err error) {
	last, err := c.load(ctx, toEnd)
	if err != nil {
		return false, err
	}
	if c.state.Closed > 0 {
		if again, err := c.table.reopen(ctx, c.partition, c.state); again || err != nil {
			return false, err
		}
	}
	if c.state.To < 0 && c.state.Closed == 0 {
		log, err := c.table.newestLog(ctx)
		if err != nil {
			return false, err
		}
		if log.Number > 0 { // a topic partition that was added later begins with the newest reset
			return false, c.table.reset(ctx, c.partition, log)
		}
		c.state.Log = log.Log
	}
	if last != nil {
		grown, err := c.publishLast(ctx, last)
		if err != nil || grown {
			errors.As(err, &c.lost)
			return false, err
		}
		c.table.events.published(c.partition, last)
	}
	c.ready = true
	if c.union {
		c.tryCheckpoint(ctx)
	}
	return true, nil
}

// load reads the newest checkpoint and the records behind it, up to a record. It
// gives the last one, nil when there is none behind the checkpoint.
func (c *Chain) load(ctx context.Context, until stop) (last *Record, err error) {
	if err := c.loadCheckpoint(ctx, until); err != nil {
		return nil, err
	}
	for r, err := range c.table.records(ctx, c.partition, c.state.link()) {
		if err != nil {
			return nil, err
		}
		if r.Seq >= until.seq || r.Reset >= until.reset {
			break
		}
		if err := c.table.follow(c.partition, r); err != nil {
			return nil, err
		}
		c.apply(r)
		if r.Kind == KindReset {
			if err := c.takeOver(ctx, r.Reset); err != nil {
				return nil, err
			}
		}
		last = r
	}
	return last, nil
}

// follow checks that this program can go on behind a record.
func (t *Table) follow(partition int, r *Record) error {
	switch r.Kind {
	case KindRows, KindRepair, KindReplay, KindGap, KindRewind, KindReset, KindClose, KindOpen:
		return nil
	}
	return &KindError{Key: t.recordKey(partition, r.Seq), Kind: string(r.Kind)}
}

// apply moves the state behind a record. Streams that ended stay known, and so do
// all streams when the log is cut: their rows are in the table.
func (c *Chain) apply(r *Record) {
	c.state = c.state.behind(r)
	for _, s := range r.Streams {
		c.live[s.ID] = streamOf(s)
	}
	for _, s := range r.Skipped {
		c.skipped[s.Reason] += s.To - s.From
	}
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
		base: c.state.link(),
	}
}
