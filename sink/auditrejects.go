package sink

import (
	"context"
	"errors"
)

// rejectFiles are the files of a chain's quarantine as far as an audit has come. A
// record at any distance may retire one, so that they are checked at the end.
type rejectFiles struct {
	order []string
	files map[string]rejectFile
}

type rejectFile struct {
	record    *Record // without what takes room
	file      File
	published bool
}

func (x *rejectFiles) add(r *Record, f File, published bool) {
	if x.files == nil {
		x.files = map[string]rejectFile{}
	}
	slim := *r
	slim.Files, slim.Streams, slim.Skipped, slim.Replaces, slim.Retires, slim.Offsets = nil, nil, nil, nil, nil, nil
	x.order = append(x.order, f.Key)
	x.files[f.Key] = rejectFile{&slim, f, published}
}

// retire takes the files out that a replay retires: each is one of the quarantine, once.
func (w *chainWalk) retire(r *Record) {
	if r.Kind != KindReplay {
		return
	}
	for _, gone := range r.Retires {
		have, ok := w.rejects.files[gone.Key]
		switch {
		case !ok && w.streams.lost[w.partition]: // it may be of a record that cannot be read
		case !ok:
			w.wrong(r, "it retires the file %s, which no record before it lists, or another has retired", gone.Key)
		case have.file.Rows != gone.Rows || have.file.Size != gone.Size:
			w.wrong(r, "it retires the file %s with %d rows in %d bytes, which has %d in %d", gone.Key, gone.Rows, gone.Size, have.file.Rows, have.file.Size)
		}
		delete(w.rejects.files, gone.Key)
	}
}

// settleRejects checks the files that are in quarantine at the chain's end. What is
// recorded behind the audit's position may have retired some; and those that its last
// record retires may be visible still.
func (w *chainWalk) settleRejects(ctx context.Context) error {
	t := w.run.Table
	behind := false
	for seq := w.last + 1; ; seq++ {
		r, err := t.readable(ctx, w.partition, seq)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		behind = true
		for _, gone := range r.Retires {
			if _, ok := w.rejects.files[gone.Key]; ok {
				w.run.inventory.listed(gone.Key)
				delete(w.rejects.files, gone.Key)
			}
		}
	}
	for _, key := range w.rejects.order {
		if x, ok := w.rejects.files[key]; ok {
			if err := w.check(ctx, x.record, x.file, x.published); err != nil {
				return err
			}
		}
	}
	w.rejects = rejectFiles{}
	if behind || w.last < 0 {
		return nil
	}
	r, err := t.readable(ctx, w.partition, w.last)
	if err != nil || r == nil {
		return err
	}
	for _, gone := range r.Retires {
		_, err := t.store.Stat(ctx, gone.Key)
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		w.run.inventory.listed(gone.Key)
		found := t.OfRecord(Note, FilePending, w.partition, r, "the file is visible still, and its %d rows are in files of this record: the next consumer of the topic partition removes it", gone.Rows)
		found.Key, found.Rows = gone.Key, gone.Rows
		w.run.Report.Add(found)
	}
	return nil
}
