package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lakefeed/broker"
	"lakefeed/schema"
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
	Gone         bool   // the topic is not there any more
	Raw          error  // why the raw zone does not have it; nil where there is none
	// Back is the generation that was to be live again, 0 for a table that was to be built
	// anew. Kept says that the raw zone has the rows, and that readers were not to wait.
	Back int
	Kept bool
}

func (e *ReachError) Error() string {
	why := fmt.Sprintf("the topic partition begins at offset %d now", e.Start)
	if e.Log != e.Now {
		why = fmt.Sprintf("the topic was deleted and made again since (its id was %s, and is %s)", e.Log, e.Now)
	}
	if e.Gone {
		why = fmt.Sprintf("it was deleted (its id was %s)", e.Log)
	}
	if e.Raw != nil {
		why += "; " + e.Raw.Error()
	}
	if e.Kept {
		why += "; the raw zone has it: without --now it is taken from there, and readers turn to the generation then"
	}
	if e.Back > 0 {
		return fmt.Sprintf("roll table %s back to generation %d: readers see rows of %s/%d@%d that it does not have, and it cannot take them, as the topic does not have them: %s. The table is left as it is; lakefeed rebuild %[1]s builds another generation",
			e.Table, e.Back, e.Topic, e.Partition, e.Offset, why)
	}
	return fmt.Sprintf("build table %s anew: the table has rows of %s/%d@%d, and the topic does not: %s. A rebuild would lose them; the table is left as it is",
		e.Table, e.Topic, e.Partition, e.Offset, why)
}

// OldLogError says that a generation was written from a topic that was deleted and made
// again since, so that it cannot be brought up to date.
type OldLogError struct {
	Table      string
	Generation int
	*sink.LogError
}

func (e *OldLogError) Error() string {
	return fmt.Sprintf("roll table %s back to generation %d: it was written from topic partition %s/%d of a topic that was deleted and made again since (its id was %s, and is %s), so that it cannot take what came meanwhile; the table is left as it is, and lakefeed rebuild %[1]s builds another generation",
		e.Table, e.Generation, e.Topic, e.Partition, e.Want, e.Have)
}

func (e *OldLogError) Unwrap() error { return e.LogError }

// prepare finds out where the messages are to be read from: from the topic, and from
// the raw zone what it no longer has.
func (r *Rebuild) prepare(ctx context.Context) error {
	r.log, r.keep = r.Client, false
	if r.Raw == nil {
		return r.exists()
	}
	status, err := r.Table.Swaps(ctx)
	if err != nil {
		return err
	}
	live, err := r.Table.At(ctx, status.Live.Generation)
	if err != nil {
		return err
	}
	logs, err := live.Logs(ctx)
	if err != nil || len(logs) == 0 {
		return errors.Join(err, r.exists())
	}
	present := logs[len(logs)-1]
	for _, id := range logs {
		topic, client := r.Topic, r.Client
		if id != r.Topic.LogID { // that topic is gone
			topic, client = broker.Topic{Name: r.Table.Topic(), Partitions: live.Partitions(), LogID: id}, nil
		}
		l, err := openRawLog(ctx, client, r.Raw, topic)
		switch {
		case err != nil:
			return err
		case !l.some():
			continue
		}
		r.keep = true
		if id != present {
			r.past = append(r.past, l)
			continue
		}
		if client == nil {
			r.Topic, r.Build.Partitions = topic, topic.Partitions
		}
		r.log = l
	}
	return r.exists()
}

// ErrTopicGone says that the topic of a table is not there, and that its raw zone has
// nothing of it: the rows are in the lake alone.
var ErrTopicGone = errors.New("the topic is not there, and its raw zone has nothing of it")

// exists says what is missing when there is no topic.
func (r *Rebuild) exists() error {
	if r.Topic.LogID != "" {
		return nil
	}
	return fmt.Errorf("build table %s from topic %s: %w. The table is left as it is. If the topic is with other brokers, or the embedded Kafka's log elsewhere, name them (--brokers, --kafka-dir); "+
		"if it was deleted, send the sources again, which leaves out what the table has and makes a topic that it can be built from", r.Table.Name(), r.Table.Topic(), ErrTopicGone)
}

