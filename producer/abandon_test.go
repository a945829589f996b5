package producer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lakefeed/producer"
)

func (b *bench) abandon(exclusive bool, stream string) (producer.Abandonment, error) {
	return producer.Abandon(b.t.Context(), producer.Config{Client: b.client.Client, Topic: b.topic, Exclusive: exclusive, Now: b.now}, stream)
}

// A stream whose producer does not come back gets its end behind all that the
// topic has of it, which may be more than its progress knows.
func TestAbandon(t *testing.T) {
	for _, known := range []int{0, 1} { // messages of progress that were written
		b := newBench(t, 2)
		one := b.interrupted("x.csv", 100)
		sent := len(one.Rows)
		b.crash(one.ID, known)
		if _, err := b.abandon(false, one.ID.String()); !errors.Is(err, producer.ErrAbandon) || !strings.Contains(err.Error(), "was at work on it") {
			t.Errorf("while its producer may be there: error %v", err)
		}
		b.pass(2 * time.Minute)
		a, err := b.abandon(false, one.ID.String())
		if err != nil || a.Rows != int64(sent) || a.Status != producer.Abandoned || a.Already || a.Stream != one.ID || a.URI != one.Source {
			t.Fatalf("%+v, error %v, want %d rows", a, err, sent)
		}
		b.one("x.csv").want(t, producer.Abandoned, numbered(0, 100)[:sent]...)
		if a, err := b.abandon(true, one.Source); err != nil || !a.Already || a.Rows != int64(sent) || a.Status != producer.Abandoned {
			t.Errorf("again %+v, error %v", a, err)
		}
		// When its object is there after all, nothing is sent of it, and that is told.
		for range 2 {
			s := b.send(b.config())
			if o := object(t, s, "x.csv"); o.Sent != 0 || o.Status != producer.Abandoned {
				t.Errorf("%+v", o)
			}
			b.wantWarnings("it was abandoned (produce --abandon) behind")
		}
		// Another content under its name is another object.
		b.replace("x.csv", text("a,b", numbered(500, 510)))
		b.send(b.config())
		b.wantWarnings("are not those that were sent")
		all := b.of("x.csv")
		all[0].want(t, producer.Abandoned, numbered(0, 100)[:sent]...)
		all[1].want(t, producer.Complete, numbered(500, 510)...)
	}
}

func TestAbandonWhatIsNot(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "a,b\n1,2\n")
	b.send(b.config())
	one := b.one("x.csv")
	if a, err := b.abandon(false, one.ID.String()); err != nil || !a.Already || a.Status != producer.Complete || a.Rows != 1 {
		t.Errorf("a complete stream: %+v, error %v", a, err)
	}
	b.one("x.csv").want(t, producer.Complete, "1,2")
	for _, name := range []string{"0123456789abcdef", "file:///none.csv"} {
		if _, err := b.abandon(true, name); !errors.Is(err, producer.ErrAbandon) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := producer.Abandon(t.Context(), producer.Config{}, "x"); err == nil || !strings.Contains(err.Error(), "Client is required") {
		t.Errorf("error %v", err)
	}
	// Its rows are in a log that is gone.
	other := b.interrupted("y.csv", 100)
	b.deleteTopic()
	again := newBenchOf(t, b.client, b.topic.Name, 1)
	if _, err := again.abandon(true, other.ID.String()); !errors.Is(err, producer.ErrAbandon) || !strings.Contains(err.Error(), "log of the topic that is gone") {
		t.Errorf("error %v", err)
	}
}
