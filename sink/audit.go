package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Audit proves from the chains, and from a fresh read of every file, that the
// table has each row once. It writes nothing, and may be run while the table is
// written: it looks at the state that the chains have when it begins.
//
// Of a table of any size it holds a few files, one record of each chain, and 24
// bytes for each stream that has ended.
type Audit struct {
	Table  *Table
	Report *AuditReport
	// Memory bounds the files that are read at a time, in bytes; one file is read
	// even if it is larger. 0 is DefaultAuditMemory.
	Memory int64
}

// DefaultAuditMemory is for the bodies of the files that are read at a time.
const DefaultAuditMemory = 128 << 20

// filesAtOnce is how many files are read at a time at most.
const filesAtOnce = 4

// Run audits the table. What it finds is in the report; an error means that the
// lake could not be read, and that the audit is not complete.
func (a *Audit) Run(ctx context.Context) error {
	if err := a.run(ctx); err != nil {
		return fmt.Errorf("audit table %s: %w", a.Table.name, err)
	}
	a.Report.Sort()
	return nil
}

func (a *Audit) run(ctx context.Context) error {
	t := a.Table
	if a.Memory == 0 {
		a.Memory = DefaultAuditMemory
	}
	position := Position{Generation: t.generation}
	for p := range t.partitions {
		last, err := t.lastSeq(ctx, p)
		if err != nil {
			return err
		}
		position.Seqs = append(position.Seqs, last)
	}
	a.Report.count(func(r *AuditReport) {
		r.Table, r.Generation, r.Position = t.name, t.generation, position.String()
	})
	inventory := newInventory(t, position)
	if err := inventory.list(ctx); err != nil {
		return err
	}
	group, reading := errgroup.WithContext(ctx)
	run := &auditRun{Audit: a, position: position, inventory: inventory, memory: semaphore.NewWeighted(a.Memory), group: group}
	group.SetLimit(filesAtOnce)
	err := run.chains(reading)
	if e := group.Wait(); e != nil {
		err = e // it is what ended the other
	}
	if err != nil {
		return err
	}
	if err := run.foreign(ctx); err != nil {
		return err
	}
	if err := run.staged(ctx); err != nil {
		return err
	}
	return run.lifecycle(ctx)
}

// auditRun is one run of an Audit.
type auditRun struct {
	*Audit
	position  Position
	inventory *inventory
	memory    *semaphore.Weighted
	group     *errgroup.Group
}

// chains audits the records of all chains, and the files they list. Where the
// chains were reset they all come to that point before one goes on, since from
// there each knows what all have seen.
func (a *auditRun) chains(ctx context.Context) error {
	t := a.Table
	streams := newStreamAudit(a.Audit, t.partitions)
	walks := make([]*chainWalk, t.partitions)
	for p := range walks {
		walks[p] = &chainWalk{run: a, partition: p, streams: streams, last: a.position.last(p), link: link{seq: -1}, missing: map[string]bool{}}
	}
	for reset := int64(0); ; {
		next := int64(-1)
		for _, w := range walks {
			if err := w.walk(ctx, reset); err != nil {
				return err
			}
			if r := w.reset; r > reset && (next < 0 || r < next) {
				next = r
			}
		}
		if next < 0 {
			break
		}
		streams.join()
		reset = next
	}
	streams.finish()
	for _, w := range walks {
		if err := w.checkpoints(ctx); err != nil {
			return err
		}
	}
	return nil
}

// chainWalk goes through the records of one chain. Unlike all who work with the
// chain it does not stop at the first that is wrong.
type chainWalk struct {
	run       *auditRun
	partition int
	streams   *streamAudit
	last      int64     // the record to stop at
	link      link      // of the last record that could be read
	lost      []Finding // of the records before the next one that could not be read
	reset     int64     // the number of the reset before which it stands

	held    *settledRecord  // with files, which the next record may repair
	missing map[string]bool // objects that were reported
	rejects rejectFiles     // of the quarantine, which later records may retire
}

