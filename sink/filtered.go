package sink

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A batch may leave out every other row, so that the offsets of the rows that its
// transforms left out are stored in a short form: one Skip from the first to behind the
// last of them, with Runs, the base64 of unsigned varints: how many offsets are of the
// first run, how many come before the next, how many are of that, and so on.

// packSkips gives the stored form of a record's skips.
func packSkips(skips []Skip) []Skip {
	var out, filtered []Skip
	for _, s := range skips {
		if s.Reason == SkipFiltered {
			filtered = append(filtered, s)
		} else {
			out = append(out, s)
		}
	}
	if len(filtered) < 2 {
		return skips
	}
	var runs []byte
	at := filtered[0].From
	for i, s := range filtered {
		if i > 0 {
			runs = binary.AppendUvarint(runs, uint64(s.From-at))
		}
		runs = binary.AppendUvarint(runs, uint64(s.To-s.From))
		at = s.To
	}
	out = append(out, Skip{From: filtered[0].From, To: at, Reason: SkipFiltered, Runs: base64.RawStdEncoding.EncodeToString(runs)})
	slices.SortStableFunc(out, func(a, b Skip) int { return cmp.Compare(a.From, b.From) })
	return out
}

// unpackSkips reads what packSkips gives.
func unpackSkips(stored []Skip) ([]Skip, error) {
	if !slices.ContainsFunc(stored, func(s Skip) bool { return s.Runs != "" }) {
		return stored, nil
	}
	var out []Skip
	for _, s := range stored {
		if s.Runs == "" {
			out = append(out, s)
			continue
		}
		runs, err := base64.RawStdEncoding.DecodeString(s.Runs)
		if err != nil {
			return nil, fmt.Errorf("the runs of offsets %d to %d cannot be read: %w", s.From, s.To, err)
		}
		at := s.From
		for skip := true; len(runs) > 0; skip = !skip {
			count, n := binary.Uvarint(runs)
			if n <= 0 || count == 0 || count > uint64(s.To-at) {
				return nil, fmt.Errorf("the runs of offsets %d to %d do not lie among them", s.From, s.To)
			}
			runs = runs[n:]
			if skip {
				out = append(out, Skip{From: at, To: at + int64(count), Reason: s.Reason})
			}
			at += int64(count)
		}
		if at != s.To {
			return nil, errors.New("the runs of skipped offsets end before them")
		}
	}
	slices.SortStableFunc(out, func(a, b Skip) int { return cmp.Compare(a.From, b.From) })
	return out, nil
}

// Filter says of rows that the draft has taken that its transforms leave them out: they
// are seen, and in no file. offsets are theirs, ascending.
func (d *Draft) Filter(offsets []int64) {
	if len(offsets) == 0 {
		return
	}
	d.accepted -= int64(len(offsets))
	d.skipped += int64(len(offsets))
	d.filtered += int64(len(offsets))
	merged := make([]Skip, 0, len(d.skips)+16)
	before := d.skips
	for _, at := range offsets {
		for len(before) > 0 && before[0].From < at {
			merged, before = append(merged, before[0]), before[1:]
		}
		if n := len(merged); n > 0 {
			last := &merged[n-1]
			switch {
			case last.To > at && d.err == nil:
				d.err = fmt.Errorf("offset %d is skipped, and a row that was left out", at)
			case last.To == at && last.Reason == SkipFiltered:
				last.To++
				continue
			}
		}
		merged = append(merged, Skip{From: at, To: at + 1, Reason: SkipFiltered})
	}
	d.skips = append(merged, before...)
}

// AssumeFiltered takes a record's word for which of the rows that the draft has taken
// its transforms left out, where these are not run.
func (d *Draft) AssumeFiltered(r *Record) {
	var offsets []int64
	for _, s := range r.Skipped {
		if s.Reason == SkipFiltered {
			for at := s.From; at < s.To; at++ {
				offsets = append(offsets, at)
			}
		}
	}
	d.Filter(offsets)
}

// Filtered is how many rows of the draft are left out.
func (d *Draft) Filtered() int64 { return d.filtered }
