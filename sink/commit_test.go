package sink_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// Nothing may be visible before it is decided, and what is published is what was
// read: create, get, publish, in this order.
func TestOrderOfACommit(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}) // the first one makes the table's log too
	d := a.batch(row{1, 1, false})
	before := len(a.store.Calls())
	wantVisible(t, s, "1:0")
	if outcome := a.commit(d); outcome != sink.Decided {
		t.Fatal(outcome)
	}
	var ops []string
	for _, c := range a.store.Calls()[before:] {
		ops = append(ops, c.Op)
	}
	if want := []string{"create", "get", "publish"}; !slices.Equal(ops, want) {
		t.Errorf("calls %v, want %v", ops, want)
	}
}

// Of two owners one wins. The other's files are never visible, its rows are not
// taken for seen, and it can go on.
func TestLostBatchNeverWas(t *testing.T) {
	s := mem.New()
	a, b := newOwner(t, s).open(), newOwner(t, s).open()
	lost := b.batch(row{1, 0, false}, row{1, 1, false}, row{1, 2, false})
	a.mustCommit(row{1, 0, false})
	if outcome := b.commit(lost); outcome != sink.Lost {
		t.Fatalf("outcome %v, want Lost", outcome)
	}
	wantVisible(t, s, "1:0")
	if s.IsStaged(lost.Files[0].Staged) {
		t.Error("the upload was not discarded")
	}
	if _, err := b.chain.Commit(t.Context(), lost.Draft, lost.Commit); err == nil {
		t.Error("a lost draft was committed again")
	}
	b.open()
	b.mustCommit(row{1, 1, false}, row{1, 2, false})
	wantVisible(t, s, "1:0", "1:1", "1:2")
}

// A draft sees its own rows, and the chain does not see those of a draft that was
// dropped.
func TestDroppedDraftLeavesNoMark(t *testing.T) {
	a := newOwner(t, mem.New()).open()
	a.mustCommit(row{1, 0, false}, row{1, 4, false})
	d := a.chain.Begin()
	for _, want := range []sink.Verdict{sink.Fresh, sink.Duplicate} {
		for _, r := range []int64{1, 2, 3, 5, 9} {
			if v, err := d.Row(streamID(1), r); v != want || err != nil {
				t.Errorf("row %d: %v, %v; want %v", r, v, err, want)
			}
		}
	}
	if v, _ := d.End(streamID(1), 10, "complete", ""); v != sink.Fresh {
		t.Error("the end is not fresh")
	}
	d = a.chain.Begin()
	for _, r := range []int64{1, 2, 3, 5, 9, 10} {
		if v, err := d.Row(streamID(1), r); v != sink.Fresh || err != nil {
			t.Errorf("row %d after the draft was dropped: %v, %v; want fresh", r, v, err)
		}
	}
}

// Who loses a race finds a record whose maker may be dead: it must publish that
// before it decides anything itself.
func TestLoserSettlesWhatItFound(t *testing.T) {
	s := mem.New()
	a, b := newOwner(t, s).open(), newOwner(t, s).open()
	lost := b.batch(row{1, 0, false})
	a.store.Plan = once(sinktest.CrashAfter, "create", "/commits/")
	crash(func() {
		d := a.batch(row{1, 0, false}, row{1, 1, false})
		_, _ = a.chain.Commit(t.Context(), d.Draft, d.Commit)
	})
	wantVisible(t, s)
	if outcome := b.commit(lost); outcome != sink.Lost {
		t.Fatalf("outcome %v, want Lost", outcome)
	}
	b.open()
	wantVisible(t, s, "1:0", "1:1")
	b.mustCommit(row{1, 2, false})
	wantVisible(t, s, "1:0", "1:1", "1:2")
}

// While record k cannot be published, nothing is decided behind it.
func TestNothingIsDecidedBehindAnUnpublishedRecord(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.store.Plan = func(c sinktest.Call) sinktest.Fault {
		if c.Op == "publish" {
			return sinktest.FailBefore
		}
		return sinktest.NoFault
	}
	d := a.batch(row{1, 0, false})
	if outcome, err := a.chain.Commit(t.Context(), d.Draft, d.Commit); outcome != sink.Undecided || !errors.Is(err, sinktest.ErrFault) {
		t.Fatalf("Commit = %v, %v; want the fault", outcome, err)
	}
	d2 := a.chain.Begin()
	d2.Skip(d2.From(), d2.From()+1, sink.SkipControl)
	if _, err := a.chain.Commit(t.Context(), d2, sink.Commit{To: d2.From() + 1, Log: testLog}); err == nil {
		t.Error("a record was committed behind one that is not published")
	}
	if _, err := a.chain.Open(t.Context()); !errors.Is(err, sinktest.ErrFault) {
		t.Errorf("Open: %v, want the fault", err)
	}
	if err := a.chain.Checkpoint(t.Context()); err == nil {
		t.Error("a checkpoint was written of a record that is not published")
	}
	if _, err := s.Get(t.Context(), a.table.RecordKey(0, 1)); !errors.Is(err, sink.ErrNotExist) {
		t.Error("there is a second record")
	}
	a.store.Plan = nil
	a.open().mustCommit(row{1, 1, false})
	wantVisible(t, s, "1:0", "1:1")
}

