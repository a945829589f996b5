package producer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/producer"
	"lakefeed/schema/csv"
)

// together are runs that share the topic with others.
func (b *bench) shared(sources ...producer.Source) producer.Config {
	c := b.config(sources...)
	c.Exclusive = false
	return c
}

func TestTwoProducersAtOnce(t *testing.T) {
	b := newBench(t, 2)
	const files = 12
	for i := range files {
		b.write(fmt.Sprintf("in/%02d.csv", i), text("a,b", numbered(i, i+300)))
	}
	var wg sync.WaitGroup
	summaries := make([]producer.Summary, 3)
	for i := range summaries {
		wg.Go(func() {
			c := b.shared(b.source("in")...)
			c.BatchRows = 20
			s, err := b.run(c)
			if err != nil {
				t.Error(err)
			}
			summaries[i] = s
		})
	}
	wg.Wait()
	if n := len(b.streams()); n != files {
		t.Fatalf("%d streams, want %d", n, files)
	}
	twice := 0
	for i := range files {
		name := fmt.Sprintf("%02d.csv", i)
		s := b.one(name)
		s.want(t, producer.Complete, numbered(i, i+300)...)
		twice += s.Twice
		var sent int64
		for _, summary := range summaries {
			o := object(t, summary, name)
			if o.Stream != s.ID || o.Partition != s.Partition || o.Rows != 300 || o.Status != producer.Complete || o.Err != nil {
				t.Errorf("summary %+v", o)
			}
			sent += o.Sent
		}
		if sent != 300 {
			t.Errorf("%s: %d rows were sent by all", name, sent)
		}
	}
	if twice > 0 {
		t.Errorf("%d messages were sent twice", twice)
	}
}

// interrupted leaves a stream that is not at its end, and the progress that a
// producer leaves that is killed.
func (b *bench) interrupted(name string, rows int) *sent {
	b.t.Helper()
	b.write(name, text("a,b", numbered(0, rows)))
	ctx, cancel := context.WithCancel(b.t.Context())
	c := b.config()
	c.BatchRows = rows / 5
	c.Events.Sent = func(producer.SentInfo) { cancel() }
	if _, err := (&producer.Producer{Config: c}).Run(ctx); !errors.Is(err, context.Canceled) {
		b.t.Fatalf("the run ended with %v", err)
	}
	return b.one(name)
}

