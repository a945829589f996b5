package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

const testLog = "log-1"

func streamID(n int) schema.StreamID { return schema.NewStreamID(fmt.Sprint("file:///", n), "0", 0) }

func noWait(ctx context.Context) error { return ctx.Err() }

func tableConfig(s sink.Store) sink.TableConfig {
	return sink.TableConfig{Store: s, Name: "t", Feed: "t", Topic: "topic", Partitions: 2, Config: []byte("config")}
}

func openTable(t *testing.T, s sink.Store) *sink.Table {
	t.Helper()
	table, err := sink.OpenTable(t.Context(), tableConfig(s))
	if err != nil {
		t.Fatal(err)
	}
	table.Tune(256, noWait)
	return table
}

// owner is one process that works on a topic partition.
type owner struct {
	t         *testing.T
	table     *sink.Table
	chain     *sink.Chain
	store     *sinktest.FaultStore
	state     sink.State
	partition int
	log       string // that the broker has
}

// newOwner opens the table without faults, and the chain not at all.
func newOwner(t *testing.T, s sink.Store) *owner {
	t.Helper()
	return newOwnerOf(t, s, 0, 2, testLog)
}

// newOwnerOf is newOwner for any topic partition, of so many, and any log.
func newOwnerOf(t *testing.T, s sink.Store, partition, partitions int, log string) *owner {
	t.Helper()
	faults := &sinktest.FaultStore{Store: s}
	config := tableConfig(faults)
	config.Partitions = partitions
	table, err := sink.OpenTable(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	table.Tune(256, noWait)
	return &owner{t: t, table: table, chain: table.Chain(partition), store: faults, partition: partition, log: log}
}

func (o *owner) open() *owner {
	o.t.Helper()
	state, err := o.chain.Open(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	o.state = state
	return o
}

// row is a message of the log.
type row struct {
	stream int
	row    int64
	end    bool // row is the count
}

// draft is a batch, ready to be committed.
type draft struct {
	*sink.Draft
	sink.Commit
}

// batch takes messages into a draft as a consumer does, and stages a file of the
// fresh rows, one line each.
func (o *owner) batch(messages ...row) draft {
	o.t.Helper()
	d := draft{Draft: o.chain.Begin()}
	body := ""
	for i, m := range messages {
		offset := d.From() + int64(i)
		var v sink.Verdict
		var err error
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
		case !m.end:
			body += fmt.Sprintf("%d:%d\n", m.stream, m.row)
		}
	}
	d.To, d.Log = d.From()+int64(len(messages)), o.log
	d.FP = &sink.Fingerprint{Offset: d.To - 1, Key: fmt.Sprint("key of ", d.To-1)}
	if body != "" {
		d.Files = append(d.Files, o.file(d.Draft, d.To, len(d.Files), body))
	}
	return d
}

func (o *owner) file(d *sink.Draft, to int64, n int, body string) sink.File {
	o.t.Helper()
	key := o.table.FileKey(sink.Main, "", o.table.Topic(), o.partition, d, to, n)
	staged, err := o.store.Stage(o.t.Context(), key, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	return sink.File{Table: sink.Main, Key: key, Staged: staged, Size: staged.Size, Rows: int64(strings.Count(body, "\n")), RowHash: fmt.Sprintf("%x", body)}
}

func (o *owner) commit(d draft) sink.Outcome {
	o.t.Helper()
	outcome, err := o.chain.Commit(o.t.Context(), d.Draft, d.Commit)
	if err != nil {
		o.t.Fatal(err)
	}
	return outcome
}

func (o *owner) mustCommit(messages ...row) draft {
	o.t.Helper()
	d := o.batch(messages...)
	if outcome := o.commit(d); outcome != sink.Decided {
		o.t.Fatalf("commit: %v, want Decided", outcome)
	}
	return d
}

// rows are the rows that are visible in the table.
func visible(t *testing.T, s sink.Store) (rows []string) {
	t.Helper()
	for object, err := range s.List(t.Context(), "t/", "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Get(t.Context(), object.Key)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, strings.Fields(string(b))...)
	}
	slices.Sort(rows)
	return rows
}

func wantVisible(t *testing.T, s sink.Store, want ...string) {
	t.Helper()
	if have := visible(t, s); !slices.Equal(have, want) {
		t.Errorf("visible rows %q, want %q", have, want)
	}
}

// once is a plan that does f to the first call that fits, and nothing else.
func once(f sinktest.Fault, op, part string) func(sinktest.Call) sinktest.Fault {
	done := false
	return func(c sinktest.Call) sinktest.Fault {
		if !done && c.Op == op && strings.Contains(c.Key, part) {
			done = true
			return f
		}
		return sinktest.NoFault
	}
}

// crash runs what is to be ended by a crash.
func crash(run func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	<-done
}

func TestCommitAndGoOn(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	if a.state.Seq != -1 || a.state.To != -1 {
		t.Errorf("state of a new chain: %+v", a.state)
	}
	a.mustCommit(row{1, 0, false}, row{1, 1, false})
	a.mustCommit(row{1, 1, false}, row{1, 2, false}, row{1, 3, true})
	wantVisible(t, s, "1:0", "1:1", "1:2")

	b := newOwner(t, s).open()
	if b.state.Seq != 1 || b.state.To != 5 || b.state.Log != testLog || b.state.FP.Offset != 4 {
		t.Errorf("state: %+v", b.state)
	}
	if complete, count, err := b.chain.Complete(streamID(1)); !complete || count != 3 || err != nil {
		t.Errorf("Complete = %v, %d, %v", complete, count, err)
	}
	var records []sink.Record
	for r, err := range b.table.ReadChain(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	r := records[1]
	if want := []sink.Skip{{From: 2, To: 3, Reason: sink.SkipDuplicate}}; !slices.Equal(r.Skipped, want) {
		t.Errorf("skipped %v, want %v", r.Skipped, want)
	}
	if r.Counts != (sink.Counts{Rows: 1, Ends: 1, Skipped: 1}) || r.Prev != records[0].Attempt || r.Config != b.table.ConfigHash() {
		t.Errorf("record: %+v", r)
	}
}

// A stream stays known when it has ended: what is sent again is dropped, from the
// live streams, from segments, and after the chain was opened again.
func TestEndedStreamStaysKnown(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}, row{1, 1, false}, row{1, 2, true})
	again := []row{{1, 0, false}, {1, 1, false}, {1, 2, true}, {1, 2, false}, {1, 3, true}}
	want := []sink.Skip{{From: 0, To: 3, Reason: "duplicate"}, {From: 3, To: 5, Reason: "conflict"}}
	for _, stage := range []struct {
		name string
		do   func()
	}{
		{"at once", func() {}},
		{"behind a checkpoint", func() {
			if err := a.chain.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := a.chain.Live(); n != 0 {
				t.Fatalf("%d live streams behind the checkpoint", n)
			}
		}},
		{"opened again", func() { a = newOwner(t, s).open() }},
	} {
		stage.do()
		d := a.mustCommit(again...)
		var last sink.Record
		for r, err := range a.table.ReadChain(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			last = r
		}
		for i := range last.Skipped {
			last.Skipped[i].From -= d.From()
			last.Skipped[i].To -= d.From()
		}
		if !slices.Equal(last.Skipped, want) || last.Counts.Rows != 0 {
			t.Errorf("%s: skipped %v, want %v; counts %+v", stage.name, last.Skipped, want, last.Counts)
		}
	}
	wantVisible(t, s, "1:0", "1:1")
}

func TestLostUpload(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	d := a.chain.Begin()
	var files []sink.File
	for i := range int64(3) {
		if v, err := d.Row(streamID(1), i); v != sink.Fresh || err != nil {
			t.Fatal(v, err)
		}
		files = append(files, a.file(d, 3, int(i), fmt.Sprintf("1:%d\n", i)))
	}
	a.store.Plan = once(sinktest.CrashAfter, "create", "/commits/")
	crash(func() { _, _ = a.chain.Commit(t.Context(), d, sink.Commit{To: 3, Log: testLog, Files: files}) })
	if err := s.Discard(t.Context(), files[1].Staged); err != nil { // a lifecycle rule
		t.Fatal(err)
	}
	b := newOwner(t, s)
	_, err := b.chain.Open(t.Context())
	var lost *sink.LostError
	if !errors.As(err, &lost) {
		t.Fatalf("Open: %v, want a LostError", err)
	}
	if lost.Seq != 0 || lost.Rows.From != 0 || lost.Rows.To != 3 || !slices.Equal(lost.Keys(), []string{files[1].Key}) {
		t.Errorf("%+v", lost)
	}
	for _, part := range []string{files[1].Key, "topic/0", "offsets 0 to 2", "consumer"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	wantVisible(t, s, "1:0", "1:2") // the others come first
	if _, err := b.chain.Commit(t.Context(), b.chain.Begin(), sink.Commit{To: 4, Log: testLog}); err == nil {
		t.Error("committed behind a lost file")
	}
}

// rewrite changes an object by hand.
func rewrite(t *testing.T, s sink.Store, key string, change func(m map[string]any)) {
	t.Helper()
	b, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]any)
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), key, b); err != nil {
		t.Fatal(err)
	}
}

