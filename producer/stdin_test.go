package producer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"lakefeed/producer"
)

func (b *bench) stdin(name, content string) producer.Config {
	b.t.Helper()
	s, err := producer.Local("-", producer.LocalOptions{Stdin: strings.NewReader(content), StreamName: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.config(s)
}

func TestStdin(t *testing.T) {
	content, lines := sniffed(12_000)
	for what, in := range map[string]string{"plain": content, "gzip": gzipped(content), "small": "a,b\n" + lines[0], "latin": "a,b\n1,\xe9\n"} {
		t.Run(what, func(t *testing.T) {
			want := lines
			switch what {
			case "small":
				want = lines[:1]
			case "latin":
				want = []string{"1,é"}
			}
			b := newBench(t, 2)
			// Without a name every run is a stream of its own.
			for range 2 {
				s := b.send(b.stdin("", in))
				if o := s.Objects[0]; o.URI != "stdin:" || o.Already || o.Sent != int64(len(want)) {
					t.Errorf("summary %+v", o)
				}
			}
			all := b.of("stdin:")
			if len(all) != 2 {
				t.Fatalf("%d streams", len(all))
			}
			for _, s := range all {
				s.want(t, producer.Complete, want...)
			}
			// With one it is sent once.
			b.send(b.stdin("daily", in))
			b.wantWarnings()
			s := b.send(b.stdin("daily", in))
			if o := s.Objects[0]; !o.Already || o.Sent != 0 || o.Rows != int64(len(want)) {
				t.Errorf("summary %+v", o)
			}
			b.one("stdin:daily").want(t, producer.Complete, want...)
			b.wantWarnings("sent to its end before")
		})
	}
}

func TestStdinKilledAndFedAgain(t *testing.T) {
	content, lines := sniffed(12_000)
	for what, in := range map[string]string{"plain": content, "gzip": gzipped(content)} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, 1)
			ctx, cancel := context.WithCancel(t.Context())
			c := b.stdin("daily", in)
			c.BatchRows = 1000
			c.Events.Sent = func(producer.SentInfo) { cancel() }
			if _, err := (&producer.Producer{Config: c}).Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("the run ended with %v", err)
			}
			part := len(b.one("stdin:daily").Rows)
			if part == 0 || part == len(lines) {
				t.Fatalf("%d rows", part)
			}
			// Other bytes are not taken for what was read before.
			for _, other := range []string{strings.Replace(content, "v1x", "v9x", 1), content[:100]} {
				s, err := b.run(b.stdin("daily", other))
				if err != nil {
					t.Fatal(err)
				}
				if o := s.Objects[0]; o.Err == nil || !strings.Contains(o.Err.Error(), "not those") {
					t.Errorf("summary %+v", o)
				}
			}
			b.send(b.stdin("daily", in))
			s := b.one("stdin:daily")
			s.want(t, producer.Complete, lines...)
			if s.Twice != 0 {
				t.Errorf("%d rows twice", s.Twice)
			}
			b.wantWarnings()
		})
	}
}

// Rows of a slow pipe are sent while it has no more to give, and a run that waits
// for input can be stopped.
func TestSlowStdin(t *testing.T) {
	b := newBench(t, 1)
	in, out := io.Pipe()
	defer out.Close() // which ends the goroutine that waits for input
	s, err := producer.Local("-", producer.LocalOptions{Stdin: in, StreamName: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan int64, 10)
	c := b.config(s)
	c.Follow = true
	c.Events.Sent = func(i producer.SentInfo) { sent <- i.Rows }
	ctx, stop := context.WithCancel(t.Context())
	p := &producer.Producer{Config: c}
	done := make(chan error, 1)
	go func() {
		_, err := p.Run(ctx)
		done <- err
	}()
	wait := func(rows int64) {
		t.Helper()
		for rows > 0 {
			select {
			case n := <-sent:
				rows -= n
			case <-time.After(2 * time.Minute):
				t.Fatal("what was written is not sent while the input waits")
			}
		}
	}
	io.WriteString(out, "id,name\n1,a\n2,b\n3,")
	wait(2)
	io.WriteString(out, "c\n4,d\n")
	wait(2)
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it waits for input and does not stop")
	}
	b.one("stdin:slow").want(t, "", "1,a", "2,b", "3,c", "4,d")
}
