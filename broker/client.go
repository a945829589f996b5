package broker

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Settings say how to connect.
type Settings struct {
	Brokers    []string
	ClientID   string
	Properties map[string]string
}

// Client is a connection to a Kafka cluster.
type Client struct {
	addr      net.Addr
	transport *kafka.Transport
	kafka     *kafka.Client
	settings  Settings
}

// New checks settings.
func New(s Settings) (*Client, error) {
	if len(s.Brokers) == 0 {
		return nil, errors.New("no brokers: give --brokers HOST:PORT")
	}
	t := &kafka.Transport{ClientID: s.ClientID, MetadataTTL: time.Second, DialTimeout: 5 * time.Second}
	addr := kafka.TCP(s.Brokers...)
	return &Client{addr: addr, transport: t, kafka: &kafka.Client{Addr: addr, Transport: t}, settings: s}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Topic is what a cluster says of a topic.
type Topic struct {
	Name, LogID, ClusterID  string
	Partitions, Replication int
}

// ErrNoTopic is a topic that is not there.
var ErrNoTopic = errors.New("no such topic")

type metadataRequest struct {
	topic string
	resp  []byte
}

func (r *metadataRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }
func (r *metadataRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	for _, b := range c.Brokers {
		return b, nil
	}
	return protocol.Broker{ID: -1}, nil
}
func (r *metadataRequest) Required(map[protocol.ApiKey]int16) bool { return true }
func (r *metadataRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	be := binary.BigEndian
	b := make([]byte, 4, 96)
	b = be.AppendUint16(b, 3)
	b = be.AppendUint16(b, 10)
	b = be.AppendUint32(b, 7)
	b = be.AppendUint16(b, 0xffff) // client id null
	b = append(b, 0)               // header tags
	b = append(b, 2)               // one topic
	b = append(b, make([]byte, 16)...)
	b = binary.AppendUvarint(b, uint64(len(r.topic))+1)
	b = append(b, r.topic...)
	b = append(b, 0, 0, 0, 0, 0) // topic tags; no auto creation; no authorised operations; tags
	be.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}
	return r, readResponse(rw, &r.resp)
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) skip(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad = true
		r.b = nil
		return make([]byte, max(0, min(n, 64)))
	}
	x := r.b[:n]
	r.b = r.b[n:]
	return x
}
func (r *reader) uvarint() int {
	x, n := binary.Uvarint(r.b)
	if n <= 0 || x > 1<<30 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return int(x)
}
func (r *reader) text() string {
	n := r.uvarint()
	if n == 0 {
		return ""
	}
	return string(r.skip(n - 1))
}
func (r *reader) tags() {
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		r.uvarint()
		r.skip(r.uvarint())
	}
}
func (r *reader) i32() int32 { return int32(binary.BigEndian.Uint32(r.skip(4))) }

// Topic asks for a topic.
func (c *Client) Topic(ctx context.Context, name string) (Topic, error) {
	var err error
	for try := 1; try < 8; try++ {
		var t Topic
		if t, err = c.topic(ctx, name); err == nil || errors.Is(err, ErrNoTopic) || ctx.Err() != nil {
			return t, err
		}
		if e := pause(ctx, try); e != nil {
			return t, e
		}
	}
	return Topic{}, fmt.Errorf("look up topic %s at %v: %w: %w", name, c.settings.Brokers, ErrUnreachable, err)
}

func (c *Client) topic(ctx context.Context, name string) (Topic, error) {
	req := &metadataRequest{topic: name}
	if _, err := c.transport.RoundTrip(ctx, c.addr, req); err != nil {
		return Topic{}, err
	}
	r := &reader{b: req.resp}
	r.skip(4)
	r.tags()
	r.skip(4)
	for n := r.uvarint(); n > 1 && !r.bad; n-- {
		r.skip(4)
		r.text()
		r.skip(4)
		r.text()
		r.tags()
	}
	out := Topic{Name: name, ClusterID: r.text()}
	r.skip(4)
	if r.uvarint() != 2 {
		return out, fmt.Errorf("metadata of topic %s: %w", name, errTruncated)
	}
	code := int16(binary.BigEndian.Uint16(r.skip(2)))
	r.text()
	id := r.skip(16)
	r.skip(1)
	for n := r.uvarint(); n > 1 && !r.bad; n-- {
		r.skip(2)
		r.skip(4 + 4 + 4)
		k := max(r.uvarint()-1, 0)
		out.Replication = k
		r.skip(4 * k)
		r.skip(4 * max(r.uvarint()-1, 0))
		r.skip(4 * max(r.uvarint()-1, 0))
		r.tags()
		out.Partitions++
	}
	switch {
	case code == 3:
		return out, fmt.Errorf("topic %s: %w", name, ErrNoTopic)
	case code != 0:
		return out, kafka.Error(code)
	case r.bad:
		return out, fmt.Errorf("metadata of topic %s: %w", name, errTruncated)
	}
	out.LogID = hex.EncodeToString(id)
	return out, nil
}

// TopicConfig is a topic to make.
type TopicConfig struct {
	Name                    string
	Partitions, Replication int
	Compacted               bool
}

// EnsureTopic makes a topic that is absent.
func (c *Client) EnsureTopic(ctx context.Context, t TopicConfig) (Topic, error) {
	got, err := c.Topic(ctx, t.Name)
	if !errors.Is(err, ErrNoTopic) {
		return got, err
	}
	entries := map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete", "max.message.bytes": "8388608"}
	if t.Compacted {
		entries["cleanup.policy"] = "compact"
	}
	if t.Replication >= 3 {
		entries["min.insync.replicas"] = "2"
	}
	cfg := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
	if t.Replication == 0 {
		cfg.ReplicationFactor = -1
	}
	for k, v := range entries {
		cfg.ConfigEntries = append(cfg.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	resp, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{cfg}})
	if err != nil {
		return Topic{}, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	if e := resp.Errors[t.Name]; e != nil && !errors.Is(e, kafka.TopicAlreadyExists) {
		return Topic{}, fmt.Errorf("create topic %s: %w", t.Name, e)
	}
	for try := 1; ; try++ {
		got, err := c.Topic(ctx, t.Name)
		if err == nil && got.Partitions > 0 || try > 50 {
			return got, err
		}
		if err := pause(ctx, 1); err != nil {
			return got, err
		}
	}
}

// Offsets are a log's first offset and the one behind its last.
func (c *Client) Offsets(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	for try := 1; ; try++ {
		resp, err := c.kafka.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition)}}})
		if err == nil {
			for _, p := range resp.Topics[topic] {
				if p.Partition == partition {
					if p.Error == nil {
						return p.FirstOffset, p.LastOffset, nil
					}
					err = p.Error
				}
			}
		}
		if try > 10 || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("list offsets of %s/%s: %w", topic, strconv.Itoa(partition), err)
		}
		if e := pause(ctx, try); e != nil {
			return 0, 0, e
		}
	}
}
