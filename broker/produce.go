package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// DeliveryError says that a record batch was not acknowledged in time. It may be
// in the log all the same.
type DeliveryError struct {
	Topic     string
	Partition int
	After     time.Duration
	Err       error // of the last try
}

func (e *DeliveryError) Error() string {
	return fmt.Sprintf("produce to %s/%d: not acknowledged within %v, check the brokers and run it again, which goes on here: %v", e.Topic, e.Partition, e.After, e.Err)
}

func (e *DeliveryError) Unwrap() error { return e.Err }

// Produce sends a record batch and waits until all replicas in sync have it
// (acks=all). While the outcome is not known the same bytes are sent again, so
// the log may have them twice. It gives the offset of the first message. The
// batch can be reset and used again afterwards.
func (c *Client) Produce(ctx context.Context, topic string, partition int, b *Batch) (offset int64, err error) {
	fail := func(err error) (int64, error) {
		return 0, fmt.Errorf("produce %d messages to %s/%d: %w", b.Len(), topic, partition, err)
	}
	switch {
	case b.Len() == 0: // some brokers take it, and then count offsets in a strange way
		return fail(errors.New("the record batch is empty"))
	case b.Bytes() > maxBatch: // no reader of ours would decompress it
		return fail(fmt.Errorf("%w: it has %d bytes before compression, and no more than %d are read", ErrTooLarge, b.Bytes(), maxBatch))
	}
	body, err := b.seal()
	if err != nil {
		return fail(fmt.Errorf("compress: %w", err))
	}
	began := time.Now()
	for try := 1; ; try++ {
		offset, err = c.produce(ctx, topic, partition, body)
		if err == nil {
			return offset, nil
		}
		// A connection that was given up may still be reading the bytes.
		b.body = nil
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case !passes(err) && !errors.Is(err, ErrNoTopic):
			return fail(err)
		case c.hopeless(err, try):
			return fail(c.giveUp(err, began))
		case time.Since(began) > c.limits.delivery:
			return 0, &DeliveryError{topic, partition, c.limits.delivery, err}
		}
		if err := pause(ctx, try); err != nil {
			return 0, err
		}
	}
}

// produce sends Produce v8.
func (c *Client) produce(ctx context.Context, topic string, partition int, batch []byte) (int64, error) {
	body := []byte{0xff, 0xff, 0xff, 0xff} // no transaction; acks=all
	body = appendInt32(body, int32(c.limits.ack.Milliseconds()))
	body = appendInt32(body, 1)
	body = appendText(body, topic)
	body = appendInt32(body, 1)
	body = appendInt32(body, int32(partition))
	body = appendInt32(body, int32(len(batch)))
	d, err := c.roundTrip(ctx, &exchange{api: protocol.Produce, version: 8, topic: topic, partition: int32(partition), body: body, tail: batch, wait: c.limits.ack})
	if err != nil {
		return 0, err
	}
	d.int32() // topics: one
	d.text()
	d.int32() // topic partitions: one
	d.int32()
	code := d.int16()
	offset := d.int64()
	return offset, errors.Join(answer(code), d.err())
}

// seal gives the batch as it goes over the wire, compressed. It aliases b.
func (b *Batch) seal() ([]byte, error) {
	if b.zip == nil {
		var err error
		if b.zip, err = newCompressor(); err != nil {
			return nil, err
		}
	}
	if cap(b.body) < batchHead {
		b.body = make([]byte, batchHead, 64<<10)
	}
	out := b.zip.EncodeAll(b.records, b.body[:batchHead])
	b.body = out
	be := binary.BigEndian
	be.PutUint64(out[0:], 0) // base offset, set by the broker
	be.PutUint32(out[8:], uint32(len(out)-12))
	be.PutUint32(out[12:], 0xffffffff) // leader epoch, set by the broker
	out[16] = batchFormat
	be.PutUint16(out[21:], codecZstd)
	be.PutUint32(out[23:], uint32(b.n-1))
	be.PutUint64(out[27:], uint64(b.first))
	be.PutUint64(out[35:], uint64(b.last))
	be.PutUint64(out[43:], 0xffffffffffffffff) // no producer id, epoch or sequence
	be.PutUint16(out[51:], 0xffff)
	be.PutUint32(out[53:], 0xffffffff)
	be.PutUint32(out[57:], uint32(b.n))
	be.PutUint32(out[17:], checksum(out[21:]))
	return out, nil
}
