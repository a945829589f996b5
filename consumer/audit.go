package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// Audit compares a table's chains with the topic that they were written from, and
// with its raw zone where the topic no longer has the messages: that each offset is
// what the record says, and that the rows of each stream are those that its producer
// has hashed. A deep audit makes every file again and compares each cell.
//
// It writes nothing. It holds one batch at a time when it is deep, and else a few
// dozen bytes for each stream whose end has not come yet.
type Audit struct {
	// Client reads the topic, which may not be there; nil where there are no brokers.
	Client *broker.Client
	// Raw is the topic's raw zone, which may be empty; nil for none.
	Raw    *raw.Zone
	Table  *sink.Table
	Report *sink.AuditReport
	// Position is the state to compare.
	Position sink.Position
	Deep     bool
	// Whole says that the topic and its raw zone together must have every row, as the
	// table can be built again only then: rows that there is nothing to compare with
	// are damage, also where they may have been sent again since.
	Whole bool
	// Secret finds the key of a mask, for a deep audit.
	Secret func(transform.Key) ([]byte, error)

	topic broker.Topic           // as it is now; without a LogID it is gone
	logs  map[string]*auditedLog // those that records are of, by id
	equal map[content]string     // source by content of the complete streams seen so far
	over  bool                   // there were too many to remember
}

