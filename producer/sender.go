package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

// progressEvery is how often the progress of a stream is written. What was sent
// since is sent again after a crash, and left out by the sink.
const progressEvery = time.Second

// rejectBytes is how much of a reject is sent.
const rejectBytes = 64 << 10

// The statuses of a stream's end.
const (
	Complete  = "complete"
	Changed   = "changed"
	Abandoned = "abandoned"
)

// sender sends the rows of one stream. While one batch is on its way the next is
// made, and no more: row n+1 leaves when row n is acknowledged.
type sender struct {
	p      *Producer
	object Object
	claim  *claim
	stream schema.StreamID
	to     int // topic partition

	splitter *csv.Splitter
	consumed consumed
	header   []byte

	batch, spare *broker.Batch
	flying       chan error // of the batch on its way; nil when there is none
	flown        progress   // what is acknowledged when it arrives
	flownRows    int64
	acked        progress
	ackedAt      time.Time // when acked was last written

	row     int64
	sum     schema.Sum128
	sent    int64
	rejects int64
	bytes   int64
	key     []byte
	value   []byte
	scratch []byte
	headers []broker.Header
}

// consumed reads an object's content and hashes what the splitter has gone past.
type consumed struct {
	r       io.Reader
	hash    contentHash
	at      int64  // bytes hashed
	pending []byte // read and not hashed
	// direct says that the splitter's offsets are bytes of the content. Else the
	// hash is of all that was read, and holds for the whole object only.
	direct bool
}

// maxPending is how much may be read behind the last row: more than a record
// and the splitter's buffer. Behind that are blank lines and comments.
const maxPending = 16 << 20

func (c *consumed) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.pending = append(c.pending, b[:n]...)
	if !c.direct {
		c.advance(c.at + int64(n))
	} else if len(c.pending) > maxPending {
		c.advance(c.at + maxPending/2)
	}
	return n, err
}

// advance hashes the bytes before offset to.
func (c *consumed) advance(to int64) {
	n := max(0, min(int(to-c.at), len(c.pending)))
	c.hash.Write(c.pending[:n])
	c.pending = c.pending[:copy(c.pending, c.pending[n:])]
	c.at += int64(n)
}

// mark is of the bytes before an offset, or of nothing where they are not known
// apart from others.
func (c *consumed) mark(offset int64) contentMark {
	if !c.direct {
		return contentMark{}
	}
	c.advance(offset)
	if c.at != offset {
		return contentMark{}
	}
	return contentMark{Hashed: c.at, Content: c.hash.state()}
}

// begin opens the object where the stream's progress is. A last line without an
// end is held back when more of it may come.
func (s *sender) begin(ctx context.Context, prior *progress, hash *contentHash) (*content, error) {
	r := s.claim.Ranges[0]
	s.stream, s.to = r.Stream, r.Partition
	offset, line := s.claim.Body, s.claim.BodyLine
	s.acked = progress{Offset: offset, Line: line}
	if prior != nil {
		s.acked = *prior
		s.row = prior.Rows
		var err error
		if s.sum, err = schema.ParseSum128(prior.Sum); err != nil {
			return nil, err
		}
		offset, line = prior.Offset, prior.Line
	}
	s.acked.Size, s.acked.ModTime, s.acked.Inode, s.acked.Released = s.object.Size, s.object.ModTime, s.object.Inode, false
	if s.claim.Columns != nil {
		s.header = wire.AppendNames(nil, s.claim.Columns)
	}
	c, err := s.open(ctx, offset, prior, hash)
	if err != nil {
		return c, err
	}
	s.consumed.r = c
	hold := s.object.Stat != nil && s.consumed.direct && !c.compressed || s.follows(c)
	s.splitter = csv.NewSplitter(&s.consumed, s.claim.Dialect, csv.Options{Offset: offset, Line: line, MaxRecord: s.p.MaxRecord, Width: s.claim.Width, Hold: hold})
	s.batch, s.spare = &broker.Batch{}, &broker.Batch{}
	return c, nil
}

