package producer_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/producer"
)

func TestValidateReportsEveryFault(t *testing.T) {
	c := producer.Config{BatchBytes: -1, BatchRows: -2, MaxRecord: -3, Poll: -4}
	err := c.Validate()
	for _, want := range []string{"Client", "Topic", "Sources", "BatchBytes", "BatchRows", "MaxRecord", "Poll"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %s", err, want)
		}
	}
	if _, err := (&producer.Producer{Config: c}).Run(t.Context()); err == nil {
		t.Error("it ran")
	}
	big := producer.Config{Topic: broker.Topic{Name: "x"}, MaxRecord: 9 << 20}
	if err := big.Validate(); err == nil || !strings.Contains(err.Error(), "MaxRecord is 9437184") || !strings.Contains(err.Error(), "0 topic partitions") {
		t.Errorf("error %v", err)
	}
	ok := producer.Config{Client: new(broker.Client), Topic: broker.Topic{Name: "x", Partitions: 1}, Sources: []producer.Source{list{}}}
	if err := ok.Validate(); err != nil || ok.BatchBytes != producer.DefaultBatchBytes || ok.BatchRows != producer.DefaultBatchRows || ok.MaxRecord != producer.DefaultMaxRecord || ok.Poll != producer.DefaultPoll || ok.Now == nil || ok.Log == nil {
		t.Errorf("%+v, error %v", ok, err)
	}
}

// The longest record decides what a reject is, so all producers of an object
// have that of its claim.
func TestMaxRecordOfTheClaim(t *testing.T) {
	b := newBench(t, 1)
	rows := numbered(0, 100)
	rows[90] = "90," + strings.Repeat("x", 500)
	b.write("x.csv", text("a,b", rows))
	ctx, cancel := context.WithCancel(t.Context())
	c := b.config()
	c.BatchRows = 10
	c.MaxRecord = 200
	c.Events.Sent = func(producer.SentInfo) { cancel() }
	if _, err := (&producer.Producer{Config: c}).Run(ctx); err == nil {
		t.Fatal("the run was not stopped")
	}
	b.send(b.config())
	if s := b.one("x.csv"); len(s.Rejects) != 1 || s.Rejects[0] != 90 {
		t.Errorf("rejects %v", s.Rejects)
	}
}

// generated is a CSV of so many bytes that is made while it is read.
type generated struct {
	size, at int64
	line     func(at int64) string
	rest     string
	peak     *atomic.Uint64
	every    int
}

func (g *generated) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if g.rest == "" {
			if g.at >= g.size {
				break
			}
			g.rest = g.line(g.at)
			g.at += int64(len(g.rest))
		}
		k := copy(b[n:], g.rest)
		g.rest = g.rest[k:]
		n += k
	}
	if g.every++; g.every%50 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapInuse > g.peak.Load() {
			g.peak.Store(m.HeapInuse)
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Large files are sent in little memory, whatever is in them.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("300 MB")
	}
	long := strings.Repeat("some text that is the same, ", 20)
	for _, c := range []struct {
		name string
		size int64
		line func(at int64) string
	}{
		{"rows", 200 << 20, func(at int64) string {
			if at == 0 {
				return "a,b\n"
			}
			return strconv.FormatInt(at, 10) + ",\"" + long + "\"\n"
		}},
		{"comments", 100 << 20, func(at int64) string {
			switch {
			case at == 0:
				return "a,b\n"
			case at < 100:
				return "1,2\n"
			}
			return "# " + long + "\n"
		}},
		{"blank", 50 << 20, func(at int64) string {
			if at < 100 {
				return "a,b\n"
			}
			return strings.Repeat("\n", 1000)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 1)
			var peak atomic.Uint64
			o := producer.Object{URI: "x:big", Version: "1", Size: c.size, Open: func(context.Context, int64) (io.ReadCloser, error) {
				return io.NopCloser(&generated{size: c.size, line: c.line, peak: &peak}), nil
			}}
			cfg := b.config(list{o})
			comment := byte('#')
			cfg.CSV.Comment = &comment
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			s := b.send(cfg)
			t.Logf("%d rows, heap %d MB at most, %d MB before", s.Objects[0].Rows, peak.Load()>>20, m.HeapInuse>>20)
			if grown := int64(peak.Load()) - int64(m.HeapInuse); grown > 160<<20 {
				t.Errorf("the heap has grown by %d MB", grown>>20)
			}
		})
	}
}

// A crash behind a long run of comments: a file that was only touched is not
// taken for another.
func TestCommentsBehindTheLastRow(t *testing.T) {
	b := newBench(t, 1)
	content := "a,b\n1,2\n3,4\n" + strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", 20_000)
	b.write("x.csv", content+"5,6") // a last row without an end, far behind
	c := b.config()
	comment := byte('#')
	c.CSV.Comment = &comment
	b.send(c)
	one := b.one("x.csv")
	one.want(t, producer.Complete, "1,2", "3,4", "5,6")
	for n := range len(b.progress(one.ID)) {
		b.crash(one.ID, n)
		b.touch("x.csv")
		b.send(c)
		b.one("x.csv").want(t, producer.Complete, "1,2", "3,4", "5,6")
	}
	b.wantWarnings()
	f := b.follow(func(f *producer.Config) { f.CSV.Comment = &comment })
	b.write("y.csv", "a,b\n1,2\n"+strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", 20_000))
	b.waitRows("y.csv", 0, "1,2")
	b.add("y.csv", "3,4\n")
	b.waitRows("y.csv", 0, "1,2", "3,4")
	f.stop()
	b.wantWarnings()
}

// A run that is stopped says so, and leaves nothing behind.
func TestStopped(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", text("a,b", numbered(0, 1000)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&producer.Producer{Config: b.config()}).Run(ctx); err == nil {
		t.Error("no error")
	}
	c := b.config()
	c.BatchRows = 10
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n := 0
	c.Events.Sent = func(producer.SentInfo) {
		if n++; n == 3 {
			cancel()
		}
	}
	s, err := (&producer.Producer{Config: c}).Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	one := b.one("x.csv")
	if p := b.state(one.ID); !p.Released || p.Rows != int64(len(one.Rows)) || s.Objects[0].Rows != p.Rows || s.Objects[0].Status != "open" {
		t.Errorf("progress %+v, %d rows, summary %+v", p, len(one.Rows), s)
	}
}
