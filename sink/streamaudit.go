package sink

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"lakefeed/schema"
)

// seenStreams is what was seen of streams. Complete ones go into a segment when they
// are many.
type seenStreams struct {
	streamSet
	done int // of live, those that are complete
}

// maxDone is how many complete streams are kept as they are before they go into a
// segment.
const maxDone = 1 << 14

func (s *seenStreams) put(x *stream) {
	if s.live == nil {
		s.live = make(map[schema.StreamID]*stream)
	}
	s.live[x.id] = x
	if x.complete() {
		s.done++
	}
	if s.done > maxDone {
		s.seal()
		s.done = 0
	}
}

// streamAudit replays what the records say was seen of the streams.
type streamAudit struct {
	audit  *Audit
	base   seenStreams   // what all chains had seen at their last reset
	chains []seenStreams // what each has seen since, with what it knew before
	lost   []bool        // records of the chain could not be read: its numbers are not exact
}

func newStreamAudit(a *Audit, partitions int) *streamAudit {
	return &streamAudit{audit: a, chains: make([]seenStreams, partitions), lost: make([]bool, partitions)}
}

// lose says that a record of a chain could not be read.
func (a *streamAudit) lose(partition int) { a.lost[partition] = true }

func (a *streamAudit) find(partition int, id schema.StreamID) *stream {
	if s := a.chains[partition].find(id); s != nil {
		return s
	}
	return a.base.find(id)
}

// record takes a record, and checks that what it says of its streams is what it
// added to them.
func (a *streamAudit) record(partition int, r *Record) {
	wrong := func(format string, args ...any) {
		f := a.audit.Table.OfRecord(Damage, RecordWrong, partition, r, format, args...)
		f.Key, f.Do = a.audit.Table.recordKey(partition, r.Seq), recordByHand
		a.audit.Report.Add(f)
	}
	var rows, ends int64
	for i := range r.Streams {
		after := streamOf(r.Streams[i])
		before := a.find(partition, after.id)
		if before == nil {
			before = newStream(after.id)
		}
		if !a.lost[partition] && !after.extends(before) {
			wrong("it takes rows of stream %s back that records before it have: it says that rows below %d were seen but for %v, and they had rows below %d but for %v", after.id, after.next, after.holes, before.next, before.holes)
		}
		rows += after.rows() - before.rows()
		if after.ended && !before.ended {
			ends++
			a.ended(partition, r, after)
		}
		a.chains[partition].put(after)
	}
	if a.lost[partition] || r.Kind == KindReplay { // whose rows were seen before
		return
	}
	var filtered int64
	for _, s := range r.Skipped {
		if s.Reason == SkipFiltered {
			filtered += s.To - s.From
		}
	}
	// Rows whose key is not ours are of no stream. Early records do not count them: they
	// are all in quarantine.
	c := r.Counts
	all := c.Rows + c.Quarantined + filtered
	if n := rows + c.Foreign; n > all || n < all-c.Quarantined || c.Foreign > 0 && n != all {
		wrong("its streams have %d new rows, but its files %d, its quarantine %d, and %d were left out by transforms", n, c.Rows, c.Quarantined, filtered)
	}
	if ends != r.Counts.Ends {
		wrong("its streams have %d new ends, but it counts %d", ends, r.Counts.Ends)
	}
}

// ended tells of ends that are not those of whole objects.
func (a *streamAudit) ended(partition int, r *Record, s *stream) {
	switch s.status {
	case "", "complete":
		return
	case "abandoned":
		f := a.audit.Table.OfRecord(Loss, StreamAbandoned, partition, r, "the stream was given up after %d rows: its producer never came back", s.limit)
		f.Stream = s.id.String()
		a.audit.Report.Add(f)
		return
	}
	f := a.audit.Table.OfRecord(Damage, StreamChanged, partition, r, "the object changed while it was read: the table has the %d rows that were read of it by then (status %s)", s.limit, s.status)
	f.Stream, f.Rows = s.id.String(), s.limit
	f.Do = "its new version was sent as another stream, so rows that both have are in the table twice: compare them, and load the object into another table if that is not wanted"
	a.audit.Report.Add(f)
}

// extends says whether everything that was seen before is seen still.
func (s *stream) extends(before *stream) bool {
	if s.next < before.next {
		return false
	}
	// What is unseen now below the old end must have been unseen then.
	var now []Range
	for _, h := range s.holes {
		if h[0] < before.next {
			now = append(now, Range{h[0], min(h[1], before.next)})
		}
	}
	return rowsOf(intersect(now, before.holes)) == rowsOf(now)
}

