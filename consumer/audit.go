package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/sink"
)

// Audit compares a table's chains with the topic that they were written from, as
// far as the topic still has the messages: that each offset is what the record
// says, and that the rows of each stream are those that its producer has hashed.
// A deep audit makes every file again from the topic and compares each cell.
//
// It writes nothing. It holds one batch at a time when it is deep, and else a few
// dozen bytes for each stream whose end has not come yet.
type Audit struct {
	Client *broker.Client
	// Source is where messages are read from; nil for the Client.
	Source Log
	Topic  broker.Topic
	Table  *sink.Table
	Report *sink.AuditReport
	// Position is the state to compare.
	Position sink.Position
	Deep     bool
	// Whole says that the topic must have every row, as the table can be built again
	// only then: what was removed from it is damage.
	Whole bool
	// Secret finds the key of a mask, for a deep audit.
	Secret func(transform.Key) ([]byte, error)

	equal map[content]string // source by content of the complete streams seen so far
	over  bool               // there were too many to remember
}

// Run compares. What it finds is in the report; an error means that the topic or
// the lake could not be read.
func (a *Audit) Run(ctx context.Context) error {
	c := &Consumer{Client: a.Client, Source: a.Source, Topic: a.Topic, Table: a.Table, Meta: a.Table.Shape().Meta, Secret: a.Secret}
	if err := c.Validate(); err != nil {
		return err
	}
	a.equal = map[content]string{}
	for p, last := range a.Position.Seqs {
		if last < 0 {
			continue
		}
		chain := &chainAudit{Audit: a, w: c.worker(p, ctx, nil), partition: p, last: last, streams: map[schema.StreamID]*streamSum{}}
		if err := chain.run(ctx); err != nil {
			return fmt.Errorf("compare table %s with topic partition %s/%d: %w", a.Table.Name(), a.Topic.Name, p, err)
		}
	}
	if a.over {
		a.Report.Add(sink.Finding{Level: sink.Note, Kind: sink.EqualObjects, Message: fmt.Sprintf("equal objects were looked for among the first %d only", maxContents)})
	}
	a.Report.Sort()
	return nil
}

// chainAudit compares one chain.
type chainAudit struct {
	*Audit
	w         *worker
	partition int
	last      int64 // record
	present   sink.LogView
	cuts      []cut

	streams map[schema.StreamID]*streamSum
	key     []byte
	scratch []byte

	passed map[string]*skippedRecords // that are not compared, by reason
	rows   int64
	hashed int64
}

// cut is a rewind: the messages from an offset on that earlier records have are not
// those that the log has now.
type cut struct {
	seq, to int64
	log     string
}

// skippedRecords are records that could not be compared.
type skippedRecords struct {
	first, last *sink.Record
	records     int64
	rows        int64
}

func (a *chainAudit) run(ctx context.Context) (err error) {
	if a.partition >= a.Topic.Partitions {
		a.Report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Chain: a.chain(), Message: fmt.Sprintf("topic %s has %d partitions: the chain has nothing to be compared with", a.Topic.Name, a.Topic.Partitions)})
		return nil
	}
	if a.present, err = a.w.view(ctx, sink.State{}); err != nil {
		return err
	}
	a.passed = map[string]*skippedRecords{}
	if err := a.findCuts(ctx); err != nil {
		return a.broken(err)
	}
	for r, err := range a.Table.Replay(ctx, a.partition, a.last) {
		if err != nil {
			return a.broken(err)
		}
		switch r.Record.Kind {
		case sink.KindRows:
			err = a.record(ctx, r)
		case sink.KindReplay:
			err = a.replay(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	a.finish()
	return nil
}

func (a *chainAudit) chain() string { return fmt.Sprintf("%s/%d", a.Topic.Name, a.partition) }

// broken is for a chain that cannot be read: that is reported where the records are
// audited.
func (a *chainAudit) broken(err error) error {
	var broken *sink.ChainError
	if !errors.As(err, &broken) {
		return err
	}
	a.Report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Chain: a.chain(), Key: broken.Key, Message: "what comes from this record on was not compared with the topic, since the chain is not whole"})
	a.finish()
	return nil
}

