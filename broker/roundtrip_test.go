package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"lakefeed/broker"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	sent := []broker.Message{
		{Timestamp: 1_700_000_000_123, Key: []byte("k"), Value: []byte("v")},
		{Timestamp: 1_700_000_000_123},
		{Timestamp: 1_600_000_000_000, Key: []byte{}, Value: []byte{}},
		{Timestamp: 1_800_000_000_000, Key: []byte("only")},
		{Timestamp: 0, Value: []byte("only")},
		{Timestamp: -1, Value: []byte{0, 0xff, '\n'}},
		{Timestamp: 1, Headers: []broker.Header{{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte("noname")}}},
		{Timestamp: 1, Value: bytes.Repeat([]byte("long "), 5000), Headers: []broker.Header{{Key: "h", Value: bytes.Repeat([]byte("x"), 300)}}},
		{Timestamp: 2, Key: []byte("after headers"), Value: []byte("none")},
	}
	var b broker.Batch
	for _, m := range sent {
		b.Append(m.Key, m.Value, m.Headers, m.Timestamp)
	}
	if b.Len() != len(sent) {
		t.Errorf("the batch has %d messages, want %d", b.Len(), len(sent))
	}
	var f broker.Fetch
	for round := range 2 {
		base := int64(round * len(sent))
		if got := produce(t, client, &b); got != base {
			t.Fatalf("the batch is at offset %d, want %d", got, base)
		}
		want := make([]broker.Message, len(sent))
		for i, m := range sent {
			m.Offset, m.FirstOfBatch = base+int64(i), i == 0
			want[i] = m
		}
		got := fetch(t, client, base, fetchNow, &f)
		for i := range got {
			got[i].Epoch = 0
			if len(got[i].Headers) == 0 {
				got[i].Headers = nil
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d, -sent +got:\n%s", round, diff)
		}
		if f.End() != base+int64(len(sent)) || f.HighWatermark != f.End() || f.LogStart != 0 || len(f.Skipped()) != 0 {
			t.Errorf("end %d, high watermark %d, log start %d, skipped %v", f.End(), f.HighWatermark, f.LogStart, f.Skipped())
		}
	}
}

// A batch that was reset has nothing of what was in it.
func TestBatchReset(t *testing.T) {
	t.Parallel()
	used := numbered(0, 100)
	if _, err := used.Seal(); err != nil {
		t.Fatal(err)
	}
	used.Reset()
	if used.Len() != 0 || used.Bytes() != 0 {
		t.Errorf("%d messages, %d bytes after Reset", used.Len(), used.Bytes())
	}
	fresh := new(broker.Batch)
	var got, want []byte
	for _, b := range []struct {
		batch *broker.Batch
		bytes *[]byte
	}{{used, &got}, {fresh, &want}} {
		b.batch.Append([]byte("k"), []byte("v"), []broker.Header{{Key: "h"}}, -5)
		b.batch.Append(nil, nil, nil, -7)
		sealed, err := b.batch.Seal()
		if err != nil {
			t.Fatal(err)
		}
		*b.bytes = bytes.Clone(sealed)
	}
	if latest := int64(binary.BigEndian.Uint64(want[atMaxTime:])); latest != -5 {
		t.Errorf("the batch's largest timestamp is %d", latest)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("a batch that was reset is\n%x, a new one\n%x", got, want)
	}
}

func TestLargeBatches(t *testing.T) {
	t.Parallel()
	_, client := start(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "8388608"}))
	random := make([]byte, 4<<20) // not to be compressed
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var large broker.Batch
	large.Append(nil, random, nil, 1)
	produce(t, client, numbered(0, 10_000))
	if got := produce(t, client, &large); got != 10_000 {
		t.Fatalf("the second batch is at offset %d", got)
	}
	var f broker.Fetch
	got := fetch(t, client, 0, fetchNow, &f)
	if len(got) != 10_001 || f.End() != 10_001 {
		t.Fatalf("%d messages up to %d", len(got), f.End())
	}
	for i, m := range got[:10_000] {
		if m.Offset != int64(i) || string(m.Value) != fmt.Sprint(i) || m.FirstOfBatch != (i == 0) {
			t.Fatalf("message %d is %d %q, first %v", i, m.Offset, m.Value, m.FirstOfBatch)
		}
	}
	if m := got[10_000]; !bytes.Equal(m.Value, random) || !m.FirstOfBatch {
		t.Errorf("the large message came back as %d bytes, first %v", len(m.Value), m.FirstOfBatch)
	}
	// MaxBytes is less than the batch: the first one comes whole.
	small := fetchNow
	small.MaxBytes = 1000
	if got := fetch(t, client, 10_000, small, &f); len(got) != 1 || !bytes.Equal(got[0].Value, random) {
		t.Errorf("a batch over MaxBytes: %d messages", len(got))
	}
	if got := fetch(t, client, 0, small, &f); len(got) != 10_000 {
		t.Errorf("two batches, one over MaxBytes: %d messages", len(got))
	}
}