func TestHeldObject(t *testing.T) {
	b := newBench(t, 1)
	one := b.interrupted("x.csv", 100)
	last := b.progress(one.ID)
	b.crash(one.ID, 1) // the progress while it ran
	if strings.Contains(b.progress(one.ID)[0].Value, "released") || !strings.Contains(last[len(last)-1].Value, `"released":true`) {
		t.Fatalf("progress %v", last)
	}
	c := b.shared()
	var once sync.Once
	waits := make(chan struct{})
	c.Events.Info = func(w producer.Warning) {
		b.note(&b.infos, w)
		once.Do(func() { close(waits) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.send(c)
	}()
	<-waits
	if n := len(b.one("x.csv").Rows); n == 100 {
		t.Error("the object was not waited for")
	}
	b.pass(59 * time.Second)
	time.Sleep(20 * time.Millisecond) // a few looks; none may take it
	if s := b.one("x.csv"); s.Status != "" {
		t.Error("the object was taken after 59 s")
	}
	b.pass(2 * time.Second)
	<-done
	b.one("x.csv").want(t, producer.Complete, numbered(0, 100)...)
	if len(b.infos) != 1 || !strings.Contains(b.infos[0], "another producer") {
		t.Errorf("infos %q", b.infos)
	}
}

// A claim without progress is held, too, and so is the stream of a file that is
// another by now.
func TestHeldClaim(t *testing.T) {
	for _, changed := range []bool{false, true} {
		b := newBench(t, 1)
		one := b.interrupted("x.csv", 100)
		b.crash(one.ID, 0)
		if changed {
			b.write("x.csv", "c,d\n1,2\n")
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := b.shared()
		c.Events.Info = func(producer.Warning) { cancel() }
		if _, err := (&producer.Producer{Config: c}).Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("the run ended with %v", err)
		}
		cancel()
		if n := len(b.messages()); n != len(one.Rows) {
			t.Errorf("%d messages, want %d", n, len(one.Rows))
		}
		b.pass(61 * time.Second)
		b.send(b.shared())
		streams := b.of("x.csv")
		if changed {
			streams[0].want(t, producer.Changed, one.Rows...)
			streams[1].want(t, producer.Complete, "1,2")
		} else {
			streams[0].want(t, producer.Complete, numbered(0, 100)...)
		}
	}
}

func TestReleasedObjectIsTakenAtOnce(t *testing.T) {
	b := newBench(t, 1)
	b.interrupted("x.csv", 100)
	b.send(b.shared())
	s := b.one("x.csv")
	s.want(t, producer.Complete, numbered(0, 100)...)
	if s.Twice != 0 {
		t.Errorf("%d rows twice", s.Twice)
	}
	if len(b.infos) != 0 {
		t.Errorf("infos %q", b.infos)
	}
}

// Of two that follow a file one has it, however long no line comes; when it is
// gone the other goes on.
func TestTwoFollow(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "id\n1\n")
	first := b.follow(func(c *producer.Config) { c.Exclusive = false })
	b.waitRows("x.csv", 0, "1")
	held := make(chan struct{})
	var once sync.Once
	var looks atomic.Int64
	second := b.follow(func(c *producer.Config) {
		c.Exclusive = false
		c.Sources = []producer.Source{looked{c.Sources[0], &looks}}
		c.Events.Info = func(producer.Warning) { once.Do(func() { close(held) }) }
	})
	<-held
	stream := b.one("x.csv").ID
	for range 8 { // longer than it takes to be stale
		n := len(b.progress(stream))
		b.pass(11 * time.Second)
		b.wait("a sign of life", func() bool { return len(b.progress(stream)) > n })
		// The second has seen it when it began to look after it came, and is through.
		seen := looks.Load() + 2
		b.wait("the second's looks", func() bool { return looks.Load() >= seen })
	}
	b.add("x.csv", "2\n")
	b.waitRows("x.csv", 0, "1", "2")
	if s := first.stop(); s.Objects[0].Sent != 2 {
		t.Errorf("summary of the first %+v", s.Objects)
	}
	b.add("x.csv", "3\n")
	b.waitRows("x.csv", 0, "1", "2", "3")
	if s := second.stop(); s.Objects[0].Sent != 1 {
		t.Errorf("summary of the second %+v", s.Objects)
	}
	if s := b.one("x.csv"); s.Twice != 0 {
		t.Errorf("%d rows twice", s.Twice)
	}
	b.wantWarnings()
}

// looked is a source that counts how often it is looked at.
type looked struct {
	producer.Source
	looks *atomic.Int64
}

func (l looked) Objects(ctx context.Context) iter.Seq2[producer.Object, error] {
	l.looks.Add(1)
	return l.Source.Objects(ctx)
}

func TestProgressTopicWithTwoPartitions(t *testing.T) {
	b := newBench(t, 1)
	if _, err := b.client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed.progress", Partitions: 2, Compacted: true}); err != nil {
		t.Fatal(err)
	}
	b.write("x.csv", "id\n1\n")
	_, err := b.run(b.config())
	if err == nil || !strings.Contains(err.Error(), "feed.progress") || !strings.Contains(err.Error(), "must have one") {
		t.Errorf("error %v", err)
	}
	if n := len(b.messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// What a newer lakefeed wrote is not touched.
func TestNewerLakefeed(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{fmt.Sprintf(`"splitter":%d`, csv.Version), fmt.Sprintf(`"splitter":%d`, csv.Version+1), "newer lakefeed"},
		{`"v":1`, `"v":2`, "newer"},
	} {
		for _, grown := range []bool{false, true} {
			b := newBench(t, 1)
			one := b.interrupted("x.csv", 100)
			b.write("other.csv", "id\n1\n")
			if grown {
				b.add("x.csv", "1,2\n")
			}
			// The log with that claim first.
			ledger := b.read("feed.progress", 0)
			n := newBenchOf(t, b.client, "newer", 1)
			n.dir = b.dir
			if _, err := b.client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "newer.progress", Partitions: 1, Compacted: true}); err != nil {
				t.Fatal(err)
			}
			for _, m := range ledger {
				value := strings.ReplaceAll(m.Value, b.topic.LogID, n.topic.LogID)
				if strings.HasPrefix(m.Key, "claim/") && strings.Contains(m.Value, "x.csv") {
					value = strings.Replace(value, c.old, c.new, 1)
				}
				if !strings.Contains(m.Value, "other.csv") {
					n.ledger(m.Key, []byte(value))
				}
			}
			s, err := n.run(n.config())
			if err == nil {
				err = object(t, s, "x.csv").Err
				if o := object(t, s, "other.csv"); o.Err != nil || o.Rows != 1 {
					t.Errorf("summary of the other file %+v", o)
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v", c.new, err)
			}
			for _, s := range n.streams() {
				if s.ID == one.ID {
					t.Errorf("%s: %d rows were sent", c.new, len(s.Rows))
				}
			}
		}
	}
}

