package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"lakefeed/broker"
)

var groupConfig = broker.GroupConfig{ID: "g", Topic: "t", SessionTimeout: 6 * time.Second, RebalanceTimeout: 10 * time.Second}

// member is a member of group g. It keeps the generations that it got.
type member struct {
	cancel context.CancelFunc
	done   chan error

	mu          sync.Mutex
	generations []broker.Generation
	over        int // how many of them have ended
}

// join starts a member. run is what it does in a generation beside; nil is to wait
// for its end.
func join(client *broker.Client, run func(context.Context, broker.Generation) error) *member {
	m := &member{done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		m.done <- client.Group(ctx, groupConfig, func(ctx context.Context, g broker.Generation) error {
			m.mu.Lock()
			m.generations = append(m.generations, g)
			m.mu.Unlock()
			defer func() {
				m.mu.Lock()
				m.over++
				m.mu.Unlock()
			}()
			if run != nil {
				return run(ctx, g)
			}
			<-ctx.Done()
			return nil
		})
	}()
	return m
}

// has gives the topic partitions of the member, nil between generations.
func (m *member) has() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.generations); n > m.over {
		return slices.Sorted(slices.Values(m.generations[n-1].Partitions))
	}
	return nil
}

func (m *member) last() broker.Generation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generations[len(m.generations)-1]
}

// leave ends the member and checks that it does so soon.
func (m *member) leave(t *testing.T) {
	t.Helper()
	began := time.Now()
	m.cancel()
	select {
	case err := <-m.done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the member left with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the member does not leave")
	}
	if d := time.Since(began); d > soonEnough {
		t.Errorf("leaving took %v", d)
	}
}

// startGroup makes brokers with topic t of four partitions.
func startGroup(t *testing.T, options ...kfake.Opt) (*kfake.Cluster, *broker.Client) {
	t.Helper()
	c := cluster(t, options...)
	client := connect(t, c, nil)
	makeTopic(t, client, "t", 4)
	return c, client
}

// committed gives the group's offsets.
func committed(t *testing.T, c *kfake.Cluster) map[int]int64 {
	t.Helper()
	resp, err := admin(t, c.ListenAddrs()).OffsetFetch(soon(t), &kafka.OffsetFetchRequest{GroupID: "g", Topics: map[string][]int{"t": {0, 1, 2, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]int64{}
	for _, p := range resp.Topics["t"] {
		if p.CommittedOffset >= 0 {
			out[p.Partition] = p.CommittedOffset
		}
	}
	return out
}

func TestGroupShares(t *testing.T) {
	t.Parallel()
	c, client := startGroup(t)
	all := []int{0, 1, 2, 3}
	a := join(client, nil)
	waitFor(t, func() bool { return slices.Equal(a.has(), all) })
	first := a.last()
	if err := first.Commit(soon(t), map[int]int64{0: 10, 3: 13}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[int]int64{0: 10, 3: 13}, committed(t, c)); diff != "" {
		t.Errorf("committed, -want +got:\n%s", diff)
	}

	b := join(connect(t, c, nil), nil)
	waitFor(t, func() bool { return len(a.has()) == 2 && len(b.has()) == 2 })
	both := slices.Concat(a.has(), b.has())
	if slices.Sort(both); !slices.Equal(both, all) {
		t.Errorf("the members have %v and %v", a.has(), b.has())
	}
	if ga, gb := a.last(), b.last(); ga.MemberID == gb.MemberID || ga.MemberID == "" || ga.ID != gb.ID || ga.ID <= first.ID {
		t.Errorf("generation %d of %q, %d of %q, after %d", ga.ID, ga.MemberID, gb.ID, gb.MemberID, first.ID)
	}
	// The generation before is over.
	if err := first.Commit(soon(t), map[int]int64{0: 99}); err == nil {
		t.Error("a commit of an old generation succeeded")
	}
	if diff := cmp.Diff(map[int]int64{0: 10, 3: 13}, committed(t, c)); diff != "" {
		t.Errorf("committed, -want +got:\n%s", diff)
	}

	b.leave(t)
	waitFor(t, func() bool { return slices.Equal(a.has(), all) })
	a.leave(t)
	if n := len(a.has()) + len(b.has()); n != 0 {
		t.Errorf("%d topic partitions are still read", n)
	}
}

// What a broker says to a commit of a generation that it has ended, and the member
// does not know yet.
func TestGroupCommitRefused(t *testing.T) {
	t.Parallel()
	c, client := startGroup(t)
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	for _, e := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID} {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: e})
		if err := m.last().Commit(soon(t), map[int]int64{0: 1}); err == nil {
			t.Errorf("a commit that is answered with %s succeeded", e.Message)
		}
	}
	if got := committed(t, c); len(got) != 0 {
		t.Errorf("committed: %v", got)
	}
	m.leave(t)
}

