package broker

import "time"

// Limits are the times that a client waits.
type Limits struct {
	Patience, Delivery, Request, Ack time.Duration
	Refusals                         int
}

// SetLimits makes a client wait for less than it does.
func (c *Client) SetLimits(l Limits) {
	c.limits = limits{patience: l.Patience, delivery: l.Delivery, request: l.Request, ack: l.Ack, refusals: l.Refusals}
	c.kafka.Timeout = l.Request
}

// Aborted is a transaction that was aborted.
type Aborted struct{ Producer, First int64 }

// Begin reads record batches that were not fetched.
func (f *Fetch) Begin(batches []byte, offset int64, whole bool, aborted ...Aborted) {
	f.aborted = f.aborted[:0]
	for _, a := range aborted {
		f.aborted = append(f.aborted, transaction{producer: a.Producer, first: a.First})
	}
	f.begin(batches, offset, whole)
}

// Seal gives the record batch as it is sent.
func (b *Batch) Seal() ([]byte, error) { return b.seal() }

// Checksum is that of a record batch from its attributes on.
func Checksum(b []byte) uint32 { return checksum(b) }

// MaxBatch is how large a record batch may become when it is decompressed.
const MaxBatch = maxBatch

// Response is the answer that the messages are in, unless they were compressed.
func (f *Fetch) Response() []byte { return f.response }
