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

	"lakefeed/schema/csv"
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
	hash    *contentHash // of the bytes before from; nil where it was not made
	already bool         // everything of it was sent
	touched bool         // and its size or time are others than those that are known
	resume  bool         // the claim of this version is there
	verify  bool         // rows that are not known to be sent may be in the topic, and be others by now
	warning string
	rotated bool   // the version before ended without its end: the object is another
	before  *claim // of the version before
	holder  *claim // at which another producer may be at work
}

// decide compares an object with what was sent under its URI: unchanged, gone on
// with, or changed.
func (l *ledger) decide(ctx context.Context, o *Object) (decision, error) {
	if !o.grows() {
		if err := l.identify(ctx, o); err != nil {
			return decision{}, err
		}
		return l.decideVersion(ctx, *o)
	}
	return l.decideContent(ctx, *o)
}

// decideContent is for objects to which rows may be appended.
func (l *ledger) decideContent(ctx context.Context, o Object) (decision, error) {
	c, p := l.last(o.URI)
	if c == nil {
		return decision{version: "0"}, nil
	}
	same := decision{version: c.Version, from: c.Ranges[0].From, resume: true, holder: c}
	next := decision{version: nextVersion(c.Version), before: c}
	if p == nil {
		return begun(ctx, o, c, same, next)
	}
	if p.Until > 0 && !p.Done {
		return resending(ctx, o, p, next)
	}
	sent := p.Done && l.present(p)
	if p.same(o.look()) {
		same.already = sent
		return same, nil
	}
	compared, err := comparePrefix(ctx, o, p.contentMark, c.Dialect)
	if err != nil {
		return decision{}, err
	}
	if !p.Done {
		next.rotated, next.holder = true, c
	}
	switch {
	case !compared.same:
		next.warning = fmt.Sprintf("its first %d bytes are not those that were sent: it is sent again as a new version, and the rows of the earlier one stay in the table", p.Hashed)
		return next, nil
	case p.Done && p.Status == Abandoned:
		same.already = sent
		return same, nil
	case compared.more && p.Unended && !compared.lineEnd:
		next.warning = "its last line went on: the row that was sent of it is not the row it is now, so the file is sent again as a new version, and the rows of the earlier one stay in the table"
		return next, nil
	case !p.Done:
		same.verify = l.present(p) && !p.Released
		return same, nil
	case !compared.more && !p.Behind:
		same.already, same.touched = sent, sent // copied or touched
		return same, nil
	}
	next.from = p.Offset
	if c.Dialect.ByteOffsets() && p.Hashed == p.Offset {
		next.hash = compared.hash
	}
	return next, nil
}

// resending decides on an object whose version before is being sent again: it goes
// on behind what that version had, which is sent first.
func resending(ctx context.Context, o Object, p *progress, next decision) (decision, error) {
	compared, err := comparePrefix(ctx, o, *p.UntilMark, next.before.Dialect)
	if err != nil {
		return decision{}, err
	}
	if !compared.same {
		next.warning = fmt.Sprintf("its first %d bytes are not those that were sent: it is sent again as a new version, and the rows of the earlier one stay in the table", p.UntilMark.Hashed)
		next.rotated, next.holder = true, next.before
		return next, nil
	}
	next.from = p.Until
	return next, nil
}

// identify finds the version of an object that has a tag: the one that was
// claimed of the same content, else the one that its store gives.
func (l *ledger) identify(ctx context.Context, o *Object) error {
	if o.Tag == "" || l.claimed(o) {
		return nil
	}
	if o.Version == "" {
		now, err := o.Stat(ctx)
		if err != nil {
			return err
		}
		if *o = now; l.claimed(o) {
			return nil
		}
	}
	// A version that was replaced while it was read has its end before its last
	// row. When it is back it is another.
	for n, version := 1, o.Version; l.cut(o.URI, o.Version); n++ {
		o.Version = version + "." + strconv.Itoa(n)
	}
	return nil
}

// claimed says whether the newest claim of an object is of the content that it
// has, and then takes the version from there.
func (l *ledger) claimed(o *Object) bool {
	c, p := l.last(o.URI)
	if c == nil || !c.same(o.look()) && (p == nil || !p.same(o.look())) || l.cut(c.URI, c.Version) {
		return false
	}
	o.Version = c.Version
	return true
}

// cut says whether the stream of a version ended before its last row.
func (l *ledger) cut(uri, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.book.claim(uri, version)
	if c == nil {
		return false
	}
	p := l.book.progressOf(c.Ranges[0].Stream)
	return p != nil && p.Done && p.Status == Changed
}

// decideVersion is for objects whose versions their store tells apart.
func (l *ledger) decideVersion(ctx context.Context, o Object) (decision, error) {
	c, p := l.claimOf(o.URI, o.Version)
	d := decision{version: o.Version, resume: c != nil, already: p != nil && p.Done, holder: c}
	before, prior := l.last(o.URI)
	if c != nil || before == nil || o.Once {
		return d, nil
	}
	done := prior != nil && prior.Done
	// Stores give the same content another tag when it was encrypted, or uploaded
	// in other parts.
	if o.Tag != "" && done && prior.Status == Complete && prior.Size == o.Size {
		compared, err := comparePrefix(ctx, o, prior.contentMark, before.Dialect)
		if err != nil {
			return d, err
		}
		if compared.same && !compared.more {
			sent := l.present(prior)
			return decision{version: before.Version, resume: true, already: sent, touched: sent, holder: before}, nil
		}
	}
	d.before = before
	d.warning = fmt.Sprintf("it changed since version %s was sent: it is sent again as a new version, and the rows of the earlier one stay in the table", before.Version)
	if !done {
		d.rotated, d.holder = true, before
	}
	return d, nil
}

// begun decides on an object that was claimed, with no progress since: its
// producer died in its first moments, and may have sent rows.
func begun(ctx context.Context, o Object, c *claim, same, next decision) (decision, error) {
	if c.same(o.look()) {
		return same, nil
	}
	compared, err := comparePrefix(ctx, o, c.contentMark, c.Dialect)
	if err != nil {
		return decision{}, err
	}
	if compared.same {
		same.verify = true // lines were appended, or it was touched, or changed further on
		return same, nil
	}
	next.warning = "it changed after it was claimed and before a row of it was known to be sent: it is sent as a new version; rows of the earlier one, if any, stay in the table"
	next.rotated, next.holder = true, c
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
	same    bool // the bytes that were read are there
	more    bool // and others behind them
	lineEnd bool // which begin with a line end
	hash    *contentHash
}

// comparePrefix compares an object with the mark of what was read of it before.
func comparePrefix(ctx context.Context, o Object, mark contentMark, d csv.Dialect) (out prefix, err error) {
	width := 1 // of a character that may be a line end
	if d.Encoding == csv.UTF16LE || d.Encoding == csv.UTF16BE {
		width = 2
	}
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
	if _, err := io.CopyN(h, r, mark.Hashed); err == io.EOF {
		return out, nil
	} else if err != nil {
		return out, err
	}
	if !bytes.Equal(h.state(), mark.Content) {
		return out, nil
	}
	out.same, out.hash = true, &h
	next, err := r.Peek(width)
	// An error is told when it is read.
	out.more = len(next) > 0 || err != io.EOF
	next = bytes.Trim(next, "\x00")
	out.lineEnd = len(next) == 1 && (next[0] == '\n' || next[0] == '\r')
	return out, nil
}
