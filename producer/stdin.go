package producer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"lakefeed/sink/raw"
)

// stdin is standard input as a source of one object.
type stdin struct {
	pipe    *pipe
	uri     string
	version string
	read    bool // some of it: it is not there again
}

func newStdin(o LocalOptions) *stdin {
	s := &stdin{pipe: &pipe{in: o.Stdin}, uri: "stdin:" + o.StreamName, version: "0"}
	if o.StreamName == "" {
		s.version = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return s
}

func (s *stdin) Objects(context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if s.read {
			return
		}
		yield(Object{
			URI: s.uri, Version: s.version, Size: -1, Once: true, pipe: s.pipe,
			Open: func(ctx context.Context, _ int64) (io.ReadCloser, error) {
				s.read, s.pipe.stop = true, ctx.Done()
				return io.NopCloser(s.pipe), nil
			},
		}, nil)
	}
}

// pipe reads an input that may have nothing to give for long, and lets its reader
// do something else meanwhile, or stop. The goroutine that waits for input ends
// with the input: a read that waits cannot be taken back.
type pipe struct {
	in   io.Reader
	stop <-chan struct{} // closed when no more is wanted
	// pause is called while there is nothing to read. Its error is that of the Read
	// that waits; the next goes on.
	pause func() error

	chunks chan chunk
	free   chan []byte
	held   []byte // the buffer that rest is of
	rest   []byte
	err    error
}

type chunk struct {
	b   []byte
	err error
}

// pauseAfter is how long there has to be nothing to read.
const pauseAfter = 500 * time.Millisecond

const pipeBuffer = 64 << 10

func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 && p.err == nil {
		ready, stopped := p.wait()
		if stopped {
			return 0, context.Canceled
		}
		if ready || p.pause == nil {
			continue
		}
		if err := p.pause(); err != nil {
			return 0, err
		}
	}
	if len(p.rest) == 0 {
		return 0, p.err
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Ready says whether there is something to read, now or in a moment.
func (p *pipe) Ready() bool {
	ready, stopped := p.wait()
	return ready || stopped // which Read tells
}

// wait waits for something to read, for as long as makes a pause.
func (p *pipe) wait() (ready, stopped bool) {
	if p.chunks == nil {
		p.begin()
	}
	if len(p.rest) > 0 || p.err != nil {
		return true, false
	}
	if p.held != nil {
		p.free <- p.held
		p.held = nil
	}
	select {
	case c := <-p.chunks:
		p.held, p.rest, p.err = c.b[:cap(c.b)], c.b, c.err
		return true, false
	case <-p.stop:
		return false, true
	case <-time.After(pauseAfter):
		return false, false
	}
}

// begin reads ahead with two buffers: one is filled while the other is read.
func (p *pipe) begin() {
	p.chunks, p.free = make(chan chunk), make(chan []byte, 2)
	p.free <- make([]byte, pipeBuffer)
	p.free <- make([]byte, pipeBuffer)
	go func(stop <-chan struct{}) {
		for {
			var b []byte
			select {
			case b = <-p.free:
			case <-stop:
				return
			}
			n, err := p.in.Read(b)
			select {
			case p.chunks <- chunk{b[:n], err}:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	}(p.stop)
}

// errPaused ends a sample before its end: what there is has to do.
var errPaused = errors.New("no more of it is there yet")

// enough says whether what was read of a slow input shows what it is like: two
// lines. Of compressed input that cannot be seen.
func enough(b []byte) bool {
	return len(b) >= 4 && !raw.Compressed(b) && bytes.Count(b, []byte("\n")) >= 2
}
