package sink

import (
	"context"
	"errors"
	"fmt"
)

// Rewind takes the chain back to where the log and the lake agree, with a record
// of kind rewind: the log was cut, and may have other messages since (LogShort,
// LogDiffers). It goes back to the end of the last record whose fingerprint is
// that of the log, else to the log's start. What was seen stays seen, so that rows
// that come again are left out; messages whose key is not ours are taken again.
//
// The chain must be open; after Lost or an error it must be opened again. to
// is the offset that it went back to.
func (c *Chain) Rewind(ctx context.Context, log LogView, at FingerprintAt) (to int64, outcome Outcome, err error) {
	to, outcome, err = c.rewind(ctx, log, at)
	if err != nil {
		err = fmt.Errorf("rewind %s: %w", c, err)
	}
	return to, outcome, err
}

// FingerprintAt reads the fingerprint of a log's message at an offset, nil when
// there is none.
type FingerprintAt func(ctx context.Context, offset int64) (*Fingerprint, error)

func (c *Chain) rewind(ctx context.Context, log LogView, at FingerprintAt) (int64, Outcome, error) {
	switch {
	case !c.ready:
		return 0, Undecided, errors.New("the chain is not open")
	case c.state.To < 0 || log.Log != c.state.Log:
		return 0, Undecided, fmt.Errorf("the log is %s, that of the chain %q", log.Log, c.state.Log)
	case log.Start >= c.state.To:
		return 0, Undecided, fmt.Errorf("the log begins at offset %d, the chain is at %d", log.Start, c.state.To)
	}
	r := c.record(KindRewind)
	match, err := c.lastMatch(ctx, log, at)
	if err != nil {
		return 0, Undecided, err
	}
	if match != nil {
		r.To, r.FP = match.To, match.FP
	} else {
		r.To, r.FP = log.Start, nil
	}
	outcome, err := c.append(ctx, r)
	return r.To, outcome, err
}

// lastMatch is the last record of the present log that ends inside of it, before
// the chain's end, and whose fingerprint is that of the log; nil if there is none.
func (c *Chain) lastMatch(ctx context.Context, log LogView, at FingerprintAt) (*Record, error) {
	for seq := c.state.Seq; seq >= 0; seq-- {
		r, err := c.table.record(ctx, c.partition, seq)
		if err != nil {
			return nil, err
		}
		if r.Kind == KindReset {
			return nil, nil // what comes before is of another log
		}
		if r.FP == nil || r.To > log.End || r.To >= c.state.To || r.FP.Offset < log.Start {
			continue
		}
		have, err := at(ctx, r.FP.Offset)
		if err != nil {
			return nil, err
		}
		if have != nil && have.Matches(*r.FP) {
			return r, nil
		}
	}
	return nil, nil
}
