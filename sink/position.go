package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Position is a state of a table: a generation, and how far each of its chains had
// come. What it holds never changes.
type Position struct {
	Generation int
	// Seqs are the numbers of the last records by topic partition, -1 where there is
	// none. Topic partitions behind them had no records.
	Seqs []int64
}

// String is the position's name: the generation, and the last record of each chain
// or "-", as g1.12.7.
func (s Position) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "g%d", s.Generation)
	for _, n := range s.Seqs {
		if n < 0 {
			b.WriteString(".-")
		} else {
			fmt.Fprintf(&b, ".%d", n)
		}
	}
	return b.String()
}

// ParsePosition reads what String writes.
func ParsePosition(name string) (Position, error) {
	parts := strings.Split(name, ".")
	bad := fmt.Errorf("parse state %q: want a generation and the last record of each chain, as g1.12.7", name)
	digits, ok := strings.CutPrefix(parts[0], "g")
	g, err := strconv.Atoi(digits)
	if !ok || err != nil || g < 1 || !allDigits(digits) || len(parts) < 2 {
		return Position{}, bad
	}
	s := Position{Generation: g}
	for _, p := range parts[1:] {
		if p == "-" {
			s.Seqs = append(s.Seqs, -1)
			continue
		}
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || !allDigits(p) {
			return Position{}, bad
		}
		s.Seqs = append(s.Seqs, n)
	}
	return s, nil
}

func (s Position) last(partition int) int64 {
	if partition >= len(s.Seqs) {
		return -1
	}
	return s.Seqs[partition]
}

// PositionError says that there is no such position of a table.
type PositionError struct{ msg string }

func (e *PositionError) Error() string { return e.msg }

// Position is the newest state of which all files are visible.
func (t *Table) Position(ctx context.Context) (Position, error) {
	s := Position{Generation: t.generation}
	for p := range t.partitions {
		last, err := t.lastSeq(ctx, p)
		if err == nil {
			last, err = t.visible(ctx, p, last)
		}
		if err != nil {
			return s, fmt.Errorf("find the present state of %s: %w", t.name, err)
		}
		s.Seqs = append(s.Seqs, last)
	}
	return s, nil
}

// lastSeq is the number of a chain's last record, -1 when there is none.
func (t *Table) lastSeq(ctx context.Context, partition int) (int64, error) {
	folder := t.chainFolder("commits", partition)
	last, err := t.newest(ctx, folder)
	if err != nil || last == "" {
		return -1, err
	}
	n, _ := numberOf(last, folder)
	return n, nil
}

// visible is the last record up to seq of which all files are visible: only those
// of the chain's end can be missing, until the next owner publishes or repairs them.
func (t *Table) visible(ctx context.Context, partition int, seq int64) (int64, error) {
	for ; seq >= 0; seq-- {
		r, err := t.record(ctx, partition, seq)
		if err != nil {
			return seq, err
		}
		all := true
		for f := range r.Added() {
			_, err := t.store.Stat(ctx, f.Key)
			if err != nil && !errors.Is(err, ErrNotExist) {
				return seq, err
			}
			all = all && err == nil
		}
		if all {
			return seq, nil
		}
		if r.Kind != KindRepair {
			return seq - 1, nil
		}
	}
	return seq, nil
}

// PositionAt is the state at a time: of the generation that was live, and of each of
// its chains the records up to the first that is younger, by the clocks of those who
// wrote them. What a generation had before it was live it has from that moment on.
func (t *Table) PositionAt(ctx context.Context, at time.Time) (Position, error) {
	history, err := t.History(ctx)
	if err != nil {
		return Position{}, fmt.Errorf("find the state of %s at %s: %w", t.name, at.Format(time.RFC3339), err)
	}
	was := history[0].Generation
	for _, l := range history {
		if !l.At.After(at) {
			was = l.Generation
		}
	}
	g, err := t.At(ctx, was)
	if err != nil {
		return Position{}, err
	}
	return g.positionAt(ctx, at)
}

