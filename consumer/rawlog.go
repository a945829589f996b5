package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink/raw"
)

// Log is where the messages of a topic are read from: the brokers, or what the raw
// zone has of them.
type Log interface {
	Topic(ctx context.Context, name string) (broker.Topic, error)
	Offsets(ctx context.Context, topic string, partition int) (start, end int64, err error)
	Fetch(ctx context.Context, topic string, partition int, offset int64, o broker.FetchOptions, f *broker.Fetch) error
}

var (
	_ Log = (*broker.Client)(nil)
	_ Log = (*rawLog)(nil)
)

// rawLog is one incarnation of a topic of which the raw zone has what the brokers no
// longer have: made of the copies of the source objects, in the order that was kept,
// and compared with the hashes that were kept.
type rawLog struct {
	client *broker.Client // nil where the topic is gone, or is another by now
	zone   *raw.Zone
	topic  broker.Topic
	parts  []*rawPartition
}

// rawPartition is a topic partition of a rawLog.
type rawPartition struct {
	log       *rawLog
	partition int
	segments  []raw.Range

	mu      sync.Mutex
	start   int64 // of the topic partition at the brokers; where it is gone, the end of the segments
	segment *raw.Segment
	open    []*openRows // the last one was used last
	batch   broker.Batch
	bytes   []byte
	key     []byte
	scratch []byte
}

// openRows are the rows of an object while they are read.
type openRows struct {
	stream schema.StreamID
	*raw.Rows
}

// maxOpenRows is how many objects are read side by side in a topic partition: as many
// as are sent to one at a time by a few producers.
const maxOpenRows = 4

// openRawLog finds out what the raw zone has of a topic. Without a client the topic is
// taken for gone.
func openRawLog(ctx context.Context, client *broker.Client, zone *raw.Zone, topic broker.Topic) (*rawLog, error) {
	l := &rawLog{client: client, zone: zone, topic: topic}
	for p := range topic.Partitions {
		segments, err := zone.Segments(ctx, topic.LogID, p)
		if err != nil {
			return nil, err
		}
		part := &rawPartition{log: l, partition: p, segments: segments}
		if client == nil {
			part.start = part.end()
		} else if part.start, _, err = client.Offsets(ctx, topic.Name, p); err != nil {
			return nil, err
		}
		l.parts = append(l.parts, part)
	}
	return l, nil
}

// end is the offset behind all that is kept of the topic partition.
func (p *rawPartition) end() int64 {
	if len(p.segments) == 0 {
		return 0
	}
	return p.segments[len(p.segments)-1].To
}

// some says whether anything of the topic is kept.
func (l *rawLog) some() bool {
	return slices.ContainsFunc(l.parts, func(p *rawPartition) bool { return len(p.segments) > 0 })
}

// keeps says whether the order of offsets [from, to) is kept.
func (l *rawLog) keeps(partition int, from, to int64) bool {
	if partition >= len(l.parts) {
		return false
	}
	segments := l.parts[partition].segments
	first, _ := slices.BinarySearchFunc(segments, from, func(s raw.Range, at int64) int { return cmp.Compare(s.To, at+1) })
	for _, s := range segments[first:] {
		if s.From > from || from >= to {
			break
		}
		from = s.To
	}
	return from >= to
}

// begins is the first offset that is kept of a topic partition.
func (l *rawLog) begins(partition int) int64 {
	if partition >= len(l.parts) || len(l.parts[partition].segments) == 0 {
		return math.MaxInt64
	}
	return l.parts[partition].segments[0].From
}

// ends are the offsets behind all that is kept, by topic partition.
func (l *rawLog) ends() map[int]int64 {
	ends := map[int]int64{}
	for _, p := range l.parts {
		ends[p.partition] = p.end()
	}
	return ends
}

// removed says that the brokers no longer have what is before an offset of a topic
// partition.
func (l *rawLog) removed(partition int, before int64) {
	if l.client == nil || partition >= len(l.parts) {
		return
	}
	p := l.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start = max(p.start, before)
}

// Topic gives the topic as it is, and one that is gone as it was.
func (l *rawLog) Topic(ctx context.Context, name string) (broker.Topic, error) {
	if l.client == nil {
		return l.topic, nil
	}
	return l.client.Topic(ctx, name)
}

