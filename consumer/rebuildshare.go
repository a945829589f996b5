package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/fault"
	"lakefeed/sink"
)

// Several processes may read the topic for a generation's columns, and write the
// generation: one leads the rebuild, the others join it. Consumer groups of the leader's
// life share the topic partitions out, so that those of a process that died are taken by
// others. The leader says in its sink.Hold how far they are to be taken. It takes them for
// read when what was seen of them is kept, and for written when the generation's chains
// are there: who has done it does not matter.

// shareSession is after how long a process that is silent loses its topic partitions.
const shareSession = 15 * time.Second

// ErrAlone says that a rebuild's work cannot be shared.
var ErrAlone = errors.New("its work cannot be shared")

// alone is why the work of this rebuild cannot be shared; empty if it can.
func (r *Rebuild) alone() string {
	if log, ok := r.log.(*rawLog); ok && log.client == nil || len(r.past) > 0 {
		return "it reads a topic that is gone from the raw zone, in order and by one process"
	}
	return r.groupless
}

func (r *Rebuild) say(ctx context.Context, w sink.Work) {
	if r.Hold != nil {
		w.Log, w.RecordLoss = r.Topic.LogID, r.Consumer().OnDataLoss == Record
		r.Hold.Say(ctx, w)
	}
}

// share makes a consumer take a share of the topic partitions in one step of a rebuild,
// up to offsets. leader is the process that leads it.
func (c *Consumer) share(step sink.WorkStep, leader string, to map[int]int64) {
	c.Group = fmt.Sprintf("lakefeed.%s.rebuild.%s.%s", c.Table.Name(), leader, step)
	c.session, c.AdoptNewLog = shareSession, false
	c.Topic.Partitions = len(to)
	c.Drain(to)
}

// unshared goes on alone where this process could not join the group, which err says.
// It is not an error of what it did as a member.
func (r *Rebuild) unshared(ctx context.Context, generation int, err error) bool {
	var refused *broker.JoinError
	switch {
	case !errors.As(err, &refused):
		return false
	case errors.Is(err, broker.ErrDenied):
		r.groupless = "Kafka denies it the consumer group by which the work is shared out"
	default:
		r.groupless = fmt.Sprintf("it cannot join the consumer group by which the work is shared out (%v)", refused.Err)
	}
	r.say(ctx, sink.Work{Step: sink.WorkPrepare, Generation: generation, Alone: r.alone()})
	r.step("no other process can share the work, this one does it alone: %v", err)
	return true
}

// fillShared brings a generation to the end of the topic, with all who join. Topic
// partitions that are added meanwhile are left for later. shared is false where this process
// could not join the group.
func (r *Rebuild) fillShared(ctx context.Context, target *sink.Table) (shared bool, err error) {
	ends, err := r.ends(ctx)
	if err != nil {
		return false, err
	}
	if err := target.Extend(ctx, len(ends)); err != nil {
		return false, err
	}
	c, err := r.consumer(target, target.ConfigText())
	if err != nil {
		return false, err
	}
	c.share(sink.WorkWrite, r.Hold.ID(), ends)
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
	if r.unshared(ctx, target.Generation(), err) {
		return false, nil
	}
	return true, err
}

