package raw

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"lakefeed/schema"
)

// Segment is the order in which messages stand in a range of offsets of a topic
// partition. Offsets that no run has hold no message. Whoever writes a segment has
// read all of it; segments may overlap, and say the same.
type Segment struct {
	V         int    `json:"v"`
	Topic     string `json:"topic"`
	Log       string `json:"log"` // which incarnation of the topic
	Partition int    `json:"partition"`
	From      int64  `json:"from"` // offsets [from, to)
	To        int64  `json:"to"`
	Runs      []Run  `json:"runs"`
}

// Run is messages at offsets that follow each other: of one stream, with row numbers
// that follow each other, or the end of a stream, or a message of others.
type Run struct {
	Offset int64           `json:"offset"`
	Count  int64           `json:"n"`
	Stream schema.StreamID `json:"stream,omitzero"`
	Row    int64           `json:"row"`           // the first one's
	At     int64           `json:"at"`            // timestamp of all, ms
	Epoch  int32           `json:"epoch"`         // of the leader that took them
	Sum    string          `json:"sum,omitempty"` // the sum of the rows' hashes, as wire.RowHash gives them
	// End says that it is the end of a stream of Row rows; Source, Status and Hash are
	// what it says.
	End    bool   `json:"end,omitempty"`
	Source string `json:"source,omitempty"`
	Status string `json:"status,omitempty"`
	Hash   string `json:"hash,omitempty"`
	// Foreign says that it is a message of others, which is not in the raw zone.
	Foreign bool `json:"foreign,omitempty"`
}

// Order gathers the runs of a range of offsets. The zero value is empty.
type Order struct {
	runs []Run
	sum  schema.Sum128 // of the last run
}

// Reset empties it.
func (o *Order) Reset() { o.runs, o.sum = nil, schema.Sum128{} }

// Row adds a row or reject, whose hash is hi, lo. first says that a record batch
// begins with it.
func (o *Order) Row(r Run, first bool, hi, lo uint64) {
	if n := len(o.runs); n > 0 && !first {
		last := &o.runs[n-1]
		if !last.End && !last.Foreign && last.Stream == r.Stream && last.Row+last.Count == r.Row && last.Offset+last.Count == r.Offset && last.At == r.At && last.Epoch == r.Epoch {
			last.Count++
			o.sum.Add(hi, lo)
			return
		}
	}
	o.seal()
	r.Count = 1
	o.runs, o.sum = append(o.runs, r), schema.Sum128{Hi: hi, Lo: lo}
}

// Other adds an end or a message of others.
func (o *Order) Other(r Run) {
	if n := len(o.runs); n > 0 && r.Foreign && o.runs[n-1].Foreign && o.runs[n-1].Offset+o.runs[n-1].Count == r.Offset {
		o.runs[n-1].Count++
		return
	}
	o.seal()
	r.Count = 1
	o.runs = append(o.runs, r)
}

// seal gives the last run its sum.
func (o *Order) seal() {
	if n := len(o.runs); n > 0 && !o.runs[n-1].End && !o.runs[n-1].Foreign {
		o.runs[n-1].Sum = o.sum.String()
	}
}

// KeepOrder writes the order of a range of offsets.
func (z *Zone) KeepOrder(ctx context.Context, log string, partition int, from, to int64, o *Order) error {
	o.seal()
	return z.createJSON(ctx, z.orderFolder(log, partition)+rangeName(from, to)+orderSuffix, &Segment{
		V: formatVersion, Topic: z.topic, Log: log, Partition: partition, From: from, To: to, Runs: o.runs,
	})
}

const orderSuffix = ".json"

func (z *Zone) orderFolder(log string, partition int) string {
	return fmt.Sprintf("%sorder/%s/%020d/", z.root, url.PathEscape(log), partition)
}

// Range is a range of offsets [From, To).
type Range struct{ From, To int64 }

// Segments lists the offsets whose order is kept, without ranges that lie within
// others, ascending. They may overlap.
func (z *Zone) Segments(ctx context.Context, log string, partition int) (out []Range, err error) {
	prefix := z.orderFolder(log, partition)
	for o, err := range z.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		name, ok := strings.CutSuffix(o.Key[len(prefix):], orderSuffix)
		if from, to, valid := parseRange(name); ok && valid {
			out = append(out, Range{from, to})
		}
	}
	return without(out, func(r Range) (int64, int64) { return r.From, r.To }), nil
}

// Segment reads one that Segments has listed.
func (z *Zone) Segment(ctx context.Context, log string, partition int, r Range) (*Segment, error) {
	var s Segment
	key := z.orderFolder(log, partition) + rangeName(r.From, r.To) + orderSuffix
	if err := z.read(ctx, key, &s, func() int { return s.V }); err != nil {
		return nil, err
	}
	at := s.From
	valid := s.From == r.From && s.To == r.To && s.Log == log && s.Partition == partition
	for i := range s.Runs {
		valid = valid && s.Runs[i].Offset >= at && s.Runs[i].Count > 0
		at = s.Runs[i].Offset + s.Runs[i].Count
	}
	if !valid || at > s.To {
		return nil, z.failed("read", key, &DamagedError{key, errors.New("it is not what its name says")})
	}
	return &s, nil
}
