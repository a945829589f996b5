package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// repair is what a draft has besides when it makes lost files again.
type repair struct {
	chain *Chain // whose last record has lost them; the draft's own ends before their rows
	lost  *LostError
}

// wants says whether files of a table partition are among those to make again.
func (r *repair) wants(table string, values []PartitionValue) bool {
	return r == nil || slices.ContainsFunc(r.lost.Files, func(f File) bool { return f.at(table, values) })
}

func (f File) at(table string, values []PartitionValue) bool {
	return f.Table == table && slices.Equal(f.Partition, values)
}

// BeginRepair starts to make the lost files of the chain's last record again. The
// draft is to take the same offsets as LostError.Rows has, and sees what the chain
// had seen before that record. It follows an Open that gave a *LostError.
func (c *Chain) BeginRepair(ctx context.Context) (*Draft, error) {
	if c.lost == nil {
		return nil, fmt.Errorf("repair %s: it has no lost files", c)
	}
	before := c.table.Chain(c.partition)
	if _, err := before.load(ctx, stop{reset: toEnd.reset, seq: c.lost.Rows.Seq}); err != nil {
		return nil, fmt.Errorf("read %s to before record %d: %w", c, c.lost.Rows.Seq, err)
	}
	d := before.Begin()
	d.repair = &repair{chain: c, lost: c.lost}
	return d, nil
}

// Repair decides a draft of BeginRepair: a record of kind repair, behind the one
// whose files are lost, lists the files that were made again. They must be those
// that are lost, with the same rows and cells: else nothing is decided, their
// uploads are discarded, and the error is a *LostError that says why. As with
// Commit, the chain must be opened again after Lost or an error.
func (c *Chain) Repair(ctx context.Context, d *Draft, in Commit) (Outcome, error) {
	if d.repair == nil || d.repair.chain != c || d.used || c.lost != d.repair.lost {
		return Undecided, fmt.Errorf("repair %s: the draft is not one of its repair, or was used before", c)
	}
	lost := c.lost
	d.used = true
	r := c.record(KindRepair)
	r.Of, r.Replaces, r.Schema, r.Attempt = &lost.Seq, make(map[string]File, len(lost.Files)), lost.Rows.Schema, d.attempt
	r.Retires = lost.Rows.Retires // which is not done before the files are there
	if err := d.remade(r, in); err != nil {
		c.discard(ctx, &Record{Files: in.Files})
		return Undecided, lost.Because(err)
	}
	c.lost = nil
	outcome, err := c.append(ctx, r)
	if err != nil {
		return outcome, fmt.Errorf("repair record %d of %s: %w", lost.Seq, c, err)
	}
	return outcome, nil
}

// remade puts files in the place of the lost ones, and checks that they are the
// same.
func (d *Draft) remade(r *Record, in Commit) error {
	lost := d.repair.lost
	if d.err != nil {
		return d.err
	}
	if in.To != lost.Rows.To || in.Log != lost.Rows.Log {
		return fmt.Errorf("they were made of offsets %d to %d of log %s, not of %d to %d of log %s", d.From(), in.To-1, in.Log, lost.Rows.From, lost.Rows.To-1, lost.Rows.Log)
	}
	if want := lost.Rows.Counts.Rows + lost.Rows.Counts.Quarantined; d.accepted != want {
		return fmt.Errorf("offsets %d to %d have %d new rows now, and had %d", d.From(), in.To-1, d.accepted, want)
	}
	made := slices.Clone(in.Files)
	for _, old := range lost.Files {
		i := slices.IndexFunc(made, func(f File) bool { return f.at(old.Table, old.Partition) })
		if i < 0 {
			return fmt.Errorf("no rows of %s are left", old.Key)
		}
		f := made[i]
		if f.Rows != old.Rows || f.RowHash != old.RowHash || f.CellHash != old.CellHash {
			return fmt.Errorf("%s was made again with %d rows of hash %s and cells of %s, and had %d of %s and %s: the messages, or how they are read, have changed", old.Key, f.Rows, f.RowHash, f.CellHash, old.Rows, old.RowHash, old.CellHash)
		}
		r.Replaces[old.Key] = f
		made = slices.Delete(made, i, i+1)
	}
	if len(made) > 0 {
		return fmt.Errorf("%s was not lost", made[0].Key)
	}
	return nil
}

// Repair writes again, and stages, those files of a draft of BeginRepair that are
// lost, and decides the repair.
func (w *Writer) Repair(ctx context.Context, d *Draft, r *Records) (Committed, error) {
	if d.repair == nil {
		return Committed{}, errors.New("repair: the draft is not one of a repair")
	}
	return w.commit(ctx, d, r, w.Chain.Repair)
}