// findCuts finds the rewinds of the chain.
func (a *chainAudit) findCuts(ctx context.Context) error {
	for r, err := range a.Table.ReadChain(ctx, a.partition) {
		if err != nil {
			return err
		}
		if r.Kind == sink.KindRewind {
			a.cuts = append(a.cuts, cut{seq: r.Seq, to: r.To, log: r.Log})
		}
	}
	return nil
}

// record compares the offsets of one record.
func (a *chainAudit) record(ctx context.Context, p sink.Replayed) error {
	r := p.Record
	for _, c := range a.cuts {
		if c.seq > r.Seq && c.log == r.Log && c.to < r.To {
			a.pass("the log has lost their messages since, which is on record", r)
			return nil
		}
	}
	from := firstRead(r)
	switch {
	case r.Log != a.present.Log:
		a.pass(fmt.Sprintf("they are of log %s, and the topic is %s now", r.Log, a.present.Log), r)
		return nil
	case from < a.present.Start && from < r.To:
		a.pass(removed, r)
		return nil
	case r.To > a.present.End:
		f := a.Table.OfRecord(sink.Damage, sink.TopicDiffers, a.partition, r, "the topic partition ends at offset %d, before the record's end: the broker has lost messages, and a rebuild would not have their rows", a.present.End)
		f.Do = "look for a replica of the topic partition that has them; else lakefeed consume --on-data-loss=record goes on without"
		a.Report.Add(f)
		return nil
	}
	return a.reread(ctx, p)
}

const removed = "the topic does not have all of their offsets any more"

// pass notes that a record is not compared.
func (a *chainAudit) pass(why string, r *sink.Record) {
	s := a.passed[why]
	if s == nil {
		s = &skippedRecords{first: r}
		a.passed[why] = s
	}
	s.last = r
	s.records++
	s.rows += r.Counts.Rows + r.Counts.Quarantined
}

// reread takes the record's offsets again and compares.
func (a *chainAudit) reread(ctx context.Context, p sink.Replayed) error {
	r := p.Record
	differs := func(format string, args ...any) {
		f := a.Table.OfRecord(sink.Damage, sink.TopicDiffers, a.partition, r, format, args...)
		f.Do = "either the topic or the record was changed since the rows were taken: compare these offsets with the sources; a rebuild gives what the topic has"
		a.Report.Add(f)
	}
	var err error
	if a.Deep {
		err = a.w.prepare(ctx, r)
	}
	if errors.Is(err, sink.ErrNotExist) {
		return nil // the schema version is not there, which is reported
	}
	if err == nil {
		err = a.w.reread(ctx, p.Draft, r, func(m *broker.Message) error { return a.message(ctx, r, m) })
	}
	var outside *broker.OffsetOutOfRange
	switch {
	case errors.As(err, &outside):
		a.pass(removed, r)
		return nil
	case err != nil && (ctx.Err() != nil || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, broker.ErrDenied)):
		return err
	case err != nil:
		differs("its offsets cannot be taken from the topic again: %v", err)
		return nil
	}
	a.rows += r.Counts.Rows + r.Counts.Quarantined
	if a.vanished(r, p.Draft) {
		return nil // all else differs for that
	}
	var made *sink.Records
	if !a.Deep {
		p.Draft.AssumeFiltered(r)
	} else if made, err = a.w.remade(ctx, r); err != nil {
		if ctx.Err() != nil || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, broker.ErrDenied) {
			return err
		}
		differs("its rows cannot be made again: %v", err)
		return nil
	}
	for _, d := range p.Draft.Differences(r) {
		differs("%s", d)
	}
	if !a.Deep {
		return nil
	}
	found, err := a.w.writer.Compare(ctx, p, made)
	if err != nil {
		return err
	}
	a.tell(r, found)
	return nil
}

// tell reports the cells of a record's files that differ.
func (a *chainAudit) tell(r *sink.Record, found []sink.CellDifference) {
	for _, d := range found {
		f := a.Table.OfRecord(sink.Damage, sink.CellsDiffer, a.partition, r, "%s", d.Message)
		f.Key, f.Rows = d.Key, d.Rows
		if d.Row >= 0 {
			f.Message = fmt.Sprintf("row %d of the stream, %s", d.Row, d.Message)
			f.Stream = fmt.Sprintf("%016x", d.Stream)
			if s := a.streams[schema.StreamID([]byte(f.Stream))]; s != nil {
				f.Source = s.source
			}
		}
		f.Do = "put the file back from a backup, or look at what changed the topic; a rebuild gives what the topic has"
		a.Report.Add(f)
	}
}

