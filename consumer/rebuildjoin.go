package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"lakefeed/sink"
)

// JoinReport is what a process has done of a rebuild that another leads.
type JoinReport struct {
	Table      string `json:"table"`
	Generation int    `json:"generation"`
	RowsRead   int64  `json:"rows_read"` // for their columns
	Commits    int64  `json:"commits"`
	Rows       int64  `json:"rows"` // written
}

// ErrOtherTopic says that a rebuild reads another topic than the process that is to share
// its work: one of other brokers, or one that was made again since.
var ErrOtherTopic = errors.New("it reads another topic")

// errStepOver ends what a process that has joined does in a step of the rebuild.
var errStepOver = errors.New("the process that leads the rebuild has gone on")

// Join shares the work on the generation that another process builds, until that one has
// done with writing. An error says whether that is not so: sink.ErrLeft that the other
// one has ended before, ErrAlone that it does not share its work, ErrOtherTopic that it
// reads another topic.
func (r *Rebuild) Join(ctx context.Context, leader *sink.Leader) (*JoinReport, error) {
	defer r.close()
	report := &JoinReport{Table: r.Table.Name()}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	before, err := r.Table.Swaps(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := r.ends(ctx)
	if err != nil {
		return nil, err
	}
	err = r.join(ctx, leader, report)
	if errors.Is(err, sink.ErrLeft) { // it may have come to its end between two looks
		if to := leader.Work().To; len(to) > 0 {
			ends = to
		}
		built, e := r.built(ctx, before, report.Generation, ends)
		if err = errors.Join(err, e); e == nil && built > 0 {
			r.step("generation %d is written", built)
			report.Generation = built
			return report, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

// built is the generation that a rebuild has written whose process is gone; 0 if it has not
// come to that. What it has swapped in is written, and so is what has all of the topic up to
// offsets: those that the process has said, or the topic's end when it was not there yet.
// generation is which one it builds, 0 where that is not known. before is how the table was.
func (r *Rebuild) built(ctx context.Context, before sink.SwapStatus, generation int, ends map[int]int64) (int, error) {
	after, err := r.Table.Swaps(ctx)
	switch {
	case err != nil:
		return 0, err
	case generation == 0 && after.Live.Swap > before.Live.Swap:
		return after.Live.Generation, nil
	case generation > 0 && (after.Live.Generation == generation || after.Pending != nil && after.Pending.To == generation):
		return generation, nil
	}
	var target *sink.Table
	if generation > 0 {
		target, err = r.Table.At(ctx, generation)
	} else {
		target, err = r.Table.Unfinished(ctx)
	}
	if err != nil || target == nil {
		return 0, err
	}
	if all, err := written(ctx, target, ends); err != nil || !all {
		return 0, err
	}
	return target.Generation(), nil
}

func (r *Rebuild) join(ctx context.Context, leader *sink.Leader, report *JoinReport) error {
	work, read, waits := leader.Work(), false, false
	for {
		report.Generation = work.Generation
		switch {
		case work.Step == sink.WorkFinish:
			r.step("nothing is left to write")
			return nil
		case work.Alone != "":
			return fmt.Errorf("join the rebuild of table %s: %w: %s; leave it to the process that leads it", r.Table.Name(), ErrAlone, work.Alone)
		case work.Log != "" && work.Log != r.Topic.LogID:
			return fmt.Errorf("join the rebuild of table %s: %w: topic %s has the id %s here, and %s there: give the --brokers that the process has which leads the rebuild", r.Table.Name(), ErrOtherTopic, r.Topic.Name, r.Topic.LogID, work.Log)
		case work.Step == sink.WorkWrite:
			err := r.joinWriting(ctx, leader, report)
			if !errors.Is(err, errStepOver) {
				return err
			}
			if work = leader.Work(); work.Step == sink.WorkFinish {
				return nil
			}
			continue // it writes alone now, or does what is not known here
		case work.Step == sink.WorkRead && !read:
			if err := r.joinReading(ctx, leader, report); err != nil {
				return err
			}
			read = true
		case !waits:
			r.step("waiting until the columns of the new generation are known")
			waits = true
		}
		var err error
		if work, err = leader.Look(ctx); err != nil {
			return r.left(err, work)
		}
	}
}

// left says what became of a rebuild whose leader is not to be seen any more.
func (r *Rebuild) left(err error, work sink.Work) error {
	if !errors.Is(err, sink.ErrLeft) {
		return err
	}
	if work.Generation == 0 {
		return fmt.Errorf("share the rebuild of table %s: %w, before there was anything to share: lakefeed rebuild %[1]s goes on", r.Table.Name(), err)
	}
	return fmt.Errorf("share the rebuild of table %s: %w, and generation %d is not written: what was written of it stays; lakefeed rebuild %[1]s goes on with it", r.Table.Name(), err, work.Generation)
}

// joinStep works with a consumer while the leader is at the step at which it is now. rise
// is told the offsets when the leader has raised them.
func joinStep(ctx context.Context, leader *sink.Leader, work func(ctx context.Context) error, rise func(to map[int]int64)) error {
	working, end := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		end(follow(working, leader, rise))
	}()
	err := work(working)
	end(err)
	<-watched
	if cause := context.Cause(working); err != nil && ctx.Err() == nil && cause != nil {
		err = cause
	}
	return err
}

// follow tells how far a step goes each time that the leader says so anew. It ends with
// errStepOver when the leader has done with it.
func follow(ctx context.Context, leader *sink.Leader, rise func(to map[int]int64)) error {
	step := leader.Work().Step
	for to := leader.Work().To; ; {
		work, err := leader.Look(ctx)
		switch {
		case err != nil:
			return err
		case work.Step != step:
			return errStepOver
		case !maps.Equal(work.To, to):
			to = work.To
			rise(to)
		}
	}
}

// sharer is what does a share of a step. What becomes of rows that the topic has lost is
// the leader's to say, as it is what the generation says then.
func (r *Rebuild) sharer(ctx context.Context, leader *sink.Leader) (*Consumer, error) {
	work := leader.Work()
	target, err := r.Table.AsBuilt(ctx, work.Generation)
	if err != nil {
		return nil, err
	}
	c, err := r.consumer(target, target.ConfigText())
	if err != nil {
		return nil, err
	}
	if c.OnDataLoss = Halt; work.RecordLoss {
		c.OnDataLoss = Record
	}
	c.share(work.Step, leader.ID(), work.To)
	return c, nil
}

// joinReading reads a share of the topic for its columns.
func (r *Rebuild) joinReading(ctx context.Context, leader *sink.Leader, report *JoinReport) error {
	work := leader.Work()
	c, err := r.sharer(ctx, leader)
	if err != nil {
		return err
	}
	r.step("reading a share of topic %s for its columns", r.Topic.Name)
	err = joinStep(ctx, leader, func(ctx context.Context) error {
		var err error
		report.RowsRead, err = c.readShare(ctx, work.To)
		return err
	}, func(map[int]int64) {})
	if errors.Is(err, errStepOver) {
		return nil
	}
	return r.left(err, work)
}

// joinWriting writes a share of a generation. errStepOver when the leader has gone on.
func (r *Rebuild) joinWriting(ctx context.Context, leader *sink.Leader, report *JoinReport) error {
	c, err := r.sharer(ctx, leader)
	if err != nil {
		return err
	}
	var commits, rows atomic.Int64
	committed := c.Events.Committed
	c.Events.Committed = func(done Commit) {
		commits.Add(1)
		rows.Add(done.Rows)
		if committed != nil {
			committed(done)
		}
	}
	more := make(chan struct{}, 1)
	c.more = func(ctx context.Context) (bool, error) {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-more:
			return true, nil
		}
	}
	r.step("writing a share of generation %d", c.Table.Generation())
	err = joinStep(ctx, leader, c.Run, func(to map[int]int64) {
		c.Drain(to)
		select {
		case more <- struct{}{}:
		default:
		}
	})
	report.Commits, report.Rows = report.Commits+commits.Load(), report.Rows+rows.Load()
	return r.left(err, leader.Work())
}

// written says whether a generation's chains have come to offsets of the topic.
func written(ctx context.Context, target *sink.Table, to map[int]int64) (bool, error) {
	for p, offset := range to {
		if offset == 0 {
			continue
		}
		if p >= target.Partitions() {
			return false, nil
		}
		state, err := target.Chain(p).Open(ctx)
		if err != nil {
			return false, err
		}
		if state.To < offset {
			return false, nil
		}
	}
	return true, nil
}