// read reads the topic for the columns of the generation that the consumer is to write,
// with all who join.
func (r *Rebuild) read(ctx context.Context, c *Consumer, ends map[int]int64) (Inferred, error) {
	if r.Hold == nil || r.alone() != "" {
		return c.Infer(ctx, ends)
	}
	c.share(sink.WorkRead, r.Hold.ID(), ends)
	r.say(ctx, sink.Work{Step: sink.WorkRead, Generation: c.Table.Generation(), To: ends})
	_, err := c.readShare(ctx, ends)
	if r.unshared(ctx, c.Table.Generation(), err) {
		return c.Infer(ctx, ends)
	}
	if err != nil {
		return Inferred{}, err
	}
	parts := make([][]sink.ColumnsRead, c.Topic.Partitions)
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(partitionsAtOnce)
	for p := range parts {
		group.Go(func() (err error) {
			parts[p], err = c.Table.ColumnsRead(reading, c.Topic.LogID, p)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Inferred{}, err
	}
	var all inference
	for _, k := range slices.Concat(parts...) {
		seen := make([]schema.Seen, len(k.Columns))
		for i, s := range k.Columns {
			seen[i] = schema.Seen{Name: s.Name, Spellings: s.Spellings, Evidence: s.Evidence}
		}
		all.take(Inferred{Seen: seen, Rows: k.Rows, Quarantined: k.Quarantined})
	}
	return all.inferred(), nil
}

// partitionsAtOnce is of how many topic partitions is read at a time what was seen of them.
const partitionsAtOnce = 4

// readShare reads a share of the topic for its columns, and returns when all of it was
// read, by whichever process. rows is how many this one has read.
func (c *Consumer) readShare(ctx context.Context, to map[int]int64) (rows int64, err error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	var count atomic.Int64
	err = c.Client.Group(ctx, broker.GroupConfig{ID: c.Group, Topic: c.Topic.Name, SessionTimeout: c.session}, func(generation context.Context, g broker.Generation) error {
		group, reading := errgroup.WithContext(generation)
		own := c.own(g.Partitions)
		for _, p := range own {
			group.Go(func() error { return c.readColumns(reading, p, to[p], &count) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for p := range to {
			for !slices.Contains(own, p) {
				from, err := c.columnsThrough(generation, p)
				if err != nil {
					return err
				}
				if from >= to[p] {
					break
				}
				select {
				case <-generation.Done():
					return generation.Err()
				case <-time.After(drainPoll):
				}
			}
		}
		return nil
	})
	return count.Load(), err
}

// columnsThrough is up to which offset a topic partition was read.
func (c *Consumer) columnsThrough(ctx context.Context, partition int) (int64, error) {
	kept, start, err := c.columnsKept(ctx, partition)
	return kept.Through(start), err
}

// columnsKept is what was read of a topic partition, and where that begins.
func (c *Consumer) columnsKept(ctx context.Context, partition int) (kept sink.ColumnsKept, start int64, err error) {
	if start, _, err = c.Source.Offsets(ctx, c.Topic.Name, partition); err != nil {
		return kept, 0, err
	}
	kept, err = c.Table.ColumnsKept(ctx, c.Topic.LogID, partition)
	return kept, start, err
}

// readColumns reads what of a topic partition was not read yet. What was seen is kept each
// time that so much text was read as makes a batch; small batches do not make it more
// often, since each time costs an object. What others keep meanwhile is not looked for:
// they have other topic partitions.
func (c *Consumer) readColumns(ctx context.Context, partition int, upTo int64, rows *atomic.Int64) error {
	before, from, err := c.columnsKept(ctx, partition)
	if err != nil {
		return err
	}
	for w := c.worker(partition, ctx, nil); ; {
		if from = before.Through(from); from >= upTo {
			return nil
		}
		var part inference
		kept := sink.ColumnsRead{Log: c.Topic.LogID, Partition: partition, From: from}
		if kept.To, err = w.infer(ctx, from, upTo, max(c.FlushBytes, DefaultFlushBytes), &part); err != nil {
			return err
		}
		if w.log != "" && w.log != kept.Log {
			return fmt.Errorf("read the columns of %s/%d: the topic was deleted and made again: its id was %s and is %s", c.Topic.Name, partition, kept.Log, w.log)
		}
		kept.Rows, kept.Quarantined = part.rows, part.quarantined
		for _, s := range part.seen {
			if c.recipe.contract.Hidden(s.Name) {
				s.Evidence = s.Evidence.Redacted()
			}
			kept.Columns = append(kept.Columns, sink.ColumnSeen{Name: s.Name, Spellings: s.Spellings, Evidence: s.Evidence})
		}
		if err := fault.At(ctx, fault.ColumnsKeep); err != nil {
			return err
		}
		if err := c.Table.KeepColumns(ctx, kept); err != nil {
			return err
		}
		rows.Add(part.rows)
		from = kept.To
	}
}
