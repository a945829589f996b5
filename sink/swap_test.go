package sink_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// swapBench is a table of one topic partition, with one row, and a generation beside
// it that has none.
func swapBench(t *testing.T) (s *mem.Store, live, next *owner) {
	t.Helper()
	s = mem.New()
	live = newOwnerOf(t, s, 0, 1, testLog).open()
	live.mustCommit(row{1, 0, false})
	g, resumed, err := live.table.Build(t.Context(), sink.BuildConfig{Config: []byte("{}"), Partitions: 1})
	if err != nil || resumed || g.Generation() != 2 {
		t.Fatalf("Build: generation %v, resumed %v, %v", g, resumed, err)
	}
	next = &owner{t: t, table: g, chain: g.Chain(0), store: live.store, log: testLog}
	return s, live, next.open()
}

func beginSwap(t *testing.T, table *sink.Table, to int) sink.SwapStatus {
	t.Helper()
	if _, err := table.BeginSwap(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	return helpSwap(t, table)
}

func helpSwap(t *testing.T, table *sink.Table) sink.SwapStatus {
	t.Helper()
	status, err := table.HelpSwap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// lastRecord is the last record of the only chain of a generation.
func lastRecord(t *testing.T, table *sink.Table) (last sink.Record) {
	t.Helper()
	for r, err := range table.ReadChain(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

// While a swap waits for its target the live generation takes neither rows nor topic
// partitions, also from an owner that has not heard of it. Fails where the set is not
// closed, and where the chain is not.
func TestSwapFences(t *testing.T) {
	s, live, next := swapBench(t)
	asleep := newOwnerOf(t, s, 0, 1, testLog).open()
	status := beginSwap(t, live.table, 2)
	if status.Pending == nil || len(status.Behind) != 1 || status.Behind[0].Want != 1 {
		t.Fatalf("the swap waits for %+v", status)
	}
	var closed *sink.ClosedError
	if err := asleep.table.Extend(t.Context(), 2); !errors.As(err, &closed) || closed.Swap != 1 {
		t.Errorf("a topic partition is added: %v", err)
	}
	if outcome := asleep.commit(asleep.batch(row{1, 1, false})); outcome != sink.Lost {
		t.Errorf("a batch that was staged before: %v, want Lost", outcome)
	}
	if state := asleep.open().state; state.Closed != 1 {
		t.Errorf("the chain is %+v", state)
	}
	if _, err := asleep.chain.Commit(t.Context(), asleep.chain.Begin(), sink.Commit{To: 2, Log: testLog}); err == nil {
		t.Error("a closed chain takes a batch")
	}
	// Who asks is led to the target, and it is live as soon as it has caught up.
	if g, _, err := asleep.table.Route(t.Context(), 0); err != nil || g.Generation() != 2 {
		t.Fatalf("Route: %v, %v", g, err)
	}
	next.mustCommit(row{1, 0, false})
	if status := helpSwap(t, asleep.table); status.Pending != nil || status.Live.Generation != 2 {
		t.Errorf("the swap is %+v", status)
	}
}

// A chain that a cancelled swap has closed does not count as closed for the next: a
// record that opens it may be on its way. Fails where it does.
func TestSwapClosesAgain(t *testing.T) {
	_, live, next := swapBench(t)
	beginSwap(t, live.table, 2)
	if l, err := live.table.CancelSwap(t.Context()); err != nil || !l.Cancelled || l.Generation != 1 {
		t.Fatalf("CancelSwap: %+v, %v", l, err)
	}
	if r := lastRecord(t, live.table); r.Kind != sink.KindClose || *r.M != 1 {
		t.Fatalf("the chain ends with %+v", r)
	}
	beginSwap(t, live.table, 2)
	if r := lastRecord(t, live.table); r.Kind != sink.KindClose || *r.M != 2 {
		t.Errorf("the chain ends with %s of swap %v, want one that closes it by swap 2", r.Kind, r.M)
	}
	if _, err := live.table.CancelSwap(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The feed goes on where it was, and later in the target after all.
	if state := live.open().state; state.Closed != 0 || state.To != 1 {
		t.Errorf("the chain is %+v", state)
	}
	live.mustCommit(row{1, 1, false})
	beginSwap(t, live.table, 2)
	next.open().mustCommit(row{1, 0, false}, row{1, 1, false})
	if status := helpSwap(t, live.table); status.Live.Generation != 2 || status.Live.Swap != 3 {
		t.Errorf("the swap is %+v", status)
	}
	if previous, err := live.table.Previous(t.Context()); err != nil || previous != 1 {
		t.Errorf("Previous: %d, %v", previous, err)
	}
}

// A swap whose rebuild dies at once is taken to its end by an owner who does no more
// than ask where its rows go: before anything is closed, and when the target has
// caught up. Fails where owners do not help.
func TestSwapOfADeadRebuild(t *testing.T) {
	_, live, next := swapBench(t)
	if pending, err := live.table.BeginSwap(t.Context(), 2); err != nil || pending == nil {
		t.Fatalf("BeginSwap: %v, %v", pending, err)
	}
	led, status, err := live.table.Route(t.Context(), 0)
	if err != nil || led.Generation() != 2 || len(status.Behind) != 1 {
		t.Fatalf("Route: %+v, %v", status, err)
	}
	if state := live.open().state; state.Closed != 1 {
		t.Errorf("the live chain is %+v", state)
	}
	next.open().mustCommit(row{1, 0, false})
	if _, status, err = live.table.Route(t.Context(), 0); err != nil || status.Pending != nil || status.Live.Generation != 2 {
		t.Errorf("Route: %+v, %v", status, err)
	}
	if now, err := live.table.Swaps(t.Context()); err != nil || now.Live.Generation != 2 {
		t.Errorf("the swap is %+v, %v", now, err)
	}
}

// There is one swap at a time: who begins another is given the one that is under way,
// also if that was begun between his look and his intent. Fails where an intent takes
// the place of one that is there.
func TestSwapOneAtATime(t *testing.T) {
	s, live, _ := swapBench(t)
	if g, _, err := live.table.Build(t.Context(), sink.BuildConfig{Config: []byte(`{"another":1}`), Partitions: 1}); err != nil || g.Generation() != 3 {
		t.Fatal(g, err)
	}
	other, begun := newOwnerOf(t, s, 0, 1, testLog), false
	live.store.Plan = func(c sinktest.Call) sinktest.Fault {
		if !begun && strings.Contains(c.Key, "/swaps/") && c.Op != "get" {
			begun = true
			if pending, err := other.table.BeginSwap(t.Context(), 3); err != nil || pending == nil || pending.To != 3 {
				t.Errorf("the other begins: %+v, %v", pending, err)
			}
		}
		return sinktest.NoFault
	}
	for _, when := range []string{"at once", "later"} {
		if pending, err := live.table.BeginSwap(t.Context(), 2); err != nil || pending == nil || pending.To != 3 || pending.Number != 1 {
			t.Errorf("who begins another %s is given %+v, %v", when, pending, err)
		}
	}
	if !begun {
		t.Error("nothing was begun in between")
	}
}

// One who helps a swap that goes back falls asleep before it opens the target, and
// wakes up when the next swap has closed that again: it stays closed. Fails where a
// helper opens whatever is closed.
func TestSwapHelperWakesUpLate(t *testing.T) {
	for _, what := range []string{"set", "commits"} {
		t.Run(what, func(t *testing.T) {
			s, live, next := swapBench(t)
			next.mustCommit(row{1, 0, false})
			if status := beginSwap(t, live.table, 2); status.Live.Generation != 2 {
				t.Fatalf("the first swap is %+v", status)
			}
			if _, err := live.table.BeginSwap(t.Context(), 1); err != nil { // the second one goes back
				t.Fatal(err)
			}
			asleep := newOwnerOf(t, s, 0, 1, testLog)
			slept := false
			asleep.store.Plan = func(c sinktest.Call) sinktest.Fault {
				if !slept && c.Op == "create" && strings.Contains(c.Key, "/g1/"+what+"/") {
					slept = true
					if status := helpSwap(t, live.table); status.Live.Generation != 1 || status.Live.Swap != 2 {
						t.Errorf("the second swap is %+v", status)
					}
					if status := beginSwap(t, live.table, 2); status.Live.Generation != 2 || status.Live.Swap != 3 {
						t.Errorf("the third swap is %+v", status)
					}
				}
				return sinktest.NoFault
			}
			if _, err := asleep.table.HelpSwap(t.Context()); err != nil {
				t.Errorf("who wakes up: %v", err)
			}
			if !slept {
				t.Fatal("it opened nothing")
			}
			if r := lastRecord(t, live.table); r.Kind != sink.KindClose || *r.M != 3 {
				t.Errorf("the chain of the first generation ends with %s of swap %v, want one that closes it by swap 3", r.Kind, *r.M)
			}
			first, err := live.table.At(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			var closed *sink.ClosedError
			if err := first.Extend(t.Context(), 2); !errors.As(err, &closed) || closed.Swap != 3 {
				t.Errorf("a topic partition is added to the first generation: %v", err)
			}
		})
	}
}

// A process that is at work is found out by a second one, and one that died is not
// waited for longer than it takes to see that.
func TestHold(t *testing.T) {
	_, live, _ := swapBench(t)
	_, hold, err := live.table.Hold(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sink.ReadTable(t.Context(), live.store, "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Hold(t.Context(), false); !errors.Is(err, sink.ErrAtWork) {
		t.Errorf("a second one: %v", err)
	}
	hold.Release(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, again, err := other.Hold(ctx, false); err != nil {
		t.Errorf("when the first has ended: %v", err)
	} else {
		again.Release(ctx)
	}
}
