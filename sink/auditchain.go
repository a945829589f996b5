package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

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
// repair, and means at least that the files were published. So does a checkpoint of
// it: who opens the chain there looks at no file, and makes none again.
func (w *chainWalk) settleLast(ctx context.Context) error {
	published, err := w.checkpointed(ctx)
	if err != nil {
		return err
	}
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

// checkpointed says whether there is a checkpoint of the chain's end, or of a later record.
func (w *chainWalk) checkpointed(ctx context.Context) (bool, error) {
	newest, err := w.run.Table.newest(ctx, w.folder())
	if err != nil || newest == "" {
		return false, err
	}
	seq, _ := numberOf(newest, w.folder())
	_, err = w.run.Table.checkpoint(ctx, newest, w.folder())
	var kind *KindError
	if errors.Is(err, errDamaged) || errors.Is(err, ErrNotExist) || errors.As(err, &kind) {
		return false, nil
	}
	return err == nil && seq >= w.last, err
}

// folder is that of the chain's checkpoints.
func (w *chainWalk) folder() string { return w.run.Table.chainFolder("checkpoints", w.partition) }

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
	folder := w.folder()
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