// walk goes on to before the first reset whose number is above one.
func (w *chainWalk) walk(ctx context.Context, reset int64) error {
	t := w.run.Table
	w.reset = 0
	for seq := w.nextSeq(); seq <= w.last; seq++ {
		r, err := t.record(ctx, w.partition, seq)
		var broken *ChainError
		switch {
		case errors.Is(err, ErrNotExist):
			w.unreadable(seq, RecordMissing, fmt.Sprintf("record %d is not there, though there is a record %d: what it listed and skipped is not known", seq, w.last))
			continue
		case errors.As(err, &broken):
			w.unreadable(seq, RecordDamaged, broken.Err.Error())
			continue
		case err != nil:
			return err
		}
		if r.Kind == KindRedirect {
			return &KindError{Key: t.recordKey(w.partition, seq), Kind: string(r.Kind)}
		}
		if r.Reset > reset {
			w.reset = r.Reset
			return nil
		}
		if err := w.record(ctx, r); err != nil {
			return err
		}
	}
	w.tellLost(nil)
	if w.held != nil {
		if err := w.settleLast(ctx); err != nil {
			return err
		}
	}
	return w.settleRejects(ctx)
}

func (w *chainWalk) nextSeq() int64 { return w.link.seq + 1 }

// unreadable notes a record that cannot be read and goes behind it.
func (w *chainWalk) unreadable(seq int64, kind FindingKind, message string) {
	t := w.run.Table
	w.lost = append(w.lost, Finding{
		Level: Damage, Kind: kind, Chain: chainName(t.topic, w.partition), Seq: &seq, Key: t.recordKey(w.partition, seq),
		Message: message, Do: "put the object back as it was, from a backup or an earlier version of it: records are never changed or removed",
	})
	if len(w.lost) > w.run.Report.limit { // the first ones are for people, the others are counted
		w.run.Report.Add(w.lost[len(w.lost)-1])
		w.lost = w.lost[:len(w.lost)-1]
	}
	w.link.seq = seq
	w.streams.lose(w.partition)
}

// tellLost reports the records that could not be read, before one that could: its
// first offset is where theirs end.
func (w *chainWalk) tellLost(next *Record) {
	from := w.link.to
	for _, f := range w.lost {
		f.From = &from
		if next != nil && next.Log == w.link.log && next.From >= from {
			to := next.From
			f.To = &to
			f.Message += fmt.Sprintf("; offsets %d to %d are of it, or of its neighbours that cannot be read", from, to-1)
		}
		w.run.Report.Add(f)
	}
	w.lost = nil
}

// record audits one record.
func (w *chainWalk) record(ctx context.Context, r *Record) error {
	report := w.run.Report
	before := w.link
	if len(w.lost) > 0 { // it cannot be compared with the one before
		w.tellLost(r)
		before.to, before.log, before.attempt = r.From, r.Log, r.Prev
	}
	if err := r.follows(before); err != nil {
		w.wrong(r, "%v", err)
	}
	w.link = r.link()
	w.link.reset = max(w.link.reset, before.reset)
	w.counts(r)
	w.losses(r)
	w.streams.record(w.partition, r)
	report.count(func(a *AuditReport) {
		a.Records++
		a.Offsets += max(0, r.To-r.From)
		a.Ends += r.Counts.Ends
		for _, s := range r.Skipped {
			a.Skipped[s.Reason] += s.To - s.From
		}
	})
	if err := w.objects(ctx, r); err != nil {
		return err
	}
	if w.held != nil && w.held.amend(r) {
		return nil
	}
	if err := w.settle(ctx, true); err != nil {
		return err
	}
	w.retire(r)
	w.held = &settledRecord{Record: r, files: r.Files}
	return nil
}

const recordByHand = "the record was changed by hand: put it back as it was, from a backup or an earlier version of the object"

// wrong reports a record that contradicts itself or the one before it.
func (w *chainWalk) wrong(r *Record, format string, args ...any) {
	f := w.run.Table.OfRecord(Damage, RecordWrong, w.partition, r, format, args...)
	f.Key, f.Do = w.run.Table.recordKey(w.partition, r.Seq), recordByHand
	w.run.Report.Add(f)
}

