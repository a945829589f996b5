package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/sink"
)

// inferBytes is how much text is held, in each topic partition, while a topic is
// read for its columns.
const inferBytes = 8 << 20

// Inferred is what the rows of a topic show.
type Inferred struct {
	Seen        []schema.Seen // columns
	Rows        int64
	Quarantined int64
}

// Infer reads the topic up to an offset of each topic partition, and shows what its
// rows, each once, have in their columns. Nothing is written. Columns come in the
// order of the topic partitions, and in each in that of its rows.
func (c *Consumer) Infer(ctx context.Context, upTo map[int]int64) (Inferred, error) {
	if err := c.Validate(); err != nil {
		return Inferred{}, err
	}
	parts := make([]inference, c.Topic.Partitions)
	group, reading := errgroup.WithContext(ctx)
	for p := range parts {
		group.Go(func() error {
			_, err := c.worker(p, reading, nil).infer(reading, 0, upTo[p], 0, &parts[p])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Inferred{}, err
	}
	var all inference
	for i := range parts {
		all.take(parts[i].inferred())
	}
	return all.inferred(), nil
}

// inference is what was seen so far.
type inference struct {
	seen              []schema.Seen
	rows, quarantined int64
}

func (i *inference) take(o Inferred) {
	i.rows += o.Rows
	i.quarantined += o.Quarantined
	i.join(o.Seen)
}

func (i *inference) inferred() Inferred {
	return Inferred{Seen: i.seen, Rows: i.rows, Quarantined: i.quarantined}
}

func (i *inference) join(seen []schema.Seen) {
	for _, s := range seen {
		at := slices.IndexFunc(i.seen, func(o schema.Seen) bool { return o.Name == s.Name })
		if at < 0 {
			i.seen = append(i.seen, s)
			continue
		}
		known := &i.seen[at]
		known.Evidence.Join(s.Evidence)
		for _, spelling := range s.Spellings {
			if !slices.Contains(known.Spellings, spelling) {
				known.Spellings = append(known.Spellings, spelling)
			}
		}
	}
}

// infer reads a topic partition from an offset, or its start if that is later, up to
// another one, or until there were so many bytes of text, which 0 does not bound. It
// gives the offset that it has come to.
func (w *worker) infer(ctx context.Context, from, upTo int64, bytes int, into *inference) (to int64, err error) {
	if to, err = w.inferRange(ctx, from, upTo, bytes, into); err != nil {
		return to, fmt.Errorf("read the columns of %s/%d: %w", w.c.Topic.Name, w.partition, err)
	}
	return to, nil
}

// errEnough ends a reading that has come to its bound.
var errEnough = errors.New("enough was read")

// inferRange puts the rows into the batch as they are put there before a table has
// columns, and drops them when their evidence is taken.
func (w *worker) inferRange(ctx context.Context, from, upTo int64, bytes int, into *inference) (to int64, err error) {
	present, err := w.view(ctx, sink.State{})
	if err != nil {
		return from, err
	}
	if from = max(from, present.Start); from >= upTo {
		return upTo, nil
	}
	taken := 0
	take := func() {
		taken += w.batch.bytes
		into.rows += int64(w.batch.rows)
		into.quarantined += int64(len(w.batch.quarantine))
		into.join(w.batch.seen(nil))
		w.emptyBatch()
	}
	w.emptyBatch()
	offsets := &sink.Record{Log: present.Log, From: from, To: upTo}
	err = w.reread(ctx, w.table.Blank(w.partition, from), offsets, func(m *broker.Message) error {
		if m.FirstOfBatch && bytes > 0 && taken+w.batch.bytes >= bytes {
			return errEnough
		}
		if m.FirstOfBatch && w.batch.bytes >= inferBytes {
			take()
		}
		return w.message(ctx, m)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return from, err
	}
	take()
	after, err := w.view(ctx, sink.State{})
	if err == nil && after.Log != present.Log {
		err = fmt.Errorf("the topic was deleted and made again while it was read: its id was %s and is %s", present.Log, after.Log)
	}
	return w.position, err
}

// emptyBatch empties the batch for rows of a table without columns.
func (w *worker) emptyBatch() {
	w.batch.reset(nil, w.recipe)
	w.origin.layout = nil
}

// columns is the first version of a schema for what was seen, and for what the
// consumer's transforms make of it; nil when there is nothing. Columns that a table
// has come in its order.
func (i *Inferred) columns(of *schema.Schema, c *Consumer) (*schema.Schema, error) {
	seen := slices.Clone(i.Seen)
	if of = of.Feed(); of != nil {
		place := func(s schema.Seen) int {
			if at := of.Index(s.Name); at >= 0 {
				return at
			}
			return len(of.Fields)
		}
		slices.SortStableFunc(seen, func(a, b schema.Seen) int { return cmp.Compare(place(a), place(b)) })
	}
	first, changed, err := c.recipe.alike().evolve(nil, seen)
	if err != nil || !changed {
		return nil, err
	}
	return first, nil
}
