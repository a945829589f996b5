package producer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/producer"
	"lakefeed/schema"
)

// prefix is a source of n objects of a store that gives them tags.
type prefix struct {
	n      int
	listed func()
}

const prefixBody = "id,name,amount\n1,a,2.50\n2,b,3.75\n"

func (p *prefix) uri(i int) string { return fmt.Sprintf("s3://raw/feeds/year=2026/object-%07d.csv", i) }
func (p *prefix) tag(i int) string { return fmt.Sprintf("%032x", i+1) }

func (p *prefix) Objects(context.Context) iter.Seq2[producer.Object, error] {
	return func(yield func(producer.Object, error) bool) {
		for i := range p.n {
			o := producer.Object{URI: p.uri(i), Size: int64(len(prefixBody)), Tag: p.tag(i), ModTime: time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)}
			o.Open = func(_ context.Context, offset int64) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(prefixBody[offset:])), nil
			}
			o.Stat = func(context.Context) (producer.Object, error) {
				o.Version = fmt.Sprintf("%s+%d", o.Tag, o.Size)
				return o, nil
			}
			if !yield(o, nil) {
				return
			}
		}
		p.listed()
	}
}

// What is kept in memory of each object that a followed source has, and that is
// done, is bounded: of 100,000 less than 100 MB, that they are listed included.
func TestMemoryOfManyObjects(t *testing.T) {
	const (
		each = 1000    // bytes
		rest = 4 << 20 // of what does not grow with the objects
	)
	objects := 100_000
	if testing.Short() {
		objects = 10_000
	}
	server, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := broker.New(broker.Settings{Brokers: server.Addrs(), ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic, err := client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	config := func(source producer.Source) producer.Config {
		return producer.Config{Client: client, Topic: topic, Sources: []producer.Source{source}, Exclusive: true, Poll: 10 * time.Millisecond}
	}
	// One is sent as objects are; what was noted of it is written of all.
	if _, err := (&producer.Producer{Config: config(&prefix{n: 1, listed: func() {}})}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	copyNotes(t, client, objects)

	before := heap()
	source := &prefix{n: objects}
	p := &producer.Producer{Config: config(source)}
	p.Follow = true
	p.Events.Sent = func(s producer.SentInfo) { t.Errorf("it is sent again: %+v", s) }
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	passes := 0
	source.listed = func() {
		// The first pass looks at all; the second finds that nothing is new.
		if passes++; passes == 3 {
			if used := (heap() - before - rest) / int64(objects); used > each {
				t.Errorf("%d bytes an object, want %d at most", used, each)
			} else {
				t.Logf("%d bytes an object", used)
			}
			stop()
		}
	}
	summary, err := p.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, o := range summary.Objects {
		if o.Already && o.Status == producer.Complete && o.Rows == 2 {
			done++
		}
	}
	if passes < 3 || done != objects {
		t.Errorf("%d passes; %d of %d objects were known to be done, the first: %+v", passes, done, objects, summary.Objects[0])
	}
}

// copyNotes writes the claim and the progress of the one object that the topic
// knows as those of others.
func copyNotes(t *testing.T, client *broker.Client, n int) {
	t.Helper()
	const topic = "feed.progress"
	names := &prefix{}
	version := func(i int) string { return fmt.Sprintf("%s+%d", names.tag(i), len(prefixBody)) }
	var claim, progress []byte
	next, end, err := client.Offsets(t.Context(), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	var f broker.Fetch
	for next < end {
		if err := client.Fetch(t.Context(), topic, 0, next, broker.FetchOptions{MaxBytes: 4 << 20, MinBytes: 1, MaxWait: time.Second}, &f); err != nil {
			t.Fatal(err)
		}
		var m broker.Message
		for f.Next(&m) {
			if bytes.HasPrefix(m.Key, []byte("claim/")) {
				claim = bytes.Clone(m.Value)
			} else {
				progress = bytes.Clone(m.Value)
			}
		}
		next = max(next, f.End())
	}
	if !json.Valid(claim) || !json.Valid(progress) {
		t.Fatalf("claim %q, progress %q", claim, progress)
	}
	stream := func(i int, from int64) string { return schema.NewStreamID(names.uri(i), version(i), from).String() }
	var batch broker.Batch
	for i := 1; i < n; i++ {
		other := strings.NewReplacer(names.uri(0), names.uri(i), names.tag(0), names.tag(i), stream(0, 0), stream(i, 0))
		batch.Append([]byte("claim/"+stream(i, -1)+"/x"), []byte(other.Replace(string(claim))), nil, time.Now().UnixMilli())
		batch.Append([]byte("progress/"+stream(i, 0)), []byte(other.Replace(string(progress))), nil, time.Now().UnixMilli())
		if batch.Bytes() > 500_000 || i == n-1 {
			if _, err := client.Produce(t.Context(), topic, 0, &batch); err != nil {
				t.Fatal(err)
			}
			batch.Reset()
		}
	}
}

// heap is what is in use once all garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
