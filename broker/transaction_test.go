package broker_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker"
)

// producer is a transactional producer.
type producer struct {
	t        *testing.T
	kafka    *kafka.Client
	addr     string
	name     string
	id       int
	epoch    int
	sequence int
}

func newProducer(t *testing.T, addr, name string) *producer {
	t.Helper()
	p := &producer{t: t, kafka: admin(t, []string{addr}), addr: addr, name: name}
	resp, err := p.kafka.InitProducerID(soon(t), &kafka.InitProducerIDRequest{TransactionalID: name, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1})
	if err != nil || resp.Error != nil {
		t.Fatal(resp, err)
	}
	p.id, p.epoch = resp.Producer.ProducerID, resp.Producer.ProducerEpoch
	return p
}

func (p *producer) begin() {
	p.t.Helper()
	resp, err := p.kafka.AddPartitionsToTxn(soon(p.t), &kafka.AddPartitionsToTxnRequest{TransactionalID: p.name, ProducerID: p.id, ProducerEpoch: p.epoch, Topics: map[string][]kafka.AddPartitionToTxn{"t": {{Partition: 0}}}})
	if err != nil || resp.Topics["t"][0].Error != nil {
		p.t.Fatal(resp, err)
	}
}

// produce adds a batch to the transaction.
func (p *producer) produce(from, n int) {
	p.t.Helper()
	b := batchWith(0, 1<<4, int64(p.id), n, plainRecords(from, n))
	binary.BigEndian.PutUint16(b[atProducer+8:], uint16(p.epoch))
	binary.BigEndian.PutUint32(b[atProducer+10:], uint32(p.sequence))
	p.sequence += n
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.TransactionID, req.Acks, req.TimeoutMillis = 8, &p.name, -1, 1000
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	partition.Records = mend(b)
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	if code := ask(p.t, p.addr, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		p.t.Fatal(kerr.ErrorForCode(code))
	}
}

func (p *producer) end(commit bool) {
	p.t.Helper()
	resp, err := p.kafka.EndTxn(soon(p.t), &kafka.EndTxnRequest{TransactionalID: p.name, ProducerID: p.id, ProducerEpoch: p.epoch, Committed: commit})
	if err != nil || resp.Error != nil {
		p.t.Fatal(resp, err)
	}
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	a, b := newProducer(t, c.ListenAddrs()[0], "a"), newProducer(t, c.ListenAddrs()[0], "b")
	produce(t, client, numbered(0, 2)) // 0, 1
	a.begin()
	a.produce(2, 2) // 2, 3: aborted
	b.begin()
	b.produce(4, 3)                    // 4 to 6: committed
	produce(t, client, numbered(7, 1)) // 7
	a.produce(8, 1)                    // 8: aborted
	a.end(false)                       // 9
	b.end(true)                        // 10
	a.begin()
	a.produce(11, 2)                    // 11, 12: committed
	a.end(true)                         // 13
	produce(t, client, numbered(14, 1)) // 14
	b.begin()
	b.produce(15, 2)                    // 15, 16: not over
	produce(t, client, numbered(17, 1)) // 17

	committed := fetchNow
	committed.ReadCommitted = true
	for _, test := range []struct {
		name    string
		from    int64
		o       broker.FetchOptions
		want    string
		skipped []broker.Skip
		end     int64
	}{
		{"committed", 0, committed, "0 1 4 5 6 7 11 12 14", []broker.Skip{{2, 4, "aborted"}, {8, 9, "aborted"}, {9, 10, "control"}, {10, 11, "control"}, {13, 14, "control"}}, 15},
		{"committed, from the middle of an aborted batch", 3, committed, "4 5 6 7 11 12 14", []broker.Skip{{2, 4, "aborted"}, {8, 9, "aborted"}, {9, 10, "control"}, {10, 11, "control"}, {13, 14, "control"}}, 15},
		{"committed, from behind the first aborted batch", 5, committed, "5 6 7 11 12 14", []broker.Skip{{8, 9, "aborted"}, {9, 10, "control"}, {10, 11, "control"}, {13, 14, "control"}}, 15},
		{"committed, from the marker", 9, committed, "11 12 14", []broker.Skip{{9, 10, "control"}, {10, 11, "control"}, {13, 14, "control"}}, 15},
		{"committed, nothing left", 15, committed, "", nil, 15},
		{"all", 0, fetchNow, "0 1 2 3 4 5 6 7 8 11 12 14 15 16 17", []broker.Skip{{9, 10, "control"}, {10, 11, "control"}, {13, 14, "control"}}, 18},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f broker.Fetch
			got := fetch(t, client, test.from, test.o, &f)
			if s := strings.Join(texts(got), " "); s != test.want {
				t.Errorf("messages %s, want %s", s, test.want)
			}
			for _, m := range got {
				if string(m.Value) != fmt.Sprint(m.Offset) {
					t.Errorf("message %d is %s", m.Offset, m.Value)
				}
			}
			if diff := cmp.Diff(test.skipped, slices.Clone(f.Skipped())); diff != "" && len(test.skipped)+len(f.Skipped()) > 0 {
				t.Errorf("skipped, -want +got:\n%s", diff)
			}
			if f.End() != test.end {
				t.Errorf("end %d, want %d", f.End(), test.end)
			}
		})
	}
	b.end(false) // 18
	var f broker.Fetch
	if got := strings.Join(texts(fetch(t, client, 14, committed, &f)), " "); got != "14 17" || f.End() != 19 {
		t.Errorf("after the last one was aborted: %s up to %d", got, f.End())
	}
}

// The list of aborted transactions may be in any order, and have some of producers
// whose messages were compacted away.
func TestAbortedInAnyOrder(t *testing.T) {
	t.Parallel()
	batch := func(base int64, producer int64) []byte {
		return batchWith(base, 1<<4, producer, 1, plainRecords(int(base), 1))
	}
	marker := func(base int64, producer int64) []byte {
		return batchWith(base, 1<<4|1<<5, producer, 1, plainRecords(0, 1))
	}
	log := slices.Concat(batch(0, 7), batch(1, 8), marker(2, 7), batch(3, 7), batch(4, 8), marker(5, 8), batch(6, 8), marker(7, 7), batch(8, 9))
	var f broker.Fetch
	for _, aborted := range [][]broker.Aborted{
		{{Producer: 7, First: 0}, {Producer: 8, First: 1}},
		{{Producer: 8, First: 1}, {Producer: 99, First: 3}, {Producer: 7, First: 0}},
	} {
		f.Begin(log, 0, false, aborted...)
		got := drain(t, &f)
		if s := strings.Join(texts(got), " "); s != "3 6 8" {
			t.Errorf("messages %s", s)
		}
		want := []broker.Skip{{0, 1, "aborted"}, {1, 2, "aborted"}, {2, 3, "control"}, {4, 5, "aborted"}, {5, 6, "control"}, {7, 8, "control"}}
		if diff := cmp.Diff(want, f.Skipped()); diff != "" {
			t.Errorf("skipped, -want +got:\n%s", diff)
		}
	}
}
