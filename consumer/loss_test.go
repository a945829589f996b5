package consumer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/schema/wire"
	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// deleteTopic deletes the topic, and makes it again.
func (b *bench) deleteTopic() {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	client := &kafka.Client{Addr: kafka.TCP(b.kafka.Addrs()...), Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	if _, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{b.topic.Name}}); err != nil {
		b.t.Fatal(err)
	}
	old := b.topic.LogID
	b.makeTopic(b.topic.Partitions)
	if b.topic.LogID == old {
		b.t.Fatal("the topic was not made again")
	}
}

// deleteRecords removes the messages before an offset, as retention does.
func (b *bench) deleteRecords(partition int, before int64) {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.kafka.Addrs()[0])
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	be := binary.BigEndian
	m := make([]byte, 4)
	m = be.AppendUint32(m, 21<<16) // DeleteRecords, version 0
	m = be.AppendUint32(m, 1)
	m = be.AppendUint16(m, 0xffff) // no client id
	m = be.AppendUint32(m, 1)
	m = be.AppendUint16(m, uint16(len(b.topic.Name)))
	m = append(m, b.topic.Name...)
	m = be.AppendUint32(m, 1)
	m = be.AppendUint32(m, uint32(partition))
	m = be.AppendUint64(m, uint64(before))
	m = be.AppendUint32(m, 10_000)
	be.PutUint32(m, uint32(len(m)-4))
	if _, err := conn.Write(m); err != nil {
		b.t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		b.t.Fatal(err)
	}
	answer := make([]byte, be.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		b.t.Fatal(err)
	}
	if start, _, err := b.client.Offsets(b.t.Context(), b.topic.Name, partition); err != nil || start != before {
		b.t.Fatalf("the topic partition begins at %d, %v", start, err)
	}
}

// snapshot keeps the Kafka's log as it is, and gives what puts it back: as when a
// replica that lacks messages becomes leader.
func (b *bench) snapshot() (restore func()) {
	b.t.Helper()
	b.stop()
	kept := b.t.TempDir()
	if err := os.CopyFS(kept+"/log", os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	b.start()
	return func() {
		b.stop()
		b.dir = kept + "/log"
		b.start()
	}
}

// told is a list of events, as text.
type told struct {
	mu     sync.Mutex
	events []string
}

func (b *bench) listen() *told {
	l := &told{}
	say := func(format string, args ...any) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, fmt.Sprintf(format, args...))
	}
	b.events = consumer.Events{
		Reset:   func(p int, from, to string) { say("reset %d: %v", p, from != to) },
		Rewound: func(p int, from, to int64) { say("rewound %d: %d to %d", p, from, to) },
		Gap: func(g consumer.Gap) {
			say("gap %d: %d to %d, %d files, %d rows", g.Partition, g.From, g.To, len(g.Files), g.Rows)
		},
		Repaired: func(p int, seq int64, files []string) { say("repaired %d: record %d, %d files", p, seq, len(files)) },
	}
	return l
}

func (l *told) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, l.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	l.events = nil
}

func TestTopicMadeAgainIsAdopted(t *testing.T) {
	b := newBench(t, 2)
	x, y := stream("x.csv", "n"), stream("y.csv", "n")
	b.send(x, 0, "1", "2")
	b.end(x, 0)
	b.send(y, 1, "10", "11")
	b.mustDrain()
	b.deleteTopic()
	x, y = stream("x.csv", "n"), stream("y.csv", "n")
	b.send(y, 0, "10", "11", "12") // comes back in the other topic partition
	b.end(y, 0)
	b.send(x, 1, "1", "2")
	b.end(x, 1)

	var other *sink.LogError
	if err := b.drain(); !errors.As(err, &other) || other.Case != sink.LogOther || !strings.Contains(err.Error(), "lakefeed adopt-topic") {
		t.Fatalf("without leave to adopt it: %v", err)
	}
	b.adopt = true
	events := b.listen()
	b.mustDrain()
	b.want("feed", "n=1", "n=10", "n=11", "n=12", "n=2")
	if len(events.events) == 0 || !slices.Contains([]string{"reset 0: true", "reset 1: true"}, events.events[0]) {
		t.Errorf("events %q", events.events)
	}
	b.mustDrain()
	for p, want := range []int64{4, 3} {
		if state, err := b.table().Chain(p).Open(t.Context()); err != nil || state.To != want || state.Log != b.topic.LogID {
			t.Errorf("topic partition %d: %+v, %v", p, state, err)
		}
	}
}

