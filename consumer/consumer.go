// Package consumer takes a topic's messages to the lake: rows become typed
// records, and each topic partition's records are committed in batches, in
// offset order, through the sink. Where to begin is read from the lake, never
// from the consumer group.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// The defaults of a Consumer.
const (
	DefaultFlushBytes = 64 << 20
	DefaultFlushEvery = 60 * time.Second
	DefaultMemory     = 256 << 20
)

// DataLoss says what to do when rows are lost that are not in the lake: the topic
// no longer has offsets that the lake has not read, or lost messages and has others
// in their place, or files of a batch vanished and cannot be made again since their
// offsets are gone.
type DataLoss uint8

const (
	// Halt ends the run with a *sink.LogError or *sink.LostError.
	Halt DataLoss = iota
	// Record writes down in the lake what is lost, tells, and goes on.
	Record
)

// Consumer sinks one topic into one table.
type Consumer struct {
	Client *broker.Client
	Topic  broker.Topic
	Table  *sink.Table

	// Source is where messages are read from; nil for the Client.
	Source Log
	// Raw keeps the order of the messages that are taken, so that with the copies that
	// producers make they can be made again; nil where it is not kept.
	Raw *raw.Zone

	// Fixed says that Table is written as the generation that it is, which is to become
	// live one day. Without it rows go to the generation that is live, or to the target
	// of a swap that is under way.
	Fixed bool

	// Group is the consumer group that shares the topic partitions out. Empty:
	// this process takes all of them.
	Group string
	// FlushBytes of rows' text, or FlushEvery since its first row, end a batch.
	// The first batch of a table without a schema waits for the defaults at least.
	FlushBytes int
	FlushEvery time.Duration
	// Memory bounds the buffers of this consumer. Where there is a Budget it is not
	// used: several consumers share that one.
	Memory int
	Budget *Budget
	// Meta adds the columns _source, _row, _offset and _ingested_at, which is the
	// timestamp of the row's message.
	Meta bool
	// Contract is what is declared of the table's columns; nil for nothing. It is in
	// the table's configuration too, by which files are made again.
	Contract *schema.Contract
	// Messages says what the values of messages are whose key is not ours; nil puts
	// these into quarantine. It is in the table's configuration too.
	Messages *Messages
	// CSV is what is said of the form of the sources: a reject that is a row by it is
	// taken as one. It is in the table's configuration too.
	CSV csv.Overrides
	// Transform are the steps that make records of rows, with the keys of masks; none
	// for records that have the feed's columns. They are in the table's configuration
	// too.
	Transform transform.Spec
	// Current gives the steps as they are now, where what they look values up in may change
	// during a run; nil where it does not. It is asked when a batch ends, before its steps
	// run, by several goroutines at a time.
	Current func() Steps
	// Secret finds the key of a mask where files are made again. The error says where
	// it was looked for.
	Secret func(transform.Key) ([]byte, error)
	// OnDataLoss says what to do when the topic has lost what the lake needs.
	OnDataLoss DataLoss
	// AdoptNewLog goes on by itself with a topic that was deleted and made again.
	// Without it that is a *sink.LogError.
	AdoptNewLog bool

	Events Events
	Log    *slog.Logger
	Now    func() time.Time

	recipe *recipe
	// session is after how long a member of the group that is silent loses its topic
	// partitions; 0 for the default.
	session time.Duration
	// more says, when all was drained, whether there is more, for which it has called
	// Drain again.
	more func(context.Context) (again bool, err error)

	mu    sync.Mutex
	drain map[int]int64 // offset to reach by topic partition; nil: go on
}

// Validate fills in the defaults and reports every fault at once.
func (c *Consumer) Validate() error {
	var errs []error
	if c.Client == nil && c.Source == nil || c.Table == nil {
		errs = append(errs, errors.New("consumer: Client or Source, and Table are required"))
	}
	if c.Source == nil && c.Client != nil {
		c.Source = c.Client
	}
	if err := c.Contract.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("consumer: %w", err))
	}
	recipe, err := newRecipe(c.Contract, c.Transform)
	if c.recipe = recipe; err != nil {
		errs = append(errs, err)
	} else {
		recipe.messages, recipe.csv = c.Messages, c.CSV
	}
	if err := c.Messages.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("consumer: %w", err))
	}
	if c.FlushBytes < 0 || c.FlushEvery < 0 || c.Memory < 0 {
		errs = append(errs, errors.New("consumer: flush size, flush time and memory must not be negative"))
	}
	if c.FlushBytes == 0 {
		c.FlushBytes = DefaultFlushBytes
	}
	if c.FlushEvery == 0 {
		c.FlushEvery = DefaultFlushEvery
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Budget == nil {
		c.Budget = NewBudget(c.Memory)
	}
	return errors.Join(errs...)
}

