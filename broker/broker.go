// Package broker is the connection to Kafka that both sides of a feed use:
// settings with TLS and SASL, topics, raw produce and fetch, and consumer groups.
//
// The data path does not go through kafka-go's Reader and Writer. Record batches
// are made, checked and read here, and travel over kafka-go's Transport by its
// [protocol.RawExchanger] hook, so that connections, TLS, SASL and the routing to
// leaders are kafka-go's. The wire format is that of the Kafka protocol guide
// (https://kafka.apache.org/protocol).
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

// Client is a connection to a Kafka cluster. It is safe for concurrent use.
type Client struct {
	brokers   []string
	addr      net.Addr
	transport *kafka.Transport
	kafka     *kafka.Client
}

// New checks the settings, all of them, and makes a client. It does no I/O but
// reading the files that the settings name.
func New(s Settings) (*Client, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{brokers: s.Brokers, addr: kafka.TCP(s.Brokers...)}
	c.transport = &kafka.Transport{ClientID: s.ClientID, MetadataTTL: time.Second, DialTimeout: 5 * time.Second}
	if c.transport.TLS, c.transport.SASL, err = s.security(); err != nil {
		return nil, err
	}
	c.kafka = &kafka.Client{Addr: c.addr, Transport: c.transport}
	return c, nil
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

var (
	// ErrUnreachable says that no broker answered for as long as was tried.
	ErrUnreachable = errors.New("no broker can be reached")
	// ErrNoTopic says that a topic is not there.
	ErrNoTopic = errors.New("no such topic")
	// ErrTooLarge says that a record batch is over the topic's max.message.bytes.
	ErrTooLarge = errors.New("the record batch is larger than the topic's max.message.bytes")
	// ErrDenied says that the brokers refused the user, or what the user wants to do.
	ErrDenied = errors.New("permission denied")
)

// patience is how long an operation is tried again that fails for a reason which
// may pass. Producing has the delivery time instead.
const patience = 30 * time.Second

// retry repeats what may be repeated freely until it succeeds, fails for good, or
// has failed for too long. The error then says so.
func (c *Client) retry(ctx context.Context, do func() error) error {
	began := time.Now()
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		if time.Since(began) > patience || refused(err) && try >= refusals {
			if unreachable(err) {
				return fmt.Errorf("%w at %s (tried for %s): %w", ErrUnreachable, strings.Join(c.brokers, ", "), time.Since(began).Round(time.Second), err)
			}
			return err
		}
		if e := pause(ctx, try); e != nil {
			return errors.Join(e, err)
		}
	}
}

// refusals is how many tries in a row a broker may refuse to be connected to:
// about five seconds, in which one that is starting opens its port.
const refusals = 7

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) || isDNS(err) }

func isDNS(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// unreachable says whether an error is one of the connection, not an answer.
func unreachable(err error) bool {
	var op net.Error
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// passes says whether an error may go away when the same is tried again.
func passes(err error) bool {
	var code kafka.Error
	if errors.Is(err, ErrNoTopic) || errors.Is(err, ErrDenied) || errors.Is(err, errMalformed) {
		return false
	}
	if errors.As(err, &code) {
		return code.Temporary() || code == kafka.UnknownTopicOrPartition || code == kafka.UnknownTopicID
	}
	return true
}

// answer is the error of a code in an answer, nil for none.
func answer(code int16) error {
	switch kafka.Error(code) {
	case 0:
		return nil
	case kafka.UnknownTopicOrPartition:
		return fmt.Errorf("%w: %w", ErrNoTopic, kafka.Error(code))
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.SASLAuthenticationFailed:
		return fmt.Errorf("%w: %w", ErrDenied, kafka.Error(code))
	}
	return kafka.Error(code)
}

// pause waits before try+1: 40 ms at first, then twice as long, up to 2 s.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(min(2*time.Second, 20*time.Millisecond<<min(try, 8)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
