package sink_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

const newLog = "log-2"

// tripod is a table of three topic partitions. Stream 1 is complete in topic
// partition 0, stream 2 has rows 0 to 2 in topic partition 1, with row 1 missing,
// and topic partition 2 has nothing yet.
func tripod(t *testing.T) *mem.Store {
	t.Helper()
	s := mem.New()
	newOwnerOf(t, s, 0, 3, testLog).open().mustCommit(row{1, 0, false}, row{1, 1, false}, row{1, 2, true})
	newOwnerOf(t, s, 1, 3, testLog).open().mustCommit(row{2, 0, false}, row{2, 2, false})
	return s
}

// sendAgain commits all rows of both streams, and their ends, to one topic
// partition of the new log, as a producer does that finds a new topic.
func sendAgain(t *testing.T, s sink.Store, partition int) *owner {
	t.Helper()
	o := newOwnerOf(t, s, partition, 3, newLog).open()
	o.mustCommit(row{1, 0, false}, row{1, 1, false}, row{1, 2, true}, row{2, 0, false}, row{2, 1, false}, row{2, 2, false}, row{2, 3, true})
	return o
}

func (o *owner) adopt(log string) *owner {
	o.t.Helper()
	if err := o.table.AdoptLog(o.t.Context(), log); err != nil {
		o.t.Fatal(err)
	}
	o.log = log
	return o
}