// rows is how many rows were seen.
func (s *stream) rows() int64 { return s.next - rowsOf(s.holes) }

func rowsOf(ranges []Range) (n int64) {
	for _, r := range ranges {
		n += r[1] - r[0]
	}
	return n
}

// seenRanges are the rows that were seen.
func (s *stream) seenRanges() (seen []Range) {
	from := int64(0)
	for _, h := range s.holes {
		if from < h[0] {
			seen = append(seen, Range{from, h[0]})
		}
		from = h[1]
	}
	if from < s.next {
		seen = append(seen, Range{from, s.next})
	}
	return seen
}

// join makes what all chains have seen what each of them knows from here on. Rows
// that two of them have taken in since the last time are in the table twice.
func (a *streamAudit) join() {
	for p := range a.chains {
		a.chains[p].each(func(s *stream) {
			for q := range p {
				if other := a.chains[q].find(s.id); other != nil {
					a.twice(q, p, other, s)
				}
			}
		})
	}
	for p := range a.chains {
		a.chains[p].each(func(s *stream) {
			joined := s.clone()
			if known := a.base.find(s.id); known != nil {
				joined = known.clone()
				joined.join(s)
			}
			a.base.put(joined)
		})
		a.chains[p] = seenStreams{}
	}
}

// twice reports the rows of a stream that two chains have.
func (a *streamAudit) twice(p, q int, one, two *stream) {
	both := intersect(one.seenRanges(), two.seenRanges())
	if known := a.base.find(one.id); known != nil {
		both = intersect(both, known.unseen(max(one.next, two.next)))
	}
	n := rowsOf(both)
	if n == 0 {
		return
	}
	t := a.audit.Table
	a.audit.Report.Add(Finding{
		Level: Damage, Kind: StreamTwice, Chain: chainName(t.topic, q), Stream: one.id.String(), Rows: n,
		Message: fmt.Sprintf("rows %s of the stream are in the table twice, from topic partitions %d and %d", rangesText(both), p, q),
		Do:      "all rows of a stream belong into one topic partition: send it with lakefeed, or give it another name; the table has to be built again without the second copy",
	})
}

// finish says which streams are whole.
func (a *streamAudit) finish() {
	owner := map[schema.StreamID]int{} // of those that are not
	for p := range a.chains {
		for id := range a.chains[p].live {
			owner[id] = p
		}
	}
	a.join()
	a.base.seal()
	t, report := a.audit.Table, a.audit.Report
	for _, g := range a.base.segments {
		report.count(func(r *AuditReport) { r.Complete += int64(g.len()) })
	}
	ids := slices.SortedFunc(maps.Keys(a.base.live), func(a, b schema.StreamID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		s := a.base.live[id]
		if !s.ended {
			report.count(func(r *AuditReport) { r.UnderWay++ })
			continue
		}
		f := Finding{Level: Damage, Kind: StreamIncomplete, Stream: id.String()}
		if p, ok := owner[id]; ok {
			f.Chain = chainName(t.topic, p)
		}
		missing := s.unseen(max(s.next, s.limit))
		if over := s.next - s.limit; over > 0 {
			f.Rows = over
			f.Message = fmt.Sprintf("its end counts %d rows, but the table has rows up to %d: rows %s are too many", s.limit, s.next-1, rangesText([]Range{{s.limit, s.next}}))
			f.Do = "the object was changed, or two producers disagreed about it: send it under another name (--source-name URI) into another table, and compare"
		} else {
			f.Rows = rowsOf(missing)
			f.Message = fmt.Sprintf("its end counts %d rows, but rows %s are not in the table", s.limit, rangesText(missing))
			f.Do = "rows were lost before they reached the lake: send the object under another name (--source-name URI), which takes all of its rows in again"
		}
		report.Add(f)
	}
	if report.UnderWay > 0 {
		report.Add(Finding{Level: Note, Kind: StreamsUnderWay, Message: fmt.Sprintf("%d streams have no end yet: their objects are being sent, or their producers are gone", report.UnderWay), Do: "run produce or ingest with their sources again, which goes on with what is not whole"})
	}
}

// rangesText names row numbers, the first few ranges of them.
func rangesText(ranges []Range) string {
	text := ""
	for i, r := range ranges {
		if i == 8 {
			return fmt.Sprintf("%s and %d more ranges", text, len(ranges)-i)
		}
		if i > 0 {
			text += ", "
		}
		if r[1] == r[0]+1 {
			text += fmt.Sprint(r[0])
		} else {
			text += fmt.Sprintf("%d to %d", r[0], r[1]-1)
		}
	}
	return text
}
