package producer

import (
	"context"
	"errors"
	"fmt"

	"lakefeed/schema"
)

// Abandonment is what became of a stream that is given up.
type Abandonment struct {
	URI     string          `json:"uri"`
	Version string          `json:"version"`
	Stream  schema.StreamID `json:"stream"`
	Rows    int64           `json:"rows"`   // that it has, for ever
	Status  string          `json:"status"` // of its end
	Already bool            `json:"already_ended"`
}

// ErrAbandon says that a stream is not to be given up.
var ErrAbandon = errors.New("cannot be abandoned")

// Abandon writes the end of a stream whose producer never comes back, behind all
// that the topic has of it. The stream is named by its id, or by the URI of its
// object, whose newest version is meant. A stream that has its end keeps it.
func Abandon(ctx context.Context, c Config, stream string) (a Abandonment, err error) {
	if err := c.validate(); err != nil {
		return a, err
	}
	p := &Producer{Config: c}
	p.begin()
	if p.ledger, err = openLedger(ctx, p.Client, p.Topic, p.Now); err != nil {
		return a, err
	}
	claim := p.ledger.find(stream)
	if claim == nil {
		return a, fmt.Errorf("stream %s %w: topic %s knows no stream and no object of that name (produce -o json names them)", stream, ErrAbandon, p.ledger.name)
	}
	s := newSender(p, Object{URI: claim.URI, Version: claim.Version}, claim)
	a = Abandonment{URI: claim.URI, Version: claim.Version, Stream: s.stream}
	known := p.ledger.known(s.stream)
	switch {
	case known != nil && !p.ledger.present(known) && known.Rows > 0:
		return a, fmt.Errorf("stream %s of %s %w: its %d rows were in a log of the topic that is gone", s.stream, claim.URI, ErrAbandon, known.Rows)
	case known != nil && known.Done:
		a.Rows, a.Status, a.Already = known.Rows, known.Status, true
		return a, nil
	case p.held(claim):
		return a, fmt.Errorf("stream %s of %s %w: a producer was at work on it less than %v ago: stop it, and wait until it is over", s.stream, claim.URI, ErrAbandon, staleAfter)
	}
	if err := claim.usable(); err != nil {
		return a, err
	}
	// What is there of the object when it comes back is told by its first bytes.
	if s.acked.contentMark = claim.contentMark; p.ledger.present(known) {
		s.acked = *known
	}
	found, err := p.ledger.beyond(ctx, s.stream, s.to, s.acked)
	if err == nil {
		err = s.endAs(ctx, found, Abandoned)
	}
	a.Rows, a.Status, a.Already = s.acked.Rows, s.acked.Status, found.end != nil
	return a, err
}

// find is the claim of a stream, or the newest of an object.
func (l *ledger) find(name string) *claim {
	if c, _ := l.last(name); c != nil {
		return c
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.book.claims {
		if c := l.book.claimOf(id); c.Ranges[0].Stream.String() == name {
			return c
		}
	}
	return nil
}
