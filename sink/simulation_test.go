package sink_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

var (
	simSeeds = flag.Int("sim.seeds", 300, "how many simulations to run")
	simFirst = flag.Uint64("sim.first", 1, "seed of the first simulation")
)

// The simulation: up to three owners work on one chain at once, each the zombie of
// the others. One runs at a time, from one call of the store to the next; which
// one, and what becomes of the call, is drawn. Answers are lost, requests arrive
// late, owners die at any call and others take their place. The log has rows sent
// twice, late rows, early and repeated ends. The invariants of the protocol are
// checked behind every call, and in the end every row is visible once.
func TestSimulation(t *testing.T) {
	var total simulationCounts
	for i := range *simSeeds {
		seed := *simFirst + uint64(i)
		w := newWorld(t, seed)
		w.run()
		if t.Failed() {
			t.Fatalf("seed %d: run it again with -run TestSimulation -sim.seeds 1 -sim.first %d", seed, seed)
		}
		total.add(w.counts)
	}
	t.Logf("%d simulations passed: %+v", *simSeeds, total)
	if total.lost == 0 || total.crashed == 0 || total.late == 0 || total.unknown == 0 || total.checkpoints == 0 {
		t.Errorf("the simulation does not go where it should: %+v", total)
	}
}

type simulationCounts struct{ calls, records, lost, crashed, late, unknown, checkpoints int }

func (c *simulationCounts) add(o simulationCounts) {
	c.calls += o.calls
	c.records += o.records
	c.lost += o.lost
	c.crashed += o.crashed
	c.late += o.late
	c.unknown += o.unknown
	c.checkpoints += o.checkpoints
}

// message is one offset of the log. A control message is neither row nor end.
type message struct {
	row
	control bool
}

// process is one owner that runs.
type process struct {
	store   *sinktest.FaultStore
	rng     *rand.Rand
	asks    chan sinktest.Call  // what it is about to call; closed when it has ended
	answers chan sinktest.Fault // what becomes of it
}

// crew is the owners that work at once, of which one runs at a time.
type crew struct {
	rng     *rand.Rand
	store   *mem.Store
	own     func(*process) // what an owner does
	changed func()         // is called when the store may have changed
	counts  simulationCounts

	running []*process
	late    []*sinktest.FaultStore // stores with delayed requests, of living and dead
	faults  int                    // how many more there may be
}

type world struct {
	crew
	t    *testing.T
	log  []message
	want []sink.Verdict // of each offset, by a plain set

	// What the invariants know already: records never change.
	records []*sink.Record
	bodies  map[string]string   // of records, by key
	rows    map[string][]string // of a staged file, by key
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rows: make(map[string][]string), bodies: make(map[string]string)}
	w.crew = crew{rng: rand.New(rand.NewPCG(seed, 1)), store: mem.New(), own: w.own, changed: w.check}
	w.faults = w.rng.IntN(16)
	w.makeLog()
	return w
}

// makeLog is what two producers made of three streams.
func (w *world) makeLog() {
	r := w.rng
	var sent [3]int64
	rows := [3]int64{int64(r.IntN(9)), int64(1 + r.IntN(9)), int64(r.IntN(4))}
	var ended [3]bool
	oracle := map[int]*seen{}
	add := func(m message) {
		w.log = append(w.log, m)
		v := sink.Fresh
		if !m.control {
			if oracle[m.stream] == nil {
				oracle[m.stream] = &seen{rows: map[int64]bool{}, count: -1}
			}
			v = oracle[m.stream].add(m.row)
		}
		w.want = append(w.want, v)
	}
	for {
		s := r.IntN(3)
		switch p := r.IntN(20); {
		case p < 12 && sent[s] < rows[s]: // the next row
			add(message{row: row{stream: s, row: sent[s]}})
			sent[s]++
		case p < 14 && sent[s] < rows[s]: // a row ahead of its time, which leaves a hole
			add(message{row: row{stream: s, row: sent[s] + int64(r.IntN(int(rows[s]-sent[s])))}})
		case p < 17 && sent[s] > 0: // one that was sent before
			add(message{row: row{stream: s, row: int64(r.IntN(int(sent[s])))}})
		case p == 17:
			add(message{control: true})
		case p == 18 && (sent[s] == rows[s] || r.IntN(4) == 0): // the end, perhaps before late rows, perhaps again
			add(message{row: row{stream: s, row: rows[s], end: true}})
			ended[s] = true
		case p == 19 && ended[s] && r.IntN(4) == 0: // a row beyond the end
			add(message{row: row{stream: s, row: rows[s] + 1}})
		}
		if sent == rows && ended == [3]bool{true, true, true} {
			return
		}
	}
}

