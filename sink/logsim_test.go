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

// The simulation of a topic that is not left in peace: it is deleted and made
// again, with its streams in other topic partitions, and its logs lose messages
// that the lake has read. A producer sends again what it no longer knows to be
// there. Owners of all topic partitions run at once, die, are delayed, and bring
// each other's chains to the new log. Every row is visible once, at any time and
// in the end.
func TestLogSimulation(t *testing.T) {
	var total logCounts
	for i := range *simSeeds {
		seed := *simFirst + uint64(i)
		w := newLogWorld(t, seed)
		w.run()
		if t.Failed() {
			t.Fatalf("seed %d: run it again with -run TestLogSimulation -sim.seeds 1 -sim.first %d", seed, seed)
		}
		total.recreations += w.logCounts.recreations
		total.cuts += w.logCounts.cuts
		total.rewinds += w.logCounts.rewinds
		total.resets += w.logCounts.resets
		total.lost += w.counts.lost
	}
	t.Logf("%d simulations passed: %+v", *simSeeds, total)
	if total.recreations == 0 || total.cuts == 0 || total.rewinds == 0 || total.resets == 0 || total.lost == 0 {
		t.Errorf("the simulation does not go where it should: %+v", total)
	}
}

type logCounts struct{ recreations, cuts, rewinds, resets, lost int }

// entry is a message of a log. No two have the same serial number.
type entry struct {
	row
	serial int
}

type logWorld struct {
	crew
	t         *testing.T
	logCounts logCounts

	id     int // of the topic, now
	logs   [][]entry
	serial int
	rows   []int64 // how many each stream has
	sent   []int64 // by stream: rows that the producer knows to be in the log, the end with them

	inFile  map[string][]string // rows of a staged file, by key
	records map[string]*sink.Record
	pinned  int // 1 + the topic partition that owners take, 0 for any
}

const simTopics = 3 // topic partitions

func newLogWorld(t *testing.T, seed uint64) *logWorld {
	w := &logWorld{t: t, inFile: make(map[string][]string), records: make(map[string]*sink.Record)}
	w.crew = crew{rng: rand.New(rand.NewPCG(seed, 3)), store: mem.New(), own: w.own, changed: w.check}
	w.faults = w.rng.IntN(10)
	for range 3 {
		w.rows = append(w.rows, 1+w.rng.Int64N(6))
	}
	w.recreate()
	return w
}

func (w *logWorld) logID() string { return fmt.Sprint("log-", w.id) }

// recreate deletes the topic and makes it again.
func (w *logWorld) recreate() {
	w.id++
	w.logs = make([][]entry, simTopics)
	w.sent = make([]int64, len(w.rows))
}

// pin is where a stream goes.
func (w *logWorld) pin(stream int) int { return (stream + w.id) % simTopics }

// produce sends the next message of a stream, or one that was sent before.
func (w *logWorld) produce(stream int) {
	n := w.sent[stream]
	if n > w.rows[stream] {
		return
	}
	again := n > 0 && w.rng.IntN(5) == 0
	if again {
		n = w.rng.Int64N(n)
	} else {
		w.sent[stream]++
	}
	w.serial++
	p := w.pin(stream)
	w.logs[p] = append(w.logs[p], entry{row: row{stream: stream, row: n, end: n == w.rows[stream]}, serial: w.serial})
}

// cut takes messages from the end of a log. The producer of their streams sends
// all again.
func (w *logWorld) cut() {
	p := w.rng.IntN(simTopics)
	if n := len(w.logs[p]); n > 0 {
		w.logs[p] = w.logs[p][:w.rng.IntN(n)]
		w.logCounts.cuts++
	}
	for s := range w.sent {
		if w.pin(s) == p {
			w.sent[s] = 0
		}
	}
}

func (w *logWorld) produced() bool {
	return !slices.ContainsFunc([]int{0, 1, 2}, func(s int) bool { return w.sent[s] <= w.rows[s] })
}

func (w *logWorld) at(p int) sink.FingerprintAt {
	return func(_ context.Context, offset int64) (*sink.Fingerprint, error) {
		if offset < 0 || offset >= int64(len(w.logs[p])) {
			return nil, nil
		}
		return &sink.Fingerprint{Offset: offset, Timestamp: int64(w.logs[p][offset].serial)}, nil
	}
}

// look compares a chain with its log as it is now.
func (w *logWorld) look(p int, s sink.State) (sink.LogView, error) {
	v := sink.LogView{Topic: "topic", Partition: p, Log: w.logID(), End: int64(len(w.logs[p]))}
	if s.FP != nil {
		v.Last, _ = w.at(p)(context.Background(), s.FP.Offset)
	}
	_, err := s.CheckLog(v)
	return v, err
}

// own works on one topic partition until its log is read and the producer is done.
func (w *logWorld) own(p *process) {
	ctx := context.Background()
	config := tableConfig(p.store)
	config.Partitions = simTopics
	table, err := sink.OpenTuned(ctx, config, 2, noWait)
	if err != nil {
		return
	}
	partition := p.rng.IntN(simTopics)
	if w.pinned > 0 {
		partition = w.pinned - 1
	}
	chain := table.Chain(partition)
	for err == nil || errors.Is(err, sinktest.ErrFault) {
		var state sink.State
		if state, err = chain.Open(ctx); err != nil {
			continue
		}
		var done bool
		if done, err = w.work(ctx, p, table, chain, partition, state); done {
			return
		}
	}
	w.t.Errorf("an owner of topic partition %d ends with: %v", partition, err)
}

