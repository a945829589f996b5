package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// GroupConfig is a consumer group that shares a topic's partitions out.
type GroupConfig struct {
	ID    string
	Topic string
	// A member that is silent for SessionTimeout loses its topic partitions; 0 is
	// 45 s. Who does not rejoin within RebalanceTimeout is left out; 0 is 5 min.
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
}

// Generation is one assignment of topic partitions to this member.
type Generation struct {
	ID         int32
	MemberID   string
	Partitions []int
	// Commit commits next offsets by topic partition, as a hint for lag tools. It
	// is refused when the generation is over.
	Commit func(context.Context, map[int]int64) error
}

// groupPatience is how long joining a group may fail before that is an error.
const groupPatience = 2 * time.Minute

// JoinError says that a group could not be joined: at once where brokers refuse it
// for good, and after two minutes where trying again may help. What it wraps says
// whether they denied it (ErrDenied) or were out of reach (ErrUnreachable).
type JoinError struct {
	Group string
	Err   error
}

func (e *JoinError) Error() string { return fmt.Sprintf("join group %s: %v", e.Group, e.Err) }

func (e *JoinError) Unwrap() error { return e.Err }

// Group joins a consumer group and calls run for each generation in turn. It
// returns what run does in a generation that goes on, a *JoinError, or ctx's error.
// run must return soon after its context ends, which is when the topic partitions are
// shared out anew: the group waits for it.
func (c *Client) Group(ctx context.Context, g GroupConfig, run func(context.Context, Generation) error) error {
	config := c.groupConfig(g)
	connections := &connections{}
	config.Dialer.DialFunc = connections.dial
	group, err := kafka.NewConsumerGroup(config)
	if err != nil {
		return &JoinError{g.ID, err}
	}
	// kafka-go waits for the answers of brokers before it closes: to a member that
	// joins until all others have rejoined. Nobody waits for that answer any more.
	joining := true
	defer func() {
		if joining {
			connections.close()
		}
		stop := time.AfterFunc(leaveTimeout, connections.forbid)
		defer stop.Stop()
		group.Close()
	}()
	var failing time.Time
	for {
		joining = true
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if failing.IsZero() {
				failing = time.Now()
			}
			if e := c.joinError(g, err, time.Since(failing)); e != nil {
				return e
			}
			continue
		}
		failing, joining = time.Time{}, false
		if over, err := c.generation(ctx, group, generation, g.Topic, run); over {
			return err
		}
	}
}

// leaveTimeout is how long telling the brokers that a member leaves may take.
const leaveTimeout = 3 * time.Second

// connections are those of a member of a group.
type connections struct {
	mu        sync.Mutex
	open      []net.Conn
	forbidden bool
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forbidden {
		conn.Close()
		return nil, net.ErrClosed
	}
	if len(c.open) == maxOpen { // all but the last few were closed long ago
		c.open = append(c.open[:0], c.open[maxOpen/2:]...)
	}
	c.open = append(c.open, conn)
	return conn, nil
}

// maxOpen is more than the connections that a member has at a time: two.
const maxOpen = 16

// close closes the connections. Others can be made.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.Close()
	}
	c.open = nil
}

// forbid closes the connections, and those that would be made.
func (c *connections) forbid() {
	c.mu.Lock()
	c.forbidden = true
	c.mu.Unlock()
	c.close()
}

func (c *Client) groupConfig(g GroupConfig) kafka.ConsumerGroupConfig {
	out := kafka.ConsumerGroupConfig{
		ID: g.ID, Topics: []string{g.Topic}, Brokers: c.brokers,
		Dialer: &kafka.Dialer{ClientID: c.transport.ClientID, Timeout: 10 * time.Second, DualStack: true, TLS: c.transport.TLS, SASLMechanism: c.transport.SASL},
		// Topic partitions that are added are shared out, too.
		WatchPartitionChanges: true,
		SessionTimeout:        45 * time.Second, RebalanceTimeout: 5 * time.Minute,
		JoinGroupBackoff: 500 * time.Millisecond,
		StartOffset:      kafka.FirstOffset,
	}
	if g.SessionTimeout > 0 {
		out.SessionTimeout = g.SessionTimeout
	}
	if g.RebalanceTimeout > 0 {
		out.RebalanceTimeout = g.RebalanceTimeout
	}
	return out
}

// joinError says whether a failure to join is one to give up at.
func (c *Client) joinError(g GroupConfig, err error, since time.Duration) error {
	var code kafka.Error
	if errors.As(err, &code) && errors.Is(answer(int16(code)), ErrDenied) {
		return &JoinError{g.ID, answer(int16(code))}
	}
	switch {
	case errors.Is(err, kafka.ErrGroupClosed), untrusted(err), unfit(err):
		return &JoinError{g.ID, err}
	case since > groupPatience && unreachable(err):
		return &JoinError{g.ID, fmt.Errorf("%w at %s: %w", ErrUnreachable, strings.Join(c.brokers, ", "), err)}
	case since > groupPatience:
		return &JoinError{g.ID, err}
	}
	return nil
}

// unfit says whether brokers will not have a member of this kind, however often it
// asks: the settings of one side would have to be others.
func unfit(err error) bool {
	for _, final := range []kafka.Error{kafka.InvalidSessionTimeout, kafka.InvalidGroupId, kafka.InconsistentGroupProtocol, kafka.UnsupportedVersion, kafka.InvalidRequest} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// generation runs one generation to its end. over says that the group is to be
// left.
func (c *Client) generation(ctx context.Context, group *kafka.ConsumerGroup, g *kafka.Generation, topic string, run func(context.Context, Generation) error) (over bool, err error) {
	out := Generation{ID: g.ID, MemberID: g.MemberID}
	for _, p := range g.Assignments[topic] {
		out.Partitions = append(out.Partitions, p.ID)
	}
	out.Commit = func(_ context.Context, offsets map[int]int64) error {
		return g.CommitOffsets(map[string]map[int]int64{topic: offsets})
	}
	type result struct {
		err   error
		ended bool // by the group
	}
	done := make(chan result, 1)
	g.Start(func(assigned context.Context) {
		valued, cancel := context.WithCancel(context.WithoutCancel(ctx)) // with what ctx carries
		defer cancel()
		defer context.AfterFunc(assigned, cancel)()
		err := run(valued, out)
		done <- result{err, assigned.Err() != nil}
	})
	select {
	case r := <-done:
		return !r.ended, r.err
	case <-ctx.Done():
		go group.Close() // which ends the generation's context; Group waits for it
		if r := <-done; r.err != nil {
			return true, r.err
		}
		return true, ctx.Err()
	}
}
