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
	"lakefeed/schema/fault"
)

const ledgerVersion = 1

// progress is how far a stream was sent and acknowledged.
type progress struct {
	V       int      `json:"v"`
	Log     string   `json:"log"`
	Rows    int64    `json:"rows"`
	Offset  int64    `json:"offset"` // byte in the object behind those rows
	Line    int64    `json:"line"`
	Header  int      `json:"header,omitempty"`  // the one in force there: 0 is the claim's columns, n its n-th known
	Tail    csv.Tail `json:"tail,omitzero"`     // what follows the table, where that was looked for
	Sought  bool     `json:"sought,omitempty"`  // it was, and rows behind Offset may depend on it
	Unended bool     `json:"unended,omitempty"` // the last of them had no line end
	Behind  bool     `json:"behind,omitempty"`  // the content's mark is of more than those rows
	Done    bool     `json:"done"`
	Count   int64    `json:"count,omitempty"`
	Status  string   `json:"status,omitempty"`
	Sum     string   `json:"sum"` // of the rows' hashes
	look
	Next     int64     `json:"next"`               // offset in the topic partition behind those rows
	Released bool      `json:"released,omitempty"` // its producer stopped cleanly
	At       time.Time `json:"at"`
	contentMark
	// Until is where the range ends that is sent again because its log is gone, and
	// UntilMark of the bytes before it; 0 when it is not.
	Until     int64        `json:"until,omitempty"`
	UntilMark *contentMark `json:"until_mark,omitempty"`
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

	mu     sync.Mutex
	trying string // key of the claim that take writes
	stands bool   // it is the one that counts
	next   int64
	fetch  broker.Fetch
	batch  broker.Batch
	book   book
	feed   headers // that claims have
}

// openLedger makes the progress topic where it is absent, and reads it to its end.
func openLedger(ctx context.Context, client *broker.Client, topic broker.Topic, now func() time.Time) (*ledger, error) {
	l := &ledger{
		client: client, topic: topic, name: topic.Name + ".progress", now: now, book: newBook(),
	}
	t, err := client.EnsureTopic(ctx, broker.TopicConfig{Name: l.name, Partitions: 1, Replication: topic.Replication, Compacted: true})
	if err != nil {
		return nil, fmt.Errorf("open progress topic %s: %w", l.name, err)
	}
	if t.Partitions != 1 {
		return nil, fmt.Errorf("open progress topic %s: it has %d topic partitions and must have one, since the claim at the lowest offset counts; delete it and send again: what is in the lake already is left out", l.name, t.Partitions)
	}
	_, err = l.refresh(ctx)
	return l, err
}

// refresh reads on to the end of the progress topic. It says whether there was
// anything.
func (l *ledger) refresh(ctx context.Context) (news bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.next
	err = l.read(ctx)
	return l.next > before, err
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
	if m.Value == nil && kind != "progress" {
		return nil // a claim holds for ever
	}
	switch kind {
	case "claim":
		c := &claim{}
		if err := json.Unmarshal(m.Value, c); err != nil {
			return fmt.Errorf("claim %q: %w", m.Key, err)
		}
		if c.V > ledgerVersion {
			return &schema.FormatError{Have: c.V, Know: ledgerVersion}
		}
		if len(c.Ranges) == 0 {
			return fmt.Errorf("claim %q: it has no ranges", m.Key)
		}
		hash, _, _ := strings.Cut(rest, "/")
		var id schema.StreamID
		if err := id.UnmarshalText([]byte(hash)); err != nil {
			return fmt.Errorf("claim %q: %w", m.Key, err)
		}
		if l.book.setClaim(id.Hash64(), c) {
			l.feed = l.feed.with(c.Columns)
			l.stands = l.stands || string(m.Key) == l.trying
		}
	case "progress":
		var id schema.StreamID
		if err := id.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		if m.Value == nil {
			delete(l.book.progress, id.Hash64())
			return nil
		}
		p := new(progress)
		if err := json.Unmarshal(m.Value, p); err != nil {
			return fmt.Errorf("progress %q: %w", m.Key, err)
		}
		if p.V > ledgerVersion {
			return &schema.FormatError{Have: p.V, Know: ledgerVersion}
		}
		l.book.setProgress(id, p)
	}
	return nil
}

// feedHeaders are the headers that the claims of the feed have.
func (l *ledger) feedHeaders() headers {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.feed
}

// later says whether one version of an object came after another: counts by
// their number, versions of stores by their place in the topic.
func later(a, b string) bool {
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 != nil || err2 != nil || x > y
}

