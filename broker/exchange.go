package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// exchange is one request and its answer as bytes. It is both messages of a
// round trip of kafka-go's Transport, which sends it to a topic partition's
// leader, or to any broker when it names no topic.
type exchange struct {
	api       protocol.ApiKey
	version   int16
	flexible  bool // header v2, with tagged fields (KIP-482)
	topic     string
	partition int32
	wait      time.Duration // that the broker is asked to take at most

	client   string          // its id
	given    <-chan struct{} // closed when the answer is not waited for any more
	body     []byte          // of the request
	tail     []byte          // goes behind body, so that a record batch is not copied
	response []byte          // behind the correlation id
}

var _ protocol.RawExchanger = (*exchange)(nil)

// correlation is the same in all requests: kafka-go has one on its way in a
// connection at a time.
const correlation = 7

// maxResponse bounds what a broker can make us allocate.
const maxResponse = 256 << 20

var errMalformed = errors.New("the broker's answer is malformed")

func (x *exchange) ApiKey() protocol.ApiKey { return x.api }

// Required makes kafka-go use RawExchange whatever the versions are.
func (x *exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// Broker picks the broker that the request goes to.
func (x *exchange) Broker(c protocol.Cluster) (protocol.Broker, error) {
	if len(c.Brokers) == 0 {
		// kafka-go has not seen the cluster yet. The address that the client was given
		// shows why, or is that of a broker which says that another one is the leader.
		return protocol.Broker{ID: -1}, nil
	}
	if x.topic == "" {
		for _, b := range c.Brokers {
			return b, nil
		}
	}
	t, ok := c.Topics[x.topic]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoTopic(x.topic)
	}
	p, ok := t.Partitions[x.partition]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoPartition(x.topic, x.partition)
	}
	b, ok := c.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoLeader(x.topic, x.partition)
	}
	return b, nil
}

// RawExchange writes the request and reads the answer. When that is given up it
// returns at once, so that nothing uses our buffers for long, and with an error, so
// that the connection is not used again.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	conn, ok := rw.(interface{ SetDeadline(time.Time) error })
	if !ok || x.given == nil {
		return x.exchange(rw)
	}
	over, stopped := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-x.given:
			conn.SetDeadline(time.Unix(1, 0))
			stopped <- true
		case <-over:
			stopped <- false
		}
	}()
	m, err := x.exchange(rw)
	close(over)
	if <-stopped && err == nil {
		err = context.Canceled
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (x *exchange) exchange(rw io.ReadWriter) (protocol.Message, error) {
	be := binary.BigEndian
	head := make([]byte, 4, 16+len(x.client)+len(x.body))
	head = be.AppendUint16(head, uint16(x.api))
	head = be.AppendUint16(head, uint16(x.version))
	head = be.AppendUint32(head, correlation)
	head = appendText(head, x.client)
	if x.flexible {
		head = append(head, 0) // no tagged fields
	}
	be.PutUint32(head, uint32(len(head)-4+len(x.body)+len(x.tail)))
	if _, err := rw.Write(append(head, x.body...)); err != nil {
		return nil, err
	}
	if len(x.tail) > 0 {
		if _, err := rw.Write(x.tail); err != nil {
			return nil, err
		}
	}
	var size [8]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	n := int(int32(be.Uint32(size[:]))) - 4
	if n < 0 || n > maxResponse {
		return nil, fmt.Errorf("%w: it has %d bytes", errMalformed, n)
	}
	if got := be.Uint32(size[4:]); got != correlation {
		return nil, fmt.Errorf("%w: it answers request %d", errMalformed, got)
	}
	if cap(x.response) < n {
		x.response = make([]byte, n)
	}
	x.response = x.response[:n]
	if _, err := io.ReadFull(rw, x.response); err != nil {
		return nil, err
	}
	return x, nil
}

// roundTrip sends the request and gives the answer to be decoded.
func (c *Client) roundTrip(ctx context.Context, x *exchange) (decoder, error) {
	// Without a deadline kafka-go waits for ever for a broker that says nothing.
	limited, cancel := context.WithTimeout(ctx, c.limits.request+x.wait)
	defer cancel()
	x.client, x.given = c.transport.ClientID, limited.Done()
	if _, err := c.transport.RoundTrip(limited, c.addr, x); err != nil {
		if errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) {
			return decoder{}, c.missing(ctx, x, err)
		}
		return decoder{}, classify(err)
	}
	c.met.Store(true)
	d := decoder{b: x.response}
	if x.flexible {
		d.tags()
	}
	return d, nil
}

// missing says why kafka-go does not know of a topic partition: it has not heard of
// it yet, which is err, or the brokers have not either.
func (c *Client) missing(ctx context.Context, x *exchange, err error) error {
	t, e := c.topic(ctx, x.topic)
	switch {
	case e != nil:
		return e
	case int(x.partition) >= t.Partitions:
		return fmt.Errorf("%w: the topic has %d", errNoPartition, t.Partitions)
	}
	return err
}

// decoder takes the fields of an answer one after the other. After a field that
// is not there all are zero, and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return nil
	}
	x := d.b[:n:n]
	d.b = d.b[n:]
	return x
}

func (d *decoder) int16() int16 {
	if b := d.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// text is a string with its length before it; -1 is null.
func (d *decoder) text() string {
	if n := d.int16(); n > 0 {
		return string(d.bytes(int(n)))
	}
	return ""
}

func (d *decoder) uvarint() int {
	x, n := binary.Uvarint(d.b)
	if n <= 0 || x > maxResponse {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return int(x)
}

// compactLen is a length plus one, 0 for null.
func (d *decoder) compactLen() int { return max(d.uvarint()-1, 0) }

func (d *decoder) compactText() string { return string(d.bytes(d.compactLen())) }

// tags passes over tagged fields.
func (d *decoder) tags() {
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		d.uvarint()
		d.bytes(d.uvarint())
	}
}

// err is errMalformed when a field was not there.
func (d *decoder) err() error {
	if d.bad {
		return errMalformed
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendInt32(b []byte, n int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }
