package consumer

import (
	"context"
	"fmt"
	"strconv"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// content is what two equal objects have in common: the sum of the hashes of their
// rows and row numbers, and how many they are.
type content struct {
	sum  schema.Sum128
	rows int64
}

// maxContents is how many streams are remembered to find equal ones.
const maxContents = 1 << 17

// streamSum is what the topic had of a stream so far.
type streamSum struct {
	rows    int64
	sum     schema.Sum128 // as the producer sums up
	content schema.Sum128 // of rows and row numbers, whatever the stream
	source  string
	ended   bool
	count   int64
	hash    string
	offset  int64 // of the end
	seq     int64
}

// message takes one message, and adds what is new of its stream to its sums.
func (a *chainAudit) message(ctx context.Context, r *sink.Record, m *broker.Message) error {
	rows, ends := a.from.w.draft.Taken()
	var err error
	if a.Deep {
		err = a.from.w.message(ctx, m)
	} else {
		err = a.from.w.classify(m)
	}
	if err != nil {
		return err
	}
	kept := a.from.isCopy(m.Offset)
	if kept {
		a.from.copies = true
	}
	stream, number, ours := wire.ParseKey(m.Key)
	if !ours {
		return nil
	}
	newRows, newEnds := a.from.w.draft.Taken()
	if newRows == rows && newEnds == ends {
		return nil
	}
	s := a.streams[stream]
	if s == nil {
		s = &streamSum{}
		a.streams[stream] = s
	}
	if a.from.w.origin.stream == stream && a.from.w.origin.source != "" && s.source != a.from.w.origin.source {
		s.source = a.from.w.origin.source
	}
	if newRows > rows && kept {
		a.from.kept++
	}
	if newRows > rows {
		var hi, lo uint64
		hi, lo, a.scratch = wire.RowHash(a.scratch, m.Key, m.Value)
		s.sum.Add(hi, lo)
		a.key = strconv.AppendInt(a.key[:0], number, 10)
		hi, lo, a.scratch = wire.RowHash(a.scratch, a.key, m.Value)
		s.content.Add(hi, lo)
		s.rows++
	} else {
		s.ended, s.count, s.hash, s.offset, s.seq = true, number, string(header(m, wire.Hash)), m.Offset, r.Seq
	}
	if s.ended && s.rows == s.count {
		a.complete(stream, s)
		delete(a.streams, stream)
	}
	return nil
}

// classify takes a message into the draft, and no more.
func (w *worker) classify(m *broker.Message) error {
	stream, number, ours := wire.ParseKey(m.Key)
	if m.FirstOfBatch || len(m.Headers) > 0 {
		w.origin.read(m, stream, m.FirstOfBatch)
	}
	if !ours {
		w.draft.Foreign(m.Offset)
		return nil
	}
	if m.Value == nil {
		return w.end(m, stream, number)
	}
	verdict, err := w.draft.Row(stream, number)
	switch {
	case err != nil:
		return err
	case verdict == sink.Duplicate:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipDuplicate)
	case verdict == sink.Conflict:
		w.draft.Skip(m.Offset, m.Offset+1, sink.SkipConflict)
	}
	return nil
}

// complete compares a stream of which all rows were read with its producer's hash,
// and with the other streams.
func (a *chainAudit) complete(id schema.StreamID, s *streamSum) {
	if s.hash != "" {
		a.hashed++
		if s.hash != s.sum.String() {
			to := s.offset + 1
			a.Report.Add(sink.Finding{
				Level: sink.Damage, Kind: sink.StreamHash, Chain: a.chain(), Seq: &s.seq, From: &s.offset, To: &to, Stream: id.String(), Source: s.source, Rows: s.rows,
				Message: fmt.Sprintf("the hash of the stream's %d rows is %s in the %s, and its producer gives %s: rows were changed on their way", s.rows, s.sum, a.from.with, s.hash),
				Do:      "send the object under another name (--source-name URI) into another table, and compare",
			})
		}
	}
	if s.rows == 0 {
		return
	}
	c := content{s.content, s.rows}
	name := s.source
	if name == "" {
		name = "stream " + id.String()
	}
	if before, ok := a.equal[c]; ok {
		a.Report.Add(sink.Finding{
			Level: sink.Warning, Kind: sink.EqualObjects, Chain: a.chain(), Stream: id.String(), Source: s.source, Rows: s.rows,
			Message: fmt.Sprintf("%s has the same %d rows as %s: both are in the table", name, s.rows, before),
			Do:      "nothing, if both are meant to be there; objects of different names are different rows",
		})
		return
	}
	if len(a.equal) < maxContents {
		a.equal[c] = name
	} else {
		a.over = true
	}
}