// A request whose answer was lost may arrive later: the same record is sent again
// until the answer is known, and nothing is discarded before.
func TestUnknownAnswers(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault sinktest.Fault
	}{
		{"it was done", sinktest.FailAfter},
		{"it was not done", sinktest.FailBefore},
		{"it arrives before the second try", sinktest.Delay},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mem.New()
			a := newOwner(t, s).open()
			d := a.batch(row{1, 0, false})
			tries := 0
			a.store.Plan = once(test.fault, "create", "/commits/")
			a.table.Tune(256, func(ctx context.Context) error {
				if tries++; a.store.Delayed() > 0 {
					return a.store.Deliver(ctx, 0)
				}
				return nil
			})
			if outcome := a.commit(d); outcome != sink.Decided || tries != 1 {
				t.Errorf("outcome %v after %d waits", outcome, tries)
			}
			for _, c := range a.store.Calls() {
				if c.Op == "discard" {
					t.Error("something was discarded")
				}
			}
			wantVisible(t, s, "1:0")
			a.mustCommit(row{1, 1, false})
			newOwner(t, s).open()
			wantVisible(t, s, "1:0", "1:1")
		})
	}
}

// The same body goes to the same number, however often it is sent.
func TestUnknownAnswerSendsTheSameAgain(t *testing.T) {
	s := mem.New()
	bodies := &recorder{Store: s}
	a := newOwner(t, bodies).open()
	now := time.Now()
	a.table.SetNow(func() time.Time { now = now.Add(time.Minute); return now })
	fails := 0
	a.store.Plan = func(c sinktest.Call) sinktest.Fault {
		if c.Op == "create" && strings.Contains(c.Key, "/commits/") {
			if fails++; fails <= 9 {
				return sinktest.Delay
			}
		}
		return sinktest.NoFault
	}
	a.mustCommit(row{1, 0, false})
	for a.store.Delayed() > 0 {
		if err := a.store.Deliver(t.Context(), 0); !errors.Is(err, sink.ErrExists) {
			t.Errorf("a late request: %v", err)
		}
	}
	if len(bodies.sent) != 10 {
		t.Fatalf("%d requests", len(bodies.sent))
	}
	for _, b := range bodies.sent {
		if b != bodies.sent[0] {
			t.Errorf("two requests differ:\n%s\n%s", b, bodies.sent[0])
		}
	}
	wantVisible(t, s, "1:0")
}

// recorder keeps what records were sent.
type recorder struct {
	sink.Store
	sent []string
}

func (r *recorder) Create(ctx context.Context, key string, body []byte) error {
	if strings.Contains(key, "/commits/") {
		r.sent = append(r.sent, key+" "+string(body))
	}
	return r.Store.Create(ctx, key, body)
}

// When the process is told to stop while an answer is unknown, the uploads stay:
// the request may still arrive.
func TestStopWhileUnknownDiscardsNothing(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	ctx, cancel := context.WithCancel(t.Context())
	a.store.Plan = once(sinktest.Delay, "create", "/commits/")
	a.table.Tune(256, func(ctx context.Context) error { cancel(); return ctx.Err() })
	d := a.batch(row{1, 0, false})
	outcome, err := a.chain.Commit(ctx, d.Draft, d.Commit)
	if outcome != sink.Undecided || !errors.Is(err, context.Canceled) || !errors.Is(err, sinktest.ErrFault) {
		t.Fatalf("Commit = %v, %v", outcome, err)
	}
	if !s.IsStaged(d.Files[0].Staged) {
		t.Fatal("the upload is gone")
	}
	if err := a.store.Deliver(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	b := newOwner(t, s).open()
	if b.state.Seq != 0 {
		t.Errorf("state %+v", b.state)
	}
	wantVisible(t, s, "1:0")
}

// An attempt's id must not outlive the attempt. A process that died left a request
// on its way; its successor puts another batch together for the same number. When
// the late request wins, the successor must see that this is not its own batch,
// and must publish what the record lists, not what it remembers.
func TestLateRequestOfADeadAttempt(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	dead := a.batch(row{1, 0, false})
	a.store.Plan = once(sinktest.Delay, "create", "/commits/")
	a.table.Tune(256, func(context.Context) error { return errors.New("the process ends") })
	if _, err := a.chain.Commit(t.Context(), dead.Draft, dead.Commit); err == nil {
		t.Fatal("the commit went through")
	}
	// The successor, on the same host with the same configuration, and once the same
	// process after it has opened the chain again.
	for _, b := range []*owner{a, newOwner(t, s)} {
		b.store.Plan = nil
		b.table.Tune(256, noWait)
		b.open()
		d := b.batch(row{1, 0, false}, row{1, 1, false})
		if d.Attempt() == dead.Attempt() {
			t.Error("two batches have one attempt id")
		}
		if a.store.Delayed() > 0 {
			if err := a.store.Deliver(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		} else {
			continue
		}
		if outcome := b.commit(d); outcome != sink.Lost {
			t.Fatalf("outcome %v, want Lost", outcome)
		}
		wantVisible(t, s)
		b.open()
		wantVisible(t, s, "1:0")
		b.mustCommit(row{1, 1, false})
		wantVisible(t, s, "1:0", "1:1")
	}
}

// Every draft has its own attempt id, over processes and tables.
func TestAttemptsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 3 {
		a := newOwner(t, mem.New()).open()
		for range 100 {
			id := a.chain.Begin().Attempt()
			if seen[id] || len(id) < 16 {
				t.Fatalf("attempt id %q", id)
			}
			seen[id] = true
		}
	}
}

func TestStagedTooLongAgo(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false})
	d := a.batch(row{1, 1, false})
	a.table.SetNow(func() time.Time { return time.Now().Add(25 * time.Hour) })
	calls := len(a.store.Calls())
	if outcome := a.commit(d); outcome != sink.Lost {
		t.Fatalf("outcome %v, want Lost", outcome)
	}
	if n := len(a.store.Calls()) - calls; n != 0 {
		t.Errorf("%d calls of the store: the record must not be sent, its uploads are gc's", n)
	}
	if !s.IsStaged(d.Files[0].Staged) {
		t.Error("the upload was discarded")
	}
	a.table.SetNow(time.Now)
	a.open().mustCommit(row{1, 1, false})
	wantVisible(t, s, "1:0", "1:1")
}

