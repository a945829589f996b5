package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

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
	found.Do = "what is there now was not written by lakefeed: " + a.restore()
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

// restore is what to do about a file that is not what was written.
func (a *auditRun) restore() string {
	return fmt.Sprintf("put the file back from a backup or an earlier version of the object, or build the table anew where its topic or raw zone has all rows: lakefeed rebuild %s", a.Table.name)
}

// absent reports a file that is not there. Only files of a chain's end can be on
// their way.
func (a *auditRun) absent(ctx context.Context, partition int, r *Record, f File, published bool) error {
	found := a.Table.OfRecord(Damage, FileMissing, partition, r, "the file is not there: its %d rows, of offsets %d to %d, are missing", f.Rows, r.From, r.To-1)
	found.Key, found.Rows = f.Key, f.Rows
	found.Do = a.restore()
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
