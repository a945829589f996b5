package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// drainGrace is how long a worker that is told to stop may take to commit what
// it has read.
const drainGrace = time.Minute

// fetchBytes is the most that one fetch asks for. One batch is returned whole
// even when it is larger.
const fetchBytes = 4 << 20

// worker consumes one topic partition: fetch, type, commit, in a straight line.
type worker struct {
	c         *Consumer
	partition int
	process   context.Context // of the whole run; when it ends what was read is committed
	hint      func(context.Context, map[int]int64) error

	chain    *sink.Chain
	writer   *sink.Writer
	draft    *sink.Draft
	batch    batch
	log      string // log id of the topic
	position int64  // next offset to read
	since    time.Time
	reserved int // bytes taken from the budget

	fetch    broker.Fetch
	splitter wire.Splitter
	origin   origin
	last     broker.Message // the last message before position; aliases the fetch
	lastSet  bool
	print    *sink.Fingerprint // of the last message of earlier fetches
	at       func() schema.Witness
}

// errLost ends the work on a batch that another owner has decided.
var errLost = errors.New("another owner decided the batch")

func (w *worker) run(ctx context.Context) error {
	w.chain = w.c.Table.Chain(w.partition)
	w.writer = &sink.Writer{Table: w.c.Table, Chain: w.chain}
	w.at = func() schema.Witness { return schema.Witness{Source: w.origin.source, Line: w.origin.line} }
	if w.c.Meta {
		w.batch.meta = &metaColumns{}
	}
	defer w.release()
	for {
		err := w.own(ctx)
		if errors.Is(err, errLost) {
			continue
		}
		return err
	}
}

func (w *worker) release() {
	w.c.budget.give(w.reserved)
	w.reserved = 0
}

