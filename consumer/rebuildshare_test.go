package consumer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// mixed sends rows whose columns and types differ from one topic partition to the next,
// each in a batch of its own, and gives what the lake is to have.
func (b *bench) mixed() (want []string) {
	for p := range b.topic.Partitions {
		header := "n,v"
		if p%2 == 1 {
			header = fmt.Sprintf("n,v,extra%d", p)
		}
		x := stream(fmt.Sprint("x", p), header)
		for i := range 5 {
			n := p*100 + i
			if p%2 == 1 {
				b.send(x, p, fmt.Sprintf("%d,%d.5,2024-01-0%d", n, n, i+1))
				want = append(want, fmt.Sprintf("n=%d v=%d.5 extra%d=2024-01-0%d", n, n, p, i+1))
			} else {
				b.send(x, p, fmt.Sprintf("%d,%d", n, n))
				want = append(want, fmt.Sprintf("n=%d v=%d", n, n))
			}
		}
		b.end(x, p)
	}
	slices.Sort(want)
	return want
}

// rebuild builds the table anew, with a batch for each row, and gives what was said.
func (b *bench) rebuild(client *broker.Client, shared bool) (steps string) {
	b.t.Helper()
	ctx := b.t.Context()
	table, err := sink.ReadTable(ctx, b.store, "feed")
	if err != nil {
		b.t.Fatal(err)
	}
	r := &consumer.Rebuild{
		Client: client, Topic: b.topic, Table: table, Build: sink.BuildConfig{Shape: b.shape, Config: b.config(), Partitions: b.topic.Partitions},
		Consumer: func() *consumer.Consumer { return &consumer.Consumer{FlushBytes: 1} },
		Step:     func(step string) { steps += step + "\n" },
	}
	if shared {
		holding, hold, err := table.Hold(ctx, true)
		if err != nil {
			b.t.Fatal(err)
		}
		defer hold.Release(ctx)
		r.Hold, ctx = hold, holding
	}
	if _, err := r.Run(ctx); err != nil {
		b.t.Fatal(err)
	}
	return steps
}

// columnsOf is the newest schema of a generation, as it is stored.
func (b *bench) columnsOf(generation int) string {
	b.t.Helper()
	table, err := b.table().At(b.t.Context(), generation)
	if err != nil {
		b.t.Fatal(err)
	}
	latest, err := table.Schemas().Latest(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := json.MarshalIndent(latest.Fields, "", " ")
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// A topic that is read in shares, of which what was seen is kept in between, gives the
// columns that it gives when it is read at once.
func TestSharedReadingGivesTheSameColumns(t *testing.T) {
	b := newBench(t, 4)
	want := b.mixed()
	b.mustDrain()
	b.rebuild(b.client, false)
	b.want("feed.g2", want...)
	b.rebuild(b.client, true)
	b.want("feed.g3", want...)
	if diff := cmp.Diff(b.columnsOf(2), b.columnsOf(3)); diff != "" {
		t.Errorf("the columns differ, -at once +shared:\n%s", diff)
	}
	kept := 0
	for o, err := range b.store.List(t.Context(), "_lakefeed/feed/g3/columns/", "") {
		if err != nil || !strings.HasSuffix(o.Key, ".json") {
			t.Fatal(o, err)
		}
		kept++
	}
	if kept < 8 {
		t.Errorf("what was seen is kept in %d objects", kept)
	}
}

// newKfakeBench is a bench on a cluster whose answers can be others.
func newKfakeBench(t *testing.T, partitions int) (*bench, *kfake.Cluster) {
	t.Helper()
	b := &bench{t: t, store: mem.New()}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if b.client, err = broker.New(broker.Settings{Brokers: cluster.ListenAddrs(), ClientID: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	b.makeTopic(partitions)
	return b, cluster
}

// Where Kafka does not have this process in the group, for whatever reason, a rebuild is as
// it is by one process.
func TestRebuildWithoutTheGroup(t *testing.T) {
	for _, c := range []struct {
		answer *kerr.Error
		says   string
	}{
		{kerr.GroupAuthorizationFailed, "permission denied"},
		{kerr.InvalidSessionTimeout, "Invalid Session Timeout"},
	} {
		t.Run(c.answer.Message, func(t *testing.T) {
			b, cluster := newKfakeBench(t, 2)
			want := b.mixed()
			b.mustDrain()
			cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
				resp.ErrorCode = c.answer.Code
				return resp, nil, true
			})
			steps := b.rebuild(b.client, true)
			if strings.Count(steps, "no other process can share the work") != 1 || !strings.Contains(steps, c.says) {
				t.Errorf("it says:\n%s", steps)
			}
			b.want("feed.g2", want...)
		})
	}
}

// What goes wrong with the work of a member of the group is no reason to do it alone.
func TestRebuildFailsInTheGroup(t *testing.T) {
	b, cluster := newKfakeBench(t, 1)
	b.mixed()
	b.mustDrain()
	var joined atomic.Bool
	cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		joined.Store(true)
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !joined.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = kerr.TopicAuthorizationFailed.Code
		return resp, nil, true
	})
	table, hold, _ := b.leads()
	r, steps := b.rebuildOf(table), ""
	r.Hold, r.Step = hold, func(step string) { steps += step + "\n" }
	if _, err := r.Run(t.Context()); !errors.Is(err, broker.ErrDenied) || strings.Contains(steps, "alone") {
		t.Errorf("it ends with %v, and says:\n%s", err, steps)
	}
}
