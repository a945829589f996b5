package sink

import (
	"context"
	"fmt"

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
	missing, beyond, err := t.beyondSet(ctx)
	if err != nil {
		return err
	}
	if beyond != "" {
		a.Report.Add(Finding{
			Level: Damage, Kind: ObjectMissing, Key: missing,
			Message: fmt.Sprintf("the record of which topic partitions the table has is gone: there are commits of one that is not known, such as %s. Without it the table's rows and files are not known either, and they were not looked at", beyond),
			Do:      "put it back; without a copy a run of lakefeed ingest or consume for the table makes it anew of its topic",
		})
		return nil
	}
	inventory := newInventory(t, position)
	if err := inventory.list(ctx); err != nil {
		return err
	}
	group, reading := errgroup.WithContext(ctx)
	run := &auditRun{Audit: a, position: position, inventory: inventory, memory: semaphore.NewWeighted(a.Memory), group: group}
	group.SetLimit(filesAtOnce)
	err = run.chains(reading)
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
