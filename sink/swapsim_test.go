package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// The simulation of generations: owners take rows that go on arriving, others build
// new generations, swap them in, go back to earlier ones and cancel swaps, a topic
// partition is added, and all of them die, sleep through each other's work and send
// what arrives late. At any time a reader of the live generation sees each row once at
// most, and every row that he has seen before, but for a swap that was now, which leaves
// behind what Missing says; in the end, with nobody left but one
// owner of each topic partition, all rows.
//
// It fails where chains are not closed, where two swaps go on at once, where a
// cancelled swap leaves chains closed, and, with some thousand seeds, where owners do not
// help a swap. What matters in interleavings that are too rare here has tests of its own:
// that the set of topic partitions is closed too (TestSwapFences), that only a record of
// the very swap counts as closing (TestSwapClosesAgain), that owners help a swap whose
// rebuild died (TestSwapOfADeadRebuild), that an intent is never replaced
// (TestSwapOneAtATime), and that a helper opens nothing that a later swap has closed
// (TestSwapHelperWakesUpLate).
func TestSwapSimulation(t *testing.T) {
	var total swapCounts
	for i := range *simSeeds {
		seed := *simFirst + uint64(i)
		w := newSwapWorld(t, seed)
		w.run()
		if t.Failed() {
			t.Fatalf("seed %d: run it again with -run TestSwapSimulation -sim.seeds 1 -sim.first %d", seed, seed)
		}
		total.swaps += w.swapCounts.swaps
		total.now += w.swapCounts.now
		total.missed += w.swapCounts.missed
		total.rollbacks += w.swapCounts.rollbacks
		total.cancelled += w.swapCounts.cancelled
		total.reopened += w.swapCounts.reopened
		total.closedFirst += w.swapCounts.closedFirst
		total.added += w.swapCounts.added
		total.lost += w.counts.lost
		total.late += w.counts.late
		total.crashed += w.counts.crashed
	}
	t.Logf("%d simulations passed: %+v", *simSeeds, total)
	if *simSeeds >= 100 && (total.swaps == 0 || total.now == 0 || total.missed == 0 || total.rollbacks == 0 || total.cancelled == 0 || total.reopened == 0 || total.closedFirst == 0 || total.added == 0 || total.lost == 0 || total.late == 0 || total.crashed == 0) {
		t.Errorf("the simulation does not go where it should: %+v", total)
	}
}

type swapCounts struct{ swaps, now, missed, rollbacks, cancelled, reopened, closedFirst, added, lost, late, crashed int }

const (
	swapParts = 2 // topic partitions in the end
	swapSteps = 4 // looks at nothing new before an owner goes away
)

type swapWorld struct {
	crew
	t          *testing.T
	swapCounts swapCounts

	logs    []int64 // rows by topic partition
	most    []int64 // that they may become
	final   bool
	pinned  int // 1 + the topic partition of the owner to start; 0: anyone
	builder int // how many builders may still start

	inFile  map[string][]string
	records map[string]*sink.Record
	seen    map[string]bool // rows that a reader has seen
	live    int
	swap    int64 // by which it is
}

func newSwapWorld(t *testing.T, seed uint64) *swapWorld {
	w := &swapWorld{t: t, inFile: map[string][]string{}, records: map[string]*sink.Record{}, seen: map[string]bool{}, live: 1}
	w.crew = crew{rng: rand.New(rand.NewPCG(seed, 4)), store: mem.New(), changed: w.check}
	w.crew.own = w.own
	w.faults = w.rng.IntN(12)
	w.builder = 1 + w.rng.IntN(4)
	w.logs = []int64{1}
	w.most = []int64{2 + w.rng.Int64N(6)}
	return w
}

// own is what a process does: own a topic partition, build and swap, or cancel.
func (w *swapWorld) own(p *process) {
	ctx := context.Background()
	config := tableConfig(p.store)
	config.Partitions = len(w.logs)
	table, err := sink.OpenTuned(ctx, config, 2, noWait)
	if err != nil {
		return
	}
	switch q := p.rng.IntN(10); {
	case w.pinned > 0:
		err = w.consume(ctx, p, table, w.pinned-1)
	case q < 5 || w.builder == 0:
		err = w.consume(ctx, p, table, p.rng.IntN(len(w.logs)))
	case q == 5:
		_, err = table.CancelSwap(ctx)
	default:
		w.builder--
		err = w.rebuild(ctx, p, table)
	}
	var closed *sink.ClosedError
	if err != nil && !errors.Is(err, sinktest.ErrFault) && !errors.As(err, &closed) {
		w.t.Errorf("a process ends with: %v", err)
	}
}

