package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"

	"lakefeed/sink"
)

// ErrFault is what a call gives that a FaultStore makes fail.
var ErrFault = errors.New("injected fault")

// Fault is what happens to one call of a FaultStore.
type Fault uint8

// The faults. The owner that a crash hits does not run on: its goroutine ends.
const (
	NoFault     Fault = iota
	FailBefore        // ErrFault, and nothing was done
	FailAfter         // ErrFault, and all was done
	Delay             // of Create: ErrFault, and it is done when Deliver is called
	CrashBefore       // the goroutine ends, and nothing was done
	CrashAfter        // the goroutine ends, and all was done
)

// CreateSettled creates an object as every caller of Create does whose earlier
// request may have arrived: when there is one, its body tells whose it is.
// unanswered says whether an answer about the key was lost.
func CreateSettled(ctx context.Context, s sink.Store, key string, body []byte, unanswered func() bool) error {
	err := s.Create(ctx, key, body)
	if !errors.Is(err, sink.ErrExists) {
		return err
	}
	if found, e := s.Get(ctx, key); e != nil || !bytes.Equal(found, body) || !unanswered() {
		return err
	}
	return nil
}

// Call is one call of a store.
type Call struct {
	N   int    // 1 for the first
	Op  string // "stage", "publish", …
	Key string
}

func (c Call) String() string { return fmt.Sprintf("%d:%s %s", c.N, c.Op, c.Key) }

// FaultStore is a store whose calls fail as planned: before or after they take
// effect, or with their effect delayed.
type FaultStore struct {
	sink.Store
	// Plan says what happens to a call, before it is made; nil is no fault ever. It
	// may block, which suspends the caller.
	Plan func(Call) Fault

	mu      sync.Mutex
	calls   []Call
	delayed []delayed
}

type delayed struct {
	key  string
	body []byte
}

// FailNth is a plan in which the n-th call meets a fault.
func FailNth(n int, f Fault) func(Call) Fault {
	return func(c Call) Fault {
		if c.N == n {
			return f
		}
		return NoFault
	}
}

// Calls are the calls made so far.
func (s *FaultStore) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Delayed is how many Creates wait to be delivered.
func (s *FaultStore) Delayed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.delayed)
}

// Deliver lets the i-th of the delayed Creates arrive.
func (s *FaultStore) Deliver(ctx context.Context, i int) error {
	s.mu.Lock()
	d := s.delayed[i]
	s.delayed = slices.Delete(s.delayed, i, i+1)
	s.mu.Unlock()
	return s.Store.Create(ctx, d.key, d.body)
}

func (s *FaultStore) do(op, key string, body []byte, run func() error) error {
	s.mu.Lock()
	call := Call{N: len(s.calls) + 1, Op: op, Key: key}
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	fault := NoFault
	if s.Plan != nil {
		fault = s.Plan(call)
	}
	switch fault {
	case FailBefore:
		return fmt.Errorf("%s %s: %w", op, key, ErrFault)
	case CrashBefore:
		runtime.Goexit()
	case Delay:
		s.mu.Lock()
		s.delayed = append(s.delayed, delayed{key: key, body: slices.Clone(body)})
		s.mu.Unlock()
		return fmt.Errorf("%s %s: %w", op, key, ErrFault)
	}
	err := run()
	switch fault {
	case FailAfter:
		return fmt.Errorf("%s %s: %w", op, key, ErrFault)
	case CrashAfter:
		runtime.Goexit()
	}
	return err
}

// Stage, and all other methods, are the store's, with faults.
func (s *FaultStore) Stage(ctx context.Context, key string, body io.Reader) (out sink.Staged, err error) {
	var staged sink.Staged
	err = s.do("stage", key, nil, func() (err error) {
		staged, err = s.Store.Stage(ctx, key, body)
		return err
	})
	if err != nil {
		return sink.Staged{}, err
	}
	return staged, nil
}

func (s *FaultStore) Publish(ctx context.Context, staged sink.Staged) error {
	return s.do("publish", staged.Key, nil, func() error { return s.Store.Publish(ctx, staged) })
}

func (s *FaultStore) Discard(ctx context.Context, staged sink.Staged) error {
	return s.do("discard", staged.Key, nil, func() error { return s.Store.Discard(ctx, staged) })
}

func (s *FaultStore) Create(ctx context.Context, key string, body []byte) error {
	return s.do("create", key, body, func() error { return s.Store.Create(ctx, key, body) })
}

func (s *FaultStore) Put(ctx context.Context, key string, body []byte) error {
	return s.do("put", key, nil, func() error { return s.Store.Put(ctx, key, body) })
}

func (s *FaultStore) Get(ctx context.Context, key string) (body []byte, err error) {
	err = s.do("get", key, nil, func() (err error) {
		body, err = s.Store.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (s *FaultStore) Stat(ctx context.Context, key string) (o sink.Object, err error) {
	err = s.do("stat", key, nil, func() (err error) {
		o, err = s.Store.Stat(ctx, key)
		return err
	})
	return o, err
}

func (s *FaultStore) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	return func(yield func(sink.Object, error) bool) {
		type item struct {
			o   sink.Object
			err error
		}
		var items []item
		err := s.do("list", prefix, nil, func() error {
			for o, err := range s.Store.List(ctx, prefix, after) {
				items = append(items, item{o, err})
			}
			return nil
		})
		if err != nil {
			yield(sink.Object{}, err)
			return
		}
		for _, i := range items {
			if !yield(i.o, i.err) {
				return
			}
		}
	}
}

func (s *FaultStore) Delete(ctx context.Context, key string) error {
	return s.do("delete", key, nil, func() error { return s.Store.Delete(ctx, key) })
}
