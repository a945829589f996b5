package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"lakefeed/schema/csv"
)

// sniffBytes is how much of an object decides its dialect.
const sniffBytes = 1 << 20

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
	b = make([]byte, n)
	k, err := io.ReadFull(c, b)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return b[:k], true, nil
	case err != nil && k > 0:
		return b[:k], false, nil // what follows is told when it is read
	case err != nil:
		return nil, false, err
	}
	return b, false, nil
}

// sniff finds a dialect. With a header its names are the columns.
func sniff(sample []byte, complete bool, overrides csv.Overrides) (csv.Found, error) {
	found, err := csv.SniffWith(sample, complete, overrides)
	if found.Columns != nil {
		found.Width = len(found.Columns)
	}
	return found, err
}

// Sample shows the beginnings of the sources' objects, for inference: at most
// perObject bytes of each, and total of all. Objects that cannot be looked at
// are passed over: sending them says why. Standard input is not sampled.
func Sample(ctx context.Context, sources []Source, overrides csv.Overrides, perObject, total int, fn func(o Object, found csv.Found, head []byte, complete bool) error) error {
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
			n := min(perObject, total)
			if n < sniffBytes && o.Size > int64(n) {
				n = min(sniffBytes, perObject) // every object's columns are seen
			}
			b, complete, err := head(ctx, &o, n)
			if errors.Is(err, ErrSource) {
				return fmt.Errorf("%s: %w", o.URI, err)
			}
			if err != nil || len(b) == 0 {
				continue
			}
			total = max(0, total-len(b))
			found, err := sniff(b[:min(len(b), sniffBytes)], complete && len(b) <= sniffBytes, overrides)
			if err != nil {
				continue
			}
			if err := fn(o, found, b, complete); err != nil {
				return err
			}
		}
	}
	return nil
}

// DryRun prints the rows that would be sent as RFC 4180 CSV, header first where
// an object has one. Rejects are told.
func DryRun(ctx context.Context, w io.Writer, sources []Source, overrides csv.Overrides, events Events) error {
	var line []byte
	for _, source := range sources {
		for o, err := range source.Objects(ctx) {
			if err != nil {
				return fmt.Errorf("%s: %w", o.URI, err)
			}
			if err := dryRun(ctx, w, o, overrides, &events, &line); err != nil {
				return fmt.Errorf("%s: %w", o.URI, err)
			}
		}
	}
	return nil
}
