package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Message is one message of a Fetch. Key and Value alias the Fetch and are valid
// until the batch after its own has been left, the headers until the next Next.
type Message struct {
	Offset, Timestamp int64
	Key, Value        []byte // nil is null
	Headers           []Header
	FirstOfBatch      bool
	Epoch             int32
}

// Skip is a range of offsets that hold no message.
type Skip struct {
	From, To int64
	Reason   string // control, aborted or compacted
}

// FetchOptions say how to fetch.
type FetchOptions struct {
	MaxBytes      int32
	MaxWait       time.Duration
	MinBytes      int32
	ReadCommitted bool
	// WholeBatches gives the messages before the offset asked for, too, that are in
	// its record batch.
	WholeBatches bool
}

// OffsetOutOfRange says that the log does not hold the offset asked for.
type OffsetOutOfRange struct {
	Topic      string
	Partition  int
	Offset     int64
	Start, End int64
}

func (e *OffsetOutOfRange) Error() string {
	return fmt.Sprintf("fetch %s/%d@%d: the log holds offsets %d to %d", e.Topic, e.Partition, e.Offset, e.Start, e.End-1)
}

// Fetch is the answer to one fetch. It is reused.
type Fetch struct {
	LogStart, HighWatermark int64

	buf     []byte // the response
	data    []byte // record batches not yet read
	plain   []byte // decompressed records of the present batch
	prior   []byte // of the one before, which its last message still aliases
	records []byte // of the present batch, not yet read
	base    int64
	first   int64
	count   int
	read    int
	lastOff int64
	epoch   int32
	from    int64
	end     int64
	headers []Header
	skipped []Skip
	err     error
	unzip   *zstd.Decoder
}

// End is the next offset to fetch.
func (f *Fetch) End() int64 { return f.end }

// Err is what ended Next early.
func (f *Fetch) Err() error { return f.err }

// Skipped lists the offsets that hold no message.
func (f *Fetch) Skipped() []Skip { return f.skipped }

const maxBatch = 64 << 20

var errTruncated = errors.New("record batch is malformed")

// Next gives the next message.
func (f *Fetch) Next(m *Message) bool {
	for f.err == nil {
		if f.read == f.count && !f.nextBatch() {
			return false
		}
		if f.read == f.count {
			continue
		}
		if !f.record(m) {
			f.err = fmt.Errorf("offset %d: %w", f.base, errTruncated)
			return false
		}
		if m.Offset >= f.from {
			return true
		}
	}
	return false
}

func (f *Fetch) nextBatch() bool {
	be := binary.BigEndian
	for {
		if f.count > 0 {
			f.end = max(f.end, f.lastOff+1)
		}
		f.count, f.read = 0, 0
		if len(f.data) < batchHead {
			return false
		}
		base := int64(be.Uint64(f.data))
		size := int(be.Uint32(f.data[8:]))
		if size < batchHead-12 || len(f.data)-12 < size {
			return false // the last one is cut off
		}
		b := f.data[12 : 12+size]
		f.data = f.data[12+size:]
		if b[4] != 2 {
			f.err = fmt.Errorf("offset %d: message format %d is older than Kafka 0.11 and not read", base, b[4])
			return false
		}
		if crc32.Checksum(b[9:], castagnoli) != be.Uint32(b[5:]) {
			f.err = fmt.Errorf("offset %d: the record batch's checksum is wrong: it was damaged on disk or on the way", base)
			return false
		}
		attributes := be.Uint16(b[9:])
		last := base + int64(be.Uint32(b[11:]))
		if attributes&0x20 != 0 {
			f.skipped = append(f.skipped, Skip{base, last + 1, "control"})
			f.end = max(f.end, last+1)
			continue
		}
		f.base, f.lastOff, f.epoch = base, last, int32(be.Uint32(b))
		f.first = int64(be.Uint64(b[15:]))
		f.count, f.read = int(int32(be.Uint32(b[45:]))), 0
		f.records = b[49:]
		switch attributes & 7 {
		case 0:
		case codecZstd:
			if f.unzip == nil {
				f.unzip, f.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBatch))
				if f.err != nil {
					return false
				}
			}
			f.plain, f.prior = f.prior, f.plain
			f.plain, f.err = f.unzip.DecodeAll(f.records, f.plain[:0])
			if f.err != nil {
				f.err = fmt.Errorf("offset %d: decompress record batch: %w", base, f.err)
				return false
			}
			f.records = f.plain
		default:
			f.err = fmt.Errorf("offset %d: codec %d", base, attributes&7)
			return false
		}
		if last < f.from {
			f.count = 0
			continue
		}
		return true
	}
}

func varint(b []byte) (int64, []byte, bool) {
	x, n := binary.Varint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return x, b[n:], true
}

