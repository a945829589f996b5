package producer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
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

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// open reads an object from a byte of its content on.
func open(ctx context.Context, o Object, offset int64) (*content, error) {
	stored, err := o.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	c := &content{stored: stored, close: []func() error{stored.Close}}
	head := bufio.NewReaderSize(stored, 64<<10)
	magic, err := head.Peek(4)
	if err != nil && err != io.EOF {
		return nil, errors.Join(err, c.Close())
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(head)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read gzip: %w", err), c.Close())
		}
		c.Reader, c.compressed = &named{&members{z, head}, "gzip"}, true
	case bytes.HasPrefix(magic, zstdMagic):
		z, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read zstd: %w", err), c.Close())
		}
		c.Reader, c.compressed = &named{z, "zstd"}, true
		c.close = append(c.close, func() error { z.Close(); return nil })
	default:
		if offset > 0 && !o.Once {
			return openAt(ctx, o, offset, stored)
		}
		c.Reader = head
	}
	if offset > 0 {
		if n, err := io.CopyN(io.Discard, c.Reader, offset); err != nil {
			return nil, errors.Join(fmt.Errorf("go to byte %d: it ends at byte %d: %w", offset, n, err), c.Close())
		}
	}
	return c, nil
}

// openAt opens a plain object again, at a byte of it.
func openAt(ctx context.Context, o Object, offset int64, before io.Closer) (*content, error) {
	if err := before.Close(); err != nil {
		return nil, err
	}
	stored, err := o.Open(ctx, offset)
	if err != nil {
		return nil, err
	}
	return &content{Reader: stored, stored: stored, close: []func() error{stored.Close}}, nil
}

// members reads gzip members one behind the other, as gzip does: zeros behind the
// last one are padding, and anything else is an error.
type members struct {
	*gzip.Reader
	in *bufio.Reader // stands behind the member when that is over
}

func (m *members) Read(b []byte) (int, error) {
	for {
		m.Multistream(false)
		n, err := m.Reader.Read(b)
		if n > 0 || err != io.EOF {
			return n, err
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
}

// next goes on to the next member.
func (m *members) next() error {
	for {
		begin, err := m.in.Peek(len(gzipMagic))
		switch {
		case len(begin) == 0:
			return err
		case bytes.HasPrefix(gzipMagic, begin):
			return m.Reset(m.in)
		case begin[0] != 0:
			return errBehind
		}
		m.in.Discard(1)
	}
}

var errBehind = errors.New("behind its end there are bytes of something else; the rows before are sent; take those bytes away, or pack the file again, and run again")

// named says of a decompressor's errors which they are.
type named struct {
	io.Reader
	name string
}

func (n *named) Read(b []byte) (int, error) {
	k, err := n.Reader.Read(b)
	switch {
	case k > 0:
		err = nil // it comes again: what is before it is good
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("read %s: it is cut off, or still being written; the rows before are sent, and a run with all of it goes on there: %w", n.name, err)
	case errors.Is(err, zstd.ErrMagicMismatch): // it had a frame before
		err = fmt.Errorf("read %s: %w", n.name, errBehind)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("read %s: %w", n.name, err)
	}
	return k, err
}
