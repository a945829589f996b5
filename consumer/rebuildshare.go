package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"lakefeed/broker"
	"lakefeed/sink"
)

// Several processes may write a generation: one leads the rebuild, the others join it.
// A consumer group of the leader's life shares the topic partitions out, so that those of
// a process that died are taken by others. The leader says in its sink.Hold how far they
// are to be taken, and takes them for written when the generation's chains are there: who
// has written them does not matter.

// shareSession is after how long a process that is silent loses its topic partitions.
const shareSession = 15 * time.Second

// ErrAlone says that a rebuild's work cannot be shared.
var ErrAlone = errors.New("its work cannot be shared")

// alone is why the work of this rebuild cannot be shared; empty if it can.
func (r *Rebuild) alone() string {
	if log, ok := r.log.(*rawLog); ok && log.client == nil || len(r.past) > 0 {
		return "it reads a topic that is gone from the raw zone, in order and by one process"
	}
	return ""
}

func (r *Rebuild) say(ctx context.Context, w sink.Work) {
	if r.Hold != nil {
		r.Hold.Say(ctx, w)
	}
}

// sharing is what takes a share of a generation's topic partitions to offsets of the
// topic. leader is the process that leads the rebuild.
func (r *Rebuild) sharing(target *sink.Table, leader string, to map[int]int64) (*Consumer, error) {
	c, err := r.consumer(target, target.ConfigText())
	if err != nil {
		return nil, err
	}
	c.Group = fmt.Sprintf("lakefeed.%s.rebuild.%s", target.Name(), leader)
	c.session, c.AdoptNewLog = shareSession, false
	c.Topic.Partitions = len(to)
	c.Drain(to)
	return c, nil
}

// fillShared brings a generation to the end of the topic, with all who join. Topic
// partitions that are added meanwhile are left for later. shared is false where Kafka
// does not allow the group.
func (r *Rebuild) fillShared(ctx context.Context, target *sink.Table) (shared bool, err error) {
	ends, err := r.ends(ctx)
	if err != nil {
		return false, err
	}
	if err := target.Extend(ctx, len(ends)); err != nil {
		return false, err
	}
	c, err := r.sharing(target, r.Hold.ID(), ends)
	if err != nil {
		return false, err
	}
	begin := func() {
		r.say(ctx, sink.Work{Step: sink.WorkWrite, Generation: target.Generation(), To: ends})
	}
	done := 1
	c.more = func(ctx context.Context) (again bool, err error) {
		now, err := r.ends(ctx)
		if err != nil || done == catchUps {
			return false, err
		}
		maps.DeleteFunc(now, func(p int, _ int64) bool { return p >= c.Topic.Partitions })
		if maps.Equal(now, ends) {
			return false, nil
		}
		ends = now
		done++
		c.Drain(ends)
		begin()
		return true, nil
	}
	r.step("writing generation %d", target.Generation())
	begin()
	err = c.Run(ctx)
	if errors.Is(err, broker.ErrDenied) {
		r.say(ctx, sink.Work{Step: sink.WorkPrepare, Generation: target.Generation(), Alone: "Kafka denies it the consumer group by which the work is shared out"})
		r.step("no other process can share the work: %v", err)
		return false, nil
	}
	return true, err
}

// JoinReport is what a process has done of a rebuild that another leads.
type JoinReport struct {
	Table      string `json:"table"`
	Generation int    `json:"generation"`
	Commits    int64  `json:"commits"`
	Rows       int64  `json:"rows"`
}

// errWritten ends the work of a process that has joined.
var errWritten = errors.New("the generation is written")

// Join writes a share of the generation that another process builds, until that one has
// done with writing. An error says whether that is not so: sink.ErrLeft that the other
// one has ended before, ErrAlone that it does not share its work.
func (r *Rebuild) Join(ctx context.Context, leader *sink.Leader) (*JoinReport, error) {
	defer r.close()
	report := &JoinReport{Table: r.Table.Name()}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	work := leader.Work()
	for waits := false; ; {
		report.Generation = work.Generation
		switch {
		case work.Step == sink.WorkFinish:
			r.step("nothing is left to write")
			return report, nil
		case work.Alone != "":
			return nil, fmt.Errorf("join the rebuild of table %s: %w: %s; leave it to the process that leads it", r.Table.Name(), ErrAlone, work.Alone)
		case work.Step == sink.WorkWrite:
			return report, r.joinWriting(ctx, leader, report)
		case !waits:
			r.step("waiting until the columns of the new generation are known")
			waits = true
		}
		var err error
		if work, err = leader.Look(ctx); err != nil {
			return nil, r.left(err, work)
		}
	}
}

// left says what became of a rebuild whose leader is not to be seen any more.
func (r *Rebuild) left(err error, work sink.Work) error {
	if !errors.Is(err, sink.ErrLeft) {
		return err
	}
	return fmt.Errorf("share the rebuild of table %s: %w, and generation %d is not written: what was written of it stays; lakefeed rebuild %[1]s goes on with it", r.Table.Name(), err, work.Generation)
}

// joinWriting writes a share of a generation.
func (r *Rebuild) joinWriting(ctx context.Context, leader *sink.Leader, report *JoinReport) error {
	work := leader.Work()
	target, err := r.Table.AsBuilt(ctx, work.Generation)
	if err != nil {
		return err
	}
	c, err := r.sharing(target, leader.ID(), work.To)
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
	r.step("writing a share of generation %d", target.Generation())
	writing, end := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		end(follow(writing, leader, func(to map[int]int64) {
			c.Drain(to)
			select {
			case more <- struct{}{}:
			default:
			}
		}))
	}()
	err = c.Run(writing)
	end(err)
	<-watched
	report.Commits, report.Rows = commits.Load(), rows.Load()
	if cause := context.Cause(writing); ctx.Err() == nil && cause != nil {
		err = cause
	}
	if errors.Is(err, sink.ErrLeft) { // it may have come to its end between two looks
		if at, e := r.written(ctx, target, leader.Work().To); e != nil || at {
			return e
		}
		return r.left(err, leader.Work())
	}
	if errors.Is(err, errWritten) {
		return nil
	}
	return err
}

// follow tells how far a generation is to be written each time that the leader says so
// anew. It ends with errWritten when the leader has done with it.
func follow(ctx context.Context, leader *sink.Leader, rise func(to map[int]int64)) error {
	for to := leader.Work().To; ; {
		work, err := leader.Look(ctx)
		switch {
		case err != nil:
			return err
		case work.Step != sink.WorkWrite:
			return errWritten
		case !maps.Equal(work.To, to):
			to = work.To
			rise(to)
		}
	}
}

// written says whether a generation's chains have come to offsets of the topic.
func (r *Rebuild) written(ctx context.Context, target *sink.Table, to map[int]int64) (bool, error) {
	for p, offset := range to {
		if offset == 0 {
			continue
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