// The topic is made again while the consumer runs, and has as many messages: no
// fetch fails. The rows that were read of one and those of the other must not be
// in one batch.
func TestTopicMadeAgainWhileItIsRead(t *testing.T) {
	b := newBench(t, 1)
	b.adopt = true
	x := stream("x.csv", "n")
	b.send(x, 0, "1", "2")
	b.mustDrain()
	b.send(x, 0, "3", "4")
	done := false
	store := &hooked{Store: b.store}
	store.list = func(prefix string) {
		// The batch is read, and its schema looked up: now another topic is in its place.
		if done || !strings.Contains(prefix, "/schema/") {
			return
		}
		done = true
		b.deleteTopic()
		y := stream("y.csv", "n")
		b.send(y, 0, "100", "101", "102", "103")
	}
	old := b.topic.LogID
	b.lakeStore = store
	b.mustDrain()
	b.want("feed", "n=1", "n=100", "n=101", "n=102", "n=103", "n=2")
	var have []string
	for r, err := range b.table().ReadChain(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, fmt.Sprintf("%s of the old log: %v, %d to %d", r.Kind, r.Log == old, r.From, r.To))
	}
	want := []string{"rows of the old log: true, 0 to 2", "reset of the old log: false, 2 to 0", "rows of the old log: false, 0 to 4"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// hooked is a store that calls back at some calls, before them unless it says else.
type hooked struct {
	sink.Store
	publish func(sink.Staged)
	list    func(prefix string)
	got     func(key string) // after the call
}

func (h *hooked) Get(ctx context.Context, key string) ([]byte, error) {
	body, err := h.Store.Get(ctx, key)
	if h.got != nil {
		h.got(key)
	}
	return body, err
}

func (h *hooked) Publish(ctx context.Context, s sink.Staged) error {
	if h.publish != nil {
		h.publish(s)
	}
	return h.Store.Publish(ctx, s)
}

func (h *hooked) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	if h.list != nil {
		h.list(prefix)
	}
	return h.Store.List(ctx, prefix, after)
}

func TestRetentionIsAGap(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "n")
	b.send(x, 0, "1", "2")
	b.mustDrain()
	b.send(x, 0, "3")
	b.send(x, 0, "4")
	b.send(x, 0, "5")
	b.deleteRecords(0, 4)
	var gone *sink.LogError
	if err := b.drain(); !errors.As(err, &gone) || gone.Case != sink.LogRetention || !strings.Contains(err.Error(), "--on-data-loss=record") {
		t.Fatalf("%v, want a LogError", err)
	}
	b.want("feed", "n=1", "n=2")
	b.loss = consumer.Record
	events := b.listen()
	b.mustDrain()
	b.want("feed", "n=1", "n=2", "n=5")
	events.want(t, "gap 0: 2 to 4, 0 files, 0 rows")
}

func TestLogThatWasCut(t *testing.T) {
	for _, test := range []struct {
		name   string
		after  []string // rows sent to the log that was cut
		reason sink.LogCase
		want   []string
	}{
		{"it is shorter", nil, sink.LogShort, []string{"n=1", "n=2", "n=3", "n=4"}},
		{"it has other messages", []string{"5", "6", "7"}, sink.LogDiffers, []string{"n=1", "n=2", "n=3", "n=4", "n=5", "n=6", "n=7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, 1)
			x := stream("x.csv", "n")
			b.send(x, 0, "1")
			b.mustDrain()
			b.send(x, 0, "2")
			restore := b.snapshot()
			b.send(x, 0, "3", "4")
			b.mustDrain()
			restore()
			y := stream("y.csv", "n")
			if test.after != nil {
				b.send(y, 0, test.after...)
			}
			var cut *sink.LogError
			if err := b.drain(); !errors.As(err, &cut) || cut.Case != test.reason || !strings.Contains(err.Error(), "--on-data-loss=record") {
				t.Fatalf("%v, want a LogError", err)
			}
			b.loss = consumer.Record
			events := b.listen()
			b.mustDrain()
			events.want(t, "rewound 0: 4 to 1")
			x.next = 1 // the producer sends again what was not acknowledged
			b.send(x, 0, "2", "3", "4")
			b.mustDrain()
			b.want("feed", test.want...)
		})
	}
}

