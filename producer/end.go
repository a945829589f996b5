package producer

import (
	"context"
	"fmt"
	"strconv"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/fault"
	"lakefeed/schema/wire"
)

// The statuses of a stream's end.
const (
	Complete  = "complete"
	Changed   = "changed"
	Abandoned = "abandoned"
)

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

// cut ends a stream whose object was replaced while it was read, behind all that
// the topic has of it.
func (s *sender) cut(ctx context.Context, prior *progress, resumed bool) error {
	s.p.Events.warn(s.object.URI, "it was replaced while it was read: what was read of it is sent, and the object as it is now follows as a new version")
	if !resumed {
		return s.end(ctx, Changed)
	}
	// An earlier run may have sent more than this one came to.
	from := newSender(s.p, s.object, s.claim).acked
	if prior != nil {
		from = *prior
	}
	found, err := s.p.ledger.beyond(ctx, s.stream, s.to, from)
	if err != nil {
		return err
	}
	s.acked = from
	return s.endAs(ctx, found, Changed)
}

// endBefore sends the end of a stream whose object was replaced before it had
// one.
func (p *Producer) endBefore(ctx context.Context, o Object, d decision) error {
	if f := p.followedAs(o.URI); f != nil && d.before.is(f.claim) {
		replaced := o.Inode != f.object.Inode
		if replaced && f.file != nil {
			p.Events.info(o.URI, "it was rotated: the rest of the old file is sent, and the new one as a new version")
			return p.drain(ctx, o.URI, true)
		}
		p.Events.warn(o.URI, "it was rotated or cut off: lines written in the last moment before are lost; the file as it is now is sent as a new version")
		s := newSender(p, f.object, d.before)
		s.acked = f.acked
		p.unfollow(o.URI)
		return s.end(ctx, Complete)
	}
	p.Events.warn(o.URI, d.warning)
	_, prior := p.ledger.claimOf(o.URI, d.before.Version)
	s := newSender(p, o, d.before)
	if prior != nil {
		s.acked = *prior
	}
	if s.acked.Done {
		return nil
	}
	found, err := p.ledger.beyond(ctx, s.stream, s.to, s.acked)
	if err != nil || s.acked.Rows+found.rows == 0 {
		return err
	}
	return s.endAs(ctx, found, Changed)
}
