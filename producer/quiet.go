package producer

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"lakefeed/schema"
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
