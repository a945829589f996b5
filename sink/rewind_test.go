package sink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// keys are the messages' keys of a log whose first offset is start, as batch
// gives them to fingerprints.
type keys struct {
	start int64
	keys  []string
}

func (k keys) at(_ context.Context, offset int64) (*sink.Fingerprint, error) {
	i := offset - k.start
	if i < 0 || i >= int64(len(k.keys)) {
		return nil, nil
	}
	return &sink.Fingerprint{Offset: offset, Key: k.keys[i], Epoch: 7}, nil
}

func (k keys) view() sink.LogView {
	return sink.LogView{Topic: "topic", Log: testLog, Start: k.start, End: k.start + int64(len(k.keys))}
}

// uncut is the log that a chain of n messages was written from.
func uncut(n int) (k keys) {
	for i := range n {
		k.keys = append(k.keys, fmt.Sprint("key of ", i))
	}
	return k
}

// cut is a log whose messages from an offset on are others.
func cut(n, at int) keys {
	k := uncut(n)
	for i := at; i < n; i++ {
		k.keys[i] = "another"
	}
	return k
}

// threeRecords is a chain with records to offset 2, 4 and 6.
func threeRecords(t *testing.T) (*mem.Store, *owner) {
	t.Helper()
	s := mem.New()
	a := newOwner(t, s).open()
	for i := range int64(3) {
		a.mustCommit(row{1, 2 * i, false}, row{1, 2*i + 1, false})
	}
	return s, a.open()
}

func TestRewind(t *testing.T) {
	for _, test := range []struct {
		name string
		log  keys
		to   int64
		fp   bool
	}{
		{"the last message is another", cut(9, 5), 4, true},
		{"so are those of the second record", cut(9, 3), 2, true},
		{"all are", cut(9, 0), 0, false},
		{"the log is shorter", uncut(5), 4, true},
		{"shorter, at the end of a record", uncut(2), 2, true},
		{"shorter than the first record", uncut(1), 0, false},
		{"empty", uncut(0), 0, false},
		{"cut at both ends", keys{start: 3, keys: uncut(5).keys[3:]}, 4, true},
		{"cut at both ends, within a record", keys{start: 4, keys: uncut(5).keys[4:]}, 4, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, a := threeRecords(t)
			to, outcome, err := a.chain.Rewind(t.Context(), test.log.view(), test.log.at)
			if to != test.to || outcome != sink.Decided || err != nil {
				t.Fatalf("Rewind = %d, %v, %v; want offset %d", to, outcome, err, test.to)
			}
			b := newOwner(t, s).open()
			if b.state.To != test.to || (b.state.FP != nil) != test.fp || b.state.FP != nil && b.state.FP.Offset != test.to-1 {
				t.Errorf("state %+v", b.state)
			}
			view := test.log.view()
			if b.state.FP != nil {
				view.Last, _ = test.log.at(t.Context(), b.state.FP.Offset)
			}
			if _, err := b.state.CheckLog(view); err != nil {
				t.Errorf("behind the rewind: %v", err)
			}
			// What is sent again at the offsets that are used again is known.
			a.mustCommit(row{1, 4, false}, row{1, 5, false}, row{1, 6, false})
			wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "1:4", "1:5", "1:6")
		})
	}
}

// A second cut goes back behind the first, and never to a record of another log.
func TestRewindAgain(t *testing.T) {
	s, a := threeRecords(t)
	log := cut(9, 5)
	if to, _, err := a.chain.Rewind(t.Context(), log.view(), log.at); to != 4 || err != nil {
		t.Fatal(to, err)
	}
	a.mustCommit(row{1, 4, false}, row{1, 6, false})
	log = cut(9, 3)
	if to, _, err := a.chain.Rewind(t.Context(), log.view(), log.at); to != 2 || err != nil {
		t.Fatal(to, err)
	}
	a.mustCommit(row{1, 2, false}, row{1, 7, false})
	a.adopt(newLog).open().mustCommit(row{1, 0, false}, row{1, 1, false}, row{1, 2, false}, row{1, 8, false})
	log = cut(9, 3) // its first three messages would fit the old log's first record
	view := log.view()
	view.Log = newLog
	if to, outcome, err := a.chain.Rewind(t.Context(), view, log.at); to != 0 || outcome != sink.Decided || err != nil {
		t.Errorf("Rewind = %d, %v, %v", to, outcome, err)
	}
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "1:4", "1:5", "1:6", "1:7", "1:8")
}

