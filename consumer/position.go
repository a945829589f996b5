package consumer

import (
	"bytes"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// origin is what the headers of a record batch say of the messages that follow:
// the stream's object, its header row, and the line reached.
type origin struct {
	known  bool // headers were there
	stream schema.StreamID
	source string
	header []byte // value of the Columns header
	named  bool   // there is a header row
	line   int64  // of the next row; 0 where unknown
	layout *layout
}

// read takes the headers of a message. first says that it is the first of its
// record batch, where the headers of the one before no longer hold.
func (o *origin) read(m *broker.Message, stream schema.StreamID, first bool) {
	if first && len(m.Headers) == 0 {
		*o = origin{stream: stream, header: o.header[:0]}
		return
	}
	var columns []byte
	named, source, at := false, []byte(nil), false
	for _, h := range m.Headers {
		switch h.Key {
		case wire.Columns:
			columns, named = h.Value, true
		case wire.Source:
			source = h.Value
		case wire.At:
			if _, line, err := wire.ParseAt(h.Value); err == nil {
				o.line, at = line, true
			}
		}
	}
	if source == nil && !named {
		return // a position only, or headers of others
	}
	if !at {
		o.line = 0
	}
	o.known, o.stream = true, stream
	if string(source) != o.source {
		o.source = string(source)
	}
	if named != o.named || !bytes.Equal(columns, o.header) {
		o.header = append(o.header[:0], columns...)
		o.named = named
		o.layout = nil
	}
}

// pass moves the line behind a row's value. quoted says that the value has
// quoted cells, which alone can hold line breaks.
func (o *origin) pass(value []byte, quoted bool) {
	if o.line == 0 {
		return
	}
	o.line++
	if quoted {
		o.line += breaks(value)
	}
}

// breaks counts the line breaks in a value: LF, CR LF, and CR alone.
func breaks(value []byte) (n int64) {
	n = int64(bytes.Count(value, []byte{'\n'}))
	for p := 0; ; {
		i := bytes.IndexByte(value[p:], '\r')
		if i < 0 {
			return n
		}
		p += i + 1
		if p == len(value) || value[p] != '\n' {
			n++
		}
	}
}
