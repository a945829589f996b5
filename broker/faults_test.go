package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker"
)

// operations are all that a client does but groups, each on a topic "t" whose
// first message is "first".
var operations = []struct {
	name string
	key  int16
	do   func(ctx context.Context, client *broker.Client) error
}{
	{"produce", keyProduce, func(ctx context.Context, client *broker.Client) error {
		_, err := client.Produce(ctx, "t", 0, values("more"))
		return err
	}},
	{"fetch", keyFetch, func(ctx context.Context, client *broker.Client) error {
		var f broker.Fetch
		if err := client.Fetch(ctx, "t", 0, 0, fetchNow, &f); err != nil {
			return err
		}
		if ms := messages(&f); f.Err() != nil || len(ms) == 0 || string(ms[0].Value) != "first" {
			return fmt.Errorf("it gave %q, %v", texts(ms), f.Err())
		}
		return nil
	}},
	{"offsets", keyOffsets, func(ctx context.Context, client *broker.Client) error {
		from, to, err := client.Offsets(ctx, "t", 0)
		if err == nil && (from != 0 || to < 1) {
			err = fmt.Errorf("it gave offsets %d to %d", from, to)
		}
		return err
	}},
	{"topic", keyMeta, func(ctx context.Context, client *broker.Client) error {
		topic, err := client.Topic(ctx, "t")
		if err == nil && topic.Partitions != 1 {
			err = fmt.Errorf("it gave %+v", topic)
		}
		return err
	}},
}

// Errors of a broker that pass.
func TestTransientErrors(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas} {
			t.Run(op.name+" "+e.Message, func(t *testing.T) {
				t.Parallel()
				c, client := start(t)
				produce(t, client, values("first"))
				fault := kfake.Fault{Keys: []kmsg.Key{kmsg.Key(op.key)}, Topic: "t", Err: e, Count: 2}
				if op.key == keyMeta { // not kafka-go's own
					fault.When = func(req kmsg.Request) bool { return req.GetVersion() == 10 }
				}
				h := c.Fault(fault)
				if err := op.do(soon(t), client); err != nil {
					t.Error(err)
				}
				if h.Hits() != 2 {
					t.Errorf("the broker gave the error %d times, not twice", h.Hits())
				}
			})
		}
	}
}

// Errors that do not.
func TestDenied(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			c, client := start(t)
			produce(t, client, values("first"))
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Key(op.key)}, Topic: "t", Err: kerr.TopicAuthorizationFailed, Count: -1})
			began := time.Now()
			if err := op.do(soon(t), client); !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "t") {
				t.Error(err)
			}
			if d := time.Since(began); d > soonEnough {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// A connection that ends anywhere in a request or its answer.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for _, cut := range []struct {
			name            string
			request, answer int
		}{
			{"in the request", 9, -1},
			{"before the answer", -1, 0},
			{"in the answer's head", -1, 6},
			{"in the answer", -1, 30},
		} {
			t.Run(op.name+" "+cut.name, func(t *testing.T) {
				t.Parallel()
				var w wire
				_, client := start(t, kfake.ListenFn(w.listen))
				produce(t, client, values("first"))
				var cuts atomic.Int32
				from := func(limit int) func(int16, int) int {
					return func(key int16, _ int) int {
						if limit < 0 || key != op.key || cuts.Add(1) > 3 {
							return -1
						}
						return limit
					}
				}
				w.mu.Lock()
				w.cutRequest, w.cutAnswer = from(cut.request), from(cut.answer)
				w.mu.Unlock()
				if err := op.do(soon(t), client); err != nil {
					t.Error(err)
				}
				if cuts.Load() < 1 {
					t.Error("no connection was cut")
				}
			})
		}
	}
}

// batches are the record batches of the Produce requests that a broker got.
func batches(rs []request) (out [][]byte) {
	for _, r := range rs {
		i := bytes.Index(r.body, []byte{0, 0, 0, 0, 0, 0, 0, 0}) // base offset, behind small lengths
		for ; i >= 0 && i+17 <= len(r.body) && r.body[i+16] != 2; i++ {
		}
		out = append(out, r.body[i:])
	}
	return out
}