// consume owns a topic partition until there is nothing new for a while.
func (w *swapWorld) consume(ctx context.Context, p *process, table *sink.Table, partition int) error {
	faults := 0
	for idle := 0; ; {
		g, status, err := table.Route(ctx, partition)
		if err == nil {
			idle, err = w.work(ctx, p, table, g, status, partition, idle)
		}
		if err != nil {
			if faults++; !errors.Is(err, sinktest.ErrFault) || faults > 20 {
				return err
			}
			continue
		}
		if idle >= swapSteps && (!w.final || status.Pending == nil || idle >= 10*swapSteps) {
			return nil
		}
	}
}

// work commits batches to a chain until it is time to look for another one.
func (w *swapWorld) work(ctx context.Context, p *process, table, g *sink.Table, status sink.SwapStatus, partition, idle int) (int, error) {
	chain := g.Chain(partition)
	state, err := chain.Open(ctx)
	if err != nil || state.Closed > 0 {
		return idle + 1, err
	}
	for {
		d := chain.Begin()
		if d.From() >= w.logs[partition] || p.rng.IntN(4) == 0 {
			if d.From() >= w.logs[partition] {
				idle++
			}
			now, err := table.Swaps(ctx)
			if err != nil || !now.Same(status) || now.Pending != nil || idle >= swapSteps {
				return idle, err
			}
			continue
		}
		idle = 0
		outcome, err := w.commit(ctx, p, g, chain, partition, d)
		if err != nil || outcome == sink.Lost {
			return idle, err
		}
	}
}

func (w *swapWorld) commit(ctx context.Context, p *process, g *sink.Table, chain *sink.Chain, partition int, d *sink.Draft) (sink.Outcome, error) {
	to := min(w.logs[partition], d.From()+1+p.rng.Int64N(3))
	var rows []string
	for o := d.From(); o < to; o++ {
		v, err := d.Row(streamID(partition), o)
		if err != nil {
			return sink.Undecided, err
		}
		if v != sink.Fresh {
			w.t.Errorf("row %d of topic partition %d: %v", o, partition, v)
		}
		rows = append(rows, fmt.Sprintf("%d:%d", partition, o))
	}
	key := g.FileKey(sink.Main, "", g.Topic(), partition, d, to, 0)
	w.inFile[key] = rows
	staged, err := p.store.Stage(ctx, key, strings.NewReader(strings.Join(rows, "\n")))
	if err != nil {
		return sink.Undecided, err
	}
	outcome, err := chain.Commit(ctx, d, sink.Commit{To: to, Log: testLog, FP: &sink.Fingerprint{Offset: to - 1}, Files: []sink.File{
		{Table: sink.Main, Key: key, Staged: staged, Size: staged.Size, Rows: int64(len(rows))},
	}})
	if outcome == sink.Lost {
		w.counts.lost++
	}
	return outcome, err
}

// fill brings one chain of a generation to the end of its log.
func (w *swapWorld) fill(ctx context.Context, p *process, g *sink.Table, partition int) error {
	chain := g.Chain(partition)
	for {
		state, err := chain.Open(ctx)
		if err != nil || state.Closed > 0 {
			return err
		}
		for {
			d := chain.Begin()
			if d.From() >= w.logs[partition] {
				return nil
			}
			outcome, err := w.commit(ctx, p, g, chain, partition, d)
			if err != nil {
				return err
			}
			if outcome == sink.Lost {
				break
			}
		}
	}
}

