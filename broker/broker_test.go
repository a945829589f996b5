package broker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"lakefeed/broker"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" { // then it is how many processes fuzz
		flag.Set("test.parallel", "24") // they wait more than they work
	}
	goleak.VerifyTestMain(m)
}

// cluster starts brokers for a test, one unless the options say else.
func cluster(t testing.TB, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("test")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// connect makes a client of a cluster.
func connect(t testing.TB, c *kfake.Cluster, properties map[string]string) *broker.Client {
	t.Helper()
	return dial(t, broker.Settings{Brokers: c.ListenAddrs(), ClientID: "tester", Properties: properties})
}

func dial(t testing.TB, s broker.Settings) *broker.Client {
	t.Helper()
	client, err := broker.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// start gives a client of a cluster with one topic, "t" of one partition.
func start(t testing.TB, options ...kfake.Opt) (*kfake.Cluster, *broker.Client) {
	t.Helper()
	c := cluster(t, options...)
	client := connect(t, c, nil)
	makeTopic(t, client, "t", 1)
	return c, client
}

func makeTopic(t testing.TB, client *broker.Client, name string, partitions int) broker.Topic {
	t.Helper()
	topic, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: name, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// soon is a context that ends a test which hangs.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// values makes a batch of messages with these values and the timestamp 1.
func values(vs ...string) *broker.Batch {
	var b broker.Batch
	for _, v := range vs {
		b.Append(nil, []byte(v), nil, 1)
	}
	return &b
}

// numbered makes a batch of n messages with the values from..from+n-1.
func numbered(from, n int) *broker.Batch {
	var b broker.Batch
	for i := range n {
		b.Append(nil, fmt.Appendf(nil, "%d", from+i), nil, 1)
	}
	return &b
}

func produce(t testing.TB, client *broker.Client, b *broker.Batch) int64 {
	t.Helper()
	offset, err := client.Produce(soon(t), "t", 0, b)
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

// fetchNow asks for what is there.
var fetchNow = broker.FetchOptions{MaxBytes: 16 << 20, MinBytes: 1, MaxWait: 20 * time.Millisecond}

// fetch fetches once from topic t.
func fetch(t testing.TB, client *broker.Client, offset int64, o broker.FetchOptions, f *broker.Fetch) []broker.Message {
	t.Helper()
	if err := client.Fetch(soon(t), "t", 0, offset, o, f); err != nil {
		t.Fatal(err)
	}
	return drain(t, f)
}

// drain gives copies of all messages of a fetch.
func drain(t testing.TB, f *broker.Fetch) []broker.Message {
	t.Helper()
	out := messages(f)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// messages gives copies of the messages of a fetch up to its error.
func messages(f *broker.Fetch) (out []broker.Message) {
	var m broker.Message
	for f.Next(&m) {
		out = append(out, clone(m))
	}
	return out
}

func clone(m broker.Message) broker.Message {
	m.Key, m.Value, m.Headers = bytes.Clone(m.Key), bytes.Clone(m.Value), slices.Clone(m.Headers)
	for i := range m.Headers {
		m.Headers[i].Value = bytes.Clone(m.Headers[i].Value)
	}
	return m
}

// texts are the values of messages.
func texts(ms []broker.Message) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, string(m.Value))
	}
	return out
}

// Codes of requests.
const (
	keyProduce = 0
	keyFetch   = 1
	keyOffsets = 2
	keyMeta    = 3
)

// request is one that a broker has got.
type request struct {
	key  int16
	body []byte // from the key on
}

// wire is a network that breaks. Its hooks run for every request and answer of the
// brokers that listen on it.
type wire struct {
	mu sync.Mutex
	// cutRequest says after how many bytes of a request the connection ends, cutAnswer
	// the same of an answer; -1 is not at all. n counts from 1 for each key.
	cutRequest, cutAnswer func(key int16, n int) int
	// forge gives another answer to a request than the broker's, nil for its own.
	forge           func(key int16, request []byte) []byte
	requests        []request
	begun, answered map[int16]int
	down            bool
	listeners       []*wireListener
	open            map[net.Conn]bool
}

// listen is a [kfake.ListenFn].
func (w *wire) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	out := &wireListener{wire: w, addr: l.Addr(), now: l, closed: make(chan struct{})}
	w.mu.Lock()
	w.listeners = append(w.listeners, out)
	w.mu.Unlock()
	return out, nil
}

// cut ends all connections. While it is down others are refused.
func (w *wire) cut(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for c := range w.open {
		c.Close()
	}
	w.open = nil
	for _, l := range w.listeners {
		if l.now != nil && down {
			l.now.Close()
			l.now = nil
		}
	}
}

// connections is how many there are.
func (w *wire) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

// got gives the requests of a key so far.
func (w *wire) got(key int16) (out []request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if r.key == key {
			out = append(out, request{r.key, bytes.Clone(r.body)})
		}
	}
	return out
}