func TestGroupRunEnds(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, want := range []error{boom, nil} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			t.Parallel()
			_, client := startGroup(t)
			m := join(client, func(context.Context, broker.Generation) error { return want })
			select {
			case err := <-m.done:
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("the group ended with %v, want %v", err, want)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("the group does not end")
			}
			// It has left: another member gets all at once.
			other := join(client, nil)
			waitFor(t, func() bool { return len(other.has()) == 4 })
			if n := len(m.generations); n != 1 {
				t.Errorf("run was called %d times", n)
			}
			other.leave(t)
		})
	}
}

// What run returns while it is ended from outside.
func TestGroupRunEndsLate(t *testing.T) {
	t.Parallel()
	_, client := startGroup(t)
	boom := errors.New("boom")
	var ran atomic.Bool
	m := join(client, func(ctx context.Context, g broker.Generation) error {
		<-ctx.Done()
		if err := g.Commit(context.Background(), map[int]int64{0: 5}); err != nil {
			t.Errorf("a commit on the way out: %v", err)
		}
		ran.Store(true)
		return boom
	})
	waitFor(t, func() bool { return len(m.has()) == 4 })
	m.cancel()
	if err := <-m.done; !errors.Is(err, boom) || !ran.Load() {
		t.Errorf("the group ended with %v, before run did: %v", err, !ran.Load())
	}
}

// A member that joins while the others do not come back is not kept waiting for
// them when it is to end.
func TestGroupLeavesWhileJoining(t *testing.T) {
	t.Parallel()
	c, client := startGroup(t)
	hold := make(chan struct{})
	busy := join(client, func(ctx context.Context, g broker.Generation) error {
		<-ctx.Done()
		<-hold
		return nil
	})
	waitFor(t, func() bool { return len(busy.has()) == 4 })
	var joins atomic.Int32
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		joins.Add(1)
		return nil, nil, false
	})
	second := join(connect(t, c, nil), nil)
	waitFor(t, func() bool { return joins.Load() > 0 })
	began := time.Now()
	second.leave(t)
	if d := time.Since(began); d > soonEnough {
		t.Errorf("leaving took %v", d)
	}
	close(hold)
	busy.leave(t)
}

// Brokers that are gone, and come back.
func TestGroupReconnects(t *testing.T) {
	t.Parallel()
	var w wire
	_, client := startGroup(t, kfake.ListenFn(w.listen))
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	before := m.last()
	w.cut(true)
	waitFor(t, func() bool { return m.has() == nil })
	w.cut(false)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	if after := m.last(); after.ID == before.ID {
		t.Errorf("it is generation %d still", after.ID)
	}
	m.leave(t)
}

// Brokers that are gone, and do not.
func TestGroupLeavesDeadBrokers(t *testing.T) {
	t.Parallel()
	var w wire
	_, client := startGroup(t, kfake.ListenFn(w.listen))
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	w.cut(true)
	m.leave(t)

	never := join(dial(t, broker.Settings{Brokers: []string{freePort(t)}}), nil)
	time.Sleep(50 * time.Millisecond) // which decides nothing
	never.leave(t)
}

// Brokers that take requests and never answer.
func TestGroupLeavesSilentBrokers(t *testing.T) {
	t.Parallel()
	var w wire
	_, client := startGroup(t, kfake.ListenFn(w.listen))
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	release := make(chan struct{})
	defer close(release)
	w.mu.Lock()
	w.cutAnswer = func(int16, int) int { <-release; return -1 }
	w.mu.Unlock()
	m.leave(t)
}

// What brokers will not change their minds about is not asked for again and again.
func TestGroupRefused(t *testing.T) {
	t.Parallel()
	for _, final := range []*kerr.Error{kerr.GroupAuthorizationFailed, kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol, kerr.InvalidGroupID} {
		t.Run(final.Message, func(t *testing.T) {
			t.Parallel()
			c, client := startGroup(t)
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.FindCoordinator}, Group: "g", Err: final, Count: -1})
			m := join(client, nil)
			select {
			case err := <-m.done:
				var refused *broker.JoinError
				if !errors.As(err, &refused) || refused.Group != "g" || errors.Is(err, broker.ErrDenied) != (final == kerr.GroupAuthorizationFailed) || !strings.Contains(err.Error(), "join group g: ") {
					t.Error(err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("the member goes on trying")
			}
		})
	}
}

// A topic that gets more partitions.
func TestGroupTopicGrows(t *testing.T) {
	t.Parallel()
	c, client := startGroup(t)
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 4 })
	if _, err := admin(t, c.ListenAddrs()).CreatePartitions(soon(t), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "t", Count: 6}}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(m.has()) == 6 })
	m.leave(t)
}

// Not in parallel, so that what is left can be told.
func TestGroupLeavesNothing(t *testing.T) {
	c, client := startGroup(t)
	produce(t, client, values("a"))
	client.Close()
	before := goleak.IgnoreCurrent()
	client = connect(t, c, nil)
	m := join(client, func(ctx context.Context, g broker.Generation) error {
		var f broker.Fetch
		for ctx.Err() == nil {
			if err := client.Fetch(ctx, "t", 0, 0, fetchNow, &f); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	waitFor(t, func() bool { return len(m.has()) == 4 })
	m.leave(t)
	client.Close()
	goleak.VerifyNone(t, before)
}
