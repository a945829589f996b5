package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// setObject is one step of what a generation knows of the topic's partitions: how
// many they are, or that a swap of generations has closed or opened the set. While it
// is closed no topic partition is added.
type setObject struct {
	V     int    `json:"v"`
	Count int    `json:"count,omitempty"`
	Close *int64 `json:"close,omitempty"` // by this swap
	Open  *int64 `json:"open,omitempty"`
}

// partitionSet is what all steps of a set make of it.
type partitionSet struct {
	count  int   // topic partitions
	closed int64 // by this swap; 0: it is open
	next   int64 // number of the next step
}

// ClosedError says that a swap of generations has closed what was to be written.
type ClosedError struct {
	Table      string
	Generation int
	Swap       int64
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("write generation %d of table %s: swap %d has closed it: its rows go to another generation now", e.Generation, e.Table, e.Swap)
}

// set reads the generation's set of topic partitions.
func (t *Table) set(ctx context.Context) (set partitionSet, err error) {
	folder := t.generationRoot() + "set/"
	for o, err := range t.store.List(ctx, folder, "") {
		if err != nil {
			return set, err
		}
		n, ok := numberOf(o.Key, folder)
		if !ok {
			continue
		}
		var step setObject
		if err := t.read(ctx, o.Key, &step); err != nil {
			return set, err
		}
		switch {
		case step.Close != nil:
			set.closed = *step.Close
		case step.Open != nil:
			set.closed = 0
		default:
			set.count = max(set.count, step.Count)
		}
		set.next = n + 1
	}
	return set, nil
}

// SetError says that the record of which topic partitions a table has is gone.
type SetError struct {
	Key    string // of the record
	Beyond string // key of a commit of a topic partition that is not known without it
}

func (e *SetError) Error() string {
	return fmt.Sprintf("read %s: the record of which topic partitions the table has is gone, and there are commits, such as %s: put it back; without a copy a run of lakefeed ingest or consume for the table makes it anew of its topic", e.Key, e.Beyond)
}

// CheckSet is for readers of a table that has no topic partitions, and so no rows. The
// error is a *SetError where it has.
func (t *Table) CheckSet(ctx context.Context) error {
	missing, beyond, err := t.beyondSet(ctx)
	if err == nil && beyond != "" {
		err = &SetError{missing, beyond}
	}
	return err
}

// beyondSet finds a record of a topic partition that is not in the generation's set, to
// which it is added before it has one: beyond is its key, "" where there is none, and
// missing that of the set's step that is not there.
func (t *Table) beyondSet(ctx context.Context) (missing, beyond string, err error) {
	folder := t.topicFolder("commits")
	for count := 0; ; {
		set, err := t.set(ctx)
		if err != nil || beyond != "" && set.count <= count {
			return t.generationRoot() + "set/" + number(set.next) + ".json", beyond, err
		}
		count, beyond = set.count, ""
		for o, err := range t.store.List(ctx, folder, folder+number(int64(count))) {
			if err != nil {
				return "", "", err
			}
			beyond = o.Key
			break
		}
		if beyond == "" {
			return "", "", nil
		}
		// It may have come with a step since the set was read.
	}
}

// step adds a step to a set as it was read. Whether this one or another's became the
// next is seen by reading it again.
func (t *Table) step(ctx context.Context, set partitionSet, step setObject) error {
	step.V = formatVersion
	b, err := json.Marshal(step)
	if err != nil {
		return err
	}
	if err := t.create(ctx, t.generationRoot()+"set/"+number(set.next)+".json", b); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

// setCount is how many topic partitions the generation knows at present; other
// processes may have added some since the table was opened.
func (t *Table) setCount(ctx context.Context) (int, error) {
	set, err := t.set(ctx)
	return max(set.count, t.partitions), err
}

// Extend makes the generation know so many topic partitions at least. A *ClosedError
// says that a swap has closed it.
func (t *Table) Extend(ctx context.Context, partitions int) error {
	if err := t.extendSet(ctx, partitions); err != nil {
		return fmt.Errorf("add topic partitions to generation %d of table %s: %w", t.generation, t.name, err)
	}
	return nil
}

// extendSet makes the generation's set of topic partitions as large as the topic. A
// *ClosedError says that a swap that is under way has closed it.
func (t *Table) extendSet(ctx context.Context, count int) error {
	for {
		set, err := t.set(ctx)
		if err != nil {
			return err
		}
		t.partitions = set.count
		if set.count >= count {
			return nil
		}
		step := setObject{Count: count}
		if set.closed > 0 {
			swap, open, err := t.reopenable(ctx, set.closed)
			if err != nil {
				return err
			}
			if !open {
				return &ClosedError{Table: t.name, Generation: t.generation, Swap: set.closed}
			}
			step = setObject{Open: &swap}
		}
		if err := t.step(ctx, set, step); err != nil {
			return err
		}
	}
}
