package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lakefeed/schema/fault"
)

// Commit is what a batch is besides its draft.
type Commit struct {
	To     int64        // the offset behind the batch
	Log    string       // log id that the offsets belong to
	FP     *Fingerprint // of the last message before To; nil takes over the one before
	Files  []File       // staged under the draft's attempt; none when no row is fresh
	Schema int64        // newest version of the table's columns that a file uses
	Config string       // hash; empty is the table's
}

// Outcome says what became of a batch.
type Outcome uint8

// The outcomes of a commit.
const (
	// Undecided comes with an error only. The batch may be in the table, now or
	// later: open the chain again to know.
	Undecided Outcome = iota
	// Decided: the batch is in the table and its files are visible.
	Decided
	// Lost: another owner decided this number, or the batch is too old to be sent.
	// Its uploads are discarded or left to gc, nothing of it is in the table. Open
	// the chain again and go on from there.
	Lost
)

// maxStagedAge is how old a staged file may be when its record is sent. Well below
// what the lifecycle rules of buckets leave to unfinished uploads.
const maxStagedAge = 24 * time.Hour

// Commit decides a draft: it creates the chain's next record, publishes what that
// record lists, and writes a checkpoint when one is due. Whatever the store
// answers, the batch is in the table once or not at all. After an error or Lost
// the chain must be opened again.
func (c *Chain) Commit(ctx context.Context, d *Draft, in Commit) (Outcome, error) {
	outcome, err := c.commit(ctx, d, in)
	if err != nil {
		return outcome, fmt.Errorf("commit record %d of %s, offsets %d to %d: %w", d.Seq(), c, d.From(), in.To-1, err)
	}
	return outcome, nil
}

func (c *Chain) commit(ctx context.Context, d *Draft, in Commit) (Outcome, error) {
	r, err := c.next(d, in)
	if err != nil {
		return Undecided, err
	}
	if c.state.To < 0 {
		first, err := c.table.isFirstLog(ctx, in.Log)
		if err != nil {
			return Undecided, err
		}
		if !first { // the record was never sent, so that nothing can list its uploads
			c.ready = false
			c.discard(ctx, r)
			return Lost, nil
		}
	}
	d.used = true
	return c.append(ctx, r)
}

// append decides a record that goes behind the chain's end, and publishes it. The
// uploads of one that lost are discarded.
func (c *Chain) append(ctx context.Context, r *Record) (Outcome, error) {
	if err := r.check(); err != nil {
		return Undecided, err
	}
	if c.state.Closed > 0 && r.Kind != KindClose && r.Kind != KindOpen {
		c.discard(ctx, r)
		return Undecided, &ClosedError{Table: c.table.name, Generation: c.table.generation, Swap: c.state.Closed}
	}
	body, err := EncodeRecord(r)
	if err != nil {
		return Undecided, err
	}
	// From here on the chain may be anywhere, until the record is published.
	c.ready = false
	if err := fault.At(ctx, fault.RecordCreate); err != nil {
		return Undecided, err
	}
	found, err := c.decide(ctx, r, body)
	switch {
	case err != nil:
		return Undecided, err
	case found == nil:
		return Lost, nil
	case found.Attempt != r.Attempt:
		c.discard(ctx, r)
		return Lost, nil
	}
	if err := fault.At(ctx, fault.RecordCreated); err != nil {
		return Undecided, err
	}
	if err := c.publish(ctx, found); err != nil {
		return Undecided, err
	}
	c.apply(found)
	c.ready = true
	c.table.events.published(c.partition, found)
	if c.state.Seq-c.checkpointed >= c.table.checkpointEvery {
		c.tryCheckpoint(ctx)
	}
	return Decided, nil
}

// record begins a record of a kind that has no offsets, behind the chain's end.
func (c *Chain) record(kind Kind) *Record {
	end := c.state.link()
	return &Record{
		V: formatVersion, Kind: kind, Seq: end.seq + 1, Log: end.log, From: end.to, To: end.to, Prev: end.attempt,
		Config: c.table.config, Attempt: newAttempt(), FP: c.state.FP, At: c.table.now().UTC(),
	}
}

