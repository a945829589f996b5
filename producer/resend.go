package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

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