// Offsets begin with what is kept.
func (l *rawLog) Offsets(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	if l.client != nil {
		start, end, err = l.client.Offsets(ctx, topic, partition)
	}
	if err != nil || partition >= len(l.parts) {
		return start, end, err
	}
	p := l.parts[partition]
	if len(p.segments) > 0 {
		if l.client == nil {
			return p.segments[0].From, p.end(), nil
		}
		start = min(start, p.segments[0].From)
	}
	return start, end, nil
}

// Fetch reads from the brokers what they have.
func (l *rawLog) Fetch(ctx context.Context, topic string, partition int, offset int64, o broker.FetchOptions, f *broker.Fetch) error {
	if partition >= len(l.parts) {
		if l.client == nil {
			f.Replay(nil, offset, o.WholeBatches)
			return nil
		}
		return l.client.Fetch(ctx, topic, partition, offset, o, f)
	}
	p := l.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset >= p.start && l.client != nil {
		err := l.client.Fetch(ctx, topic, partition, offset, o, f)
		var outside *broker.OffsetOutOfRange
		if !errors.As(err, &outside) || outside.Start <= offset || !p.log.keeps(partition, offset, outside.Start) {
			return err
		}
		p.start = outside.Start // more was removed since
	}
	log, err := p.read(ctx, offset, int(o.MaxBytes))
	if err != nil {
		return err
	}
	f.Replay(log, offset, o.WholeBatches)
	return nil
}

// read makes record batches of what is kept from an offset on. Offsets that are not
// kept hold nothing: whether that is so is looked at before a table is built. What
// cannot be made is an error when it comes first: what is before it is good.
func (p *rawPartition) read(ctx context.Context, offset int64, size int) ([]byte, error) {
	p.bytes = p.bytes[:0]
	if err := p.make(ctx, offset, size); err != nil && (len(p.bytes) == 0 || ctx.Err() != nil) {
		return nil, err
	}
	return p.bytes, nil
}

// make appends record batches, and gaps where there are none.
func (p *rawPartition) make(ctx context.Context, offset int64, size int) error {
	for offset < p.start && len(p.bytes) < size {
		at := slices.IndexFunc(p.segments, func(s raw.Range) bool { return s.To > offset })
		if at < 0 || p.segments[at].From >= p.start {
			p.bytes = broker.AppendGap(p.bytes, offset, p.start)
			break
		}
		r := p.segments[at]
		if r.From > offset {
			p.bytes, offset = broker.AppendGap(p.bytes, offset, r.From), r.From
		}
		if p.segment == nil || p.segment.From != r.From || p.segment.To != r.To {
			s, err := p.log.zone.Segment(ctx, p.log.topic.LogID, p.partition, r)
			if err != nil {
				return err
			}
			p.segment = s
		}
		first, _ := slices.BinarySearchFunc(p.segment.Runs, offset+1, func(run raw.Run, next int64) int { return int(max(-1, min(1, run.Offset+run.Count-next))) })
		for i := first; i < len(p.segment.Runs) && len(p.bytes) < size; i++ {
			run := &p.segment.Runs[i]
			p.bytes = broker.AppendGap(p.bytes, offset, run.Offset)
			if err := p.run(ctx, run); err != nil {
				return fmt.Errorf("make %s/%d@%d again: %w", p.log.topic.Name, p.partition, run.Offset, err)
			}
			offset = run.Offset + run.Count
		}
		if len(p.bytes) < size {
			p.bytes, offset = broker.AppendGap(p.bytes, offset, r.To), r.To
		}
	}
	return nil
}

// run appends the messages of a run.
func (p *rawPartition) run(ctx context.Context, run *raw.Run) error {
	p.batch.Reset()
	switch {
	case run.Foreign:
		return raw.ErrForeign
	case run.End:
		p.close(run.Stream)
		p.key = wire.AppendKey(p.key[:0], run.Stream, run.Row)
		p.batch.Append(p.key, nil, []broker.Header{
			{Key: wire.Source, Value: []byte(run.Source)},
			{Key: wire.Count, Value: strconv.AppendInt(nil, run.Row, 10)},
			{Key: wire.Status, Value: []byte(run.Status)},
			{Key: wire.Hash, Value: []byte(run.Hash)},
		}, run.At)
	default:
		if err := p.rows(ctx, run); err != nil {
			return err
		}
	}
	p.bytes = p.batch.AppendLog(p.bytes, run.Offset, run.Epoch)
	return nil
}

