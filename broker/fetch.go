package broker

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// FetchOptions say how to fetch.
type FetchOptions struct {
	MaxBytes int32         // of record batches; the first comes whole even when it is larger
	MinBytes int32         // to wait for, up to MaxWait
	MaxWait  time.Duration // whole milliseconds
	// ReadCommitted leaves out messages of transactions that were aborted, or are
	// not over yet.
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
	Start, End int64 // of the log: its first offset, and the one behind its last
}

func (e *OffsetOutOfRange) Error() string {
	return fmt.Sprintf("fetch %s/%d@%d: the log holds offsets %d to %d", e.Topic, e.Partition, e.Offset, e.Start, e.End-1)
}

// codeOffsetOutOfRange is the error of a fetch outside the log.
const codeOffsetOutOfRange = 1

// Fetch reads messages of a topic partition from an offset on into f, which
// gives them by Next. Nothing there yet is no error. The error is an
// OffsetOutOfRange when the log does not hold the offset.
func (c *Client) Fetch(ctx context.Context, topic string, partition int, offset int64, o FetchOptions, f *Fetch) error {
	err := c.retry(ctx, func() error { return c.fetch(ctx, topic, partition, offset, o, f) })
	var outside *OffsetOutOfRange
	if err == nil || errors.As(err, &outside) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("fetch %s/%d@%d: %w", topic, partition, offset, err)
}

