package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lakefeed/schema/fault"
)

// LostError says that files which a chain's last record lists are neither staged
// nor visible: a lifecycle rule or a person removed them. Nothing is committed
// behind it until they are made again (Chain.BeginRepair, Writer.Repair) or given
// up (Chain.GiveUp).
type LostError struct {
	Table      string
	Topic      string
	Partition  int
	Generation int
	Seq        int64  // of the chain's last record
	Files      []File // the lost ones

	// Rows is the record whose offsets the rows are of: the last one, or the one
	// that it repairs. Its Log, From, To, Schema and Config are what the files were
	// made from.
	Rows *Record
	// Reason is why the files cannot be made again, nil when that was not tried.
	Reason error
}

func (e *LostError) Error() string {
	reason := "they are made again from the topic when a consumer of it runs"
	if e.Reason != nil {
		reason = fmt.Sprintf("they cannot be made again: %v; put the staged data back from a backup, load the sources into another table, or, where the topic no longer has their offsets, give --on-data-loss=record to record the loss and go on", e.Reason)
	}
	var staged []string
	for _, f := range e.Files {
		staged = append(staged, f.Staged.Upload)
	}
	return fmt.Sprintf("publish record %d of %s: %d of its files are gone before they became visible (%s, staged as %s): a lifecycle rule or a person removed them. "+
		"Their rows are among offsets %d to %d of the topic, and nothing more is committed to this topic partition of table %s until they are back: %s",
		e.Seq, chainName(e.Topic, e.Partition), len(e.Files), strings.Join(e.Keys(), ", "), strings.Join(staged, ", "), e.Rows.From, e.Rows.To-1, e.Table, reason)
}

func (e *LostError) Unwrap() error { return e.Reason }

// Keys are the keys of the lost files.
func (e *LostError) Keys() (keys []string) {
	for _, f := range e.Files {
		keys = append(keys, f.Key)
	}
	return keys
}

// RowCount is how many rows the lost files had.
func (e *LostError) RowCount() (n int64) {
	for _, f := range e.Files {
		n += f.Rows
	}
	return n
}

// Because gives the error with why the files cannot be made again.
func (e *LostError) Because(reason error) *LostError {
	with := *e
	with.Reason = reason
	return &with
}

// publish makes all files of a record visible. The record is one that was read
// from the store: what this process remembers may not be what was decided. Lost
// files are a *LostError, and then all others are visible.
func (c *Chain) publish(ctx context.Context, r *Record) error {
	lost := &LostError{Table: c.table.name, Topic: c.table.topic, Partition: c.partition, Generation: c.table.generation, Seq: r.Seq}
	for f := range r.Added() {
		if err := fault.At(ctx, fault.FilePublish); err != nil {
			return fmt.Errorf("publish record %d: %w", r.Seq, err)
		}
		err := c.retry(ctx, func() error { return c.table.store.Publish(ctx, f.Staged) }, ErrLost)
		if err == nil {
			err = fault.At(ctx, fault.FilePublished)
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrLost):
			// The others come first: only then can the lost ones be made again.
			lost.Files = append(lost.Files, f)
		default:
			return fmt.Errorf("publish record %d: %w", r.Seq, err)
		}
	}
	if len(lost.Files) == 0 {
		return c.retire(ctx, r)
	}
	for lost.Rows = r; lost.Rows.Kind == KindRepair; {
		var err error
		if lost.Rows, err = c.table.record(ctx, c.partition, *lost.Rows.Of); err != nil {
			return err
		}
	}
	return lost
}

// publishLast publishes a chain's last record. If files are lost, but the chain
// has grown meanwhile, that is no error: they may be gone for a good reason.
func (c *Chain) publishLast(ctx context.Context, last *Record) (grown bool, err error) {
	err = c.publish(ctx, last)
	var lost *LostError
	if !errors.As(err, &lost) {
		return false, err
	}
	grown, e := c.table.hasRecord(ctx, c.partition, last.Seq+1)
	if e != nil || grown {
		return grown, e
	}
	return false, err
}

// GiveUp records the lost files of the chain's last record as lost, with a record
// of kind gap, so that the chain can go on. Their rows stay seen: they are not
// taken again when they are sent again. It follows an Open that gave a *LostError.
func (c *Chain) GiveUp(ctx context.Context) (Outcome, error) {
	if c.lost == nil {
		return Undecided, fmt.Errorf("give up lost files of %s: it has none", c)
	}
	r := c.record(KindGap)
	r.Of, r.Lost, r.Counts.Lost, r.Retires = &c.lost.Seq, c.lost.Keys(), c.lost.RowCount(), c.lost.Rows.Retires
	c.lost = nil
	outcome, err := c.append(ctx, r)
	if err != nil {
		return outcome, fmt.Errorf("give up %d lost files of %s: %w", len(r.Lost), c, err)
	}
	return outcome, nil
}
