package sink_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// brokenLog is the log that broken writes from.
var brokenLog = []row{{1, 0, false}, {1, 1, false}, {1, 1, false}, {1, 2, false}, {1, 3, false}, {1, 4, true}}

// in gives the table partition that a row's file is in.
func in(number int64) []sink.PartitionValue {
	return []sink.PartitionValue{{Column: "n", Value: fmt.Sprint(number)}}
}

// broken is a chain whose last record has the rows 1:1, 1:2 and 1:3 of offsets 1
// to 5, each in a table partition of its own, of which those given were lost
// before anything was published.
func broken(t *testing.T, lost ...int) *mem.Store {
	t.Helper()
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(brokenLog[0])
	d := a.chain.Begin()
	files := a.take(d, brokenLog, 6, func(sink.File) bool { return true })
	a.store.Plan = once(sinktest.CrashAfter, "create", "/commits/")
	crash(func() { _, _ = a.chain.Commit(t.Context(), d, sink.Commit{To: 6, Log: testLog, Files: files}) })
	for _, i := range lost {
		discard(t, s, files[i])
	}
	return s
}

func discard(t *testing.T, s sink.Store, f sink.File) { // as a lifecycle rule does
	t.Helper()
	if err := s.Discard(t.Context(), f.Staged); err != nil {
		t.Fatal(err)
	}
}

// take takes a log's messages up to an offset, and stages a file for each fresh row
// that is wanted.
func (o *owner) take(d *sink.Draft, log []row, to int64, wanted func(sink.File) bool) (files []sink.File) {
	o.t.Helper()
	for offset := d.From(); offset < to; offset++ {
		m := log[offset]
		v, err := sink.Fresh, error(nil)
		if m.end {
			v, err = d.End(streamID(m.stream), m.row, "complete", "")
		} else {
			v, err = d.Row(streamID(m.stream), m.row)
		}
		switch {
		case err != nil:
			o.t.Fatal(err)
		case v != sink.Fresh:
			d.Skip(offset, offset+1, v.String())
		case !m.end && wanted(sink.File{Partition: in(m.row)}):
			f := o.file(d, to, len(files), fmt.Sprintf("%d:%d\n", m.stream, m.row))
			f.Partition = in(m.row)
			files = append(files, f)
		}
	}
	return files
}

// openBroken opens a chain that has lost files.
func (o *owner) openBroken() *sink.LostError {
	o.t.Helper()
	_, err := o.chain.Open(o.t.Context())
	var lost *sink.LostError
	if !errors.As(err, &lost) {
		o.t.Fatalf("Open: %v, want a LostError", err)
	}
	return lost
}

// remake makes the lost files again, from a log.
func (o *owner) remake(lost *sink.LostError, log []row) (*sink.Draft, sink.Commit) {
	o.t.Helper()
	d, err := o.chain.BeginRepair(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	files := o.take(d, log, lost.Rows.To, func(f sink.File) bool {
		return slices.ContainsFunc(lost.Files, func(g sink.File) bool { return slices.Equal(f.Partition, g.Partition) })
	})
	return d, sink.Commit{To: lost.Rows.To, Log: lost.Rows.Log, Files: files}
}

func (o *owner) repair(lost *sink.LostError, log []row) (sink.Outcome, error) {
	o.t.Helper()
	d, c := o.remake(lost, log)
	return o.chain.Repair(o.t.Context(), d, c)
}

func TestRepairMakesTheLostFilesAgain(t *testing.T) {
	for _, lost := range [][]int{{1}, {0}, {0, 2}, {0, 1, 2}} {
		t.Run(fmt.Sprint("of three files these are lost: ", lost), func(t *testing.T) {
			s := broken(t, lost...)
			o := newOwner(t, s)
			found := o.openBroken()
			if len(found.Files) != len(lost) || found.Seq != 1 || found.Rows.From != 1 || found.Rows.To != 6 {
				t.Errorf("%+v", found)
			}
			want := []string{"1:0", "1:1", "1:2", "1:3"}
			wantVisible(t, s, slices.DeleteFunc(slices.Clone(want), func(r string) bool {
				return slices.ContainsFunc(lost, func(i int) bool { return r == fmt.Sprintf("1:%d", i+1) })
			})...) // the others come first
			if outcome, err := o.repair(found, brokenLog); outcome != sink.Decided || err != nil {
				t.Fatalf("Repair: %v, %v", outcome, err)
			}
			wantVisible(t, s, want...)
			o.mustCommit(row{1, 3, false}, row{2, 0, false})
			wantVisible(t, s, append(want, "2:0")...)
			o = newOwner(t, s).open()
			all := records(t, o.table, 0)
			r := all[2]
			if r.Kind != sink.KindRepair || *r.Of != 1 || len(r.Replaces) != len(lost) || r.From != 6 || r.To != 6 {
				t.Errorf("the repair: %+v", r)
			}
			if complete, count, _ := o.chain.Complete(streamID(1)); !complete || count != 4 {
				t.Errorf("the repaired stream: %v, %d", complete, count)
			}
			wantListed(t, o.table, s)
		})
	}
}

// wantListed compares what the chain lists with what is visible.
func wantListed(t *testing.T, table *sink.Table, s sink.Store) {
	t.Helper()
	var listed []string
	for f, err := range table.Files(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, f.Key)
	}
	slices.Sort(listed)
	if have := keysUnder(t, s, "t/"); !slices.Equal(have, listed) {
		t.Errorf("visible are %q, listed %q", have, listed)
	}
}

