package sink_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
)

func exampleRecord() *sink.Record {
	count, of := int64(7), int64(4)
	f := sink.File{
		Table: sink.Main, Key: "t/y=1/part-x", Size: 9, ETag: "e", Rows: 3, RowHash: "00", CellHash: "01",
		Staged:    sink.Staged{Key: "t/y=1/part-x", Upload: "u", Parts: []sink.Part{{Number: 1, ETag: "p"}}, Size: 9, At: time.Unix(5, 0).UTC()},
		Partition: []sink.PartitionValue{{Column: "y", Value: "1"}, {Column: "z", Null: true}}, Min: map[string]string{"a": "1"}, Max: map[string]string{"a": "2"},
	}
	return &sink.Record{
		V: 1, Kind: sink.KindRows, Seq: 5, Log: "log", From: 10, To: 20, Prev: "before", Attempt: "attempt", Schema: 2, Config: "hash", At: time.Unix(6, 7).UTC(),
		Files:    []sink.File{f},
		Streams:  []sink.StreamState{{ID: streamID(1), Next: 9, Holes: []sink.Range{{0, 1}, {3, 5}}}, {ID: streamID(2), Next: 7, Count: &count, Status: "complete", Hash: "h"}},
		Skipped:  []sink.Skip{{From: 10, To: 12, Reason: sink.SkipDuplicate}, {From: 12, To: 13, Reason: sink.SkipControl}},
		Counts:   sink.Counts{Rows: 3, Ends: 1, Skipped: 3, Quarantined: 3, Rescued: 1},
		FP:       &sink.Fingerprint{Offset: 19, Key: "\xff\x00key", Timestamp: 1, CRC32C: 2, Epoch: 3},
		Of:       &of,
		Replaces: map[string]sink.File{"t/lost": f},
	}
}

