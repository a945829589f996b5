package producer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lakefeed/sink/raw"
)

// content is an object's bytes, decompressed.
type content struct {
	io.Reader
	compressed bool
	stored     io.ReadCloser
	close      []func() error
}

func (c *content) Close() error {
	var errs []error
	for i := len(c.close) - 1; i >= 0; i-- {
		errs = append(errs, c.close[i]())
	}
	return errors.Join(errs...)
}

// open reads an object from a byte of its content on.
func open(ctx context.Context, o Object, offset int64) (*content, error) {
	stored, err := o.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	c := &content{stored: stored, close: []func() error{stored.Close}}
	unpacked, err := raw.Unpack(o.copying(ctx, stored, 0))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.Reader, c.compressed = unpacked, unpacked.Packed
	c.close = append(c.close, func() error { unpacked.Close(); return nil })
	if !c.compressed && offset > 0 && !o.Once {
		return openAt(ctx, o, offset, stored)
	}
	if offset > 0 {
		if n, err := io.CopyN(io.Discard, c.Reader, offset); err != nil {
			return nil, errors.Join(fmt.Errorf("go to byte %d: it ends at byte %d: %w", offset, n, err), c.Close())
		}
	}
	return c, nil
}

// copying gives the bytes of an object when the raw zone has them, if they are to be
// there.
func (o *Object) copying(ctx context.Context, stored io.Reader, at int64) io.Reader {
	switch {
	case o.copy == nil:
		return stored
	case o.pipe != nil:
		stored = struct {
			io.Reader
			raw.Waiter
		}{stored, o.pipe}
	}
	return o.copy.Copying(ctx, stored, at)
}

// openAt opens a plain object again, at a byte of it.
func openAt(ctx context.Context, o Object, offset int64, before io.Closer) (*content, error) {
	if err := before.Close(); err != nil {
		return nil, err
	}
	if err := copyUpTo(ctx, o, offset); err != nil {
		return nil, err
	}
	stored, err := o.Open(ctx, offset)
	if err != nil {
		return nil, err
	}
	return &content{Reader: o.copying(ctx, stored, offset), stored: stored, close: []func() error{stored.Close}}, nil
}

// copyUpTo copies what the raw zone lacks of a plain object before a byte of it: it
// was begun without one.
func copyUpTo(ctx context.Context, o Object, offset int64) (err error) {
	if o.copy == nil || o.copy.Covered() >= offset {
		return nil
	}
	from := o.copy.Covered()
	stored, err := o.Open(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	if _, err := io.CopyN(io.Discard, o.copying(ctx, stored, from), offset-from); err != nil && err != io.EOF {
		return fmt.Errorf("copy its first %d bytes: %w", offset, err)
	}
	return nil
}