// The files of a repair may be lost as well, some or all: the next one makes them
// again, from the offsets of the first.
func TestRepairOfARepair(t *testing.T) {
	for _, again := range []int{1, 2} {
		s := broken(t, 0, 2)
		for range 2 {
			a := newOwner(t, s)
			d, c := a.remake(a.openBroken(), brokenLog)
			a.store.Plan = once(sinktest.CrashAfter, "create", "/commits/")
			crash(func() { _, _ = a.chain.Repair(t.Context(), d, c) })
			for _, f := range c.Files[:min(again, len(c.Files))] {
				discard(t, s, f)
			}
		}
		o := newOwner(t, s)
		lost := o.openBroken()
		if lost.Rows.Seq != 1 || lost.Seq != 3 || len(lost.Files) != again {
			t.Errorf("%+v", lost)
		}
		if outcome, err := o.repair(lost, brokenLog); outcome != sink.Decided || err != nil {
			t.Fatalf("Repair: %v, %v", outcome, err)
		}
		wantVisible(t, s, "1:0", "1:1", "1:2", "1:3")
		wantListed(t, o.table, s)
		if have := kinds(t, o.table, 0); !slices.Equal(have, []sink.Kind{sink.KindRows, sink.KindRows, sink.KindRepair, sink.KindRepair, sink.KindRepair}) {
			t.Errorf("records %v", have)
		}
	}
}

// Of two owners that repair at once one wins; the other's files are never visible.
func TestRepairRaces(t *testing.T) {
	s := broken(t, 1)
	a, b := newOwner(t, s), newOwner(t, s)
	da, ca := a.remake(a.openBroken(), brokenLog)
	db, cb := b.remake(b.openBroken(), brokenLog)
	if outcome, err := a.chain.Repair(t.Context(), da, ca); outcome != sink.Decided || err != nil {
		t.Fatal(outcome, err)
	}
	if outcome, err := b.chain.Repair(t.Context(), db, cb); outcome != sink.Lost || err != nil {
		t.Fatalf("the second repair: %v, %v", outcome, err)
	}
	if s.IsStaged(cb.Files[0].Staged) {
		t.Error("the upload of the repair that lost was not discarded")
	}
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3")
	if _, err := b.chain.Repair(t.Context(), db, cb); err == nil {
		t.Error("a repair was sent twice")
	}
	b.open().mustCommit(row{2, 0, false})
	wantListed(t, b.table, s)
}

