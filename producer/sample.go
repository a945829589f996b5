package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"lakefeed/schema/csv"
)

// SniffBytes is how much of an object decides its dialect.
const SniffBytes = 1 << 20

// head reads the first n bytes of an object's content. complete says that there
// are no more. Standard input can still be read from its beginning afterwards.
func head(ctx context.Context, o *Object, n int) (b []byte, complete bool, err error) {
	stored := o.Open
	if o.Once {
		// Keep what is read of it for the next to open it.
		raw, err := o.Open(ctx, 0)
		if err != nil {
			return nil, false, err
		}
		var kept bytes.Buffer
		tee := io.NopCloser(io.TeeReader(raw, &kept))
		if o.pipe != nil { // a slow one is not waited for
			o.pipe.pause = func() error {
				if enough(kept.Bytes()) {
					return errPaused
				}
				return nil
			}
			defer func() { o.pipe.pause = nil }()
		}
		stored = func(context.Context, int64) (io.ReadCloser, error) { return tee, nil }
		defer func() {
			o.Open = func(context.Context, int64) (io.ReadCloser, error) {
				return struct {
					io.Reader
					io.Closer
				}{io.MultiReader(bytes.NewReader(kept.Bytes()), raw), raw}, nil
			}
		}()
	}
	view := *o
	view.Open = stored
	c, err := open(ctx, view, 0)
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	o.compressed = c.compressed
	b, err = io.ReadAll(io.LimitReader(c, int64(n)))
	if err != nil && len(b) > 0 {
		return b, false, nil // what follows is told when it is read
	}
	return b, err == nil && len(b) < n, err
}

// allRows says that every line behind the header is the table's.
func allRows(overrides csv.Overrides) bool { return overrides.Tail != nil && !*overrides.Tail }

// findTail looks for remarks behind a table, or another table, at the end of an object of
// which only the beginning was read. It looks where the end is to be had without reading
// all, and leaves others to the splitter.
func findTail(ctx context.Context, o Object, found *csv.Found, overrides csv.Overrides) (err error) {
	if allRows(overrides) {
		return nil
	}
	switch direct := found.Dialect.ByteOffsets(); {
	case o.compressed, o.Once && direct, !o.Once && !direct:
		found.SeekTail = true
		return nil
	case o.Once: // its pauses are not told through a decoder: lines would be held back for as long
		return nil
	case o.Size < SniffBytes:
		return nil
	}
	offset := o.Size - csv.TailBytes
	c, err := o.Open(ctx, offset)
	if err != nil {
		return fmt.Errorf("read its last %d bytes: %w", csv.TailBytes, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	end := make([]byte, csv.TailBytes)
	switch _, err := io.ReadFull(c, end); err {
	case nil:
		found.Tail = found.FindTail(end, offset)
	case io.ErrUnexpectedEOF, io.EOF: // it is shorter by now
	default:
		return err
	}
	if o.Stat == nil || !o.grows() {
		return nil // another content cannot have been read
	}
	now, err := o.Stat(ctx)
	if err == nil && !now.look().same(o.look()) {
		err = ErrChanged
	}
	return err
}

// before says which lines before an object's table are not sent, "" where there
// are none.
func before(found csv.Found, why csv.Explanation) string {
	if len(why.Preamble) == 0 {
		return ""
	}
	lines := "its first line stands before the table and is no row"
	if n := found.Dialect.Skip; n > 1 {
		lines = fmt.Sprintf("its first %d lines stand before the table and are no rows", n)
	}
	return fmt.Sprintf("%s: %q", lines, shortened(why.Preamble[0].Text))
}

// shortened is the beginning of a text.
func shortened(text string) string {
	if len(text) > 60 {
		return text[:57] + "..."
	}
	return text
}

// again says how many rows were headers.
func again(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of its rows are the header again, or another of the feed, and were not sent", n)
}

// sampledAtOnce is how many objects are sampled side by side, for those that are
// far away.
const sampledAtOnce = 8

// Sample shows the beginnings of the sources' objects, for inference: at most
// perObject bytes of each, and total of all. Objects that cannot be looked at
// are passed over: sending them says why. Standard input is not sampled.
func Sample(ctx context.Context, sources []Source, overrides csv.Overrides, perObject, total int, fn func(o Object, found csv.Found, head []byte, complete bool) error) error {
	var some []beginning
	var known headers
	show := func() error {
		if err := readBeginnings(ctx, some); err != nil {
			return err
		}
		for i := range some {
			s := &some[i]
			total += s.n - len(s.head)
			found, err := csv.SniffWith(s.head[:min(len(s.head), SniffBytes)], s.complete && len(s.head) <= SniffBytes, known.overrides(overrides))
			if err != nil || len(s.head) == 0 {
				continue
			}
			known = known.with(found.Columns)
			found.SeekTail = s.complete && len(s.head) > SniffBytes && !allRows(overrides)
			if err := fn(s.Object, found, s.head, s.complete); err != nil {
				return err
			}
		}
		some = some[:0]
		return nil
	}
	for _, source := range sources {
		for o, err := range source.Objects(ctx) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && (o.URI == "" || errors.Is(err, ErrSource)) {
				return err // none of it can be seen
			}
			if err != nil || o.Once {
				continue
			}
			n := min(perObject, max(0, total))
			if n < SniffBytes && o.Size > int64(n) {
				n = min(SniffBytes, perObject) // every object's columns are seen
			}
			total -= n
			if some = append(some, beginning{Object: o, n: n}); len(some) < sampledAtOnce {
				continue
			}
			if err := show(); err != nil {
				return err
			}
		}
	}
	return show()
}

// beginning is that of one object.
type beginning struct {
	Object
	n        int // bytes to read
	head     []byte
	complete bool
}

// readBeginnings reads them side by side. Of an object that cannot be read there
// is nothing; the error is one that all would have.
func readBeginnings(ctx context.Context, some []beginning) error {
	var group errgroup.Group
	for i := range some {
		group.Go(func() (err error) {
			s := &some[i]
			s.head, s.complete, err = head(ctx, &s.Object, s.n)
			if errors.Is(err, ErrSource) {
				return fmt.Errorf("%s: %w", s.URI, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// DryRun prints the rows that would be sent as RFC 4180 CSV, header first where
// an object has one. Rejects are told.
func DryRun(ctx context.Context, w io.Writer, sources []Source, overrides csv.Overrides, events Events) error {
	var line []byte
	var known headers
	for _, source := range sources {
		for o, err := range source.Objects(ctx) {
			if err != nil {
				return fmt.Errorf("%s: %w", o.URI, err)
			}
			columns, err := dryRun(ctx, w, o, known.overrides(overrides), &events, &line)
			if known = known.with(columns); err != nil {
				return fmt.Errorf("%s: %w", o.URI, err)
			}
		}
	}
	return nil
}