// A record that ends with offsets that hold no message fits a log by its last
// message, and yet ends beyond the log.
func TestRewindStaysInTheLog(t *testing.T) {
	a := newOwner(t, mem.New()).open()
	a.mustCommit(row{1, 0, false}, row{1, 1, false})
	d := a.batch(row{1, 2, false})
	d.Skip(3, 5, sink.SkipControl)
	d.To = 5
	if outcome := a.commit(d); outcome != sink.Decided {
		t.Fatal(outcome)
	}
	a.mustCommit(row{1, 3, false})
	log := uncut(4)
	if to, outcome, err := a.chain.Rewind(t.Context(), log.view(), log.at); to != 2 || outcome != sink.Decided || err != nil {
		t.Errorf("Rewind = %d, %v, %v; want offset 2", to, outcome, err)
	}
}

// Of two that rewind one wins, and so does one that commits meanwhile.
func TestRewindRaces(t *testing.T) {
	s, a := threeRecords(t)
	b, c := newOwner(t, s).open(), newOwner(t, s).open()
	batch := c.batch(row{1, 6, false})
	log := cut(9, 5)
	if _, outcome, err := a.chain.Rewind(t.Context(), log.view(), log.at); outcome != sink.Decided || err != nil {
		t.Fatal(outcome, err)
	}
	if _, outcome, err := b.chain.Rewind(t.Context(), log.view(), log.at); outcome != sink.Lost || err != nil {
		t.Errorf("the second rewind: %v, %v", outcome, err)
	}
	if outcome := c.commit(batch); outcome != sink.Lost {
		t.Errorf("a batch from before the cut: %v", outcome)
	}
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "1:4", "1:5")
	a.store.Plan = once(sinktest.FailAfter, "create", "/commits/")
	log = cut(9, 0)
	if to, outcome, err := a.chain.Rewind(t.Context(), log.view(), log.at); to != 0 || outcome != sink.Decided || err != nil {
		t.Errorf("with an answer that was lost: %d, %v, %v", to, outcome, err)
	}
	if n := countKind(kinds(t, a.table, 0), sink.KindRewind); n != 2 {
		t.Errorf("%d rewinds", n)
	}
}

func TestRewindOfAnotherLog(t *testing.T) {
	_, a := threeRecords(t)
	log := cut(9, 5)
	view := log.view()
	view.Log = newLog
	if _, _, err := a.chain.Rewind(t.Context(), view, log.at); err == nil {
		t.Error("a chain was taken back by another log")
	}
	view = log.view()
	view.Start, view.End = 7, 9
	if _, _, err := a.chain.Rewind(t.Context(), view, log.at); err == nil {
		t.Error("a chain was taken back where a gap is")
	}
	failed := errors.New("the broker is gone")
	if _, outcome, err := a.chain.Rewind(t.Context(), log.view(), func(context.Context, int64) (*sink.Fingerprint, error) { return nil, failed }); outcome != sink.Undecided || !errors.Is(err, failed) {
		t.Errorf("%v, %v", outcome, err)
	}
	a.mustCommit(row{1, 6, false})
}

// Offsets that are gone before they were read are on record, with their number.
func TestGap(t *testing.T) {
	s, a := threeRecords(t)
	b := newOwner(t, s).open()
	view := sink.LogView{Topic: "topic", Log: testLog, Start: 10, End: 12}
	var gone *sink.LogError
	if _, err := a.state.CheckLog(view); !errors.As(err, &gone) || gone.Case != sink.LogRetention {
		t.Fatalf("CheckLog: %v", err)
	}
	if outcome, err := a.chain.Gap(t.Context(), 10); outcome != sink.Decided || err != nil {
		t.Fatalf("Gap: %v, %v", outcome, err)
	}
	r := records(t, a.table, 0)[3]
	if r.Kind != sink.KindGap || r.From != 6 || r.To != 10 || !slices.Equal(r.Skipped, []sink.Skip{{From: 6, To: 10, Reason: sink.SkipRetention}}) ||
		r.Counts != (sink.Counts{Skipped: 4, Lost: 4}) {
		t.Errorf("%+v", r)
	}
	if outcome, err := b.chain.Gap(t.Context(), 10); outcome != sink.Lost || err != nil {
		t.Errorf("a second gap: %v, %v", outcome, err)
	}
	b.open()
	if verdict, err := b.state.CheckLog(view); verdict != sink.LogUnverified || err != nil {
		t.Errorf("behind the gap: %v, %v", verdict, err)
	}
	for _, to := range []int64{9, 10} {
		if _, err := b.chain.Gap(t.Context(), to); err == nil {
			t.Errorf("a gap to offset %d, where the chain is at 10", to)
		}
	}
	b.mustCommit(row{1, 5, false}, row{1, 9, false})
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "1:4", "1:5", "1:9")
	if _, err := newOwner(t, mem.New()).open().chain.Gap(t.Context(), 3); err == nil {
		t.Error("a gap is the first record")
	}
}
