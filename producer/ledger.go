package producer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

const ledgerVersion = 1

// claim is what the first producer to take an object decided for it. All
// producers of the object keep to it.
type claim struct {
	V        int         `json:"v"`
	URI      string      `json:"uri"`
	Version  string      `json:"version"`
	Log      string      `json:"log"`
	Size     int64       `json:"size"`
	ModTime  time.Time   `json:"mtime,omitzero"`
	Inode    uint64      `json:"inode,omitempty"`
	Ranges   []byteRange `json:"ranges"`
	Dialect  csv.Dialect `json:"dialect"`
	Columns  []string    `json:"columns"` // null where the object has no header
	Width    int         `json:"width"`
	Body     int64       `json:"body"` // byte offset and line of the first row
	BodyLine int64       `json:"body_line"`
	Splitter int         `json:"splitter"` // version of the splitter's rules
	contentMark
}

// byteRange is a part of an object, whose rows are one stream.
type byteRange struct {
	From      int64           `json:"from"`
	To        int64           `json:"to"` // -1: the object's end
	Stream    schema.StreamID `json:"stream"`
	Partition int             `json:"partition"` // topic partition
}

// progress is how far a stream was sent and acknowledged.
type progress struct {
	V        int       `json:"v"`
	Log      string    `json:"log"`
	Rows     int64     `json:"rows"`
	Offset   int64     `json:"offset"` // byte in the object behind those rows
	Line     int64     `json:"line"`
	Done     bool      `json:"done"`
	Count    int64     `json:"count,omitempty"`
	Status   string    `json:"status,omitempty"`
	Sum      string    `json:"sum"` // of the rows' hashes
	Size     int64     `json:"size"`
	ModTime  time.Time `json:"mtime,omitzero"`
	Inode    uint64    `json:"inode,omitempty"`
	Released bool      `json:"released,omitempty"` // its producer stopped cleanly
	At       time.Time `json:"at"`
	contentMark
}

// contentMark tells an object's content from another: the hash of its first
// bytes.
type contentMark struct {
	Hashed  int64  `json:"hashed"`            // bytes, decompressed
	Content []byte `json:"content,omitempty"` // state of the hash; none where it was not made
}

// objectID names one version of an object.
func objectID(uri, version string) string { return schema.NewStreamID(uri, version, -1).String() }

// ledger is what the progress topic says: claims and progress of all producers
// of the feed. It is safe for concurrent use.
type ledger struct {
	client *broker.Client
	topic  broker.Topic // of the rows
	name   string       // of the progress topic
	now    func() time.Time

	mu       sync.Mutex
	next     int64
	fetch    broker.Fetch
	batch    broker.Batch
	claims   map[string]*claim // by object id; the one at the lowest offset
	newest   map[string]*claim // by URI
	progress map[schema.StreamID]*progress
	seen     map[string]bool // keys of our own claims that came back
}

// openLedger makes the progress topic where it is absent, and reads it to its end.
func openLedger(ctx context.Context, client *broker.Client, topic broker.Topic, now func() time.Time) (*ledger, error) {
	l := &ledger{
		client: client, topic: topic, name: topic.Name + ".progress", now: now,
		claims: map[string]*claim{}, newest: map[string]*claim{}, progress: map[schema.StreamID]*progress{}, seen: map[string]bool{},
	}
	t, err := client.EnsureTopic(ctx, broker.TopicConfig{Name: l.name, Partitions: 1, Replication: topic.Replication, Compacted: true})
	if err != nil {
		return nil, fmt.Errorf("open progress topic %s: %w", l.name, err)
	}
	if t.Partitions != 1 {
		return nil, fmt.Errorf("open progress topic %s: it has %d topic partitions and must have one, since the claim at the lowest offset counts; delete it and send again: what is in the lake already is left out", l.name, t.Partitions)
	}
	return l, l.refresh(ctx)
}

// refresh reads on to the end of the progress topic.
func (l *ledger) refresh(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(ctx)
}

