package consumer

import (
	"context"
	"errors"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/fault"
	"lakefeed/schema/wire"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// drainGrace is how long a worker that is told to stop may take to commit what
// it has read.
const drainGrace = time.Minute

// fetchBytes is the most that one fetch asks for. One batch is returned whole
// even when it is larger.
const fetchBytes = 4 << 20

// worker consumes one topic partition: fetch, type, commit, in a straight line.
type worker struct {
	c         *Consumer
	partition int
	process   context.Context // of the whole run; when it ends what was read is committed
	hint      func(context.Context, map[int]int64) error

	table    *sink.Table     // as the generation that is written
	swaps    sink.SwapStatus // as of when it was found
	looked   time.Time       // for others, the last time
	waits    int64           // the swap for whose end it waits, which it has said
	chain    *sink.Chain
	writer   *sink.Writer
	draft    *sink.Draft
	batch    batch
	log      string // log id of the topic
	position int64  // next offset to read
	since    time.Time
	reserved int     // bytes taken from the budget
	made     float64 // bytes of columns that the steps make of a byte of text, by the last batch

	recipe  *recipe
	recipes map[string]*recipe // of records, by their configuration
	kept    struct {           // the configuration that was stored last
		table  *sink.Table
		recipe *recipe
		hash   string
	}

	order    raw.Order // of the batch's messages, from ordered on
	ordered  int64
	hashing  []byte
	fetch    broker.Fetch
	splitter wire.Splitter
	origin   origin
	last     broker.Message // the last message before position; aliases the fetch
	lastSet  bool
	print    *sink.Fingerprint // of the last message of earlier fetches
	at       func() schema.Witness
	halt     struct {
		offset int64
		err    error // of the contract, found when the batch was first taken
	}
	again   bool // rows are taken out of the quarantine
	outside bool // the position was outside of the log, and the chain was opened again
}

// errAgain ends the work on a batch that is void: another owner has decided it,
// or the log is not what it was. The chain is opened again.
var errAgain = errors.New("the batch is void")

func (c *Consumer) worker(partition int, process context.Context, hint func(context.Context, map[int]int64) error) *worker {
	w := &worker{c: c, partition: partition, process: process, hint: hint, recipe: c.recipe.alike()}
	w.work(c.Table)
	w.at = func() schema.Witness { return schema.Witness{Source: w.origin.source, Line: w.origin.line} }
	if len(c.recipe.steps) > 0 {
		w.made = 1 // before the first batch has shown it
	}
	w.batch.showMeta = c.Meta
	if c.Meta || c.Table.Shape().UsesIngestedAt() {
		w.batch.meta = &metaColumns{}
	}
	return w
}

// work turns to a generation of the table.
func (w *worker) work(t *sink.Table) {
	if w.table == t {
		return
	}
	w.table = t
	w.chain = t.Chain(w.partition)
	w.writer = &sink.Writer{Table: t, Chain: w.chain}
}

func (w *worker) run(ctx context.Context) error {
	w.c.Budget.join()
	defer w.c.Budget.leave()
	defer w.release()
	for {
		err := w.own(ctx)
		if errors.Is(err, errAgain) {
			continue
		}
		return err
	}
}

func (w *worker) release() {
	w.c.Budget.give(w.reserved)
	w.reserved = 0
}

// own reads the chain and works from its end until the topic partition is
// drained, ctx ends, or a batch is lost.
func (w *worker) own(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	steady, release := outlast(ctx)
	defer release()
	for {
		target, draining := w.c.target(w.partition)
		if draining && w.position >= target {
			return w.stop(steady)
		}
		if ctx.Err() != nil {
			if w.process.Err() == nil {
				return ctx.Err() // the topic partition is another's now: what was read is dropped
			}
			if err := w.stop(steady); err != nil {
				return err
			}
			return ctx.Err()
		}
		turned, err := w.turned(steady)
		if err != nil {
			return err
		}
		if turned {
			if w.position > w.draft.From() {
				if err := w.flush(steady); err != nil {
					return err
				}
			}
			return errAgain
		}
		if w.due() {
			if err := w.flush(steady); err != nil {
				return err
			}
			continue
		}
		if err := w.read(ctx, steady, draining); err != nil {
			return err
		}
	}
}

// outlast is a context for what must not stop half-way when ctx ends: a message
// that is taken into the batch, and a commit. It ends drainGrace after ctx.
func outlast(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(drainGrace):
			cancel()
		case <-out.Done():
		}
	})
	return out, func() {
		stop()
		cancel()
	}
}