// counts checks that a record accounts for each of its offsets, and that its
// numbers are those of its files.
func (w *chainWalk) counts(r *Record) {
	var rows, quarantined, skipped int64
	for _, f := range r.Files {
		if f.Table == Quarantine {
			quarantined += f.Rows
		} else {
			rows += f.Rows
		}
	}
	for _, s := range r.Skipped {
		skipped += s.To - s.From
	}
	c := r.Counts
	if c.Rows != rows || c.Quarantined != quarantined || c.Skipped != skipped {
		w.wrong(r, "it counts %d rows, %d quarantined ones and %d skipped offsets, but lists %d, %d and %d", c.Rows, c.Quarantined, c.Skipped, rows, quarantined, skipped)
	}
	if have, want := rows+quarantined+c.Ends+skipped, r.To-r.From; (r.Kind == KindRows || r.Kind == KindGap) && have != want {
		w.wrong(r, "it has %d offsets, but %d rows, %d quarantined ones, %d ends and %d skipped offsets: %d are not accounted for", want, rows, quarantined, c.Ends, skipped, want-have)
	}
	for f := range r.Added() {
		of := r
		if r.Kind == KindRepair && w.held != nil {
			of = &Record{Kind: KindRepair, Seq: r.Seq, From: w.held.From, To: w.held.To}
		}
		if why := w.run.Table.misnamed(w.partition, of, f); why != "" {
			w.wrong(r, "it lists the file %s, but %s", f.Key, why)
		}
	}
}

// losses names what the lake has on record as lost, and what it should not have
// skipped.
func (w *chainWalk) losses(r *Record) {
	t, report := w.run.Table, w.run.Report
	for _, s := range r.Skipped {
		switch s.Reason {
		case SkipRetention:
			f := t.OfRecord(Loss, LossRetention, w.partition, r, "offsets %d to %d were removed from the topic before they reached the lake", s.From, s.To-1)
			f.From, f.To, f.Rows = &s.From, &s.To, s.To-s.From
			f.Do = "send the sources that had them again under another name (--source-name URI), if they are still there"
			report.Add(f)
		case SkipConflict:
			f := t.OfRecord(Damage, RowConflict, w.partition, r, "offsets %d to %d contradict the end of their stream and were left out: rows behind its end, or another end with another count", s.From, s.To-1)
			f.From, f.To, f.Rows = &s.From, &s.To, s.To-s.From
			f.Do = "look at these offsets of the topic: the object was changed, or two producers disagreed about it; send it under another name (--source-name URI) to have all of its rows"
			report.Add(f)
		}
	}
	switch r.Kind {
	case KindGap:
		if len(r.Lost) > 0 {
			f := t.OfRecord(Loss, LossFiles, w.partition, r, "%d files of record %d were lost before they became visible, and given up: %s", len(r.Lost), *r.Of, strings.Join(r.Lost, ", "))
			f.Rows = r.Counts.Lost
			report.Add(f)
		}
	case KindRewind:
		report.Add(t.OfRecord(Note, LogRewound, w.partition, r, "the log was cut: the chain went back from offset %d to %d, and rows that came again were left out", r.From, r.To))
	}
}

// objects checks that what a record refers to is there.
func (w *chainWalk) objects(ctx context.Context, r *Record) error {
	t := w.run.Table
	need := func(key, what string, err error) error {
		if !errors.Is(err, ErrNotExist) {
			return err
		}
		if w.missing[key] {
			return nil
		}
		w.missing[key] = true
		f := t.OfRecord(Damage, ObjectMissing, w.partition, r, "%s, which the record refers to, is not there: its files cannot be made again", what)
		f.Key, f.Do = key, "put the object back, from a backup or an earlier version of it"
		w.run.Report.Add(f)
		return nil
	}
	if r.Schema > 0 {
		_, err := t.Schemas().Get(ctx, r.Schema)
		if err := need(t.schemas.key(r.Schema), fmt.Sprintf("schema version %d", r.Schema), err); err != nil {
			return err
		}
	}
	key := t.generationRoot() + "config/" + r.Config + ".json"
	if r.Config != "" && !w.missing[key] {
		_, err := t.store.Stat(ctx, key)
		if err := need(key, "configuration "+r.Config, err); err != nil {
			return err
		}
	}
	if r.Kind == KindReset {
		log, err := t.readLog(ctx, t.logKey(r.Reset))
		if err == nil && log.Log != r.Log {
			w.wrong(r, "it is of log %s, but reset %d is to log %s", r.Log, r.Reset, log.Log)
		}
		return need(t.logKey(r.Reset), fmt.Sprintf("log %d", r.Reset), err)
	}
	return nil
}

