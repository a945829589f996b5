package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/zeebo/xxh3"
	"go.uber.org/goleak"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Kafka in this process, and a folder of files.
type bench struct {
	t      *testing.T
	client kafkaOf
	topic  broker.Topic
	dir    string

	mu       sync.Mutex
	clock    time.Time
	warnings []string
	infos    []string
	rejected []producer.Rejected
}

func newBench(t *testing.T, partitions int) *bench {
	t.Helper()
	return newBenchOf(t, startKafka(t), "feed", partitions)
}

// kafkaOf is a client of a Kafka in this process.
type kafkaOf struct {
	*broker.Client
	addrs []string
}

func startKafka(t *testing.T) kafkaOf {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	client, err := broker.New(broker.Settings{Brokers: server.Addrs(), ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return kafkaOf{client, server.Addrs()}
}

// newBenchOf is a bench with a topic of its own on a Kafka that others use.
func newBenchOf(t *testing.T, client kafkaOf, name string, partitions int) *bench {
	t.Helper()
	topic, err := client.EnsureTopic(t.Context(), broker.TopicConfig{Name: name, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, client: client, topic: topic, dir: t.TempDir(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// deleteTopic deletes a topic and waits until it is gone.
func (b *bench) deleteTopic() {
	b.t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(b.client.addrs...), Transport: transport}
	if _, err := client.DeleteTopics(b.t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{b.topic.Name}}); err != nil {
		b.t.Fatal(err)
	}
	b.wait("the topic's end", func() bool {
		_, err := b.client.Topic(b.t.Context(), b.topic.Name)
		return errors.Is(err, broker.ErrNoTopic)
	})
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

// path is a file's name in the bench's folder.
func (b *bench) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

// write makes a file anew, with a time of its own.
func (b *bench) write(name, content string) string {
	b.t.Helper()
	file := b.path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.touch(name)
	return file
}

// replace makes a file anew in one step.
func (b *bench) replace(name, content string) {
	b.t.Helper()
	b.write(".new", content)
	if err := os.Rename(b.path(".new"), b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) add(name, content string) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.touch(name)
}

// touch gives a file a modification time that it never had.
func (b *bench) touch(name string) {
	b.t.Helper()
	b.mu.Lock()
	b.clock = b.clock.Add(time.Millisecond)
	at := b.clock
	b.mu.Unlock()
	if err := os.Chtimes(b.path(name), at, at); err != nil {
		b.t.Fatal(err)
	}
}

// source is the bench's folder, or files in it.
func (b *bench) source(names ...string) []producer.Source {
	b.t.Helper()
	if len(names) == 0 {
		names = []string{""}
	}
	var out []producer.Source
	for _, name := range names {
		s, err := producer.Local(b.path(name), producer.LocalOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// config is a run over the sources as the only producer of the topic.
func (b *bench) config(sources ...producer.Source) producer.Config {
	if len(sources) == 0 {
		sources = b.source()
	}
	return producer.Config{
		Client: b.client.Client, Topic: b.topic, Sources: sources, Exclusive: true, Now: b.now, Poll: 2 * time.Millisecond,
		Events: producer.Events{
			Warning:  func(w producer.Warning) { b.note(&b.warnings, w) },
			Info:     func(w producer.Warning) { b.note(&b.infos, w) },
			Rejected: func(r producer.Rejected) { b.mu.Lock(); defer b.mu.Unlock(); b.rejected = append(b.rejected, r) },
		},
	}
}

func (b *bench) note(to *[]string, w producer.Warning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*to = append(*to, w.Message)
}

// warned gives the warnings since it was called last.
func (b *bench) warned() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.warnings
	b.warnings = nil
	return w
}

func (b *bench) wantWarnings(parts ...string) {
	b.t.Helper()
	got := b.warned()
	ok := len(got) == len(parts)
	for i := 0; ok && i < len(got); i++ {
		ok = strings.Contains(got[i], parts[i])
	}
	if !ok {
		b.t.Errorf("warnings %q, want %q", got, parts)
	}
}

func (b *bench) run(c producer.Config) (producer.Summary, error) {
	p := &producer.Producer{Config: c}
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	return p.Run(ctx)
}

// send runs a producer to its end, and wants no error of any object.
func (b *bench) send(c producer.Config) producer.Summary {
	b.t.Helper()
	s, err := b.run(c)
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

// message is one message of the topic.
type message struct {
	Partition int
	Offset    int64
	Key       string
	Value     string
	Null      bool // the value is null
	First     bool // of its record batch
	At        time.Time
	Headers   map[string]string
	Stream    schema.StreamID
	Row       int64
}

// messages reads a whole topic.
func (b *bench) messages() []message {
	b.t.Helper()
	var out []message
	for p := range b.topic.Partitions {
		out = append(out, b.read(b.topic.Name, p)...)
	}
	return out
}

func (b *bench) read(topic string, partition int) (out []message) {
	b.t.Helper()
	next, end, err := b.client.Offsets(b.t.Context(), topic, partition)
	if err != nil {
		b.t.Fatal(err)
	}
	var f broker.Fetch
	for next < end {
		if err := b.client.Fetch(b.t.Context(), topic, partition, next, broker.FetchOptions{MaxBytes: 16 << 20, MinBytes: 1, MaxWait: 50 * time.Millisecond}, &f); err != nil {
			b.t.Fatal(err)
		}
		var m broker.Message
		for f.Next(&m) {
			g := message{Partition: partition, Offset: m.Offset, Key: string(m.Key), Value: string(m.Value), Null: m.Value == nil, First: m.FirstOfBatch, At: time.UnixMilli(m.Timestamp).UTC()}
			if len(m.Headers) > 0 {
				g.Headers = map[string]string{}
			}
			for _, h := range m.Headers {
				if _, twice := g.Headers[h.Key]; twice {
					b.t.Errorf("message %s has header %s twice", m.Key, h.Key)
				}
				g.Headers[h.Key] = string(h.Value)
			}
			g.Stream, g.Row, _ = wire.ParseKey(m.Key)
			out = append(out, g)
		}
		if err := f.Err(); err != nil {
			b.t.Fatal(err)
		}
		next = max(next, f.End())
	}
	return out
}

// sent is what the topic has of one stream, once the messages that were sent
// twice are left out.
type sent struct {
	ID        schema.StreamID
	Partition int
	Source    string
	Columns   string
	Rows      []string
	Rejects   []int64 // row numbers
	Status    string  // of its end, "" while there is none
	Twice     int     // messages that came again
	Messages  []message

	began time.Time
}

// streams parts the topic by stream, in the order of their first messages, and
// checks what holds of every topic: a key always has one value, rows come in
// order, positions go on as a reader counts them, an end has the count and the
// hash of the rows, and no batch has two streams.
func (b *bench) streams() []*sent {
	b.t.Helper()
	var order []*sent
	byID := map[schema.StreamID]*sent{}
	values := map[string]message{}
	var batch schema.StreamID
	for _, m := range b.messages() {
		if m.Stream == (schema.StreamID{}) || m.Key != fmt.Sprintf("%s:%d", m.Stream, m.Row) {
			b.t.Fatalf("key %q is not <stream>:<row>", m.Key)
		}
		s := byID[m.Stream]
		if s == nil {
			s = &sent{ID: m.Stream, Partition: m.Partition, began: m.At}
			byID[m.Stream] = s
			order = append(order, s)
		}
		if m.Partition != s.Partition {
			b.t.Fatalf("stream %s is in topic partitions %d and %d", m.Stream, s.Partition, m.Partition)
		}
		switch {
		case m.First:
			batch = m.Stream
			want := []string{wire.At, wire.Source}
			if m.Null {
				want = want[1:]
			}
			for _, h := range want {
				if m.Headers[h] == "" {
					b.t.Errorf("message %s is the first of its batch and has no %s", m.Key, h)
				}
			}
		case batch != m.Stream:
			b.t.Fatalf("the batch of stream %s has message %s", batch, m.Key)
		}
		if c, ok := m.Headers[wire.Columns]; ok {
			s.Columns = c
		}
		if u, ok := m.Headers[wire.Source]; ok {
			if s.Source != "" && s.Source != u {
				b.t.Errorf("stream %s is of %s and %s", m.Stream, s.Source, u)
			}
			s.Source = u
		}
		id := m.Key
		if m.Null {
			id += " end"
		}
		if before, again := values[id]; again {
			s.Twice++
			if before.Value != m.Value || before.Headers[wire.Reject] != m.Headers[wire.Reject] || before.Headers[wire.Count] != m.Headers[wire.Count] || before.Headers[wire.Status] != m.Headers[wire.Status] || before.Headers[wire.Hash] != m.Headers[wire.Hash] {
				b.t.Fatalf("key %s was sent as %q and as %q", m.Key, before.Value, m.Value)
			}
			continue
		}
		values[id] = m
		if m.Null {
			b.checkEnd(s, m)
			continue
		}
		if s.Status != "" {
			b.t.Fatalf("row %s comes behind the end of its stream", m.Key)
		}
		if m.Row != int64(len(s.Rows)) {
			b.t.Fatalf("row %s comes behind row %d", m.Key, len(s.Rows)-1)
		}
		if m.Headers[wire.Reject] != "" {
			s.Rejects = append(s.Rejects, m.Row)
		}
		s.Rows = append(s.Rows, m.Value)
		s.Messages = append(s.Messages, m)
	}
	slices.SortStableFunc(order, func(x, y *sent) int { return x.began.Compare(y.began) })
	return order
}

// checkEnd computes an end's hash by hand.
func (b *bench) checkEnd(s *sent, m message) {
	b.t.Helper()
	if s.Status != "" {
		b.t.Fatalf("stream %s has two ends, %s and %v", s.ID, s.Status, m.Headers)
	}
	s.Status = m.Headers[wire.Status]
	if count := strconv.Itoa(len(s.Rows)); m.Headers[wire.Count] != count || m.Key != s.ID.String()+":"+count {
		b.t.Errorf("the end of stream %s: key %s, count %s, and it has %s rows", s.ID, m.Key, m.Headers[wire.Count], count)
	}
	sum := new(big.Int)
	for i, row := range s.Rows {
		h := xxh3.Hash128(fmt.Appendf(nil, "%s:%d\x00%s", s.ID, i, row)).Bytes()
		sum.Add(sum, new(big.Int).SetBytes(h[:]))
	}
	sum.And(sum, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	if want := fmt.Sprintf("%032x", sum); m.Headers[wire.Hash] != want {
		b.t.Errorf("the end of stream %s: hash %s, want %s", s.ID, m.Headers[wire.Hash], want)
	}
}

// rows are the rows of all streams of a file, by stream.
func (b *bench) rows(name string) (out [][]string) {
	b.t.Helper()
	for _, s := range b.of(name) {
		out = append(out, s.Rows)
	}
	return out
}

func (b *bench) of(name string) (out []*sent) {
	b.t.Helper()
	for _, s := range b.streams() {
		if strings.HasSuffix(s.Source, "/"+name) || s.Source == name {
			out = append(out, s)
		}
	}
	return out
}

// one is the only stream of a file.
func (b *bench) one(name string) *sent {
	b.t.Helper()
	all := b.of(name)
	if len(all) != 1 {
		b.t.Fatalf("%s has %d streams, want one", name, len(all))
	}
	return all[0]
}

// want compares a stream's rows and status. Rows are separated by |.
func (s *sent) want(t *testing.T, status string, rows ...string) {
	t.Helper()
	if len(rows)+len(s.Rows) > 100 {
		i := 0
		for i < min(len(rows), len(s.Rows)) && rows[i] == s.Rows[i] {
			i++
		}
		if i < max(len(rows), len(s.Rows)) {
			t.Errorf("stream %s of %s: %d rows, want %d; the first that differs is %d", s.ID, s.Source, len(s.Rows), len(rows), i)
		}
	} else if diff := cmp.Diff(rows, s.Rows); diff != "" {
		t.Errorf("stream %s of %s (-want +got):\n%s", s.ID, s.Source, diff)
	}
	if s.Status != status {
		t.Errorf("stream %s of %s has status %q, want %q", s.ID, s.Source, s.Status, status)
	}
}

// positions are where a reader finds each message: by its header, or by counting
// on from the message before.
func (s *sent) positions(t *testing.T) (out []string) {
	t.Helper()
	var line int64
	for _, m := range s.Messages {
		if at := m.Headers[wire.At]; at != "" {
			var err error
			if _, line, err = wire.ParseAt([]byte(at)); err != nil {
				t.Fatal(err)
			}
			out = append(out, at)
		} else {
			out = append(out, fmt.Sprintf("?:%d", line))
		}
		line += 1 + int64(breaks(m.Value))
	}
	return out
}

// breaks counts line ends of all three kinds.
func breaks(s string) int {
	return strings.Count(s, "\n") + strings.Count(s, "\r") - strings.Count(s, "\r\n")
}

// marked takes the marks § out of a text, which stand where a row begins. It
// gives the text and each mark's "offset:line".
func marked(text string) (string, []string) {
	parts := strings.Split(text, "§")
	var at []string
	clean := parts[0]
	for _, part := range parts[1:] {
		at = append(at, fmt.Sprintf("%d:%d", len(clean), 1+breaks(clean)))
		clean += part
	}
	return clean, at
}

// wantPositions compares what a reader finds with the true positions.
func (s *sent) wantPositions(t *testing.T, want []string) {
	t.Helper()
	got := s.positions(t)
	if len(got) != len(want) {
		t.Errorf("%d messages, want %d", len(got), len(want))
		return
	}
	for i, g := range got {
		if rest, byLine := strings.CutPrefix(g, "?"); byLine && strings.HasSuffix(want[i], rest) {
			continue
		}
		if g != want[i] {
			t.Errorf("row %d is found at %s, and it is at %s", i, g, want[i])
		}
	}
}

// numbered are n lines of two cells.
func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%d,v%d", i, i))
	}
	return out
}

func text(header string, rows []string) string {
	var b bytes.Buffer
	if header != "" {
		b.WriteString(header + "\n")
	}
	for _, r := range rows {
		b.WriteString(r + "\n")
	}
	return b.String()
}

// object is the summary of a file; the last where it has several versions.
func object(t *testing.T, s producer.Summary, name string) producer.ObjectSummary {
	t.Helper()
	i := len(s.Objects) - 1
	for ; i >= 0; i-- {
		if strings.HasSuffix(s.Objects[i].URI, "/"+name) || s.Objects[i].URI == name {
			return s.Objects[i]
		}
	}
	t.Fatalf("no object %s in the summary %+v", name, s)
	return producer.ObjectSummary{}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