// follows says whether lines may be appended to the object while it is sent.
// Compressed objects come whole.
func (s *sender) follows(c *content) bool { return s.p.Follow && !c.compressed && !s.object.Once }

// open reads the object from an offset of its content on, with the hash of what
// lies before. In other encodings than UTF-8 it reads from the first byte.
func (s *sender) open(ctx context.Context, offset int64, prior *progress, hash *contentHash) (_ *content, err error) {
	s.consumed = consumed{hash: newContentHash(), direct: s.claim.Dialect.ByteOffsets()}
	if !s.consumed.direct {
		return open(ctx, s.object, 0)
	}
	s.consumed.at = offset
	switch {
	case prior != nil && prior.Hashed == offset && len(prior.Content) > 0:
		if s.consumed.hash, err = restoreHash(prior.Content); err != nil {
			return nil, fmt.Errorf("progress of stream %s: %w", s.stream, err)
		}
		return open(ctx, s.object, offset)
	case hash != nil:
		s.consumed.hash = *hash
		return open(ctx, s.object, offset)
	}
	// The bytes before the first row are hashed too.
	c, err := open(ctx, s.object, 0)
	if err != nil {
		return nil, err
	}
	if n, err := io.CopyN(s.consumed.hash, c, offset); err != nil {
		return c, fmt.Errorf("go to byte %d: it ends at byte %d: %w", offset, n, err)
	}
	return c, nil
}

// run sends all rows that are there. On an error what was acknowledged stands.
func (s *sender) run(ctx context.Context) error {
	err := s.rows(ctx)
	if e := s.land(ctx); err == nil {
		err = e
	}
	return err
}

// finish sends the last line when it was held back for want of a line end. No
// more of it comes.
func (s *sender) finish(ctx context.Context) error {
	if !s.consumed.direct {
		return nil
	}
	offset, line := s.splitter.Position()
	s.consumed.advance(offset)
	if len(s.consumed.pending) == 0 {
		return nil
	}
	tail := bytes.NewReader(bytes.Clone(s.consumed.pending))
	s.splitter = csv.NewSplitter(tail, s.claim.Dialect, csv.Options{Offset: offset, Line: line, MaxRecord: s.p.MaxRecord, Width: s.claim.Width})
	return s.run(ctx)
}