// Drain tells a consumer that is running to stop once the lake has every
// message below the offset given for each topic partition, whichever member of
// the group takes them: until then it keeps its own, and takes over those of
// members that leave. Topic partitions that are not named have nothing to reach.
func (c *Consumer) Drain(upTo map[int]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain = map[int]int64{}
	maps.Copy(c.drain, upTo)
}

// target is the offset a topic partition is to be drained to.
func (c *Consumer) target(partition int) (offset int64, draining bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain == nil {
		return 0, false
	}
	return c.drain[partition], true
}

// Run consumes until ctx ends or the topic partitions are drained. When ctx
// ends it commits what it has read, for as long as a minute, and gives ctx's
// error. It returns when all its goroutines have.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Group == "" {
		all := make([]int, c.Topic.Partitions)
		for p := range all {
			all[p] = p
		}
		for {
			err := c.work(ctx, ctx, all, func(context.Context, map[int]int64) error { return nil })
			if err != nil || c.Fixed {
				return err
			}
			if again, err := c.swapped(ctx); err != nil || !again {
				return err
			}
		}
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	var done error
	err := c.Client.Group(run, broker.GroupConfig{ID: c.Group, Topic: c.Topic.Name, SessionTimeout: c.session}, func(generation context.Context, g broker.Generation) error {
		var err error
		for again := true; again && err == nil; {
			if err = c.work(ctx, generation, c.own(g.Partitions), g.Commit); err == nil {
				err = c.drained(generation)
			}
			again = false
			switch {
			case err != nil:
			case c.more != nil:
				again, err = c.more(generation)
			case !c.Fixed:
				again, err = c.swapped(generation)
			}
		}
		if err == nil {
			stop()
			return nil
		}
		if generation.Err() != nil && ctx.Err() == nil {
			return nil // the group is shared out anew
		}
		if ended := generation.Err(); ended != nil && errors.Is(err, ended) {
			err = ctx.Err() // both ended: what was read is committed, as it is when ctx alone does
		}
		done = err
		stop()
		return err
	})
	switch {
	case done != nil:
		return done
	case ctx.Err() != nil:
		return ctx.Err()
	case run.Err() != nil:
		return nil
	}
	return err
}

// own are those of a member's topic partitions that are to be taken: one that was added
// to the topic meanwhile is not known to a generation that is built.
func (c *Consumer) own(assigned []int) []int {
	if !c.Fixed {
		return assigned
	}
	return slices.DeleteFunc(slices.Clone(assigned), func(p int) bool { return p >= c.Topic.Partitions })
}

// drainPoll is how often a member that has drained its topic partitions looks at
// those of the others.
const drainPoll = 500 * time.Millisecond

// drained waits until the lake has all that is to be drained.
func (c *Consumer) drained(ctx context.Context) error {
	for p := 0; p < c.Topic.Partitions; {
		target, _ := c.target(p)
		state, err := c.openOther(ctx, p)
		var lost *sink.LostError
		switch {
		case err == nil && state.To >= target || target == 0:
			p++
			continue
		case err != nil && !errors.As(err, &lost): // lost files are for the owner to mend
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
		}
	}
	return nil
}

// work runs one worker for each topic partition. process is the context of the
// whole run, assigned that of the assignment.
func (c *Consumer) work(process, assigned context.Context, partitions []int, hint func(context.Context, map[int]int64) error) error {
	group, ctx := errgroup.WithContext(assigned)
	errs := make([]error, len(partitions))
	for i, p := range partitions {
		group.Go(func() error {
			if err := c.worker(p, process, hint).run(ctx); err != nil {
				errs[i] = fmt.Errorf("consume %s/%d: %w", c.Topic.Name, p, err)
			}
			return errs[i]
		})
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		// That one was told to stop is no news where another could not commit what it had.
		for _, other := range errs {
			if other != nil && !errors.Is(other, context.Canceled) {
				return other
			}
		}
	}
	return err
}
