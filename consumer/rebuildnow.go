package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lakefeed/schema/fault"
	"lakefeed/sink"
)

// PendingError says that readers cannot be turned to the generation before: another
// swap is under way, and they see that generation still.
type PendingError struct {
	Table string
	sink.Swap
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("roll table %s back now: swap %d to generation %d is under way, and readers still see generation %d: lakefeed rebuild %[1]s --cancel gives it up", e.Table, e.Number, e.To, e.From)
}

// hurry gives a rollback up that waits until its generation has caught up, so that
// another can be begun that does not.
func (r *Rebuild) hurry(ctx context.Context, status sink.SwapStatus) (sink.SwapStatus, error) {
	history, err := r.Table.History(ctx)
	if err != nil {
		return status, err
	}
	back := false
	for _, l := range history {
		back = back || l.Generation == status.Pending.To
	}
	if !back {
		return status, &PendingError{Table: r.Table.Name(), Swap: *status.Pending}
	}
	r.step("swap %d waits for generation %d: beginning another that does not", status.Pending.Number, status.Pending.To)
	live, err := r.Table.CancelSwap(ctx)
	if err == nil && !live.Cancelled {
		err = fmt.Errorf("roll table %s back now: swap %d was done just before, and generation %d is live", r.Table.Name(), live.Swap, live.Generation)
	}
	if err != nil {
		return status, err
	}
	return r.Table.Swaps(ctx)
}

// takeMissing says what readers do not see since a swap that did not wait, and brings
// the live generation to where the one before ends. Owners of its chains may do the
// same meanwhile: of each batch one is decided.
func (r *Rebuild) takeMissing(ctx context.Context, report *RebuildReport) error {
	missing, err := r.Table.Missing(ctx)
	if err != nil {
		r.turned() // it is live, whatever can be said of it
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	report.Missed = missing
	live, err := r.Table.Current(ctx)
	if err != nil {
		return err
	}
	r.step("generation %d is live now: until it has caught up readers do not see %s", live.Generation(), MissingText(r.Topic.Name, missing))
	r.turned()
	if err := fault.At(ctx, fault.SwapTold); err != nil {
		return err
	}
	target, err := r.Table.AsBuilt(ctx, live.Generation())
	if err != nil {
		return err
	}
	want := map[int]int64{}
	for _, m := range missing {
		want[m.Partition] = m.To
	}
	if err := r.followTo(ctx, target, want); err != nil {
		return r.stillMissing(err, target, missing)
	}
	r.step("generation %d has caught up: readers see all rows again", target.Generation())
	return fault.At(ctx, fault.CaughtUp)
}

func (r *Rebuild) turned() {
	if r.Turned != nil {
		r.Turned()
	}
}

// stillMissing says what to do when a live generation cannot be brought up to date.
func (r *Rebuild) stillMissing(err error, live *sink.Table, missing []sink.MissingRows) error {
	var closed *sink.ClosedError
	var unfit *sink.LogError
	switch {
	case errors.As(err, &closed):
		return fmt.Errorf("bring generation %d of table %s up to date: %w; another swap has begun meanwhile", live.Generation(), live.Name(), err)
	case errors.As(err, &unfit):
		return fmt.Errorf("bring generation %d of table %s up to date: it is live, and readers do not see %s: %w; or go back to the generation that has them, with lakefeed rebuild %[2]s --rollback",
			live.Generation(), live.Name(), MissingText(r.Topic.Name, missing), err)
	}
	return fmt.Errorf("bring generation %d of table %s up to date, which is live: %w; a feed of the table that runs does it, or lakefeed rebuild %[2]s --rollback --now again", live.Generation(), live.Name(), err)
}

// MissingText says how many rows are missing and where the topic has them.
func MissingText(topic string, missing []sink.MissingRows) string {
	var rows, rejects int64
	var where []string
	for _, m := range missing {
		rows, rejects = rows+m.Rows, rejects+m.Rejects
		where = append(where, fmt.Sprintf("%s/%d@%d to %d", topic, m.Partition, m.From, m.To-1))
	}
	text := fmt.Sprintf("%d rows", rows)
	if rows == 1 {
		text = "1 row"
	}
	if rejects > 0 {
		text += fmt.Sprintf(" and %d in quarantine", rejects)
	}
	return text + " (" + strings.Join(where, ", ") + ")"
}
