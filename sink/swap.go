package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"lakefeed/schema/fault"
)

// A swap makes another generation of the table the live one, while rows go on
// arriving. It is an intent, swaps/<m>.json, then steps that anyone who meets it
// takes, each repeatable, and in the end an outcome, generations/<m>.json:
//
//  1. the target's set of topic partitions and its chains are opened, where an
//     earlier swap has closed them;
//  2. the live generation's set is closed, which fixes how many chains it has, and
//     then each of these chains. Nothing is taken there any more, and all that was
//     is published;
//  3. the target's chains are brought at least to where the closed ones end;
//  4. the outcome is created: readers turn to the target.
//
// Until the outcome readers see the live generation as it was closed, from then on
// all of that and more: nobody misses a row that he has seen. But for a swap that is
// now: it does not wait for the third step, and owners take it after the outcome.

// swapObject is the intent of a swap.
type swapObject struct {
	V    int       `json:"v"`
	From int       `json:"from"` // generations
	To   int       `json:"to"`
	Now  bool      `json:"now,omitempty"` // its outcome does not wait until the target has caught up
	At   time.Time `json:"at"`
}

// Swap is a swap of generations that has no outcome yet.
type Swap struct {
	Number   int64
	From, To int // generations
	// Now says that readers turn to the target before it has caught up.
	Now bool
	At  time.Time
}

// SwapStatus is how far swaps of a table are.
type SwapStatus struct {
	Live    Live
	Pending *Swap // nil when none is under way
	// Behind are the chains of the target that are not yet where the closed ones end.
	// It is empty as well when a chain could not be closed yet.
	Behind []BehindChain
}

// BehindChain is a chain that a swap waits for.
type BehindChain struct {
	Partition int
	To        int64 // offset that it has come to, 0 for none
	Want      int64 // offset that it must come to
	// Log and WantLog are the topics that the offsets are of. If they differ, the swap
	// can only be cancelled.
	Log, WantLog string
}

func (t *Table) swapKey(m int64) string { return t.root() + "swaps/" + number(m) + ".json" }

// Swaps says which generation is live and whether a swap is under way.
func (t *Table) Swaps(ctx context.Context) (SwapStatus, error) {
	s, err := t.swaps(ctx)
	if err != nil {
		return s, fmt.Errorf("read the generations of table %s: %w", t.name, err)
	}
	return s, nil
}