// wireListener listens on its address while the wire is not down.
type wireListener struct {
	wire   *wire
	addr   net.Addr
	now    net.Listener // nil while it is down; the wire's lock guards it
	closed chan struct{}
	once   sync.Once
}

func (l *wireListener) Addr() net.Addr { return l.addr }

func (l *wireListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	if l.now != nil {
		return l.now.Close()
	}
	return nil
}

// listener gives the present listener, nil while there is none.
func (l *wireListener) listener() net.Listener {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	if l.now == nil && !l.wire.down {
		l.now, _ = net.Listen(l.addr.Network(), l.addr.String())
	}
	return l.now
}

func (l *wireListener) Accept() (net.Conn, error) {
	for {
		c, err := net.Conn(nil), net.ErrClosed
		if now := l.listener(); now != nil {
			c, err = now.Accept()
		}
		if err != nil {
			select {
			case <-l.closed:
				return nil, err
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		l.wire.mu.Lock()
		if l.wire.open == nil {
			l.wire.open = map[net.Conn]bool{}
		}
		l.wire.open[c] = true
		l.wire.mu.Unlock()
		return &wireConn{Conn: c, wire: l.wire, limit: -1}, nil
	}
}

// wireConn is the broker's side of a connection, on which one request follows the
// answer of the one before.
type wireConn struct {
	net.Conn
	wire  *wire
	key   int16
	head  []byte // of the request: its size and key
	size  int    // of the request, 0 before it is known
	body  []byte
	limit int
}

func (c *wireConn) Read(b []byte) (int, error) {
	if c.limit == 0 {
		c.Close()
		return 0, net.ErrClosed
	}
	if c.size == 0 {
		b = b[:min(len(b), 6-len(c.head))]
	} else if c.limit > 0 {
		b = b[:min(len(b), c.limit)]
	}
	n, err := c.Conn.Read(b)
	c.take(b[:n])
	return n, err
}

func (c *wireConn) take(b []byte) {
	if c.size == 0 {
		c.head = append(c.head, b...)
		if len(c.head) < 6 {
			return
		}
		c.size = int(binary.BigEndian.Uint32(c.head))
		c.key = int16(binary.BigEndian.Uint16(c.head[4:]))
		c.body = append(c.body[:0], c.head[4:]...)
		c.head = c.head[:0]
		c.wire.mu.Lock()
		if c.wire.begun == nil {
			c.wire.begun, c.wire.answered = map[int16]int{}, map[int16]int{}
		}
		c.wire.begun[c.key]++
		if hook := c.wire.cutRequest; hook != nil {
			c.limit = hook(c.key, c.wire.begun[c.key])
		}
		c.wire.mu.Unlock()
		return
	}
	c.body = append(c.body, b...)
	if c.limit > 0 {
		c.limit -= len(b)
	}
	if len(c.body) == c.size {
		c.wire.mu.Lock()
		c.wire.requests = append(c.wire.requests, request{c.key, bytes.Clone(c.body)})
		c.wire.mu.Unlock()
		c.size = 0
	}
}

func (c *wireConn) Write(b []byte) (int, error) {
	limit := -1
	c.wire.mu.Lock()
	c.wire.answered[c.key]++
	n, hook := c.wire.answered[c.key], c.wire.cutAnswer
	if c.wire.forge != nil {
		if other := c.wire.forge(c.key, c.body); other != nil {
			c.Conn.Write(other)
			b, hook = nil, nil
		}
	}
	c.wire.mu.Unlock()
	if b == nil {
		return 0, net.ErrClosed // which ends the connection
	}
	if hook != nil { // which may wait
		limit = hook(c.key, n)
	}
	if limit < 0 {
		return c.Conn.Write(b)
	}
	c.Conn.Write(b[:min(limit, len(b))])
	c.Close()
	return len(b), nil
}

func (c *wireConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.open, c.Conn)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

// ask sends a request that neither kafka-go nor we have, and gives the answer.
func ask(t testing.TB, addr string, req kmsg.Request) kmsg.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body[4:]); err != nil {
		t.Fatal(err)
	}
	return resp
}

// soonEnough is less than the half minute for which what may pass is tried again,
// and leaves room for a machine that is busy.
const soonEnough = 25 * time.Second
