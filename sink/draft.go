package sink

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	"lakefeed/schema"
)

// Draft is the next batch of a chain while it is put together. It sees what the
// chain has seen and its own rows on top, and leaves the chain as it is: a draft
// that is dropped, or whose number another owner won, never was. It is committed
// once at most, and not safe for concurrent use.
type Draft struct {
	// Counts.Rescued is for the writer to set; the other counts are made from the
	// files when the draft is committed.
	Counts Counts

	chain   *Chain
	base    link
	attempt string
	used    bool    // was committed, or that was tried
	repair  *repair // nil but for a draft that makes lost files again
	replay  *replay // nil but for a draft that takes rows out of the quarantine

	met      map[schema.StreamID]*stream
	last     *stream // the stream met last
	accepted int64   // rows that must be in the files
	foreign  int64   // of the rows, those of no stream
	repeated int64
	ends     int64
	skipped  int64
	filtered int64 // of them, rows that were taken
	skips    []Skip
	err      error // of Skip, which has no result
}

// newAttempt gives the id of one attempt to commit: fresh for each batch, and
// never anything that outlives a process.
func newAttempt() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Attempt is the draft's id, which no other draft ever has.
func (d *Draft) Attempt() string { return d.attempt }

// Seq is the number of the record that the draft is to become.
func (d *Draft) Seq() int64 {
	if d.repair != nil {
		return d.repair.lost.Seq + 1
	}
	return d.base.seq + 1
}

// From is the first offset of the draft.
func (d *Draft) From() int64 { return max(d.base.to, 0) }

// Duplicates is how many rows were seen before.
func (d *Draft) Duplicates() int64 { return d.repeated }

// Taken is how many rows and ends the draft has taken.
func (d *Draft) Taken() (rows, ends int64) { return d.accepted, d.ends }

// Row says what a row is to the chain, and takes it into the draft when it is
// fresh. Offsets of other rows are for Skip. An error means that nothing more can
// be taken.
func (d *Draft) Row(id schema.StreamID, row int64) (Verdict, error) {
	s := d.last
	if s == nil || s.id != id {
		s = d.meet(id)
	}
	if row == s.next && row < s.limit {
		s.next++
		s.changed = true
		d.accepted++
		return Fresh, nil
	}
	v, err := s.add(row)
	switch v {
	case Fresh:
		d.accepted++
	case Duplicate:
		d.repeated++
	}
	return v, err
}

// Foreign takes a row whose key is not ours. It is known by its offset alone, so
// that nothing is said of other copies.
func (d *Draft) Foreign(offset int64) {
	d.accepted++
	d.foreign++
	if offset < d.From() && d.err == nil {
		d.err = fmt.Errorf("row at offset %d, before the batch begins at %d", offset, d.From())
	}
}

// End takes the end of a stream: its row count, its status and the hash of its
// rows. Duplicate if it is known already, Conflict if with another count.
func (d *Draft) End(id schema.StreamID, count int64, status, hash string) (Verdict, error) {
	s := d.last
	if s == nil || s.id != id {
		s = d.meet(id)
	}
	v, err := s.end(count, status, hash)
	if v == Fresh {
		d.ends++
	}
	return v, err
}

// Skip says that the offsets from from to before to have no row in the table.
// Ranges come in ascending order.
func (d *Draft) Skip(from, to int64, reason string) {
	if n := len(d.skips); n > 0 && d.skips[n-1].To == from && d.skips[n-1].Reason == reason {
		d.skips[n-1].To = to
	} else {
		d.skips = append(d.skips, Skip{From: from, To: to, Reason: reason})
	}
	d.skipped += to - from
	if n := len(d.skips); d.err == nil && (to <= from || from < d.From() || n > 1 && d.skips[n-2].To > from) {
		d.err = fmt.Errorf("offsets %d to %d skipped out of order", from, to)
	}
}

// meet finds what is known of a stream.
func (d *Draft) meet(id schema.StreamID) *stream {
	s := d.met[id]
	if s == nil {
		if known := d.chain.find(id); known != nil {
			s = known.clone()
		} else {
			s = newStream(id)
		}
		d.met[id] = s
	}
	d.last = s
	return s
}

// changes are the states of the streams that the draft changed, by id.
func (d *Draft) changes() []StreamState {
	var out []StreamState
	for _, s := range d.met {
		if s.changed {
			out = append(out, s.state())
		}
	}
	slices.SortFunc(out, func(a, b StreamState) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return out
}