func (t *Table) positionAt(ctx context.Context, at time.Time) (Position, error) {
	now, err := t.Position(ctx)
	if err != nil {
		return now, err
	}
	s := Position{Generation: now.Generation, Seqs: make([]int64, len(now.Seqs))}
	for p, last := range now.Seqs {
		s.Seqs[p] = -1
		for r, err := range t.records(ctx, p, link{seq: -1}) {
			if err != nil {
				return s, fmt.Errorf("find the state of %s at %s: %w", t.name, at.Format(time.RFC3339), err)
			}
			if r.Seq > last || r.At.After(at) {
				break
			}
			s.Seqs[p] = r.Seq
		}
	}
	return s, nil
}

// CheckPosition says whether the table has been in a state: a *PositionError if not.
func (t *Table) CheckPosition(ctx context.Context, s Position) error {
	if s.Generation != t.generation {
		return &PositionError{fmt.Sprintf("state %s is of generation %d; generation %d of table %s is live", s, s.Generation, t.generation, t.name)}
	}
	now, err := t.Position(ctx)
	if err != nil {
		return err
	}
	for p, seq := range s.Seqs {
		if seq > now.last(p) {
			return &PositionError{fmt.Sprintf("state %s has record %d of chain %s; table %s is at %s", s, seq, chainName(t.topic, p), t.name, now)}
		}
	}
	return nil
}

// ListedFile is a data file of a Position.
type ListedFile struct {
	File
	TopicPartition int
	Seq            int64
	From, To       int64 // offsets of the batch
}

// FilesAt gives the files of a state, chain by chain in the order of records.
// Files that were repaired are given as they are now, and files that were lost and
// given up are left out, also when that came later: no reader has ever seen them. So
// are files of the quarantine that a replay has retired since: they are gone.
func (t *Table) FilesAt(ctx context.Context, s Position) iter.Seq2[ListedFile, error] {
	return func(yield func(ListedFile, error) bool) {
		for p := range t.partitions {
			retired := t.retirements(p)
			for b, err := range t.settled(ctx, p, s.last(p)) {
				if err != nil {
					yield(ListedFile{}, err)
					return
				}
				for _, f := range b.files {
					gone, err := retired.of(ctx, f)
					if err != nil {
						yield(ListedFile{}, err)
						return
					}
					if gone {
						continue
					}
					if !yield(ListedFile{File: f, TopicPartition: p, Seq: b.Seq, From: b.From, To: b.To}, nil) {
						return
					}
				}
			}
		}
	}
}

// settledRecord is a record with the files that have its rows: repaired ones in
// place of those that were lost, and without those that were given up.
type settledRecord struct {
	*Record
	files []File
}

// amend takes in a record that comes behind it, and says whether it is about the
// files of this one.
func (s *settledRecord) amend(r *Record) bool {
	switch {
	case r.Kind == KindRepair:
		s.files = slices.Clone(s.files)
		for i := range s.files {
			if f, ok := r.Replaces[s.files[i].Key]; ok {
				s.files[i] = f
			}
		}
		return true
	case r.Kind == KindGap && len(r.Lost) > 0:
		s.files = slices.DeleteFunc(slices.Clone(s.files), func(f File) bool { return slices.Contains(r.Lost, f.Key) })
		return true
	}
	return false
}

// settled reads a chain up to a record. Repairs and losses of its end are taken in
// even if they are recorded behind it.
func (t *Table) settled(ctx context.Context, partition int, last int64) iter.Seq2[settledRecord, error] {
	return func(yield func(settledRecord, error) bool) {
		if last < 0 {
			return
		}
		var held, behind []settledRecord // one with files, and what amends it
		for r, err := range t.records(ctx, partition, link{seq: -1}) {
			if err != nil {
				yield(settledRecord{}, err)
				return
			}
			if r.Kind == KindRedirect {
				yield(settledRecord{}, &KindError{Key: t.recordKey(partition, r.Seq), Kind: string(r.Kind)})
				return
			}
			if len(held) > 0 && held[0].amend(r) {
				if r.Seq <= last {
					behind = append(behind, settledRecord{Record: r})
				}
				continue
			}
			for _, h := range append(held, behind...) {
				if !yield(h, nil) {
					return
				}
			}
			held, behind = nil, nil
			if r.Seq > last {
				return
			}
			held = []settledRecord{{Record: r, files: r.Files}}
		}
		for _, h := range append(held, behind...) {
			if !yield(h, nil) {
				return
			}
		}
	}
}
