package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lakefeed/sink"
)

// swap makes a generation the live one.
func (r *Rebuild) swap(ctx context.Context, report *RebuildReport, to int) error {
	r.step("swapping generation %d in", to)
	begin := r.Table.BeginSwap
	if r.Now {
		begin = r.Table.BeginSwapNow
	}
	if _, err := begin(ctx, to); err != nil {
		return err
	}
	for {
		status, err := r.Table.HelpSwap(ctx)
		var lost *sink.LostError
		switch {
		case errors.As(err, &lost):
			if err := r.mend(ctx, lost); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case status.Pending == nil:
			if status.Live.Generation != to {
				return fmt.Errorf("swap table %s to generation %d: it was cancelled, and generation %d is live", r.Table.Name(), to, status.Live.Generation)
			}
			report.Swap = status.Live.Swap
			if err := r.takeMissing(ctx, report); err != nil {
				return err
			}
			return r.swapped(ctx, report, to)
		}
		if err := r.catchUp(ctx, status); err != nil {
			return err
		}
	}
}

// mend makes files again that a chain needs to be closed.
func (r *Rebuild) mend(ctx context.Context, lost *sink.LostError) error {
	t, err := r.Table.AsBuilt(ctx, lost.Generation)
	if err != nil {
		return err
	}
	c, err := r.consumer(t, t.ConfigText())
	if err != nil {
		return err
	}
	c.Topic.Partitions = min(c.Topic.Partitions, t.Partitions())
	c.Drain(nil)
	if err := c.Run(ctx); err != nil {
		return fmt.Errorf("%w; or give the swap up with lakefeed rebuild %s --cancel", err, t.Name())
	}
	return nil
}

// catchUp brings the target of a swap to where the closed chains end.
func (r *Rebuild) catchUp(ctx context.Context, status sink.SwapStatus) error {
	target, err := r.Table.AsBuilt(ctx, status.Pending.To)
	if err != nil {
		return err
	}
	want := map[int]int64{}
	for _, b := range status.Behind {
		if b.Log != "" && b.Log != b.WantLog {
			return r.cancel(ctx, fmt.Errorf("topic partition %s/%d was made again meanwhile", r.Topic.Name, b.Partition))
		}
		want[b.Partition] = b.Want
	}
	if len(want) == 0 { // a chain is being closed or opened by others
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
			return nil
		}
	}
	err = r.followTo(ctx, target, want)
	var closed *sink.ClosedError
	var unfit *sink.LogError
	switch {
	case errors.As(err, &closed):
		return nil // the swap has ended, one way or the other
	case errors.As(err, &unfit):
		return r.cancel(ctx, err)
	}
	return err
}

// followTo brings a generation to where another ends. What the log has lost since is not
// recorded as lost: that generation has it.
func (r *Rebuild) followTo(ctx context.Context, target *sink.Table, to map[int]int64) error {
	c, err := r.filler(ctx, target)
	if err != nil {
		return err
	}
	c.OnDataLoss = Halt
	c.Drain(to)
	return c.Run(ctx)
}

// cancel gives a swap up that cannot come to its end.
func (r *Rebuild) cancel(ctx context.Context, why error) error {
	live, err := r.Table.CancelSwap(ctx)
	if err != nil {
		return errors.Join(why, err)
	}
	if !live.Cancelled {
		return nil // it was done just before
	}
	return fmt.Errorf("swap %d of table %s is cancelled, generation %d stays live: %w", live.Swap, r.Table.Name(), live.Generation, why)
}

// swapped completes the report when a generation has become the live one.
func (r *Rebuild) swapped(ctx context.Context, report *RebuildReport, to int) (err error) {
	target, err := r.Table.At(ctx, to)
	if err != nil {
		return err
	}
	if report.After, err = summary(ctx, target); err != nil || report.Before.Generation > 0 {
		return err
	}
	before, err := r.Table.Previous(ctx)
	if err != nil || before == 0 {
		return err
	}
	was, err := r.Table.At(ctx, before)
	if err != nil {
		return err
	}
	if report.Before, err = summary(ctx, was); err != nil {
		return err
	}
	report.Changes, err = changes(ctx, was, target)
	return err
}

// ErrNoPrevious says that there is no earlier generation to go back to.
var ErrNoPrevious = errors.New("no other generation was ever live")

// Rollback makes the generation live again that was live before the present one, once
// it has caught up: nothing that readers see goes away. With Now it is live at once, and
// catches up then; when an earlier one has come to that, its work is gone on with.
func (r *Rebuild) Rollback(ctx context.Context) (*RebuildReport, error) {
	defer r.close()
	report := &RebuildReport{Table: r.Table.Name(), Topic: r.Topic.Name}
	r.say(ctx, sink.Work{Step: sink.WorkPrepare, Alone: "it rolls the table back to a generation that is there, which is work for one process"})
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	status, err := r.Table.Swaps(ctx)
	if err != nil {
		return nil, err
	}
	if status.Pending != nil && r.Now && !status.Pending.Now {
		if status, err = r.hurry(ctx, status); err != nil {
			return nil, err
		}
	}
	if status.Pending != nil {
		report.Resumed = true
		r.step("swap %d to generation %d was begun before: finishing it", status.Pending.Number, status.Pending.To)
		return report, r.swap(ctx, report, status.Pending.To)
	}
	if r.Now {
		missing, err := r.Table.Missing(ctx)
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			report.Resumed, report.Swap = true, status.Live.Swap
			r.step("generation %d is live, and has not caught up since", status.Live.Generation)
			if err := r.takeMissing(ctx, report); err != nil {
				return report, err
			}
			return report, r.swapped(ctx, report, status.Live.Generation)
		}
	}
	to, err := r.Table.Previous(ctx)
	if err == nil && to == 0 {
		err = fmt.Errorf("roll table %s back: %w", r.Table.Name(), ErrNoPrevious)
	}
	if err != nil {
		return nil, err
	}
	live, err := r.Table.At(ctx, status.Live.Generation)
	if err != nil {
		return nil, err
	}
	if !r.Now { // that reads all records: then it comes after the swap
		if report.Before, err = summary(ctx, live); err != nil {
			return nil, err
		}
	}
	target, err := r.Table.AsBuilt(ctx, to)
	if err != nil {
		return nil, err
	}
	// Its chains are closed: the swap opens them. Here only the reach of the topic is
	// looked at.
	if err := r.follows(ctx, live, target); err != nil {
		return nil, err
	}
	if err := r.swap(ctx, report, to); err != nil {
		return report, err
	}
	report.Changes, err = changes(ctx, live, target)
	return report, err
}