// Only the last record is repaired. Behind it others may have gone on, and files
// may be gone for good reasons.
func TestRepairOfARecordThatIsNotTheLast(t *testing.T) {
	s := broken(t, 1)
	stale := newOwner(t, s)
	d, c := stale.remake(stale.openBroken(), brokenLog)
	a := newOwner(t, s)
	if outcome, err := a.repair(a.openBroken(), brokenLog); outcome != sink.Decided || err != nil {
		t.Fatal(outcome, err)
	}
	a.mustCommit(row{2, 0, false})
	if outcome, err := stale.chain.Repair(t.Context(), d, c); outcome != sink.Lost || err != nil {
		t.Errorf("a repair of record 1 behind record 3: %v, %v", outcome, err)
	}
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "2:0")
	wantListed(t, a.table, s)
	if n := countKind(kinds(t, a.table, 0), sink.KindRepair); n != 1 {
		t.Errorf("%d repairs", n)
	}
	// A compaction has taken a file away since the chain was read: that is no loss.
	b := newOwner(t, s)
	grown := false
	b.store.Plan = func(c sinktest.Call) sinktest.Fault {
		if c.Op == "publish" && !grown {
			grown = true
			a.mustCommit(row{2, 1, false})
			for _, key := range keysUnder(t, s, "t/") {
				if name, ok := sink.ParseFileKey(key); ok && name.Seq == 3 {
					if err := s.Delete(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
			}
		}
		return sinktest.NoFault
	}
	b.open()
	if !grown || b.state.Seq != 4 {
		t.Errorf("state %+v", b.state)
	}
	if _, err := b.chain.GiveUp(t.Context()); err == nil {
		t.Error("files that were not lost were given up")
	}
}

// Files that are not the same are not put in the place of the lost ones.
func TestRepairMustReproduceTheFiles(t *testing.T) {
	other := slices.Clone(brokenLog)
	other[3].row = 9
	for name, change := range map[string]func(c *sink.Commit){
		"another hash":     func(c *sink.Commit) { c.Files[0].RowHash = "x" },
		"other cells":      func(c *sink.Commit) { c.Files[0].CellHash = "x" },
		"another count":    func(c *sink.Commit) { c.Files[0].Rows++ },
		"another place":    func(c *sink.Commit) { c.Files[0].Partition = in(7) },
		"quarantine":       func(c *sink.Commit) { c.Files[0].Table = sink.Quarantine },
		"no file":          func(c *sink.Commit) { c.Files = nil },
		"a file too many":  func(c *sink.Commit) { c.Files = append(c.Files, c.Files[0]) },
		"other offsets":    func(c *sink.Commit) { c.To-- },
		"of another log":   func(c *sink.Commit) { c.Log = newLog },
		"rows went astray": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := broken(t, 1)
			o := newOwner(t, s)
			log := brokenLog
			if change == nil {
				log = append(slices.Clone(brokenLog[:4]), row{1, 2, false}, brokenLog[5])
			}
			d, c := o.remake(o.openBroken(), log)
			files := slices.Clone(c.Files)
			if change != nil {
				change(&c)
			}
			_, err := o.chain.Repair(t.Context(), d, c)
			var lost *sink.LostError
			if !errors.As(err, &lost) || lost.Reason == nil {
				t.Fatalf("Repair: %v, want a LostError with a reason", err)
			}
			if !strings.Contains(err.Error(), "cannot be made again") || !strings.Contains(err.Error(), "backup") {
				t.Errorf("the error does not say what to do: %v", err)
			}
			if len(c.Files) > 0 && s.IsStaged(files[0].Staged) {
				t.Error("the upload was not discarded")
			}
			if ok, _ := s.Get(t.Context(), o.table.RecordKey(0, 2)); ok != nil {
				t.Error("there is a repair")
			}
			wantVisible(t, s, "1:0", "1:1", "1:3")
		})
	}
	if _, err := newOwner(t, mem.New()).open().chain.BeginRepair(t.Context()); err == nil {
		t.Error("a chain that has lost nothing is repaired")
	}
}

