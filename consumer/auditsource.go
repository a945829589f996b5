package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lakefeed/broker"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// auditedLog is an incarnation of the topic that records are of.
type auditedLog struct {
	there bool    // at the brokers
	raw   *rawLog // nil where the raw zone has nothing of it
}

// chainSources are where the messages of a topic partition of a log are read from.
type chainSources struct {
	start, end int64 // of the topic partition at the brokers
	topic      *chainSource
	raw        *chainSource // and the topic, for what it has
}

// chainSource is where the messages of a record are read from.
type chainSource struct {
	with   sink.ComparedWith
	w      *worker
	log    *watchedLog
	topic  int64 // the offset from which on they are read from the topic
	end    int64 // of the topic partition
	kept   int64 // rows of the record that were read from the raw zone
	copies bool  // it has given rows of the raw zone
}

// watchedLog is a log that remembers that it could not be read.
type watchedLog struct {
	Log
	failed error
}

func (l *watchedLog) Fetch(ctx context.Context, topic string, partition int, offset int64, o broker.FetchOptions, f *broker.Fetch) error {
	l.failed = l.Log.Fetch(ctx, topic, partition, offset, o, f)
	return l.failed
}

func (l *auditedLog) close() {
	if l.raw != nil {
		l.raw.Close()
	}
}

// log opens what there is of an incarnation of the topic.
func (a *Audit) log(ctx context.Context, id string) (*auditedLog, error) {
	if l := a.logs[id]; l != nil {
		return l, nil
	}
	l := &auditedLog{there: id == a.topic.LogID}
	if a.Raw != nil {
		topic, client := broker.Topic{Name: a.Table.Topic(), Partitions: a.Table.Partitions(), LogID: id}, (*broker.Client)(nil)
		if l.there {
			topic, client = a.topic, a.Client
		}
		kept, err := openRawLog(ctx, client, a.Raw, topic)
		if err != nil {
			return nil, err
		}
		if kept.some() {
			l.raw = kept
		}
	}
	a.logs[id] = l
	return l, nil
}

// sourcesOf are those of the chain's topic partition in a log.
func (a *chainAudit) sourcesOf(ctx context.Context, l *auditedLog) (*chainSources, error) {
	if s := a.sources[l]; s != nil {
		return s, nil
	}
	s := &chainSources{start: math.MaxInt64, end: math.MaxInt64}
	if l.there && a.partition < a.topic.Partitions {
		from, err := a.reader(ctx, sink.WithTopic, a.topic, a.Client)
		if err != nil {
			return nil, err
		}
		view, err := from.w.view(ctx, sink.State{})
		if err != nil {
			return nil, err
		}
		if view.Log == a.topic.LogID { // else it was made again since
			s.topic, s.start, s.end = from, view.Start, view.End
		}
	}
	if l.raw != nil {
		from, err := a.reader(ctx, sink.WithRawZone, l.raw.topic, l.raw)
		if err != nil {
			return nil, err
		}
		s.raw = from
	}
	for _, from := range []*chainSource{s.topic, s.raw} {
		if from != nil {
			from.topic, from.end = s.start, s.end
		}
	}
	a.sources[l] = s
	return s, nil
}

// reader makes what reads the chain's topic partition from a log.
func (a *chainAudit) reader(ctx context.Context, with sink.ComparedWith, topic broker.Topic, log Log) (*chainSource, error) {
	from := &chainSource{with: with, log: &watchedLog{Log: log}}
	c := &Consumer{Client: a.Client, Source: from.log, Topic: topic, Table: a.Table, Meta: a.Table.Shape().Meta, Secret: a.Secret}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	from.w = c.worker(a.partition, ctx, nil)
	return from, nil
}

// neither is said of offsets that there is nothing to compare with.
const neither = "neither the topic nor a raw zone has them"