// start starts one more owner. It runs until it asks for its first call.
func (w *crew) start() {
	p := &process{rng: rand.New(rand.NewPCG(w.rng.Uint64(), 2)), asks: make(chan sinktest.Call), answers: make(chan sinktest.Fault)}
	p.store = &sinktest.FaultStore{Store: w.store, Plan: func(c sinktest.Call) sinktest.Fault {
		p.asks <- c
		return <-p.answers
	}}
	w.running = append(w.running, p)
	w.late = append(w.late, p.store)
	go func() {
		defer close(p.asks)
		w.own(p)
	}()
	<-p.asks
}

// own is an owner's loop, as a consumer has it.
func (w *world) own(p *process) {
	ctx := context.Background()
	table, err := sink.OpenTuned(ctx, tableConfig(p.store), 2, noWait)
	if err != nil {
		return
	}
	chain := table.Chain(0)
	for {
		_, err := chain.Open(ctx)
		for err == nil {
			d := chain.Begin()
			if d.From() >= int64(len(w.log)) {
				err = chain.Checkpoint(ctx)
				break
			}
			to := min(int64(len(w.log)), d.From()+1+p.rng.Int64N(6))
			var c sink.Commit
			if c, err = w.batch(p, table, d, to); err != nil {
				break
			}
			var outcome sink.Outcome
			outcome, err = chain.Commit(ctx, d, c)
			if outcome == sink.Lost {
				w.counts.lost++
				break
			}
		}
		switch {
		case err == nil:
			w.complete(chain)
			if d := chain.Begin(); d.From() >= int64(len(w.log)) {
				return
			}
		case !errors.Is(err, sinktest.ErrFault):
			w.t.Errorf("an owner ends with: %v", err)
			return
		}
	}
}

// batch takes messages up to an offset and stages the fresh rows in one or two
// files. What rows a file has is written down for the invariants.
func (w *world) batch(p *process, table *sink.Table, d *sink.Draft, to int64) (sink.Commit, error) {
	c := sink.Commit{To: to, Log: testLog, FP: &sink.Fingerprint{Offset: to - 1}}
	files := make([][]string, 1+p.rng.IntN(2))
	for offset := d.From(); offset < to; offset++ {
		m := w.log[offset]
		v, err := sink.Fresh, error(nil)
		switch {
		case m.control:
			d.Skip(offset, offset+1, sink.SkipControl)
			continue
		case m.end:
			v, err = d.End(streamID(m.stream), m.row.row, "complete", "")
		default:
			v, err = d.Row(streamID(m.stream), m.row.row)
		}
		if err != nil {
			return c, err
		}
		if v != w.want[offset] {
			w.t.Errorf("offset %d, %+v: %v, want %v", offset, m, v, w.want[offset])
		}
		if v != sink.Fresh {
			d.Skip(offset, offset+1, v.String())
		} else if !m.end {
			i := p.rng.IntN(len(files))
			files[i] = append(files[i], fmt.Sprintf("%d:%d", m.stream, m.row.row))
		}
	}
	for i, rows := range files {
		if len(rows) == 0 {
			continue
		}
		key := table.FileKey(sink.Main, "", table.Topic(), 0, d, to, i)
		w.rows[key] = rows
		staged, err := p.store.Stage(context.Background(), key, strings.NewReader(strings.Join(rows, "\n")))
		if err != nil {
			return c, err
		}
		c.Files = append(c.Files, sink.File{Table: sink.Main, Key: key, Staged: staged, Size: staged.Size, Rows: int64(len(rows))})
	}
	return c, nil
}

