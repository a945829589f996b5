package sink_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
)

// What the process says that builds a generation is seen by those that share its work,
// and so is its end.
func TestLeader(t *testing.T) {
	_, live, _ := swapBench(t)
	other, err := sink.ReadTable(t.Context(), live.store, "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Leader(t.Context()); !errors.Is(err, sink.ErrNotAtWork) {
		t.Errorf("before there is one: %v", err)
	}
	_, hold, err := live.table.Hold(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	leader, err := other.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if leader.ID() != hold.ID() || leader.Work().Step != sink.WorkPrepare {
		t.Errorf("%s is at %+v, want %s at its beginning", leader.ID(), leader.Work(), hold.ID())
	}
	for _, want := range []sink.Work{
		{Step: sink.WorkWrite, Generation: 3, To: map[int]int64{0: 7, 1: 1 << 40}},
		{Step: sink.WorkPrepare, Generation: 3, Alone: "why"},
		{Step: sink.WorkFinish, Generation: 3},
	} {
		hold.Say(t.Context(), want)
		got, err := leader.Look(t.Context())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("what it says is seen otherwise: %v\n%s", err, diff)
		}
	}
	hold.Release(t.Context())
	if _, err := leader.Look(t.Context()); !errors.Is(err, sink.ErrLeft) {
		t.Errorf("when it has ended: %v", err)
	}
}