// fetch sends Fetch v11.
func (c *Client) fetch(ctx context.Context, topic string, partition int, offset int64, o FetchOptions, f *Fetch) error {
	be := binary.BigEndian
	body := make([]byte, 0, 96+len(topic))
	body = appendInt32(body, -1) // no replica
	body = appendInt32(body, int32(o.MaxWait.Milliseconds()))
	body = appendInt32(body, o.MinBytes)
	body = appendInt32(body, o.MaxBytes)
	if o.ReadCommitted {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	body = appendInt32(body, 0)  // no session
	body = appendInt32(body, -1) // and no epoch of one
	body = appendInt32(body, 1)
	body = appendText(body, topic)
	body = appendInt32(body, 1)
	body = appendInt32(body, int32(partition))
	body = appendInt32(body, -1) // leader epoch: any
	body = be.AppendUint64(body, uint64(offset))
	body = be.AppendUint64(body, ^uint64(0)) // no log start of a follower
	body = appendInt32(body, o.MaxBytes)
	body = appendInt32(body, 0) // nothing forgotten
	body = appendText(body, "") // no rack

	x := &exchange{api: protocol.Fetch, version: 11, topic: topic, partition: int32(partition), body: body, response: f.response, wait: o.MaxWait}
	f.response = nil // not to be shared with a connection that is given up and still writes
	d, err := c.roundTrip(ctx, x)
	if err != nil {
		return err
	}
	f.response = x.response
	d.int32() // throttle time
	top := d.int16()
	d.int32() // session
	d.int32() // topics: one
	d.text()
	d.int32() // topic partitions: one
	d.int32()
	code := d.int16()
	f.HighWatermark = d.int64()
	d.int64() // last stable offset
	f.LogStart = d.int64()
	f.aborted = f.aborted[:0]
	for range d.int32() {
		if d.bad {
			break
		}
		f.aborted = append(f.aborted, transaction{producer: d.int64(), first: d.int64()})
	}
	d.int32() // preferred replica
	records := d.bytes(int(max(d.int32(), 0)))
	if code == codeOffsetOutOfRange {
		start, end, err := c.offsets(ctx, topic, partition)
		if err != nil {
			return err
		}
		return &OffsetOutOfRange{topic, partition, offset, start, end}
	}
	if err := errors.Join(answer(top), answer(code), d.err()); err != nil {
		return err
	}
	f.begin(records, offset, o.WholeBatches)
	return nil
}

// Message is one message of a Fetch. Key and Value alias the Fetch, and are valid
// until the record batch after their own has been left; Headers until the next
// call of Next.
type Message struct {
	Offset    int64
	Timestamp int64  // ms
	Key       []byte // nil is null
	Value     []byte // nil is null
	Headers   []Header
	// FirstOfBatch says that a record batch begins with it.
	FirstOfBatch bool
	Epoch        int32 // of the leader that took it
}

// Skip is a range of offsets that hold no message for a reader.
type Skip struct {
	From, To int64
	Reason   string // control or aborted
}

// The reasons of a Skip.
const (
	skipControl = "control"
	skipAborted = "aborted"
)

// Fetch is the answer to one fetch, and its messages. The zero value is ready
// for Client.Fetch. It keeps its memory, and is not safe for concurrent use.
type Fetch struct {
	LogStart      int64 // first offset of the log
	HighWatermark int64 // the offset behind the last that all replicas have

	response []byte
	data     []byte // record batches not yet read
	from     int64  // messages before it are left out
	end      int64
	next     int64 // the smallest offset that the next record batch may have
	skipped  []Skip
	err      error

	aborted []transaction // whose messages may come, by first offset
	open    []int64       // producers whose messages are of an aborted transaction

	present      recordBatch
	plain, prior []byte // decompressed records of this batch, and of the one before
	headers      []Header
	unzip        unzipper
}

// transaction is one that was aborted.
type transaction struct{ producer, first int64 }

// recordBatch is one batch while its messages are read.
type recordBatch struct {
	base, last int64 // offsets
	first      int64 // timestamp
	appended   int64 // timestamp of all messages when the broker set it, or -1
	epoch      int32
	count      int
	read       int
	next       int64  // the smallest offset that the next message may have
	records    []byte // not yet read
}

var (
	errRecord = errors.New("the message is malformed")
	errRest   = errors.New("there are more bytes than messages")
)

// End is the next offset to fetch: behind the last message that Next gave, and
// behind offsets that hold none.
func (f *Fetch) End() int64 { return f.end }

// Err is what ended Next early, nil at the end of what was fetched.
func (f *Fetch) Err() error { return f.err }

// Skipped lists the offsets passed so far that hold no message, ascending.
func (f *Fetch) Skipped() []Skip { return f.skipped }

// begin starts over with other record batches.
func (f *Fetch) begin(data []byte, offset int64, whole bool) {
	f.data, f.present = data, recordBatch{}
	f.from, f.end = offset, offset
	if whole {
		f.from = 0
	}
	f.err, f.skipped, f.open, f.next = nil, f.skipped[:0], f.open[:0], 0
	slices.SortFunc(f.aborted, func(a, b transaction) int { return cmp.Compare(a.first, b.first) })
}

// Next gives the next message, and false at the end or after an error.
func (f *Fetch) Next(m *Message) bool {
	for f.err == nil {
		b := &f.present
		if b.read == b.count {
			if !f.nextBatch() {
				return false
			}
			continue
		}
		n := b.read + 1
		if !f.record(m) {
			f.err = fmt.Errorf("record batch at offset %d, message %d of %d: %w", b.base, n, b.count, errRecord)
			return false
		}
		b.next = m.Offset + 1
		if b.read == b.count {
			if len(b.records) > 0 {
				f.err = fmt.Errorf("record batch at offset %d: %w", b.base, errRest)
				return false
			}
			b.next = b.last + 1
		}
		f.end = max(f.end, b.next)
		if m.Offset >= f.from {
			return true
		}
	}
	return false
}

// nextBatch goes on to the next record batch that holds messages for us.
func (f *Fetch) nextBatch() bool {
	for {
		b, attributes, producer, ok := f.cutBatch()
		if !ok {
			return false
		}
		aborted := f.transactions(b, attributes, producer)
		switch {
		case attributes&attributeControl != 0:
			f.skip(b, skipControl)
			continue
		case aborted:
			f.skip(b, skipAborted)
			continue
		case b.last < f.from:
			continue
		case b.count == 0: // compaction left nothing
			f.end = max(f.end, b.last+1)
			continue
		}
		if codec := int(attributes & codecMask); codec != 0 {
			// The batch before keeps its memory until this one is left.
			f.plain, f.prior = f.prior, f.plain
			f.plain, f.err = f.unzip.decompress(f.plain[:0], b.records, codec)
			if f.err != nil {
				f.err = fmt.Errorf("record batch at offset %d: decompress: %w", b.base, f.err)
				return false
			}
			b.records = f.plain
		}
		f.present = b
		return true
	}
}

// Bits of a record batch's attributes.
const (
	attributeAppendTime    = 1 << 3
	attributeTransactional = 1 << 4
	attributeControl       = 1 << 5
)

// cutBatch takes the next record batch off the answer and checks it. The last one
// is cut off where the answer was full, which is its end. The first is whole.
func (f *Fetch) cutBatch() (b recordBatch, attributes uint16, producer int64, ok bool) {
	be := binary.BigEndian
	f.present = recordBatch{}
	if len(f.data) < batchHead {
		f.cutOff(f.end)
		return b, 0, 0, false
	}
	b.base = int64(be.Uint64(f.data))
	size := int64(be.Uint32(f.data[8:]))
	switch {
	case size < batchHead-12:
		f.err = fmt.Errorf("record batch at offset %d: it says that it has %d bytes", b.base, size)
		return b, 0, 0, false
	case int64(len(f.data))-12 < size:
		f.cutOff(b.base)
		return b, 0, 0, false
	}
	x := f.data[12 : 12+size]
	f.data = f.data[12+size:]
	if x[4] != batchFormat {
		f.err = fmt.Errorf("record batch at offset %d: its format is %d, from before Kafka 0.11, and not read", b.base, x[4])
		return b, 0, 0, false
	}
	if checksum(x[9:]) != be.Uint32(x[5:]) {
		f.err = fmt.Errorf("record batch at offset %d: its checksum is wrong: it was damaged on the broker's disk or on the way", b.base)
		return b, 0, 0, false
	}
	b.epoch = int32(be.Uint32(x))
	attributes = be.Uint16(x[9:])
	delta := int64(int32(be.Uint32(x[11:])))
	b.last = b.base + delta
	b.first, b.appended = int64(be.Uint64(x[15:])), -1
	if attributes&attributeAppendTime != 0 {
		b.appended = int64(be.Uint64(x[23:]))
	}
	producer = int64(be.Uint64(x[31:]))
	b.count = int(int32(be.Uint32(x[45:])))
	b.records = x[49:]
	// The checksum does not cover the first offset.
	switch {
	case b.base < 0 || delta < 0 || b.last < b.base:
		f.err = fmt.Errorf("record batch at offset %d: it says that its last offset is %d", b.base, b.last)
		return b, 0, 0, false
	case b.base < f.next:
		f.err = fmt.Errorf("record batch at offset %d: it comes after offset %d", b.base, f.next-1)
		return b, 0, 0, false
	case b.count < 0 || int64(b.count) > delta+1:
		f.err = fmt.Errorf("record batch at offset %d: it says that it has %d messages up to offset %d", b.base, b.count, b.last)
		return b, 0, 0, false
	}
	f.next, b.next = b.last+1, b.base
	return b, attributes, producer, true
}

// cutOff ends what was fetched with a batch that is not whole. Brokers give the
// first one whole: going on at the same offset would never end.
func (f *Fetch) cutOff(base int64) {
	if len(f.data) > 0 && f.next == 0 {
		f.err = fmt.Errorf("record batch at offset %d: it is cut off after %d bytes", base, len(f.data))
	}
	f.data = nil
}

// transactions follows which producers' messages are aborted, and says whether
// those of a batch are: from a transaction's first offset until its marker.
func (f *Fetch) transactions(b recordBatch, attributes uint16, producer int64) (aborted bool) {
	for len(f.aborted) > 0 && f.aborted[0].first <= b.last {
		f.open = append(f.open, f.aborted[0].producer)
		f.aborted = f.aborted[1:]
	}
	if attributes&attributeTransactional == 0 {
		return false
	}
	i := slices.Index(f.open, producer)
	if attributes&attributeControl != 0 {
		if i >= 0 {
			f.open = slices.Delete(f.open, i, i+1)
		}
		return false
	}
	return i >= 0
}

func (f *Fetch) skip(b recordBatch, reason string) {
	f.skipped = append(f.skipped, Skip{b.base, b.last + 1, reason})
	f.end = max(f.end, b.last+1)
}

// record reads the next message of the present batch.
func (f *Fetch) record(m *Message) bool {
	r := fields{b: f.present.records, ok: true}
	size := r.varint()
	body := r.bytes(size)
	if !r.ok || size < 1 {
		return false
	}
	f.present.records = r.b
	r.b = body[1:] // behind the attributes, which are not used
	m.Timestamp = f.present.first + r.varint()
	if f.present.appended >= 0 {
		m.Timestamp = f.present.appended
	}
	m.Offset = f.present.base + r.varint()
	m.Key = r.nullable()
	m.Value = r.nullable()
	f.headers = f.headers[:0]
	n := r.varint()
	if n > maxHeaders {
		return false
	}
	for ; n > 0 && r.ok; n-- {
		key := r.bytes(r.varint())
		f.headers = append(f.headers, Header{string(key), r.nullable()})
	}
	m.Headers, m.Epoch = f.headers, f.present.epoch
	m.FirstOfBatch = f.present.read == 0
	f.present.read++
	return r.ok && n == 0 && len(r.b) == 0 && m.Offset >= f.present.next && m.Offset <= f.present.last
}

// maxHeaders bounds what a message can make us allocate: each takes two bytes of
// the batch, and many more of memory.
const maxHeaders = 1 << 16

// fields takes the fields of a message off its bytes. ok ends at the first that
// is not there.
type fields struct {
	b  []byte
	ok bool
}

func (r *fields) varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.ok = nil, false
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *fields) bytes(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.ok = nil, false
		return nil
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

// nullable is a field behind its length; -1 is null.
func (r *fields) nullable() []byte {
	n := r.varint()
	if n == -1 {
		return nil
	}
	return r.bytes(n)
}
