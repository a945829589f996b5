package s3source_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// bench is a Kafka in this process with a topic for the rows.
type bench struct {
	t      *testing.T
	client *broker.Client
	topic  broker.Topic
}

func newBench(t *testing.T, partitions int) *bench {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := broker.New(broker.Settings{Brokers: server.Addrs(), ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	topic, err := c.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed", Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, c, topic}
}

func (b *bench) config(sources []producer.Source) producer.Config {
	return producer.Config{Client: b.client, Topic: b.topic, Sources: sources, Exclusive: true, Poll: 2 * time.Millisecond, BatchRows: 100}
}

func (b *bench) run(sources ...producer.Source) (producer.Summary, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	return (&producer.Producer{Config: b.config(sources)}).Run(ctx)
}

// send wants no error of any object.
func (b *bench) send(sources ...producer.Source) producer.Summary {
	b.t.Helper()
	s, err := b.run(sources...)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, o := range s.Objects {
		if o.Err != nil {
			b.t.Fatalf("%s: %v", o.URI, o.Err)
		}
	}
	return s
}

// interrupt stops a run when so many rows of one object were acknowledged.
func (b *bench) interrupt(source producer.Source, rows int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	c := b.config([]producer.Source{source})
	c.Events.Sent = func(s producer.SentInfo) {
		if rows -= s.Rows; rows <= 0 {
			cancel()
		}
	}
	if s, err := (&producer.Producer{Config: c}).Run(ctx); err == nil {
		b.t.Fatalf("it was not interrupted: %+v", s)
	}
}

// follow runs a producer until it is stopped.
func (b *bench) follow(source producer.Source) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	c := b.config([]producer.Source{source})
	c.Follow = true
	go func() {
		_, err := (&producer.Producer{Config: c}).Run(ctx)
		done <- err
	}()
	return func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited too long for %s", what)
		}
	}
}

// file is a source on this machine.
func (b *bench) file(name, content string) producer.Source {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		b.t.Fatal(err)
	}
	s, err := producer.Local(path, producer.LocalOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// stream is what the topic has of one, each row once.
type stream struct {
	source string
	rows   []string
	status string
}

// read gives the streams of the topic in the order in which they began, for each
// topic partition.
func (b *bench) read() (out []*stream) {
	b.t.Helper()
	for p := range b.topic.Partitions {
		next, end, err := b.client.Offsets(b.t.Context(), b.topic.Name, p)
		if err != nil {
			b.t.Fatal(err)
		}
		byID := map[schema.StreamID]*stream{}
		var f broker.Fetch
		for next < end {
			if err := b.client.Fetch(b.t.Context(), b.topic.Name, p, next, broker.FetchOptions{MaxBytes: 16 << 20, MinBytes: 1, MaxWait: 50 * time.Millisecond}, &f); err != nil {
				b.t.Fatal(err)
			}
			var m broker.Message
			for f.Next(&m) {
				id, row, ok := wire.ParseKey(m.Key)
				if !ok {
					b.t.Fatalf("key %q", m.Key)
				}
				s := byID[id]
				if s == nil {
					s = &stream{}
					byID[id], out = s, append(out, s)
				}
				s.take(b.t, row, &m)
			}
			if err := f.Err(); err != nil {
				b.t.Fatal(err)
			}
			next = max(next, f.End())
		}
	}
	return out
}

func (s *stream) take(t *testing.T, row int64, m *broker.Message) {
	t.Helper()
	for _, h := range m.Headers {
		switch h.Key {
		case wire.Source:
			s.source = string(h.Value)
		case wire.Status:
			s.status = string(h.Value)
		}
	}
	switch {
	case m.Value == nil:
		if row != int64(len(s.rows)) {
			t.Errorf("%s: the end says %d rows and there are %d", s.source, row, len(s.rows))
		}
	case row == int64(len(s.rows)) && s.status == "":
		s.rows = append(s.rows, string(m.Value))
	case row > int64(len(s.rows)) || s.rows[row] != string(m.Value):
		t.Errorf("%s: row %d comes behind %d rows, status %q, or is another than before", s.source, row, len(s.rows), s.status)
	}
}

// streams are those of one object.
func (b *bench) streams(uri string) (out []*stream) {
	b.t.Helper()
	for _, s := range b.read() {
		if s.source == uri || strings.HasSuffix(s.source, "/"+uri) {
			out = append(out, s)
		}
	}
	return out
}

// wantStatus compares the statuses of an object's streams, in their order where
// they are in one topic partition.
func (b *bench) wantStatus(uri string, want ...string) {
	b.t.Helper()
	all := b.streams(uri)
	for i := range all {
		if len(want) != len(all) || all[i].status != want[i] {
			b.t.Fatalf("%s has %d streams, the first: %d rows, %s; want %q", uri, len(all), len(all[0].rows), all[0].status, want)
		}
	}
	if len(all) != len(want) {
		b.t.Fatalf("%s has no streams, want %q", uri, want)
	}
}

// wantRows wants one whole stream of text's rows.
func (b *bench) wantRows(uri string, n int) {
	b.t.Helper()
	b.wantStatus(uri, producer.Complete)
	if rows := b.streams(uri)[0].rows; len(rows) != n {
		b.t.Errorf("%s: %d rows, want %d", uri, len(rows), n)
	}
}

// ends is how many streams have their end.
func (b *bench) ends() (n int) {
	b.t.Helper()
	for _, s := range b.read() {
		if s.status != "" {
			n++
		}
	}
	return n
}

// progressEnd is the end of the progress topic.
func (b *bench) progressEnd() int64 {
	b.t.Helper()
	_, end, err := b.client.Offsets(b.t.Context(), b.topic.Name+".progress", 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return end
}