func (l *ledger) read(ctx context.Context) error {
	start, end, err := l.client.Offsets(ctx, l.name, 0)
	if err != nil {
		return err
	}
	l.next = max(l.next, start)
	for l.next < end {
		if err := l.client.Fetch(ctx, l.name, 0, l.next, broker.FetchOptions{MaxBytes: 4 << 20, MinBytes: 1, MaxWait: 100 * time.Millisecond}, &l.fetch); err != nil {
			return err
		}
		var m broker.Message
		for l.fetch.Next(&m) {
			if err := l.apply(&m); err != nil {
				return fmt.Errorf("read %s/0@%d: %w", l.name, m.Offset, err)
			}
		}
		if err := l.fetch.Err(); err != nil {
			return fmt.Errorf("read %s/0@%d: %w", l.name, l.next, err)
		}
		l.next = max(l.next, l.fetch.End())
	}
	return nil
}

func (l *ledger) apply(m *broker.Message) error {
	kind, rest, _ := strings.Cut(string(m.Key), "/")
	if m.Value == nil {
		return nil
	}
	switch kind {
	case "claim":
		c := new(claim)
		if err := json.Unmarshal(m.Value, c); err != nil {
			return fmt.Errorf("claim %q: %w", m.Key, err)
		}
		if c.V > ledgerVersion {
			return &schema.FormatError{Have: c.V, Know: ledgerVersion}
		}
		id, _, _ := strings.Cut(rest, "/")
		l.seen[string(m.Key)] = true
		if l.claims[id] != nil {
			return nil
		}
		l.claims[id] = c
		if have := l.newest[c.URI]; have == nil || later(c.Version, have.Version) {
			l.newest[c.URI] = c
		}
	case "progress":
		p := new(progress)
		if err := json.Unmarshal(m.Value, p); err != nil {
			return fmt.Errorf("progress %q: %w", m.Key, err)
		}
		if p.V > ledgerVersion {
			return &schema.FormatError{Have: p.V, Know: ledgerVersion}
		}
		var id schema.StreamID
		if err := id.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		l.progress[id] = p
	}
	return nil
}

// later says whether one version of an object came after another: counts by
// their number, versions of stores by their place in the topic.
func later(a, b string) bool {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 != nil || err2 != nil || x > y
}

// last is the newest claim of an object's URI and the progress of its stream,
// nil where there is none. Progress in another log counts as none.
func (l *ledger) last(uri string) (*claim, *progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.newest[uri]
	if c == nil {
		return nil, nil
	}
	return c, l.at(c.Ranges[0].Stream)
}

func (l *ledger) at(stream schema.StreamID) *progress {
	p := l.progress[stream]
	if p == nil || p.Log != l.topic.LogID {
		return nil
	}
	return p
}

// claimOf is the claim of one version of an object, nil when it has none.
func (l *ledger) claimOf(uri, version string) (*claim, *progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.claims[objectID(uri, version)]
	if c == nil {
		return nil, nil
	}
	return c, l.at(c.Ranges[0].Stream)
}

// take claims an object: it writes the claim unless there is one, and gives the
// one that counts. Every attempt has a key of its own, so that compaction keeps
// the first.
func (l *ledger) take(ctx context.Context, c *claim) (*claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := objectID(c.URI, c.Version)
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	for l.claims[id] == nil {
		key := "claim/" + id + "/" + rand.Text()
		if err := l.write(ctx, key, c); err != nil {
			return nil, fmt.Errorf("claim %s: %w", c.URI, err)
		}
		for !l.seen[key] {
			if err := l.read(ctx); err != nil {
				return nil, err
			}
		}
	}
	won := l.claims[id]
	if won.Splitter > csv.Version {
		return nil, fmt.Errorf("claim %s: it was claimed by a newer lakefeed, whose rows this one would number otherwise: use that one", c.URI)
	}
	return won, nil
}

// note writes how far a stream is.
func (l *ledger) note(ctx context.Context, stream schema.StreamID, p progress) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.V, p.Log, p.At = ledgerVersion, l.topic.LogID, l.now().UTC()
	if err := l.write(ctx, "progress/"+stream.String(), &p); err != nil {
		return fmt.Errorf("write progress of stream %s: %w", stream, err)
	}
	l.progress[stream] = &p
	return nil
}

func (l *ledger) write(ctx context.Context, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	l.batch.Reset()
	l.batch.Append([]byte(key), body, nil, l.now().UnixMilli())
	_, err = l.client.Produce(ctx, l.name, 0, &l.batch)
	return err
}

var errHeld = errors.New("another producer has it")
