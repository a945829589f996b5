package producer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
	"lakefeed/sink/raw"
)

// unknownSize in progress makes the next look at the object compare its content.
const unknownSize = -2

// sender sends the rows of one stream. While one batch is on its way the next is
// made, and no more: row n+1 leaves when row n is acknowledged.
type sender struct {
	p      *Producer
	object Object
	claim  *claim
	stream schema.StreamID
	to     int   // topic partition
	limit  int64 // offset at which its range ends; 0: the object's end

	splitter   *csv.Splitter
	hold       bool // the splitter holds back a last line without an end
	consumed   consumed
	opened     []io.Closer
	compressed bool
	guard      func() error // says before each batch whether the object is still the same
	tail       csv.Tail     // what follows the table, where that was sought
	sought     bool
	copy       *raw.Object // in the raw zone; nil where there is none
	tailKept   bool
	header     []byte // the Columns header of the rows, absent where they have no names
	named      int    // which of the claim's headers that is

	batch, spare *broker.Batch
	flying       chan landing // of the batch on its way; nil when there is none
	flown        progress     // what is acknowledged when it arrives
	flownRows    int64
	acked        progress
	ackedAt      time.Time // when acked was last written

	row      int64 // the next one's number
	read     int64 // ms, when the batch under construction was begun
	unended  bool  // the last one had no line end
	repeated int64 // rows of former splitters that were the header again
	unsure   bool  // whether a batch that failed is in the log
	sum      schema.Sum128
	sent     int64
	rejects  int64
	bytes    int64
	key      []byte
	value    []byte
	scratch  []byte
	headers  []broker.Header
}

func newSender(p *Producer, o Object, c *claim) *sender {
	s := &sender{
		p: p, object: o, claim: c, stream: c.Ranges[0].Stream, to: p.ledger.pin(c),
		acked: progress{Offset: c.Body, Line: c.BodyLine, Sum: schema.Sum128{}.String()},
	}
	if c.Log == p.Topic.LogID {
		s.acked.Next = c.Start
	}
	return s
}

// begin opens the object where the stream's progress is. With hold a last line
// without an end is held back, for more of it may come.
func (s *sender) begin(ctx context.Context, prior *progress, hash *contentHash, hold bool) (_ *content, err error) {
	if prior != nil {
		s.acked = *prior
		s.row = prior.Rows
		if s.sum, err = schema.ParseSum128(prior.Sum); err != nil {
			return nil, fmt.Errorf("progress of stream %s: %w", s.stream, err)
		}
	}
	// Where the log is gone it is what it was.
	if before := s.p.ledger.known(s.stream); before != nil {
		s.tail, s.sought = before.Tail, before.Sought
	}
	s.sought = s.sought || s.limit > 0 // and what follows it by now is another's
	s.acked.look, s.acked.Released = s.object.look(), false
	s.name(s.acked.Header)
	c, err := s.open(ctx, s.acked.Offset, prior, hash)
	if err != nil {
		return nil, err
	}
	s.opened, s.compressed = append(s.opened, c), c.compressed
	s.consumed.r, s.consumed.row = c, s.acked.Offset
	if prior == nil {
		s.acked.contentMark = s.consumed.mark(s.acked.Offset)
	}
	if s.object.pipe != nil {
		s.object.pipe.pause = func() error {
			if err := s.idle(ctx); err != nil || !s.claim.SeekTail || s.compressed {
				return err
			}
			return csv.ErrPause // what is held back is sent then
		}
	}
	s.split(&s.consumed, s.acked.Offset, s.acked.Line, s.acked.Header, hold)
	s.batch, s.spare = &broker.Batch{}, &broker.Batch{}
	return c, nil
}

// name sets the Columns header to one of the claim's headers.
func (s *sender) name(header int) {
	s.named, s.header = header, nil
	if names := s.claim.header(header); names != nil {
		s.header = wire.AppendNames([]byte{}, names)
	}
}

func (s *sender) split(r io.Reader, offset, line int64, header int, hold bool) {
	s.hold = hold
	if s.splitter != nil {
		s.repeated += s.splitter.Headers()
		s.seen()
	}
	tail := s.claim.Tail
	if s.sought {
		tail = s.tail
	}
	s.splitter = csv.NewSplitter(r, s.claim.Dialect, csv.Options{
		Offset: offset, Line: line, MaxRecord: s.claim.MaxRecord, Width: s.claim.Width, Columns: s.claim.Columns,
		Known: s.claim.Known, Joined: s.claim.Splitter >= 4, Unwrap: s.claim.Splitter >= 5, Header: header, Tail: tail, SeekTail: s.claim.SeekTail && !s.sought, Hold: hold,
	})
}