// replay compares the rows that a replay has put into the table with the topic, when
// the audit is deep: the records that took their offsets first account for them. Those
// that stayed in quarantine are not made again.
func (a *chainAudit) replay(ctx context.Context, p sink.Replayed) error {
	r := p.Record
	if !a.Deep {
		return nil
	}
	if first := r.Offsets[0][0]; r.Log != a.present.Log || first < a.present.Start || slices.ContainsFunc(a.cuts, func(c cut) bool { return c.seq > r.Seq && c.to < r.To }) {
		a.pass("they were taken out of the quarantine, and the topic has changed since", r)
		return nil
	}
	if err := a.w.prepare(ctx, r); err != nil {
		if errors.Is(err, sink.ErrNotExist) {
			return nil // which is reported
		}
		return err
	}
	var rows []sink.QuarantineRow
	for _, o := range r.Offsets {
		for offset := o[0]; offset < o[1]; offset++ {
			rows = append(rows, sink.QuarantineRow{Offset: offset})
		}
	}
	missing := int64(0)
	err := a.w.readAt(ctx, rows, func(q *sink.QuarantineRow, m *broker.Message) error {
		if m == nil {
			missing++
			return nil
		}
		return a.w.takeOne(ctx, m)
	})
	if err != nil {
		return err
	}
	if missing > 0 {
		a.Report.Add(a.Table.OfRecord(sink.Damage, sink.TopicMissing, a.partition, r, "%d of the offsets that were taken out of the quarantine have no message any more: a rebuild would not have their rows", missing))
		return nil
	}
	p.Files = slices.DeleteFunc(slices.Clone(p.Files), func(f sink.File) bool { return f.Table != sink.Main })
	a.w.draft = p.Draft
	records, err := a.w.records(ctx)
	if err != nil {
		return err
	}
	records.Quarantine, records.QuarantineIDs = nil, sink.IDs{}
	records.To = r.To
	found, err := a.w.writer.Compare(ctx, p, records)
	if err != nil {
		return err
	}
	a.tell(r, found)
	return nil
}

// vanished reports offsets of a record that had a row then and have none now.
func (a *chainAudit) vanished(r *sink.Record, d *sink.Draft) (any bool) {
	for _, gap := range d.Vanished(r) {
		any = true
		f := a.Table.OfRecord(sink.Damage, sink.TopicMissing, a.partition, r, "offsets %d to %d of the topic have no message any more, and had when the record was written: a rebuild would not have their rows", gap.From, gap.To-1)
		f.From, f.To, f.Rows = &gap.From, &gap.To, gap.To-gap.From
		f.Do = "the topic was compacted or damaged: set cleanup.policy=delete, and send the sources again under another topic before a rebuild"
		a.Report.Add(f)
	}
	return any
}

// finish tells what was not compared.
func (a *chainAudit) finish() {
	a.Report.CountCompared(a.rows, a.hashed)
	for why, s := range a.passed {
		f := sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Chain: a.chain(), Seq: &s.first.Seq, From: &s.first.From, To: &s.last.To, Rows: s.rows}
		f.Message = fmt.Sprintf("%d rows of records %d to %d were not compared with the topic: %s", s.rows, s.first.Seq, s.last.Seq, why)
		if why == removed {
			f.Level, f.Kind = sink.Warning, sink.TopicRemoved
			f.Message += fmt.Sprintf("; it begins at offset %d, so that the table cannot be built again from the topic alone", a.present.Start)
			f.Do = "set retention.ms=-1 and retention.bytes=-1 for the topic, if the table is to be built again from it"
			if a.Whole {
				f.Level = sink.Damage
			}
		}
		a.Report.Add(f)
	}
	unknown := int64(0)
	for _, s := range a.streams {
		if s.ended {
			unknown++
		}
	}
	if unknown > 0 {
		a.Report.Add(sink.Finding{Level: sink.Note, Kind: sink.StreamHashUnknown, Chain: a.chain(), Message: fmt.Sprintf("%d streams that have ended could not be compared by their producers' hash: the topic does not have all of their rows, or they are not whole", unknown)})
	}
}