// The topic is deleted and made again: all is sent again, under the same claims.
func TestAnotherLog(t *testing.T) {
	b := newBench(t, 2)
	b.write("x.csv", "id\n1\n2\n")
	b.write("y.csv", "id\n1\n")
	b.write("z.csv", "id\n1\n")
	b.send(b.config())
	b.add("x.csv", "3\n")
	b.send(b.config())
	b.add("x.csv", "4\n")
	b.send(b.config())
	before := map[string][]string{}
	for _, s := range b.streams() {
		before[s.ID.String()] = s.Rows
	}
	claims := len(b.claims())
	b.deleteTopic()
	topic, err := b.client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if topic.LogID == b.topic.LogID {
		t.Fatal("the log is the same")
	}
	b.topic = topic
	b.touch("y.csv")
	b.add("z.csv", "2\n")
	for range 2 {
		b.send(b.config())
		after := map[string][]string{}
		for _, s := range b.streams() {
			after[s.ID.String()] = s.Rows
			if s.Status != producer.Complete {
				t.Errorf("stream %s has status %q", s.ID, s.Status)
			}
			if _, ok := before[s.ID.String()]; !ok && strings.Join(s.Rows, " ") != "2" {
				t.Errorf("stream %s of %s is new: %q", s.ID, s.Source, s.Rows)
			}
		}
		for id, rows := range before {
			if got := after[id]; strings.Join(got, " ") != strings.Join(rows, " ") {
				t.Errorf("stream %s has %q in the new log, and had %q", id, got, rows)
			}
		}
	}
	if n := len(b.claims()); n != claims+1 {
		t.Errorf("%d claims, want %d", n, claims+1)
	}
	b.wantWarnings()
}

// A run that is stopped while it sends what a lost log had is gone on with: the
// version that was appended to keeps its rows and its end, wherever it stopped.
func TestLostLogIsSentAgainInSteps(t *testing.T) {
	old, added := numbered(0, 1000), numbered(1000, 1100)
	for _, stopAfter := range []int{1, 2, 10, 11} {
		t.Run(fmt.Sprint(stopAfter), func(t *testing.T) {
			b := newBench(t, 1)
			b.write("x.csv", text("a,b", old))
			b.send(b.config())
			b.deleteTopic()
			topic, err := b.client.EnsureTopic(t.Context(), broker.TopicConfig{Name: "feed", Partitions: 1})
			if err != nil {
				t.Fatal(err)
			}
			b.topic = topic
			b.add("x.csv", text("", added))
			ctx, stop := context.WithCancel(t.Context())
			c := b.config()
			c.BatchRows = 100
			batches := 0
			c.Events.Sent = func(producer.SentInfo) {
				if batches++; batches == stopAfter {
					stop()
				}
			}
			p := &producer.Producer{Config: c}
			if _, err := p.Run(ctx); err != nil && !errors.Is(err, context.Canceled) { // nil when it was done by then
				t.Fatalf("the run was stopped, and gave %v", err)
			}
			b.send(b.config())
			streams := b.of("x.csv")
			if len(streams) != 2 {
				t.Fatalf("%d streams", len(streams))
			}
			streams[0].want(t, producer.Complete, old...)
			streams[1].want(t, producer.Complete, added...)
			if s := b.send(b.config()); !object(t, s, "x.csv").Already {
				t.Errorf("one more run: %+v", s)
			}
		})
	}
}
