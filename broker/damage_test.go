package broker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"

	"lakefeed/broker"
)

// sealed is a batch as a broker gives it, at an offset.
func sealed(t testing.TB, base int64, b *broker.Batch) []byte {
	t.Helper()
	out, err := b.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return at(base, bytes.Clone(out))
}

// at puts an offset into a record batch.
func at(base int64, batch []byte) []byte {
	binary.BigEndian.PutUint64(batch, uint64(base))
	return batch
}

// Places in a record batch's head.
const (
	atLength     = 8
	atFormat     = 16
	atChecksum   = 17
	atAttributes = 21
	atLastDelta  = 23
	atFirstTime  = 27
	atMaxTime    = 35
	atProducer   = 43
	atCount      = 57
	batchHead    = 61
)

// batchWith makes a record batch of records that are given as bytes, and sets its
// length and checksum.
func batchWith(base int64, attributes uint16, producer int64, count int, records []byte) []byte {
	b := make([]byte, batchHead, batchHead+len(records))
	be := binary.BigEndian
	be.PutUint64(b, uint64(base))
	b[atFormat] = 2
	be.PutUint16(b[atAttributes:], attributes)
	be.PutUint32(b[atLastDelta:], uint32(count-1))
	be.PutUint64(b[atProducer:], uint64(producer))
	be.PutUint32(b[atCount:], uint32(count))
	return mend(append(b, records...))
}

// mend sets a batch's length and checksum.
func mend(b []byte) []byte {
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[atChecksum:], broker.Checksum(b[atAttributes:]))
	return b
}

// plainRecords are the records of numbered(from, n), not compressed.
func plainRecords(from, n int) (out []byte) {
	for i := range n {
		value := fmt.Sprint(from + i)
		r := []byte{0} // attributes
		r = binary.AppendVarint(r, 0)
		r = binary.AppendVarint(r, int64(i))
		r = binary.AppendVarint(r, -1)
		r = binary.AppendVarint(r, int64(len(value)))
		r = append(r, value...)
		r = binary.AppendVarint(r, 0)
		out = append(binary.AppendVarint(out, int64(len(r))), r...)
	}
	return out
}

// Every byte of a batch, flipped in each way: none gives other messages, but the
// offset and the leader's epoch, which the checksum does not cover.
func TestFlippedByte(t *testing.T) {
	t.Parallel()
	const base = 1000
	first, second := sealed(t, base, numbered(0, 10)), sealed(t, base+10, numbered(10, 10))
	answer := slices.Concat(first, second)
	var want []broker.Message
	var f broker.Fetch
	f.Begin(answer, base, false)
	if want = drain(t, &f); len(want) != 20 {
		t.Fatalf("%d messages", len(want))
	}
	for i := range answer {
		for bit := range 8 {
			bad := bytes.Clone(answer)
			bad[i] ^= 1 << bit
			f.Begin(bad, base, false)
			got := messages(&f)
			within := i
			if i >= len(first) {
				within = i - len(first)
			}
			switch {
			case within >= 12 && within < 16: // the epoch
				for k := range got {
					got[k].Epoch = -1
				}
				if diff := cmp.Diff(want, got); diff != "" || f.Err() != nil {
					t.Fatalf("byte %d bit %d: %v\n%s", i, bit, f.Err(), diff)
				}
			case within < 8:
				for _, m := range got { // a gap, or an error, and no message twice
					if string(m.Value) == "" || m.Offset < base {
						t.Fatalf("byte %d bit %d: message %d %q", i, bit, m.Offset, m.Value)
					}
				}
				if f.Err() == nil && f.End() < base+20 && len(got) == 20 {
					t.Fatalf("byte %d bit %d: end %d", i, bit, f.End())
				}
			default:
				if n := len(got); n > 20 || !slices.EqualFunc(got, want[:n], same) {
					t.Fatalf("byte %d bit %d: %d messages", i, bit, n)
				}
				cutOff := i >= len(first) && within >= 8 && within < 12 // a length that is too large is that of a batch which is cut off
				if f.Err() == nil && !cutOff {
					t.Fatalf("byte %d bit %d: no error", i, bit)
				}
				if f.Err() != nil && !strings.Contains(f.Err().Error(), "record batch at offset 10") {
					t.Fatalf("byte %d bit %d: %v", i, bit, f.Err())
				}
				if f.End() != base+int64(len(got)) {
					t.Fatalf("byte %d bit %d: end %d after %d messages", i, bit, f.End(), len(got))
				}
			}
		}
	}
}