// seen keeps what was found behind the table, where the splitter looks for it.
func (s *sender) seen() {
	if t, sought := s.splitter.Tail(); sought {
		s.tail, s.sought = t, true
	}
}

// open reads the object from an offset of its content on, with the hash of what
// lies before. In other encodings than UTF-8 it reads from the first byte.
func (s *sender) open(ctx context.Context, offset int64, prior *progress, hash *contentHash) (_ *content, err error) {
	source, err := s.copied(ctx)
	if err != nil {
		return nil, err
	}
	s.copy = source.copy
	s.consumed = consumed{hash: newContentHash(), direct: s.claim.Dialect.ByteOffsets(), ahead: cmp.Or(s.claim.MaxRecord, DefaultMaxRecord) + splitterSlack}
	if !s.consumed.direct {
		return open(ctx, source, 0)
	}
	s.consumed.at = offset
	known := prior != nil && prior.Hashed == offset && len(prior.Content) > 0
	switch {
	case known && !s.object.Once:
		if s.consumed.hash, err = restoreHash(prior.Content); err != nil {
			return nil, fmt.Errorf("progress of stream %s: %w", s.stream, err)
		}
		return open(ctx, source, offset)
	case hash != nil:
		s.consumed.hash = *hash
		return open(ctx, source, offset)
	}
	// The bytes before are hashed, too.
	c, err := open(ctx, source, 0)
	if err != nil {
		return nil, err
	}
	n, err := io.CopyN(s.consumed.hash, c, offset)
	switch {
	case err == io.EOF && known, err == nil && known && !bytes.Equal(s.consumed.hash.state(), prior.Content):
		err = fmt.Errorf("its first %d bytes are not those of which %d rows were sent before: feed the same from its beginning, or give other rows another --stream NAME", offset, prior.Rows)
	case err != nil:
		err = fmt.Errorf("go to byte %d: it ends at byte %d: %w", offset, n, err)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// run sends all rows that are there. On an error what was acknowledged stands.
func (s *sender) run(ctx context.Context) error {
	err := s.rows(ctx)
	if e := s.land(ctx); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// finish sends the last line when it was held back for want of a line end. No
// more of it comes.
func (s *sender) finish(ctx context.Context) error {
	if err := s.unhold(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// close closes what begin has opened, and what was opened since.
func (s *sender) close() error {
	var errs []error
	for _, c := range s.opened {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// unhold makes the splitter give a line that it holds back: from the bytes that
// were read of it.
func (s *sender) unhold(ctx context.Context) error {
	if !s.hold {
		return nil
	}
	offset, line := s.splitter.Position()
	header := s.splitter.Header()
	if s.consumed.direct {
		s.consumed.advance(offset)
		if s.consumed.at == offset {
			s.split(bytes.NewReader(bytes.Clone(s.consumed.pending)), offset, line, header, false)
			return nil
		}
	}
	from := int64(0)
	if s.consumed.direct {
		from = offset
	}
	c, err := open(ctx, s.object, from)
	if err != nil {
		return fmt.Errorf("open it again for its last line: %w", err)
	}
	s.opened = append(s.opened, c)
	s.split(io.LimitReader(c, s.consumed.read()-from), offset, line, header, false)
	return nil
}

func (s *sender) rows(ctx context.Context) error {
	for {
		if s.limit > 0 {
			if at, _ := s.splitter.Position(); at >= s.limit {
				return s.flush(ctx)
			}
		}
		row, err := s.splitter.Next()
		if err == io.EOF {
			return s.flush(ctx)
		}
		if err != nil {
			_, line := s.splitter.Position()
			return errors.Join(fmt.Errorf("line %d, behind %d rows: %w", line, s.row, err), s.flush(ctx))
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

// count adds what was sent to a summary.
func (s *sender) count(summary *ObjectSummary) {
	summary.Rows = s.acked.Rows
	summary.Sent += s.sent
	summary.Rejects += s.rejects
	summary.Bytes += s.bytes
}
