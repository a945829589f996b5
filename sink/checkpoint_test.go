package sink_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

var errDenied = fs.ErrPermission

// denied is a store that may not be written.
type denied struct{ sink.Store }

func (denied) Create(context.Context, string, []byte) error {
	return fmt.Errorf("create: %w", errDenied)
}

func count(s *sinktest.FaultStore, from int, op, part string) (n int) {
	for _, c := range s.Calls()[from:] {
		if c.Op == op && strings.Contains(c.Key, part) {
			n++
		}
	}
	return n
}

// Opening a chain reads its newest checkpoint and the few records behind it.
func TestRecoveryIsBounded(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	for i := range int64(600) {
		a.mustCommit(row{1, i, false})
	}
	b := newOwner(t, s)
	from := len(b.store.Calls())
	b.open()
	if b.state.Seq != 599 {
		t.Fatalf("state %+v", b.state)
	}
	if n := count(b.store, from, "get", "/checkpoints/"); n != 1 {
		t.Errorf("%d checkpoints read", n)
	}
	if n := count(b.store, from, "get", "/commits/"); n != 600-512 {
		t.Errorf("%d records read, want %d", n, 600-512)
	}
	if err := b.chain.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.chain.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newOwner(t, s)
	from = len(c.store.Calls())
	c.open()
	if n := count(c.store, from, "get", "/commits/"); n != 0 || c.state.Seq != 599 || c.state.To != 600 || c.state.FP.Offset != 599 {
		t.Errorf("%d records read; state %+v", n, c.state)
	}
	c.mustCommit(row{1, 599, false}, row{1, 600, false})
}

// Streams that are complete go to segments, few of them, and are never forgotten.
func TestSegmentsStayFew(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.table.Tune(1, noWait)
	const n = 300
	for i := range n {
		a.mustCommit(row{i, 0, false}, row{i, 1, true})
		sizes := a.chain.Segments()
		sum := 0
		for k, size := range sizes {
			if sum += size; k > 0 && sizes[k-1] < size {
				t.Fatalf("after %d streams: segments of %v", i+1, sizes)
			}
		}
		if sum != i+1 || len(sizes) > 6 || a.chain.Live() != 0 {
			t.Fatalf("after %d streams: segments of %v, %d live", i+1, sizes, a.chain.Live())
		}
	}
	b := newOwner(t, s).open()
	for i := range n {
		if complete, count, err := b.chain.Complete(streamID(i)); !complete || count != 1 || err != nil {
			t.Fatalf("stream %d: Complete = %v, %d, %v", i, complete, count, err)
		}
		d := b.chain.Begin()
		if v, err := d.Row(streamID(i), 0); v != sink.Duplicate || err != nil {
			t.Fatalf("stream %d: row 0 is %v, %v", i, v, err)
		}
	}
	if complete, _, err := b.chain.Complete(streamID(n)); complete || err != nil {
		t.Errorf("a stream that never was: Complete = %v, %v", complete, err)
	}
	from := len(b.store.Calls())
	b.open()
	if n := count(b.store, from, "get", "/streams/"); n != 0 {
		t.Errorf("%d segments read again", n)
	}
}

// Streams that are not complete stay live: with holes, without an end, with rows
// beyond their end.
func TestIncompleteStreamsStayLive(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}, row{2, 0, false}, row{2, 2, false}, row{2, 3, true}, row{3, 0, false}, row{3, 1, false}, row{3, 1, true}, row{4, 0, true})
	if err := a.chain.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := newOwner(t, s).open()
	if b.chain.Live() != 3 || !slices.Equal(b.chain.Segments(), []int{1}) {
		t.Fatalf("%d live, segments %v", b.chain.Live(), b.chain.Segments())
	}
	for stream, want := range map[int]bool{1: false, 2: false, 3: false, 4: true} {
		if complete, _, err := b.chain.Complete(streamID(stream)); complete != want || err != nil {
			t.Errorf("stream %d: Complete = %v, %v", stream, complete, err)
		}
	}
	b.mustCommit(row{2, 1, false}, row{3, 1, false}, row{3, 2, false}, row{1, 1, true})
	for stream, want := range map[int]bool{1: true, 2: true, 3: false} {
		if complete, _, err := b.chain.Complete(streamID(stream)); complete != want || err != nil {
			t.Errorf("later, stream %d: Complete = %v, %v", stream, complete, err)
		}
	}
}