// All that a file holds can be made again from the topic: types that were decided
// by the batch itself, rescued cells, table partitions, quarantine with its lines,
// and what is left out because it was sent twice.
func TestLostFilesAreMadeAgain(t *testing.T) {
	for _, test := range []struct {
		folder string // of the files that are lost
		batch  int64  // whose
		again  bool   // so are the first ones that are made in their place
	}{
		{"country=de", 0, false}, {"country=fr", 0, true}, {"__quarantine", 0, false}, {"", 0, true},
		{"country=de", 1, true}, {"country=fr", 1, false}, {"country=__HIVE", 1, false}, {"__quarantine", 1, true}, {"", 1, false},
	} {
		t.Run(fmt.Sprintf("%q of batch %d", test.folder, test.batch), func(t *testing.T) {
			b := newBench(t, 1)
			b.shape = sink.Shape{PartitionBy: []string{"country"}, Meta: true}
			intact := *b
			intact.store = mem.New()
			lost := map[int64]bool{}
			b.lakeStore = &hooked{Store: b.store, publish: func(s sink.Staged) {
				name, ok := sink.ParseFileKey(s.Key)
				if !ok || !strings.Contains(s.Key, test.folder) || name.Seq != test.batch && !(test.again && name.Seq == test.batch+1 && lost[test.batch]) {
					return
				}
				lost[name.Seq] = true
				if err := b.store.Discard(context.WithoutCancel(t.Context()), s); err != nil {
					t.Error(err)
				}
			}}
			events := b.listen()
			both := func() {
				t.Helper()
				b.mustDrain()
				intact.mustDrain()
			}

			x := stream("x.csv", "country,n,late")
			b.send(x, 0, "de,1,", "fr,2,", `"fr`, "de,3,", "de", "fr,x,")
			var batch broker.Batch
			batch.Append(wire.AppendKey(nil, x.stream, x.next), []byte("\xff"), []broker.Header{{Key: wire.Reject, Value: []byte("encoding")}}, 77)
			batch.Append([]byte("foreign"), []byte("whatever"), nil, 78)
			x.next++
			b.produce(0, &batch)
			b.send(x, 0, "de,4,", "fr,5,")
			both()
			x.next = 8
			b.send(x, 0, "fr,5,", "fr,NA,1.5", "de,7,2020", `de,"",`, `"",9,x`, "it")
			b.end(x, 0)
			both()

			for _, folder := range []string{"feed", "feed__quarantine"} {
				if diff := cmp.Diff(intact.lake(folder), b.lake(folder)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", folder, diff)
				}
			}
			want := 1
			if test.again {
				want = 2
			}
			if len(lost) != want || len(events.events) != 1 || !strings.HasPrefix(events.events[0], fmt.Sprintf("repaired 0: record %d,", test.batch+int64(want)-1)) {
				t.Errorf("files of records %v were lost; events %q", lost, events.events)
			}
			b.mustDrain()
		})
	}
}

// Files whose offsets are gone cannot be made again. They are given up when the
// loss is to be recorded, and only then.
func TestLostFilesWhoseOffsetsAreGone(t *testing.T) {
	for _, how := range []string{"retention", "another topic"} {
		t.Run(how, func(t *testing.T) {
			b := newBench(t, 2)
			b.adopt = true
			x := stream("x.csv", "n")
			b.send(x, 1, "1", "2")
			b.send(x, 1, "3")
			b.lakeStore = &hooked{Store: b.store, publish: func(s sink.Staged) {
				ctx := context.WithoutCancel(t.Context())
				if err := b.store.Discard(ctx, s); err != nil {
					t.Error(err)
				}
				if how == "retention" {
					b.deleteRecords(1, 2)
				} else {
					b.deleteTopic()
				}
			}}
			if err := b.drain(); err == nil {
				t.Fatal("a batch whose file is lost was committed")
			}
			b.lakeStore = nil
			for range 2 {
				err := b.drain()
				var lost *sink.LostError
				if !errors.As(err, &lost) || lost.Reason == nil || !strings.Contains(err.Error(), "--on-data-loss=record") {
					t.Fatalf("%v, want a LostError with its reason", err)
				}
			}
			b.send(stream("y.csv", "n"), 1, "4")
			b.loss = consumer.Record
			events := b.listen()
			b.mustDrain()
			b.want("feed", "n=4")
			gaps := slices.DeleteFunc(events.events, func(e string) bool { return !strings.HasPrefix(e, "gap") })
			if diff := cmp.Diff([]string{"gap 1: 0 to 3, 1 files, 3 rows"}, gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
		})
	}
}

// Rows that come out otherwise than they were halt the topic partition, also where
// a loss is to be recorded: the messages are there, nothing is lost.
func TestRepairThatDiffersHalts(t *testing.T) {
	b := newBench(t, 1)
	b.loss = consumer.Record
	b.send(stream("x.csv", "n"), 0, "1", "2")
	const record = "_lakefeed/feed/g1/commits/feed/00000000000000000000/00000000000000000000.json"
	b.lakeStore = &hooked{Store: b.store, publish: func(s sink.Staged) {
		ctx := context.WithoutCancel(t.Context())
		body, err := b.store.Get(ctx, record)
		if err != nil {
			t.Error(err)
		}
		r, err := sink.DecodeRecord(body)
		if err != nil {
			t.Error(err)
			return
		}
		r.Files[0].RowHash = strings.Repeat("0", 32)
		if body, err = sink.EncodeRecord(r); err != nil {
			t.Error(err)
		}
		if err := errors.Join(b.store.Put(ctx, record, body), b.store.Discard(ctx, s)); err != nil {
			t.Error(err)
		}
	}}
	var lost *sink.LostError
	if err := b.drain(); !errors.As(err, &lost) || lost.Reason == nil || !strings.Contains(err.Error(), "have changed") {
		t.Fatalf("%v, want a LostError with its reason", err)
	}
	b.want("feed")
}
