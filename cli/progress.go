package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/schema"
)

// progressEvery is how often a run says where it is.
const progressEvery = 10 * time.Second

// progress listens to what producer and consumer do, counts it, and says where
// the run is every ten seconds.
type progress struct {
	out io.Writer

	mu     sync.Mutex
	began  time.Time
	sent   int64
	commit consumer.Commit // sums over all
	count  int64           // commits

	commits chan struct{} // has an element when there was a commit since it was last read
	done    chan struct{}
	wait    sync.WaitGroup
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, began: time.Now(), done: make(chan struct{}), commits: make(chan struct{}, 1)}
	p.wait.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.line()
			case <-p.done:
				return
			}
		}
	})
	return p
}

func (p *progress) stop() {
	close(p.done)
	p.wait.Wait()
}

func (p *progress) line() {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%4.0fs  sent %s, in the lake %s", time.Since(p.began).Seconds(), plural(p.sent, "row"), plural(p.commit.Rows, "row"))
	if p.commit.Rescued > 0 {
		fmt.Fprintf(p.out, ", %s rescued", plural(p.commit.Rescued, "cell"))
	}
	if p.commit.Quarantined > 0 {
		fmt.Fprintf(p.out, ", %s quarantined", plural(p.commit.Quarantined, "row"))
	}
	fmt.Fprintln(p.out)
}

// say prints one line of talk.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *progress) producer() producer.Events {
	return producer.Events{
		Sent: func(s producer.SentInfo) {
			p.mu.Lock()
			p.sent += s.Rows
			p.mu.Unlock()
		},
		Warning: func(w producer.Warning) { p.say("warning: %s: %s", objectName(w.URI), w.Message) },
		Info:    func(w producer.Warning) { p.say("%s: %s", objectName(w.URI), w.Message) },
	}
}

func (p *progress) consumer() consumer.Events {
	return consumer.Events{
		Committed: func(c consumer.Commit) {
			p.mu.Lock()
			p.count++
			p.commit.Rows += c.Rows
			p.commit.Quarantined += c.Quarantined
			p.commit.Rescued += c.Rescued
			p.commit.Duplicates += c.Duplicates
			p.commit.Files += c.Files
			p.commit.Bytes += c.Bytes
			p.mu.Unlock()
			select {
			case p.commits <- struct{}{}:
			default:
			}
		},
		Evolved: func(version int64, changes []schema.Change) {
			for _, c := range changes {
				switch c.Kind {
				case "add":
					p.say("schema version %d: new column %s %s%s", version, c.Column, typeText(c.To), witness(c.Witness))
				case "decide":
					p.say("schema version %d: column %s is %s%s", version, c.Column, c.To, witness(c.Witness))
				}
			}
		},
		Conflict: func(partition int, offset int64, stream schema.StreamID, row int64) {
			p.say("warning: topic partition %d, offset %d: row %d of stream %s comes after the stream's end and was left out", partition, offset, row, stream)
		},
		Unverified: func(partition int, offset int64) {
			p.say("warning: topic partition %d: the message at offset %d, the last in the lake, is gone from the log: that it is the same log could not be checked", partition, offset)
		},
	}
}

// typeText is a column's type; one that has held nothing but nulls has none yet.
func typeText(t string) string {
	if t == "" || t == schema.Unknown.String() {
		return "(only nulls so far, no type yet)"
	}
	return t
}

func witness(w schema.Witness) string {
	if w.Source == "" {
		return ""
	}
	return fmt.Sprintf(" (%s:%d %q)", objectName(w.Source), w.Line, w.Text)
}
