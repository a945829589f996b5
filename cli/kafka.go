package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/cli/config"
)

// Kafka are the flags that say which broker to use.
type Kafka struct {
	Brokers  []string                 `help:"Kafka brokers, host:port. Default: a Kafka inside this process, with its log in --kafka-dir." placeholder:"HOST:PORT" yaml:"-"`
	Kafka    map[string]config.Secret `help:"Settings of --brokers by their Java or librdkafka names, such as security.protocol=SASL_SSL." placeholder:"NAME=VALUE" mapsep:"," yaml:"kafka"`
	KafkaDir string                   `help:"Folder of the embedded Kafka's log. Default: _lakefeed/kafka in the lake." placeholder:"DIR" yaml:"kafka_dir"`
}

// hintLogBytes is the size of an embedded log from which starting it takes
// noticeable time and memory, since it is read as a whole.
const hintLogBytes = 1 << 30

// connection is a broker to work with, which may live in this process.
type connection struct {
	client   *broker.Client
	embedded *embedded.Broker // nil when the brokers are somewhere else
}

// settings are the flags as the broker's.
func (k *Kafka) settings() broker.Settings {
	properties := map[string]string{}
	for name, value := range k.Kafka {
		properties[name] = value.Reveal()
	}
	return broker.Settings{Brokers: k.Brokers, ClientID: "lakefeed", Properties: properties}
}

// connect opens the brokers that the flags name, or starts the embedded one.
func (k *Kafka) connect(g *Globals, lake *Lake) (*connection, error) {
	settings := k.settings()
	c := &connection{}
	if k.embeddedLog() {
		if err := k.checkLog(lake); err != nil {
			return nil, err
		}
		dir := k.logDir(lake)
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

// checkLog refuses an embedded Kafka that has no folder for its log.
func (k *Kafka) checkLog(lake *Lake) error {
	switch {
	case k.embeddedLog() && k.KafkaDir == "" && lake.Lake == "":
		return emptyPlace("lake")
	case !k.embeddedLog() || k.logDir(lake) != "":
		return nil
	}
	return &usageError{"the embedded Kafka's log has to outlive this process, and a bucket cannot hold it: name a folder with --kafka-dir, or Kafka's brokers with --brokers"}
}

// logDir is the folder of the embedded Kafka's log; "" when none is named and the
// lake is no folder.
func (k *Kafka) logDir(lake *Lake) string {
	if k.KafkaDir != "" {
		return k.KafkaDir
	}
	return lake.kafkaDir()
}

// leaveNoLog is for who writes nothing: where the embedded Kafka has no log, it gets an
// empty one in a temporary folder, which remove removes.
func (k *Kafka) leaveNoLog(lake *Lake) (remove func(), err error) {
	dir := k.logDir(lake)
	if !k.embeddedLog() || dir == "" {
		return func() {}, nil
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if k.KafkaDir, err = os.MkdirTemp("", "lakefeed-"); err != nil {
		return nil, err
	}
	return func() { os.RemoveAll(k.KafkaDir) }, nil
}

// explain says what keeps the embedded Kafka from storing what it is sent, if it is that.
func (c *connection) explain(err error) error {
	if c == nil || c.embedded == nil || !errors.Is(err, broker.ErrStorage) {
		return err
	}
	if why := c.embedded.Writable(); why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}

func (c *connection) Close() error {
	c.client.Close()
	if c.embedded != nil {
		return c.embedded.Close()
	}
	return nil
}

// ensure makes the feed's topic where it is absent.
func (t *Topic) ensure(ctx context.Context, c *connection) (broker.Topic, error) {
	partitions := t.Partitions
	if partitions == 0 {
		partitions = 4
		if c.embedded != nil {
			partitions = 2
		}
	}
	return c.client.EnsureTopic(ctx, broker.TopicConfig{Name: t.Topic, Partitions: partitions, Replication: t.Replicas})
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
