package sink

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"lakefeed/schema"
)

// maxHoles is how many holes a stream may have. More mean that its rows do not
// come from a producer of ours, and would make records grow without bound.
const maxHoles = 10_000

// Verdict says what a row or an end is to a chain.
type Verdict uint8

// The verdicts.
const (
	Fresh     Verdict = iota // not seen before: it is part of the batch now
	Duplicate                // seen before: skip it
	Conflict                 // contradicts the end of its stream: skip it, and tell
)

func (v Verdict) String() string {
	switch v {
	case Fresh:
		return "fresh"
	case Duplicate:
		return "duplicate"
	}
	return "conflict"
}

// stream is what was seen of a stream: rows below next that are in no hole.
type stream struct {
	id      schema.StreamID
	next    int64
	limit   int64   // the count once the end was seen, else the largest number
	holes   []Range // ascending, disjoint, not adjacent, below next
	ended   bool
	changed bool // since it was met
	status  string
	hash    string
}

func newStream(id schema.StreamID) *stream {
	return &stream{id: id, limit: math.MaxInt64}
}

// sealedStream is a stream of which all rows and the end were seen.
func sealedStream(id schema.StreamID, count int64) *stream {
	return &stream{id: id, next: count, limit: count, ended: true}
}

// streamOf gives a stream that shares no memory with its stored form.
func streamOf(s StreamState) *stream {
	t := &stream{id: s.ID, next: s.Next, limit: math.MaxInt64, holes: slices.Clone(s.Holes), status: s.Status, hash: s.Hash}
	if s.Count != nil {
		t.ended, t.limit = true, *s.Count
	}
	return t
}

// state gives the stored form, which shares no memory with the stream.
func (s *stream) state() StreamState {
	t := StreamState{ID: s.id, Next: s.next, Holes: slices.Clone(s.holes), Status: s.status, Hash: s.hash}
	if s.ended {
		count := s.limit
		t.Count = &count
	}
	return t
}

// clone gives a copy that can be changed without the other.
func (s *stream) clone() *stream {
	t := *s
	t.holes = slices.Clone(s.holes)
	t.changed = false
	return &t
}

// complete says that the end and all rows before it were seen, in whatever order.
func (s *stream) complete() bool {
	return s.ended && s.next == s.limit && len(s.holes) == 0
}

// join adds what another chain has seen of the stream.
func (s *stream) join(o *stream) {
	next := max(s.next, o.next)
	s.holes = intersect(s.unseen(next), o.unseen(next))
	s.next = next
	if o.ended && (!s.ended || o.limit > s.limit) {
		s.ended, s.limit, s.status, s.hash = true, o.limit, o.status, o.hash
	}
}

// unseen are the rows below a number that were not seen.
func (s *stream) unseen(below int64) []Range {
	if s.next == below {
		return s.holes
	}
	return append(slices.Clone(s.holes), Range{s.next, below})
}

// intersect gives the numbers that are in ranges of both.
func intersect(a, b []Range) (both []Range) {
	for len(a) > 0 && len(b) > 0 {
		from, to := max(a[0][0], b[0][0]), min(a[0][1], b[0][1])
		if from < to {
			both = append(both, Range{from, to})
		}
		if a[0][1] == to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

// add takes a row. The stream is unchanged unless the verdict is Fresh.
func (s *stream) add(row int64) (Verdict, error) {
	if row < 0 {
		return Conflict, fmt.Errorf("stream %s: row number %d is negative", s.id, row)
	}
	if row < s.next {
		return s.fill(row)
	}
	if row >= s.limit {
		return Conflict, nil
	}
	if row > s.next {
		if len(s.holes) >= maxHoles {
			return Conflict, s.tooManyHoles()
		}
		s.holes = append(s.holes, Range{s.next, row})
	}
	s.next = row + 1
	s.changed = true
	return Fresh, nil
}

// fill takes a row below next: fresh only when it is in a hole.
func (s *stream) fill(row int64) (Verdict, error) {
	i := sort.Search(len(s.holes), func(i int) bool { return s.holes[i][1] > row })
	if i == len(s.holes) || row < s.holes[i][0] {
		return Duplicate, nil
	}
	if row >= s.limit {
		return Conflict, nil
	}
	switch h := s.holes[i]; {
	case h[1] == h[0]+1:
		s.holes = slices.Delete(s.holes, i, i+1)
	case row == h[0]:
		s.holes[i][0]++
	case row == h[1]-1:
		s.holes[i][1]--
	default:
		if len(s.holes) >= maxHoles {
			return Conflict, s.tooManyHoles()
		}
		s.holes[i][1] = row
		s.holes = slices.Insert(s.holes, i+1, Range{row + 1, h[1]})
	}
	s.changed = true
	return Fresh, nil
}

// end takes the end of the stream. The first one counts.
func (s *stream) end(count int64, status, hash string) (Verdict, error) {
	if count < 0 {
		return Conflict, fmt.Errorf("stream %s: row count %d is negative", s.id, count)
	}
	if s.ended {
		if count != s.limit {
			return Conflict, nil
		}
		return Duplicate, nil
	}
	s.ended, s.limit, s.status, s.hash = true, count, status, hash
	s.changed = true
	return Fresh, nil
}

func (s *stream) tooManyHoles() error {
	return fmt.Errorf("stream %s: more than %d gaps in its row numbers: its rows are not sent in order; nothing was committed", s.id, maxHoles)
}
