package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
// failure of that one, whether it swaps its generation in or not.
func TestJoinOfARebuildThatIsSoonDone(t *testing.T) {
	for _, c := range []struct {
		name        string
		keep, known bool // the generation's number is
	}{{"swapped in", false, false}, {"kept", true, false}, {"known and kept", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 2)
			want := b.mixed()
			b.mustDrain()
			table, hold, leader := b.leads()
			r := b.rebuildOf(table)
			r.Hold, r.Keep = hold, c.keep
			if c.known {
				b.says(hold, leader, sink.Work{Step: sink.WorkPrepare, Generation: 2})
			}
			ended := make(chan error, 1)
			joined := b.rebuildOf(table)
			joined.Step = func(string) { // it waits: it has seen that nothing is to be shared yet
				joined.Step = nil
				_, err := r.Run(t.Context())
				hold.Release(t.Context())
				ended <- err
			}
			if report, err := joined.Join(t.Context(), leader); err != nil || report.Generation != 2 {
				t.Errorf("%+v, %v", report, err)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			b.want("feed.g2", want...)
		})
	}
}

// says makes the process that leads say something, and one that joins see it.
func (b *bench) says(hold *sink.Hold, leader *sink.Leader, w sink.Work) {
	b.t.Helper()
	hold.Say(b.t.Context(), w)
	if got, err := leader.Look(b.t.Context()); err != nil || got.Step != w.Step || got.Generation != w.Generation {
		b.t.Fatalf("it is seen at %+v, %v", got, err)
	}
}

// A rebuild whose process is gone before all is written is not done, however far it is.
func TestJoinOfARebuildThatIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		written map[int]int64 // nil: it has not begun the generation. One row comes after that
		says    sink.Work     // none: nothing yet
	}{
		{name: "not begun"},
		{name: "unknown", written: map[int]int64{0: 6}},
		{name: "prepared", written: map[int]int64{0: 6}, says: sink.Work{Step: sink.WorkPrepare, Generation: 2}},
		{name: "written in part", written: map[int]int64{0: 6, 1: 6}, says: sink.Work{Step: sink.WorkPrepare, Generation: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 2)
			b.mixed()
			b.mustDrain()
			table, hold, leader := b.leads()
			if c.written != nil {
				b.writeTo(table, c.written)
			}
			b.send(stream("more", "n"), 1, "7")
			if c.says.Step != "" {
				b.says(hold, leader, c.says)
			}
			joined := b.rebuildOf(table)
			joined.Step = func(string) {
				joined.Step = nil
				hold.Release(t.Context())
			}
			if report, err := joined.Join(t.Context(), leader); !errors.Is(err, sink.ErrLeft) {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// writeTo begins a generation and brings it to offsets of the topic.
func (b *bench) writeTo(table *sink.Table, to map[int]int64) (target *sink.Table) {
	b.t.Helper()
	target, _, err := table.Build(b.t.Context(), b.rebuildOf(table).Build)
	if err != nil {
		b.t.Fatal(err)
	}
	c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: target, Fixed: true, FlushBytes: 1}
	c.Drain(to)
	if err := c.Run(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return target
}

// Of a rollback there is nothing to share.
func TestJoinOfARollback(t *testing.T) {
	b := newBench(t, 2)
	b.mixed()
	b.mustDrain()
	b.rebuild(b.client, false)
	table, hold, leader := b.leads()
	r, joined := b.rebuildOf(table), b.rebuildOf(table)
	r.Hold = hold
	var seen error
	r.Step = func(string) {
		r.Step = nil
		_, seen = joined.Join(t.Context(), leader)
	}
	if _, err := r.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(seen, consumer.ErrAlone) || !strings.Contains(seen.Error(), "it rolls the table back") {
		t.Errorf("one that joined ended with %v", seen)
	}
}

// What becomes of rows that the topic has lost is said by the process that leads, not by
// one that joins.
func TestJoinRecordsLossAsTheLeaderDoes(t *testing.T) {
	for _, record := range []bool{false, true} {
		t.Run(fmt.Sprint("recorded ", record), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1)
			x := stream("x", "n")
			b.send(x, 0, "1", "2")
			b.mustDrain()
			table, hold, leader := b.leads()
			b.writeTo(table, map[int]int64{0: 2})
			b.send(x, 0, "3", "4")
			b.send(x, 0, "5", "6")
			b.deleteRecords(0, 4)
			b.says(hold, leader, sink.Work{Step: sink.WorkWrite, Generation: 2, Log: b.topic.LogID, To: map[int]int64{0: 6}, RecordLoss: record})
			other := consumer.Record
			if record {
				other = consumer.Halt
			}
			var gaps []consumer.Gap
			joined := b.rebuildOf(table)
			joined.Consumer = func() *consumer.Consumer {
				return &consumer.Consumer{OnDataLoss: other, Events: consumer.Events{Gap: func(g consumer.Gap) {
					gaps = append(gaps, g)
					hold.Say(t.Context(), sink.Work{Step: sink.WorkFinish, Generation: 2})
				}}}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it would wait for the leader
			defer cancel()
			_, err := joined.Join(ctx, leader)
			var unfit *sink.LogError
			switch {
			case record && (err != nil || len(gaps) != 1 || gaps[0].From != 2 || gaps[0].To != 4):
				t.Errorf("it ended with %v, and recorded %+v", err, gaps)
			case !record && (!errors.As(err, &unfit) || len(gaps) > 0):
				t.Errorf("it ended with %v, and recorded %+v", err, gaps)
			}
		})
	}
}

// The process that leads says what it does with rows that the topic has lost.
func TestLeaderSaysWhatBecomesOfLoss(t *testing.T) {
	b := newBench(t, 1)
	b.mixed()
	b.mustDrain()
	for _, loss := range []consumer.DataLoss{consumer.Halt, consumer.Record} {
		table, hold, leader := b.leads()
		r := b.rebuildOf(table)
		r.Hold, r.Consumer = hold, func() *consumer.Consumer { return &consumer.Consumer{OnDataLoss: loss} }
		var seen sink.Work
		r.Step = func(step string) {
			if strings.HasPrefix(step, "auditing") {
				seen, _ = leader.Look(t.Context())
			}
		}
		if _, err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		hold.Release(t.Context())
		if seen.Step != sink.WorkFinish || seen.RecordLoss != (loss == consumer.Record) {
			t.Errorf("with %v it is seen at %+v", loss, seen)
		}
	}
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
