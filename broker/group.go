package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// GroupConfig is a consumer group that shares a topic's partitions out.
type GroupConfig struct {
	ID, Topic        string
	SessionTimeout   time.Duration // 45 s by default
	RebalanceTimeout time.Duration // 5 min by default
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

// Group joins a consumer group and calls run for every generation, until run
// gives nil or an error in a generation that goes on, or ctx ends. run must
// return soon after its context ends: the group waits for it.
func (c *Client) Group(ctx context.Context, g GroupConfig, run func(context.Context, Generation) error) error {
	if g.SessionTimeout == 0 {
		g.SessionTimeout = 45 * time.Second
	}
	if g.RebalanceTimeout == 0 {
		g.RebalanceTimeout = 5 * time.Minute
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: g.ID, Brokers: c.settings.Brokers, Dialer: c.dialer(), Topics: []string{g.Topic}, WatchPartitionChanges: true,
		SessionTimeout: g.SessionTimeout, RebalanceTimeout: g.RebalanceTimeout, JoinGroupBackoff: 500 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", g.ID, err)
	}
	defer group.Close()
	failing := time.Time{}
	for {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, kafka.ErrGroupClosed):
			return fmt.Errorf("join group %s: %w", g.ID, err)
		case err != nil:
			if failing.IsZero() {
				failing = time.Now()
			}
			if time.Since(failing) > groupPatience {
				return fmt.Errorf("join group %s at %v: %w", g.ID, c.settings.Brokers, err)
			}
			continue
		}
		failing = time.Time{}
		out := Generation{ID: generation.ID, MemberID: generation.MemberID}
		for _, p := range generation.Assignments[g.Topic] {
			out.Partitions = append(out.Partitions, p.ID)
		}
		out.Commit = func(_ context.Context, offsets map[int]int64) error {
			return generation.CommitOffsets(map[string]map[int]int64{g.Topic: offsets})
		}
		done := make(chan error, 1)
		var over error
		generation.Start(func(ctx context.Context) {
			err := run(ctx, out)
			over = ctx.Err()
			done <- err
		})
		select {
		case err := <-done:
			if err == nil && over == nil || err != nil && over == nil {
				return err
			}
		case <-ctx.Done():
			group.Close() // ends the generation's context
			err := <-done
			if err == nil {
				return ctx.Err()
			}
			return err
		}
	}
}

// dialer is how the group's own connections are made.
func (c *Client) dialer() *kafka.Dialer {
	return &kafka.Dialer{ClientID: c.settings.ClientID, Timeout: 10 * time.Second, DualStack: true, TLS: c.transport.TLS, SASLMechanism: c.transport.SASL}
}
