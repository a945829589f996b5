package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// The defaults of a Config.
const (
	DefaultBatchBytes = 1 << 20
	DefaultBatchRows  = 10_000
	DefaultPoll       = time.Second
)

// staleAfter is how old an object's newest progress is when its producer is
// taken for gone.
const staleAfter = 60 * time.Second

// Config says what to send where. The zero value of what is not required is the
// default.
type Config struct {
	Client  *broker.Client // required
	Topic   broker.Topic   // required
	Sources []Source

	// Exclusive says that no other producer can be at work on the topic.
	Exclusive bool
	// Follow goes on until ctx ends: new objects and rows that are appended are
	// sent as they come. Poll is how often the sources are looked at.
	Follow bool
	Poll   time.Duration

	CSV          csv.Overrides
	HeadersEvery bool // write a row's headers on every message
	BatchBytes   int  // of a record batch, before compression
	BatchRows    int
	MaxRecord    int // bytes; longer records are rejects

	Events Events
	Log    *slog.Logger
	Now    func() time.Time
}

// Producer sends the rows of its sources. It is run once.
type Producer struct {
	Config

	ledger *ledger
	lanes  []sync.Mutex // by topic partition: one batch on its way in each
	mu     sync.Mutex
	files  map[string]*ObjectSummary // by URI and version, in the order of summary
	order  []string
	quiet  map[string]Object // followed objects as they were when nothing was left to send
	told   map[string]bool
}

// Summary is what became of the sources.
type Summary struct{ Objects []ObjectSummary }

// ObjectSummary is what became of one version of an object.
type ObjectSummary struct {
	URI       string
	Version   string
	Stream    schema.StreamID
	Partition int
	Rows      int64  // of the stream so far, rejects included
	Sent      int64  // in this run
	Rejects   int64  // in this run
	Bytes     int64  // read in this run
	Already   bool   // all of it had been sent before
	Status    string // of its end: complete, changed; "open" while it has none
	Err       error
}

// Validate fills in the defaults and reports every fault at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Client == nil || c.Topic.Name == "" || c.Topic.Partitions < 1 {
		errs = append(errs, errors.New("producer: Client and Topic are required"))
	}
	if c.BatchBytes < 0 || c.BatchRows < 0 || c.MaxRecord < 0 || c.Poll < 0 {
		errs = append(errs, errors.New("producer: sizes and times must not be negative"))
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = DefaultBatchBytes
	}
	if c.BatchRows == 0 {
		c.BatchRows = DefaultBatchRows
	}
	if c.Poll == 0 {
		c.Poll = DefaultPoll
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return errors.Join(errs...)
}

// Run sends what the sources have, and with Follow goes on until ctx ends. An
// object that fails does not stop the others: its summary has the error. When
// ctx ends, what is on its way is brought to its end and progress is written;
// the error is then ctx's, with Follow it is nil.
func (p *Producer) Run(ctx context.Context) (Summary, error) {
	if err := p.Validate(); err != nil {
		return Summary{}, err
	}
	p.lanes = make([]sync.Mutex, p.Topic.Partitions)
	p.files, p.quiet, p.told = map[string]*ObjectSummary{}, map[string]Object{}, map[string]bool{}
	ledger, err := openLedger(ctx, p.Client, p.Topic, p.Now)
	if err != nil {
		return Summary{}, err
	}
	p.ledger = ledger
	for {
		held, err := p.pass(ctx)
		if err != nil || !p.Follow && !held {
			if p.Follow && ctx.Err() != nil {
				err = nil
			}
			return p.summary(), err
		}
		select {
		case <-ctx.Done():
			if p.Follow {
				return p.summary(), nil
			}
			return p.summary(), ctx.Err()
		case <-time.After(p.Poll):
		}
		if held {
			if err := p.ledger.refresh(ctx); err != nil && ctx.Err() == nil {
				return p.summary(), err
			}
		}
	}
}

func (p *Producer) summary() (s Summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.order {
		s.Objects = append(s.Objects, *p.files[k])
	}
	return s
}

// pass goes through the sources once. held says that another producer has an
// object that is not done.
func (p *Producer) pass(ctx context.Context) (held bool, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.Topic.Partitions)
	var mu sync.Mutex
	found := 0
	for _, source := range p.Sources {
		for o, err := range source.Objects(ctx) {
			if err != nil {
				if o.URI == "" || ctx.Err() != nil {
					return false, errors.Join(err, group.Wait())
				}
				p.entry(o.URI, "").Err = err
				continue
			}
			found++
			group.Go(func() error {
				err := p.object(ctx, o)
				if errors.Is(err, errHeld) {
					mu.Lock()
					held = true
					mu.Unlock()
					return nil
				}
				return err
			})
		}
	}
	err = group.Wait()
	if err == nil && found == 0 && !p.Follow && len(p.order) == 0 {
		err = ErrNoObjects
	}
	return held, err
}

