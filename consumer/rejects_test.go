package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lakefeed/consumer"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
)

func (b *bench) replayer() *consumer.Consumer {
	return &consumer.Consumer{Client: b.client, Topic: b.topic, Table: b.table(), Events: b.events, Meta: b.shape.Meta, AdoptNewLog: b.adopt, Contract: b.contract, Messages: b.messages}
}

func everyReject(*sink.QuarantineRow) bool { return true }

func (b *bench) replay(choose func(*sink.QuarantineRow) bool) consumer.Replayed {
	b.t.Helper()
	done, err := b.replayer().Replay(b.t.Context(), choose)
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

// clean audits the lake, and compares it with the topic cell by cell.
func (b *bench) clean() {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	report := sink.NewAuditReport(100)
	table := b.table()
	if err := (&sink.Audit{Table: table, Report: report}).Run(ctx); err != nil {
		b.t.Fatal(err)
	}
	position, err := sink.ParsePosition(report.Position)
	if err != nil {
		b.t.Fatal(err)
	}
	audit := &consumer.Audit{Client: b.client, Table: table, Report: report, Position: position, Deep: true}
	if err := audit.Run(ctx); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Level != sink.Note || f.Kind == sink.FilePending {
			b.t.Errorf("audit: %s %s: %s %s", f.Level, f.Kind, f.Key, f.Message)
		}
	}
}

// rejecting is a table of a bigint column n, under a contract that keeps out rows whose
// n is none: two of them in quarantine, in two batches.
// With the rows of x.csv they are kept in a raw zone.
func rejecting(t *testing.T, copied ...string) *bench {
	b := newBench(t, 1)
	b.contract = &schema.Contract{Columns: map[string]schema.Declaration{"n": {Type: schema.Type{Kind: schema.Bigint}}}, OnTypeChange: schema.PolicyReject}
	x := stream("x.csv", "n,s")
	if len(copied) > 0 {
		b.keepRaw(x, copied...)
	}
	b.send(x, 0, "1,a", "x,b", "3,c")
	b.mustDrain()
	b.send(x, 0, "y,d", "5,e", "6,f,g")
	b.end(x, 0)
	b.mustDrain()
	b.want("feed", "n=1 s=a", "n=3 s=c", "n=5 s=e")
	if n := len(b.lake("feed__quarantine")); n != 3 {
		t.Fatalf("%d rows are in quarantine, want 3", n)
	}
	b.clean()
	return b
}

func TestReplayPutsRowsBackOnce(t *testing.T) {
	b := rejecting(t)
	if done := b.replay(everyReject); done.Chosen != 3 || done.Rows != 0 || done.Still != 3 {
		t.Errorf("without a fix: %+v", done)
	}
	b.contract.OnTypeChange = schema.PolicyRescue
	done := b.replay(func(q *sink.QuarantineRow) bool { return q.Rule == "type_change" })
	if done.Chosen != 2 || done.Rows != 2 || done.Still != 0 || done.Rescued != 2 {
		t.Errorf("replayed: %+v", done)
	}
	want := []string{
		`_rescued=[{"key":"n","value":"x"}]`, `_rescued=[{"key":"n","value":"y"}]`,
	}
	rows := b.lake("feed")
	for _, w := range want {
		if n := strings.Count(strings.Join(rows, "\n"), w); n != 1 {
			t.Errorf("%d rows have %s:\n%s", n, w, strings.Join(rows, "\n"))
		}
	}
	if len(rows) != 5 {
		t.Errorf("%d rows, want 5:\n%s", len(rows), strings.Join(rows, "\n"))
	}
	left := b.lake("feed__quarantine")
	if len(left) != 1 || !strings.Contains(left[0], "rule=cell_count") || !strings.Contains(left[0], "line=7") {
		t.Errorf("left in quarantine: %q", left)
	}
	b.clean()
	if done := b.replay(func(q *sink.QuarantineRow) bool { return q.Rule == "type_change" }); done.Chosen != 0 {
		t.Errorf("a second time: %+v", done)
	}
	b.mustDrain()
	if again := b.lake("feed"); !slices.Equal(rows, again) {
		t.Errorf("after another run:\n%s", strings.Join(again, "\n"))
	}
	b.clean()
	snapshot, err := sink.NewProjector(b.table()).Snapshot(t.Context())
	if err != nil || snapshot.Rows != 5 || snapshot.Quarantine.Rows != 1 || snapshot.Quarantine.Files != 1 {
		t.Errorf("snapshot: %+v, %v", snapshot, err)
	}
}