// Losing or damaging a checkpoint or a segment costs time, never truth. A newer
// format is no damage.
func TestDamagedCheckpoints(t *testing.T) {
	build := func(t *testing.T) *mem.Store {
		s := mem.New()
		a := newOwner(t, s).open()
		a.table.Tune(4, noWait)
		for i := range 14 {
			a.mustCommit(row{i, 0, false}, row{i, 1, true})
		}
		return s
	}
	const folder = "_lakefeed/t/g1/checkpoints/topic/00000000000000000000/"
	const newest = folder + "00000000000000000011.json"
	all := func(t *testing.T, s *mem.Store, prefix string) (keys []string) {
		for o := range s.List(t.Context(), prefix, "") {
			keys = append(keys, o.Key)
		}
		if len(keys) == 0 {
			t.Fatalf("nothing under %s", prefix)
		}
		return keys
	}
	for name, damage := range map[string]func(t *testing.T, s *mem.Store){
		"whole":        func(t *testing.T, s *mem.Store) {},
		"newest gone":  func(t *testing.T, s *mem.Store) { _ = s.Delete(t.Context(), newest) },
		"newest cut":   func(t *testing.T, s *mem.Store) { _ = s.Put(t.Context(), newest, []byte(`{"v":1,"seq":11`)) },
		"newest moved": func(t *testing.T, s *mem.Store) { rewrite(t, s, newest, func(m map[string]any) { m["seq"] = 10 }) },
		"all gone": func(t *testing.T, s *mem.Store) {
			for _, key := range all(t, s, folder) {
				_ = s.Delete(t.Context(), key)
			}
		},
		"segments gone": func(t *testing.T, s *mem.Store) {
			for _, key := range all(t, s, "_lakefeed/t/g1/streams/") {
				_ = s.Delete(t.Context(), key)
			}
		},
		"segments changed": func(t *testing.T, s *mem.Store) {
			for _, key := range all(t, s, "_lakefeed/t/g1/streams/") {
				b, _ := s.Get(t.Context(), key)
				b[20] ^= 1
				_ = s.Put(t.Context(), key, b)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := build(t)
			damage(t, s)
			b := newOwner(t, s).open()
			if b.state.Seq != 13 || b.state.To != 28 {
				t.Errorf("state %+v", b.state)
			}
			for i := range 14 {
				if complete, _, err := b.chain.Complete(streamID(i)); !complete || err != nil {
					t.Errorf("stream %d: %v, %v", i, complete, err)
				}
			}
			b.mustCommit(row{3, 0, false}, row{99, 0, false})
			if err := b.chain.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			newOwner(t, s).open()
		})
	}
	for name, change := range map[string]func(m map[string]any){
		"format":   func(m map[string]any) { m["v"] = 2 },
		"redirect": func(m map[string]any) { m["redirects"] = []int{1} },
	} {
		s := build(t)
		rewrite(t, s, newest, change)
		if _, err := newOwner(t, s).chain.Open(t.Context()); err == nil || !strings.Contains(err.Error(), newest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := build(t)
	o := newOwner(t, s)
	if err := s.Delete(t.Context(), o.table.RecordKey(0, 11)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.chain.Open(t.Context()); err == nil {
		t.Error("the record of a checkpoint is gone, and nobody minds")
	}
}

// A checkpoint that cannot be written does not stop commits.
func TestCheckpointsFail(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.table.Tune(2, noWait)
	a.store.Plan = func(c sinktest.Call) sinktest.Fault {
		if c.Op == "create" && (strings.Contains(c.Key, "/checkpoints/") || strings.Contains(c.Key, "/streams/")) {
			return sinktest.FailBefore
		}
		return sinktest.NoFault
	}
	for i := range 5 {
		a.mustCommit(row{i, 0, false}, row{i, 1, true})
	}
	if err := a.chain.Checkpoint(t.Context()); err == nil {
		t.Error("a checkpoint that was not written is no error when it is asked for")
	}
	a.store.Plan = nil
	a.mustCommit(row{9, 0, false})
	b := newOwner(t, s).open()
	if !slices.Equal(b.chain.Segments(), []int{5}) {
		t.Errorf("segments %v", b.chain.Segments())
	}
}

// Two owners that write one checkpoint agree.
func TestCheckpointOfTwoOwners(t *testing.T) {
	s := mem.New()
	a := newOwner(t, s).open()
	a.mustCommit(row{1, 0, false}, row{1, 1, true}, row{2, 0, false})
	b := newOwner(t, s).open()
	for _, o := range []*owner{a, b} {
		if err := o.chain.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.mustCommit(row{1, 0, false}, row{2, 1, false})
	wantVisible(t, s, "1:0", "2:0", "2:1")
}