func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	var w wire
	c, client := start(t, kfake.ListenFn(w.listen))
	w.cutAnswer = func(key int16, n int) int {
		if key == keyProduce && n == 1 {
			return 0
		}
		return -1
	}
	// It is taken, and only the word that it was is lost.
	b := values("a", "b", "c")
	if offset := produce(t, client, b); offset != 3 {
		t.Errorf("the batch is at offset %d, want that of the second copy", offset)
	}
	var f broker.Fetch
	got := fetch(t, client, 0, fetchNow, &f)
	if diff := cmp.Diff([]string{"a", "b", "c", "a", "b", "c"}, texts(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	sent := batches(w.got(keyProduce))
	if len(sent) != 2 || !bytes.Equal(sent[0], sent[1]) {
		t.Errorf("the copies are not the same bytes:\n%x", sent)
	}
	// The same from a broker that says so.
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
	b.Reset()
	b.Append(nil, []byte("d"), nil, 1)
	if offset := produce(t, client, b); offset != 7 {
		t.Errorf("the batch is at offset %d, want that of the second copy", offset)
	}
	if got := texts(fetch(t, client, 6, fetchNow, &f)); len(got) != 2 || got[0] != "d" || got[1] != "d" {
		t.Errorf("the log has %q", got)
	}
}

// A large request that is cut while it is written, and the batch used again while
// the connection may still read it: -race would tell.
func TestBuffersAreNotShared(t *testing.T) {
	t.Parallel()
	var w wire
	_, client := start(t, kfake.ListenFn(w.listen), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "8388608"}))
	client.SetLimits(broker.Limits{Patience: time.Minute, Delivery: time.Minute, Request: 5 * time.Second, Refusals: 8})
	produce(t, client, values("first"))
	w.mu.Lock()
	w.cutRequest = func(key int16, n int) int {
		if key == keyProduce && n%2 == 0 {
			return 1 << 16
		}
		return -1
	}
	w.mu.Unlock()
	stop := make(chan struct{})
	var stopped sync.Once
	defer stopped.Do(func() { close(stop) })
	var b broker.Batch
	var wg sync.WaitGroup
	for round := range 30 {
		b.Reset()
		for i := range 200 {
			b.Append(nil, noise(int64(round*1000+i), 5000), nil, 1)
		}
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			select {
			case <-time.After(time.Duration(round%6) * 300 * time.Microsecond):
			case <-stop:
			}
			if round%3 != 2 {
				cancel()
			}
		})
		_, err := client.Produce(ctx, "t", 0, &b)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wg.Wait()
		cancel()
	}
	// What is in the log is what was produced, whole.
	var f broker.Fetch
	for offset := int64(1); ; offset = f.End() {
		got := fetch(t, client, offset, fetchNow, &f)
		for _, m := range got {
			if len(m.Value) != 5000 || !bytes.Equal(m.Value, noise(noiseSeed(m.Value), 5000)) {
				t.Fatalf("message %d is damaged", m.Offset)
			}
		}
		if len(got) == 0 {
			break
		}
	}

	// The same of answers: a fetch that is given up, and the next into the same
	// Fetch.
	for round := range 30 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(round%6)*300*time.Microsecond)
		err := client.Fetch(ctx, "t", 0, 1, fetchNow, &f)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				t.Fatal(err)
			}
			continue
		}
		for _, m := range drain(t, &f) {
			if !bytes.Equal(m.Value, noise(noiseSeed(m.Value), 5000)) {
				t.Fatalf("message %d is damaged", m.Offset)
			}
		}
	}
}

