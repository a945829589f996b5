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
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
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
	limits    limits
	met       atomic.Bool // a broker has answered
	asked     atomic.Bool // a broker has asked who we are
}

// limits are the times that a client waits.
type limits struct {
	// patience is how long an operation is tried again that fails for a reason
	// which may pass, and delivery how long a record batch is sent again whose fate
	// is not known.
	patience, delivery time.Duration
	// request is how long a broker may take to answer, and ack how long a leader may
	// wait for its followers before.
	request, ack time.Duration
	// refusals is how many tries in a row a broker may refuse to be connected to
	// that never answered: about five seconds, in which one that is starting opens
	// its port.
	refusals int
}

var defaultLimits = limits{patience: 30 * time.Second, delivery: 2 * time.Minute, request: 30 * time.Second, ack: 30 * time.Second, refusals: 8}

// New checks the settings, all of them, and makes a client. It does no I/O but
// reading the files that the settings name.
func New(s Settings) (*Client, error) {
	s, fault := s.complete()
	encryption, mechanism, err := s.security()
	if err = errors.Join(fault, err); err != nil {
		return nil, err
	}
	c := &Client{brokers: s.Brokers, addr: kafka.TCP(s.Brokers...), limits: defaultLimits}
	c.transport = &kafka.Transport{ClientID: s.ClientID, MetadataTTL: metadataTTL, DialTimeout: 5 * time.Second, TLS: encryption}
	if mechanism != nil {
		c.transport.SASL = watched{mechanism, &c.asked}
	}
	c.kafka = &kafka.Client{Addr: c.addr, Transport: c.transport, Timeout: c.limits.request}
	return c, nil
}

// metadataTTL is how old what kafka-go knows of the cluster becomes at most: until
// then it may take another broker for a leader. It is also how long kafka-go waits
// for the answer when it asks.
const metadataTTL = 2 * time.Second

// Close closes the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

var (
	// ErrUnreachable says that no broker answered for as long as was tried.
	ErrUnreachable = errors.New("no broker can be reached")
	// ErrNoTopic says that a topic is not there.
	ErrNoTopic = errors.New("no such topic")
	// ErrTooLarge says that a record batch is over the topic's max.message.bytes, or
	// over what Fetch reads.
	ErrTooLarge = errors.New("the record batch is too large")
	// ErrDenied says that the brokers refused the user, or what the user wants to do.
	ErrDenied = errors.New("permission denied")
	// ErrStorage says that a broker could not store or read its log.
	ErrStorage = errors.New("the broker failed, which is often a full or broken disk of its own")

	errNoPartition = errors.New("no such topic partition")
)

// retry repeats what may be repeated freely until it succeeds, fails for good, or
// has failed for too long. The error then says so.
func (c *Client) retry(ctx context.Context, do func() error) error {
	began := time.Now()
	for try := 1; ; try++ {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !passes(err):
			return err
		case c.hopeless(err, try) || time.Since(began) > c.limits.patience:
			return c.giveUp(err, began)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// hopeless says whether not to wait for brokers that never answered: their address
// or the TLS settings are wrong. One that answered is waited for as it restarts.
func (c *Client) hopeless(err error, try int) bool {
	return !c.met.Load() && (refused(err) && try >= c.limits.refusals || untrusted(err) || c.turnedAway(err) && try >= 3)
}

// turnedAway says that a broker closes the connection when it hears who we are.
// Kafka gives a reason, others do not.
func (c *Client) turnedAway(err error) bool {
	return c.asked.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET))
}

// giveUp is the error after the last try.
func (c *Client) giveUp(err error, began time.Time) error {
	brokers := strings.Join(c.brokers, ", ")
	switch {
	case c.turnedAway(err) && !c.met.Load():
		return fmt.Errorf("%w: %s closes the connection: check sasl.username, sasl.password and sasl.mechanism: %w", ErrDenied, brokers, err)
	case untrusted(err):
		return fmt.Errorf("connect to %s: check security.protocol and ssl.ca.location: %w", brokers, err)
	case mute(err) && !c.met.Load():
		return fmt.Errorf("%w at %s (tried for %s): what listens there does not answer as Kafka does (is it Kafka's port, and does it want TLS: security.protocol?): %w",
			ErrUnreachable, brokers, time.Since(began).Round(time.Second), err)
	case unreachable(err):
		return fmt.Errorf("%w at %s (tried for %s): %w", ErrUnreachable, brokers, time.Since(began).Round(time.Second), err)
	}
	return err
}

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) || isDNS(err) }

// untrusted says that TLS failed, on either side.
func untrusted(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &op) && op.Op == "remote error"
}

// mute says that a connection came about and brought no answer that Kafka gives: one
// that does not come about has failed before a request's time is over.
func mute(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "read" || errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

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
	var (
		code    kafka.Error
		outside *OffsetOutOfRange
	)
	if errors.As(err, &outside) || errors.Is(err, ErrNoTopic) || errors.Is(err, ErrDenied) || errors.Is(err, errMalformed) || errors.Is(err, errNoPartition) {
		return false
	}
	if errors.As(err, &code) {
		return code.Temporary() || code == kafka.BrokerNotAvailable // which is what kafka-go says before it has seen the cluster
	}
	return true
}

// answer is the error of a code in an answer, nil for none.
func answer(code int16) error {
	if code == 0 {
		return nil
	}
	return classify(kafka.Error(code))
}

// classify adds what a code means to us to an error that may have one.
func classify(err error) error {
	var code kafka.Error
	if !errors.As(err, &code) {
		return err
	}
	switch code {
	case kafka.UnknownTopicOrPartition:
		return fmt.Errorf("%w: %w", ErrNoTopic, err)
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.SASLAuthenticationFailed:
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return fmt.Errorf("%w for the topic's max.message.bytes: %w", ErrTooLarge, err)
	case kafka.Unknown, kafka.KafkaStorageError:
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return err
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
