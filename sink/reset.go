package sink

import (
	"context"
	"fmt"
)

// logObject says which log the chains of a table take rows of: number 0 is the
// first, and each later one is a reset. Whoever would reset the chains creates it
// first, so that there is one log for each number, and one reset at a time.
type logObject struct {
	V      int    `json:"v"`
	Number int64  `json:"number"`
	Log    string `json:"log"`
}

func (t *Table) logKey(n int64) string { return t.topicFolder("logs") + number(n) + ".json" }

// newestLog is the log that the table takes rows of; of number 0 and without a log
// when it has taken none.
func (t *Table) newestLog(ctx context.Context) (logObject, error) {
	key, err := t.newest(ctx, t.topicFolder("logs"))
	if err != nil || key == "" {
		return logObject{}, err
	}
	return t.readLog(ctx, key)
}

// Logs are the ids of the logs that the table's chains have followed, the present one
// last: each time the topic was deleted and made again there is another.
func (t *Table) Logs(ctx context.Context) (ids []string, err error) {
	for o, err := range t.store.List(ctx, t.topicFolder("logs"), "") {
		if err != nil {
			return nil, fmt.Errorf("list the logs of table %s: %w", t.name, err)
		}
		log, err := t.readLog(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		ids = append(ids, log.Log)
	}
	return ids, nil
}

func (t *Table) readLog(ctx context.Context, key string) (log logObject, err error) {
	if err := t.read(ctx, key, &log); err != nil {
		return logObject{}, err
	}
	if n, _ := numberOf(key, t.topicFolder("logs")); n != log.Number || log.Log == "" {
		return logObject{}, &ChainError{Key: key, Err: fmt.Errorf("it says that it is log %d, %q", log.Number, log.Log)}
	}
	return log, nil
}

// isFirstLog makes a log the table's first unless it has one, and says whether it
// is: no chain begins with rows of another.
func (t *Table) isFirstLog(ctx context.Context, id string) (bool, error) {
	var log logObject
	err := t.ensure(ctx, t.logKey(0), &log, logObject{V: formatVersion, Log: id})
	return log.Log == id, err
}

// AdoptLog makes all chains of the table go on with another log: the topic was
// deleted and made again. Each begins at offset 0 of it, and knows what any of
// them has seen before, so that rows that come again are left out, in whichever
// topic partition. Nothing happens when it is the log already.
//
// It may be repeated, and be done by several processes at once; what one leaves
// undone the next one finishes. Owners of the chains lose the batches that they
// have under way, and must open their chains again. A *LostError means that a
// chain cannot be reset before its lost files are made again or given up.
func (t *Table) AdoptLog(ctx context.Context, id string) error {
	if id == "" {
		return fmt.Errorf("adopt a log for table %s: it has no id", t.name)
	}
	t.adopting.Lock()
	defer t.adopting.Unlock()
	if err := t.adopt(ctx, id); err != nil {
		return fmt.Errorf("adopt log %s of topic %s for table %s: %w", id, t.topic, t.name, err)
	}
	return nil
}

func (t *Table) adopt(ctx context.Context, id string) error {
	for {
		log, err := t.newestLog(ctx)
		if err != nil {
			return err
		}
		switch {
		case log.Log == "":
			if log, err = t.assumeFirstLog(ctx, id); err != nil {
				return err
			}
		case log.Number > 0:
			if _, err := t.union(ctx, log.Number); err != nil {
				return err
			}
		}
		if log.Log == id {
			return nil
		}
		next := logObject{V: formatVersion, Number: log.Number + 1, Log: id}
		if err := t.ensure(ctx, t.logKey(next.Number), &logObject{}, next); err != nil {
			return err
		}
	}
}

// assumeFirstLog gives a table without logs its first: that of its chains where
// they have one.
func (t *Table) assumeFirstLog(ctx context.Context, id string) (log logObject, err error) {
	count, err := t.setCount(ctx)
	if err != nil {
		return log, err
	}
	for p := range count {
		end, err := t.settle(ctx, p)
		if err != nil {
			return log, err
		}
		if end.To >= 0 {
			id = end.Log
			break
		}
	}
	return log, t.ensure(ctx, t.logKey(0), &log, logObject{V: formatVersion, Log: id})
}

// barrier brings all chains of the set to a reset. Only then may one of them take
// rows of the new log: until a chain has its reset, a batch of the old log can
// still be decided there. The set is read after the log was created, and a chain
// is added to the set before its owner reads the log: one of them sees the other.
func (t *Table) barrier(ctx context.Context, log logObject) (count int, err error) {
	if count, err = t.setCount(ctx); err != nil {
		return 0, err
	}
	for p := range count {
		if err := t.reset(ctx, p, log); err != nil {
			return 0, err
		}
	}
	return count, nil
}

// reset appends a reset to a chain that lacks it, whoever owns it.
func (t *Table) reset(ctx context.Context, partition int, log logObject) error {
	c := t.Chain(partition)
	for {
		end, err := t.settle(ctx, partition)
		if err != nil {
			return fmt.Errorf("reset %s: %w", c, err)
		}
		if end.Reset >= log.Number {
			return nil
		}
		c.state, c.checkpointed = end, end.Seq+1 // no checkpoint: the streams were not read
		r := c.record(KindReset)
		r.Reset, r.Log, r.To, r.FP = log.Number, log.Log, 0, nil
		// The loser's next look shows what the winner wrote.
		if _, err := c.append(ctx, r); err != nil {
			return fmt.Errorf("reset %s: %w", c, err)
		}
	}
}

// settle finds where a chain ends, without its streams, and publishes what its
// last record lists.
func (t *Table) settle(ctx context.Context, partition int) (State, error) {
	for {
		state, last, err := t.end(ctx, partition)
		if err != nil || last == nil {
			return state, err
		}
		if grown, err := t.Chain(partition).publishLast(ctx, last); !grown {
			return state, err
		}
	}
}

// end reads where a chain ends, and its last record, nil when a checkpoint says
// all of it.
func (t *Table) end(ctx context.Context, partition int) (state State, last *Record, err error) {
	state = State{Seq: -1, To: -1}
	_, err = t.newestCheckpoint(ctx, partition, toEnd, func(k *checkpointObject) error { state = k.state(); return nil })
	if err != nil {
		return state, nil, err
	}
	for r, err := range t.records(ctx, partition, state.link()) {
		if err != nil {
			return state, nil, err
		}
		if err := t.follow(partition, r); err != nil {
			return state, nil, err
		}
		state, last = state.behind(r), r
	}
	return state, last, nil
}