// Memory that a connection which was given up may be using is not used again.
func TestBuffersAreGivenUp(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	b := numbered(0, 10)
	produce(t, client, b)
	memory := func() *byte {
		t.Helper()
		sealed, err := b.Seal()
		if err != nil {
			t.Fatal(err)
		}
		return &sealed[0]
	}
	before := memory()
	if produce(t, client, b); memory() != before {
		t.Error("the batch does not keep its memory")
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
	if produce(t, client, b); memory() == before {
		t.Error("the batch keeps its memory after a try that failed")
	}

	var f broker.Fetch
	fetch(t, client, 0, fetchNow, &f)
	answer := &f.Response()[:1][0]
	fetch(t, client, 0, fetchNow, &f)
	if &f.Response()[:1][0] != answer {
		t.Error("the fetch does not keep its memory")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := client.Fetch(ctx, "t", 0, 0, fetchNow, &f); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	fetch(t, client, 0, fetchNow, &f)
	if &f.Response()[:1][0] == answer {
		t.Error("the fetch keeps its memory after one that was given up")
	}
}

// noise is n bytes that do not compress, the first 8 the seed.
func noise(seed int64, n int) []byte {
	out := make([]byte, 0, n+8)
	x := uint64(seed)
	for len(out) < n {
		for i := range 8 {
			out = append(out, byte(x>>(8*i)))
		}
		x = x*6364136223846793005 + 1442695040888963407
	}
	return out[:n]
}

func noiseSeed(b []byte) (seed int64) {
	for i := range 8 {
		seed |= int64(b[i]) << (8 * i)
	}
	return seed
}

// A broker that says nothing for ever.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			var w wire
			_, client := start(t, kfake.ListenFn(w.listen))
			produce(t, client, values("first"))
			release := make(chan struct{})
			t.Cleanup(func() { close(release) })
			var silent atomic.Bool
			w.mu.Lock()
			w.cutAnswer = func(key int16, _ int) int {
				if key == op.key && silent.Load() {
					<-release
				}
				return -1
			}
			w.mu.Unlock()
			silent.Store(true)

			t.Run("cancel", func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				done, before := make(chan error, 1), len(w.got(op.key))
				go func() { done <- op.do(ctx, client) }()
				waitFor(t, func() bool { return len(w.got(op.key)) > before })
				began, open := time.Now(), w.connections()
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				// The connection is not kept for an answer that nobody waits for.
				if op.key != keyMeta { // which kafka-go's own requests wait for, too
					waitFor(t, func() bool { return w.connections() < open })
				}
				if d := time.Since(began); d > soonEnough {
					t.Errorf("it returned after %v", d)
				}
			})
			t.Run("time out", func(t *testing.T) {
				client.SetLimits(broker.Limits{Patience: 100 * time.Millisecond, Delivery: 100 * time.Millisecond, Request: 300 * time.Millisecond, Refusals: 8})
				began := time.Now()
				err := op.do(soon(t), client)
				var delivery *broker.DeliveryError
				if !errors.Is(err, broker.ErrUnreachable) && !errors.As(err, &delivery) {
					t.Error(err)
				}
				if d := time.Since(began); d > soonEnough {
					t.Errorf("it returned after %v", d)
				}
			})
			t.Run("again", func(t *testing.T) {
				client.SetLimits(broker.Limits{Patience: 90 * time.Second, Delivery: 90 * time.Second, Request: 3 * time.Second, Refusals: 8})
				time.AfterFunc(500*time.Millisecond, func() { silent.Store(false) })
				if err := op.do(soon(t), client); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// waitFor polls until something holds.
func waitFor(t testing.TB, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what the test waits for does not come")
		}
	}
}

// freePort is an address that nothing listens on. Connections of a port that ended a
// moment ago keep it from being given to whoever asks for any.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	here.Close() // the one that ends first is the one that is remembered
	return l.Addr().String()
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			addr := freePort(t)
			client := dial(t, broker.Settings{Brokers: []string{addr}})
			began := time.Now()
			err := op.do(context.Background(), client)
			if !errors.Is(err, broker.ErrUnreachable) || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "refused") {
				t.Error(err)
			}
			if d := time.Since(began); d < time.Second || d > soonEnough {
				t.Errorf("it took %v", d)
			}
		})
	}
	t.Run("ctx", func(t *testing.T) {
		t.Parallel()
		client := dial(t, broker.Settings{Brokers: []string{freePort(t)}})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := client.Topic(ctx, "t"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(began); d > soonEnough {
			t.Errorf("it returned after %v", d)
		}
	})
	t.Run("one of two", func(t *testing.T) {
		t.Parallel()
		c, _ := start(t)
		client := dial(t, broker.Settings{Brokers: append([]string{freePort(t)}, c.ListenAddrs()...)})
		if _, err := client.Topic(soon(t), "t"); err != nil {
			t.Error(err)
		}
	})
}

// What listens may be no Kafka.
func TestNotKafka(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // which accepts connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client := dial(t, broker.Settings{Brokers: []string{l.Addr().String()}})
	client.SetLimits(broker.Limits{Patience: 3 * time.Second, Delivery: time.Minute, Request: 6 * time.Second, Ack: time.Second, Refusals: 8})
	_, err = client.Topic(soon(t), "t")
	if !errors.Is(err, broker.ErrUnreachable) || !strings.Contains(err.Error(), "security.protocol") {
		t.Error(err)
	}
}

