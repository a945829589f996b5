package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink/raw"
)

// The defaults of a Config.
const (
	DefaultBatchBytes = 1 << 20
	DefaultBatchRows  = 10_000
	DefaultMaxRecord  = 4 << 20
	DefaultPoll       = time.Second
)

// headRoom is what a message's headers may take of max.message.bytes.
const headRoom = 64 << 10

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

	// Raw is where the objects are copied to, each before its rows are sent; nil for
	// nowhere.
	Raw *raw.Zone

	// Pin are the topic partitions that objects which nobody has begun are sent to; empty
	// for all of them.
	Pin []int

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

	mu        sync.Mutex
	files     map[version]*ObjectSummary
	order     []version                       // of the summary
	own       map[schema.StreamID]bool        // streams that this run has worked on
	told      map[string]bool                 // URIs of which it was said that another has them
	quiet     map[uint64]uint64               // prints of what objects look like that are done, by uriID
	failing   map[uint64]quiet                // by uriID
	visits    []visit                         // of the sources
	following map[string]*followed            // by URI
	copies    map[schema.StreamID]*raw.Object // of objects that are followed
}

// version names one version of an object.
type version struct{ uri, number string }

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
	err := c.validate()
	if len(c.Sources) == 0 {
		err = errors.Join(err, errors.New("producer: Sources is empty: there is nothing to send"))
	}
	return err
}

// validate leaves the sources out.
func (c *Config) validate() error {
	var errs []error
	fault := func(broken bool, format string, args ...any) {
		if broken {
			errs = append(errs, fmt.Errorf("producer: "+format, args...))
		}
	}
	fault(c.Client == nil, "Client is required")
	fault(c.Topic.Name == "", "Topic is required: look it up with Client.Topic or Client.EnsureTopic")
	fault(c.Topic.Name != "" && c.Topic.Partitions < 1, "Topic %s has %d topic partitions and needs one at least", c.Topic.Name, c.Topic.Partitions)
	for _, p := range c.Pin {
		fault(p < 0 || p >= c.Topic.Partitions && c.Topic.Partitions > 0, "Pin has topic partition %d, and topic %s has 0 to %d", p, c.Topic.Name, c.Topic.Partitions-1)
	}
	fault(c.BatchBytes < 0, "BatchBytes is %d and must not be negative", c.BatchBytes)
	fault(c.BatchRows < 0, "BatchRows is %d and must not be negative", c.BatchRows)
	fault(c.MaxRecord < 0, "MaxRecord is %d and must not be negative", c.MaxRecord)
	fault(c.MaxRecord > broker.MaxMessageBytes-headRoom, "MaxRecord is %d and must not be over %d, so that a record fits a message", c.MaxRecord, broker.MaxMessageBytes-headRoom)
	fault(c.Poll < 0, "Poll is %v and must not be negative", c.Poll)
	c.BatchBytes = cmp.Or(c.BatchBytes, DefaultBatchBytes)
	c.BatchRows = cmp.Or(c.BatchRows, DefaultBatchRows)
	c.MaxRecord = cmp.Or(c.MaxRecord, DefaultMaxRecord)
	c.Poll = cmp.Or(c.Poll, DefaultPoll)
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
	p.begin()
	ledger, err := openLedger(ctx, p.Client, p.Topic, p.Now)
	if err != nil {
		return Summary{}, err
	}
	p.ledger = ledger
	err = p.passes(ctx)
	return p.summary(), errors.Join(err, p.release(ctx, err))
}

func (p *Producer) begin() {
	p.lanes = make([]sync.Mutex, p.Topic.Partitions)
	p.files, p.own, p.told = map[version]*ObjectSummary{}, map[schema.StreamID]bool{}, map[string]bool{}
	p.quiet, p.failing, p.following = map[uint64]uint64{}, map[uint64]quiet{}, map[string]*followed{}
	p.copies = map[schema.StreamID]*raw.Object{}
	p.visits = make([]visit, len(p.Sources))
}

