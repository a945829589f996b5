package csv

import (
	"errors"
	"io"
)

// ErrPause is what a reader says that has nothing to give for a while, and is asked
// again later. A Splitter with Options.SeekTail then goes on with what it holds back.
// Any other Splitter takes it for a failure.
var ErrPause = errors.New("nothing more is there yet")

// An ahead reads TailBytes ahead of what it gives, so that the end of the text is seen
// before it is cut into rows.
type ahead struct {
	r     io.Reader
	buf   []byte // the last bytes that were given, as many as TailBytes, and those held back
	given int    // bytes of buf that were given
	at    int64  // the offset of buf[0] in the text
	err   error  // what the reader ended with
	// atEnd is told the text's last bytes, the offset at which they begin, and where
	// those that were not given begin.
	atEnd func(end []byte, offset, held int64)
}

const aheadSize = 4 * TailBytes

// Read gives bytes that others follow, TailBytes at least, or that nothing follows.
func (a *ahead) Read(b []byte) (int, error) {
	for paused := false; ; paused = !a.fill() {
		most := len(a.buf) - a.given
		if a.err == nil && !paused {
			most -= TailBytes
		}
		if most > 0 {
			n := copy(b, a.buf[a.given:a.given+most])
			a.given += n
			return n, nil
		}
		if a.err != nil {
			return 0, a.err
		}
	}
}

// fill reads once behind what is held back. It says false where the reader pauses.
func (a *ahead) fill() bool {
	if a.buf == nil {
		a.buf = make([]byte, 0, aheadSize)
	}
	if drop := a.given - TailBytes; drop > 0 && cap(a.buf)-len(a.buf) < TailBytes {
		a.buf = a.buf[:copy(a.buf, a.buf[drop:])]
		a.given -= drop
		a.at += int64(drop)
	}
	n, err := a.r.Read(a.buf[len(a.buf):cap(a.buf)])
	a.buf = a.buf[:len(a.buf)+n]
	if errors.Is(err, ErrPause) {
		return false
	}
	if a.err = err; err == io.EOF {
		end := a.buf[max(0, len(a.buf)-TailBytes):]
		offset := a.at + int64(len(a.buf)-len(end))
		a.atEnd(end, offset, a.at+int64(a.given))
	}
	return true
}