func TestEveryOffsetIsAccountedFor(t *testing.T) {
	for name, change := range map[string]func(d *draft){
		"an offset too many":      func(d *draft) { d.To++ },
		"an offset too few":       func(d *draft) { d.To-- },
		"a row is in no file":     func(d *draft) { d.Files[0].Rows-- },
		"no file":                 func(d *draft) { d.Files = nil },
		"a row of its own":        func(d *draft) { d.Files[0].Rows++; d.To++ },
		"skipped twice":           func(d *draft) { d.Skip(2, 3, "control") },
		"skipped beyond the end":  func(d *draft) { d.Skip(90, 91, "control"); d.To++ },
		"skipped before the end":  func(d *draft) { d.Skip(0, 1, "control"); d.To++ },
		"nothing":                 func(d *draft) { d.To = d.From() },
		"another log":             func(d *draft) { d.Log = "log-2" },
		"no log":                  func(d *draft) { d.Log = "" },
		"a fingerprint from afar": func(d *draft) { d.FP.Offset = d.To },
		"a size that is not":      func(d *draft) { d.Files[0].Size++ },
	} {
		t.Run(name, func(t *testing.T) {
			a := newOwner(t, mem.New()).open()
			a.mustCommit(row{2, 0, false})
			d := a.batch(row{1, 0, false}, row{1, 0, false}, row{1, 1, true})
			change(&d)
			if outcome, err := a.chain.Commit(t.Context(), d.Draft, d.Commit); err == nil {
				t.Fatalf("committed: %v", outcome)
			}
			if _, err := a.table.Store().Get(t.Context(), a.table.RecordKey(0, 1)); !errors.Is(err, sink.ErrNotExist) {
				t.Error("a record was created")
			}
		})
	}
}

func TestForeignRowsAndSkips(t *testing.T) {
	a := newOwner(t, mem.New()).open()
	d := a.chain.Begin()
	d.Skip(0, 4, sink.SkipRetention)
	d.Foreign(4)
	d.Skip(5, 6, sink.SkipControl)
	d.Skip(6, 8, sink.SkipControl)
	d.Counts.Rescued = 3
	f := a.file(d, 8, 0, "x\n")
	f.Table = sink.Quarantine
	if outcome, err := a.chain.Commit(t.Context(), d, sink.Commit{To: 8, Log: testLog, Files: []sink.File{f}}); outcome != sink.Decided || err != nil {
		t.Fatalf("%v, %v", outcome, err)
	}
	for r, err := range a.table.ReadChain(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Counts != (sink.Counts{Quarantined: 1, Skipped: 7, Rescued: 3, Foreign: 1}) || len(r.Skipped) != 2 {
			t.Errorf("%+v", r)
		}
	}
}

func TestTooManyHoles(t *testing.T) {
	a := newOwner(t, mem.New()).open()
	d := a.chain.Begin()
	for i := range int64(sink.MaxHoles) {
		if v, err := d.Row(streamID(1), 2*i+1); v != sink.Fresh || err != nil {
			t.Fatalf("row %d: %v, %v", 2*i+1, v, err)
		}
	}
	if v, err := d.Row(streamID(1), 2*sink.MaxHoles+1); err == nil || v == sink.Fresh || !strings.Contains(err.Error(), streamID(1).String()) {
		t.Errorf("a row with one hole too many: %v, %v", v, err)
	}
	if _, err := d.Row(streamID(1), -1); err == nil {
		t.Error("a negative row is no error")
	}
	if _, err := d.End(streamID(1), -1, "complete", ""); err == nil {
		t.Error("a negative count is no error")
	}
}
