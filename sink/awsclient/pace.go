package awsclient

import (
	"context"
	"sync"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// pace lets requests of all that share it go at a rate: a burst of as many as a tenth
// of a second has, and then one after the other.
type pace struct {
	every time.Duration
	burst time.Duration

	mu   sync.Mutex
	next time.Time // when the next request may go
}

func newPace(rate int) *pace {
	return &pace{every: time.Second / time.Duration(rate), burst: time.Second / 10}
}

// wait waits for a request's turn.
func (p *pace) wait(ctx context.Context) error {
	now := time.Now()
	p.mu.Lock()
	if earliest := now.Add(-p.burst); p.next.Before(earliest) {
		p.next = earliest
	}
	at := p.next
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if !at.After(now) {
		return nil
	}
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// attach makes every request wait, one that is repeated each time.
func (p *pace) attach(stack *middleware.Stack) error {
	turn := middleware.FinalizeMiddlewareFunc("lakefeed.pace", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if err := p.wait(ctx); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
		return next.HandleFinalize(ctx, in)
	})
	return stack.Finalize.Insert(turn, "Retry", middleware.After)
}
