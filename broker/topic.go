package broker

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Topic is what a cluster says of a topic.
type Topic struct {
	Name        string
	Partitions  int
	Replication int
	// LogID tells this incarnation of the topic from one that was deleted: the
	// topic id of KIP-516, or where the brokers have none the cluster's id and the
	// topic's name.
	LogID     string
	ClusterID string
}

// MaxMessageBytes is the max.message.bytes of the topics that EnsureTopic makes:
// of a record batch, compressed.
const MaxMessageBytes = 8 << 20

// TopicConfig is a topic to make.
type TopicConfig struct {
	Name        string
	Partitions  int
	Replication int // 0: the brokers' default
	Compacted   bool
}

// Topic looks a topic up. The error is ErrNoTopic when it is not there.
func (c *Client) Topic(ctx context.Context, name string) (t Topic, err error) {
	err = c.retry(ctx, func() error {
		t, err = c.topic(ctx, name)
		return err
	})
	if err != nil {
		return t, fmt.Errorf("look up topic %s: %w", name, err)
	}
	return t, nil
}

// topic sends Metadata v10, the first that gives topic ids.
func (c *Client) topic(ctx context.Context, name string) (Topic, error) {
	body := []byte{2}                        // one topic
	body = append(body, make([]byte, 16)...) // by name, not by id
	body = binary.AppendUvarint(body, uint64(len(name))+1)
	body = append(body, name...)
	body = append(body, 0, 0, 0, 0, 0) // tags; no automatic creation, no lists of operations; tags
	d, err := c.roundTrip(ctx, &exchange{api: protocol.Metadata, version: 10, flexible: true, body: body})
	if err != nil {
		return Topic{}, err
	}
	d.int32() // throttle time
	for range d.compactLen() {
		if d.bad {
			break
		}
		d.int32() // node
		d.compactText()
		d.int32() // port
		d.compactText()
		d.tags()
	}
	t := Topic{Name: name, ClusterID: d.compactText()}
	d.int32() // controller
	if n := d.compactLen(); n != 1 && !d.bad {
		return Topic{}, fmt.Errorf("%w: metadata of %d topics instead of one", errMalformed, n)
	}
	code := d.int16()
	d.compactText()
	id := d.bytes(16)
	d.bytes(1) // internal
	for range d.compactLen() {
		if d.bad {
			break
		}
		d.bytes(2 + 4 + 4 + 4) // error, number, leader, its epoch
		t.Replication = d.compactLen()
		d.bytes(4 * t.Replication)
		d.bytes(4 * d.compactLen()) // in sync
		d.bytes(4 * d.compactLen()) // offline
		d.tags()
		t.Partitions++
	}
	if err := errors.Join(answer(code), d.err()); err != nil {
		return Topic{}, err
	}
	if t.LogID = hex.EncodeToString(id); t.LogID == "00000000000000000000000000000000" {
		t.LogID = t.ClusterID + "/" + name
	}
	return t, nil
}

// EnsureTopic gives a topic, and makes it first when it is absent: kept for ever,
// with record batches up to MaxMessageBytes. An existing topic is not changed.
func (c *Client) EnsureTopic(ctx context.Context, t TopicConfig) (Topic, error) {
	got, err := c.Topic(ctx, t.Name)
	if !errors.Is(err, ErrNoTopic) {
		return got, err
	}
	if err := c.retry(ctx, func() error { return c.createTopic(ctx, t) }); err != nil {
		return Topic{}, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	// It takes a moment until every broker knows of it.
	for try := 1; ; try++ {
		got, err := c.Topic(ctx, t.Name)
		if err == nil && got.Partitions > 0 || err != nil && !errors.Is(err, ErrNoTopic) || try == 20 {
			return got, err
		}
		if err := pause(ctx, try); err != nil {
			return got, err
		}
	}
}

func (c *Client) createTopic(ctx context.Context, t TopicConfig) error {
	config := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
	if t.Replication == 0 {
		config.ReplicationFactor = -1
	}
	set := func(name, value string) {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	policy := "delete"
	if t.Compacted {
		policy = "compact"
	}
	set("cleanup.policy", policy)
	set("retention.ms", "-1")
	set("retention.bytes", "-1")
	set("max.message.bytes", strconv.Itoa(MaxMessageBytes))
	if t.Replication >= 3 {
		set("min.insync.replicas", "2")
	}
	resp, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	err = resp.Errors[t.Name]
	if errors.Is(err, kafka.TopicAlreadyExists) {
		return nil // another process was first
	}
	return classify(err)
}

// Offsets are the first offset of a topic partition's log, and the one behind its
// last.
func (c *Client) Offsets(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	err = c.retry(ctx, func() error {
		start, end, err = c.offsets(ctx, topic, partition)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	return start, end, nil
}

func (c *Client) offsets(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	if start, err = c.offset(ctx, topic, partition, earliest); err == nil {
		end, err = c.offset(ctx, topic, partition, latest)
	}
	return start, end, err
}

// Times that stand for the ends of a log.
const (
	latest   = -1
	earliest = -2
)

// offset sends ListOffsets v2.
func (c *Client) offset(ctx context.Context, topic string, partition int, when int64) (int64, error) {
	body := appendInt32(nil, -1) // no replica
	body = append(body, 0)       // messages of transactions that are not over count, too
	body = appendInt32(body, 1)
	body = appendText(body, topic)
	body = appendInt32(body, 1)
	body = appendInt32(body, int32(partition))
	body = binary.BigEndian.AppendUint64(body, uint64(when))
	d, err := c.roundTrip(ctx, &exchange{api: protocol.ListOffsets, version: 2, topic: topic, partition: int32(partition), body: body})
	if err != nil {
		return 0, err
	}
	d.int32() // throttle time
	d.int32() // topics: one
	d.text()
	d.int32() // topic partitions: one
	d.int32()
	code := d.int16()
	d.int64() // timestamp
	offset := d.int64()
	return offset, errors.Join(answer(code), d.err())
}