// next makes the record of a draft, and checks that every offset is accounted for.
func (c *Chain) next(d *Draft, in Commit) (*Record, error) {
	switch {
	case !c.ready:
		return nil, errors.New("the chain is not open")
	case d.chain != c || d.used || d.base.seq != c.state.Seq || d.base.attempt != c.state.Attempt:
		return nil, errors.New("the draft is not one of the chain's present end, or was used before")
	case d.err != nil:
		return nil, d.err
	case c.state.Closed > 0:
		return nil, &ClosedError{Table: c.table.name, Generation: c.table.generation, Swap: c.state.Closed}
	case in.To <= d.From():
		return nil, errors.New("the batch is empty")
	case in.Log == "":
		return nil, errors.New("the log has no id")
	case c.state.Log != "" && in.Log != c.state.Log:
		return nil, fmt.Errorf("the batch is of log %s, the chain of log %s", in.Log, c.state.Log)
	case in.FP != nil && in.FP.Offset >= in.To:
		return nil, fmt.Errorf("the fingerprint is of offset %d", in.FP.Offset)
	}
	r := &Record{
		V: formatVersion, Kind: KindRows, Seq: d.Seq(), Log: in.Log, From: d.From(), To: in.To, Prev: d.base.attempt,
		Files: in.Files, Streams: d.changes(), Skipped: d.skips, Counts: d.Counts, Schema: in.Schema, Config: in.Config,
		Attempt: d.attempt, FP: in.FP, At: c.table.now().UTC(),
	}
	if r.FP == nil {
		r.FP = c.state.FP
	}
	if r.Config == "" {
		r.Config = c.table.config
	}
	r.Counts.Rows, r.Counts.Quarantined, r.Counts.Ends, r.Counts.Skipped = 0, 0, d.ends, d.skipped
	r.Counts.Foreign = d.foreign
	for _, f := range in.Files {
		if f.Table == Quarantine {
			r.Counts.Quarantined += f.Rows
		} else {
			r.Counts.Rows += f.Rows
		}
	}
	rows := r.Counts.Rows + r.Counts.Quarantined
	if rows != d.accepted {
		return nil, fmt.Errorf("%d rows were taken, but its files hold %d", d.accepted, rows)
	}
	if have, want := rows+d.ends+d.skipped, in.To-d.From(); have != want {
		return nil, fmt.Errorf("%d offsets, but %d rows, %d ends and %d skipped", want, rows, d.ends, d.skipped)
	}
	return r, nil
}

// decide creates the record, and gives the one that is there under its number:
// this one, or another owner's. Nil means that the batch is too old to be sent.
//
// While the answer is unknown the same body is sent for the same number again: an
// earlier request may still arrive, so that nothing may be discarded, staged anew
// or taken for failed before there is a record.
func (c *Chain) decide(ctx context.Context, r *Record, body []byte) (*Record, error) {
	key := c.table.recordKey(c.partition, r.Seq)
	for try := 1; ; try++ {
		if c.tooOld(r) {
			c.table.log.Warn("batch dropped: it was staged too long ago", "topic", c.table.topic, "partition", c.partition, "seq", r.Seq, "from", r.From, "to", r.To)
			return nil, nil
		}
		err := c.table.store.Create(ctx, key, body)
		if err == nil || errors.Is(err, ErrExists) {
			found, readErr := c.readBack(ctx, r.Seq)
			if readErr == nil && err == nil && found.Attempt != r.Attempt {
				return nil, &ChainError{Key: key, Err: fmt.Errorf("attempt %s is there after attempt %s was told that it had created it", found.Attempt, r.Attempt)}
			}
			return found, readErr
		}
		if final(err) || ctx.Err() != nil {
			return nil, err
		}
		c.table.events.unknown(c.partition, r.Seq, try, err)
		c.table.log.Warn("the answer to a commit is not known: sending it again", "topic", c.table.topic, "partition", c.partition, "seq", r.Seq, "try", try, "err", err)
		if e := c.table.sleep(ctx, backoff(try)); e != nil {
			return nil, errors.Join(e, err)
		}
	}
}

func (c *Chain) tooOld(r *Record) bool {
	for f := range r.Added() {
		if c.table.now().Sub(f.Staged.At) > maxStagedAge {
			return true
		}
	}
	return false
}

// readBack reads a record that is known to be there.
func (c *Chain) readBack(ctx context.Context, seq int64) (*Record, error) {
	var body []byte
	err := c.retry(ctx, func() (err error) {
		body, err = c.table.store.Get(ctx, c.table.recordKey(c.partition, seq))
		return err
	}, ErrNotExist)
	if err != nil {
		return nil, err
	}
	return c.table.decodeRecord(body, c.partition, seq)
}

// discard forgets the uploads of a record that lost. It is called only when
// another's record was read under its number, so that no record can ever
// list them. What fails is left to gc.
func (c *Chain) discard(ctx context.Context, r *Record) {
	for f := range r.Added() {
		if err := c.table.store.Discard(ctx, f.Staged); err != nil {
			c.table.log.Warn("upload of a lost batch not discarded", "key", f.Key, "upload", f.Staged.Upload, "err", err)
		}
	}
}
