package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
)

// admin is kafka-go's client, for what ours has no need of.
func admin(t testing.TB, addrs []string) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport, Timeout: time.Minute}
}

// deleteRecords moves the start of a topic partition's log, which kafka-go cannot.
func deleteRecords(t testing.TB, addr string, offset int64) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = "t"
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp := ask(t, addr, req).(*kmsg.DeleteRecordsResponse)
	if e := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); e != nil {
		t.Fatal(e)
	}
}

func TestOffsetOutOfRange(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	for i := range 4 {
		produce(t, client, numbered(i*5, 5))
	}
	check := func(offset, from, to int64) {
		t.Helper()
		var f broker.Fetch
		err := client.Fetch(soon(t), "t", 0, offset, fetchNow, &f)
		var got *broker.OffsetOutOfRange
		if !errors.As(err, &got) {
			t.Fatalf("fetch at %d: %v", offset, err)
		}
		want := &broker.OffsetOutOfRange{Topic: "t", Offset: offset, Start: from, End: to}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if want := fmt.Sprintf("fetch t/0@%d: the log holds offsets %d to %d", offset, from, to-1); err.Error() != want {
			t.Errorf("the error is %q, want %q", err, want)
		}
		if f.Next(new(broker.Message)) {
			t.Error("there is a message all the same")
		}
	}
	check(21, 0, 20)
	check(1<<60, 0, 20)
	deleteRecords(t, c.ListenAddrs()[0], 7)
	check(0, 7, 20)
	check(6, 7, 20)
	if from, to, err := client.Offsets(soon(t), "t", 0); from != 7 || to != 20 || err != nil {
		t.Errorf("offsets %d to %d, %v", from, to, err)
	}
	var f broker.Fetch
	got := fetch(t, client, 7, fetchNow, &f)
	if len(got) != 13 || got[0].Offset != 7 || f.LogStart != 7 {
		t.Errorf("%d messages, log start %d", len(got), f.LogStart)
	}
	deleteRecords(t, c.ListenAddrs()[0], -1) // all
	if from, to, err := client.Offsets(soon(t), "t", 0); from != 20 || to != 20 || err != nil {
		t.Errorf("offsets of an emptied log %d to %d, %v", from, to, err)
	}
	if got := fetch(t, client, 20, fetchNow, &f); len(got) != 0 || f.LogStart != 20 || f.End() != 20 {
		t.Errorf("%d messages, log start %d, end %d", len(got), f.LogStart, f.End())
	}
}