// settle checks the files of the held record, which nothing can repair any more.
func (w *chainWalk) settle(ctx context.Context, published bool) error {
	held := w.held
	if held == nil {
		return nil
	}
	w.held = nil
	for _, f := range held.files {
		if f.Table == Quarantine {
			w.rejects.add(held.Record, f, published)
			continue
		}
		if err := w.check(ctx, held.Record, f, published); err != nil {
			return err
		}
	}
	return nil
}

// check reads a file that the record lists and nothing has retired.
func (w *chainWalk) check(ctx context.Context, r *Record, f File, published bool) error {
	w.run.inventory.listed(f.Key)
	size := min(max(f.Size, 1), w.run.Memory)
	if err := w.run.memory.Acquire(ctx, size); err != nil {
		return err
	}
	w.run.group.Go(func() error {
		defer w.run.memory.Release(size)
		return w.run.file(ctx, w.partition, r, f, published)
	})
	return nil
}

// settleLast settles the chain's end. What is recorded behind it by now may be a
// repair, and means at least that the files were published.
func (w *chainWalk) settleLast(ctx context.Context) error {
	published := false
	for seq := w.last + 1; ; seq++ {
		r, err := w.run.Table.readable(ctx, w.partition, seq)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		published = true
		if !w.held.amend(r) {
			break
		}
	}
	return w.settle(ctx, published)
}

// checkpoints compares the newest checkpoint with the records: who opens the
// chain relies on it.
func (w *chainWalk) checkpoints(ctx context.Context) error {
	t := w.run.Table
	report := func(key, format string, args ...any) {
		w.run.Report.Add(Finding{
			Level: Damage, Kind: CheckpointWrong, Chain: chainName(t.topic, w.partition), Key: key, Message: fmt.Sprintf(format, args...),
			Do: "if its records are not there, put them back; if they are as they were, remove the checkpoint: it is made again from them",
		})
	}
	folder := t.chainFolder("checkpoints", w.partition)
	newest, err := t.newest(ctx, folder)
	if err != nil || newest == "" {
		return err
	}
	seq, _ := numberOf(newest, folder)
	k, err := t.checkpoint(ctx, newest, folder)
	var kind *KindError
	switch {
	case errors.Is(err, errDamaged):
		report(newest, "%v", err)
		return nil
	case err != nil && !errors.As(err, &kind):
		return err
	case k == nil:
		return nil
	}
	if seq > w.last {
		last, err := t.lastSeq(ctx, w.partition)
		if err == nil && seq > last { // else it is younger than what is audited
			ends := fmt.Sprintf("ends at record %d", last)
			if last < 0 {
				ends = "has none"
			}
			report(newest, "the checkpoint is of record %d, and the chain %s: records were removed", seq, ends)
		}
		return err
	}
	r, err := t.readable(ctx, w.partition, seq)
	if r != nil && (k.To != r.To || k.Log != r.Log || k.Attempt != r.Attempt) {
		report(newest, "the checkpoint says that record %d is attempt %s and ends at offset %d of log %s, but it is attempt %s and ends at %d of log %s", seq, k.Attempt, k.To, k.Log, r.Attempt, r.To, r.Log)
	}
	return err
}