// last is the newest claim of an object's URI and the progress of its stream,
// which may be that in a log that is gone; nil where there is none.
func (l *ledger) last(uri string) (*claim, *progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.book.newestOf(uri)
	if c == nil {
		return nil, nil
	}
	return c, l.book.progressOf(c.Ranges[0].Stream)
}

// known is the newest progress of a stream, which may be that in a log that is
// gone.
func (l *ledger) known(stream schema.StreamID) *progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.progressOf(stream)
}

// at is the progress of a stream in the topic's present log.
func (l *ledger) at(stream schema.StreamID) *progress {
	if p := l.book.progressOf(stream); l.present(p) {
		return p
	}
	return nil
}

// present says whether progress is of the topic's present log.
func (l *ledger) present(p *progress) bool { return p != nil && p.Log == l.topic.LogID }

// lost are the claims of the versions that a version goes on from and that are
// not in the topic's present log, the newest first.
func (l *ledger) lost(uri, version string) (out []*claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := strconv.Atoi(version)
	if err != nil {
		return nil
	}
	for n--; n >= 0; n-- {
		c := l.book.claim(uri, strconv.Itoa(n))
		if c == nil {
			return out
		}
		if p := l.at(c.Ranges[0].Stream); p == nil || !p.Done {
			out = append(out, c)
		}
		if c.Ranges[0].From == 0 {
			return out
		}
	}
	return out
}

// pin is the topic partition of a claim's rows: the one it names, unless the
// topic was made again with fewer.
func (l *ledger) pin(c *claim) int {
	r := c.Ranges[0]
	if r.Partition < l.topic.Partitions {
		return r.Partition
	}
	return int(r.Stream.Hash64() % uint64(l.topic.Partitions))
}

// claimOf is the claim of one version of an object, nil when it has none.
func (l *ledger) claimOf(uri, version string) (*claim, *progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.book.claim(uri, version)
	if c == nil {
		return nil, nil
	}
	return c, l.at(c.Ranges[0].Stream)
}

// take claims an object: it writes the claim unless there is one, and gives the
// one that counts. mine says that it is this one. Every attempt has a key of its
// own, so that compaction keeps the first.
func (l *ledger) take(ctx context.Context, c *claim) (_ *claim, mine bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(ctx); err != nil {
		return nil, false, err
	}
	if have := l.book.claim(c.URI, c.Version); have != nil {
		return have, false, nil
	}
	nonce := rand.Text()
	key := "claim/" + objectID(c.URI, c.Version) + "/" + nonce
	l.trying, l.stands = key, false
	l.batch.Reset()
	if err := l.add(key, c); err != nil {
		return nil, false, err
	}
	err = fault.At(ctx, fault.ClaimWrite)
	if err == nil {
		err = l.write(ctx)
	}
	if err == nil {
		err = fault.At(ctx, fault.ClaimWritten)
	}
	if err != nil {
		return nil, false, fmt.Errorf("claim %s: %w", c.URI, err)
	}
	ctx = context.WithoutCancel(ctx) // it stands, and who wrote it has to know
	for {
		if found := l.book.claim(c.URI, c.Version); found != nil {
			return found, l.stands, nil
		}
		if err := l.read(ctx); err != nil {
			return nil, false, err
		}
	}
}

// note writes how far streams are.
func (l *ledger) note(ctx context.Context, notes map[schema.StreamID]progress) error {
	if len(notes) == 0 {
		return nil
	}
	if err := fault.At(ctx, fault.ProgressWrite); err != nil {
		return fmt.Errorf("write progress: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batch.Reset()
	for stream, p := range notes {
		p.V, p.Log, p.At = ledgerVersion, l.topic.LogID, l.now().UTC()
		if err := l.add("progress/"+stream.String(), &p); err != nil {
			return err
		}
		notes[stream] = p
		if l.batch.Bytes() > DefaultBatchBytes {
			if err := l.write(ctx); err != nil {
				return fmt.Errorf("write progress: %w", err)
			}
			l.batch.Reset()
		}
	}
	if l.batch.Len() > 0 {
		if err := l.write(ctx); err != nil {
			return fmt.Errorf("write progress: %w", err)
		}
	}
	for stream, p := range notes {
		l.book.setProgress(stream, &p)
	}
	return fault.At(ctx, fault.ProgressWritten)
}

// add adds a message to those that write sends.
func (l *ledger) add(key string, value any) error {
	body, err := json.Marshal(value)
	if err == nil {
		l.batch.Append([]byte(key), body, nil, l.now().UnixMilli())
	}
	return err
}

func (l *ledger) write(ctx context.Context) error {
	_, err := l.client.Produce(ctx, l.name, 0, &l.batch)
	return err
}

var errHeld = errors.New("another producer has it")
