package sink

import (
	"context"
	"errors"
	"fmt"
)

// Gap records that the offsets from the chain's end to before an offset are lost,
// with a record of kind gap: they were removed from the log before they were read
// (LogRetention). The chain must be open; after Lost or an error it must be opened
// again.
func (c *Chain) Gap(ctx context.Context, to int64) (Outcome, error) {
	outcome, err := c.gap(ctx, to)
	if err != nil {
		return outcome, fmt.Errorf("record a gap of %s to offset %d: %w", c, to, err)
	}
	return outcome, nil
}

func (c *Chain) gap(ctx context.Context, to int64) (Outcome, error) {
	switch {
	case !c.ready:
		return Undecided, errors.New("the chain is not open")
	case c.state.To < 0:
		return Undecided, errors.New("the chain has no record yet: its first batch skips what is lost")
	case to <= c.state.To:
		return Undecided, fmt.Errorf("the chain is at offset %d", c.state.To)
	}
	r := c.record(KindGap)
	r.To = to
	r.Skipped = []Skip{{From: r.From, To: to, Reason: SkipRetention}}
	r.Counts.Skipped, r.Counts.Lost = to-r.From, to-r.From
	return c.append(ctx, r)
}