// A replay is stopped at each of its calls of the store, before and after the call was
// done, and goes on with the next run. No reader sees a row less than before, and in the
// end each is there once.
func TestReplayIsStoppedAnywhere(t *testing.T) {
	for n := 1; ; n++ {
		finished := false
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, done %v", n, after), func(t *testing.T) {
				b := rejecting(t)
				b.contract.OnTypeChange = schema.PolicyRescue
				broken := &stopping{Store: b.store, left: 1 << 20, after: after}
				b.lakeStore = broken
				replayer := b.replayer() // which stores its configuration
				broken.left = n
				_, err := replayer.Replay(t.Context(), everyReject)
				if err == nil {
					finished = true
				} else if !errors.Is(err, errStopped) {
					t.Fatal(err)
				}
				b.lakeStore = nil
				seen := map[string]int{}
				for _, folder := range []string{"feed", "feed__quarantine"} {
					for _, row := range b.lake(folder) {
						seen[letter(row)]++
					}
				}
				for _, c := range "abcdef" {
					if seen[string(c)] == 0 {
						t.Errorf("row %c is nowhere", c)
					}
				}
				x := stream("z.csv", "n,s")
				b.send(x, 0, "7,z")
				b.end(x, 0)
				b.mustDrain() // an ordinary consumer settles what was left
				b.replay(everyReject)
				seen = map[string]int{}
				for _, folder := range []string{"feed", "feed__quarantine"} {
					for _, row := range b.lake(folder) {
						seen[letter(row)]++
					}
				}
				for _, c := range "abcdefz" {
					if seen[string(c)] != 1 {
						t.Errorf("row %c is there %d times", c, seen[string(c)])
					}
				}
				if left := len(b.lake("feed__quarantine")); left != 1 {
					t.Errorf("%d rows are in quarantine, want 1", left)
				}
				b.clean()
			})
		}
		if finished {
			break
		}
	}
}

// letter finds which of the rows of rejecting a row is.
func letter(row string) string {
	for _, c := range "abcdefz" {
		if strings.Contains(row, "s="+string(c)) || strings.Contains(row, rawOf[string(c)]) && rawOf[string(c)] != "" {
			return string(c)
		}
	}
	return row
}

// As arrow prints the binary column raw: base64.
var rawOf = map[string]string{"b": "raw=eCxi ", "d": "raw=eSxk ", "f": "raw=NixmLGc= "}

// Rows that another stays for have to be staged again when its file is lost.
func TestReplayWhoseFilesAreLost(t *testing.T) {
	b := rejecting(t)
	b.contract.OnTypeChange = schema.PolicyRescue
	lossy := &losing{Store: b.store}
	b.lakeStore = lossy
	if done := b.replay(everyReject); done.Rows != 2 {
		t.Errorf("%+v", done)
	}
	if !lossy.lost {
		t.Fatal("nothing was lost")
	}
	b.lakeStore = nil
	if rows, left := b.lake("feed"), b.lake("feed__quarantine"); len(rows) != 5 || len(left) != 1 {
		t.Errorf("table:\n%s\nquarantine:\n%s", strings.Join(rows, "\n"), strings.Join(left, "\n"))
	}
	b.clean()
}

// Two replays and a consumer at once.
func TestReplayBesideOthers(t *testing.T) {
	b := rejecting(t)
	b.contract.OnTypeChange = schema.PolicyRescue
	x := stream("w.csv", "n,s")
	for i := range 20 {
		b.send(x, 0, fmt.Sprintf("%d,w%d", 10+i, i))
	}
	b.end(x, 0)
	b.flush = 1
	errs := make(chan error, 3)
	for range 2 {
		go func() {
			_, err := b.replayer().Replay(context.WithoutCancel(t.Context()), everyReject)
			errs <- err
		}()
	}
	go func() { errs <- b.drainUntil(context.WithoutCancel(t.Context())) }()
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if rows, left := b.lake("feed"), b.lake("feed__quarantine"); len(rows) != 25 || len(left) != 1 {
		t.Errorf("%d rows, %d in quarantine", len(rows), len(left))
	}
	b.clean()
}

// A topic that was made again has other messages at the offsets of the old one.
func TestReplayOfATopicThatWasMadeAgain(t *testing.T) {
	b := rejecting(t)
	b.contract.OnTypeChange = schema.PolicyRescue
	b.stop()
	b.dir = t.TempDir()
	b.start()
	b.makeTopic(1)
	x := stream("other.csv", "n,s")
	b.send(x, 0, "8,h", "9,i", "10,j", "11,k", "12,l", "13,m", "14,n")
	b.end(x, 0)
	b.adopt = true
	b.mustDrain()
	done := b.replay(everyReject)
	if done.Gone != 3 || done.Rows != 0 {
		t.Errorf("%+v", done)
	}
	if left := b.lake("feed__quarantine"); len(left) != 3 {
		t.Errorf("%d rows are in quarantine, want 3", len(left))
	}
}

var errStopped = fmt.Errorf("%w: stopped by the test", sink.ErrGivenUp)

// stopping is a store that stops working at its n-th call that writes, and from then on.
type stopping struct {
	*mem.Store
	left  int
	after bool // the n-th call is done
}

func (s *stopping) call(do func() error) error {
	s.left--
	switch {
	case s.left > 0:
		return do()
	case s.left == 0 && s.after:
		do()
	}
	return errStopped
}

func (s *stopping) Publish(ctx context.Context, f sink.Staged) error {
	return s.call(func() error { return s.Store.Publish(ctx, f) })
}

func (s *stopping) Create(ctx context.Context, key string, body []byte) error {
	return s.call(func() error { return s.Store.Create(ctx, key, body) })
}

func (s *stopping) Delete(ctx context.Context, key string) error {
	return s.call(func() error { return s.Store.Delete(ctx, key) })
}

// losing loses the first file of the table that is to be published.
type losing struct {
	*mem.Store
	lost bool
}

func (s *losing) Publish(ctx context.Context, f sink.Staged) error {
	if !s.lost && strings.HasPrefix(f.Key, "feed/") {
		s.lost = true
		if err := s.Store.Discard(ctx, f); err != nil {
			return err
		}
	}
	return s.Store.Publish(ctx, f)
}