func same(a, b broker.Message) bool { return cmp.Equal(a, b) }

// An answer that was cut off where it was full, at every byte.
func TestCutOffAnswer(t *testing.T) {
	t.Parallel()
	first, second := sealed(t, 0, numbered(0, 10)), sealed(t, 10, numbered(10, 10))
	answer := slices.Concat(first, second)
	var f broker.Fetch
	for n := range len(answer) + 1 {
		f.Begin(answer[:n], 0, false)
		got := messages(&f)
		want, failed := 0, n > 0
		if n >= len(first) {
			want, failed = 10, false
		}
		if n == len(answer) {
			want = 20
		}
		if len(got) != want || f.End() != int64(want) || failed != (f.Err() != nil) {
			t.Errorf("%d of %d bytes: %d messages up to %d, %v", n, len(answer), len(got), f.End(), f.Err())
		}
		if failed && !strings.Contains(f.Err().Error(), "record batch at offset 0: ") {
			t.Errorf("%d bytes: %v", n, f.Err())
		}
	}
}

func TestDamagedBatches(t *testing.T) {
	records := plainRecords(0, 3)
	good := func() []byte { return batchWith(7, 0, -1, 3, records) }
	be := binary.BigEndian
	for _, test := range []struct {
		name  string
		batch []byte
		want  string // in the error; "" for none
		count int    // messages before it
	}{
		{name: "good", batch: good(), count: 3},
		{name: "length 0", batch: func() []byte { b := good(); be.PutUint32(b[atLength:], 0); return b }(), want: "it says that it has 0 bytes"},
		{name: "length of the head less one", batch: func() []byte { b := good(); be.PutUint32(b[atLength:], batchHead-13); return b }(), want: "it says that it has 48 bytes"},
		{name: "length 4 GiB", batch: func() []byte { b := good(); be.PutUint32(b[atLength:], math.MaxUint32); return b }(), want: "it is cut off"},
		{name: "format 1", batch: func() []byte { b := good(); b[atFormat] = 1; return b }(), want: "its format is 1"},
		{name: "count negative", batch: func() []byte { b := good(); be.PutUint32(b[atCount:], math.MaxUint32); return mend(b) }(), want: "it says that it has -1 messages"},
		{name: "count too large", batch: func() []byte { b := good(); be.PutUint32(b[atCount:], 4); return mend(b) }(), want: "it says that it has 4 messages"},
		{name: "count absurd", batch: func() []byte {
			b := good()
			be.PutUint32(b[atCount:], math.MaxInt32)
			be.PutUint32(b[atLastDelta:], math.MaxInt32)
			return mend(b)
		}(), want: "message 4 of 2147483647", count: 3},
		{name: "count too small", batch: func() []byte { b := good(); be.PutUint32(b[atCount:], 2); return mend(b) }(), want: "there are more bytes than messages", count: 1},
		{name: "last offset before the first", batch: func() []byte { b := good(); be.PutUint32(b[atLastDelta:], math.MaxUint32); return mend(b) }(), want: "it says that its last offset is 6"},
		{name: "offset negative", batch: at(-1, good()), want: "record batch at offset -1"},
		{name: "offset overflows", batch: at(math.MaxInt64-1, good()), want: "it says that its last offset is"},
		{name: "message offset twice", batch: batchWith(7, 0, -1, 4, slices.Concat(records, plainRecords(0, 1))), want: "message 4 of 4", count: 3},
		{name: "message offset too large", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 2, 1, 1, 0}), want: "message 1 of 1: the message is malformed"},
		{name: "message offset negative", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 1, 1, 1, 0}), want: "message 1 of 1"},
		{name: "message of 0 bytes", batch: batchWith(7, 0, -1, 1, []byte{0}), want: "message 1 of 1"},
		{name: "message of -1 bytes", batch: batchWith(7, 0, -1, 1, []byte{1, 0, 0, 0, 1, 1, 0}), want: "message 1 of 1"},
		{name: "message longer than the batch", batch: batchWith(7, 0, -1, 1, []byte{80, 0, 0, 0, 1, 1, 0}), want: "message 1 of 1"},
		{name: "message longer than its fields", batch: batchWith(7, 0, -1, 1, []byte{14, 0, 0, 0, 1, 1, 0, 0}), want: "message 1 of 1"},
		{name: "varint without end", batch: batchWith(7, 0, -1, 1, bytes.Repeat([]byte{0xff}, 20)), want: "message 1 of 1"},
		{name: "key of -2 bytes", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 0, 3, 1, 0}), want: "message 1 of 1"},
		{name: "value longer than the message", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 0, 1, 20, 0}), want: "message 1 of 1"},
		{name: "-1 headers", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 0, 1, 1, 1}), want: "message 1 of 1"},
		{name: "headers that are not there", batch: batchWith(7, 0, -1, 1, []byte{12, 0, 0, 0, 1, 1, 4}), want: "message 1 of 1"},
		{name: "header without a key", batch: batchWith(7, 0, -1, 1, []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}), want: "message 1 of 1"},
		{name: "no messages", batch: batchWith(7, 0, -1, 1, nil), want: "message 1 of 1"},
		{name: "codec 5", batch: batchWith(7, 5, -1, 3, records), want: "decompress: codec 5 is not known"},
		{name: "gzip of nothing", batch: batchWith(7, 1, -1, 1, nil), want: "message 1 of 1"},
		{name: "not gzip", batch: batchWith(7, 1, -1, 3, records), want: "record batch at offset 7: decompress: "},
		{name: "not snappy", batch: batchWith(7, 2, -1, 3, records), want: "record batch at offset 7: "},
		{name: "not lz4", batch: batchWith(7, 3, -1, 3, records), want: "record batch at offset 7: decompress: "},
		{name: "not zstd", batch: batchWith(7, 4, -1, 3, records), want: "record batch at offset 7: decompress: "},
		{name: "snappy frame of 4 GiB", batch: batchWith(7, 2, -1, 3, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xffabc")), want: "record batch at offset 7: decompress: "},
		{name: "snappy block of 4 GiB", batch: batchWith(7, 2, -1, 3, []byte("\xff\xff\xff\xff\x0fabc")), want: "record batch at offset 7: decompress: "},
		{name: "snappy block of 60 MiB", batch: batchWith(7, 2, -1, 3, []byte("\x80\x80\x80\x1eabc")), want: "record batch at offset 7: decompress: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f broker.Fetch
			before := allocated()
			f.Begin(test.batch, 7, false)
			got := messages(&f)
			if len(got) != test.count {
				t.Errorf("%d messages, want %d", len(got), test.count)
			}
			if test.want == "" != (f.Err() == nil) || f.Err() != nil && !strings.Contains(f.Err().Error(), test.want) {
				t.Errorf("the error is %v, want %q", f.Err(), test.want)
			}
			if f.End() != 7+int64(test.count) {
				t.Errorf("end %d after %d messages", f.End(), test.count)
			}
			if f.Next(new(broker.Message)) {
				t.Error("there is a message after the error")
			}
			if n := allocated() - before; n > 48<<20 {
				t.Errorf("it took %d bytes", n)
			}
		})
	}
}