// source is where all offsets [first, to) of a log are to be had, nil where that is
// nowhere, and then why.
func (a *chainAudit) source(ctx context.Context, log string, first, to int64) (*chainSource, passed, error) {
	l, err := a.log(ctx, log)
	if err != nil {
		return nil, passed{}, err
	}
	s, err := a.sourcesOf(ctx, l)
	if err != nil {
		return nil, passed{}, err
	}
	switch {
	case s.topic != nil && (first >= s.start || first >= to):
		return s.topic, passed{}, nil
	case s.raw != nil && l.raw.keeps(a.partition, first, min(to, s.start)):
		return s.raw, passed{}, nil
	case s.raw != nil && l.raw.begins(a.partition) < first:
		return nil, passed{why: neither + ": the raw zone has the order of offsets before, and not of these", gone: true, lost: true}, nil
	case l.there && s.topic == nil:
		return nil, passed{why: fmt.Sprintf("%s: topic %s has %d partitions", neither, a.topic.Name, a.topic.Partitions)}, nil
	case l.there:
		return nil, passed{why: fmt.Sprintf("%s: the topic partition begins at offset %d", neither, s.start), gone: true}, nil
	case a.topic.LogID != "":
		return nil, passed{why: fmt.Sprintf("%s: they are of log %s, and the topic is %s now", neither, log, a.topic.LogID)}, nil
	}
	return nil, passed{why: fmt.Sprintf("%s: the topic is gone (its id was %s)", neither, log), gone: true}, nil
}

// unread tells why a record could not be taken again, and says that it was not: where
// that is a fault of what is read. Else the error is that of reading.
func (a *chainAudit) unread(ctx context.Context, r *sink.Record, err error) (bool, error) {
	var outside *broker.OffsetOutOfRange
	var missing *raw.MissingError
	var damaged *raw.DamagedError
	switch {
	case err == nil:
		return false, nil
	case ctx.Err() != nil || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, broker.ErrDenied):
		return false, err
	case errors.As(err, &outside):
		a.pass(passed{why: fmt.Sprintf("%s: the topic partition begins at offset %d", neither, outside.Start), gone: true}, r)
	case errors.Is(err, raw.ErrForeign):
		a.pass(passed{why: neither + ": messages that lakefeed did not write are not in a raw zone", gone: true}, r)
	case errors.As(err, &damaged):
		a.fault(r, damaged.Key, sink.Finding{Level: sink.Damage, Kind: sink.RawDamaged, Key: damaged.Key, Message: damaged.Error() + ": the rows cannot be made again from it", Do: putBack})
	case errors.As(err, &missing):
		f := sink.Finding{Level: sink.Damage, Kind: sink.RawDamaged, Stream: missing.Stream.String(), Source: missing.Source, Message: missing.Error(), Do: putBack}
		if missing.Absent {
			f.Kind = sink.RawMissing
			if !a.from.copies {
				f.Level = sink.Warning
				f.Message += "; it was sent before the raw zone was begun, or its copy was taken away"
				f.Do = "if there is a backup of the lake's state, put the copy back; else the table cannot be built again with these rows"
			}
		}
		a.fault(r, f.Stream+"\x00"+missing.Reason, f)
	case a.from.log.failed != nil && a.from.with == sink.WithRawZone:
		return false, err
	default:
		a.differ(r, "its offsets cannot be taken from the %s again: %v", a.from.with, err)
		a.compared(r, r.From, r.To, a.from.with, "")
	}
	return true, nil
}

const putBack = "put it back from a backup or an earlier version of the object: what is in a raw zone is never changed or removed"

// fault notes what is wrong with the raw zone where a record would be compared with it.
func (a *chainAudit) fault(r *sink.Record, what string, f sink.Finding) {
	if a.faults[what] == nil {
		a.faults[what] = &skippedRecords{finding: f}
	}
	a.faults[what].add(r)
	a.compared(r, r.From, r.To, sink.WithNothing, "the topic does not have them, and the raw zone is not whole: "+string(f.Kind))
}
