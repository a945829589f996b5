package consumer

import (
	"cmp"
	"context"
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
			w := c.worker(p, reading, nil)
			if err := w.infer(reading, upTo[p], &parts[p]); err != nil {
				return fmt.Errorf("read the columns of %s/%d: %w", c.Topic.Name, p, err)
			}
			return nil
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

// infer reads a topic partition up to an offset. Its rows go into the batch as they
// do before a table has columns, and are dropped when their evidence is taken.
func (w *worker) infer(ctx context.Context, upTo int64, into *inference) error {
	present, err := w.view(ctx, sink.State{})
	if err != nil {
		return err
	}
	if present.Start >= upTo {
		return nil
	}
	take := func() {
		into.rows += int64(w.batch.rows)
		into.quarantined += int64(len(w.batch.quarantine))
		into.join(w.batch.seen(nil))
		w.emptyBatch()
	}
	w.emptyBatch()
	offsets := &sink.Record{Log: present.Log, From: present.Start, To: upTo}
	err = w.reread(ctx, w.table.Blank(w.partition, present.Start), offsets, func(m *broker.Message) error {
		if m.FirstOfBatch && w.batch.bytes >= inferBytes {
			take()
		}
		return w.message(ctx, m)
	})
	if err != nil {
		return err
	}
	take()
	after, err := w.view(ctx, sink.State{})
	if err == nil && after.Log != present.Log {
		err = fmt.Errorf("the topic was deleted and made again while it was read: its id was %s and is %s", present.Log, after.Log)
	}
	return err
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
