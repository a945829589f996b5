package producer

import (
	"io"
)

// consumed reads an object's content and hashes what the splitter has gone past.
type consumed struct {
	r       io.Reader
	hash    contentHash
	at      int64  // bytes hashed
	pending []byte // read and not hashed
	// direct says that the splitter's offsets are bytes of the content. Else the
	// hash is of all that was read.
	direct bool
	ahead  int         // how far the splitter reads behind the end of a row
	row    int64       // offset behind the last row
	atRow  contentMark // kept when hashing had to go on behind the last row
	end    []byte      // the last bytes hashed
}

// splitterSlack is more than what the splitter reads beyond the longest record.
const splitterSlack = 1 << 20

// tailBytes is how much is kept to know a followed file again.
const tailBytes = 4 << 10

func (c *consumed) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.pending = append(c.pending, b[:n]...)
	switch {
	case !c.direct:
		c.advance(c.at + int64(n))
	case len(c.pending) > 2*c.ahead:
		// The next row ends within what was read last.
		if c.at <= c.row {
			c.atRow = c.mark(c.row)
		}
		c.advance(c.read() - int64(c.ahead))
	}
	return n, err
}

// advance hashes the bytes before offset to.
func (c *consumed) advance(to int64) {
	n := int(max(0, min(to-c.at, int64(len(c.pending)))))
	c.hash.Write(c.pending[:n])
	c.end = append(c.end, c.pending[max(0, n-tailBytes):n]...)
	c.end = c.end[:copy(c.end, c.end[max(0, len(c.end)-tailBytes):])]
	c.pending = c.pending[:copy(c.pending, c.pending[n:])]
	c.at += int64(n)
}

// mark is of the bytes before an offset behind a row; of all that was read where
// they are not known apart from others.
func (c *consumed) mark(offset int64) contentMark {
	if c.direct {
		c.advance(offset)
		switch {
		case c.at == offset:
		case c.atRow.Hashed == offset:
			return c.atRow
		default:
			return contentMark{}
		}
	}
	return c.state()
}

// state is the mark of all that was hashed.
func (c *consumed) state() contentMark {
	return contentMark{Hashed: c.at, Content: c.hash.state()}
}

// all is the mark of all that was read.
func (c *consumed) all() (contentMark, error) {
	h, err := restoreHash(c.hash.state())
	h.Write(c.pending)
	return contentMark{Hashed: c.read(), Content: h.state()}, err
}

// read is how many bytes were read.
func (c *consumed) read() int64 { return c.at + int64(len(c.pending)) }

// tail are the last bytes before an offset, nil where they are not known.
func (c *consumed) tail(offset int64) []byte {
	if !c.direct || c.at != offset || len(c.end) == 0 {
		return nil
	}
	return append([]byte(nil), c.end...)
}