// file reads a file and compares it with what its record says. published says
// that it must be visible.
func (a *auditRun) file(ctx context.Context, partition int, r *Record, f File, published bool) error {
	a.Report.count(func(x *AuditReport) {
		x.Files++
		x.Bytes += f.Size
		if f.Table == Quarantine {
			x.Quarantined += f.Rows
		} else {
			x.Rows += f.Rows
		}
	})
	body, err := a.Table.store.Get(ctx, f.Key)
	if errors.Is(err, ErrNotExist) {
		return a.absent(ctx, partition, r, f, published)
	}
	if err != nil {
		return err
	}
	a.compare(partition, r, f, body)
	return nil
}

// compare compares a file's body with what its record says.
func (a *auditRun) compare(partition int, r *Record, f File, body []byte) {
	found := a.Table.OfRecord(Damage, FileDamaged, partition, r, "")
	found.Key, found.Rows = f.Key, f.Rows
	found.Do = "put the file back from a backup or an earlier version of the object; what is there now was not written by lakefeed"
	facts, err := readFacts(body)
	switch size := int64(len(body)); {
	case err != nil && size < f.Size:
		found.Kind = FileTruncated
		found.Message = fmt.Sprintf("it has %d of %d bytes: %v", size, f.Size, err)
	case err != nil:
		found.Message = fmt.Sprintf("it cannot be read: %v", err)
	default:
		differ := facts.differences(f, a.Table.fileMeta(partition, r, f))
		if size != f.Size {
			differ = append([]string{fmt.Sprintf("it has %d bytes, the record says %d", size, f.Size)}, differ...)
		}
		if len(differ) == 0 {
			return
		}
		found.Kind, found.Message = FileEdited, strings.Join(differ, "; ")
	}
	a.Report.Add(found)
}

// absent reports a file that is not there. Only files of a chain's end can be on
// their way.
func (a *auditRun) absent(ctx context.Context, partition int, r *Record, f File, published bool) error {
	found := a.Table.OfRecord(Damage, FileMissing, partition, r, "the file is not there: its %d rows, of offsets %d to %d, are missing", f.Rows, r.From, r.To-1)
	found.Key, found.Rows = f.Key, f.Rows
	found.Do = "put the file back from a backup or an earlier version of the object"
	if published {
		a.Report.Add(found)
		return nil
	}
	staged, err := false, error(nil)
	if finder, ok := a.Table.store.(StagedFinder); ok {
		staged, err = finder.FindStaged(ctx, f.Staged)
	}
	if err != nil {
		return err
	}
	if staged {
		found.Level, found.Kind, found.Do = Note, FilePending, ""
		found.Message = fmt.Sprintf("the file is staged and not visible yet: the next consumer of the topic partition publishes its %d rows", f.Rows)
		a.Report.Add(found)
		return nil
	}
	// It may have been published since.
	body, err := a.Table.store.Get(ctx, f.Key)
	if err == nil {
		a.compare(partition, r, f, body)
		return nil
	}
	if !errors.Is(err, ErrNotExist) {
		return err
	}
	found.Do += "; as it is of the chain's last record, a consumer that runs makes it again from the topic, if that has its offsets"
	a.Report.Add(found)
	return nil
}

// staged tells what is staged.
func (a *auditRun) staged(ctx context.Context) error {
	lister, ok := a.Table.store.(StagedLister)
	if !ok {
		return nil
	}
	var files, bytes int64
	var oldest time.Time
	for s, err := range lister.ListStaged(ctx, a.Table.name) {
		if errors.Is(err, fs.ErrPermission) {
			a.Report.Add(Finding{Level: Note, Kind: StagedUnknown, Message: "what is staged was not looked at: " + err.Error()})
			return nil
		}
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+s.Size
		if !s.At.IsZero() && (oldest.IsZero() || s.At.Before(oldest)) {
			oldest = s.At
		}
	}
	if files == 0 {
		return nil
	}
	size := ""
	if bytes > 0 {
		size = fmt.Sprintf(" with %d bytes", bytes)
	}
	message := fmt.Sprintf("%d files%s are staged: of batches that are being written, or of attempts that did not end", files, size)
	if !oldest.IsZero() {
		message += "; the oldest is of " + oldest.Format(time.RFC3339)
	}
	a.Report.Add(Finding{Level: Note, Kind: StagedLeft, Message: message, Do: "nothing: no reader sees them"})
	return nil
}