func TestNoTopic(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	client.SetLimits(broker.Limits{Patience: 10 * time.Second, Delivery: 200 * time.Millisecond, Request: 5 * time.Second, Refusals: 8})
	began := time.Now()
	var f broker.Fetch
	for name, do := range map[string]func(topic string, partition int) error{
		"fetch": func(topic string, p int) error { return client.Fetch(soon(t), topic, p, 0, fetchNow, &f) },
		"offsets": func(topic string, p int) error {
			_, _, err := client.Offsets(soon(t), topic, p)
			return err
		},
	} {
		if err := do("absent", 0); !errors.Is(err, broker.ErrNoTopic) || !strings.Contains(err.Error(), "absent") {
			t.Errorf("%s of an absent topic: %v", name, err)
		}
		if err := do("t", 1); err == nil || !strings.Contains(err.Error(), "t/1") || !strings.Contains(err.Error(), "the topic has 1") {
			t.Errorf("%s of an absent topic partition: %v", name, err)
		}
	}
	if _, err := client.Topic(soon(t), "absent"); !errors.Is(err, broker.ErrNoTopic) || !strings.Contains(err.Error(), "absent") {
		t.Errorf("look up: %v", err)
	}
	if d := time.Since(began); d > soonEnough {
		t.Errorf("that took %v", d)
	}
	// It may be about to come: the whole delivery time, which is short here.
	_, err := client.Produce(soon(t), "absent", 0, values("a"))
	var delivery *broker.DeliveryError
	if !errors.As(err, &delivery) || !errors.Is(err, broker.ErrNoTopic) {
		t.Errorf("produce: %v", err)
	}
	// A client that has known the topic.
	if _, err := admin(t, c.ListenAddrs()).DeleteTopics(soon(t), &kafka.DeleteTopicsRequest{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	if err := client.Fetch(soon(t), "t", 0, 0, fetchNow, &f); !errors.Is(err, broker.ErrNoTopic) {
		t.Errorf("fetch of a deleted topic: %v", err)
	}
	if _, err := client.Topic(soon(t), "t"); !errors.Is(err, broker.ErrNoTopic) {
		t.Errorf("look up of a deleted topic: %v", err)
	}
}

// A topic that another client has made can be used at once, though kafka-go has
// not heard of it.
func TestTopicOfAnotherClient(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	other := connect(t, c, nil)
	if _, _, err := other.Offsets(soon(t), "t", 0); err != nil { // has the metadata now
		t.Fatal(err)
	}
	makeTopic(t, client, "new", 2)
	if _, err := other.Produce(soon(t), "new", 1, values("a")); err != nil {
		t.Error(err)
	}
}

func TestLogID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kafkaNow, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	client := dial(t, broker.Settings{Brokers: kafkaNow.Addrs()})
	first := makeTopic(t, client, "t", 3)
	want := broker.Topic{Name: "t", Partitions: 3, Replication: 1, LogID: first.LogID, ClusterID: kafkaNow.ClusterID()}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(first.LogID) != 32 || strings.Trim(first.LogID, "0") == "" {
		t.Errorf("the log's id is %q", first.LogID)
	}
	if other := makeTopic(t, client, "u", 1); other.LogID == first.LogID {
		t.Error("two topics have one log id")
	}
	produce(t, client, values("old"))

	client.Close()
	if err := kafkaNow.Close(); err != nil {
		t.Fatal(err)
	}
	if kafkaNow, err = embedded.Start(embedded.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := kafkaNow.Close(); err != nil {
			t.Error(err)
		}
	}()
	client = dial(t, broker.Settings{Brokers: kafkaNow.Addrs()})
	defer client.Close()
	again, err := client.Topic(soon(t), "t")
	if diff := cmp.Diff(first, again); diff != "" || err != nil {
		t.Errorf("after a restart, -before +after:\n%s\n%v", diff, err)
	}

	a := admin(t, kafkaNow.Addrs())
	if _, err := a.DeleteTopics(soon(t), &kafka.DeleteTopicsRequest{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	if made := makeTopic(t, client, "t", 3); made.LogID == first.LogID || made.ClusterID != first.ClusterID {
		t.Errorf("made again, it has the log id %s and had %s", made.LogID, first.LogID)
	}
	if from, to, err := client.Offsets(soon(t), "t", 0); from != 0 || to != 0 || err != nil {
		t.Errorf("made again, it has offsets %d to %d, %v", from, to, err)
	}
}

// Brokers before topic ids give none.
func TestLogIDWithoutTopicID(t *testing.T) {
	t.Parallel()
	c, client := start(t)
	c.ControlKey(keyMeta, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if req.GetVersion() != 10 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.ClusterID = kmsg.StringPtr("old")
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		topic.Partitions = make([]kmsg.MetadataResponseTopicPartition, 2)
		for i := range topic.Partitions {
			topic.Partitions[i] = kmsg.NewMetadataResponseTopicPartition()
			topic.Partitions[i].Replicas = []int32{0, 1, 2}
			topic.Partitions[i].ISR = []int32{0}
			topic.Partitions[i].OfflineReplicas = []int32{1, 2}
		}
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	got, err := client.Topic(soon(t), "t")
	want := broker.Topic{Name: "t", Partitions: 2, Replication: 3, LogID: "old/t", ClusterID: "old"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("-want +got:\n%s\n%v", diff, err)
	}
}

func TestEnsureTopicConfigs(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.NumBrokers(3))
	client := connect(t, c, nil)
	for _, test := range []struct {
		config broker.TopicConfig
		want   map[string]string
	}{
		{broker.TopicConfig{Name: "plain", Partitions: 2}, map[string]string{"cleanup.policy": "delete"}},
		{broker.TopicConfig{Name: "compacted", Partitions: 1, Compacted: true}, map[string]string{"cleanup.policy": "compact"}},
		{broker.TopicConfig{Name: "three", Partitions: 1, Replication: 3}, map[string]string{"cleanup.policy": "delete", "min.insync.replicas": "2"}},
	} {
		t.Run(test.config.Name, func(t *testing.T) {
			test.want["retention.ms"], test.want["retention.bytes"] = "-1", "-1"
			test.want["max.message.bytes"] = fmt.Sprint(broker.MaxMessageBytes)
			topic, err := client.EnsureTopic(soon(t), test.config)
			if err != nil || topic.Partitions != test.config.Partitions {
				t.Fatalf("%+v, %v", topic, err)
			}
			if r := test.config.Replication; r > 0 && topic.Replication != r {
				t.Errorf("replication %d, want %d", topic.Replication, r)
			}
			got, err := admin(t, c.ListenAddrs()).DescribeConfigs(soon(t), &kafka.DescribeConfigsRequest{
				Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: test.config.Name}},
			})
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]string{}
			for _, e := range got.Resources[0].ConfigEntries {
				if _, ok := test.want[e.ConfigName]; ok {
					values[e.ConfigName] = e.ConfigValue
				}
			}
			if diff := cmp.Diff(test.want, values); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			// An existing one is not changed.
			test.config.Partitions = 9
			test.config.Compacted = !test.config.Compacted
			if again, err := client.EnsureTopic(soon(t), test.config); err != nil || again != topic {
				t.Errorf("again it is %+v, %v", again, err)
			}
		})
	}
}

