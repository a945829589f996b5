package raw

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// Unpacked is the content of an object.
type Unpacked struct {
	io.Reader
	Packed bool // with gzip or zstd
	close  func()
}

// Close ends it. It does not close what it reads from.
func (u *Unpacked) Close() {
	if u.close != nil {
		u.close()
	}
}

// Unpack gives the content of an object that may be packed with gzip or zstd.
func Unpack(stored io.Reader) (*Unpacked, error) {
	head := bufio.NewReaderSize(stored, 64<<10)
	magic, err := head.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(head)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		return &Unpacked{Reader: &named{&members{z, head}, "gzip"}, Packed: true}, nil
	case bytes.HasPrefix(magic, zstdMagic):
		z, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, fmt.Errorf("read zstd: %w", err)
		}
		return &Unpacked{&named{z, "zstd"}, true, z.Close}, nil
	}
	return &Unpacked{Reader: head}, nil
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
