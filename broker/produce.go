package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// DeliveryError says that a batch's outcome is not known after the delivery time.
type DeliveryError struct {
	Topic     string
	Partition int
	After     time.Duration
	Err       error
}

func (e *DeliveryError) Error() string {
	return fmt.Sprintf("produce to %s/%d: not acknowledged within %v: %v", e.Topic, e.Partition, e.After, e.Err)
}
func (e *DeliveryError) Unwrap() error { return e.Err }

// ErrTooLarge says that a batch is over the topic's limit.
var ErrTooLarge = errors.New("record batch is larger than the topic's max.message.bytes")

// ErrUnreachable says that no broker answered.
var ErrUnreachable = errors.New("no broker can be reached")

const deliveryTimeout = 2 * time.Minute

type produceRequest struct {
	topic     string
	partition int32
	batch     []byte
	resp      []byte
}

func (r *produceRequest) ApiKey() protocol.ApiKey { return protocol.Produce }
func (r *produceRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	return leader(c, r.topic, r.partition)
}
func (r *produceRequest) Required(map[protocol.ApiKey]int16) bool { return true }
func (r *produceRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	be := binary.BigEndian
	b := make([]byte, 4, 96+len(r.topic))
	b = be.AppendUint16(b, 0)
	b = be.AppendUint16(b, 8)
	b = be.AppendUint32(b, 7)
	b = be.AppendUint16(b, 0xffff)
	b = be.AppendUint16(b, 0xffff)
	b = be.AppendUint16(b, 0xffff) // acks all
	b = be.AppendUint32(b, 30000)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint16(b, uint16(len(r.topic)))
	b = append(b, r.topic...)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(r.partition))
	b = be.AppendUint32(b, uint32(len(r.batch)))
	be.PutUint32(b, uint32(len(b)-4+len(r.batch)))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	if _, err := rw.Write(r.batch); err != nil {
		return nil, err
	}
	return r, readResponse(rw, &r.resp)
}

// Produce sends a batch.
func (c *Client) Produce(ctx context.Context, topic string, partition int, b *Batch) (int64, error) {
	body, err := b.seal()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for try := 1; ; try++ {
		base, err := c.produce(ctx, topic, partition, body)
		if err == nil {
			return base, nil
		}
		if ctx.Err() != nil {
			b.body = nil
			return 0, ctx.Err()
		}
		var code kafka.Error
		if errors.As(err, &code) {
			if code == kafka.MessageSizeTooLarge {
				return 0, fmt.Errorf("produce to %s/%d: %w", topic, partition, ErrTooLarge)
			}
			if !code.Temporary() && code != kafka.UnknownTopicOrPartition {
				return 0, fmt.Errorf("produce to %s/%d: %w", topic, partition, err)
			}
		}
		if time.Since(began) > deliveryTimeout {
			return 0, &DeliveryError{topic, partition, deliveryTimeout, err}
		}
		if err := pause(ctx, try); err != nil {
			return 0, err
		}
	}
}

func (c *Client) produce(ctx context.Context, topic string, partition int, body []byte) (int64, error) {
	r := &produceRequest{topic: topic, partition: int32(partition), batch: body}
	if _, err := c.transport.RoundTrip(ctx, c.addr, r); err != nil {
		return 0, err
	}
	be := binary.BigEndian
	p := r.resp
	if len(p) < 10 || len(p) < 10+int(be.Uint16(p[8:]))+18 {
		return 0, errTruncated
	}
	p = p[10+int(be.Uint16(p[8:])):]
	if code := int16(be.Uint16(p[8:])); code != 0 {
		return 0, kafka.Error(code)
	}
	return int64(be.Uint64(p[10:])), nil
}

func pause(ctx context.Context, try int) error {
	t := time.NewTimer(min(2*time.Second, 20*time.Millisecond<<min(try, 8)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