// ErrNoObjects says that the sources have nothing to send.
var ErrNoObjects = errors.New("no CSV files in the sources: folders are searched for .csv, .tsv, .txt, .dat and .psv, plain or with .gz or .zst")

// entry is the summary of one version of an object.
func (p *Producer) entry(uri, version string) *ObjectSummary {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := uri + "\x00" + version
	if s := p.files[key]; s != nil {
		return s
	}
	s := &ObjectSummary{URI: uri, Version: version, Status: "open"}
	p.files[key] = s
	p.order = append(p.order, key)
	return s
}

// object sends one object. Its own faults go into its summary; the error is one
// that stops all.
func (p *Producer) object(ctx context.Context, o Object) error {
	if quiet, ok := p.quietObject(o.URI); ok && quiet.Size == o.Size && quiet.ModTime.Equal(o.ModTime) && quiet.Inode == o.Inode {
		return nil
	}
	for range 2 { // a second time when the object changed while it was read
		again, err := p.version(ctx, o)
		if err != nil || !again {
			return err
		}
		if o, err = o.Stat(ctx); err != nil {
			p.entry(o.URI, "").Err = err
			return nil
		}
	}
	return nil
}

func (p *Producer) quietObject(uri string) (Object, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.quiet[uri]
	return o, ok
}

// version sends the version that an object has now. again says that it changed
// meanwhile.
func (p *Producer) version(ctx context.Context, o Object) (again bool, err error) {
	d, err := p.ledger.decide(ctx, o, p.Follow)
	if err != nil {
		p.entry(o.URI, "").Err = fmt.Errorf("compare with what was sent: %w", err)
		return false, ctx.Err()
	}
	summary := p.entry(o.URI, d.version)
	summary.Err = nil
	if d.already {
		c, prior := p.ledger.claimOf(o.URI, d.version)
		summary.Already = summary.Sent == 0
		summary.Stream, summary.Partition = c.Ranges[0].Stream, c.Ranges[0].Partition
		summary.Rows, summary.Status = prior.Rows, prior.Status
		if o.Once && summary.Already {
			p.Events.warn(o.URI, "this stream was sent to its end before: standard input was not read; give other rows another --stream NAME")
		}
		p.setQuiet(o)
		return false, nil
	}
	if d.resume && !p.Exclusive {
		if _, prior := p.ledger.claimOf(o.URI, d.version); prior != nil && !prior.Released && p.Now().Sub(prior.At) < staleAfter && !p.own(o.URI) {
			p.tell(o.URI, "another producer is at work on it, or was less than a minute ago: waiting for it to finish or go stale")
			return false, errHeld
		}
	}
	p.Events.warn(o.URI, d.warning)
	if d.rotated && d.before != nil {
		if err := p.endBefore(ctx, o, d.before); err != nil {
			return false, err
		}
	}
	c, err := p.claim(ctx, o, d)
	if err != nil {
		if errors.Is(err, csv.ErrEmpty) {
			summary.Status = "empty"
			p.setQuiet(o)
			return false, nil
		}
		if errors.Is(err, csv.ErrNoRecord) && p.Follow {
			return false, nil
		}
		summary.Err = err
		return false, fatal(ctx, err)
	}
	return p.stream(ctx, o, c, d, summary)
}

// own says that this run has sent of the object.
func (p *Producer) own(uri string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told["own "+uri]
}

func (p *Producer) tell(uri, message string) {
	p.mu.Lock()
	told := p.told[uri]
	p.told[uri] = true
	p.mu.Unlock()
	if !told {
		p.Events.info(uri, message)
	}
}

func (p *Producer) setQuiet(o Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Follow {
		p.quiet[o.URI] = o
	}
}

// fatal is the error when it stops all objects, not only one.
func fatal(ctx context.Context, err error) error {
	var delivery *broker.DeliveryError
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, &delivery) || errors.Is(err, broker.ErrUnreachable) {
		return err
	}
	return nil
}