func TestChangesByHandAreNoticed(t *testing.T) {
	var broken *sink.ChainError
	var kind *sink.KindError
	var format *sink.FormatError
	for _, test := range []struct {
		name   string
		seq    int64
		change func(m map[string]any) // nil: remove it
		as     any
	}{
		{"a record is gone", 1, nil, &broken},
		{"the first record is gone", 0, nil, &broken},
		{"another seq", 1, func(m map[string]any) { m["seq"] = 7 }, &broken},
		{"another prev", 1, func(m map[string]any) { m["prev"] = "x" }, &broken},
		{"another from", 2, func(m map[string]any) { m["from"] = 1 }, &broken},
		{"another log", 2, func(m map[string]any) { m["log"] = "log-2" }, &broken},
		{"a newer format", 2, func(m map[string]any) { m["v"] = 2 }, &format},
		{"a newer format in the middle", 1, func(m map[string]any) { m["v"] = 2 }, &format},
		{"a kind that is not known", 2, func(m map[string]any) { m["kind"] = "x" }, nil},
		{"a close of no swap", 2, func(m map[string]any) { m["kind"], m["from"], m["to"], m["skipped"] = "close", 2, 2, nil }, &broken},
		{"a kind that cannot be followed", 2, func(m map[string]any) { m["kind"], m["from"], m["to"], m["skipped"] = "redirect", 2, 2, nil }, &kind},
		{"a reset without a number", 2, func(m map[string]any) {
			m["kind"], m["from"], m["to"], m["log"], m["skipped"], m["files"] = "reset", 2, 0, "log-2", nil, nil
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := mem.New()
			a := newOwner(t, s).open()
			for i := range int64(3) {
				a.mustCommit(row{1, i, false})
			}
			key := a.table.RecordKey(0, test.seq)
			if test.change == nil {
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			} else {
				rewrite(t, s, key, test.change)
			}
			_, err := newOwner(t, s).chain.Open(t.Context())
			if err == nil {
				t.Fatal("the chain was opened")
			}
			if test.as != nil && !errors.As(err, test.as) {
				t.Errorf("Open: %v, want %T", err, test.as)
			}
			if !strings.Contains(err.Error(), key) {
				t.Errorf("the error does not name %s: %v", key, err)
			}
		})
	}
}