// A broker that opens its port a while after the client began is waited for.
func TestLateBroker(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	client := dial(t, broker.Settings{Brokers: []string{addr}})
	client.SetLimits(broker.Limits{Patience: 90 * time.Second, Delivery: 90 * time.Second, Request: 5 * time.Second, Refusals: 1000})
	done := make(chan error, 1)
	go func() {
		_, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: "t", Partitions: 1})
		done <- err
	}()
	time.Sleep(time.Second) // which decides nothing
	_, port, _ := net.SplitHostPort(addr)
	var n int
	fmt.Sscan(port, &n)
	cluster(t, kfake.Ports(n))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// One that answered before and is gone for longer than a stranger would be waited
// for: it restarts, or its topic partitions get another leader.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			var w wire
			_, client := start(t, kfake.ListenFn(w.listen))
			produce(t, client, values("first"))
			client.SetLimits(broker.Limits{Patience: 90 * time.Second, Delivery: 90 * time.Second, Request: 5 * time.Second, Refusals: 2})
			w.cut(true)
			time.AfterFunc(time.Second, func() { w.cut(false) })
			if err := op.do(soon(t), client); err != nil {
				t.Error(err)
			}
		})
	}
}

// The leader of a topic partition changes while it is read and written.
func TestLeaderMoves(t *testing.T) {
	t.Parallel()
	c, client := start(t, kfake.NumBrokers(3))
	var f broker.Fetch
	for i := range 4 {
		if err := c.MoveTopicPartition("t", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		if got := produce(t, client, numbered(i, 1)); got != int64(i) {
			t.Errorf("message %d is at offset %d", i, got)
		}
		if got := fetch(t, client, 0, fetchNow, &f); len(got) != i+1 {
			t.Errorf("%d messages after %d", len(got), i+1)
		}
	}
}

func TestDeliveryError(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	client.SetLimits(broker.Limits{Patience: time.Second, Delivery: 300 * time.Millisecond, Request: 5 * time.Second, Refusals: 8})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	_, err := client.Produce(soon(t), "t", 0, values("a"))
	var got *broker.DeliveryError
	if !errors.As(err, &got) || !errors.Is(err, kafka.NotEnoughReplicas) {
		t.Fatal(err)
	}
	if got.Topic != "t" || got.Partition != 0 || got.After != 300*time.Millisecond || !strings.Contains(err.Error(), "t/0") {
		t.Errorf("%+v", got)
	}
}

// An error that no time heals is one at once, with the broker's reason.
func TestFatalCode(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord})
	if _, err := client.Produce(soon(t), "t", 0, values("a")); err == nil || !strings.Contains(err.Error(), "produce 1 messages to t/0: ") {
		t.Error(err)
	}
}

// Answers that no broker gives.
func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for name, answer := range map[string][]byte{
			"empty":             {0, 0, 0, 4, 0, 0, 0, 7},
			"other request":     {0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0},
			"absurd length":     {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 7},
			"negative length":   {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7},
			"lists without end": append([]byte{0, 0, 0, 64, 0, 0, 0, 7}, bytes.Repeat([]byte{0x7f}, 60)...),
			"all ones":          append([]byte{0, 0, 0, 64, 0, 0, 0, 7}, bytes.Repeat([]byte{0xff}, 60)...),
		} {
			t.Run(op.name+" "+name, func(t *testing.T) {
				t.Parallel()
				var w wire
				_, client := start(t, kfake.ListenFn(w.listen))
				produce(t, client, values("first"))
				var on atomic.Bool
				w.mu.Lock()
				w.forge = func(key int16, req []byte) []byte {
					if version := req[3]; !on.Load() || key != op.key || key == keyMeta && version != 10 {
						return nil
					}
					return answer
				}
				w.mu.Unlock()
				on.Store(true)
				began := time.Now()
				if err := op.do(soon(t), client); err == nil {
					t.Error("no error")
				}
				if d := time.Since(began); d > soonEnough {
					t.Errorf("it took %v", d)
				}
			})
		}
	}
}

// The client's id goes with each request, for the brokers' logs and quotas.
func TestClientID(t *testing.T) {
	t.Parallel()
	var w wire
	_, client := start(t, kfake.ListenFn(w.listen))
	produce(t, client, values("first"))
	for _, op := range operations {
		if err := op.do(soon(t), client); err != nil {
			t.Fatal(err)
		}
		for _, r := range w.got(op.key) {
			if !bytes.HasPrefix(r.body[8:], []byte("\x00\x06tester")) {
				t.Errorf("%s has the head %q", op.name, r.body[:20])
			}
		}
	}
}
