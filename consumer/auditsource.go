package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lakefeed/broker"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// auditedLog is an incarnation of the topic that records are of.
type auditedLog struct {
	there bool    // at the brokers
	raw   *rawLog // nil where the raw zone has nothing of it
}

// chainSource is where the messages of a topic partition of a log are read from: the
// brokers, and its raw zone for what these do not have, or have no longer by the time
// that it is read.
type chainSource struct {
	Log            // the brokers; where the topic partition is not there, the raw zone
	w      *worker // nil where there is neither
	raw    *rawLog // nil for none
	there  bool    // the topic partition, at the brokers
	start  int64   // from which on they have it, as far as that is known
	end    int64
	copies bool // it has given rows of the raw zone

	// Of the record that is read:
	with   sink.ComparedWith
	to     int64        // offset behind it
	copied []sink.Range // what is read from the raw zone, ascending
	kept   int64        // rows of them
	failed error        // of the last read
}

// begin begins to read a record that has offsets [from, to), of which first is read
// first.
func (s *chainSource) begin(from, first, to int64) {
	s.with, s.to, s.copied, s.kept, s.failed = sink.WithTopic, to, s.copied[:0], 0, nil
	if !s.there || first < min(to, s.start) {
		s.with, s.copied = sink.WithRawZone, append(s.copied, sink.Range{from, s.start})
	}
}

// isCopy says whether the message at an offset is one of the raw zone.
func (s *chainSource) isCopy(offset int64) bool {
	return slices.ContainsFunc(s.copied, func(r sink.Range) bool { return r[0] <= offset && offset < r[1] })
}

// Offsets begin where they are known to: of what was removed since, Fetch tells.
func (s *chainSource) Offsets(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	log := s.Log
	if s.raw != nil {
		log = s.raw
	}
	start, end, err = log.Offsets(ctx, topic, partition)
	return min(start, s.start), end, err
}

// Fetch remembers when it fails.
func (s *chainSource) Fetch(ctx context.Context, topic string, partition int, offset int64, o broker.FetchOptions, f *broker.Fetch) error {
	s.failed = s.fetch(ctx, topic, partition, offset, o, f)
	return s.failed
}

// fetch reads a record from the brokers, and from the raw zone what they do not have of
// it. Where they have the whole record, they are asked for all that is looked up for it.
func (s *chainSource) fetch(ctx context.Context, topic string, partition int, offset int64, o broker.FetchOptions, f *broker.Fetch) error {
	if s.with == sink.WithRawZone && offset < s.start {
		return s.raw.Fetch(ctx, topic, partition, offset, o, f)
	}
	err := s.Log.Fetch(ctx, topic, partition, offset, o, f)
	var outside *broker.OffsetOutOfRange
	if s.raw == nil || !errors.As(err, &outside) || outside.Start <= max(offset, s.start) || !s.raw.keeps(partition, offset, min(s.to, outside.Start)) {
		return err
	}
	// More was removed since: the record goes on from where it is read.
	s.start, s.with = outside.Start, sink.WithRawZone
	s.copied = append(s.copied, sink.Range{max(offset, s.w.position), s.start})
	s.raw.removed(partition, s.start)
	return s.raw.Fetch(ctx, topic, partition, offset, o, f)
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

// sourceOf is the one of the chain's topic partition in a log.
func (a *chainAudit) sourceOf(ctx context.Context, l *auditedLog) (*chainSource, error) {
	if s := a.sources[l]; s != nil {
		return s, nil
	}
	s := &chainSource{start: math.MaxInt64, end: math.MaxInt64}
	if l.there && a.partition < a.topic.Partitions {
		if err := a.reader(ctx, s, a.topic, a.Client); err != nil {
			return nil, err
		}
		view, err := s.w.view(ctx, sink.State{})
		if err != nil {
			return nil, err
		}
		if s.there = view.Log == a.topic.LogID; s.there {
			s.start, s.end = view.Start, view.End
		} else { // it was made again since
			s.w = nil
		}
	}
	if s.raw = l.raw; s.raw != nil && s.there {
		s.raw.removed(a.partition, s.start)
	} else if s.raw != nil {
		if err := a.reader(ctx, s, s.raw.topic, s.raw); err != nil {
			return nil, err
		}
	}
	a.sources[l] = s
	return s, nil
}

// reader makes what reads the chain's topic partition from a log.
func (a *chainAudit) reader(ctx context.Context, s *chainSource, topic broker.Topic, log Log) error {
	s.Log = log
	c := &Consumer{Client: a.Client, Source: s, Topic: topic, Table: a.Table, Meta: a.Table.Shape().Meta, Secret: a.Secret}
	if err := c.Validate(); err != nil {
		return err
	}
	s.w = c.worker(a.partition, ctx, nil)
	return nil
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
	s, err := a.sourceOf(ctx, l)
	if err != nil {
		return nil, passed{}, err
	}
	switch {
	case s.there && (first >= s.start || first >= to):
		return s, passed{}, nil
	case s.raw != nil && s.raw.keeps(a.partition, first, min(to, s.start)):
		return s, passed{}, nil
	}
	return nil, a.nowhere(l, s, log, first), nil
}

// nowhere is why offsets of a log, from one on, are not to be had.
func (a *chainAudit) nowhere(l *auditedLog, s *chainSource, log string, first int64) passed {
	switch {
	case s.raw != nil && s.raw.begins(a.partition) < first:
		return passed{why: neither + ": the raw zone has the order of offsets before, and not of these", gone: true, lost: true}
	case s.there:
		return passed{why: fmt.Sprintf("%s: the topic partition begins at offset %d", neither, s.start), gone: true}
	case l.there && a.partition < a.topic.Partitions:
		return passed{why: neither + ": the topic was made again during the audit"}
	case l.there:
		return passed{why: fmt.Sprintf("%s: topic %s has %d partitions", neither, a.topic.Name, a.topic.Partitions)}
	case a.topic.LogID != "":
		return passed{why: fmt.Sprintf("%s: they are of log %s, and the topic is %s now", neither, log, a.topic.LogID)}
	}
	return passed{why: fmt.Sprintf("%s: the topic is gone (its id was %s)", neither, log), gone: true}
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
		a.from.start = max(a.from.start, outside.Start)
		a.pass(a.nowhere(a.logs[r.Log], a.from, r.Log, outside.Offset), r)
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
	case a.from.failed != nil && a.from.with == sink.WithRawZone:
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
