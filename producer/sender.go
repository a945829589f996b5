package producer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/fault"
	"lakefeed/schema/wire"
	"lakefeed/sink/raw"
)

// progressEvery is how often the progress of a stream is written. What was sent
// since is sent again after a crash, and left out by the sink.
const progressEvery = time.Second

// unknownSize in progress makes the next look at the object compare its content.
const unknownSize = -2

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

// landing is what became of a batch: the offset behind it in the topic partition.
type landing struct {
	next int64
	err  error
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
		Known: s.claim.Known, Joined: s.claim.Splitter >= 4, Header: header, Tail: tail, SeekTail: s.claim.SeekTail && !s.sought, Hold: hold,
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

// catchUp goes behind rows that are in the topic and that the progress does not
// know of: their producer died before it wrote that they were acknowledged. When
// the object does not have those rows any more, or the topic has their end, the
// stream is done.
func (s *sender) catchUp(ctx context.Context) error {
	found, err := s.p.ledger.beyond(ctx, s.stream, s.to, s.acked)
	if err != nil || found.rows == 0 && found.end == nil {
		return err
	}
	var sum schema.Sum128
	before := s.sum
	for range found.rows {
		row, err := s.splitter.Next()
		if err == io.EOF && s.hold {
			if err := s.unhold(ctx); err != nil {
				return err
			}
			row, err = s.splitter.Next()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		s.encode(row)
		sum.Add(s.hash())
		s.row++
	}
	if sum != found.sum || s.row != s.acked.Rows+found.rows {
		s.p.Events.warn(s.object.URI, "rows that were sent of it are not in it any more: they stay in the table, and the file is sent from there on as a new version")
		s.row, s.sum = s.acked.Rows, before
		return s.endAs(ctx, found, Changed)
	}
	s.sum.Add(sum.Hi, sum.Lo)
	s.acked, s.acked.Next = s.snapshot(), found.next
	if found.end != nil {
		s.acked.Size = unknownSize
		return s.done(ctx, *found.end)
	}
	return nil
}

// endAs ends a stream whose other rows do not come any more, behind what the topic
// has of it.
func (s *sender) endAs(ctx context.Context, found beyond, status string) error {
	sum, err := schema.ParseSum128(s.acked.Sum)
	if err != nil {
		return fmt.Errorf("progress of stream %s: %w", s.stream, err)
	}
	sum.Add(found.sum.Hi, found.sum.Lo)
	s.acked.Rows += found.rows
	s.acked.Sum = sum.String()
	s.acked.Size = unknownSize
	if found.end != nil {
		return s.done(ctx, *found.end)
	}
	return s.end(ctx, status)
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

// encode makes the key and value of a row or reject.
func (s *sender) encode(row *csv.Row) {
	s.consumed.row = row.To
	s.unended = len(row.Raw) == int(row.To-row.From)
	s.key = wire.AppendKey(s.key[:0], s.stream, s.row)
	if row.Rule != "" {
		s.value = append(s.value[:0], row.Raw[:min(len(row.Raw), wire.RejectBytes)]...)
	} else {
		s.value = s.splitter.AppendRFC4180(s.value[:0])
	}
}

// hash is of the row that was encoded last.
func (s *sender) hash() (hi, lo uint64) {
	hi, lo, s.scratch = wire.RowHash(s.scratch, s.key, s.value)
	return hi, lo
}

// add adds a row or reject to the batch under construction.
func (s *sender) add(row *csv.Row) {
	s.encode(row)
	s.headers = s.headers[:0]
	first := s.batch.Len() == 0
	if row.Header != s.named {
		s.name(row.Header)
		s.p.Events.info(s.object.URI, fmt.Sprintf("from line %d on it has another header of the feed: %s", row.Line, shortened(string(s.header))))
		first = true // for readers: all of them come again
	}
	if first || s.p.HeadersEvery {
		if s.header != nil {
			s.headers = append(s.headers, broker.Header{Key: wire.Columns, Value: s.header})
		}
		s.headers = append(s.headers, broker.Header{Key: wire.Source, Value: []byte(s.object.URI)})
	}
	if first || s.p.HeadersEvery || row.Gap || row.Rule != "" {
		s.headers = append(s.headers, broker.Header{Key: wire.At, Value: wire.AppendAt(nil, row.From, row.Line)})
	}
	if row.Rule != "" {
		s.headers = append(s.headers, broker.Header{Key: wire.Reject, Value: []byte(row.Rule)},
			broker.Header{Key: wire.Message, Value: []byte(row.Message)}, broker.Header{Key: wire.Bytes, Value: wire.AppendRange(nil, row.From, row.To)},
			broker.Header{Key: wire.Dialect, Value: s.dialect()})
		s.rejects++
		s.p.Events.rejected(Rejected{URI: s.object.URI, Line: row.Line, From: row.From, To: row.To, Rule: row.Rule, Message: row.Message})
	}
	s.sum.Add(s.hash())
	if s.batch.Len() == 0 { // close enough for all of them, and the clock is not free
		s.read = s.p.Now().UnixMilli()
	}
	s.batch.Append(s.key, notNil(s.value), s.headers, s.read)
	s.row++
}

// dialect is what the object is split with, as JSON.
func (s *sender) dialect() []byte {
	text, err := json.Marshal(s.claim.Dialect)
	if err != nil {
		panic(err) // it has strings, numbers and booleans
	}
	return text
}

// notNil keeps an empty value from being a null one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// idle sends what there is while the input has no more to give.
func (s *sender) idle(ctx context.Context) error {
	if s.batch.Len() > 0 {
		return s.flush(ctx)
	}
	return s.land(ctx)
}

// flush waits for the batch on its way and sends the next.
func (s *sender) flush(ctx context.Context) error {
	if s.batch.Len() == 0 {
		return nil
	}
	if err := s.land(ctx); err != nil {
		return err
	}
	if s.guard != nil {
		if err := s.guard(); err != nil {
			return err
		}
	}
	if err := s.keepTail(ctx); err != nil {
		return err
	}
	batch := s.batch
	s.batch, s.spare = s.spare, batch
	s.batch.Reset()
	s.flown = s.snapshot()
	s.flownRows = int64(batch.Len())
	s.flying = make(chan landing, 1)
	go func(landed chan<- landing) {
		// A batch that was begun is brought to its end when the run is interrupted.
		next, err := int64(0), fault.At(ctx, fault.BatchSend)
		if err == nil {
			next, err = s.p.send(context.WithoutCancel(ctx), s.to, batch)
		}
		if err == nil {
			err = fault.At(ctx, fault.BatchSent)
		}
		landed <- landing{next, err}
	}(s.flying)
	return nil
}

// snapshot is the progress once everything in the batch is acknowledged.
func (s *sender) snapshot() progress {
	p := s.acked
	p.Rows, p.Sum, p.Unended = s.row, s.sum.String(), s.unended
	p.Offset, p.Line = s.splitter.Position()
	p.Header = s.splitter.Header()
	s.seen()
	p.Tail, p.Sought = s.tail, s.sought
	p.contentMark = s.consumed.mark(p.Offset)
	p.Behind = !s.consumed.direct && !s.unended // a row without a line end is the last
	return p
}

// land waits for the batch on its way.
func (s *sender) land(ctx context.Context) error {
	if s.flying == nil {
		return nil
	}
	landed := <-s.flying
	s.flying = nil
	if landed.err != nil {
		s.unsure = true
		return landed.err
	}
	s.flown.Next = landed.next
	s.sent += s.flownRows
	size := s.object.Size
	if s.compressed { // offsets are those of the content
		size = -1
	}
	s.p.Events.sent(SentInfo{URI: s.object.URI, Stream: s.stream, Partition: s.to, Rows: s.flownRows, Bytes: s.flown.Offset - s.acked.Offset, Offset: s.flown.Offset, Size: size})
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
	return s.p.ledger.note(context.WithoutCancel(ctx), map[schema.StreamID]progress{s.stream: s.acked})
}

// end sends the stream's end and writes that it is done.
func (s *sender) end(ctx context.Context, status string) error {
	var b broker.Batch
	b.Append(wire.AppendKey(nil, s.stream, s.acked.Rows), nil, []broker.Header{
		{Key: wire.Source, Value: []byte(s.object.URI)},
		{Key: wire.Count, Value: strconv.AppendInt(nil, s.acked.Rows, 10)},
		{Key: wire.Status, Value: []byte(status)},
		{Key: wire.Hash, Value: []byte(s.acked.Sum)},
	}, s.p.Now().UnixMilli())
	if err := fault.At(ctx, fault.EndSend); err != nil {
		return fmt.Errorf("send the end of stream %s: %w", s.stream, err)
	}
	next, err := s.p.send(context.WithoutCancel(ctx), s.to, &b)
	if err == nil {
		err = fault.At(ctx, fault.EndSent)
	}
	if err != nil {
		return fmt.Errorf("send the end of stream %s: %w", s.stream, err)
	}
	s.acked.Next = next
	return s.done(ctx, status)
}

// complete sends the end of a stream whose object was read to its end. Blank
// lines and comments behind the last row belong to the object, too.
func (s *sender) complete(ctx context.Context) error {
	s.consumed.advance(s.consumed.read())
	s.acked.contentMark, s.acked.Behind = s.consumed.state(), false
	s.p.Events.info(s.object.URI, again(s.repeated+s.splitter.Headers()))
	return s.end(ctx, Complete)
}

// done writes that the stream has its end.
func (s *sender) done(ctx context.Context, status string) error {
	s.p.mu.Lock()
	delete(s.p.copies, s.stream)
	s.p.mu.Unlock()
	s.acked.Done, s.acked.Count, s.acked.Status, s.acked.Released = true, s.acked.Rows, status, false
	return s.note(ctx)
}

// count adds what was sent to a summary.
func (s *sender) count(summary *ObjectSummary) {
	summary.Rows = s.acked.Rows
	summary.Sent += s.sent
	summary.Rejects += s.rejects
	summary.Bytes += s.bytes
}