// A repair dies at any call of the store: what is visible is listed, and the next
// owner brings it to an end.
func TestCrashInARepair(t *testing.T) {
	for _, fault := range []sinktest.Fault{sinktest.CrashBefore, sinktest.CrashAfter, sinktest.FailBefore, sinktest.FailAfter, sinktest.Delay} {
		for n := 1; n <= 40; n++ {
			s := broken(t, 0, 2)
			a := newOwner(t, s)
			before := len(a.store.Calls())
			a.store.Plan = func(c sinktest.Call) sinktest.Fault {
				if c.N == before+n && (fault != sinktest.Delay || c.Op == "create") {
					return fault
				}
				return sinktest.NoFault
			}
			crash(func() {
				_, err := a.chain.Open(t.Context())
				var lost *sink.LostError
				if !errors.As(err, &lost) {
					return
				}
				d, err := a.chain.BeginRepair(t.Context())
				if err != nil {
					return
				}
				var files []sink.File
				for offset := int64(1); offset < 6; offset++ {
					m := brokenLog[offset]
					v, _ := d.Row(streamID(1), m.row)
					if m.end {
						v, _ = d.End(streamID(1), m.row, "complete", "")
					}
					if v == sink.Duplicate {
						d.Skip(offset, offset+1, sink.SkipDuplicate)
					} else if !m.end && m.row != 2 {
						key := a.table.FileKey(sink.Main, "", "topic", 0, d, 6, len(files))
						body := fmt.Sprintf("1:%d\n", m.row)
						staged, err := a.store.Stage(t.Context(), key, strings.NewReader(body))
						if err != nil {
							return
						}
						files = append(files, sink.File{Table: sink.Main, Key: key, Staged: staged, Size: staged.Size, Rows: 1, RowHash: fmt.Sprintf("%x", body), Partition: in(m.row)})
					}
				}
				_, _ = a.chain.Repair(t.Context(), d, sink.Commit{To: 6, Log: testLog, Files: files})
			})
			for a.store.Delayed() > 0 {
				_ = a.store.Deliver(t.Context(), 0)
			}
			o := newOwner(t, s)
			if _, err := o.chain.Open(t.Context()); err != nil {
				if outcome, err := o.repair(o.openBroken(), brokenLog); outcome != sink.Decided || err != nil {
					t.Fatalf("%v at call %d: repair: %v, %v", fault, n, outcome, err)
				}
			}
			wantVisible(t, s, "1:0", "1:1", "1:2", "1:3")
			wantListed(t, o.table, s)
			if t.Failed() {
				t.Fatalf("fault %v at call %d", fault, n)
			}
		}
	}
}

// A caller that accepts the loss goes on without the files; nothing else does.
func TestGiveUpLostFiles(t *testing.T) {
	s := broken(t, 0, 2)
	o := newOwner(t, s)
	lost := o.openBroken()
	if lost.RowCount() != 2 {
		t.Errorf("%d rows are lost, want 2", lost.RowCount())
	}
	if outcome, err := o.chain.GiveUp(t.Context()); outcome != sink.Decided || err != nil {
		t.Fatalf("GiveUp: %v, %v", outcome, err)
	}
	o.mustCommit(row{1, 1, false}, row{2, 0, false})
	wantVisible(t, s, "1:0", "1:2", "2:0")
	wantListed(t, o.table, s)
	r := records(t, o.table, 0)[2]
	if r.Kind != sink.KindGap || *r.Of != 1 || !slices.Equal(r.Lost, lost.Keys()) || r.Counts.Lost != 2 || r.From != 6 || r.To != 6 {
		t.Errorf("%+v", r)
	}
	if _, err := o.chain.GiveUp(t.Context()); err == nil {
		t.Error("files were given up twice")
	}
}

// A chain that has lost files is not reset before they are back, or given up.
func TestResetWaitsForLostFiles(t *testing.T) {
	s := broken(t, 1)
	o := newOwner(t, s)
	var lost *sink.LostError
	if err := newOwnerOf(t, s, 1, 2, testLog).table.AdoptLog(t.Context(), newLog); !errors.As(err, &lost) || lost.Partition != 0 {
		t.Fatalf("AdoptLog: %v, want a LostError of topic partition 0", err)
	}
	o.openBroken()
	if outcome, err := o.chain.GiveUp(t.Context()); outcome != sink.Decided || err != nil {
		t.Fatalf("GiveUp: %v, %v", outcome, err)
	}
	o.adopt(newLog).open().mustCommit(row{1, 0, false}, row{1, 2, false}, row{5, 0, false})
	wantVisible(t, s, "1:0", "1:1", "1:3", "5:0")
}