// rows puts the rows of a run into the batch, as their producer did.
func (p *rawPartition) rows(ctx context.Context, run *raw.Run) error {
	rows, err := p.reader(ctx, run)
	if err != nil {
		return err
	}
	var sum schema.Sum128
	for n := range run.Count {
		row, err := rows.Next()
		if err != nil {
			return err
		}
		var headers []broker.Header
		first := n == 0 || row.Turned
		if first && row.Columns != nil {
			headers = append(headers, broker.Header{Key: wire.Columns, Value: row.Columns})
		}
		if first {
			headers = append(headers, broker.Header{Key: wire.Source, Value: []byte(rows.Source())})
		}
		if first || row.Gap || row.Rule != "" {
			headers = append(headers, broker.Header{Key: wire.At, Value: wire.AppendAt(nil, row.From, row.Line)})
		}
		if row.Rule != "" {
			headers = append(headers, broker.Header{Key: wire.Reject, Value: []byte(row.Rule)},
				broker.Header{Key: wire.Message, Value: []byte(row.Message)}, broker.Header{Key: wire.Bytes, Value: wire.AppendRange(nil, row.From, row.To)})
		}
		p.key = wire.AppendKey(p.key[:0], run.Stream, run.Row+n)
		var hi, lo uint64
		hi, lo, p.scratch = wire.RowHash(p.scratch, p.key, row.Value)
		sum.Add(hi, lo)
		p.batch.Append(p.key, row.Value, headers, run.At)
	}
	if sum.String() != run.Sum {
		p.close(run.Stream)
		return &raw.MissingError{Stream: run.Stream, Source: rows.Source(), Row: run.Row,
			Reason: fmt.Sprintf("rows %d to %d of its copy are not those that were sent", run.Row, run.Row+run.Count-1)}
	}
	return nil
}

// reader gives the rows of an object, of which the run's first one comes next.
func (p *rawPartition) reader(ctx context.Context, run *raw.Run) (*raw.Rows, error) {
	i := slices.IndexFunc(p.open, func(o *openRows) bool { return o.stream == run.Stream })
	if i >= 0 && p.open[i].At() > run.Row { // sent twice
		p.close(run.Stream)
		i = -1
	}
	if i < 0 {
		if len(p.open) == maxOpenRows {
			p.close(p.open[0].stream)
		}
		rows, err := p.log.zone.Rows(ctx, run.Stream)
		if err != nil {
			return nil, err
		}
		p.open = append(p.open, &openRows{run.Stream, rows})
		i = len(p.open) - 1
	}
	o := p.open[i]
	p.open = append(slices.Delete(p.open, i, i+1), o)
	for o.At() < run.Row {
		if _, err := o.Next(); err != nil {
			return nil, err
		}
	}
	return o.Rows, nil
}

func (p *rawPartition) close(stream schema.StreamID) {
	p.open = slices.DeleteFunc(p.open, func(o *openRows) bool {
		if o.stream == stream {
			o.Close()
		}
		return o.stream == stream
	})
}

// Close ends all reading.
func (l *rawLog) Close() {
	for _, p := range l.parts {
		p.mu.Lock()
		for len(p.open) > 0 {
			p.close(p.open[0].stream)
		}
		p.mu.Unlock()
	}
}

// lack looks for the first of the offsets [from, to) of a topic partition whose
// messages cannot be made again, and says why.
func (l *rawLog) lack(ctx context.Context, partition int, from, to int64, checked map[schema.StreamID]bool) (offset int64, why error, err error) {
	p := l.parts[partition]
	for _, r := range p.segments {
		if r.To <= from {
			continue
		}
		if from >= to || r.From > from {
			break
		}
		s, err := l.zone.Segment(ctx, l.topic.LogID, partition, r)
		if err != nil {
			return from, nil, err
		}
		for i := range s.Runs {
			run := &s.Runs[i]
			if run.Offset+run.Count <= from || run.Offset >= to || run.End {
				continue
			}
			why := raw.ErrForeign
			if !run.Foreign {
				if checked[run.Stream] {
					continue
				}
				err := l.zone.Check(ctx, run.Stream)
				var missing *raw.MissingError
				if err != nil && !errors.As(err, &missing) {
					return from, nil, err
				}
				if err == nil {
					checked[run.Stream] = true
					continue
				}
				missing.Row = run.Row + max(0, from-run.Offset)
				why = missing
			}
			return max(from, run.Offset), why, nil
		}
		from = r.To
	}
	if from < to {
		return from, errors.New("the raw zone does not have it either"), nil
	}
	return to, nil, nil
}
