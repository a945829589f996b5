package sink

import "lakefeed/schema"

// streamSet is what is known of streams: of those that are complete in segments, which
// take 24 bytes each, of the others as they are.
type streamSet struct {
	live     map[schema.StreamID]*stream // all but those in segments
	segments []segment                   // by falling size
}

// find gives what is known of a stream, nil if nothing.
func (s *streamSet) find(id schema.StreamID) *stream {
	if found := s.live[id]; found != nil {
		return found
	}
	for _, g := range s.segments {
		if count, ok := g.find(id); ok {
			return sealedStream(id, count)
		}
	}
	return nil
}

// seal moves complete streams into a segment.
func (s *streamSet) seal() {
	var done []sealed
	for id, x := range s.live {
		if x.complete() {
			done = append(done, sealed{id: id, count: x.limit})
			delete(s.live, id)
		}
	}
	if len(done) > 0 {
		s.segments = addSegment(s.segments, done)
	}
}

// each gives all streams, in no order.
func (s *streamSet) each(f func(*stream)) {
	for _, x := range s.live {
		f(x)
	}
	for _, g := range s.segments {
		for i := range g.len() {
			e := g.at(i)
			if s.live[e.id] == nil {
				f(sealedStream(e.id, e.count))
			}
		}
	}
}
