package producer

import (
	"context"
	"io"
	"iter"
	"time"
)

// stdin is standard input as a source of one object.
type stdin struct {
	in      io.Reader
	uri     string
	version string
	read    bool // some of it: it is not there again
}

func newStdin(o LocalOptions) *stdin {
	if o.StreamName == "" {
		return &stdin{in: o.Stdin, uri: "stdin:", version: time.Now().UTC().Format(time.RFC3339Nano)}
	}
	return &stdin{in: o.Stdin, uri: "stdin:" + o.StreamName, version: "0"}
}

func (s *stdin) Objects(context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if s.read {
			return
		}
		yield(Object{
			URI: s.uri, Version: s.version, Size: -1, Once: true,
			Open: func(context.Context) (io.ReadCloser, error) {
				s.read = true
				return io.NopCloser(s.in), nil
			},
		}, nil)
	}
}