// reach looks for rows of the live generation that neither the topic nor the raw zone
// has. Of topics that are gone only those are read again of which the raw zone has
// every row: what was sent again to the present one is found out by the audit.
func (r *Rebuild) reach(ctx context.Context, live *sink.Table) error {
	c := &Consumer{Client: r.Client, Source: r.log, Topic: r.Topic, Table: live}
	if err := c.Validate(); err != nil {
		return err
	}
	checked := map[schema.StreamID]bool{}
	var whole []*rawLog
	for _, past := range r.past {
		gone, err := r.lack(ctx, live, past.topic, nil, func(int) (int64, error) { return math.MaxInt64, nil }, past, checked)
		if err != nil {
			return err
		}
		if gone == nil {
			whole = append(whole, past)
			continue
		}
		r.step("topic id %s is gone, and is left out: %v", past.topic.LogID, gone)
		past.Close()
	}
	r.past = whole
	log, _ := r.log.(*rawLog)
	gone, err := r.lack(ctx, live, r.Topic, nil, r.starts(ctx), log, checked)
	if err == nil && gone != nil {
		err = gone
	}
	return err
}

// starts gives the first offset that each topic partition has.
func (r *Rebuild) starts(ctx context.Context) func(partition int) (int64, error) {
	return func(p int) (int64, error) {
		if log, ok := r.log.(*rawLog); ok && log.client == nil {
			return math.MaxInt64, nil
		}
		if p >= r.Topic.Partitions {
			return 0, nil
		}
		start, _, err := r.Client.Offsets(ctx, r.Topic.Name, p)
		return start, err
	}
}

// lack is the first offset whose rows the live generation has and no other, of one
// incarnation of the topic, which begins at an offset of each topic partition; nil
// when there is none. have is where another generation ends that has what comes before,
// by topic partition. log is what the raw zone has of it, nil for nothing.
func (r *Rebuild) lack(ctx context.Context, live *sink.Table, topic broker.Topic, have map[int]int64, start func(partition int) (int64, error), log *rawLog, checked map[schema.StreamID]bool) (*ReachError, error) {
	for p := range live.Partitions() {
		begins, err := start(p)
		if err != nil {
			return nil, err
		}
		if begins <= have[p] {
			continue
		}
		for rec, err := range live.ReadChain(ctx, p) {
			if err != nil {
				return nil, err
			}
			from := max(firstRead(&rec), have[p])
			has := rec.Counts.Rows+rec.Counts.Quarantined+rec.Counts.Ends > 0
			if rec.Kind != sink.KindRows || !has || rec.Log != topic.LogID || from >= begins || from >= rec.To {
				continue
			}
			missing := &ReachError{Table: live.Name(), Topic: topic.Name, Partition: p, Offset: from, Start: begins, Log: rec.Log, Now: topic.LogID}
			if log == nil || p >= len(log.parts) {
				return missing, nil
			}
			missing.Gone = log.client == nil
			to := min(rec.To, begins)
			offset, why, err := log.lack(ctx, p, from, to, checked)
			if err != nil {
				return nil, err
			}
			if offset < to {
				missing.Offset, missing.Raw = offset, why
				return missing, nil
			}
		}
	}
	return nil, nil
}

// follows checks that the topic, or else the raw zone, has all that a generation lacks
// of what readers see. With Now the topic alone counts: it is what the feed goes on with.
func (r *Rebuild) follows(ctx context.Context, live, t *sink.Table) error {
	c, err := r.consumer(t, t.ConfigText())
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return err
	}
	have, states := map[int]int64{}, make([]sink.State, min(t.Partitions(), r.Topic.Partitions))
	for p := range states {
		states[p], err = t.Chain(p).Open(ctx)
		if err != nil {
			return err
		}
		if states[p].Log == r.Topic.LogID {
			have[p] = max(states[p].To, 0)
		}
	}
	if err := r.reachBack(ctx, live, t, have); err != nil {
		return err
	}
	for p, state := range states {
		present, err := c.worker(p, ctx, nil).view(ctx, state)
		if err == nil {
			_, err = state.CheckLog(present)
		}
		var unfit *sink.LogError
		if errors.As(err, &unfit) && unfit.Case == sink.LogOther {
			return &OldLogError{Table: t.Name(), Generation: t.Generation(), LogError: unfit}
		}
		if err != nil {
			return fmt.Errorf("roll table %s back to generation %d: %w", t.Name(), t.Generation(), err)
		}
	}
	return nil
}

// reachBack looks for rows that readers see, that a generation which is to be live again
// does not have, and that it cannot take.
func (r *Rebuild) reachBack(ctx context.Context, live, t *sink.Table, have map[int]int64) error {
	log, _ := r.log.(*rawLog)
	gone, err := r.lack(ctx, live, r.Topic, have, r.starts(ctx), log, map[schema.StreamID]bool{})
	if err == nil && gone == nil && r.Now && log != nil {
		if gone, err = r.lack(ctx, live, r.Topic, have, r.starts(ctx), nil, nil); gone != nil {
			gone.Kept = true
		}
	}
	if err != nil || gone == nil {
		return err
	}
	gone.Back = t.Generation()
	return gone
}