// allocated is how many bytes were allocated so far: by all tests, so that those
// which ask do not run beside others.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Batches out of order, or twice: no message is given twice.
func TestBatchesOutOfOrder(t *testing.T) {
	t.Parallel()
	batch := func(base int64) []byte { return batchWith(base, 0, -1, 3, plainRecords(int(base), 3)) }
	for _, second := range []int64{0, 2, 4} {
		var f broker.Fetch
		f.Begin(slices.Concat(batch(4), batch(second)), 4, true)
		got := messages(&f)
		if len(got) != 3 || f.Err() == nil || !strings.Contains(f.Err().Error(), fmt.Sprintf("record batch at offset %d: it comes after offset 6", second)) {
			t.Errorf("%d messages, %v", len(got), f.Err())
		}
	}
	// A gap is what compaction leaves.
	var f broker.Fetch
	f.Begin(slices.Concat(batch(4), batch(9)), 2, false)
	if got := drain(t, &f); len(got) != 6 || f.End() != 12 || len(f.Skipped()) != 0 {
		t.Errorf("%d messages up to %d, skipped %v", len(got), f.End(), f.Skipped())
	}
}

// What compaction leaves: batches with fewer messages than offsets, and with none.
func TestCompactedBatches(t *testing.T) {
	t.Parallel()
	sparse := batchWith(10, 0, -1, 3, plainRecords(0, 3)) // offsets 10 to 12 of 10 to 19
	binary.BigEndian.PutUint32(sparse[atLastDelta:], 9)
	empty := batchWith(20, 0, -1, 0, nil)
	binary.BigEndian.PutUint32(empty[atLastDelta:], 4)
	var f broker.Fetch
	f.Begin(slices.Concat(mend(sparse), mend(empty)), 10, false)
	if got := drain(t, &f); len(got) != 3 || f.End() != 25 {
		t.Errorf("%d messages up to %d", len(got), f.End())
	}
	// Nothing but such: the fetch goes on behind it.
	f.Begin(mend(empty), 22, false)
	if got := drain(t, &f); len(got) != 0 || f.End() != 25 {
		t.Errorf("%d messages up to %d", len(got), f.End())
	}
	f.Begin(mend(sparse), 15, false)
	if got := drain(t, &f); len(got) != 0 || f.End() != 20 {
		t.Errorf("%d messages up to %d", len(got), f.End())
	}
}