// lifecycle tells what the rules of the store may do to the lake.
func (a *auditRun) lifecycle(ctx context.Context) error {
	checker, ok := a.Table.store.(LifecycleChecker)
	if !ok {
		return nil
	}
	faults, err := checker.CheckLifecycle(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		a.Report.Add(Finding{Level: Note, Kind: LifecycleUnknown, Message: "the rules of the store were not looked at: " + err.Error()})
	}
	for _, f := range faults {
		a.Report.Add(Finding{Level: Note, Kind: LifecycleRules, Message: f})
	}
	return nil
}

// foreign reports the visible files that no record lists.
func (a *auditRun) foreign(ctx context.Context) error {
	keys, more, err := a.inventory.foreign(ctx)
	if err != nil {
		return err
	}
	for i, key := range keys {
		found := Finding{Level: Damage, Kind: FileForeign, Key: key}
		if i < a.Report.limit {
			if err := a.describe(ctx, &found); err != nil {
				return err
			}
		}
		a.Report.Add(found)
	}
	for range more {
		a.Report.Add(Finding{Level: Damage, Kind: FileForeign})
	}
	return nil
}

// describe says what is in a file that no record lists.
func (a *auditRun) describe(ctx context.Context, found *Finding) error {
	t := a.Table
	found.Do = "move it out of the table's folder: whoever reads the table reads it too"
	body, err := t.store.Get(ctx, found.Key)
	if errors.Is(err, ErrNotExist) {
		found.Message = "no record lists it, and it was removed during the audit"
		return nil
	}
	if err != nil {
		return err
	}
	facts, err := readFacts(body)
	if err != nil {
		found.Message = fmt.Sprintf("no record lists it, and it is no Parquet file (%v): readers of the table may fail at it", err)
		return nil
	}
	found.Rows = facts.rows
	found.Message = fmt.Sprintf("no record lists it: readers see %d rows too many", facts.rows)
	original, r, partition, err := a.original(ctx, facts)
	if err != nil {
		return err
	}
	if original != nil {
		found.Kind, found.Seq, found.From, found.To, found.Chain = FileCopied, &r.Seq, &r.From, &r.To, chainName(t.topic, partition)
		found.Message = fmt.Sprintf("no record lists it, and it has the rows of %s: readers see these %d rows twice", original.Key, facts.rows)
		return nil
	}
	name, ok := ParseFileKey(found.Key)
	if !ok || name.Topic != topicInName(t.topic) || name.Partition >= t.partitions {
		return nil
	}
	if r, err = t.readable(ctx, name.Partition, name.Seq); err == nil && r == nil {
		found.Chain, found.Seq, found.From, found.To = chainName(t.topic, name.Partition), &name.Seq, &name.From, &name.To
		found.Message = fmt.Sprintf("no record lists it, since record %d, which it is of by its name, is not there or damaged: its %d rows are not accounted for", name.Seq, facts.rows)
		found.Do = "put the record back as it was, from a backup or an earlier version of the object; leave the file where it is"
	}
	return err
}

// original finds the listed file that a file is a copy of, in the chain that its
// metadata name: nil if there is none.
func (a *auditRun) original(ctx context.Context, facts *fileFacts) (*File, *Record, int, error) {
	partition, err := strconv.Atoi(facts.meta["lakefeed.partition"])
	if err != nil || facts.meta["lakefeed.table"] != a.Table.name || facts.meta["lakefeed.topic"] != a.Table.topic || partition < 0 || partition >= a.Table.partitions {
		return nil, nil, 0, nil
	}
	for seq := int64(0); seq <= a.position.last(partition); seq++ {
		r, err := a.Table.readable(ctx, partition, seq)
		if err != nil {
			return nil, nil, 0, err
		}
		if r == nil {
			continue
		}
		for f := range r.Added() {
			if f.CellHash == facts.cells.String() && f.Rows == facts.rows {
				return &f, r, partition, nil
			}
		}
	}
	return nil, nil, 0, nil
}