func TestRecordKeepsEveryField(t *testing.T) {
	want := exampleRecord()
	b, err := sink.EncodeRecord(want)
	if err != nil {
		t.Fatal(err)
	}
	have, err := sink.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	var keys []string
	for f := range have.Added() {
		keys = append(keys, f.Key)
	}
	if !slices.Equal(keys, []string{"t/y=1/part-x", "t/y=1/part-x"}) {
		t.Errorf("Added gives %q", keys)
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	for name, change := range map[string]func(r *sink.Record){
		"no attempt":          func(r *sink.Record) { r.Attempt = "" },
		"no prev":             func(r *sink.Record) { r.Prev = "" },
		"negative seq":        func(r *sink.Record) { r.Seq = -1 },
		"first with prev":     func(r *sink.Record) { r.Seq = 0 },
		"to before from":      func(r *sink.Record) { r.To = 9; r.Skipped = nil },
		"rewind forward":      func(r *sink.Record) { r.Kind = sink.KindRewind },
		"repair that moves":   func(r *sink.Record) { r.Kind = sink.KindRepair },
		"close that moves":    func(r *sink.Record) { r.Kind = sink.KindClose },
		"repair of nothing":   func(r *sink.Record) { r.Kind, r.To, r.Skipped, r.Of = sink.KindRepair, 10, nil, nil },
		"unknown kind":        func(r *sink.Record) { r.Kind = "x" },
		"unknown table":       func(r *sink.Record) { r.Files[0].Table = "x" },
		"staged elsewhere":    func(r *sink.Record) { r.Files[0].Staged.Key = "x" },
		"another size":        func(r *sink.Record) { r.Files[0].Size = 1 },
		"negative rows":       func(r *sink.Record) { r.Files[0].Rows = -1 },
		"skip outside":        func(r *sink.Record) { r.Skipped[1].To = 21 },
		"skip before":         func(r *sink.Record) { r.Skipped[0].From = 9 },
		"skip out of order":   func(r *sink.Record) { r.Skipped[1].From = 11 },
		"empty skip":          func(r *sink.Record) { r.Skipped[1].To = 12 },
		"hole beyond next":    func(r *sink.Record) { r.Streams[0].Holes[1][1] = 9 },
		"holes adjacent":      func(r *sink.Record) { r.Streams[0].Holes[1][0] = 1 },
		"empty hole":          func(r *sink.Record) { r.Streams[0].Holes[1][1] = 3 },
		"no stream id":        func(r *sink.Record) { r.Streams[0].ID = schema.StreamID{} },
		"negative count":      func(r *sink.Record) { *r.Streams[1].Count = -1 },
		"negative next":       func(r *sink.Record) { r.Streams[1].Next = -1 },
		"no format":           func(r *sink.Record) { r.V = 0 },
		"a format to come":    func(r *sink.Record) { r.V = 2 },
		"a negative from":     func(r *sink.Record) { r.From = -1 },
		"a repair of no file": func(r *sink.Record) { r.Kind, r.To, r.Skipped, r.Replaces = sink.KindRepair, 10, nil, nil },
	} {
		r := exampleRecord()
		change(r)
		b, err := sink.EncodeRecord(r)
		if err != nil {
			continue // a stream id that is none
		}
		if _, err := sink.DecodeRecord(b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	var format *sink.FormatError
	if _, err := sink.DecodeRecord([]byte(`{"v":7,"seq":"of a form to come"}`)); !errors.As(err, &format) || format.Have != 7 {
		t.Errorf("a newer format: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	b, err := sink.EncodeRecord(exampleRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, kind := range []string{"rows", "repair", "gap", "reset", "rewind", "close", "open", "redirect"} {
		f.Add(fmt.Appendf(nil, `{"v":1,"kind":%q,"seq":1,"log":"l","from":3,"to":2,"prev":"a","attempt":"b","of":0,"m":2,"next":2,"folder":"f","epoch":1,"lost":["k"],"fp":{"offset":1,"key64":"/w=="}}`, kind))
	}
	f.Add([]byte(`{"v":1,"kind":"rows","seq":0,"attempt":"b","streams":[{"id":"0123456789abcdef","next":9223372036854775807,"holes":[[0,9223372036854775806]],"count":0}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := sink.DecodeRecord(b)
		if err != nil {
			return
		}
		first, err := sink.EncodeRecord(r)
		if err != nil {
			t.Fatalf("a decoded record does not encode: %v", err)
		}
		again, err := sink.DecodeRecord(first)
		if err != nil {
			t.Fatalf("an encoded record does not decode: %v\n%s", err, first)
		}
		second, err := sink.EncodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("encodes as\n%s\nand then as\n%s", first, second)
		}
	})
}

// segmentOf gives the body of a segment of n streams, as a chain stores it.
func segmentOf(t testing.TB, n int) []byte {
	s := mem.New()
	table, err := sink.OpenTable(t.Context(), tableConfig(s))
	if err != nil {
		t.Fatal(err)
	}
	c := table.Chain(0)
	if _, err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := c.Begin()
	for i := range n {
		if _, err := d.End(streamID(i), 0, "complete", ""); err != nil {
			t.Fatal(err)
		}
	}
	d.Skip(int64(n), int64(n)+1, sink.SkipControl)
	if _, err := c.Commit(t.Context(), d, sink.Commit{To: int64(n) + 1, Log: testLog}); err != nil {
		t.Fatal(err)
	}
	if err := c.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for o := range s.List(t.Context(), "_lakefeed/t/g1/streams/", "") {
		b, err := s.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return nil
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	for _, n := range []int{1, 2, 50} {
		b := segmentOf(f, n)
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := sink.DecodeSegment(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x\ncomes back as\n%x", b, again)
		}
	})
}

// Every change of one bit is noticed.
func TestSegmentChecksum(t *testing.T) {
	b := segmentOf(t, 20)
	if _, err := sink.DecodeSegment(b); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		c := slices.Clone(b)
		c[r.IntN(len(c))] ^= 1 << r.IntN(8)
		if _, err := sink.DecodeSegment(c); err == nil {
			t.Fatalf("a changed segment was decoded: %x", c)
		}
	}
}
