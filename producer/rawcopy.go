package producer

import (
	"context"
	"fmt"

	"lakefeed/sink/raw"
)

// copied gives an object that is copied into the raw zone while it is read for its
// rows: each of its bytes is there before a row of it is sent.
func (s *sender) copied(ctx context.Context) (Object, error) {
	o := s.object
	if s.p.Raw == nil {
		return o, nil
	}
	c, r := s.claim, s.claim.Ranges[0]
	s.p.mu.Lock()
	o.copy = s.p.copies[s.stream]
	s.p.mu.Unlock()
	if o.copy != nil {
		return o, nil
	}
	base := r.From
	if base > 0 {
		packed, err := isPacked(ctx, o)
		if err != nil {
			return o, err
		}
		if packed || !c.Dialect.ByteOffsets() { // its rows are found from its first byte on only
			base = 0
		}
	}
	copy, err := s.p.Raw.Object(ctx, raw.Manifest{
		URI: c.URI, Version: c.Version, Stream: s.stream, Base: base, Dialect: c.Dialect, Columns: c.Columns, Known: c.Known, Width: c.Width,
		Body: c.Body, BodyLine: c.BodyLine, Tail: c.Tail, SeekTail: c.SeekTail, Splitter: c.Splitter, MaxRecord: c.MaxRecord,
	})
	if err != nil {
		return o, err
	}
	o.copy = copy
	if s.p.Follow && o.grows() { // it is opened again with each line
		s.p.mu.Lock()
		s.p.copies[s.stream] = copy
		s.p.mu.Unlock()
	}
	return o, nil
}

// keepTail keeps what was found behind the table, before rows are sent that depend on
// it.
func (s *sender) keepTail(ctx context.Context) error {
	if s.copy == nil || !s.claim.SeekTail || s.tailKept {
		return nil
	}
	if s.seen(); !s.sought {
		return nil
	}
	s.tailKept = true
	return s.copy.KeepTail(ctx, s.tail)
}

// isPacked says whether an object is compressed.
func isPacked(ctx context.Context, o Object) (packed bool, err error) {
	c, err := open(ctx, o, 0)
	if err != nil {
		return false, fmt.Errorf("look at its beginning: %w", err)
	}
	return c.compressed, c.Close()
}
