package raw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lakefeed/schema/csv"
)

// Object is an object that is being copied, by the one who sends its rows.
type Object struct {
	zone    *Zone
	folder  string
	base    int64
	covered int64 // bytes up to here are copied
	begun   bool
	packed  bool // pieces are packed by us: the object is not packed itself
}

// Object makes the copy of an object, or goes on with it.
func (z *Zone) Object(ctx context.Context, m Manifest) (*Object, error) {
	m.V = formatVersion
	o := &Object{zone: z, folder: z.objectFolder(m.Stream), base: m.Base}
	if err := z.createJSON(ctx, o.folder+manifestName, &m); err != nil {
		return nil, err
	}
	pieces, err := z.pieces(ctx, m.Stream)
	if err != nil {
		return nil, err
	}
	o.covered = covered(pieces, m.Base)
	if o.begun = len(pieces) > 0; o.begun {
		o.packed = pieces[0].packed
	}
	return o, nil
}

// Covered is the byte of the object, as it is stored at its source, up to which it is
// copied.
func (o *Object) Covered() int64 { return o.covered }

// Copying gives the bytes of r, which stands at a byte of the object that is no
// further than Covered, when they are copied.
func (o *Object) Copying(ctx context.Context, r io.Reader, at int64) io.Reader {
	return &copying{object: o, r: r, at: at, put: func(b []byte) error { return o.put(ctx, b) }}
}

// KeepTail keeps what was found behind the table, before rows are sent that depend on
// it.
func (o *Object) KeepTail(ctx context.Context, t csv.Tail) error {
	return o.zone.createJSON(ctx, o.folder+tailName, &foundTail{V: formatVersion, Tail: t})
}

// put writes the piece behind what is copied.
func (o *Object) put(ctx context.Context, b []byte) error {
	if !o.begun {
		o.begun, o.packed = true, o.base > 0 || !Compressed(b)
	}
	p, body := piece{o.covered, o.covered + int64(len(b)), o.packed}, b
	if p.packed {
		body = o.zone.zip.EncodeAll(b, nil)
	}
	if err := o.zone.create(ctx, o.folder+p.name(), body); err != nil {
		return err
	}
	o.covered = p.to
	return nil
}

// Waiter is a reader that can say whether a Read would have to wait, after it has
// waited a while.
type Waiter interface{ Ready() bool }

// gatherFor is how long a piece may gather what comes bit by bit.
const gatherFor = time.Second

type copying struct {
	object *Object
	r      io.Reader
	at     int64 // of r
	put    func([]byte) error
	buf    []byte
	rest   []byte // copied and not given yet
	err    error  // that came behind rest
}

func (c *copying) Read(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case len(c.rest) == 0 && c.err != nil:
		err := c.err
		c.err = nil
		return 0, err
	case len(c.rest) == 0 && c.at < c.object.covered: // it was copied before
		n, err := c.r.Read(b[:min(int64(len(b)), c.object.covered-c.at)])
		c.at += int64(n)
		return n, err
	case len(c.rest) == 0 && c.at > c.object.covered:
		return 0, errors.New("copy into the raw zone: it is read behind what is copied")
	case len(c.rest) == 0:
		if err := c.gather(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// gather reads a piece and copies it.
func (c *copying) gather() error {
	const first = 64 << 10
	waiter, _ := c.r.(Waiter)
	began, n := time.Now(), 0
	for n < c.object.zone.PieceBytes && c.err == nil {
		if n > 0 && waiter != nil && (time.Since(began) > gatherFor || !waiter.Ready()) {
			break
		}
		if n == len(c.buf) {
			grown := make([]byte, min(max(first, 2*n), c.object.zone.PieceBytes))
			copy(grown, c.buf)
			c.buf = grown
		}
		var k int
		k, c.err = c.r.Read(c.buf[n:])
		n += k
	}
	if n == 0 {
		err := c.err
		c.err = nil
		return err
	}
	if err := c.put(c.buf[:n]); err != nil {
		return err
	}
	c.at += int64(n)
	c.rest = c.buf[:n]
	return nil
}

// reader reads what there is of an object from a byte on, as it is stored at its
// source. Its end is where the pieces no longer follow each other.
func (z *Zone) reader(ctx context.Context, m *Manifest, from int64) (*pieceReader, error) {
	pieces, err := z.pieces(ctx, m.Stream)
	if err != nil {
		return nil, err
	}
	return &pieceReader{at: from, pieces: pieces, get: func(p piece) ([]byte, error) {
		key := z.objectFolder(m.Stream) + p.name()
		body, err := z.store.Get(ctx, key)
		if err != nil {
			return nil, z.failed("read", key, err)
		}
		if p.packed {
			body, err = z.unzip.DecodeAll(body, nil)
		}
		if n := int64(len(body)); err == nil && n != p.to-p.from {
			err = fmt.Errorf("it has %d bytes, and its name says %d", n, p.to-p.from)
		}
		if err != nil {
			err = &DamagedError{key, err}
		}
		return body, z.failed("read", key, err)
	}}, nil
}

type pieceReader struct {
	at     int64
	pieces []piece
	get    func(piece) ([]byte, error)
	rest   []byte
	failed error // of the last piece that could not be read
}

func (r *pieceReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		for len(r.pieces) > 0 && r.pieces[0].to <= r.at {
			r.pieces = r.pieces[1:]
		}
		if len(r.pieces) == 0 || r.pieces[0].from > r.at {
			return 0, io.EOF
		}
		body, err := r.get(r.pieces[0])
		if r.failed = err; err != nil {
			return 0, err
		}
		r.rest = body[r.at-r.pieces[0].from:]
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	r.at += int64(n)
	return n, nil
}

// WriteTo writes what there is of an object, as it is stored at its source.
func (z *Zone) WriteTo(ctx context.Context, w io.Writer, m *Manifest) error {
	r, err := z.reader(ctx, m, m.Base)
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return err
}

// Compressed says whether an object that begins so is packed with gzip or zstd.
func Compressed(head []byte) bool {
	return bytes.HasPrefix(head, gzipMagic) || bytes.HasPrefix(head, zstdMagic)
}
