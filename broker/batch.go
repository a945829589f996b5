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
// The zero value is empty. It keeps its memory when it is reset.
type Batch struct {
	records     []byte // as the format has them, not compressed
	head        []byte // scratch for one record's fields
	n           int
	first, last int64 // timestamps, ms

	body []byte // the batch as it is sent
	zip  *zstd.Encoder
}

// The layout of a record batch.
const (
	batchHead   = 61 // bytes before the records
	batchFormat = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC-32C, of a record batch from its attributes on.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.records, b.n, b.first, b.last = b.records[:0], 0, 0, 0
}

// Len is the number of messages.
func (b *Batch) Len() int { return b.n }

// Bytes is the size of the messages before compression.
func (b *Batch) Bytes() int { return len(b.records) }

// Append adds a message, copying what it is given. A nil key or value is null.
// millis is its timestamp.
func (b *Batch) Append(key, value []byte, headers []Header, millis int64) {
	if b.n == 0 {
		b.first, b.last = millis, millis
	}
	b.last = max(b.last, millis)
	h := append(b.head[:0], 0) // attributes
	h = binary.AppendVarint(h, millis-b.first)
	h = binary.AppendVarint(h, int64(b.n))
	h = appendLen(h, key)
	keyAt := len(h)
	h = appendLen(h, value)
	valueAt := len(h)
	h = binary.AppendVarint(h, int64(len(headers)))
	size := len(h) + len(key) + len(value)
	for _, x := range headers {
		size += varintLen(int64(len(x.Key))) + len(x.Key) + len(x.Value)
		if x.Value == nil {
			size += varintLen(-1)
		} else {
			size += varintLen(int64(len(x.Value)))
		}
	}
	r := binary.AppendVarint(b.records, int64(size))
	r = append(r, h[:keyAt]...)
	r = append(r, key...)
	r = append(r, h[keyAt:valueAt]...)
	r = append(r, value...)
	r = append(r, h[valueAt:]...)
	for _, x := range headers {
		r = binary.AppendVarint(r, int64(len(x.Key)))
		r = append(r, x.Key...)
		r = appendLen(r, x.Value)
		r = append(r, x.Value...)
	}
	b.head, b.records = h, r
	b.n++
}

// appendLen adds the length of a field, -1 for null.
func appendLen(dst, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(dst, -1)
	}
	return binary.AppendVarint(dst, int64(len(field)))
}

func varintLen(x int64) int {
	n := 1
	for u := uint64(x)<<1 ^ uint64(x>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
