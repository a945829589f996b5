package testbed

import (
	"context"
	"fmt"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// KafkaServer is one Kafka broker.
type KafkaServer struct {
	*Container
	Brokers   string // host:port from here
	InNetwork string // host:port for the other containers
}

var kafka = once{spec: spec{
	name: "kafka", image: "apache/kafka:4.3.1", ports: []string{"9092/tcp"},
	options: func(c *Container) []testcontainers.ContainerCustomizer {
		return []testcontainers.ContainerCustomizer{
			// Any of these replaces the image's whole configuration, so all are given.
			testcontainers.WithEnv(map[string]string{
				"KAFKA_NODE_ID":                                  "1",
				"KAFKA_PROCESS_ROLES":                            "broker,controller",
				"KAFKA_LISTENERS":                                "HOST://:9092,NET://:19092,CONTROLLER://:9093",
				"KAFKA_ADVERTISED_LISTENERS":                     "HOST://" + c.address("9092/tcp") + ",NET://kafka:19092",
				"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":           "HOST:PLAINTEXT,NET:PLAINTEXT,CONTROLLER:PLAINTEXT",
				"KAFKA_INTER_BROKER_LISTENER_NAME":               "NET",
				"KAFKA_CONTROLLER_LISTENER_NAMES":                "CONTROLLER",
				"KAFKA_CONTROLLER_QUORUM_VOTERS":                 "1@localhost:9093",
				"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         "1",
				"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
				"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            "1",
				"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":         "0",
				"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                "false",
			}),
			// The command writes over copies of what the image has, which a build from a
			// read-only folder leaves read-only.
			testcontainers.WithEntrypoint("sh", "-c", "chmod -R u+w /etc/kafka/docker /opt/kafka/config; exec /etc/kafka/docker/run"),
			testcontainers.WithWaitStrategyAndDeadline(startLimit, brokerReady(c.address("9092/tcp"))),
		}
	},
}}

// Kafka is the broker of this process.
func Kafka(t testing.TB) *KafkaServer {
	t.Helper()
	c := kafka.get(t)
	return &KafkaServer{Container: c, Brokers: c.address("9092/tcp"), InNetwork: "kafka:19092"}
}

// client asks the broker itself, as no part of lakefeed does.
func (k *KafkaServer) client() *kafkago.Client {
	return &kafkago.Client{Addr: kafkago.TCP(k.Brokers), Timeout: time.Minute}
}

// HasTopic says whether there is a topic of that name.
func (k *KafkaServer) HasTopic(t testing.TB, topic string) bool {
	t.Helper()
	answer, err := k.client().Metadata(context.Background(), &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		t.Fatalf("look for topic %s: %v", topic, err)
	}
	return len(answer.Topics) == 1 && answer.Topics[0].Error == nil
}

// DeleteTopic removes a topic with all that is in it, and waits until it is gone.
func (k *KafkaServer) DeleteTopic(t testing.TB, topic string) {
	t.Helper()
	answer, err := k.client().DeleteTopics(context.Background(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = answer.Errors[topic]
	}
	if err != nil {
		t.Fatalf("delete topic %s: %v", topic, err)
	}
	for k.HasTopic(t, topic) {
		time.Sleep(100 * time.Millisecond)
	}
}

// Ends are the offsets behind the last message, by topic partition.
func (k *KafkaServer) Ends(t testing.TB, topic string, partitions int) []int64 {
	t.Helper()
	var asked []kafkago.OffsetRequest
	for p := range partitions {
		asked = append(asked, kafkago.LastOffsetOf(p))
	}
	answer, err := k.client().ListOffsets(context.Background(), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: asked}})
	if err != nil {
		t.Fatalf("offsets of %s: %v", topic, err)
	}
	ends := make([]int64, partitions)
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			t.Fatalf("offsets of %s/%d: %v", topic, p.Partition, p.Error)
		}
		ends[p.Partition] = p.LastOffset
	}
	return ends
}

// Members are how many topic partitions each member of a group has, when the group
// is at rest; nil while it is being shared out.
func (k *KafkaServer) Members(t testing.TB, group string) (partitions []int) {
	t.Helper()
	answer, err := k.client().DescribeGroups(context.Background(), &kafkago.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		t.Fatalf("describe group %s: %v", group, err)
	}
	for _, g := range answer.Groups {
		if g.GroupState != "Stable" {
			return nil
		}
		for _, m := range g.Members {
			n := 0
			for _, topic := range m.MemberAssignments.Topics {
				n += len(topic.Partitions)
			}
			partitions = append(partitions, n)
		}
	}
	return partitions
}

// brokerReady is the address of a broker that is ready when it says who it is: its
// log says so again after a restart, before it is true.
type brokerReady string

var _ wait.Strategy = brokerReady("")

// WaitUntilReady asks until there is an answer, or nobody left to give one.
func (address brokerReady) WaitUntilReady(ctx context.Context, target wait.StrategyTarget) error {
	transport := &kafkago.Transport{DialTimeout: time.Second, MetadataTTL: time.Second}
	defer transport.CloseIdleConnections()
	broker := kafkago.Client{Addr: kafkago.TCP(string(address)), Transport: transport, Timeout: 2 * time.Second}
	for {
		answer, err := broker.Metadata(ctx, &kafkago.MetadataRequest{})
		if err == nil && len(answer.Brokers) > 0 && answer.Controller.Port != 0 {
			return nil
		}
		if state, e := target.State(ctx); e == nil && !state.Running {
			return fmt.Errorf("the broker has ended with exit code %d", state.ExitCode)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the broker does not answer at %s: %w", address, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
