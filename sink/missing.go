package sink

import (
	"context"
	"fmt"
	"slices"
)

// MissingRows are rows of a topic partition that the generation has which was live
// before, and that readers do not see: the swap to the generation that is live did not
// wait until it had caught up.
type MissingRows struct {
	Partition int   `json:"partition"` // of the topic
	From      int64 `json:"from"`      // offsets, from and before to
	To        int64 `json:"to"`
	Rows      int64 `json:"rows"`             // of the table
	Rejects   int64 `json:"rows_quarantined"` // of its quarantine
}

// Missing gives what readers do not see for now, by topic partition: nothing unless
// the swap to the live generation was now, and its owners still have to take rows that
// the generation before had when it was closed.
func (t *Table) Missing(ctx context.Context) ([]MissingRows, error) {
	out, err := t.missing(ctx)
	if err != nil {
		return nil, fmt.Errorf("find what readers of table %s miss: %w", t.name, err)
	}
	return out, nil
}

func (t *Table) missing(ctx context.Context) (out []MissingRows, err error) {
	m, now, err := t.liveSince(ctx)
	if err != nil || !now {
		return nil, err
	}
	var intent swapObject
	if err := t.read(ctx, t.swapKey(m), &intent); err != nil {
		return nil, err
	}
	live, err := t.in(ctx, intent.To)
	if err != nil {
		return nil, err
	}
	before, err := t.in(ctx, intent.From)
	if err != nil {
		return nil, err
	}
	for p := range before.partitions {
		have := live.Chain(p)
		if _, err := have.load(ctx, toEnd); err != nil {
			return nil, err
		}
		tail, err := before.tail(ctx, p, m, max(have.state.To, 0))
		if err != nil || tail == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		if end := tail[0]; have.state.Log != "" && have.state.Log != end.Log {
			continue // the topic was made again: nobody can take them any more
		}
		one, err := before.missed(ctx, p, tail, have)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// liveSince is the number of the swap that has made the live generation live, not
// counting those that were cancelled since, and whether it was now.
func (t *Table) liveSince(ctx context.Context) (m int64, now bool, err error) {
	m, _, err = t.newestSwap(ctx)
	for ; err == nil && m > 0; m-- {
		out, err := t.outcome(ctx, m)
		if err != nil || !out.Cancelled {
			return m, out.Now, err
		}
	}
	return 0, false, err
}

// tail reads the end of a chain backwards, from the record by which a swap has closed
// it to the one that has an offset; nil when nothing comes from there on.
func (t *Table) tail(ctx context.Context, partition int, m, offset int64) (tail []*Record, err error) {
	seq, err := t.lastSeq(ctx, partition)
	for ; err == nil && seq >= 0; seq-- {
		r, err := t.record(ctx, partition, seq)
		if err != nil {
			return nil, err
		}
		closing := r.Kind == KindClose && *r.M == m
		if tail == nil && !closing {
			continue // of a swap that was cancelled since
		}
		if r.To <= offset && (closing || r.Kind == KindRows || r.Kind == KindReset) {
			break
		}
		tail = append(tail, r)
	}
	return tail, err
}

// missed counts the rows of a chain's tail that another chain of the topic partition,
// which ends before, does not have.
func (t *Table) missed(ctx context.Context, partition int, tail []*Record, other *Chain) (MissingRows, error) {
	out := MissingRows{Partition: partition, From: max(other.state.To, 0), To: tail[0].To}
	var rejects []File
	var retired, lost []string // keys
	replaced := map[string]File{}
	for _, r := range tail {
		for key, f := range r.Replaces {
			replaced[key] = f
		}
		for _, f := range r.Retires {
			retired = append(retired, f.Key)
		}
		lost = append(lost, r.Lost...)
		if r.Kind == KindReplay {
			out.Rows -= r.Counts.Filtered
		}
		if r.Kind == KindRows {
			out.Rows += accepted(r, out.From, other)
		}
		for _, f := range r.Files {
			switch {
			case slices.Contains(lost, f.Key):
				out.Rows -= f.Rows
			case f.Table == Quarantine && !slices.Contains(retired, f.Key):
				rejects = append(rejects, f)
			}
		}
	}
	for _, f := range rejects {
		for r, ok := replaced[f.Key]; ok; r, ok = replaced[f.Key] {
			f = r
		}
		rows, err := t.ReadQuarantine(ctx, f)
		if err != nil {
			return out, err
		}
		for i := range rows {
			if rows[i].Offset >= out.From {
				out.Rejects++
			}
		}
	}
	out.Rows -= out.Rejects
	return out, nil
}

// accepted is how many rows a record has from an offset on, in quarantine or not, where
// another chain ends.
func accepted(r *Record, from int64, other *Chain) int64 {
	ends := r.Counts.Ends
	if from <= r.From {
		from = r.From
	} else {
		ends = 0
		for _, s := range r.Streams {
			if known := other.find(s.ID); s.Count != nil && (known == nil || !known.ended) {
				ends++
			}
		}
	}
	rows := r.To - from - ends
	for _, s := range r.Skipped {
		rows -= max(0, s.To-max(s.From, from))
	}
	return rows
}
