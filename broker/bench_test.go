package broker_test

import (
	"bytes"
	"fmt"
	"testing"

	"lakefeed/broker"
)

// rows are what a feed's messages are like: a short key, and a hundred bytes of a
// line.
func rows(n int) (keys, lines [][]byte, size int64) {
	for i := range n {
		keys = append(keys, fmt.Appendf(nil, "feed/%08d", i%100))
		lines = append(lines, fmt.Appendf(nil, "%d,2026-11-%02d,customer %d,%d.%02d,EUR,shipped,some words that say more,%d\n", i, i%28+1, i*7919%10007, i%900, i%100, i*31))
		size += int64(len(keys[i]) + len(lines[i]))
	}
	return keys, lines, size
}

const rowsPerBatch = 5000

func batchOfRows(b *broker.Batch) {
	keys, lines, _ := rows(rowsPerBatch)
	for i := range lines {
		b.Append(keys[i], lines[i], nil, int64(i))
	}
}

// BenchmarkBatch makes batches: an operation is one of 5000 rows.
func BenchmarkBatch(b *testing.B) {
	keys, lines, size := rows(rowsPerBatch)
	var batch broker.Batch
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		for i := range lines {
			batch.Append(keys[i], lines[i], nil, int64(i))
		}
		if _, err := batch.Seal(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*rowsPerBatch/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkDecode reads batches: an operation is one of 5000 rows.
func BenchmarkDecode(b *testing.B) {
	var batch broker.Batch
	batchOfRows(&batch)
	data := sealed(b, 0, &batch)
	_, _, size := rows(rowsPerBatch)
	var f broker.Fetch
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		f.Begin(data, 0, false)
		n := 0
		var m broker.Message
		for f.Next(&m) {
			n++
		}
		if n != rowsPerBatch || f.Err() != nil {
			b.Fatal(n, f.Err())
		}
	}
	b.ReportMetric(float64(b.N)*rowsPerBatch/b.Elapsed().Seconds(), "rows/s")
}

// Neither allocates by the row, when the memory is there.
func TestAllocations(t *testing.T) {
	keys, lines, _ := rows(1000)
	var batch broker.Batch
	fill := func() []byte {
		batch.Reset()
		for i := range lines {
			batch.Append(keys[i], lines[i], nil, int64(i))
		}
		out, err := batch.Seal()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	data := at(0, bytes.Clone(fill()))
	if n := testing.AllocsPerRun(20, func() { fill() }); n > 5 {
		t.Errorf("a batch of 1000 rows takes %v allocations", n)
	}
	var f broker.Fetch
	read := func() {
		f.Begin(data, 0, false)
		var m broker.Message
		for f.Next(&m) {
		}
		if f.Err() != nil || f.End() != 1000 {
			t.Fatal(f.End(), f.Err())
		}
	}
	read()
	read() // both of its buffers
	if n := testing.AllocsPerRun(20, read); n > 5 {
		t.Errorf("reading 1000 rows takes %v allocations", n)
	}
}