func take(b []byte, n int64) (x, rest []byte, ok bool) {
	if n < 0 {
		return nil, b, n == -1
	}
	if n > int64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

func (f *Fetch) record(m *Message) bool {
	size, b, ok := varint(f.records)
	if !ok || size < 1 || size > int64(len(b)) {
		return false
	}
	f.records = b[size:]
	b = b[1:size]
	var delta, offset, n int64
	if delta, b, ok = varint(b); !ok {
		return false
	}
	if offset, b, ok = varint(b); !ok {
		return false
	}
	if n, b, ok = varint(b); !ok {
		return false
	}
	if m.Key, b, ok = take(b, n); !ok {
		return false
	}
	if n, b, ok = varint(b); !ok {
		return false
	}
	if m.Value, b, ok = take(b, n); !ok {
		return false
	}
	if n, b, ok = varint(b); !ok || n < 0 || n > int64(len(b)) {
		return false
	}
	f.headers = f.headers[:0]
	for range n {
		var key, value []byte
		var l int64
		if l, b, ok = varint(b); !ok {
			return false
		}
		if key, b, ok = take(b, l); !ok {
			return false
		}
		if l, b, ok = varint(b); !ok {
			return false
		}
		if value, b, ok = take(b, l); !ok {
			return false
		}
		f.headers = append(f.headers, Header{string(key), value})
	}
	m.Headers = f.headers
	m.Offset, m.Timestamp, m.Epoch = f.base+offset, f.first+delta, f.epoch
	m.FirstOfBatch = f.read == 0
	f.read++
	if f.read == f.count {
		f.end = max(f.end, f.lastOff+1)
	}
	return true
}

type fetchRequest struct {
	topic     string
	partition int32
	offset    int64
	o         FetchOptions
	buf       []byte
}

func (r *fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }
func (r *fetchRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	return leader(c, r.topic, r.partition)
}
func (r *fetchRequest) Required(map[protocol.ApiKey]int16) bool { return true }

func leader(c protocol.Cluster, topic string, partition int32) (protocol.Broker, error) {
	t, ok := c.Topics[topic]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoTopic(topic)
	}
	p, ok := t.Partitions[partition]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoPartition(topic, partition)
	}
	b, ok := c.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoLeader(topic, partition)
	}
	return b, nil
}

func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	be := binary.BigEndian
	b := make([]byte, 4, 128)
	b = be.AppendUint16(b, 1)
	b = be.AppendUint16(b, 11)
	b = be.AppendUint32(b, 7)
	b = be.AppendUint16(b, 0xffff)
	b = be.AppendUint32(b, 0xffffffff)
	b = be.AppendUint32(b, uint32(r.o.MaxWait.Milliseconds()))
	b = be.AppendUint32(b, uint32(r.o.MinBytes))
	b = be.AppendUint32(b, uint32(r.o.MaxBytes))
	if r.o.ReadCommitted {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, 0xffffffff)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint16(b, uint16(len(r.topic)))
	b = append(b, r.topic...)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(r.partition))
	b = be.AppendUint32(b, 0xffffffff)
	b = be.AppendUint64(b, uint64(r.offset))
	b = be.AppendUint64(b, ^uint64(0))
	b = be.AppendUint32(b, uint32(r.o.MaxBytes))
	b = be.AppendUint32(b, 0)
	b = be.AppendUint16(b, 0)
	be.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	return r, readResponse(rw, &r.buf)
}

func readResponse(rw io.Reader, buf *[]byte) error {
	var h [4]byte
	if _, err := io.ReadFull(rw, h[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(h[:]))
	if n < 8 || n > 256<<20 {
		return fmt.Errorf("response of %d bytes", n)
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	*buf = (*buf)[:n]
	_, err := io.ReadFull(rw, *buf)
	return err
}

// Fetch reads messages.
func (c *Client) Fetch(ctx context.Context, topic string, partition int, offset int64, o FetchOptions, f *Fetch) error {
	for try := 1; ; try++ {
		err := c.fetch(ctx, topic, partition, offset, o, f)
		var out *OffsetOutOfRange
		if err == nil || errors.As(err, &out) || ctx.Err() != nil {
			return err
		}
		if try > 20 {
			return fmt.Errorf("fetch %s/%d@%d: %w", topic, partition, offset, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func (c *Client) fetch(ctx context.Context, topic string, partition int, offset int64, o FetchOptions, f *Fetch) error {
	r := &fetchRequest{topic: topic, partition: int32(partition), offset: offset, o: o, buf: f.buf}
	f.buf = nil // kept away from others while a connection may write into it
	if _, err := c.transport.RoundTrip(ctx, c.addr, r); err != nil {
		return err
	}
	f.buf = r.buf
	be := binary.BigEndian
	p := r.buf
	if len(p) < 18 {
		return errTruncated
	}
	p = p[4+4+2+4+4:]
	if len(p) < 2 || len(p) < 2+int(be.Uint16(p))+4+30 {
		return errTruncated
	}
	p = p[2+int(be.Uint16(p))+4:]
	code := int16(be.Uint16(p[4:]))
	f.HighWatermark, f.LogStart = int64(be.Uint64(p[6:])), int64(be.Uint64(p[22:]))
	if code == 1 {
		start, end, err := c.Offsets(ctx, topic, partition)
		if err != nil {
			return err
		}
		return &OffsetOutOfRange{topic, partition, offset, start, end}
	}
	if code != 0 {
		return kafka.Error(code)
	}
	p = p[30:]
	if len(p) < 4 {
		return errTruncated
	}
	aborted := int(int32(be.Uint32(p)))
	p = p[4:]
	if aborted > 0 {
		if len(p) < 16*aborted {
			return errTruncated
		}
		p = p[16*aborted:]
	}
	if len(p) < 8 {
		return errTruncated
	}
	n := int(int32(be.Uint32(p[4:])))
	p = p[8:]
	if n < 0 {
		n = 0
	}
	if n > len(p) {
		return errTruncated
	}
	f.data, f.records = p[:n], nil
	f.count, f.read, f.err, f.skipped = 0, 0, nil, f.skipped[:0]
	f.from, f.end = offset, offset
	if o.WholeBatches {
		f.from = 0
	}
	return nil
}
