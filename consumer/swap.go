package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lakefeed/sink"
)

// How often a worker looks whether another generation of the table is to take its
// rows: a closed chain says so at once, this is for the others.
const (
	swapPoll    = 30 * time.Second
	pendingPoll = time.Second // while a swap is under way
)

// route turns to the generation of the table that takes the rows now. A swap that is
// under way is helped.
func (w *worker) route(ctx context.Context) error {
	if w.c.Fixed {
		return nil
	}
	table, status, err := w.c.Table.Route(ctx, w.partition)
	if err != nil {
		return err
	}
	if table.Generation() != w.table.Generation() {
		w.c.Log.Info("rows go to another generation", "table", table.Name(), "partition", w.partition, "from", w.table.Generation(), "to", table.Generation())
	}
	w.work(table)
	w.swaps, w.looked = status, w.c.Now()
	return nil
}

// closed waits before another look at a chain that a swap has closed.
func (w *worker) closed(ctx context.Context, state sink.State) error {
	if w.c.Fixed {
		return &sink.ClosedError{Table: w.table.Name(), Generation: w.table.Generation(), Swap: state.Closed}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(drainPoll):
		return nil
	}
}

// elsewhere says of rows that the log no longer has whether another generation has them,
// so that they are neither lost nor to be passed over: that from which a swap is under way
// to this one, or that from which readers were turned without waiting. In the first case
// the rebuild may take them from the raw zone, and again says that it is time for another
// look at the chain.
func (w *worker) elsewhere(ctx context.Context, state sink.State, present sink.LogView) (again bool, err error) {
	next := max(state.To, 0)
	if w.c.Fixed || present.Start <= next || state.Log != "" && state.Log != present.Log {
		return false, nil
	}
	for _, b := range w.swaps.Behind {
		if w.swaps.Pending == nil || b.Partition != w.partition || b.Want <= next {
			continue
		}
		if _, draining := w.c.target(w.partition); draining {
			return false, fmt.Errorf("swap %d of table %s waits for %s/%d@%d, and the topic begins at offset %d: lakefeed rebuild %[2]s --rollback takes what is between from the raw zone, if it is there, and --cancel gives the swap up",
				w.swaps.Pending.Number, w.table.Name(), w.c.Topic.Name, w.partition, next, present.Start)
		}
		if w.waits != w.swaps.Pending.Number {
			w.waits = w.swaps.Pending.Number
			w.c.Log.Warn("waiting for rows that the topic no longer has: a swap of generations is under way; lakefeed rebuild --rollback takes them from the raw zone, if they are there, and --cancel gives the swap up",
				"table", w.table.Name(), "swap", w.waits, "generation", w.table.Generation(), "topic", w.c.Topic.Name, "partition", w.partition, "offset", next, "start", present.Start)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(pendingPoll):
			return true, nil
		}
	}
	missing, err := w.table.Missing(ctx)
	for _, m := range missing {
		if m.Partition == w.partition && m.Rows+m.Rejects > 0 {
			return false, fmt.Errorf("%w; they are in the generation that was live before: lakefeed rebuild %s --rollback goes forward to it",
				&sink.LogError{Case: sink.LogRetention, Topic: w.c.Topic.Name, Partition: w.partition, To: next, Start: present.Start, End: present.End, Want: state.Log, Have: present.Log}, w.table.Name())
		}
	}
	return false, err
}

// turned says whether it is time to look for the generation that takes the rows.
func (w *worker) turned(ctx context.Context) (bool, error) {
	every := swapPoll
	if w.swaps.Pending != nil {
		every = pendingPoll
	}
	if w.c.Fixed || w.c.Now().Sub(w.looked) < every {
		return false, nil
	}
	w.looked = w.c.Now()
	status, err := w.table.HelpSwap(ctx)
	var lost *sink.LostError
	if err != nil && !errors.As(err, &lost) { // a lost file is for its chain's owner
		return false, err
	}
	return !status.Same(w.swaps), nil
}

// openOther opens the chain of any topic partition, to see where it is.
func (c *Consumer) openOther(ctx context.Context, partition int) (sink.State, error) {
	table := c.Table
	if !c.Fixed {
		var err error
		if table, _, err = c.Table.Route(ctx, partition); err != nil {
			return sink.State{}, err
		}
	}
	return table.Chain(partition).Open(ctx)
}

// swapped helps a swap that is under way when all was drained: only then does the
// lake show it. again says that there is more to take for it.
func (c *Consumer) swapped(ctx context.Context) (again bool, err error) {
	status, err := c.Table.HelpSwap(ctx)
	if err != nil || status.Pending == nil {
		return false, err
	}
	for _, b := range status.Behind {
		if b.Log != "" && b.Log != b.WantLog {
			return false, fmt.Errorf("swap %d of table %s waits for topic partition %s/%d: the topic was made again meanwhile; cancel it with lakefeed rebuild %s --cancel", status.Pending.Number, c.Table.Name(), c.Topic.Name, b.Partition, c.Table.Name())
		}
		c.mu.Lock()
		if c.drain[b.Partition] < b.Want {
			c.drain[b.Partition] = b.Want
		}
		c.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(drainPoll):
		return true, nil
	}
}