func TestEnsureTopicFails(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	client := connect(t, c, nil)
	began := time.Now()
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.InvalidTopicException})
	if _, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: "a..b", Partitions: 1}); !errors.Is(err, kafka.InvalidTopic) || !strings.Contains(err.Error(), "create topic a..b: ") {
		t.Errorf("a topic with a name that cannot be: %v", err)
	}
	if _, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: "r", Partitions: 1, Replication: 3}); err == nil || !strings.Contains(err.Error(), "create topic r: ") {
		t.Errorf("more replicas than brokers: %v", err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	if _, err := client.EnsureTopic(soon(t), broker.TopicConfig{Name: "u", Partitions: 1}); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("a topic that may not be made: %v", err)
	}
	if d := time.Since(began); d > soonEnough {
		t.Errorf("that took %v", d)
	}
}

func TestEnsureTopicTogether(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	const n = 4
	topics, errs := make([]broker.Topic, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		client := connect(t, c, nil)
		wg.Go(func() {
			topics[i], errs[i] = client.EnsureTopic(soon(t), broker.TopicConfig{Name: "t", Partitions: 1 + i})
		})
	}
	wg.Wait()
	for i := range n {
		if errs[i] != nil || topics[i] != topics[0] {
			t.Errorf("client %d: %+v, %v", i, topics[i], errs[i])
		}
	}
	if topics[0].Partitions < 1 {
		t.Errorf("the topic has %d partitions", topics[0].Partitions)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	client := connect(t, c, nil)
	a := admin(t, c.ListenAddrs())
	resp, err := a.CreateTopics(soon(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: "t", NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "1000"}},
	}}})
	if err != nil || resp.Errors["t"] != nil {
		t.Fatal(err, resp)
	}
	random := make([]byte, 2000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var b broker.Batch
	b.Append(nil, random, nil, 1)
	ctx, cancel := context.WithTimeout(context.Background(), soonEnough)
	defer cancel()
	if _, err := client.Produce(ctx, "t", 0, &b); !errors.Is(err, broker.ErrTooLarge) || !strings.Contains(err.Error(), "t/0") {
		t.Errorf("a batch over max.message.bytes: %v", err)
	}
	// The batch can be reset and used again.
	b.Reset()
	b.Append(nil, []byte("small"), nil, 1)
	if offset, err := client.Produce(ctx, "t", 0, &b); offset != 0 || err != nil {
		t.Errorf("a small batch after it: %d, %v", offset, err)
	}
}
