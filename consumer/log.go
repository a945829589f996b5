package consumer

import (
	"context"
	"errors"
	"time"

	"lakefeed/broker"
	"lakefeed/sink"
)

// view looks at the topic partition as it is at present, and at the message that
// the chain has read last.
func (w *worker) view(ctx context.Context, state sink.State) (sink.LogView, error) {
	for {
		before, err := w.c.Source.Topic(ctx, w.c.Topic.Name)
		if err != nil {
			return sink.LogView{}, err
		}
		start, end, err := w.c.Source.Offsets(ctx, before.Name, w.partition)
		if err != nil {
			return sink.LogView{}, err
		}
		v := sink.LogView{Topic: before.Name, Partition: w.partition, Log: before.LogID, Start: start, End: end}
		if state.To > start && state.To <= end && state.Log == before.LogID && state.FP != nil {
			if v.Last, err = w.fingerprintAt(ctx, state.FP.Offset); err != nil {
				return v, err
			}
		}
		// Log ids never come back: what lies between two looks at one is of that log.
		after, err := w.c.Source.Topic(ctx, w.c.Topic.Name)
		if err != nil || after.LogID == before.LogID {
			return v, err
		}
	}
}

// fingerprintAt reads the message at an offset, nil when there is none any more.
func (w *worker) fingerprintAt(ctx context.Context, offset int64) (*sink.Fingerprint, error) {
	var f broker.Fetch
	err := w.c.Source.Fetch(ctx, w.c.Topic.Name, w.partition, offset, broker.FetchOptions{MaxBytes: 1 << 20, MaxWait: time.Second, MinBytes: 1}, &f)
	var outside *broker.OffsetOutOfRange
	if errors.As(err, &outside) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m broker.Message
	if f.Next(&m) && m.Offset == offset {
		return fingerprint(&m), nil
	}
	return nil, f.Err()
}

// checkTopic checks, before a batch is committed, that the topic is still the one
// that the chain was opened for. A topic that was made again may have messages at
// the same offsets, and a fetch does not tell.
func (w *worker) checkTopic(ctx context.Context) error {
	topic, err := w.c.Source.Topic(ctx, w.c.Topic.Name)
	if err != nil {
		return err
	}
	if topic.LogID != w.log {
		return errAgain
	}
	return nil
}

// checkLeader compares the log with the last message that was read when what
// follows was written under another leader, which may lack messages that the one
// before had acknowledged.
func (w *worker) checkLeader(ctx context.Context, m *broker.Message) error {
	if w.print == nil || m.Epoch == w.print.Epoch {
		return nil
	}
	have, err := w.fingerprintAt(ctx, w.print.Offset)
	if err == nil && have != nil && !have.Matches(*w.print) {
		return errAgain
	}
	return err
}

// follow brings a chain to a log that is not what it expects, where the consumer
// may. The chain is to be opened again.
func (w *worker) follow(ctx context.Context, unfit *sink.LogError, present sink.LogView) error {
	switch {
	case unfit.Case == sink.LogOther && w.c.AdoptNewLog:
		return w.adopt(ctx, unfit)
	case unfit.Case == sink.LogOther || w.c.OnDataLoss != Record:
		return unfit
	case unfit.Case == sink.LogRetention:
		outcome, err := w.chain.Gap(ctx, present.Start)
		if err == nil && outcome == sink.Decided {
			w.c.Events.gap(Gap{Partition: w.partition, From: unfit.To, To: present.Start})
		}
		return err
	}
	to, outcome, err := w.chain.Rewind(ctx, present, w.fingerprintAt)
	if err == nil && outcome == sink.Decided {
		w.c.Events.rewound(w.partition, unfit.To, to)
	}
	return err
}

// adopt makes the table go on with the topic's new log.
func (w *worker) adopt(ctx context.Context, unfit *sink.LogError) error {
	err := w.table.AdoptLog(ctx, unfit.Have)
	var lost *sink.LostError
	if errors.As(err, &lost) {
		return w.mend(ctx, lost) // then the chain is opened again, and comes here again
	}
	if err == nil {
		w.c.Events.reset(w.partition, unfit.Want, unfit.Have)
	}
	return err
}
