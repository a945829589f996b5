package producer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// contentHash hashes an object's bytes in order, and can be stored and gone on
// with.
type contentHash struct{ hash.Hash }

func newContentHash() contentHash { return contentHash{sha256.New()} }

func (h contentHash) state() []byte {
	b, err := h.Hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // SHA-256 has no such error
	}
	return b
}

func restoreHash(state []byte) (contentHash, error) {
	h := newContentHash()
	err := h.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
	return h, err
}

// decision is which version an object is, and where to begin with it.
type decision struct {
	version string
	from    int64        // first byte of the version's range
	hash    *contentHash // of the bytes before from
	already bool         // everything of it was sent
	resume  bool         // the claim of this version is there
	warning string
	rotated bool // the version before ended without its end: the file is another
	before  *claim
}

// decide compares an object with what was sent under its URI: unchanged, gone on
// with, or changed. follow says that the object may go on growing.
func (l *ledger) decide(ctx context.Context, o Object, follow bool) (decision, error) {
	if o.Version != "" {
		c, p := l.claimOf(o.URI, o.Version)
		d := decision{version: o.Version, resume: c != nil, already: p != nil && p.Done}
		if c == nil {
			if before, _ := l.last(o.URI); before != nil {
				d.warning = fmt.Sprintf("it changed since version %s was sent: it is sent again as a new version, and the rows of the earlier one stay in the table", before.Version)
			}
		}
		return d, nil
	}
	c, p := l.last(o.URI)
	if c == nil {
		return decision{version: "0"}, nil
	}
	same := decision{version: c.Version, from: c.Ranges[0].From, resume: true}
	next := decision{version: nextVersion(c.Version), before: c}
	if p == nil {
		return claimed(ctx, o, c, same, next)
	}
	if p.Size == o.Size && p.ModTime.Equal(o.ModTime) && p.Inode == o.Inode {
		same.already = p.Done
		return same, nil
	}
	compared, err := comparePrefix(ctx, o, p.contentMark)
	if err != nil {
		return decision{}, err
	}
	next.rotated = !p.Done
	switch {
	case !compared.same:
		next.warning = fmt.Sprintf("its first %d bytes are not those that were sent: it is sent again as a new version, and the rows of the earlier one stay in the table", p.Hashed)
		if follow && (o.Size < p.Size || o.Inode != p.Inode) {
			next.warning = "it was rotated: the new file is sent as a new version"
		}
		return next, nil
	case compared.more && !compared.atLine:
		next.warning = "its last line went on: the row that was sent of it is not the row it is now, so the file is sent again as a new version, and the rows of the earlier one stay in the table"
		return next, nil
	case !p.Done:
		return same, nil
	case !compared.more:
		same.already = true // copied or touched
		return same, nil
	}
	next.from, next.hash = p.Offset, compared.hash
	return next, nil
}

// claimed decides on an object that was claimed, with no progress since: its
// producer died in its first moments, and may have sent rows.
func claimed(ctx context.Context, o Object, c *claim, same, next decision) (decision, error) {
	if c.Size == o.Size && c.ModTime.Equal(o.ModTime) {
		return same, nil
	}
	compared, err := comparePrefix(ctx, o, c.contentMark)
	if err != nil {
		return decision{}, err
	}
	if compared.same && o.Size >= c.Size {
		return same, nil // lines were appended, or it was touched
	}
	next.warning = "it changed after it was claimed and before a row of it was known to be sent: it is sent as a new version; rows of the earlier one, if any, stay in the table"
	next.rotated = true
	return next, nil
}

func nextVersion(v string) string {
	n, err := strconv.Atoi(v)
	if err != nil {
		return "0"
	}
	return strconv.Itoa(n + 1)
}

// prefix is how an object compares with what was read of it before.
type prefix struct {
	same   bool // the bytes that were read are there
	more   bool // and others behind them
	atLine bool // those begin a line
	hash   *contentHash
}

func comparePrefix(ctx context.Context, o Object, mark contentMark) (out prefix, err error) {
	if len(mark.Content) == 0 {
		return out, nil // nothing to compare with: taken for another
	}
	c, err := open(ctx, o, 0)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	h := newContentHash()
	r := bufio.NewReaderSize(c, 256<<10)
	last := &lastBytes{}
	if _, err := io.CopyN(io.MultiWriter(h, last), r, mark.Hashed); err == io.EOF {
		return out, nil
	} else if err != nil {
		return out, err
	}
	if !bytes.Equal(h.state(), mark.Content) {
		return out, nil
	}
	out.same, out.hash = true, &h
	next, err := r.Peek(1)
	if err == io.EOF {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.more = true
	out.atLine = mark.Hashed == 0 || last.lineEnd() || next[0] == '\n' || next[0] == '\r'
	return out, nil
}

// lastBytes remembers the last two bytes written to it.
type lastBytes [2]byte

func (l *lastBytes) Write(p []byte) (int, error) {
	switch n := len(p); n {
	case 0:
	case 1:
		l[0], l[1] = l[1], p[0]
	default:
		l[0], l[1] = p[n-2], p[n-1]
	}
	return len(p), nil
}

// lineEnd says whether they end a line, in UTF-16LE, too.
func (l *lastBytes) lineEnd() bool {
	return l[1] == '\n' || l[1] == '\r' || l[1] == 0 && (l[0] == '\n' || l[0] == '\r')
}