// records are all records of a topic partition.
func records(t *testing.T, table *sink.Table, partition int) (all []sink.Record) {
	t.Helper()
	for r, err := range table.ReadChain(t.Context(), partition) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func kinds(t *testing.T, table *sink.Table, partition int) (all []sink.Kind) {
	t.Helper()
	for _, r := range records(t, table, partition) {
		all = append(all, r.Kind)
	}
	return all
}

// A stream that comes back in another topic partition is known there, whether it
// is complete or not, and so is one that comes back where it was.
func TestResetKnowsWhatAllChainsHaveSeen(t *testing.T) {
	for partition := range 3 {
		t.Run(fmt.Sprint("they come back in topic partition ", partition), func(t *testing.T) {
			s := tripod(t)
			newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
			sendAgain(t, s, partition)
			wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
		})
	}
}

func TestResetBeginsTheNewLog(t *testing.T) {
	s := tripod(t)
	a := newOwnerOf(t, s, 0, 3, testLog).open()
	if _, err := a.state.CheckLog(sink.LogView{Topic: "topic", Log: newLog, End: 100}); err == nil {
		t.Fatal("the new log is taken for the old one")
	}
	a.adopt(newLog).adopt(newLog) // the second does nothing
	for p, want := range [][]sink.Kind{{sink.KindRows, sink.KindReset}, {sink.KindRows, sink.KindReset}, {sink.KindReset}} {
		o := newOwnerOf(t, s, p, 3, newLog).open()
		if o.state.To != 0 || o.state.Log != newLog || o.state.FP != nil || o.state.Reset != 1 {
			t.Errorf("topic partition %d: state %+v", p, o.state)
		}
		if _, err := o.state.CheckLog(sink.LogView{Topic: "topic", Partition: p, Log: newLog, End: 100}); err != nil {
			t.Errorf("topic partition %d: %v", p, err)
		}
		if have := kinds(t, o.table, p); !slices.Equal(have, want) {
			t.Errorf("topic partition %d: records %v, want %v", p, have, want)
		}
	}
	if _, err := a.chain.Commit(t.Context(), a.chain.Begin(), sink.Commit{To: 4, Log: newLog}); err == nil {
		t.Error("a chain took rows of the new log without being opened again")
	}
	if err := a.table.AdoptLog(t.Context(), ""); err == nil {
		t.Error("a log without an id was adopted")
	}
}

// No chain begins with rows of another log than the others have, not even one
// that has no record: else they would be taken before the barrier.
func TestEmptyChainKnowsTheLog(t *testing.T) {
	s := mem.New()
	stale := newOwnerOf(t, s, 1, 3, testLog).open()
	batch := stale.batch(row{2, 0, false})
	early := newOwnerOf(t, s, 2, 3, newLog).open()
	newOwnerOf(t, s, 0, 3, testLog).open().mustCommit(row{1, 0, false})

	fresh := newOwnerOf(t, s, 2, 3, newLog).open()
	var other *sink.LogError
	if _, err := fresh.state.CheckLog(sink.LogView{Topic: "topic", Partition: 2, Log: newLog, End: 9}); !errors.As(err, &other) || other.Case != sink.LogOther {
		t.Errorf("an empty chain takes another log than the table's: %v", err)
	}
	d := early.batch(row{1, 0, false})
	if outcome := early.commit(d); outcome != sink.Lost {
		t.Errorf("a chain began with rows of another log: %v", outcome)
	}
	if s.IsStaged(d.Files[0].Staged) {
		t.Error("the upload was not discarded")
	}
	if outcome := stale.commit(batch); outcome != sink.Decided {
		t.Errorf("a batch of the table's log: %v", outcome)
	}
	wantVisible(t, s, "1:0", "2:0")
}

// A batch of the old log that was staged before the reset loses, in every chain,
// also in one that has no record yet.
func TestResetBeatsStaleBatches(t *testing.T) {
	s := tripod(t)
	var stale []*owner
	var batches []draft
	for p := range 3 {
		o := newOwnerOf(t, s, p, 3, testLog).open()
		stale, batches = append(stale, o), append(batches, o.batch(row{2, 1, false}))
	}
	newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
	for p, o := range stale {
		if outcome := o.commit(batches[p]); outcome != sink.Lost {
			t.Errorf("topic partition %d: %v, want Lost", p, outcome)
		}
	}
	sendAgain(t, s, 2)
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
}

// The process that resets dies at any call of the store, before or after it. A
// chain that has its reset takes no rows before all others have theirs, so that a
// batch of the old log that is decided in one of them is known, or loses.
func TestCrashInTheBarrier(t *testing.T) {
	calls := func() int {
		a := newOwnerOf(t, tripod(t), 0, 3, testLog)
		before := len(a.store.Calls())
		a.adopt(newLog)
		return len(a.store.Calls()) - before
	}()
	if calls < 15 {
		t.Fatalf("only %d calls", calls)
	}
	for _, fault := range []sinktest.Fault{sinktest.CrashBefore, sinktest.CrashAfter} {
		for n := 1; n <= calls; n++ {
			for reader := range 3 {
				for late := range 3 { // the stale batch, before or behind the first look at the chains
					s := tripod(t)
					stale := newOwnerOf(t, s, 1, 3, testLog).open()
					batch := stale.batch(row{2, 1, false})
					a := newOwnerOf(t, s, 0, 3, testLog)
					a.store.Plan = sinktest.FailNth(len(a.store.Calls())+n, fault)
					crash(func() { _ = a.table.AdoptLog(t.Context(), newLog) })
					if late == 0 {
						stale.commit(batch)
					}
					o := newOwnerOf(t, s, reader, 3, newLog).open()
					if o.state.Log != newLog {
						o.adopt(newLog)
					}
					if late == 1 {
						stale.commit(batch)
					}
					sendAgain(t, s, reader)
					if late == 2 {
						stale.commit(batch)
					}
					wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
					if t.Failed() {
						t.Fatalf("crash %v at call %d, read in topic partition %d, stale batch at %d", fault, n, reader, late)
					}
				}
			}
		}
	}
}

// Calls that fail are no harm either: the next try goes on.
func TestFaultsInTheBarrier(t *testing.T) {
	for _, fault := range []sinktest.Fault{sinktest.FailBefore, sinktest.FailAfter, sinktest.Delay} {
		for n := 1; n <= 40; n++ {
			s := tripod(t)
			a := newOwnerOf(t, s, 0, 3, testLog)
			before := len(a.store.Calls())
			a.store.Plan = func(c sinktest.Call) sinktest.Fault {
				if c.N == before+n && (fault != sinktest.Delay || c.Op == "create") {
					return fault
				}
				return sinktest.NoFault
			}
			for a.table.AdoptLog(t.Context(), newLog) != nil {
			}
			for a.store.Delayed() > 0 {
				_ = a.store.Deliver(t.Context(), 0) // whoever sent it does not wait any more
			}
			sendAgain(t, s, 2)
			wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
			for p := range 3 {
				if k := kinds(t, a.table, p); countKind(k, sink.KindReset) != 1 {
					t.Errorf("fault %v at call %d: topic partition %d has %v", fault, n, p, k)
				}
			}
		}
	}
}

func countKind(all []sink.Kind, kind sink.Kind) (n int) {
	for _, k := range all {
		if k == kind {
			n++
		}
	}
	return n
}

// Processes that reset at once, and one of them for yet another log, agree.
func TestTwoProcessesResetAtOnce(t *testing.T) {
	s := tripod(t)
	var group sync.WaitGroup
	for i := range 6 {
		o := newOwnerOf(t, s, 0, 3, testLog)
		log := []string{newLog, newLog, "log-3"}[i%3]
		group.Go(func() {
			if err := o.table.AdoptLog(t.Context(), log); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	o := newOwnerOf(t, s, 0, 3, newLog).adopt(newLog)
	var want []string
	for p := range 3 {
		var logs []string
		for _, r := range records(t, o.table, p) {
			if r.Kind == sink.KindReset {
				logs = append(logs, fmt.Sprint(r.Reset, r.Log))
			}
		}
		if want == nil {
			want = logs
		}
		if !slices.Equal(logs, want) || len(logs) == 0 {
			t.Errorf("topic partition %d was reset as %q, topic partition 0 as %q", p, logs, want)
		}
	}
	sendAgain(t, s, 1)
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
}

// A second reset knows what was seen under both logs, also when it goes back to
// the first one.
func TestResetTwice(t *testing.T) {
	for _, third := range []string{"log-3", testLog} {
		s := tripod(t)
		newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
		// Row 2:1 comes, and so does stream 3, in topic partition 2.
		newOwnerOf(t, s, 2, 3, newLog).open().mustCommit(row{2, 0, false}, row{2, 1, false}, row{3, 0, false}, row{3, 1, true})
		newOwnerOf(t, s, 1, 3, newLog).adopt(third)
		o := newOwnerOf(t, s, 0, 3, third).open()
		if o.state.To != 0 || o.state.Reset != 2 {
			t.Errorf("state %+v", o.state)
		}
		o.mustCommit(row{2, 0, false}, row{2, 1, false}, row{2, 2, false}, row{3, 0, false}, row{3, 1, true}, row{1, 0, false}, row{1, 1, false}, row{2, 3, true})
		wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2", "3:0")
		for id, want := range map[int]int64{1: 2, 2: 3, 3: 1} {
			if complete, count, err := o.chain.Complete(streamID(id)); !complete || count != want || err != nil {
				t.Errorf("stream %d: Complete = %v, %d, %v", id, complete, count, err)
			}
		}
	}
}

// A topic partition that is added after a reset begins with it, and knows what the
// others know.
func TestNewChainAfterAReset(t *testing.T) {
	s := tripod(t)
	newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
	o := newOwnerOf(t, s, 3, 4, newLog).open()
	if o.state.Log != newLog || o.state.To != 0 || o.state.Reset != 1 {
		t.Errorf("state %+v", o.state)
	}
	o.mustCommit(row{1, 0, false}, row{1, 1, false}, row{2, 0, false}, row{2, 1, false}, row{4, 0, false})
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2", "4:0")
	// One whose owner still has the old log is reset all the same.
	o = newOwnerOf(t, s, 4, 5, testLog).open()
	if _, err := o.state.CheckLog(sink.LogView{Topic: "topic", Partition: 4, Log: testLog, End: 9}); err == nil {
		t.Error("a new chain takes rows of the old log")
	}
	// And the next reset has the new chains, whoever does it.
	newOwnerOf(t, s, 0, 3, newLog).adopt("log-3")
	o = newOwnerOf(t, s, 2, 5, "log-3").open()
	o.mustCommit(row{4, 0, false}, row{2, 1, false})
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2", "4:0")
}

// A topic partition that another process has added since the table was opened is
// reset like all others.
func TestResetOfAChainThatWasAdded(t *testing.T) {
	s := tripod(t)
	a := newOwnerOf(t, s, 0, 3, testLog)
	b := newOwnerOf(t, s, 3, 4, testLog).open()
	b.mustCommit(row{7, 0, false})
	stale := b.batch(row{7, 1, false})
	a.adopt(newLog).open().mustCommit(row{7, 0, false}, row{7, 1, false})
	if outcome := b.commit(stale); outcome != sink.Lost {
		t.Errorf("a batch of the old log: %v, want Lost", outcome)
	}
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:2", "7:0", "7:1")
}

// Behind its checkpoint a chain does not read the others; and what only saves
// reading may be lost or damaged.
func TestCheckpointAfterAReset(t *testing.T) {
	s := tripod(t)
	newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
	o := newOwnerOf(t, s, 2, 3, newLog).open() // writes a checkpoint
	if !slices.Equal(o.chain.Segments(), []int{1}) || o.chain.Live() != 1 {
		t.Errorf("segments %v, %d live", o.chain.Segments(), o.chain.Live())
	}
	o.mustCommit(row{5, 0, false}, row{5, 1, true})
	o = newOwnerOf(t, s, 2, 3, newLog)
	before := len(o.store.Calls())
	o.open()
	for _, c := range o.store.Calls()[before:] {
		if strings.Contains(c.Key, "/commits/") && !strings.Contains(c.Key, "/00000000000000000002/") || strings.Contains(c.Key, "/unions/") {
			t.Errorf("a chain with a checkpoint reads %v", c)
		}
	}
	shared := keysUnder(t, s, "_lakefeed/t/g1/streams/topic/union/")
	if len(shared) != 1 {
		t.Errorf("shared segments %v, want one", shared)
	}
	for name, damage := range map[string]func(s *mem.Store){
		"whole":          func(s *mem.Store) {},
		"no checkpoints": func(s *mem.Store) { remove(t, s, "_lakefeed/t/g1/checkpoints/") },
		"no segments":    func(s *mem.Store) { remove(t, s, "_lakefeed/t/g1/streams/") },
		"no unions": func(s *mem.Store) {
			remove(t, s, "_lakefeed/t/g1/unions/")
			remove(t, s, "_lakefeed/t/g1/checkpoints/")
		},
		"broken unions": func(s *mem.Store) {
			for _, key := range keysUnder(t, s, "_lakefeed/t/g1/unions/") {
				_ = s.Put(t.Context(), key, []byte("{"))
			}
			remove(t, s, "_lakefeed/t/g1/checkpoints/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tripod(t)
			newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
			newOwnerOf(t, s, 2, 3, newLog).open().mustCommit(row{2, 1, false})
			newOwnerOf(t, s, 0, 3, testLog).adopt("log-3")
			newOwnerOf(t, s, 0, 3, "log-3").open().mustCommit(row{6, 0, false})
			damage(s)
			for p := range 3 {
				o := newOwnerOf(t, s, p, 3, "log-3").open()
				o.mustCommit(row{1, 0, false}, row{1, 1, false}, row{2, 0, false}, row{2, 1, false}, row{2, 2, false})
			}
			wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2", "6:0")
		})
	}
}

func keysUnder(t *testing.T, s sink.Store, prefix string) (keys []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func remove(t *testing.T, s sink.Store, prefix string) {
	t.Helper()
	for _, key := range keysUnder(t, s, prefix) {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// A chain whose last record is not published is published before it is reset.
func TestResetSettlesFirst(t *testing.T) {
	s := tripod(t)
	a := newOwnerOf(t, s, 1, 3, testLog).open()
	a.store.Plan = once(sinktest.CrashAfter, "create", "/commits/")
	crash(func() {
		d := a.batch(row{2, 1, false})
		_, _ = a.chain.Commit(t.Context(), d.Draft, d.Commit)
	})
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:2")
	newOwnerOf(t, s, 0, 3, testLog).adopt(newLog)
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
	sendAgain(t, s, 0)
	wantVisible(t, s, "1:0", "1:1", "2:0", "2:1", "2:2")
}

// What has two ends, or rows that only one of two chains has, is joined.
func TestUnionOfOneStreamInTwoChains(t *testing.T) {
	s := mem.New()
	newOwnerOf(t, s, 0, 2, testLog).open().mustCommit(row{1, 0, false}, row{1, 4, false}, row{1, 5, false})
	newOwnerOf(t, s, 1, 2, testLog).open().mustCommit(row{1, 1, false}, row{1, 2, false}, row{1, 7, true})
	newOwnerOf(t, s, 0, 2, testLog).adopt(newLog)
	o := newOwnerOf(t, s, 1, 2, newLog).open()
	d := o.chain.Begin()
	for number, want := range []sink.Verdict{sink.Duplicate, sink.Duplicate, sink.Duplicate, sink.Fresh, sink.Duplicate, sink.Duplicate, sink.Fresh, sink.Conflict} {
		if v, err := d.Row(streamID(1), int64(number)); v != want || err != nil {
			t.Errorf("row %d: %v, %v; want %v", number, v, err, want)
		}
	}
}
