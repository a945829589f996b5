package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/schema"
)

// progressEvery is how often a run says where it is when it does not draw bars.
const progressEvery = 10 * time.Second

// Progress is the flag of commands that take a while.
type Progress struct {
	Progress string `help:"Show progress as ${enum}. auto: bars on a terminal, else a line every 10 s." enum:"auto,bar,line,json,none" default:"auto" placeholder:"HOW"`
}

// view shows a run's progress. Its methods are called one at a time.
type view interface {
	sent(producer.SentInfo)  // rows of an object were acknowledged
	show(standing)           // at each tick
	say(line string)         // one line of talk, without line end
	every() time.Duration    // between ticks
	close(standing standing) // after the last
}

// standing is where a run is.
type standing struct {
	Seconds     float64 `json:"seconds"`
	Sent        int64   `json:"rows_sent"`
	BytesSent   int64   `json:"bytes_sent"`            // of the sources, decompressed
	BytesDone   int64   `json:"bytes_done"`            // of the sources as stored, with what was done before this run
	BytesTotal  int64   `json:"bytes_total,omitempty"` // of the sources as stored, 0 where unknown
	ETA         float64 `json:"eta_seconds,omitempty"` // until all are sent, 0 where unknown
	Rows        int64   `json:"rows_committed"`
	Filtered    int64   `json:"rows_filtered"`
	Quarantined int64   `json:"rows_quarantined"`
	Rescued     int64   `json:"cells_rescued"`
	Commits     int64   `json:"commits"`
}

// progress listens to what a feed's producer and consumer do, and counts it.
type progress struct {
	*board
	name    string
	now     standing         // without what commit has, and times
	unknown bool             // how much there is to do
	worked  int64            // of BytesDone, what took this run's time
	at      map[string]int64 // how far a source is that is being sent
	commit  consumer.Commit  // sums over all
	// deviations are what the table did not take, sums over all.
	deviations []schema.Deviation
	reset      string // log id of the last reset that was told
	// conflicts has the streams of which rows came after their end.
	conflicts map[schema.StreamID]bool

	committed func() // called after each commit; nil: nobody wants to know
}

// expected is how many objects at most are listed to know how much there is to do.
const expected = 20_000

// expect finds out how many bytes the sources have, where that is known. What is
// wrong with a source is told when it is sent.
func (p *progress) expect(ctx context.Context, sources []producer.Source) {
	total, n := int64(0), 0
	for _, source := range sources {
		for o, err := range source.Objects(ctx) {
			if n++; err != nil || o.Size < 0 || n > expected {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.unknown = true
				return
			}
			total += o.Size
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.BytesTotal = total
}

// advance counts what was sent of a source. The caller has the lock.
func (p *progress) advance(s producer.SentInfo) {
	p.now.Sent += s.Rows
	p.now.BytesSent += s.Bytes
	if s.Size < 0 {
		return // offsets are not those of what is stored
	}
	before, begun := p.at[s.URI]
	if !begun {
		before = s.Offset - s.Bytes
		p.now.BytesDone += before
	}
	p.at[s.URI] = s.Offset
	p.now.BytesDone += s.Offset - before
	p.worked += s.Offset - before
}

// pass counts what is left of a source that the run is done with. The caller has
// the lock.
func (p *progress) pass(uri string, size int64) {
	at, begun := p.at[uri]
	delete(p.at, uri)
	if size < 0 {
		return
	}
	p.now.BytesDone += size - at
	if begun {
		p.worked += size - at
	}
}

// say shows one line of talk.
func (p *progress) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if p.name != "" {
		line = "feed " + p.name + ": " + line
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view.say(line)
}

func (p *progress) producer() producer.Events {
	return producer.Events{
		Sent: func(s producer.SentInfo) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.advance(s)
			p.view.sent(s)
		},
		Passed: func(uri string, size int64) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.pass(uri, size)
		},
		Warning: func(w producer.Warning) { p.say("warning: %s: %s", objectName(w.URI), w.Message) },
		Info:    func(w producer.Warning) { p.say("%s: %s", objectName(w.URI), w.Message) },
	}
}