// A topic whose brokers set the timestamps.
func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	b := batchWith(0, 1<<3, -1, 2, plainRecords(0, 2))
	binary.BigEndian.PutUint64(b[atFirstTime:], 5)
	binary.BigEndian.PutUint64(b[atMaxTime:], 1_700_000_000_000)
	var f broker.Fetch
	f.Begin(mend(b), 0, false)
	for _, m := range drain(t, &f) {
		if m.Timestamp != 1_700_000_000_000 {
			t.Errorf("message %d has the timestamp %d", m.Offset, m.Timestamp)
		}
	}
}

// Batches that grow without end, by each codec.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 1<<20)
	bomb := func(c compress.Compression, mib int) []byte {
		var out bytes.Buffer
		w := c.Codec().NewWriter(&out)
		for range mib {
			w.Write(zeros)
		}
		w.Close()
		return out.Bytes()
	}
	// One that says how large it is, and one that does not.
	sized, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		codec   uint16
		records []byte
	}{
		{"gzip", 1, bomb(compress.Gzip, 200)},
		{"snappy", 2, bomb(compress.Snappy, 200)},
		{"lz4", 3, bomb(compress.Lz4, 200)},
		{"zstd", 4, bomb(compress.Zstd, 200)},
		{"zstd with its size", 4, sized.EncodeAll(make([]byte, 200<<20), nil)},
		{"just too large", 4, sized.EncodeAll(make([]byte, broker.MaxBatch+1), nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f broker.Fetch
			f.Begin(batchWith(42, test.codec, -1, 1, test.records), 42, false)
			if f.Next(new(broker.Message)) {
				t.Error("there is a message")
			}
			if err := f.Err(); err == nil || !strings.Contains(err.Error(), "record batch at offset 42: decompress: it decompresses to more than 67108864 bytes") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	// The largest that is read.
	var b broker.Batch
	value := make([]byte, broker.MaxBatch-100)
	b.Append(nil, value, nil, 1)
	var f broker.Fetch
	f.Begin(sealed(t, 0, &b), 0, false)
	if got := drain(t, &f); len(got) != 1 || !bytes.Equal(got[0].Value, value) {
		t.Errorf("%d messages", len(got))
	}
}

// A message with millions of headers takes little of the batch, and much memory.
func TestManyHeaders(t *testing.T) {
	record := func(n int) []byte {
		r := []byte{0, 0, 0, 1, 1}
		r = binary.AppendVarint(r, int64(n))
		r = append(r, make([]byte, 2*n)...)
		return append(binary.AppendVarint(nil, int64(len(r))), r...)
	}
	var f broker.Fetch
	f.Begin(batchWith(0, 0, -1, 1, record(60_000)), 0, false)
	if got := drain(t, &f); len(got) != 1 || len(got[0].Headers) != 60_000 {
		t.Errorf("%d messages", len(got))
	}
	before := allocated()
	f.Begin(batchWith(0, 0, -1, 1, record(5_000_000)), 0, false)
	if got := messages(&f); len(got) != 0 || f.Err() == nil {
		t.Errorf("%d messages, %v", len(got), f.Err())
	}
	if n := allocated() - before; n > 100<<20 {
		t.Errorf("it took %d MiB", n>>20)
	}
}

// FuzzFetchDecode reads hostile bytes as record batches: once as they are, and once
// with lengths and checksums that fit.
func FuzzFetchDecode(f *testing.F) {
	records := plainRecords(0, 3)
	f.Add(slices.Concat(sealed(f, 0, numbered(0, 3)), sealed(f, 3, numbered(3, 3))), int64(1), false)
	var headers broker.Batch
	headers.Append([]byte("k"), nil, []broker.Header{{Key: "a", Value: []byte("b")}, {Key: "n"}}, 1)
	f.Add(sealed(f, 5, &headers), int64(5), true)
	for _, c := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		var out bytes.Buffer
		w := c.Codec().NewWriter(&out)
		w.Write(records)
		w.Close()
		f.Add(batchWith(0, uint16(c), -1, 3, out.Bytes()), int64(0), false)
	}
	f.Add(batchWith(0, 0, -1, 3, records), int64(0), false)
	f.Add(batchWith(0, 1<<4, 9, 3, records), int64(0), false)
	f.Add(batchWith(3, 1<<4|1<<5, 9, 1, []byte{20, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0}), int64(0), false)
	f.Add([]byte{}, int64(0), false)
	var fetch broker.Fetch // with the memory of the input before
	f.Fuzz(func(t *testing.T, data []byte, offset int64, whole bool) {
		if offset < 0 {
			return
		}
		check(t, &fetch, data, offset, whole)
		mended := bytes.Clone(data)
		for b := mended; len(b) >= batchHead; {
			size := min(int(binary.BigEndian.Uint32(b[atLength:]))+12, len(b))
			if size < batchHead {
				size = len(b)
			}
			b[atFormat] = 2
			mend(b[:size])
			b = b[size:]
		}
		check(t, &fetch, mended, offset, whole)
	})
}

// check holds what must be true of every answer.
func check(t *testing.T, f *broker.Fetch, data []byte, offset int64, whole bool) {
	t.Helper()
	began, before := time.Now(), allocated()
	f.Begin(bytes.Clone(data), offset, whole, broker.Aborted{Producer: 9, First: 0})
	last, end := int64(-1), f.End()
	if end != offset {
		t.Fatalf("end %d before the first message, which is %d", end, offset)
	}
	var m broker.Message
	n := 0
	for ; f.Next(&m); n++ {
		if m.Offset <= last || m.Offset < offset && !whole {
			t.Fatalf("message %d after %d, from %d", m.Offset, last, offset)
		}
		if f.End() <= m.Offset || f.End() < end {
			t.Fatalf("end %d after message %d, and %d before", f.End(), m.Offset, end)
		}
		last, end = m.Offset, f.End()
	}
	if f.Next(&m) {
		t.Fatal("a message after the end")
	}
	if f.End() < end {
		t.Fatalf("end %d, and %d before", f.End(), end)
	}
	from := int64(-1)
	for _, s := range f.Skipped() {
		if s.From <= from || s.To <= s.From || s.Reason == "" || s.To > f.End() {
			t.Fatalf("skipped %v", f.Skipped())
		}
		from = s.From
	}
	// Without an error it goes on behind what it had.
	if f.Err() == nil && len(data) > 0 && n == 0 && f.End() == offset && len(f.Skipped()) == 0 && !allBefore(data, offset) {
		t.Fatalf("%d bytes gave nothing, and no error", len(data))
	}
	if d := time.Since(began); d > soonEnough {
		t.Fatalf("it took %v", d)
	}
	if used := allocated() - before; used > 600<<20 {
		t.Fatalf("it took %d MiB", used>>20)
	}
}

// allBefore says whether all batches of an answer lie before an offset.
func allBefore(data []byte, offset int64) bool {
	for len(data) >= batchHead {
		size := int64(binary.BigEndian.Uint32(data[atLength:])) + 12
		last := int64(binary.BigEndian.Uint64(data)) + int64(int32(binary.BigEndian.Uint32(data[atLastDelta:])))
		if size > int64(len(data)) {
			return true
		}
		if last >= offset {
			return false
		}
		data = data[size:]
	}
	return true
}