// rebuild builds a generation, or takes one that there is, and swaps it in.
func (w *swapWorld) rebuild(ctx context.Context, p *process, table *sink.Table) error {
	to := 1 + p.rng.IntN(3)
	g, err := table.At(ctx, to)
	var none *sink.PositionError
	if errors.As(err, &none) || err == nil && to == 1 && p.rng.IntN(2) == 0 {
		g, _, err = table.Build(ctx, sink.BuildConfig{Config: []byte(fmt.Sprint("config", p.rng.IntN(2))), Partitions: len(w.logs)})
	}
	if err != nil {
		return err
	}
	for part := range g.Partitions() {
		if p.rng.IntN(4) > 0 {
			if err := w.fill(ctx, p, g, part); err != nil {
				return err
			}
		}
	}
	begin := table.BeginSwap
	if p.rng.IntN(3) == 0 {
		begin = table.BeginSwapNow
	}
	if _, err := begin(ctx, g.Generation()); err != nil {
		return err
	}
	for try := 0; try < 20; try++ {
		s, err := table.HelpSwap(ctx)
		if err != nil || s.Pending == nil {
			return err
		}
		switch p.rng.IntN(12) {
		case 0:
			return nil // it dies
		case 1:
			_, err := table.CancelSwap(ctx)
			return err
		}
		target, err := table.At(ctx, s.Pending.To)
		if err != nil {
			return err
		}
		for _, b := range s.Behind {
			if err := w.fill(ctx, p, target, b.Partition); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrive lets a row arrive, or adds a topic partition.
func (w *swapWorld) arrive() {
	if len(w.logs) < swapParts && w.rng.IntN(3) == 0 {
		w.logs, w.most = append(w.logs, 0), append(w.most, 1+w.rng.Int64N(6))
		w.swapCounts.added++
		return
	}
	p := w.rng.IntN(len(w.logs))
	if w.logs[p] < w.most[p] {
		w.logs[p]++
	}
}

func (w *swapWorld) arrived() bool { return len(w.logs) == swapParts && slices.Equal(w.logs, w.most) }

func (w *swapWorld) run() {
	favourite := 0 // runs more often, so that the others sleep
	for starts := 0; !w.t.Failed(); {
		if w.rng.IntN(15) == 0 {
			favourite = w.rng.IntN(4)
		}
		if len(w.running) == 0 && w.arrived() && starts > 6 {
			break
		}
		switch q := w.rng.IntN(60); {
		case q < 2:
			w.deliver()
			continue
		case q < 6:
			w.arrive()
			continue
		case (q < 10 || len(w.running) == 0) && len(w.running) < 4 && starts < 16:
			starts++
			w.start()
			continue
		case len(w.running) == 0:
			for !w.arrived() {
				w.arrive()
			}
			continue
		}
		i := w.rng.IntN(len(w.running))
		if favourite < len(w.running) && w.rng.IntN(6) > 0 {
			i = favourite
		}
		p := w.running[i]
		calls := p.store.Calls()
		w.step(p, w.fault(calls[len(calls)-1]))
	}
	if w.t.Failed() {
		for _, p := range w.running {
			p.answers <- sinktest.CrashBefore
			<-p.asks
		}
		return
	}
	w.finish()
}

// finish lets what is late arrive; then owners without faults must bring all rows to
// readers (I10), whatever swap was left behind.
func (w *swapWorld) finish() {
	w.faults, w.final = 0, true
	for w.deliver() {
	}
	for range 2 {
		for p := range swapParts {
			w.pinned = p + 1
			w.start()
			for len(w.running) > 0 && !w.t.Failed() {
				w.step(w.running[0], sinktest.NoFault)
			}
		}
	}
	for w.deliver() {
	}
	for p, n := range w.most {
		for r := range n {
			if !w.seen[fmt.Sprintf("%d:%d", p, r)] {
				w.t.Errorf("I10: row %d of topic partition %d is not visible in generation %d, and nobody will bring it there", r, p, w.live)
			}
		}
	}
	w.read()
	for o := range w.store.List(context.Background(), "_lakefeed/t/g", "") {
		if !strings.Contains(o.Key, "/commits/") {
			continue
		}
		switch r := w.record(o.Key); {
		case r.Kind == sink.KindOpen:
			w.swapCounts.reopened++
		case r.Kind == sink.KindClose && r.Seq == 0:
			w.swapCounts.closedFirst++
		}
	}
}

// read compares what a reader is given with what is there.
func (w *swapWorld) read() {
	ctx := context.Background()
	table, err := sink.ReadTable(ctx, w.store, "t")
	if err != nil {
		w.t.Fatal(err)
	}
	history, err := table.History(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	was := map[int]bool{}
	for i, l := range history {
		switch {
		case l.Cancelled:
			w.swapCounts.cancelled++
		case was[l.Generation]:
			w.swapCounts.rollbacks++
		case i > 0:
			w.swapCounts.swaps++
		}
		was[l.Generation] = true
	}
	position, err := table.Position(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var have, want []string
	for f, err := range table.FilesAt(ctx, position) {
		if err != nil {
			w.t.Fatal(err)
		}
		have = append(have, w.inFile[f.Key]...)
	}
	for p, n := range w.most {
		for r := range n {
			want = append(want, fmt.Sprintf("%d:%d", p, r))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		w.t.Errorf("the files of %s have %q, want %q", position, have, want)
	}
	for p := range table.Partitions() {
		for _, err := range table.ReadChain(ctx, p) {
			if err != nil {
				w.t.Errorf("I3: topic partition %d: %v", p, err)
			}
		}
	}
}

// check looks at the store as a reader does, and checks what must hold in every state.
func (w *swapWorld) check() {
	ctx := context.Background()
	if s, err := sink.ReadTable(ctx, w.store, "t"); err == nil {
		w.live = s.Generation()
		w.turned(s)
	}
	for g := 1; ; g++ {
		if _, err := w.store.Stat(ctx, fmt.Sprintf("_lakefeed/t/g%d/build.json", g)); err != nil {
			break
		}
		w.checkGeneration(ctx, g)
	}
}

// turned forgets what readers have seen when a swap was now, and compares what they are
// told they miss with the records of both generations.
func (w *swapWorld) turned(table *sink.Table) {
	ctx := context.Background()
	status, err := table.Swaps(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if status.Live.Swap == w.swap {
		return
	}
	w.swap = status.Live.Swap
	history, err := table.History(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	missing, err := table.Missing(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	last := history[len(history)-1]
	if last.Cancelled {
		return
	}
	want, told := int64(0), int64(0)
	if last.Now {
		w.swapCounts.now++
		clear(w.seen)
		before := 0
		for _, l := range history[:len(history)-1] {
			before = l.Generation
		}
		for p := range swapParts {
			want += max(0, w.end(before, p)-w.end(last.Generation, p))
		}
	}
	for _, m := range missing {
		told += m.Rows
	}
	if told != want {
		w.t.Errorf("after swap %d it is told that readers miss %d rows, and they miss %d: %+v", last.Swap, told, want, missing)
	}
	if told > 0 {
		w.swapCounts.missed++
	}
}

// end is the offset to which a generation has rows of a topic partition.
func (w *swapWorld) end(g, p int) (to int64) {
	for o := range w.store.List(context.Background(), fmt.Sprintf("_lakefeed/t/g%d/commits/topic/%020d/", g, p), "") {
		to = max(to, w.record(o.Key).To)
	}
	return to
}

func (w *swapWorld) checkGeneration(ctx context.Context, g int) {
	folder := "t/"
	if g > 1 {
		folder = fmt.Sprintf("t.g%d/", g)
	}
	visible := map[string]bool{}
	times := map[string]int{}
	for o := range w.store.List(ctx, folder, "") {
		visible[o.Key] = true
		for _, r := range w.inFile[o.Key] {
			if times[r]++; times[r] == 2 {
				w.t.Errorf("I2: row %s is visible twice in generation %d", r, g)
			}
		}
	}
	listed := 0
	for p := range swapParts {
		var last *sink.Record
		for o := range w.store.List(ctx, fmt.Sprintf("_lakefeed/t/g%d/commits/topic/%020d/", g, p), "") {
			r := w.record(o.Key)
			if last != nil {
				for _, f := range last.Files {
					if !visible[f.Key] {
						w.t.Errorf("I4: topic partition %d of generation %d has a record %d, and %s of the one before is not visible", p, g, r.Seq, f.Key)
					}
				}
			}
			for _, f := range r.Files {
				if visible[f.Key] {
					listed++
				}
			}
			last = r
		}
	}
	if listed != len(visible) {
		w.t.Errorf("I1: %d files of generation %d are visible, the records list %d of them", len(visible), g, listed)
	}
	if g != w.live {
		return
	}
	for r := range w.seen {
		if times[r] == 0 {
			w.t.Errorf("I6: row %s was visible, and is not in generation %d, which is live now", r, g)
		}
	}
	for r := range times {
		w.seen[r] = true
	}
}

// record reads a record, once: they never change.
func (w *swapWorld) record(key string) *sink.Record {
	if r := w.records[key]; r != nil {
		return r
	}
	b, err := w.store.Get(context.Background(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := sink.DecodeRecord(b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.records[key] = r
	return r
}
