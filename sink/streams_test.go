package sink_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// seen is what a chain must know of a stream, said plainly.
type seen struct {
	rows  map[int64]bool
	count int64 // -1: no end yet
}

func (s *seen) add(m row) sink.Verdict {
	switch {
	case m.end && s.count < 0:
		s.count = m.row
		return sink.Fresh
	case m.end && s.count == m.row:
		return sink.Duplicate
	case m.end:
		return sink.Conflict
	case s.rows[m.row]:
		return sink.Duplicate
	case s.count >= 0 && m.row >= s.count:
		return sink.Conflict
	}
	s.rows[m.row] = true
	return sink.Fresh
}

func (s *seen) complete() bool {
	if s.count < 0 || int64(len(s.rows)) != s.count {
		return false
	}
	for r := range s.count {
		if !s.rows[r] {
			return false
		}
	}
	return true
}

// Rows and ends in any order, over commits, dropped drafts, checkpoints and
// reopening, get the verdicts that a plain set of rows gives.
func TestSeenIsASet(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := mem.New()
		a := newOwner(t, s).open()
		want := map[int]*seen{}
		for range rapid.IntRange(1, 6).Draw(r, "batches") {
			d := a.chain.Begin()
			offset, rows := d.From(), int64(0)
			for range rapid.IntRange(1, 40).Draw(r, "messages") {
				m := row{stream: rapid.IntRange(0, 2).Draw(r, "stream"), row: rapid.Int64Range(0, 12).Draw(r, "row"), end: rapid.IntRange(0, 15).Draw(r, "end") == 0}
				if want[m.stream] == nil {
					want[m.stream] = &seen{rows: map[int64]bool{}, count: -1}
				}
				var v sink.Verdict
				var err error
				if m.end {
					v, err = d.End(streamID(m.stream), m.row, "complete", "")
				} else {
					v, err = d.Row(streamID(m.stream), m.row)
				}
				if w := want[m.stream].add(m); v != w || err != nil {
					r.Fatalf("%+v is %v, %v; want %v", m, v, err, w)
				}
				if v != sink.Fresh {
					d.Skip(offset, offset+1, v.String())
				} else if !m.end {
					rows++
				}
				offset++
			}
			c := sink.Commit{To: offset, Log: testLog}
			if rows > 0 {
				f := a.file(d, offset, 0, "x")
				f.Rows = rows
				c.Files = []sink.File{f}
			}
			if outcome, err := a.chain.Commit(t.Context(), d, c); outcome != sink.Decided || err != nil {
				r.Fatal(outcome, err)
			}
			dropped := a.chain.Begin()
			for i := range int64(14) {
				if _, err := dropped.Row(streamID(int(i)%3), i); err != nil {
					r.Fatal(err)
				}
			}
			switch rapid.IntRange(0, 3).Draw(r, "then") {
			case 1:
				if err := a.chain.Checkpoint(t.Context()); err != nil {
					r.Fatal(err)
				}
			case 2:
				a.open()
			case 3:
				a = newOwner(t, s).open()
			}
			for stream, w := range want {
				complete, count, err := a.chain.Complete(streamID(stream))
				if complete != w.complete() || complete && count != w.count || err != nil {
					r.Fatalf("stream %d: Complete = %v, %d, %v; want %v, %d", stream, complete, count, err, w.complete(), w.count)
				}
			}
		}
	})
}

func BenchmarkDraftRow(b *testing.B) {
	table, err := sink.OpenTable(b.Context(), tableConfig(mem.New()))
	if err != nil {
		b.Fatal(err)
	}
	c := table.Chain(0)
	if _, err := c.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, streams := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d streams in turn", streams), func(b *testing.B) {
			d := c.Begin()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				id := streamIDs[i%streams]
				if v, err := d.Row(id, int64(i/streams)); v != sink.Fresh || err != nil {
					b.Fatal(v, err)
				}
			}
		})
	}
}

var streamIDs = func() (ids [16][16]byte) {
	for i := range ids {
		ids[i] = streamID(i)
	}
	return ids
}()
