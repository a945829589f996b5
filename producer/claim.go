package producer

import (
	"context"
	"fmt"
	"time"

	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// claim is what the first producer to take an object decided for it. All
// producers of the object keep to it.
type claim struct {
	V       int    `json:"v"`
	URI     string `json:"uri"`
	Version string `json:"version"`
	Log     string `json:"log"`
	look
	Ranges   []byteRange `json:"ranges"`
	Dialect  csv.Dialect `json:"dialect"`
	Columns  []string    `json:"columns"`         // null where the object has no header
	Known    [][]string  `json:"known,omitempty"` // other headers of the feed, each of which may begin amid the rows
	Width    int         `json:"width"`
	Body     int64       `json:"body"` // byte offset and line of the first row
	BodyLine int64       `json:"body_line"`
	Tail     csv.Tail    `json:"tail,omitzero"`       // what follows the table
	SeekTail bool        `json:"seek_tail,omitempty"` // or it is looked for where the object ends, and is in the progress
	Splitter int         `json:"splitter"`            // version of the splitter's rules
	// MaxRecord decides what is a reject; 0 is the default.
	MaxRecord int       `json:"max_record,omitempty"`
	Start     int64     `json:"start"` // end of the topic partition's log at that time
	At        time.Time `json:"at,omitzero"`
	contentMark
}

// byteRange is a part of an object, whose rows are one stream.
type byteRange struct {
	From      int64           `json:"from"`
	To        int64           `json:"to"` // -1: the object's end
	Stream    schema.StreamID `json:"stream"`
	Partition int             `json:"partition"` // topic partition
}

// is says whether two are of the same version of the same object.
func (c *claim) is(o *claim) bool {
	return c != nil && o != nil && c.URI == o.URI && c.Version == o.Version
}

// usable says why this lakefeed cannot keep to a claim.
func (c *claim) usable() error {
	if c.Splitter > csv.Version {
		return fmt.Errorf("claim %s: it was claimed by a newer lakefeed (rules %d, this one has %d), which numbers its rows otherwise: send it with that one", c.URI, c.Splitter, csv.Version)
	}
	return nil
}

// held says that another producer is at work on a claimed object.
func (p *Producer) held(c *claim) bool {
	if p.Exclusive || p.isOwn(c) {
		return false
	}
	// Progress in a log that is gone tells as well that its producer is done.
	prior := p.ledger.known(c.Ranges[0].Stream)
	at := c.At
	if prior != nil {
		if prior.Released || prior.Done {
			return false
		}
		at = prior.At
	}
	return p.Now().Sub(at) < staleAfter
}

func (p *Producer) isOwn(c *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own[c.Ranges[0].Stream]
}

func (p *Producer) setOwn(stream schema.StreamID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own[stream] = true
}

// claim finds the claim of a version, or makes it: then it is mine.
func (p *Producer) claim(ctx context.Context, o *Object, d decision) (_ *claim, mine bool, err error) {
	if d.resume {
		c, _ := p.ledger.claimOf(o.URI, d.version)
		return c, true, c.usable()
	}
	c := &claim{
		V: ledgerVersion, URI: o.URI, Version: d.version, Log: p.Topic.LogID, look: o.look(),
		Splitter: csv.Version, MaxRecord: p.MaxRecord, At: p.Now().UTC(),
	}
	if d.from > 0 {
		if err := d.before.usable(); err != nil {
			return nil, false, err
		}
		_, prior := p.ledger.last(o.URI)
		c.goOn(d.before, prior.Header)
		c.Body, c.BodyLine = d.from, prior.Line
		c.contentMark = prior.contentMark
	} else {
		found, sample, err := p.sniff(ctx, o)
		if err != nil {
			return nil, false, err
		}
		c.contentMark = sample
		c.Dialect, c.Columns, c.Width, c.Body, c.BodyLine, c.Tail = found.Dialect, found.Columns, found.Width, found.Body, found.BodyLine, found.Tail
		c.Known, c.SeekTail = found.Known, found.SeekTail
	}
	stream := schema.NewStreamID(o.URI, d.version, d.from)
	c.Ranges = []byteRange{{From: d.from, To: -1, Stream: stream, Partition: p.pinned(stream)}}
	if _, c.Start, err = p.Client.Offsets(ctx, p.Topic.Name, c.Ranges[0].Partition); err != nil {
		return nil, false, err
	}
	c, mine, err = p.ledger.take(ctx, c)
	if err == nil {
		err = c.usable()
	}
	return c, mine, err
}

// pinned is the topic partition of a stream that is claimed now.
func (p *Producer) pinned(stream schema.StreamID) int {
	if n := uint64(len(p.Pin)); n > 0 {
		return p.Pin[stream.Hash64()%n]
	}
	return int(stream.Hash64() % uint64(p.Topic.Partitions))
}
