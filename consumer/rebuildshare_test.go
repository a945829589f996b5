package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"regexp"
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

// keptColumns are the objects of a generation that say what was seen of columns.
func (b *bench) keptColumns(generation int) (keys []string) {
	b.t.Helper()
	for o, err := range b.store.List(b.t.Context(), fmt.Sprintf("_lakefeed/feed/g%d/columns/", generation), "") {
		if err != nil || !strings.HasSuffix(o.Key, ".json") {
			b.t.Fatal(o, err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// A topic that is read in shares, of which what was seen is kept in between, gives the
// columns that it gives when it is read at once. Small batches do not make many pieces.
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
	if kept := b.keptColumns(3); len(kept) != 4 {
		t.Errorf("what was seen of 4 topic partitions is kept in %d objects: %v", len(kept), kept)
	}
}

// listed is a lake that counts how often what was seen of columns was listed.
type listed struct {
	*mem.Store
	columns atomic.Int64
}

func (l *listed) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	if strings.Contains(prefix, "/columns/") {
		l.columns.Add(1)
	}
	return l.Store.List(ctx, prefix, after)
}

// A rebuild that goes on with what others have read takes their pieces, and reads the
// rest.
func TestSharedReadingGoesOn(t *testing.T) {
	b := newBench(t, 2)
	want := b.mixed()
	b.send(stream("more", "late,v,n"), 0, "a,1,9000") // after what is kept
	want = append(want, "n=9000 v=1 late=a")
	slices.Sort(want)
	b.mustDrain()
	b.rebuild(b.client, false)

	lake := &listed{Store: b.store}
	table, err := sink.ReadTable(t.Context(), lake, "feed")
	if err != nil {
		t.Fatal(err)
	}
	r := b.rebuildOf(table)
	target, _, err := table.Build(t.Context(), r.Build)
	if err != nil {
		t.Fatal(err)
	}
	for p := range b.topic.Partitions {
		for _, piece := range []struct{ from, to int64 }{{0, 1}, {1, 2}, {2, 4}} {
			// What a range shows that ends there: ranges may overlap.
			c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: target}
			seen, err := c.Infer(t.Context(), map[int]int64{p: piece.to})
			if err != nil {
				t.Fatal(err)
			}
			kept := sink.ColumnsRead{Log: b.topic.LogID, Partition: p, From: piece.from, To: piece.to}
			for _, s := range seen.Seen {
				kept.Columns = append(kept.Columns, sink.ColumnSeen{Name: s.Name, Spellings: s.Spellings, Evidence: s.Evidence})
			}
			if err := target.KeepColumns(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, hold, err := table.Hold(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release(context.WithoutCancel(ctx))
	r.Hold = hold
	if _, err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b.want("feed.g3", want...)
	cells := regexp.MustCompile(`"cells": \d+`) // those of ranges that overlap count twice
	if diff := cmp.Diff(cells.ReplaceAllString(b.columnsOf(2), ""), cells.ReplaceAllString(b.columnsOf(3), "")); diff != "" {
		t.Errorf("the columns differ, -at once +in pieces:\n%s", diff)
	}
	var ends []string
	for _, key := range b.keptColumns(3) {
		from, to, _ := strings.Cut(strings.TrimSuffix(path.Base(key), ".json"), "-")
		ends = append(ends, strings.TrimLeft(from, "0")+"-"+strings.TrimLeft(to, "0"))
	}
	if diff := cmp.Diff([]string{"-1", "1-2", "2-4", "4-7", "-1", "1-2", "2-4", "4-6"}, ends); diff != "" {
		t.Errorf("the pieces, -want +got:\n%s", diff)
	}
	if n := lake.columns.Load(); n != 4 { // by the worker and by the leader, of 2 topic partitions
		t.Errorf("they were listed %d times", n)
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
