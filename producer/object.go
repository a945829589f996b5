package producer

import (
	"context"
	"errors"
	"fmt"
	"os"

	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// object sends one object. Its own faults go into its summary; the error is one
// that stops all, or errHeld.
func (p *Producer) object(ctx context.Context, o Object) error {
	if p.isQuiet(o) {
		return nil
	}
	for range 3 { // again when it changed while it was read, or was claimed by another
		again, err := p.version(ctx, &o)
		if err != nil || !again {
			return err
		}
		if o.Stat == nil {
			continue
		}
		if o, err = o.Stat(ctx); err != nil {
			p.fault(o.URI, fmt.Errorf("look at it again, for it changed while it was read: %w", err))
			return nil
		}
	}
	if !p.Follow {
		p.Events.warn(o.URI, "it goes on changing: the next run, or --follow, sends what came last")
	}
	return nil
}

// version sends the version that an object has now. again says that there may be
// another by now.
func (p *Producer) version(ctx context.Context, o *Object) (again bool, err error) {
	d, err := p.decide(ctx, o)
	switch {
	case errors.Is(err, ErrChanged):
		return true, nil
	case err != nil:
		return false, p.failed(ctx, *o, p.entry(o.URI, ""), fmt.Errorf("compare with what was sent: %w", err))
	}
	p.fault(o.URI, nil)
	if p.Follow && d.rotated && o.Size == 0 {
		f := p.followedAs(o.URI)
		if f == nil || f.object.Inode == o.Inode {
			return false, nil
		}
		// Its writer may still be at work on the old one.
		if err := p.drain(ctx, o.URI, false); err != nil {
			return false, p.failed(ctx, *o, p.entry(o.URI, d.before.Version), err)
		}
		return false, nil
	}
	summary := p.entry(o.URI, d.version)
	summary.Err = nil
	if d.already {
		return false, p.already(ctx, *o, d, summary)
	}
	if d.holder != nil && p.held(d.holder) {
		p.tell(o.URI, "another producer is at work on it, or was less than a minute ago: waiting for it to finish or go stale")
		return false, errHeld
	}
	if d.rotated {
		if err := p.endBefore(ctx, *o, d); err != nil {
			return false, p.failed(ctx, *o, summary, err)
		}
	} else {
		p.Events.warn(o.URI, d.warning)
	}
	switch err := p.resend(ctx, *o, d); {
	case errors.Is(err, errHeld):
		return false, err
	case err != nil:
		return false, p.failed(ctx, *o, summary, err)
	}
	c, mine, err := p.claim(ctx, o, d)
	switch {
	case errors.Is(err, csv.ErrEmpty):
		summary.Status = "empty"
		p.setQuiet(*o)
		return false, nil
	case errors.Is(err, ErrChanged):
		return true, nil
	case errors.Is(err, csv.ErrNoRecord) && p.Follow:
		p.setQuiet(*o) // more of its first line has to come
		return false, nil
	case err != nil:
		return false, p.failed(ctx, *o, summary, err)
	case !mine && o.Once:
		return false, p.failed(ctx, *o, summary, errors.New("another producer has begun this stream at the same moment: feed it again when that one is done, or give it another --stream NAME"))
	case !mine:
		return true, nil // another was quicker: it may have gone far
	}
	return p.stream(ctx, *o, c, d, summary)
}

// decide finds out which version an object is.
func (p *Producer) decide(ctx context.Context, o *Object) (decision, error) {
	if d, ok, err := p.goesOn(ctx, *o); ok || err != nil {
		return d, err
	}
	d, err := p.ledger.decide(ctx, o)
	if err != nil || d.before == nil || p.Exclusive {
		return d, err
	}
	// Another producer may have seen it before.
	news, err := p.ledger.refresh(ctx)
	if err == nil && news {
		d, err = p.ledger.decide(ctx, o)
	}
	return d, err
}

// already is for an object of which all was sent.
func (p *Producer) already(ctx context.Context, o Object, d decision, summary *ObjectSummary) error {
	c, prior := p.ledger.claimOf(o.URI, d.version)
	summary.Already = summary.Sent == 0
	summary.Stream, summary.Partition = c.Ranges[0].Stream, p.ledger.pin(c)
	summary.Rows, summary.Status = prior.Rows, prior.Status
	if o.Once && summary.Already {
		p.Events.warn(o.URI, "this stream was sent to its end before: standard input was not read; give other rows another --stream NAME")
	}
	if prior.Status == Abandoned && summary.Already {
		p.Events.warn(o.URI, fmt.Sprintf("it was abandoned (produce --abandon) behind %d rows, and no more of it is sent: to take all of its rows in again give it another name (--source-name URI)", prior.Rows))
	}
	if d.touched { // so that the next run need not compare it again
		now := *prior
		now.look = o.look()
		if err := p.ledger.note(ctx, map[schema.StreamID]progress{summary.Stream: now}); err != nil {
			return p.failed(ctx, o, summary, err)
		}
	}
	if o.grows() || !p.ledger.claimed(&o) { // else the ledger tells at once that it is done
		p.setQuiet(o)
	}
	return nil
}

// sniff finds an object's dialect from its first bytes, and gives their mark.
func (p *Producer) sniff(ctx context.Context, o *Object) (csv.Found, contentMark, error) {
	sample, complete, err := head(ctx, o, SniffBytes)
	if err != nil {
		return csv.Found{}, contentMark{}, err
	}
	h := newContentHash()
	h.Write(sample)
	grows := p.Follow && o.grows()
	found, why, err := csv.Explain(sample, complete && !grows, p.ledger.feedHeaders().overrides(p.CSV))
	p.Events.info(o.URI, before(found, why))
	if err == nil && (!complete || grows) && (!grows || o.compressed) {
		err = findTail(ctx, *o, &found, p.CSV)
	}
	return found, contentMark{Hashed: int64(len(sample)), Content: h.state()}, err
}

// stream sends what is left of a claimed object.
func (p *Producer) stream(ctx context.Context, o Object, c *claim, d decision, summary *ObjectSummary) (again bool, err error) {
	s := newSender(p, o, c)
	summary.Stream, summary.Partition, summary.Already = s.stream, s.to, false
	p.setOwn(s.stream)
	_, prior := p.ledger.claimOf(o.URI, c.Version)
	defer func() { err = errors.Join(err, s.close()) }()
	in, err := s.begin(ctx, prior, d.hash, o.grows() && (o.Stat != nil || p.Follow))
	// What is looked for behind a table is found at the object's end: that has to come.
	follows := err == nil && p.Follow && o.grows() && !in.compressed && (!c.SeekTail || s.sought)
	if follows {
		s.guard = p.guard(in, s)
	}
	if err == nil {
		again, err = s.all(ctx, d.verify, follows)
	}
	another := errors.Is(err, errAnother)
	switch {
	case another:
		again, err = true, nil
	case errors.Is(err, ErrChanged) && !s.unsure:
		again, err = true, s.cut(ctx, prior, d.resume)
	}
	switch {
	case err != nil:
		// What was acknowledged is kept, and another run goes on from there.
		s.acked.Released = !s.unsure
		if !unsure(err) {
			err = errors.Join(err, s.note(ctx))
		}
	case s.acked.Done:
		summary.Status = s.acked.Status
	case s.sent > 0:
		err = s.note(ctx)
	}
	s.count(summary)
	switch {
	case err != nil:
		p.setAcked(s)
		return false, p.failed(ctx, o, summary, err)
	case another:
		p.setAcked(s)
	case follows && !s.acked.Done:
		p.follow(s, in)
		if !again {
			p.setQuiet(o)
		}
		return false, nil // what came meanwhile is for the next pass
	}
	return again, nil
}

// all sends the rows of an opened stream and its end, which a followed one does
// not have yet. again says that the object changed meanwhile.
func (s *sender) all(ctx context.Context, verify, follows bool) (again bool, err error) {
	if verify {
		if err := s.catchUp(ctx); err != nil || s.acked.Done {
			return true, err
		}
	}
	if err := s.run(ctx); err != nil {
		return false, err
	}
	changed, err := s.changed(ctx, follows)
	switch {
	case err != nil:
		return false, err
	case follows:
		return changed, s.guard()
	case changed:
		s.p.Events.warn(s.object.URI, "it changed while it was read: what was read of it is sent, and the file as it is now follows as a new version")
		return true, s.end(ctx, Changed)
	}
	if err := s.finish(ctx); err != nil {
		return false, err
	}
	return false, s.complete(ctx)
}

// changed says whether an object is another than it was when it was opened. One
// that was only touched is not, unless lines may come anyway.
func (s *sender) changed(ctx context.Context, follows bool) (bool, error) {
	if s.object.Stat == nil || !s.object.grows() {
		return false, nil
	}
	now, err := s.object.Stat(context.WithoutCancel(ctx))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil // it was read to its end
	case err != nil || now.look().same(s.object.look()):
		return false, err
	case follows || now.Size != s.object.Size && !s.compressed: // the last line may be half a line
		return true, nil
	}
	read, err := s.consumed.all()
	if err != nil {
		return true, err
	}
	compared, err := comparePrefix(ctx, now, read, s.claim.Dialect)
	if err != nil || !compared.same || compared.more {
		return true, err
	}
	s.object = now
	s.acked.look = now.look()
	return false, nil
}
