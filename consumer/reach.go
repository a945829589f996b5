package consumer

import (
	"context"
	"fmt"

	"lakefeed/sink"
)

// ReachError says that a topic no longer has rows that the table has, so that the
// table cannot be built from it.
type ReachError struct {
	Table, Topic string
	Partition    int
	Offset       int64  // the first that is missing
	Start        int64  // of the topic partition now
	Log, Now     string // ids of the topic that the offset is of, and of the topic as it is
}

func (e *ReachError) Error() string {
	why := fmt.Sprintf("the topic partition begins at offset %d now", e.Start)
	if e.Log != e.Now {
		why = fmt.Sprintf("the topic was deleted and made again since (its id was %s, and is %s)", e.Log, e.Now)
	}
	return fmt.Sprintf("build table %s anew: the table has rows of %s/%d@%d, and the topic does not: %s. A rebuild would lose them; the table is left as it is",
		e.Table, e.Topic, e.Partition, e.Offset, why)
}

// reach looks for rows of the live generation that the topic no longer has.
func (r *Rebuild) reach(ctx context.Context, live *sink.Table) error {
	c := &Consumer{Client: r.Client, Topic: r.Topic, Table: live}
	if err := c.Validate(); err != nil {
		return err
	}
	for p := range live.Partitions() {
		present := sink.LogView{Log: r.Topic.LogID}
		if p < r.Topic.Partitions {
			var err error
			if present, err = c.worker(p, ctx, nil).view(ctx, sink.State{}); err != nil {
				return err
			}
		}
		again := false // the log was made again, or cut: what was sent again is found out by the audit
		for rec, err := range live.ReadChain(ctx, p) {
			if err != nil {
				return err
			}
			from := firstRead(&rec)
			has := rec.Counts.Rows+rec.Counts.Quarantined+rec.Counts.Ends > 0
			switch {
			case rec.Kind != sink.KindRows || !has || again:
			case rec.Log != present.Log:
				again = true
			case from < present.Start && from < rec.To:
				return &ReachError{Table: live.Name(), Topic: r.Topic.Name, Partition: p, Offset: from, Start: present.Start, Log: rec.Log, Now: present.Log}
			}
		}
	}
	return nil
}

// follows checks that the topic has all that a generation lacks.
func (r *Rebuild) follows(ctx context.Context, t *sink.Table) error {
	c, err := r.consumer(t, t.ConfigText())
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return err
	}
	for p := range min(t.Partitions(), r.Topic.Partitions) {
		state, err := t.Chain(p).Open(ctx)
		if err != nil {
			return err
		}
		present, err := c.worker(p, ctx, nil).view(ctx, state)
		if err == nil {
			_, err = state.CheckLog(present)
		}
		if err != nil {
			return fmt.Errorf("roll table %s back to generation %d: %w", t.Name(), t.Generation(), err)
		}
	}
	return nil
}
