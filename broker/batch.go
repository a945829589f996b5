package broker

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Header is one header of a message.
type Header struct {
	Key   string
	Value []byte
}

// Batch is a Kafka record batch under construction, in the format v2 of KIP-98.
// It keeps its memory when it is reset.
type Batch struct {
	records []byte // the encoded records, uncompressed
	body    []byte // the batch as it is sent, with a header
	head    []byte // scratch for one record's fields
	n       int
	first   int64 // timestamps, ms
	last    int64
	zip     *zstd.Encoder
}

// batchHead is the size of a record batch's header: all before the records.
const batchHead = 61

const codecZstd = 4

// Reset empties the batch.
func (b *Batch) Reset() {
	b.records, b.n, b.first, b.last = b.records[:0], 0, 0, 0
}

// Len is the number of messages.
func (b *Batch) Len() int { return b.n }

// Bytes is the size of the messages before compression.
func (b *Batch) Bytes() int { return len(b.records) }

// Append adds a message, copying what it is given. A nil key or value is null.
func (b *Batch) Append(key, value []byte, headers []Header, millis int64) {
	if b.n == 0 {
		b.first = millis
	}
	b.last = max(b.last, millis)
	h := append(b.head[:0], 0) // attributes
	h = binary.AppendVarint(h, millis-b.first)
	h = binary.AppendVarint(h, int64(b.n))
	h = appendBytesLen(h, key)
	size := len(h) + len(key)
	keyEnd := len(h)
	h = appendBytesLen(h, value)
	valueEnd := len(h)
	h = binary.AppendVarint(h, int64(len(headers)))
	size += len(h) - keyEnd + len(value)
	for _, x := range headers {
		size += varintLen(int64(len(x.Key))) + len(x.Key) + varintLen(int64(len(x.Value))) + len(x.Value)
	}
	r := binary.AppendVarint(b.records, int64(size))
	r = append(r, h[:keyEnd]...)
	r = append(r, key...)
	r = append(r, h[keyEnd:valueEnd]...)
	r = append(r, value...)
	r = append(r, h[valueEnd:]...)
	for _, x := range headers {
		r = binary.AppendVarint(r, int64(len(x.Key)))
		r = append(r, x.Key...)
		r = binary.AppendVarint(r, int64(len(x.Value)))
		r = append(r, x.Value...)
	}
	b.head, b.records = h, r
	b.n++
}

func appendBytesLen(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return binary.AppendVarint(dst, int64(len(b)))
}

func varintLen(x int64) int {
	var buf [binary.MaxVarintLen64]byte
	return binary.PutVarint(buf[:], x)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal gives the batch as it goes over the wire, compressed. It aliases b.
func (b *Batch) seal() ([]byte, error) {
	if b.zip == nil {
		zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
		b.zip = zip
	}
	if cap(b.body) < batchHead {
		b.body = make([]byte, batchHead, 64<<10)
	}
	out := b.zip.EncodeAll(b.records, b.body[:batchHead])
	b.body = out
	be := binary.BigEndian
	be.PutUint64(out[0:], 0)
	be.PutUint32(out[8:], uint32(len(out)-12))
	be.PutUint32(out[12:], 0xffffffff) // leader epoch, set by the broker
	out[16] = 2
	be.PutUint16(out[21:], codecZstd)
	be.PutUint32(out[23:], uint32(b.n-1))
	be.PutUint64(out[27:], uint64(b.first))
	be.PutUint64(out[35:], uint64(b.last))
	be.PutUint64(out[43:], 0xffffffffffffffff) // no producer id
	be.PutUint16(out[51:], 0xffff)
	be.PutUint32(out[53:], 0xffffffff)
	be.PutUint32(out[57:], uint32(b.n))
	be.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out, nil
}
