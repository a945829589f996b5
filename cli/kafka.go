package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
)

// Kafka are the flags that say which broker to use.
type Kafka struct {
	Brokers    []string          `help:"Kafka brokers, host:port. Default: a Kafka inside this process, with its log in --kafka-dir." placeholder:"HOST:PORT"`
	Kafka      map[string]string `help:"Settings of --brokers by their Java or librdkafka names, such as security.protocol=SASL_SSL." placeholder:"NAME=VALUE" mapsep:","`
	KafkaDir   string            `help:"Folder of the embedded Kafka's log. Default: _lakefeed/kafka in the lake." placeholder:"DIR"`
	Topic      string            `help:"Topic of the feed. Default: the table's name." placeholder:"NAME"`
	Partitions int               `help:"Topic partitions, when the topic is made. Default: 4, embedded 2." placeholder:"N"`
	Replicas   int               `name:"replication" help:"Replication factor, when the topic is made. Default: the brokers' default." placeholder:"N"`
}

// hintLogBytes is the size of an embedded log from which starting it takes
// noticeable time and memory, since it is read as a whole.
const hintLogBytes = 1 << 30

// connection is a broker to work with, which may live in this process.
type connection struct {
	client   *broker.Client
	embedded *embedded.Broker // nil when the brokers are somewhere else
}

// connect opens the brokers that the flags name, or starts the embedded one.
func (k *Kafka) connect(g *Globals, lake string) (*connection, error) {
	settings := broker.Settings{Brokers: k.Brokers, ClientID: "lakefeed", Properties: k.Kafka}
	c := &connection{}
	if k.embeddedLog() {
		dir := k.kafkaDir(lake)
		b, err := embedded.Start(embedded.Config{Dir: dir})
		if err != nil {
			return nil, err
		}
		c.embedded = b
		settings.Brokers = b.Addrs()
		if size, err := b.Size(); err == nil && size > hintLogBytes {
			fmt.Fprintf(g.stderr, "the embedded Kafka's log in %s has %s, all of which is read at every start: consider a Kafka of its own, --brokers HOST:PORT\n", dir, bytesText(size))
		}
	}
	client, err := broker.New(settings)
	if err != nil {
		if c.embedded != nil {
			c.embedded.Close()
		}
		return nil, &usageError{err.Error()}
	}
	c.client = client
	return c, nil
}

// embeddedLog says that no brokers are named, so that the Kafka is one in this
// process.
func (k *Kafka) embeddedLog() bool { return len(k.Brokers) == 0 && len(k.Kafka) == 0 }

// kafkaDir is the folder of the embedded Kafka's log.
func (k *Kafka) kafkaDir(lake string) string {
	if k.KafkaDir != "" {
		return k.KafkaDir
	}
	return filepath.Join(lake, "_lakefeed", "kafka")
}

func (c *connection) Close() error {
	c.client.Close()
	if c.embedded != nil {
		return c.embedded.Close()
	}
	return nil
}

// topic makes the feed's topic where it is absent.
func (k *Kafka) topic(ctx context.Context, c *connection, name string) (broker.Topic, error) {
	partitions := k.Partitions
	if partitions == 0 {
		partitions = 4
		if c.embedded != nil {
			partitions = 2
		}
	}
	return c.client.EnsureTopic(ctx, broker.TopicConfig{Name: name, Partitions: partitions, Replication: k.Replicas})
}

// checkTopic refuses a topic name that Kafka would.
func checkTopic(name string) error {
	bad := strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	})
	// ".progress" is added to it.
	if name == "" || name == "." || name == ".." || bad >= 0 || len(name) > 249-len(".progress") {
		return &usageError{"topic name " + quote(name) + " is not valid: use up to 240 letters, digits, dots, underscores and hyphens"}
	}
	return nil
}

// isLocalFolder says whether a source is a folder here.
func isLocalFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