func (t *Table) swaps(ctx context.Context) (s SwapStatus, err error) {
	m, live, err := t.newestSwap(ctx)
	if err != nil {
		return s, err
	}
	if m < 0 {
		m, live = 0, 1
	}
	s.Live = Live{Swap: m, Generation: live}
	var intent swapObject
	err = t.read(ctx, t.swapKey(m+1), &intent)
	if errors.Is(err, ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	// Its outcome may have come since.
	done, err := t.outcome(ctx, m+1)
	if err == nil {
		s.Live = done
		return s, nil
	}
	if !errors.Is(err, ErrNotExist) {
		return s, err
	}
	if intent.From != live || intent.To < 1 || intent.To == live {
		return s, fmt.Errorf("read %s: it is a swap from generation %d to %d, and %d is live", t.swapKey(m+1), intent.From, intent.To, live)
	}
	s.Pending = &Swap{Number: m + 1, From: intent.From, To: intent.To, Now: intent.Now, At: intent.At}
	return s, nil
}

// BeginSwap declares that a generation is to become the live one. If a swap is under
// way already, to whichever generation, nothing is done: that one comes first. pending
// is the one that is under way then, nil when the generation is live.
func (t *Table) BeginSwap(ctx context.Context, to int) (pending *Swap, err error) {
	return t.beginSwap(ctx, to, false)
}

// BeginSwapNow declares that a generation is to become the live one even though it has
// not caught up: readers lose sight of what Missing gives then, until its owners have
// taken it.
func (t *Table) BeginSwapNow(ctx context.Context, to int) (pending *Swap, err error) {
	return t.beginSwap(ctx, to, true)
}

func (t *Table) beginSwap(ctx context.Context, to int, now bool) (pending *Swap, err error) {
	s, err := t.Swaps(ctx)
	if err != nil || s.Pending != nil || s.Live.Generation == to {
		return s.Pending, err
	}
	b, err := json.Marshal(swapObject{V: formatVersion, From: s.Live.Generation, To: to, Now: now, At: t.now().UTC()})
	if err == nil {
		err = fault.At(ctx, fault.SwapBegin)
	}
	if err == nil {
		err = t.create(ctx, t.swapKey(s.Live.Swap+1), b)
	}
	if err != nil && !errors.Is(err, ErrExists) {
		return nil, fmt.Errorf("begin the swap of table %s to generation %d: %w", t.name, to, err)
	}
	if err := fault.At(ctx, fault.SwapBegun); err != nil {
		return nil, fmt.Errorf("begin the swap of table %s to generation %d: %w", t.name, to, err)
	}
	s, err = t.Swaps(ctx)
	return s.Pending, err
}

// CancelSwap ends the swap that is under way, if there is one: the live generation
// stays live, and its chains go on. It says what is live then, which is the target if
// the swap was done just before.
func (t *Table) CancelSwap(ctx context.Context) (Live, error) {
	s, err := t.Swaps(ctx)
	if err != nil || s.Pending == nil {
		return s.Live, err
	}
	if err := t.decideSwap(ctx, s.Pending.Number, outcomeObject{Live: s.Live.Generation, Cancelled: true}); err != nil {
		return s.Live, fmt.Errorf("cancel swap %d of table %s: %w", s.Pending.Number, t.name, err)
	}
	return t.outcome(ctx, s.Pending.Number)
}

// decideSwap creates a swap's outcome unless there is one.
func (t *Table) decideSwap(ctx context.Context, m int64, out outcomeObject) error {
	out.V, out.At = formatVersion, t.now().UTC()
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if err := fault.At(ctx, fault.SwapDecide); err != nil {
		return err
	}
	if err := t.create(ctx, t.outcomeKey(m), b); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return fault.At(ctx, fault.SwapDecided)
}

// HelpSwap takes the steps of the swap that is under way, as far as they can be taken
// without a look at the topic. Whoever meets a swap calls it, again and again, until
// none is pending. A *LostError says that a chain cannot be closed before its lost
// files are made again or given up.
func (t *Table) HelpSwap(ctx context.Context) (SwapStatus, error) {
	s, err := t.Swaps(ctx)
	if err != nil || s.Pending == nil {
		return s, err
	}
	m := s.Pending.Number
	done, err := t.help(ctx, &s)
	if err == nil && done {
		err = t.decideSwap(ctx, m, outcomeObject{Live: s.Pending.To, Now: s.Pending.Now})
		if err == nil {
			s.Pending = nil
			s.Live, err = t.outcome(ctx, m)
		}
	}
	if err != nil {
		return s, fmt.Errorf("swap %d of table %s: %w", m, t.name, err)
	}
	return s, nil
}

// help takes the steps before the outcome, and says whether the outcome is due.
func (t *Table) help(ctx context.Context, s *SwapStatus) (done bool, err error) {
	m := s.Pending.Number
	target, err := t.in(ctx, s.Pending.To)
	if err != nil {
		return false, err
	}
	live, err := t.in(ctx, s.Pending.From)
	if err != nil {
		return false, err
	}
	if err := target.openAll(ctx, m); err != nil {
		return false, err
	}
	ends, err := live.closeAll(ctx, m, target.generation)
	if err != nil {
		return false, err
	}
	set, err := target.set(ctx)
	for err == nil && set.closed == 0 && set.count < len(ends) {
		if err = target.step(ctx, set, setObject{Count: len(ends)}); err == nil {
			set, err = target.set(ctx)
		}
	}
	if err != nil || set.closed > 0 {
		return false, err
	}
	target.partitions = set.count
	s.Behind = nil
	open, waits := true, false
	for p, want := range ends {
		have, err := target.settle(ctx, p)
		if err != nil {
			return false, err
		}
		open = open && have.Closed == 0
		if want.To > 0 && (have.To < want.To || have.Log != want.Log) {
			s.Behind = append(s.Behind, BehindChain{Partition: p, To: max(have.To, 0), Want: want.To, Log: have.Log, WantLog: want.Log})
			waits = waits || !s.Pending.Now || have.Log != "" && have.Log != want.Log
		}
	}
	return open && !waits, nil
}

// openAll opens the target of swap m, where an earlier one has closed it. What a
// later one has closed stays closed: then swap m is over.
func (t *Table) openAll(ctx context.Context, m int64) error {
	set, err := t.set(ctx)
	for err == nil && set.closed > 0 && set.closed < m {
		if err = t.changeSet(ctx, set, setObject{Open: &m}); err == nil {
			set, err = t.set(ctx)
		}
	}
	if err != nil {
		return err
	}
	t.partitions = set.count
	for p := range set.count {
		if err := t.openChain(ctx, p, m); err != nil {
			return err
		}
	}
	return nil
}

// changeSet closes or opens a set.
func (t *Table) changeSet(ctx context.Context, set partitionSet, step setObject) error {
	if err := fault.At(ctx, fault.SetChange); err != nil {
		return err
	}
	if err := t.step(ctx, set, step); err != nil {
		return err
	}
	return fault.At(ctx, fault.SetChanged)
}

func (t *Table) openChain(ctx context.Context, partition int, m int64) error {
	for {
		end, err := t.settle(ctx, partition)
		if err != nil || end.Closed == 0 || end.Closed >= m {
			return err
		}
		if err := t.mark(ctx, partition, end, KindOpen, m, t.generation); err != nil {
			return err
		}
	}
}

// closeAll closes the live generation by swap m: its set first, then each chain
// below the set's count, also those that have no record. It gives where each ends.
func (t *Table) closeAll(ctx context.Context, m int64, next int) ([]State, error) {
	set, err := t.set(ctx)
	for err == nil && set.closed < m {
		if err = t.changeSet(ctx, set, setObject{Close: &m}); err == nil {
			set, err = t.set(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	t.partitions = set.count
	ends := make([]State, set.count)
	var lost error
	for p := range ends {
		ends[p], err = t.closeChain(ctx, p, m, next)
		var one *LostError
		switch {
		case errors.As(err, &one):
			lost = err // the others are closed all the same
		case err != nil:
			return nil, err
		}
	}
	return ends, lost
}

// closeChain appends a closing record unless the chain is closed by this very swap:
// that of an earlier one, which was cancelled, may be followed by a record that opens
// the chain.
func (t *Table) closeChain(ctx context.Context, partition int, m int64, next int) (State, error) {
	for {
		end, err := t.settle(ctx, partition)
		if err != nil {
			return end, err
		}
		if end.Closed >= m {
			return end, nil
		}
		if err := t.mark(ctx, partition, end, KindClose, m, next); err != nil {
			return end, err
		}
	}
}

// mark appends a record that closes or opens a chain, behind an end that is settled.
// The loser's next look shows what the winner wrote.
func (t *Table) mark(ctx context.Context, partition int, end State, kind Kind, m int64, next int) error {
	c := t.Chain(partition)
	c.reset()
	c.state, c.checkpointed = end, end.Seq+1 // no checkpoint: the streams were not read
	r := c.record(kind)
	r.M, r.Next, r.Config = &m, next, "" // no row is made by it
	if _, err := c.append(ctx, r); err != nil {
		return fmt.Errorf("%s %s: %w", kind, c, err)
	}
	return nil
}

// reopenable says whether what swap k has closed of this generation is to be opened
// again: the swap is over, and the generation is live. swap is the newest one.
func (t *Table) reopenable(ctx context.Context, k int64) (swap int64, open bool, err error) {
	s, err := t.swaps(ctx)
	if err != nil {
		return 0, false, err
	}
	return s.Live.Swap, s.Live.Generation == t.generation && s.Pending == nil && k <= s.Live.Swap, nil
}

// reopen opens a chain that a swap which is over has closed, if it is one of the live
// generation. again says that it has grown.
func (t *Table) reopen(ctx context.Context, partition int, end State) (again bool, err error) {
	m, open, err := t.reopenable(ctx, end.Closed)
	if err != nil || !open {
		return false, err
	}
	end, err = t.settle(ctx, partition)
	if err != nil || end.Closed == 0 || end.Closed > m {
		return err == nil, err
	}
	return true, t.mark(ctx, partition, end, KindOpen, m, t.generation)
}

// Route gives the table as the generation that takes the rows of a topic partition
// now: the live one, or, while a swap is under way, its target. It helps a swap that
// it meets. status is what it has seen of swaps; when Swaps gives another later, or
// the chain is closed, it is time for another Route.
func (t *Table) Route(ctx context.Context, partition int) (g *Table, status SwapStatus, err error) {
	for try := 1; ; try++ {
		g, status, err = t.route(ctx, partition)
		var closed *ClosedError
		if err == nil || !errors.As(err, &closed) || try == retries {
			return g, status, err
		}
		// A swap began or ended meanwhile.
		if e := t.sleep(ctx, backoff(1)); e != nil {
			return nil, status, errors.Join(e, err)
		}
	}
}

func (t *Table) route(ctx context.Context, partition int) (*Table, SwapStatus, error) {
	status, err := t.HelpSwap(ctx)
	var lost *LostError
	if err != nil && !errors.As(err, &lost) {
		return nil, status, err
	}
	to := status.Live.Generation
	if status.Pending != nil {
		to = status.Pending.To
		if lost != nil && lost.Partition == partition && lost.Generation == status.Pending.From {
			to = lost.Generation // its owner makes the files again
		}
	}
	g, err := t.writable(ctx, to)
	if err != nil {
		return nil, status, err
	}
	if partition >= g.partitions {
		err = g.extendSet(ctx, partition+1)
	}
	return g, status, err
}

// Same says whether nothing has changed between two looks that matters to who works
// on a chain.
func (s SwapStatus) Same(o SwapStatus) bool {
	pending := func(p *Swap) int64 {
		if p == nil {
			return 0
		}
		return p.Number
	}
	return s.Live.Swap == o.Live.Swap && pending(s.Pending) == pending(o.Pending)
}

// Previous is the generation that was live before the present one, 0 when there was
// none.
func (t *Table) Previous(ctx context.Context) (int, error) {
	history, err := t.History(ctx)
	if err != nil {
		return 0, err
	}
	live := history[len(history)-1].Generation
	for _, l := range slices.Backward(history) {
		if l.Generation != live {
			return l.Generation, nil
		}
	}
	return 0, nil
}