func (p *progress) consumer() consumer.Events {
	return consumer.Events{
		Committed: func(c consumer.Commit) {
			p.mu.Lock()
			p.now.Commits++
			p.commit.Rows += c.Rows
			p.commit.Filtered += c.Filtered
			p.commit.Quarantined += c.Quarantined
			p.commit.Rescued += c.Rescued
			p.commit.Duplicates += c.Duplicates
			p.commit.Files += c.Files
			p.commit.Bytes += c.Bytes
			p.addCauses(c.Causes)
			p.mu.Unlock()
			if p.committed != nil {
				p.committed()
			}
		},
		Evolved: func(version int64, changes []schema.Change) {
			for _, c := range changes {
				switch c.Kind {
				case "add":
					p.say("schema version %d: new column %s %s%s", version, c.Column, typeText(c.To), witness(c.Witness))
				case "decide":
					p.say("schema version %d: column %s is %s%s", version, c.Column, c.To, witness(c.Witness))
				case "widen", "settle":
					p.say("schema version %d: column %s was %s and is %s%s", version, c.Column, c.From, c.To, witness(c.Witness))
				}
			}
		},
		Deviated: func(partition int, deviations []schema.Deviation) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, d := range deviations {
				i := slices.IndexFunc(p.deviations, func(o schema.Deviation) bool {
					return o.Kind == d.Kind && o.Column == d.Column && o.Policy == d.Policy
				})
				if i < 0 {
					p.deviations = append(p.deviations, d)
				} else {
					p.deviations[i].Count += d.Count
				}
			}
		},
		Conflict: func(partition int, offset int64, stream schema.StreamID, row int64) {
			p.mu.Lock()
			told := p.conflicts[stream]
			p.conflicts[stream] = true
			p.mu.Unlock()
			if !told { // the first of each stream
				p.say("warning: topic partition %d, offset %d: row %d of stream %s comes after the stream's end and was left out, as others of it may be", partition, offset, row, stream)
			}
		},
		Reset: func(partition int, from, to string) {
			p.mu.Lock()
			told := p.reset == to
			p.reset = to
			p.mu.Unlock()
			if !told { // each topic partition notices
				p.say("the topic is another than before (id %s, was %s): going on with it, and leaving out rows that are in the lake", to, from)
			}
		},
		Rewound: func(partition int, from, to int64) {
			p.say("warning: topic partition %d: the log has lost messages, going on at offset %d instead of %d; what was lost of them that was not in the lake has to be sent again", partition, to, from)
		},
		Gap: func(g consumer.Gap) {
			if len(g.Files) > 0 {
				p.say("warning: topic partition %d: %s in %s vanished and cannot be made again, which the lake has on record", g.Partition, plural(g.Rows, "row"), plural(int64(len(g.Files)), "file"))
				return
			}
			p.say("warning: topic partition %d: offsets %d to %d were removed from the topic before they reached the lake, which has it on record", g.Partition, g.From, g.To-1)
		},
		Repaired: func(partition int, seq int64, files []string) {
			p.say("topic partition %d: %s of record %d had vanished and were made again from the topic", partition, plural(int64(len(files)), "file"), seq)
		},
		Unverified: func(partition int, offset int64) {
			p.say("warning: topic partition %d: the message at offset %d, the last in the lake, is gone from the log: that it is the same log could not be checked", partition, offset)
		},
	}
}

// addCauses adds up why rows went into quarantine. The caller has the lock.
func (p *progress) addCauses(more []consumer.Cause) {
	for _, c := range more {
		i := slices.IndexFunc(p.commit.Causes, func(have consumer.Cause) bool { return have.Rule == c.Rule })
		if i < 0 {
			p.commit.Causes = append(p.commit.Causes, c)
		} else {
			p.commit.Causes[i].Rows += c.Rows
		}
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

// lineView prints a line now and then: for logs and pipes.
type lineView struct {
	out   io.Writer
	quiet bool // talk only
}

func (v *lineView) sent(producer.SentInfo) {}
func (v *lineView) every() time.Duration   { return progressEvery }
func (v *lineView) say(line string)        { fmt.Fprintln(v.out, line) }
func (v *lineView) close(standing)         {}

func (v *lineView) show(s standing) {
	if !v.quiet {
		fmt.Fprintf(v.out, "%s; in the lake %s\n", s.sent(), s.lake())
	}
}

// sent says what was sent, how fast, and how long the rest will take.
func (s standing) sent() string {
	text := fmt.Sprintf("%4.0fs  sent %s, ", s.Seconds, plural(s.Sent, "row"))
	if s.BytesTotal > 0 {
		text += fmt.Sprintf("%s of %s", bytesText(s.BytesDone), bytesText(s.BytesTotal))
	} else {
		text += bytesText(s.BytesSent)
	}
	if s.Seconds > 0 {
		text += fmt.Sprintf(" (%s/s)", bytesText(int64(float64(s.BytesSent)/s.Seconds)))
	}
	if s.ETA > 0 {
		text += fmt.Sprintf(", %s left", roughly(s.ETA))
	}
	return text
}

// roughly is a time in one or two units.
func roughly(seconds float64) string {
	switch n := int64(seconds + 0.5); {
	case n < 100:
		return fmt.Sprintf("%ds", n)
	case n < 100*60:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	case n < 100*3600:
		return fmt.Sprintf("%dh%02dm", n/3600, n/60%60)
	default:
		return fmt.Sprintf("%d days", n/86400)
	}
}

// lake says what has come to the lake.
func (s standing) lake() string {
	text := plural(s.Rows, "row")
	if s.Filtered > 0 {
		text += ", " + countText(s.Filtered) + " left out"
	}
	if s.Rescued > 0 {
		text += ", " + countText(s.Rescued) + " rescued"
	}
	if s.Quarantined > 0 {
		text += ", " + countText(s.Quarantined) + " quarantined"
	}
	return text
}

// jsonView prints a JSON object a line, for programs. Talk is in "message".
type jsonView struct{ out *json.Encoder }

func (v *jsonView) sent(producer.SentInfo) {}
func (v *jsonView) every() time.Duration   { return time.Second }
func (v *jsonView) show(s standing)        { v.out.Encode(s) }
func (v *jsonView) close(s standing)       { v.out.Encode(s) }

func (v *jsonView) say(line string) {
	v.out.Encode(struct {
		Message string `json:"message"`
	}{line})
}
