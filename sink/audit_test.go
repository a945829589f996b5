package sink_test

import (
	"testing"
	"time"

	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// audit audits a table whose files are no Parquet: what they hold is no matter here.
func audit(t *testing.T, s sink.Store) *sink.AuditReport {
	t.Helper()
	table, err := sink.ReadTable(t.Context(), s, "t")
	if err != nil {
		t.Fatal(err)
	}
	r := sink.NewAuditReport(0)
	if err := (&sink.Audit{Table: table, Report: r}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// Files of a record that was decided and not published yet are on their way, unless
// what was staged is gone.
func TestAuditOfARecordThatIsNotPublished(t *testing.T) {
	for lost := range 3 {
		r := audit(t, broken(t, []int{0, 1}[:lost]...))
		if have, want := r.Counts[sink.FilePending], int64(3-lost); have != want {
			t.Errorf("%d files lost: %d are pending, want %d", lost, have, want)
		}
		if have := r.Counts[sink.FileMissing]; have != int64(lost) {
			t.Errorf("%d files lost: %d are missing", lost, have)
		}
	}
}

// Chains of many streams, resets and rewinds of a simulation have no damage but
// for their files, which are not Parquet.
func TestAuditOfResets(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}, row{1, 1, false}, row{2, 0, false})
	if err := a.table.AdoptLog(t.Context(), "log-2"); err != nil {
		t.Fatal(err)
	}
	b := newOwnerOf(t, s, 1, 2, "log-2").open()
	b.mustCommit(row{1, 0, false}, row{1, 1, false}, row{1, 2, false}, row{1, 3, true})
	for kind, n := range audit(t, s).Counts {
		if kind != sink.FileDamaged && kind != sink.StreamsUnderWay {
			t.Errorf("%d findings of %s", n, kind)
		}
	}
	if r := audit(t, s); r.Complete != 1 || r.UnderWay != 1 || r.Position != "g1.1.1" {
		t.Errorf("%+v", r)
	}
}

func TestPositionNames(t *testing.T) {
	for _, name := range []string{"g1.0", "g2.12.-.7", "g1.-"} {
		s, err := sink.ParsePosition(name)
		if err != nil || s.String() != name {
			t.Errorf("%s: %s, %v", name, s, err)
		}
	}
	for _, name := range []string{"", "g1", "g0.1", "1.2", "g1.", "g1.x", "g1.-1", "g1.+1", "g+1.1", "g1.99999999999999999999", "2026-11-25"} {
		if s, err := sink.ParsePosition(name); err == nil {
			t.Errorf("%q is %s", name, s)
		}
	}
}

func listFiles(t *testing.T, table *sink.Table, s sink.Position) (seqs []int64) {
	t.Helper()
	for f, err := range table.FilesAt(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Store().Stat(t.Context(), f.Key); err != nil {
			t.Errorf("%s is listed at %s: %v", f.Key, s, err)
		}
		seqs = append(seqs, f.Seq)
	}
	return seqs
}

// A state has the files of its records: those that were repaired later too, and
// none that no reader has ever seen.
func TestFilesOfAPosition(t *testing.T) {
	s := broken(t, 0, 2)
	table, err := sink.ReadTable(t.Context(), s, "t")
	if err != nil {
		t.Fatal(err)
	}
	now, err := table.Position(t.Context())
	if err != nil || now.String() != "g1.0.-" {
		t.Fatalf("with a record that is not visible it is at %s, %v", now, err)
	}
	if n := len(listFiles(t, table, now)); n != 1 {
		t.Errorf("%d files", n)
	}
	o := newOwner(t, s)
	if _, err := o.repair(o.openBroken(), brokenLog); err != nil {
		t.Fatal(err)
	}
	o.mustCommit(row{2, 0, false})
	if now, err = table.Position(t.Context()); err != nil || now.String() != "g1.3.-" {
		t.Fatalf("after the repair it is at %s, %v", now, err)
	}
	for name, files := range map[string]int{"g1.-": 0, "g1.0": 1, "g1.1": 4, "g1.2": 4, "g1.3.-": 5} {
		at, _ := sink.ParsePosition(name)
		if err := table.CheckPosition(t.Context(), at); err != nil {
			t.Error(err)
		}
		if n := len(listFiles(t, table, at)); n != files {
			t.Errorf("at %s: %d files, want %d", name, n, files)
		}
	}
	for _, name := range []string{"g2.1", "g1.4", "g1.1.0"} {
		at, _ := sink.ParsePosition(name)
		if err := table.CheckPosition(t.Context(), at); err == nil {
			t.Errorf("there is no state %s", name)
		}
	}
}

// Files that were given up are in no state: no reader has seen them.
func TestPositionBeforeALoss(t *testing.T) {
	s := broken(t, 0, 2)
	o := newOwner(t, s)
	o.openBroken()
	if _, err := o.chain.GiveUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]int{"g1.0": 1, "g1.1": 2, "g1.2": 2} {
		at, _ := sink.ParsePosition(name)
		if n := len(listFiles(t, o.table, at)); n != files {
			t.Errorf("at %s: %d files, want %d", name, n, files)
		}
	}
}

func TestPositionAtATime(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a.table.SetNow(func() time.Time { return at })
	var times []time.Time
	for i := range int64(3) {
		at = at.Add(time.Hour)
		times = append(times, at)
		a.mustCommit(row{1, i, false})
	}
	for i, want := range []string{"g1.0.-", "g1.1.-", "g1.2.-"} {
		if have, err := a.table.PositionAt(t.Context(), times[i]); err != nil || have.String() != want {
			t.Errorf("at %s: %s, %v, want %s", times[i], have, err, want)
		}
	}
	if have, err := a.table.PositionAt(t.Context(), times[0].Add(-1)); err != nil || have.String() != "g1.-.-" {
		t.Errorf("before all: %s, %v", have, err)
	}
}