func TestRewindKeepsWhatWasSeen(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}, row{1, 1, false})
	d := a.mustCommit(row{1, 2, false}, row{1, 3, false})
	r := sink.Record{V: 1, Kind: sink.KindRewind, Seq: 2, Log: testLog, From: 4, To: 1, Prev: d.Attempt(), Attempt: "by hand"}
	b, err := sink.EncodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), a.table.RecordKey(0, 2), b); err != nil {
		t.Fatal(err)
	}
	a = newOwner(t, s).open()
	if a.state.To != 1 {
		t.Errorf("state %+v", a.state)
	}
	a.mustCommit(row{1, 1, false}, row{1, 4, false}, row{1, 2, false})
	wantVisible(t, s, "1:0", "1:1", "1:2", "1:3", "1:4")
	a.mustCommit(row{1, 5, false})
}

// A repair lists the files in place of those that were lost. Files gives those.
func TestRepairIsRead(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	d := a.mustCommit(row{1, 0, false})
	if err := s.Delete(t.Context(), d.Files[0].Key); err != nil { // as if it never had become visible
		t.Fatal(err)
	}
	again := a.file(a.chain.Begin(), 1, 7, "1:0\n")
	of := int64(0)
	r := sink.Record{V: 1, Kind: sink.KindRepair, Seq: 1, Log: testLog, From: 1, To: 1, Prev: d.Attempt(), Attempt: "r", Of: &of, Replaces: map[string]sink.File{d.Files[0].Key: again}}
	b, err := sink.EncodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), a.table.RecordKey(0, 1), b); err != nil {
		t.Fatal(err)
	}
	a = newOwner(t, s).open()
	wantVisible(t, s, "1:0")
	a.mustCommit(row{1, 1, false})
	var files []string
	for f, err := range a.table.Files(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f.Key)
	}
	if len(files) != 2 || files[0] != again.Key {
		t.Errorf("files %q", files)
	}
}

func TestOpenOfAnUnknownTopicPartition(t *testing.T) {
	table := openTable(t, mem.New())
	for _, p := range []int{-1, 2} {
		if _, err := table.Chain(p).Open(t.Context()); err == nil {
			t.Errorf("chain %d was opened", p)
		}
	}
}

func TestChainsAreApart(t *testing.T) {
	s := mem.New()
	table := openTable(t, s)
	var group sync.WaitGroup
	for p := range 2 {
		group.Go(func() {
			c := table.Chain(p)
			if _, err := c.Open(t.Context()); err != nil {
				t.Error(err)
				return
			}
			for i := range int64(20) {
				d := c.Begin()
				d.Skip(i, i+1, sink.SkipControl)
				if outcome, err := c.Commit(t.Context(), d, sink.Commit{To: i + 1, Log: testLog}); outcome != sink.Decided || err != nil {
					t.Error(outcome, err)
				}
			}
		})
	}
	group.Wait()
}
