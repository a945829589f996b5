package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lakefeed/consumer"
	"lakefeed/sink"
)

// leads begins to lead a rebuild, and gives what a process sees of it that joins.
func (b *bench) leads() (table *sink.Table, hold *sink.Hold, leader *sink.Leader) {
	b.t.Helper()
	table, err := sink.ReadTable(b.t.Context(), b.store, "feed")
	if err != nil {
		b.t.Fatal(err)
	}
	if _, hold, err = table.Hold(b.t.Context(), true); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { hold.Release(context.WithoutCancel(b.t.Context())) })
	if leader, err = table.Leader(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return table, hold, leader
}

func (b *bench) rebuildOf(table *sink.Table) *consumer.Rebuild {
	return &consumer.Rebuild{
		Client: b.client, Topic: b.topic, Table: table, Build: sink.BuildConfig{Shape: b.shape, Config: b.config(), Partitions: b.topic.Partitions},
		Consumer: func() *consumer.Consumer { return &consumer.Consumer{} },
	}
}

// A rebuild that comes to its end between two looks of a process that has joined is no
// failure of that one.
func TestJoinOfARebuildThatIsSoonDone(t *testing.T) {
	b := newBench(t, 2)
	want := b.mixed()
	b.mustDrain()
	table, hold, leader := b.leads()
	r := b.rebuildOf(table)
	r.Hold = hold
	ended := make(chan error, 1)
	joined := b.rebuildOf(table)
	joined.Step = func(string) { // it waits: it has seen that nothing is to be shared yet
		joined.Step = nil
		_, err := r.Run(t.Context())
		hold.Release(t.Context())
		ended <- err
	}
	if _, err := joined.Join(t.Context(), leader); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.want("feed.g2", want...)
}

// A process that would read a topic of the same name, but of other brokers, writes nothing.
func TestJoinFromOtherBrokers(t *testing.T) {
	b, other := newBench(t, 2), newBench(t, 2)
	b.mixed()
	other.mixed()
	b.mustDrain()
	table, hold, leader := b.leads()
	target, _, err := table.Build(t.Context(), b.rebuildOf(table).Build)
	if err != nil {
		t.Fatal(err)
	}
	hold.Say(t.Context(), sink.Work{Step: sink.WorkWrite, Generation: target.Generation(), Log: b.topic.LogID, To: map[int]int64{0: 6, 1: 6}})
	joined := b.rebuildOf(table)
	joined.Client, joined.Topic = other.client, other.topic
	if _, err := joined.Join(t.Context(), leader); !errors.Is(err, consumer.ErrOtherTopic) {
		t.Errorf("it ended with %v", err)
	}
	for o := range b.store.List(t.Context(), "_lakefeed/feed/g2/commits/", "") {
		t.Errorf("it has written %s", o.Key)
	}
}

// A leader that writes alone from some moment on has not done with writing.
func TestJoinOfALeaderThatGoesOnAlone(t *testing.T) {
	b := newBench(t, 2)
	b.mixed()
	b.mustDrain()
	table, hold, leader := b.leads()
	target, _, err := table.Build(t.Context(), b.rebuildOf(table).Build)
	if err != nil {
		t.Fatal(err)
	}
	hold.Say(t.Context(), sink.Work{Step: sink.WorkWrite, Generation: target.Generation(), Log: b.topic.LogID, To: map[int]int64{0: 6, 1: 6}})
	joined := b.rebuildOf(table)
	joined.Step = func(step string) {
		if strings.HasPrefix(step, "writing a share") {
			hold.Say(t.Context(), sink.Work{Step: sink.WorkPrepare, Generation: target.Generation(), Log: b.topic.LogID, Alone: "it has lost the group"})
		}
	}
	if report, err := joined.Join(t.Context(), leader); !errors.Is(err, consumer.ErrAlone) || !strings.Contains(err.Error(), "it has lost the group") {
		t.Errorf("it ended with %v, %+v", err, report)
	}
}