// work brings an open chain to its log and commits batches until it must be
// opened again.
func (w *logWorld) work(ctx context.Context, p *process, table *sink.Table, chain *sink.Chain, partition int, state sink.State) (done bool, err error) {
	for {
		view, err := w.look(partition, state)
		var unfit *sink.LogError
		switch {
		case errors.As(err, &unfit) && unfit.Case == sink.LogOther:
			w.logCounts.resets++
			return false, table.AdoptLog(ctx, view.Log)
		case errors.As(err, &unfit):
			_, outcome, err := chain.Rewind(ctx, view, w.at(partition))
			if outcome == sink.Decided {
				w.logCounts.rewinds++
			}
			return false, err
		case err != nil:
			return false, err
		}
		d := chain.Begin()
		if d.From() >= view.End {
			return true, nil
		}
		c, err := w.batch(p, table, partition, d, min(view.End, d.From()+1+p.rng.Int64N(4)))
		if err != nil {
			return false, err
		}
		outcome, err := chain.Commit(ctx, d, c)
		if err != nil || outcome == sink.Lost {
			if outcome == sink.Lost {
				w.counts.lost++
			}
			return false, err
		}
		state = sink.State{Seq: d.Seq(), To: c.To, Log: c.Log, FP: c.FP}
	}
}

// batch reads messages, all at once, and then stages their rows.
func (w *logWorld) batch(p *process, table *sink.Table, partition int, d *sink.Draft, to int64) (sink.Commit, error) {
	c := sink.Commit{To: to, Log: w.logID()}
	c.FP, _ = w.at(partition)(context.Background(), to-1)
	var rows []string
	for offset := d.From(); offset < to; offset++ {
		m := w.logs[partition][offset]
		v, err := sink.Fresh, error(nil)
		if m.end {
			v, err = d.End(streamID(m.stream), m.row.row, "complete", "")
		} else {
			v, err = d.Row(streamID(m.stream), m.row.row)
		}
		switch {
		case err != nil:
			return c, err
		case v == sink.Conflict:
			w.t.Errorf("offset %d, %+v: a conflict", offset, m)
		case v != sink.Fresh:
			d.Skip(offset, offset+1, v.String())
		case !m.end:
			rows = append(rows, fmt.Sprintf("%d:%d", m.stream, m.row.row))
		}
	}
	if len(rows) == 0 {
		return c, nil
	}
	key := table.FileKey(sink.Main, "", table.Topic(), partition, d, to, 0)
	w.inFile[key] = rows
	staged, err := p.store.Stage(context.Background(), key, strings.NewReader(strings.Join(rows, "\n")))
	c.Files = []sink.File{{Table: sink.Main, Key: key, Staged: staged, Size: staged.Size, Rows: int64(len(rows))}}
	return c, err
}

// check says that no row is visible twice, and that only the last record of a
// chain may have files that are not visible.
func (w *logWorld) check() {
	ctx := context.Background()
	visible := make(map[string]bool)
	times := make(map[string]int)
	for o := range w.store.List(ctx, "t/", "") {
		visible[o.Key] = true
		for _, r := range w.inFile[o.Key] {
			if times[r]++; times[r] == 2 {
				w.t.Errorf("I2: row %s is visible twice", r)
			}
		}
	}
	listed := 0
	for p := range simTopics {
		var last *sink.Record
		for o := range w.store.List(ctx, fmt.Sprintf("_lakefeed/t/g1/commits/topic/%020d/", p), "") {
			r := w.record(o.Key)
			if last != nil {
				for _, f := range last.Files {
					if !visible[f.Key] {
						w.t.Errorf("I4: topic partition %d has a record %d, and %s of the one before is not visible", p, r.Seq, f.Key)
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
		w.t.Errorf("I1: %d files are visible, the records list %d of them", len(visible), listed)
	}
}

// record reads a record, once: they never change.
func (w *logWorld) record(key string) *sink.Record {
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

func (w *logWorld) run() {
	disturbances := w.rng.IntN(4)
	for starts := 0; !w.t.Failed(); {
		if len(w.running) == 0 && w.produced() && disturbances == 0 && starts > 3 {
			break
		}
		switch q := w.rng.IntN(60); {
		case q == 0 && disturbances > 0:
			disturbances--
			w.recreate()
			w.logCounts.recreations++
			continue
		case q == 1 && disturbances > 0:
			disturbances--
			w.cut()
			continue
		case q == 2:
			w.deliver()
			continue
		case q < 16:
			w.produce(w.rng.IntN(len(w.rows)))
			continue
		case (q < 20 || len(w.running) == 0) && len(w.running) < 4:
			starts++
			w.start()
			continue
		}
		if len(w.running) == 0 {
			continue
		}
		p := w.running[w.rng.IntN(len(w.running))]
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

// finish lets what is late arrive, and then all chains be read to their end
// without faults.
func (w *logWorld) finish() {
	w.faults = 0
	for w.deliver() {
	}
	if w.rng.IntN(2) == 0 {
		w.recreate()
	}
	for !w.produced() {
		w.produce(w.rng.IntN(len(w.rows)))
	}
	for p := range simTopics {
		w.pinned = p + 1
		w.start()
		for len(w.running) > 0 && !w.t.Failed() {
			w.step(w.running[0], sinktest.NoFault)
		}
	}
	var want []string
	for s, n := range w.rows {
		for r := range n {
			want = append(want, fmt.Sprintf("%d:%d", s, r))
		}
	}
	slices.Sort(want)
	wantVisible(w.t, w.store, want...)
	table := openTable(w.t, w.store)
	for p := range simTopics {
		for _, err := range table.ReadChain(context.Background(), p) {
			if err != nil {
				w.t.Errorf("I3: topic partition %d: %v", p, err)
			}
		}
	}
}