// stop commits what was read and leaves a checkpoint.
func (w *worker) stop(ctx context.Context) error {
	if w.position > w.draft.From() {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return w.chain.Checkpoint(ctx)
}

// open finds where the lake's chain ends, and checks that the topic is the one
// it was written from. What the consumer may mend of both is mended.
func (w *worker) open(ctx context.Context) error {
	w.release()
	for {
		state, err := w.openChain(ctx)
		if err != nil {
			return err
		}
		present, err := w.view(ctx, state)
		if err != nil {
			return err
		}
		verdict, err := state.CheckLog(present)
		if again, err := w.elsewhere(ctx, state, present); err != nil {
			return err
		} else if again {
			continue
		}
		var unfit *sink.LogError
		if errors.As(err, &unfit) {
			if err := w.follow(ctx, unfit, present); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if verdict == sink.LogUnverified && w.c.Events.Unverified != nil {
			w.c.Events.Unverified(w.partition, state.To-1)
		}
		w.log, w.print, w.lastSet, w.origin = present.Log, state.FP, false, origin{}
		if err := w.begin(ctx); err != nil {
			return err
		}
		if verdict == sink.LogFromStart {
			w.draft.Skip(w.position, present.Start, sink.SkipRetention)
			w.position, w.ordered = present.Start, present.Start
		}
		return nil
	}
}

// begin starts an empty batch at the chain's end.
func (w *worker) begin(ctx context.Context) error {
	latest, err := w.table.Schemas().Latest(ctx)
	if err != nil {
		return err
	}
	w.draft = w.chain.Begin()
	w.position = w.draft.From()
	if err := w.recipe.contract.Check(latest.Feed()); err != nil {
		return err
	}
	if !w.c.Budget.fits(w.c.FlushBytes) {
		w.batch.shrink()
	}
	w.batch.reset(latest, w.recipe)
	w.origin.layout = nil
	w.since = time.Time{}
	w.order.Reset()
	w.ordered = w.position
	return nil
}

// due says that the batch has reached its size or age.
func (w *worker) due() bool {
	if w.position == w.draft.From() {
		return false
	}
	size, every := w.limits()
	return w.batch.bytes >= size || w.c.Now().Sub(w.since) >= every
}

// limits are the batch's flush size and time. The first batch of a table waits
// for the defaults at least: it decides the columns' types.
func (w *worker) limits() (size int, every time.Duration) {
	size, every = w.c.FlushBytes, w.c.FlushEvery
	if w.batch.schema == nil {
		size, every = max(size, DefaultFlushBytes), max(every, DefaultFlushEvery)
	}
	return size, every
}

// flush decides the columns' types, commits the batch, and starts the next.
func (w *worker) flush(ctx context.Context) error {
	began := w.c.Now()
	if w.lastSet {
		w.print, w.lastSet = fingerprint(&w.last), false
	}
	if err := fault.At(ctx, fault.BatchTaken); err != nil {
		return err
	}
	if err := w.checkTopic(ctx); err != nil {
		return err
	}
	if err := w.refresh(); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	records, err := w.records(ctx)
	if err != nil {
		return err
	}
	if records.Config, err = w.keepConfig(ctx); err != nil {
		return err
	}
	if err := w.keepOrder(ctx); err != nil {
		return err
	}
	records.Log, records.To, records.FP = w.log, w.position, w.print
	done, err := w.writer.Commit(ctx, w.draft, records)
	var lost *sink.LostError
	if errors.As(err, &lost) {
		return errAgain // it is repaired when the chain is opened
	}
	if err != nil {
		return err
	}
	if done.Outcome == sink.Lost {
		if w.c.Events.Lost != nil {
			w.c.Events.Lost(w.partition, w.draft.Seq())
		}
		return errAgain
	}
	w.tell(w.batch.deviations)
	w.c.Events.committed(Commit{
		Partition: w.partition, Seq: w.draft.Seq(), From: w.draft.From(), To: w.position,
		Rows: int64(records.Kept()), Filtered: w.draft.Filtered(), Quarantined: int64(len(w.batch.quarantine)), Rescued: records.Rescues, Duplicates: w.draft.Duplicates(),
		Files: done.Files, Bytes: done.Bytes, Took: w.c.Now().Sub(began),
		Causes: causes(w.batch.quarantine), Deviations: w.batch.deviations,
	})
	w.release()
	if err := w.hint(ctx, map[int]int64{w.partition: w.position}); err != nil {
		w.c.Log.Debug("group offset not committed", "topic", w.c.Topic.Name, "partition", w.partition, "offset", w.position, "err", err)
	}
	return w.begin(ctx)
}

// settle makes sure that the table's schema knows every column of the batch, and
// types the columns that had none. Several writers may try for one version: who
// loses reads the winner's and asks again what is missing.
func (w *worker) settle(ctx context.Context) error {
	log := w.table.Schemas()
	current := w.batch.table
	for {
		next, changed, err := w.recipe.evolve(current, w.batch.seen(current.Feed()))
		if err != nil {
			return err
		}
		if !changed {
			break
		}
		err = log.Append(ctx, next)
		if err == nil {
			for _, c := range next.Changes {
				w.c.Log.Info("schema changed", "table", w.table.Name(), "version", next.Version, "change", c.Kind, "column", c.Column, "from", c.From, "to", c.To, "source", c.Witness.Source, "line", c.Witness.Line)
			}
			w.c.Events.evolved(next.Version, next.Changes)
			current = next
			break
		}
		if !errors.Is(err, sink.ErrExists) {
			return err
		}
		if current, err = log.Latest(ctx); err != nil {
			return err
		}
	}
	if current != nil && !w.batch.decide(current) {
		return errAgain // typed from the start it comes out right
	}
	return nil
}

// tell tells what of a committed batch the table did not take.
func (w *worker) tell(deviations []schema.Deviation) {
	for _, d := range deviations {
		w.c.Log.Info("schema contract", "table", w.table.Name(), "change", string(d.Kind), "column", d.Column, "type", d.Type, "policy", d.Policy.String(), "count", d.Count, "source", d.First.Source, "line", d.First.Line)
	}
	if len(deviations) > 0 && w.c.Events.Deviated != nil {
		w.c.Events.Deviated(w.partition, deviations)
	}
}