func (s *sender) rows(ctx context.Context) error {
	for {
		row, err := s.splitter.Next()
		if err == io.EOF {
			return s.flush(ctx)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read: %w", err), s.flush(ctx))
		}
		s.add(row)
		if s.batch.Len() >= s.p.BatchRows || s.batch.Bytes() >= s.p.BatchBytes {
			if err := s.flush(ctx); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// add adds a row or reject to the batch under construction.
func (s *sender) add(row *csv.Row) {
	s.key = wire.AppendKey(s.key[:0], s.stream, s.row)
	s.headers = s.headers[:0]
	first := s.batch.Len() == 0
	if first || s.p.HeadersEvery {
		if s.claim.Columns != nil {
			s.headers = append(s.headers, broker.Header{Key: wire.Columns, Value: s.header})
		}
		s.headers = append(s.headers, broker.Header{Key: wire.Source, Value: []byte(s.object.URI)})
	}
	if first || s.p.HeadersEvery || row.Gap || row.Rule != "" {
		s.headers = append(s.headers, broker.Header{Key: wire.At, Value: wire.AppendAt(nil, row.From, row.Line)})
	}
	if row.Rule != "" {
		s.value = append(s.value[:0], row.Raw[:min(len(row.Raw), rejectBytes)]...)
		s.headers = append(s.headers, broker.Header{Key: wire.Reject, Value: []byte(row.Rule)},
			broker.Header{Key: wire.Message, Value: []byte(row.Message)}, broker.Header{Key: wire.Bytes, Value: wire.AppendRange(nil, row.From, row.To)})
		s.rejects++
		s.p.Events.rejected(Rejected{URI: s.object.URI, Line: row.Line, From: row.From, To: row.To, Rule: row.Rule, Message: row.Message})
	} else {
		s.value = s.splitter.AppendRFC4180(s.value[:0])
	}
	var hi, lo uint64
	hi, lo, s.scratch = wire.RowHash(s.scratch, s.key, s.value)
	s.sum.Add(hi, lo)
	s.batch.Append(s.key, notNil(s.value), s.headers, s.p.Now().UnixMilli())
	s.row++
}

// notNil keeps an empty value from being a null one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// flush waits for the batch on its way and sends the next.
func (s *sender) flush(ctx context.Context) error {
	if s.batch.Len() == 0 {
		return nil
	}
	if err := s.land(ctx); err != nil {
		return err
	}
	batch := s.batch
	s.batch, s.spare = s.spare, batch
	s.batch.Reset()
	s.flown = s.snapshot()
	s.flownRows = int64(batch.Len())
	s.flying = make(chan error, 1)
	go func(landed chan<- error) {
		// A batch that was begun is brought to its end when the run is interrupted.
		landed <- s.p.send(context.WithoutCancel(ctx), s.to, batch)
	}(s.flying)
	return nil
}

// snapshot is the progress once everything in the batch is acknowledged.
func (s *sender) snapshot() progress {
	p := s.acked
	p.Rows, p.Sum = s.row, s.sum.String()
	p.Offset, p.Line = s.splitter.Position()
	p.contentMark = s.consumed.mark(p.Offset)
	return p
}

// land waits for the batch on its way.
func (s *sender) land(ctx context.Context) error {
	if s.flying == nil {
		return nil
	}
	err := <-s.flying
	s.flying = nil
	if err != nil {
		return err
	}
	s.sent += s.flownRows
	s.p.Events.sent(SentInfo{URI: s.object.URI, Stream: s.stream, Partition: s.to, Rows: s.flownRows, Bytes: s.flown.Offset - s.acked.Offset, Offset: s.flown.Offset, Size: s.object.Size})
	s.bytes += s.flown.Offset - s.acked.Offset
	s.acked = s.flown
	if s.p.Now().Sub(s.ackedAt) >= progressEvery {
		return s.note(ctx)
	}
	return nil
}

// note writes the stream's progress.
func (s *sender) note(ctx context.Context) error {
	s.ackedAt = s.p.Now()
	return s.p.ledger.note(context.WithoutCancel(ctx), s.stream, s.acked)
}

// end sends the stream's end and writes that it is done.
func (s *sender) end(ctx context.Context, status string) error {
	var b broker.Batch
	b.Append(wire.AppendKey(nil, s.stream, s.acked.Rows), nil, []broker.Header{
		{Key: wire.Source, Value: []byte(s.object.URI)},
		{Key: wire.Count, Value: fmt.Appendf(nil, "%d", s.acked.Rows)},
		{Key: wire.Status, Value: []byte(status)},
		{Key: wire.Hash, Value: []byte(s.acked.sum())},
	}, s.p.Now().UnixMilli())
	if err := s.p.send(context.WithoutCancel(ctx), s.to, &b); err != nil {
		return err
	}
	// Blank lines and comments behind the last row belong to the object, too.
	if s.splitter != nil && s.row == s.acked.Rows {
		s.acked = s.snapshot()
		if !s.consumed.direct {
			s.acked.contentMark = contentMark{Hashed: s.consumed.at, Content: s.consumed.hash.state()}
		}
	}
	s.acked.Done, s.acked.Count, s.acked.Status, s.acked.Released = true, s.acked.Rows, status, false
	return s.note(ctx)
}

func (p *progress) sum() string {
	if p.Sum == "" {
		return schema.Sum128{}.String()
	}
	return p.Sum
}