// complete compares what the chain says of the streams with the records.
func (w *world) complete(chain *sink.Chain) {
	d := chain.Begin()
	oracle := map[int]*seen{}
	for offset := range d.From() {
		m := w.log[offset]
		if m.control {
			continue
		}
		if oracle[m.stream] == nil {
			oracle[m.stream] = &seen{rows: map[int64]bool{}, count: -1}
		}
		oracle[m.stream].add(m.row)
	}
	for s, o := range oracle {
		complete, count, err := chain.Complete(streamID(s))
		if errors.Is(err, sinktest.ErrFault) || err != nil && strings.Contains(err.Error(), "not open") {
			continue // the batch was lost: the chain is to be opened again
		}
		if err != nil || complete != o.complete() || complete && count != o.count {
			w.t.Errorf("stream %d before offset %d: Complete = %v, %d, %v; want %v, %d", s, d.From(), complete, count, err, o.complete(), o.count)
		}
	}
}

// step lets an owner make its call, and run until the next one.
func (w *crew) step(p *process, f sinktest.Fault) {
	w.counts.calls++
	calls := p.store.Calls()
	op := calls[len(calls)-1].Op
	p.answers <- f
	if _, ok := <-p.asks; !ok {
		w.running = slices.DeleteFunc(w.running, func(q *process) bool { return q == p })
	}
	if op != "get" && op != "list" { // these change nothing
		w.changed()
	}
}

// fault draws what becomes of a call.
func (w *crew) fault(c sinktest.Call) sinktest.Fault {
	if w.faults == 0 || w.rng.IntN(5) != 0 {
		return sinktest.NoFault
	}
	w.faults--
	switch w.rng.IntN(6) {
	case 0:
		return sinktest.FailBefore
	case 1:
		return sinktest.FailAfter
	case 2:
		w.counts.crashed++
		return sinktest.CrashBefore
	case 3:
		w.counts.crashed++
		return sinktest.CrashAfter
	}
	if c.Op == "create" {
		return sinktest.Delay
	}
	w.faults++
	return sinktest.NoFault
}

// deliver lets one of the delayed requests arrive.
func (w *crew) deliver() bool {
	for _, i := range w.rng.Perm(len(w.late)) {
		if n := w.late[i].Delayed(); n > 0 {
			w.counts.late++
			_ = w.late[i].Deliver(context.Background(), w.rng.IntN(n)) // whoever sent it does not wait any more
			w.changed()
			return true
		}
	}
	return false
}

func (w *world) run() {
	for range 1 + w.rng.IntN(3) {
		w.start()
	}
	favourite := 0 // runs more often, so that others sleep for long
	for starts := 0; len(w.running) > 0 && !w.t.Failed(); {
		switch p := w.rng.IntN(40); {
		case p == 0:
			w.deliver()
			continue
		case p == 1:
			favourite = w.rng.IntN(3)
		case p == 2 && starts < 4 && len(w.running) < 3:
			starts++
			w.start()
		}
		i := w.rng.IntN(len(w.running))
		if w.rng.IntN(3) > 0 && favourite < len(w.running) {
			i = favourite
		}
		p := w.running[i]
		calls := p.store.Calls()
		f := w.fault(calls[len(calls)-1])
		if f == sinktest.FailBefore || f == sinktest.FailAfter || f == sinktest.Delay {
			w.counts.unknown++
		}
		w.step(p, f)
	}
	if w.t.Failed() {
		// Let the owners that are left end.
		for _, p := range w.running {
			p.answers <- sinktest.CrashBefore
			<-p.asks
		}
		return
	}
	// Requests may still arrive; then one owner without faults must bring all to an
	// end (I10).
	w.faults = 0
	for w.deliver() {
	}
	w.start()
	for len(w.running) > 0 {
		w.step(w.running[0], sinktest.NoFault)
	}
	for w.deliver() {
	}
	var want []string
	for offset, m := range w.log {
		if !m.control && !m.end && w.want[offset] == sink.Fresh {
			want = append(want, fmt.Sprintf("%d:%d", m.stream, m.row.row))
		}
	}
	slices.Sort(want)
	wantVisible(w.t, w.store, want...)
	for key, body := range w.bodies {
		if b, err := w.store.Get(context.Background(), key); err != nil || string(b) != body {
			w.t.Errorf("%s has changed", key)
		}
	}
	w.counts.records = len(w.records)
	for range w.store.List(context.Background(), "_lakefeed/t/g1/checkpoints/", "") {
		w.counts.checkpoints++
	}
}