func TestFetchFromMiddle(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	produce(t, client, numbered(0, 5))
	produce(t, client, numbered(5, 5))
	for _, test := range []struct {
		offset  int64
		whole   bool
		from    int64 // first message
		firsts  int   // messages that begin a batch
		nothing bool
	}{
		{offset: 0, from: 0, firsts: 2},
		{offset: 3, from: 3, firsts: 1},
		{offset: 3, whole: true, from: 0, firsts: 2},
		{offset: 4, from: 4, firsts: 1},
		{offset: 5, from: 5, firsts: 1},
		{offset: 5, whole: true, from: 5, firsts: 1},
		{offset: 9, from: 9},
		{offset: 9, whole: true, from: 5, firsts: 1},
		{offset: 10, nothing: true},
		{offset: 10, whole: true, nothing: true},
	} {
		t.Run(fmt.Sprintf("%d,%v", test.offset, test.whole), func(t *testing.T) {
			o := fetchNow
			o.WholeBatches = test.whole
			var f broker.Fetch
			got := fetch(t, client, test.offset, o, &f)
			if f.End() != 10 {
				t.Errorf("end %d", f.End())
			}
			if test.nothing {
				if len(got) != 0 {
					t.Errorf("%d messages at the end of the log", len(got))
				}
				return
			}
			if len(got) != int(10-test.from) {
				t.Fatalf("%d messages, want %d", len(got), 10-test.from)
			}
			firsts := 0
			for i, m := range got {
				if m.Offset != test.from+int64(i) || string(m.Value) != fmt.Sprint(m.Offset) {
					t.Errorf("message %d is %d %q", i, m.Offset, m.Value)
				}
				if m.FirstOfBatch {
					firsts++
				}
			}
			if firsts != test.firsts {
				t.Errorf("%d messages begin a batch, want %d", firsts, test.firsts)
			}
		})
	}
}

func TestEmptyLog(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	var f broker.Fetch
	if got := fetch(t, client, 0, fetchNow, &f); len(got) != 0 || f.End() != 0 || f.HighWatermark != 0 || f.LogStart != 0 {
		t.Errorf("%d messages up to %d, high watermark %d, log start %d", len(got), f.End(), f.HighWatermark, f.LogStart)
	}
	if from, to, err := client.Offsets(soon(t), "t", 0); from != 0 || to != 0 || err != nil {
		t.Errorf("offsets %d to %d, %v", from, to, err)
	}
}

// End is behind the last message that Next gave, in the middle of a batch too.
func TestEndFollowsNext(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	produce(t, client, numbered(0, 3))
	produce(t, client, numbered(3, 3))
	var f broker.Fetch
	if err := client.Fetch(soon(t), "t", 0, 1, fetchNow, &f); err != nil {
		t.Fatal(err)
	}
	var m broker.Message
	for want := int64(1); ; want++ {
		if f.End() != want {
			t.Errorf("end %d before message %d", f.End(), want)
		}
		if !f.Next(&m) {
			break
		}
		if m.Offset != want {
			t.Fatalf("message %d, want %d", m.Offset, want)
		}
	}
	if err := f.Err(); err != nil || f.End() != 6 {
		t.Errorf("end %d, %v", f.End(), err)
	}
}

// Key and Value hold until the batch after their own has been left.
func TestMessageAliases(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	const n = 50
	for i := range 4 {
		produce(t, client, numbered(i*n, n))
	}
	var f broker.Fetch
	for range 3 { // with memory that was used before
		if err := client.Fetch(soon(t), "t", 0, 0, fetchNow, &f); err != nil {
			t.Fatal(err)
		}
		var kept []broker.Message // of this batch and the one before
		var m broker.Message
		for f.Next(&m) {
			if m.FirstOfBatch && len(kept) > n {
				kept = kept[n:]
			}
			kept = append(kept, m)
			for _, k := range kept {
				if string(k.Value) != fmt.Sprint(k.Offset) {
					t.Fatalf("at message %d message %d became %q", m.Offset, k.Offset, k.Value)
				}
			}
		}
		if err := f.Err(); err != nil || m.Offset != 4*n-1 {
			t.Fatalf("last message %d, %v", m.Offset, err)
		}
		// The last two batches hold after the end, until the next fetch.
		for _, k := range kept {
			if string(k.Value) != fmt.Sprint(k.Offset) {
				t.Fatalf("at the end message %d became %q", k.Offset, k.Value)
			}
		}
	}
}

func TestProduceRefuses(t *testing.T) {
	t.Parallel()
	_, client := start(t)
	if _, err := client.Produce(soon(t), "t", 0, new(broker.Batch)); err == nil {
		t.Error("an empty batch was produced")
	}
	// 80 MiB that become a few kilobytes: a broker would take it, and no reader.
	var b broker.Batch
	b.Append(nil, make([]byte, broker.MaxBatch+1), nil, 1)
	if _, err := client.Produce(soon(t), "t", 0, &b); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("a batch that Fetch would refuse: %v", err)
	}
	if _, end, err := client.Offsets(soon(t), "t", 0); end != 0 || err != nil {
		t.Errorf("the log ends at %d, %v", end, err)
	}
}