// own reads the chain and works from its end until the topic partition is
// drained, ctx ends, or a batch is lost.
func (w *worker) own(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	for {
		target, draining := w.c.target(w.partition)
		if draining && w.position >= target {
			return w.stop(ctx)
		}
		if ctx.Err() != nil {
			if w.process.Err() == nil {
				return ctx.Err() // the topic partition is another's now: what was read is dropped
			}
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainGrace)
			defer cancel()
			if err := w.stop(grace); err != nil {
				return err
			}
			return ctx.Err()
		}
		if w.due() {
			if err := w.flush(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.read(ctx, draining); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// stop commits what was read and leaves a checkpoint.
func (w *worker) stop(ctx context.Context) error {
	if w.position > w.draft.From() {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return w.chain.Checkpoint(ctx)
}

// open finds where the lake's chain ends, and checks that the topic is the one
// it was written from.
func (w *worker) open(ctx context.Context) error {
	w.release()
	state, err := w.chain.Open(ctx)
	if err != nil {
		return err
	}
	topic, err := w.c.Client.Topic(ctx, w.c.Topic.Name)
	if err != nil {
		return err
	}
	start, end, err := w.c.Client.Offsets(ctx, topic.Name, w.partition)
	if err != nil {
		return err
	}
	present := sink.LogView{Topic: topic.Name, Partition: w.partition, Log: topic.LogID, Start: start, End: end}
	if state.To > start && state.To <= end && state.Log == topic.LogID && state.FP != nil {
		if present.Last, err = w.fingerprintAt(ctx, state.FP.Offset); err != nil {
			return err
		}
	}
	verdict, err := state.CheckLog(present)
	if err != nil {
		return err
	}
	if verdict == sink.LogUnverified && w.c.Events.Unverified != nil {
		w.c.Events.Unverified(w.partition, state.To-1)
	}
	w.log = topic.LogID
	w.print = state.FP
	w.lastSet = false
	if err := w.begin(ctx); err != nil {
		return err
	}
	if verdict == sink.LogFromStart {
		w.draft.Skip(w.position, start, sink.SkipRetention)
		w.position = start
	}
	return nil
}

// begin starts an empty batch at the chain's end.
func (w *worker) begin(ctx context.Context) error {
	latest, err := w.c.Table.Schemas().Latest(ctx)
	if err != nil {
		return err
	}
	w.draft = w.chain.Begin()
	w.position = w.draft.From()
	w.batch.reset(latest)
	w.origin.layout = nil
	w.since = time.Time{}
	return nil
}

// due says that the batch has reached its size or age.
func (w *worker) due() bool {
	if w.position == w.draft.From() {
		return false
	}
	size, every := w.limits()
	return w.batch.bytes >= size || w.c.Now().Sub(w.since) >= every
}

// limits are the batch's flush size and time. The first batch of a table waits
// for the defaults at least: it decides the columns' types.
func (w *worker) limits() (size int, every time.Duration) {
	size, every = w.c.FlushBytes, w.c.FlushEvery
	if w.batch.schema == nil {
		size, every = max(size, DefaultFlushBytes), max(every, DefaultFlushEvery)
	}
	return size, every
}

// read fetches once and takes the messages. It commits the batch first when
// there is no memory for more.
func (w *worker) read(ctx context.Context, draining bool) error {
	if wait := w.c.budget.take(fetchBytes); wait != nil {
		if w.position > w.draft.From() {
			return w.flush(ctx)
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
		return nil
	}
	w.reserved += fetchBytes
	wait := 500 * time.Millisecond
	if draining {
		wait = 50 * time.Millisecond
	}
	if !w.since.IsZero() {
		_, every := w.limits()
		wait = max(0, min(wait, every-w.c.Now().Sub(w.since)))
	}
	err := w.c.Client.Fetch(ctx, w.c.Topic.Name, w.partition, w.position, broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: wait, MinBytes: 1, ReadCommitted: true}, &w.fetch)
	var outside *broker.OffsetOutOfRange
	if errors.As(err, &outside) {
		state, openErr := w.chain.Open(ctx)
		if openErr != nil {
			return openErr
		}
		_, err = state.CheckLog(sink.LogView{Topic: w.c.Topic.Name, Partition: w.partition, Log: w.log, Start: outside.Start, End: outside.End})
		if err == nil {
			err = outside
		}
	}
	if err != nil {
		return err
	}
	before := w.batch.bytes
	err = w.take(ctx)
	// What the fetch did not bring goes back to the budget.
	unused := fetchBytes - min(fetchBytes, max(0, w.batch.bytes-before))
	w.c.budget.give(min(unused, w.reserved))
	w.reserved -= min(unused, w.reserved)
	return err
}

// take goes through the fetched messages.
func (w *worker) take(ctx context.Context) error {
	size, _ := w.limits()
	var m broker.Message
	for w.fetch.Next(&m) {
		if m.FirstOfBatch && w.batch.bytes >= size {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
		if w.since.IsZero() {
			w.since = w.c.Now()
		}
		w.skipTo(m.Offset)
		if err := w.message(ctx, &m); err != nil {
			return fmt.Errorf("offset %d: %w", m.Offset, err)
		}
		w.position = m.Offset + 1
		w.last, w.lastSet = m, true
	}
	if err := w.fetch.Err(); err != nil {
		return fmt.Errorf("read at offset %d: %w", w.position, err)
	}
	if w.lastSet {
		w.print, w.lastSet = fingerprint(&w.last), false
	}
	w.skipTo(w.fetch.End())
	return nil
}

// skipTo accounts for the offsets before next that hold no message.
func (w *worker) skipTo(next int64) {
	if next <= w.position {
		return
	}
	for _, s := range w.fetch.Skipped() {
		from, to := max(s.From, w.position), min(s.To, next)
		if from >= to {
			continue
		}
		if from > w.position {
			w.draft.Skip(w.position, from, sink.SkipCompacted)
		}
		w.draft.Skip(from, to, s.Reason)
		w.position = to
	}
	if w.position < next {
		w.draft.Skip(w.position, next, sink.SkipCompacted)
		w.position = next
	}
	if w.since.IsZero() {
		w.since = w.c.Now()
	}
}

func fingerprint(m *broker.Message) *sink.Fingerprint {
	return &sink.Fingerprint{Offset: m.Offset, Key: string(m.Key), Timestamp: m.Timestamp, CRC32C: checksum(m), Epoch: m.Epoch}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(m *broker.Message) uint32 {
	return crc32.Update(crc32.Checksum(m.Key, castagnoli), castagnoli, m.Value)
}

// fingerprintAt reads the message at an offset, nil when there is none any more.
func (w *worker) fingerprintAt(ctx context.Context, offset int64) (*sink.Fingerprint, error) {
	var f broker.Fetch
	err := w.c.Client.Fetch(ctx, w.c.Topic.Name, w.partition, offset, broker.FetchOptions{MaxBytes: 1 << 20, MaxWait: time.Second, MinBytes: 1}, &f)
	if err != nil {
		return nil, err
	}
	var m broker.Message
	if f.Next(&m) && m.Offset == offset {
		return fingerprint(&m), nil
	}
	return nil, f.Err()
}

// flush decides the columns' types, commits the batch, and starts the next.
func (w *worker) flush(ctx context.Context) error {
	began := w.c.Now()
	if w.lastSet {
		w.print, w.lastSet = fingerprint(&w.last), false
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	records := w.batch.records()
	records.Log, records.To, records.FP = w.log, w.position, w.print
	done, err := w.writer.Commit(ctx, w.draft, records)
	if err != nil {
		return err
	}
	if done.Outcome == sink.Lost {
		if w.c.Events.Lost != nil {
			w.c.Events.Lost(w.partition, w.draft.Seq())
		}
		return errLost
	}
	w.c.Events.committed(Commit{
		Partition: w.partition, Seq: w.draft.Seq(), From: w.draft.From(), To: w.position,
		Rows: int64(w.batch.rows), Quarantined: int64(len(w.batch.quarantine)), Rescued: w.batch.rescues, Duplicates: w.draft.Duplicates(),
		Files: done.Files, Bytes: done.Bytes, Took: w.c.Now().Sub(began),
	})
	w.release()
	if err := w.hint(ctx, map[int]int64{w.partition: w.position}); err != nil {
		w.c.Log.Debug("group offset not committed", "topic", w.c.Topic.Name, "partition", w.partition, "offset", w.position, "err", err)
	}
	return w.begin(ctx)
}

// settle makes sure that the table's schema knows every column of the batch, and
// types the columns that had none. Several writers may try for one version: who
// loses reads the winner's and asks again what is missing.
func (w *worker) settle(ctx context.Context) error {
	log := w.c.Table.Schemas()
	current := w.batch.schema
	for {
		next, changed := schema.Evolve(current, w.batch.seen(current))
		if !changed {
			break
		}
		err := log.Append(ctx, next)
		if err == nil {
			w.c.Events.evolved(next.Version, next.Changes)
			current = next
			break
		}
		if !errors.Is(err, sink.ErrExists) {
			return err
		}
		if current, err = log.Latest(ctx); err != nil {
			return err
		}
	}
	if current != nil {
		w.batch.decide(current)
	}
	return nil
}

// message takes one message into the batch.
func (w *worker) message(ctx context.Context, m *broker.Message) error {
	stream, number, ours := wire.ParseKey(m.Key)
	if m.FirstOfBatch || len(m.Headers) > 0 {
		w.origin.read(m, stream, m.FirstOfBatch)
	}
	if !ours {
		return w.foreign(m)
	}
	if m.Value == nil {
		return w.end(m, stream, number)
	}
	verdict, err := w.draft.Row(stream, number)
	if err != nil {
		return err
	}
	rule := header(m, wire.Reject)
	if verdict != sink.Fresh {
		reason := sink.SkipDuplicate
		if verdict == sink.Conflict {
			reason = sink.SkipConflict
			if w.c.Events.Conflict != nil {
				w.c.Events.Conflict(w.partition, m.Offset, stream, number)
			}
		}
		w.draft.Skip(m.Offset, m.Offset+1, reason)
		if rule == nil {
			w.origin.pass(m.Value, true)
		}
		return nil
	}
	if rule != nil {
		return w.reject(m, stream, number, string(rule))
	}
	return w.row(ctx, m, stream, number)
}

// row types a row and adds it, or puts it into quarantine.
func (w *worker) row(ctx context.Context, m *broker.Message, stream schema.StreamID, number int64) error {
	if !w.origin.known || w.origin.stream != stream {
		if err := w.lookBack(ctx, m, stream); err != nil {
			return err
		}
	}
	w.batch.bytes += len(m.Value)
	cells, err := w.splitter.Split(m.Value)
	if err != nil {
		w.quarantine(m, stream, number, "parse", "not_csv", "the message's value is "+err.Error())
		w.origin.pass(m.Value, true)
		return nil
	}
	quoted := slices.ContainsFunc(cells, func(c wire.Cell) bool { return c.Quoted })
	if w.origin.layout == nil || !w.origin.named && len(w.origin.layout.columns) != len(cells) {
		if err := w.layout(len(cells)); err != nil {
			return err
		}
	}
	if want := len(w.origin.layout.columns); len(cells) != want {
		w.quarantine(m, stream, number, "parse", "cell_count", fmt.Sprintf("the row has %d cells, its header %d", len(cells), want))
		w.origin.pass(m.Value, quoted)
		return nil
	}
	w.batch.add(w.origin.layout, cells, w.at)
	w.batch.streams = append(w.batch.streams, stream.Hash64())
	w.batch.numbers = append(w.batch.numbers, number)
	if w.batch.meta != nil {
		w.batch.meta.add(w.origin.source, number, m.Offset, w.c.Now().UnixMilli())
	}
	w.origin.pass(m.Value, quoted)
	return nil
}

// layout finds the columns for rows of the present origin.
func (w *worker) layout(width int) (err error) {
	if !w.origin.named {
		w.origin.layout = w.batch.numbered(width)
		return nil
	}
	w.origin.layout, err = w.batch.named(w.origin.header)
	return err
}

// lookBack finds the headers of a stream whose record batch began before the
// offset that was asked for, or was made anew without them by a mirror.
func (w *worker) lookBack(ctx context.Context, m *broker.Message, stream schema.StreamID) error {
	var f broker.Fetch
	for back := int64(1); ; back *= 4 {
		from := max(0, m.Offset-back)
		found, err := w.originBefore(ctx, &f, from, m.Offset, stream)
		if err != nil {
			return err
		}
		if found {
			return nil
		}
		if from == 0 {
			break
		}
	}
	// Without headers the row's cells are kept under numbered columns.
	w.origin = origin{known: true, stream: stream}
	return nil
}

// originBefore reads from..to for the last headers of a stream.
func (w *worker) originBefore(ctx context.Context, f *broker.Fetch, from, to int64, stream schema.StreamID) (found bool, err error) {
	for from < to {
		o := broker.FetchOptions{MaxBytes: fetchBytes, MaxWait: time.Second, MinBytes: 1, WholeBatches: true}
		var outside *broker.OffsetOutOfRange
		err := w.c.Client.Fetch(ctx, w.c.Topic.Name, w.partition, from, o, f)
		if errors.As(err, &outside) && outside.Start > from && outside.Start < to {
			from = outside.Start
			continue
		}
		if err != nil {
			return found, err
		}
		var m broker.Message
		for f.Next(&m) && m.Offset < to {
			id, _, ours := wire.ParseKey(m.Key)
			if !ours || id != stream {
				continue
			}
			if len(m.Headers) > 0 {
				w.origin.read(&m, id, false)
				found = found || w.origin.known && w.origin.stream == stream
			}
			if found && header(&m, wire.Reject) == nil && m.Value != nil {
				w.origin.pass(m.Value, true)
			}
		}
		if err := f.Err(); err != nil {
			return found, err
		}
		if f.End() <= from {
			return found, nil
		}
		from = f.End()
	}
	return found, nil
}

// end takes the end of a stream.
func (w *worker) end(m *broker.Message, stream schema.StreamID, count int64) error {
	verdict, err := w.draft.End(stream, count, string(header(m, wire.Status)), string(header(m, wire.Hash)))
	if err != nil {
		return err
	}
	switch verdict {
	case sink.Duplicate:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipDuplicate)
	case sink.Conflict:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipConflict)
		if w.c.Events.Conflict != nil {
			w.c.Events.Conflict(w.partition, m.Offset, stream, count)
		}
	}
	return nil
}

// foreign takes a message whose key is not ours: there is no header to name its
// cells, so it is kept in quarantine.
func (w *worker) foreign(m *broker.Message) error {
	w.batch.bytes += len(m.Value)
	w.draft.Foreign(m.Offset)
	w.quarantine(m, schema.StreamID{}, -1, "parse", "foreign_key", "the message's key is not one that lakefeed produce writes, so its columns are not known")
	return nil
}

// reject puts bytes that could not be split into a row into quarantine.
func (w *worker) reject(m *broker.Message, stream schema.StreamID, number int64, rule string) error {
	w.batch.bytes += len(m.Value)
	w.quarantine(m, stream, number, "split", rule, string(header(m, wire.Message)))
	q := &w.batch.quarantine[len(w.batch.quarantine)-1]
	if at := header(m, wire.At); at != nil {
		if _, line, err := wire.ParseAt(at); err == nil {
			q.Line = line
		}
	}
	if r := header(m, wire.Bytes); r != nil {
		if from, to, err := wire.ParseRange(r); err == nil {
			q.BytesFrom, q.BytesTo = from, to
		}
	}
	w.origin.line = 0 // the next row says where it is
	return nil
}

// quarantine keeps a message that cannot become a record.
func (w *worker) quarantine(m *broker.Message, stream schema.StreamID, number int64, stage, rule, message string) {
	q := sink.QuarantineRow{
		Raw: slices.Clone(m.Value), Source: w.origin.source, Row: number, Line: w.origin.line, BytesFrom: sink.Unknown, BytesTo: sink.Unknown,
		Topic: w.c.Topic.Name, Partition: int64(w.partition), Offset: m.Offset, Stage: stage, Rule: rule, Message: message,
		SchemaVersion: sink.Unknown, At: w.c.Now(),
	}
	if number >= 0 {
		q.Stream = stream.String()
	}
	if q.Line == 0 {
		q.Line = sink.Unknown
	}
	if w.batch.schema != nil {
		q.SchemaVersion = w.batch.schema.Version
	}
	w.batch.quarantine = append(w.batch.quarantine, q)
	id := stream.Hash64()
	if number < 0 { // known by its offset alone
		id, number = 0, m.Offset
	}
	w.batch.unfit.Stream = append(w.batch.unfit.Stream, id)
	w.batch.unfit.Row = append(w.batch.unfit.Row, number)
}

func header(m *broker.Message, key string) []byte {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return nil
}