// claim finds the claim of a version, or makes it.
func (p *Producer) claim(ctx context.Context, o Object, d decision) (*claim, error) {
	if d.resume {
		c, _ := p.ledger.claimOf(o.URI, d.version)
		return c, nil
	}
	c := &claim{V: ledgerVersion, URI: o.URI, Version: d.version, Log: p.Topic.LogID, Size: o.Size, ModTime: o.ModTime, Inode: o.Inode, Splitter: csv.Version}
	if d.from > 0 {
		_, prior := p.ledger.last(o.URI)
		c.Dialect, c.Columns, c.Width, c.Body, c.BodyLine = d.before.Dialect, d.before.Columns, d.before.Width, d.from, prior.Line
		c.contentMark = prior.contentMark
	} else {
		found, sample, err := p.sniff(ctx, &o)
		if err != nil {
			return nil, err
		}
		c.contentMark = sample
		c.Dialect, c.Columns, c.Width, c.Body, c.BodyLine = found.Dialect, found.Columns, found.Width, found.Body, found.BodyLine
		if found.Columns != nil {
			c.Width = len(found.Columns)
		}
	}
	stream := schema.NewStreamID(o.URI, d.version, d.from)
	c.Ranges = []byteRange{{From: d.from, To: -1, Stream: stream, Partition: int(stream.Hash64() % uint64(p.Topic.Partitions))}}
	return p.ledger.take(ctx, c)
}

// sniff finds an object's dialect from its first bytes, and gives their mark.
func (p *Producer) sniff(ctx context.Context, o *Object) (csv.Found, contentMark, error) {
	sample, complete, err := head(ctx, o, sniffBytes)
	if err != nil {
		return csv.Found{}, contentMark{}, err
	}
	h := newContentHash()
	h.Write(sample)
	found, err := csv.SniffWith(sample, complete && !p.Follow, p.CSV)
	return found, contentMark{Hashed: int64(len(sample)), Content: h.state()}, err
}

// stream sends what is left of a claimed object.
func (p *Producer) stream(ctx context.Context, o Object, c *claim, d decision, summary *ObjectSummary) (again bool, err error) {
	s := &sender{p: p, object: o, claim: c}
	_, prior := p.ledger.claimOf(o.URI, c.Version)
	in, err := s.begin(ctx, prior, d.hash)
	if in != nil {
		defer in.Close()
	}
	summary.Stream, summary.Partition = s.stream, s.to
	if err != nil {
		p.failed(o, summary, err)
		return false, fatal(ctx, err)
	}
	p.mu.Lock()
	p.told["own "+o.URI] = true
	p.mu.Unlock()
	follows := s.follows(in)
	err = s.run(ctx)
	changed, statErr := p.changed(ctx, o)
	err = errors.Join(err, statErr)
	if err == nil && !changed && !follows {
		err = s.finish(ctx)
	}
	switch {
	case err != nil:
		// What was acknowledged is kept, and another run goes on from there.
		s.acked.Released = true
		if s.sent > 0 {
			err = errors.Join(err, s.note(ctx))
		}
	case follows:
		if s.sent > 0 {
			s.acked.Released = ctx.Err() != nil
			err = s.note(ctx)
		}
		if !changed {
			p.setQuiet(o)
		}
	case changed:
		p.Events.warn(o.URI, "it changed while it was read: what was read of it is sent, and the file as it is now follows as a new version")
		again, summary.Status, err = true, Changed, s.end(ctx, Changed)
	default:
		summary.Status, err = Complete, s.end(ctx, Complete)
	}
	summary.Rows = s.acked.Rows
	summary.Sent += s.sent
	summary.Rejects += s.rejects
	summary.Bytes += s.bytes
	summary.Already = false
	if err != nil {
		summary.Status = "open"
		p.failed(o, summary, err)
		return false, fatal(ctx, err)
	}
	return again, nil
}

// failed keeps why an object was not sent to its end. A followed one is tried
// again when it has changed.
func (p *Producer) failed(o Object, summary *ObjectSummary, err error) {
	summary.Err = err
	if p.Follow && !errors.Is(err, context.Canceled) {
		p.Events.warn(o.URI, err.Error())
		p.setQuiet(o)
	}
}

// changed says whether an object is another than it was when it was opened.
func (p *Producer) changed(ctx context.Context, o Object) (bool, error) {
	if o.Stat == nil {
		return false, nil
	}
	now, err := o.Stat(context.WithoutCancel(ctx))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // it was read to its end
	}
	return now.Size != o.Size || !now.ModTime.Equal(o.ModTime) || now.Inode != o.Inode, err
}

// endBefore sends the end of a stream whose object was replaced before it had
// one.
func (p *Producer) endBefore(ctx context.Context, o Object, before *claim) error {
	_, prior := p.ledger.claimOf(o.URI, before.Version)
	if prior == nil || prior.Done {
		return nil
	}
	s := &sender{p: p, object: o, claim: before, stream: before.Ranges[0].Stream, to: before.Ranges[0].Partition, acked: *prior}
	status := Changed
	if p.Follow {
		status = Complete
	}
	return s.end(ctx, status)
}

// send sends one batch to a topic partition, where no other is on its way.
func (p *Producer) send(ctx context.Context, partition int, b *broker.Batch) error {
	p.lanes[partition].Lock()
	defer p.lanes[partition].Unlock()
	_, err := p.Client.Produce(ctx, p.Topic.Name, partition, b)
	return err
}