// passes goes through the sources until nothing is left to send; with Follow
// until ctx ends.
func (p *Producer) passes(ctx context.Context) error {
	for {
		held, err := p.pass(ctx)
		switch {
		case err != nil && p.Follow && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		case err != nil || !p.Follow && !held:
			return err
		}
		select {
		case <-ctx.Done():
			if p.Follow {
				return nil
			}
			return ctx.Err()
		case <-time.After(p.Poll):
		}
		if held {
			if _, err := p.ledger.refresh(ctx); err != nil && ctx.Err() == nil {
				return err
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
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(len(p.Pin), p.Topic.Partitions))
	var mu sync.Mutex
	listed := map[string]bool{}
	for i, source := range p.Sources {
		if p.rests(i) {
			held = held || p.visits[i].held
			continue
		}
		p.visits[i] = visit{}
		for o, err := range source.Objects(work) {
			if err != nil {
				if o.URI == "" || work.Err() != nil || errors.Is(err, ErrSource) {
					return false, errors.Join(err, group.Wait())
				}
				listed[o.URI] = !errors.Is(err, fs.ErrNotExist)
				p.fault(o.URI, err)
				continue
			}
			if listed[o.URI] {
				continue // two sources have it
			}
			listed[o.URI] = true
			group.Go(func() error {
				err := p.object(work, o)
				if errors.Is(err, errHeld) {
					mu.Lock()
					held, p.visits[i].held = true, true
					mu.Unlock()
					return nil
				}
				if !p.Follow {
					p.Events.passed(o.URI, o.Size)
				}
				return err
			})
		}
		p.visits[i].end = time.Now()
	}
	if err := group.Wait(); err != nil {
		return held, err
	}
	if p.Follow {
		return held, p.tend(ctx, listed)
	}
	if len(listed) == 0 && len(p.order) == 0 {
		return held, ErrNoObjects
	}
	return held, nil
}

// visit is the last look at a source.
type visit struct {
	end  time.Time
	held bool // another producer had an object of it
}

// rests says that it is too early to look at a source again.
func (p *Producer) rests(i int) bool {
	paced, ok := p.Sources[i].(Paced)
	return ok && !p.visits[i].end.IsZero() && time.Since(p.visits[i].end) < paced.Pace()
}

// ErrNoObjects says that the sources have nothing to send.
var ErrNoObjects = errors.New("no CSV files in the sources: folders and prefixes are searched for .csv, .tsv, .txt, .dat and .psv, plain or with .gz or .zst")

// entry is the summary of one version of an object.
func (p *Producer) entry(uri, number string) *ObjectSummary {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := version{uri, number}
	if s := p.files[key]; s != nil {
		return s
	}
	s := &ObjectSummary{URI: uri, Version: number, Status: "open"}
	p.files[key] = s
	p.order = append(p.order, key)
	return s
}

// fault keeps why an object could not be looked at, until it can: then nil.
func (p *Producer) fault(uri string, err error) {
	if err != nil {
		p.entry(uri, "").Err = err
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := version{uri: uri}
	if p.files[key] != nil {
		delete(p.files, key)
		p.order = slices.DeleteFunc(p.order, func(k version) bool { return k == key })
	}
}

// tell says once of an object what is no fault.
func (p *Producer) tell(uri, message string) {
	p.mu.Lock()
	told := p.told[uri]
	p.told[uri] = true
	p.mu.Unlock()
	if !told {
		p.Events.info(uri, message)
	}
}

// fatal is the error when it stops all objects, not only one.
func fatal(ctx context.Context, err error) error {
	if unsure(err) || errors.Is(err, broker.ErrUnreachable) || errors.Is(err, ErrSource) {
		return err
	}
	return ctx.Err()
}

// unsure says that it is not known whether rows arrived.
func unsure(err error) bool {
	var delivery *broker.DeliveryError
	return errors.As(err, &delivery)
}

// send sends one batch to a topic partition, where no other is on its way. It
// gives the offset behind it.
func (p *Producer) send(ctx context.Context, partition int, b *broker.Batch) (next int64, err error) {
	p.lanes[partition].Lock()
	defer p.lanes[partition].Unlock()
	offset, err := p.Client.Produce(ctx, p.Topic.Name, partition, b)
	return offset + int64(b.Len()), err
}