// check looks at the store and checks what must hold in every state.
func (w *world) check() {
	ctx := context.Background()
	const folder = "_lakefeed/t/g1/commits/topic/00000000000000000000/"
	// I3: the records are 0, 1, 2… without a hole, each goes on where the one before it
	// ended.
	n := 0
	for o := range w.store.List(ctx, folder, "") {
		seq, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(o.Key, folder), ".json"))
		if err != nil || seq != n {
			w.t.Fatalf("record %d is %s", n, o.Key)
		}
		if n == len(w.records) {
			b, err := w.store.Get(ctx, o.Key)
			if err != nil {
				w.t.Fatal(err)
			}
			w.bodies[o.Key] = string(b)
			w.record(b)
		}
		n++
	}
	if n != len(w.records) {
		w.t.Errorf("%d records, there were %d", n, len(w.records))
	}
	visible := make(map[string]bool)
	for o := range w.store.List(ctx, "t/", "") {
		visible[o.Key] = true
	}
	listed := make(map[string]bool)
	times := make(map[string]int)
	for i, r := range w.records {
		for _, f := range r.Files {
			listed[f.Key] = true
			switch {
			case visible[f.Key]:
				for _, row := range w.rows[f.Key] {
					if times[row]++; times[row] > 1 {
						w.t.Errorf("I2: row %s is visible twice", row)
					}
				}
			case i < len(w.records)-1:
				w.t.Errorf("I4: there is a record %d, and file %s of record %d is not visible", len(w.records)-1, f.Key, i)
			case !w.store.IsStaged(f.Staged):
				w.t.Errorf("I5: file %s of record %d is neither staged nor visible", f.Key, i)
			}
		}
	}
	for key := range visible {
		if !listed[key] {
			w.t.Errorf("I1: %s is visible, and no record lists it", key)
		}
	}
}

// record checks a new record against the log: every offset of it is a row in one
// of its files, an end or skipped (I7), each as a plain set has it, so that a
// stream that is complete has each row once (I8).
func (w *world) record(b []byte) {
	r, err := sink.DecodeRecord(b)
	if err != nil {
		w.t.Fatal(err)
	}
	from, prev := int64(0), ""
	if n := len(w.records); n > 0 {
		from, prev = w.records[n-1].To, w.records[n-1].Attempt
	}
	if r.From != from || r.Prev != prev || r.Seq != int64(len(w.records)) {
		w.t.Errorf("I3: record %d is of offsets %d to %d behind %q", len(w.records), r.From, r.To, r.Prev)
	}
	w.records = append(w.records, r)
	skipped := make(map[int64]string)
	for _, s := range r.Skipped {
		for o := s.From; o < s.To; o++ {
			skipped[o] = s.Reason
		}
	}
	var want, have []string
	ends := int64(0)
	for o := r.From; o < r.To; o++ {
		m, reason := w.log[o], ""
		switch {
		case m.control:
			reason = sink.SkipControl
		case w.want[o] != sink.Fresh:
			reason = w.want[o].String()
		case m.end:
			ends++
		default:
			want = append(want, fmt.Sprintf("%d:%d", m.stream, m.row.row))
		}
		if skipped[o] != reason {
			w.t.Errorf("I7: record %d skips offset %d for %q, want %q", r.Seq, o, skipped[o], reason)
		}
	}
	for _, f := range r.Files {
		have = append(have, w.rows[f.Key]...)
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) || ends != r.Counts.Ends || int64(len(have)) != r.Counts.Rows {
		w.t.Errorf("I7: record %d has the rows %q and %d ends, want %q and %d", r.Seq, have, r.Counts.Ends, want, ends)
	}
}