// Run compares. What it finds is in the report; an error means that the topic, its raw
// zone or the lake could not be read.
func (a *Audit) Run(ctx context.Context) error {
	if a.Client != nil {
		topic, err := a.Client.Topic(ctx, a.Table.Topic())
		if err != nil && !errors.Is(err, broker.ErrNoTopic) {
			return err
		}
		if err == nil {
			a.topic = topic
		}
	}
	a.equal, a.logs = map[content]string{}, map[string]*auditedLog{}
	defer func() {
		for _, l := range a.logs {
			l.close()
		}
	}()
	for p, last := range a.Position.Seqs {
		if last < 0 {
			continue
		}
		chain := &chainAudit{
			Audit: a, partition: p, last: last, sources: map[*auditedLog]*chainSource{}, streams: map[schema.StreamID]*streamSum{},
			passed: map[passed]*skippedRecords{}, faults: map[string]*skippedRecords{},
		}
		if err := chain.run(ctx); err != nil {
			return fmt.Errorf("compare table %s with topic partition %s/%d: %w", a.Table.Name(), a.Table.Topic(), p, err)
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
	partition int
	last      int64 // record
	cuts      []cut
	sources   map[*auditedLog]*chainSource
	from      *chainSource // of the record that is compared

	streams map[schema.StreamID]*streamSum
	key     []byte
	scratch []byte

	passed  map[passed]*skippedRecords // that are not compared
	faults  map[string]*skippedRecords // of the raw zone, by what is wrong
	rows    int64                      // compared with the topic
	rowsRaw int64                      // compared with the raw zone
	hashed  int64
}

// cut is a rewind: the messages from an offset on that earlier records have are not
// those that the log has now.
type cut struct {
	seq, to int64
	log     string
}

// passed is why records are not compared.
type passed struct {
	why  string
	gone bool // nothing has their messages, and they were not sent again, so that the table cannot be built again
	lost bool // and the raw zone should have them
}

// skippedRecords are records that could not be compared.
type skippedRecords struct {
	first, last *sink.Record
	rows        int64
	finding     sink.Finding // of what is wrong with the raw zone
}

func (s *skippedRecords) add(r *sink.Record) {
	if s.first == nil {
		s.first = r
	}
	s.last = r
	s.rows += r.Counts.Rows + r.Counts.Quarantined
}

func (a *chainAudit) run(ctx context.Context) (err error) {
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

func (a *chainAudit) chain() string { return fmt.Sprintf("%s/%d", a.Table.Topic(), a.partition) }

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
	if a.wasCut(r, r.To) {
		a.pass(passed{why: "the log has lost their messages since, which is on record"}, r)
		return nil
	}
	from, why, err := a.source(ctx, r.Log, firstRead(r), r.To)
	if err != nil {
		return err
	}
	if from == nil {
		a.pass(why, r)
		return nil
	}
	if end := from.end; r.To > end {
		f := a.Table.OfRecord(sink.Damage, sink.TopicDiffers, a.partition, r, "the topic partition ends at offset %d, before the record's end: the broker has lost messages, and a rebuild would not have their rows", end)
		f.Do = "look for a replica of the topic partition that has them; else lakefeed consume --on-data-loss=record goes on without"
		a.Report.Add(f)
		a.compared(r, r.From, r.To, sink.WithTopic, "")
		return nil
	}
	a.from = from
	from.begin(r.From, firstRead(r), r.To)
	return a.reread(ctx, p)
}

// wasCut says whether the log has lost messages before an offset of a record since.
func (a *chainAudit) wasCut(r *sink.Record, to int64) bool {
	return slices.ContainsFunc(a.cuts, func(c cut) bool { return c.seq > r.Seq && c.log == r.Log && c.to < to })
}

// compared notes what offsets of a record were compared with.
func (a *chainAudit) compared(r *sink.Record, from, to int64, with sink.ComparedWith, why string) {
	a.Report.AddRange(sink.ComparedRange{Chain: a.chain(), Log: r.Log, From: from, To: to, With: with, Why: why})
}

// pass notes that a record is not compared.
func (a *chainAudit) pass(why passed, r *sink.Record) {
	if a.passed[why] == nil {
		a.passed[why] = &skippedRecords{}
	}
	a.passed[why].add(r)
	a.compared(r, r.From, r.To, sink.WithNothing, why.why)
}

// differ reports what a record's offsets have that it does not say.
func (a *chainAudit) differ(r *sink.Record, format string, args ...any) {
	f := a.Table.OfRecord(sink.Damage, sink.TopicDiffers, a.partition, r, format, args...)
	if a.from.with == sink.WithRawZone {
		f.Kind = sink.RawDiffers
	}
	f.Do = fmt.Sprintf("either the %s or the record was changed since the rows were taken: compare these offsets with the sources; a rebuild gives what the %[1]s has", a.from.with)
	a.Report.Add(f)
}

// reread takes the record's offsets again and compares.
func (a *chainAudit) reread(ctx context.Context, p sink.Replayed) error {
	r, w := p.Record, a.from.w
	if a.Deep {
		if err := w.prepare(ctx, r); errors.Is(err, sink.ErrNotExist) {
			return nil // the schema version is not there, which is reported
		} else if err != nil {
			return err
		}
	}
	err := w.reread(ctx, p.Draft, r, func(m *broker.Message) error { return a.message(ctx, r, m) })
	if broken, err := a.unread(ctx, r, err); broken || err != nil {
		return err
	}
	a.count(r)
	if a.vanished(r, p.Draft) {
		return nil // all else differs for that
	}
	if a.from.with == sink.WithRawZone {
		p.Draft.AssumeEmpty(r)
	}
	var made *sink.Records
	if !a.Deep {
		p.Draft.AssumeFiltered(r)
	} else if made, err = w.remade(ctx, r); err != nil {
		if ctx.Err() != nil || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, broker.ErrDenied) {
			return err
		}
		a.differ(r, "its rows cannot be made again: %v", err)
		return nil
	}
	for _, d := range p.Draft.Differences(r, a.from.with) {
		a.differ(r, "%s", d)
	}
	if !a.Deep {
		return nil
	}
	found, err := w.writer.Compare(ctx, p, made, a.from.with)
	if err != nil {
		return err
	}
	a.tell(r, found)
	return nil
}

// count counts what was compared with what.
func (a *chainAudit) count(r *sink.Record) {
	rows, at, copied := r.Counts.Rows+r.Counts.Quarantined, r.From, int64(0)
	for _, c := range a.from.copied {
		from, to := max(c[0], at), min(c[1], r.To)
		if from >= to {
			continue
		}
		a.compared(r, at, from, sink.WithTopic, "")
		a.compared(r, from, to, sink.WithRawZone, "")
		at, copied = to, copied+to-from
	}
	a.compared(r, at, r.To, sink.WithTopic, "")
	kept := min(a.from.kept, rows)
	if copied == r.To-r.From {
		kept = rows
	}
	a.rows, a.rowsRaw = a.rows+rows-kept, a.rowsRaw+kept
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
		f.Do = fmt.Sprintf("put the file back from a backup, or look at what changed the %s; a rebuild gives what the %[1]s has", a.from.with)
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
	var from *chainSource
	first, to := int64(math.MaxInt64), int64(0)
	for _, o := range r.Offsets {
		present, _, err := a.source(ctx, r.Log, o[0], o[1])
		if err != nil {
			return err
		}
		if from = present; from == nil || a.wasCut(r, o[1]) {
			from = nil
			break
		}
		first, to = min(first, o[0]), max(to, o[1])
	}
	if from == nil {
		a.pass(passed{why: "they were taken out of the quarantine, and neither the topic nor a raw zone has them all"}, r)
		return nil
	}
	a.from = from
	from.begin(first, first, to)
	if err := a.from.w.prepare(ctx, r); err != nil {
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
	err := a.from.w.readAt(ctx, rows, func(q *sink.QuarantineRow, m *broker.Message) error {
		if m == nil {
			missing++
			return nil
		}
		return a.from.w.takeOne(ctx, m)
	})
	if broken, err := a.unread(ctx, r, err); broken || err != nil {
		return err
	}
	if missing > 0 {
		kind := sink.TopicMissing
		if a.from.with == sink.WithRawZone {
			kind = sink.RawDiffers
		}
		a.Report.Add(a.Table.OfRecord(sink.Damage, kind, a.partition, r, "%d of the offsets that were taken out of the quarantine have no message any more: a rebuild would not have their rows", missing))
		return nil
	}
	p.Files = slices.DeleteFunc(slices.Clone(p.Files), func(f sink.File) bool { return f.Table != sink.Main })
	a.from.w.draft = p.Draft
	records, err := a.from.w.records(ctx)
	if broken, err := a.unread(ctx, r, err); broken || err != nil {
		return err
	}
	records.Quarantine, records.QuarantineIDs = nil, sink.IDs{}
	records.To = r.To
	found, err := a.from.w.writer.Compare(ctx, p, records, a.from.with)
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
		if a.from.with == sink.WithRawZone {
			f.Kind = sink.RawDiffers
			f.Message = fmt.Sprintf("offsets %d to %d had a message when the record was written, and have none by the order of the raw zone: a rebuild would not have their rows", gap.From, gap.To-1)
			f.Do = "put the objects of its order/ back from a backup or an earlier version of them"
			a.Report.Add(f)
			continue
		}
		f.Do = "the topic was compacted or damaged: set cleanup.policy=delete, and send the sources again under another topic before a rebuild"
		a.Report.Add(f)
	}
	return any
}

// finish tells what was not compared.
func (a *chainAudit) finish() {
	a.Report.CountCompared(a.rows, a.rowsRaw, a.hashed)
	for why, s := range a.passed {
		f := sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Chain: a.chain(), Seq: &s.first.Seq, From: &s.first.From, To: &s.last.To, Rows: s.rows}
		f.Message = fmt.Sprintf("%d rows of records %d to %d were not compared: %s", s.rows, s.first.Seq, s.last.Seq, why.why)
		if why.gone {
			f.Level, f.Kind = sink.Warning, sink.TopicRemoved
			f.Message += "; the table cannot be built again without them"
			f.Do = "set retention.ms=-1 and retention.bytes=-1 for the topic, or keep a raw zone (--raw-zone), if the table is to be built again"
			if why.lost {
				f.Kind, f.Do = sink.RawMissing, "put the objects of its order/ back from a backup or an earlier version of them"
			}
			if a.Whole || why.lost {
				f.Level = sink.Damage
			}
		} else if a.Whole && s.rows > 0 {
			f.Level, f.Kind = sink.Damage, sink.TopicRemoved
			f.Message += "; unless they were sent again since, the table cannot be built again without them"
			f.Do = "send their sources again, where that was not done; lakefeed rebuild tells whether the topic has them all then, and leaves the table as it is if not"
		}
		a.Report.Add(f)
	}
	for _, s := range a.faults {
		f := s.finding
		f.Chain, f.Seq, f.From, f.To, f.Rows = a.chain(), &s.first.Seq, &s.first.From, &s.last.To, s.rows
		if s.last != s.first {
			f.Message += fmt.Sprintf(" (records %d to %d)", s.first.Seq, s.last.Seq)
		}
		if a.Whole {
			f.Level = sink.Damage
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
		a.Report.Add(sink.Finding{Level: sink.Note, Kind: sink.StreamHashUnknown, Chain: a.chain(), Message: fmt.Sprintf("%d streams that have ended could not be compared by their producers' hash: not all of their rows were compared, or they are not whole", unknown)})
	}
}
