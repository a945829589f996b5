package broker_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"lakefeed/broker"
)

var codecs = []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}

// Batches that kafka-go has made, by its two ways, which frame snappy differently.
func TestOtherProducers(t *testing.T) {
	t.Parallel()
	for _, codec := range codecs {
		for _, headers := range []bool{false, true} {
			t.Run(fmt.Sprint(codec, " headers=", headers), func(t *testing.T) {
				t.Parallel()
				c, client := start(t)
				var want []broker.Message
				var sent []kafka.Message
				var records []kafka.Record
				for i := range 500 {
					m := broker.Message{Timestamp: 1_700_000_000_000 + int64(i%7), Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat([]byte("value "), i%20+1), Headers: []broker.Header{}}
					switch i % 50 {
					case 1:
						m.Key = nil
					case 2:
						m.Value = nil
					case 3:
						m.Key, m.Value = []byte{}, []byte{}
					}
					k := kafka.Message{Key: m.Key, Value: m.Value, Time: time.UnixMilli(m.Timestamp)}
					r := kafka.Record{Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Time: k.Time}
					if headers {
						m.Headers = []broker.Header{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "n", Value: []byte("again")}}
						k.Headers = []kafka.Header{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "n", Value: []byte("again")}}
						r.Headers = k.Headers
					}
					want, sent, records = append(want, m), append(sent, k), append(records, r)
				}
				a := admin(t, c.ListenAddrs())
				w := &kafka.Writer{Addr: a.Addr, Topic: "t", Transport: a.Transport, Compression: kafka.Compression(codec), RequiredAcks: kafka.RequireAll, BatchSize: len(sent), BatchTimeout: time.Millisecond}
				if err := w.WriteMessages(soon(t), sent...); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				resp, err := a.Produce(soon(t), &kafka.ProduceRequest{Topic: "t", RequiredAcks: kafka.RequireAll, Compression: kafka.Compression(codec), Records: kafka.NewRecordReader(records...)})
				if err != nil || resp.Error != nil || resp.BaseOffset != 500 {
					t.Fatal(resp, err)
				}
				want = append(want, want...)
				for i := range want {
					want[i].Offset, want[i].FirstOfBatch = int64(i), i%500 == 0
				}
				var f broker.Fetch
				got := fetch(t, client, 0, fetchNow, &f)
				for i := range got {
					if got[i].Headers == nil {
						got[i].Headers = []broker.Header{}
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-sent +got:\n%.3000s", diff)
				}
			})
		}
	}
}

// And kafka-go reads ours.
func TestOtherConsumer(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	var b broker.Batch
	b.Append([]byte("k"), []byte("v"), []broker.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}, 1_700_000_000_123)
	b.Append(nil, nil, nil, 1_700_000_000_122)
	b.Append([]byte{}, []byte{}, nil, 1_700_000_000_125)
	produce(t, client, &b)
	resp, err := admin(t, c.ListenAddrs()).Fetch(soon(t), &kafka.FetchRequest{Topic: "t", MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	if err != nil || resp.Error != nil {
		t.Fatal(resp, err)
	}
	type message struct {
		Offset, Millis int64
		Key, Value     []byte
		Headers        []kafka.Header
	}
	var got []message
	for {
		r, err := resp.Records.ReadRecord()
		if err != nil {
			break
		}
		m := message{Offset: r.Offset, Millis: r.Time.UnixMilli(), Headers: r.Headers}
		if m.Key, err = kafka.ReadAll(r.Key); err != nil {
			t.Fatal(err)
		}
		if m.Value, err = kafka.ReadAll(r.Value); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	want := []message{
		{0, 1_700_000_000_123, []byte("k"), []byte("v"), []kafka.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}},
		{1, 1_700_000_000_122, nil, nil, nil},
		{2, 1_700_000_000_125, []byte{}, []byte{}, nil},
	}
	for i := range got { // which reads an empty header list, and an empty value of one, as it likes
		if len(got[i].Headers) == 0 {
			got[i].Headers = nil
		}
		for k := range got[i].Headers {
			if len(got[i].Headers[k].Value) == 0 {
				got[i].Headers[k].Value = nil
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-sent +got:\n%s", diff)
	}
}
