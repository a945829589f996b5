package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// quiet is an object as it was when nothing was left to send of it, or when it
// failed: then it is tried again after a while.
type quiet struct {
	look  uint64 // a print of what it looked like
	until time.Time
	why   string // it failed
}

// print is a hash of what same compares.
func (l look) print() uint64 {
	if l.Tag != "" {
		return schema.NewStreamID(l.Tag, "", l.Size).Hash64()
	}
	return schema.NewStreamID(strconv.FormatUint(l.Inode, 16), strconv.FormatInt(l.ModTime.UnixNano(), 16), l.Size).Hash64()
}

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

func (p *Producer) isQuiet(o Object) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, look := uriID(o.URI), o.look().print()
	if q, ok := p.failing[id]; ok {
		return q.look == look && p.Now().Before(q.until)
	}
	q, ok := p.quiet[id]
	return ok && q == look
}

// setQuiet leaves an object alone until it changes.
func (p *Producer) setQuiet(o Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Follow {
		id := uriID(o.URI)
		p.quiet[id] = o.look().print()
		delete(p.failing, id)
	}
}

// setFailed leaves an object alone for a while. news says that it did not fail in
// the same way before.
func (p *Producer) setFailed(o Object, err error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, why := uriID(o.URI), err.Error()
	news = p.failing[id].why != why
	p.failing[id] = quiet{look: o.look().print(), until: p.Now().Add(staleAfter), why: why}
	return news
}

// failed keeps why an object was not sent to its end, and gives the error when it
// stops all. A followed object is tried again when it has changed, and once a
// minute.
func (p *Producer) failed(ctx context.Context, o Object, summary *ObjectSummary, err error) error {
	stops := fatal(ctx, err)
	if p.Follow && stops != nil && errors.Is(stops, context.Canceled) {
		return stops // as it is meant to end
	}
	if p.Follow && errors.Is(err, os.ErrNotExist) {
		return stops // renamed since it was listed; its name may come back
	}
	summary.Err = err
	if p.Follow && stops == nil && p.setFailed(o, err) {
		p.Events.warn(o.URI, err.Error())
	}
	return stops
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

// held says that another producer is at work on a claimed object.
func (p *Producer) held(c *claim) bool {
	if p.Exclusive || p.isOwn(c) {
		return false
	}
	// Progress in a log that is gone tells as well that its producer is done.
	prior := p.ledger.known(c.Ranges[0].Stream)
	at := c.At
	if prior != nil {
		if prior.Released || prior.Done {
			return false
		}
		at = prior.At
	}
	return p.Now().Sub(at) < staleAfter
}

func (p *Producer) isOwn(c *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own[c.Ranges[0].Stream]
}

func (p *Producer) setOwn(stream schema.StreamID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own[stream] = true
}

// claim finds the claim of a version, or makes it: then it is mine.
func (p *Producer) claim(ctx context.Context, o *Object, d decision) (_ *claim, mine bool, err error) {
	if d.resume {
		c, _ := p.ledger.claimOf(o.URI, d.version)
		return c, true, c.usable()
	}
	c := &claim{
		V: ledgerVersion, URI: o.URI, Version: d.version, Log: p.Topic.LogID, look: o.look(),
		Splitter: csv.Version, MaxRecord: p.MaxRecord, At: p.Now().UTC(),
	}
	if d.from > 0 {
		if err := d.before.usable(); err != nil {
			return nil, false, err
		}
		_, prior := p.ledger.last(o.URI)
		c.goOn(d.before, prior.Header)
		c.Body, c.BodyLine = d.from, prior.Line
		c.contentMark = prior.contentMark
	} else {
		found, sample, err := p.sniff(ctx, o)
		if err != nil {
			return nil, false, err
		}
		c.contentMark = sample
		c.Dialect, c.Columns, c.Width, c.Body, c.BodyLine, c.Tail = found.Dialect, found.Columns, found.Width, found.Body, found.BodyLine, found.Tail
		c.Known, c.SeekTail = found.Known, found.SeekTail
	}
	stream := schema.NewStreamID(o.URI, d.version, d.from)
	c.Ranges = []byteRange{{From: d.from, To: -1, Stream: stream, Partition: p.pinned(stream)}}
	if _, c.Start, err = p.Client.Offsets(ctx, p.Topic.Name, c.Ranges[0].Partition); err != nil {
		return nil, false, err
	}
	c, mine, err = p.ledger.take(ctx, c)
	if err == nil {
		err = c.usable()
	}
	return c, mine, err
}

// pinned is the topic partition of a stream that is claimed now.
func (p *Producer) pinned(stream schema.StreamID) int {
	if n := uint64(len(p.Pin)); n > 0 {
		return p.Pin[stream.Hash64()%n]
	}
	return int(stream.Hash64() % uint64(p.Topic.Partitions))
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

// resend sends the rows of earlier versions that this one goes on from, where
// they are in a log that is gone.
func (p *Producer) resend(ctx context.Context, o Object, d decision) error {
	if d.from == 0 {
		return nil
	}
	to := d.from
	for _, c := range p.ledger.lost(o.URI, d.version) {
		if err := c.usable(); err != nil {
			return err
		}
		if p.held(c) {
			return errHeld
		}
		p.tell(o.URI, "the topic was deleted since it was sent: all of it is sent again")
		if err := p.resendRange(ctx, o, c, to); err != nil {
			return fmt.Errorf("send version %s again, whose log is gone: %w", c.Version, err)
		}
		to = c.Ranges[0].From
	}
	return nil
}

// resendRange sends the rows of a version that went to an offset of the object.
func (p *Producer) resendRange(ctx context.Context, o Object, c *claim, to int64) (err error) {
	s := newSender(p, o, c)
	s.limit = to
	p.setOwn(s.stream)
	_, prior := p.ledger.claimOf(o.URI, c.Version)
	before := p.ledger.known(s.stream)
	if _, err := s.begin(ctx, prior, nil, false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// What there is of it now may be more than the version had.
	s.acked.Size = unknownSize
	if s.acked.UntilMark == nil && before != nil {
		s.acked.UntilMark = cmp.Or(before.UntilMark, &before.contentMark)
	}
	if s.acked.UntilMark != nil {
		s.acked.Until = to
	}
	if err := s.run(ctx); err != nil {
		s.acked.Released = !unsure(err)
		return errors.Join(err, s.note(ctx))
	}
	summary := p.entry(o.URI, c.Version)
	summary.Stream, summary.Partition, summary.Status = s.stream, s.to, Complete
	s.count(summary)
	s.acked.Until, s.acked.UntilMark = 0, nil
	return s.end(ctx, Complete)
}
