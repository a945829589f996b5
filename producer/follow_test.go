package producer_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefeed/producer"
)

// following is a producer that follows.
type following struct {
	b    *bench
	stop func() producer.Summary
}

func (b *bench) follow(change func(*producer.Config)) *following {
	b.t.Helper()
	c := b.config()
	c.Follow = true
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	var summary producer.Summary
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		summary, err = (&producer.Producer{Config: c}).Run(ctx)
	}()
	stopped := false
	stop := func() producer.Summary {
		cancel()
		<-done
		if err != nil && !stopped {
			b.t.Errorf("the run ended with %v", err)
		}
		stopped = true
		return summary
	}
	b.t.Cleanup(func() { stop() })
	return &following{b, stop}
}

// wait polls until ok.
func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: it did not come in time; the topic has %v, warnings %q", what, b.describe(), b.warned())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *bench) describe() (out []string) {
	for _, s := range b.streams() {
		out = append(out, fmt.Sprintf("%s %d rows %q", s.Source[strings.LastIndexByte(s.Source, '/')+1:], len(s.Rows), s.Status))
	}
	return out
}

// waitRows waits for the rows of the i-th stream of a file.
func (b *bench) waitRows(name string, i int, rows ...string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%s: rows %q of stream %d", name, rows, i), func() bool {
		all := b.of(name)
		return len(all) > i && slices.Equal(all[i].Rows, rows)
	})
}

func (b *bench) waitEnd(name string, i int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%s: end of stream %d", name, i), func() bool {
		all := b.of(name)
		return len(all) > i && all[i].Status == producer.Complete
	})
}

func TestFollow(t *testing.T) {
	for _, name := range []string{"x.csv", "utf16.csv"} {
		t.Run(name, func(t *testing.T) {
			encode := func(s string) string { return s }
			if name == "utf16.csv" {
				encode = func(s string) string { return utf16Bytes(littleEndian, s) }
			}
			b := newBench(t, 2)
			bom := ""
			if name == "utf16.csv" {
				bom = "\ufeff"
			}
			b.write(name, encode(bom+"id,name\n1,a\n"))
			f := b.follow(nil)
			b.waitRows(name, 0, "1,a")
			b.add(name, encode("2,b\n3,"))
			b.waitRows(name, 0, "1,a", "2,b")
			b.write("new.csv", "id\n7\n") // a pass has ended when this one is there
			b.waitRows("new.csv", 0, "7")
			b.add(name, encode("\"c\n"))
			b.add("new.csv", "8\n")
			b.waitRows("new.csv", 0, "7", "8")
			b.add(name, encode("d\"\n4,e\n"))
			b.waitRows(name, 0, "1,a", "2,b", "3,\"c\nd\"", "4,e")
			b.add(name, encode("5,f"))
			s := f.stop()
			if o := object(t, s, name); o.Err != nil || o.Status != "open" || o.Rows != 4 || o.Sent != 4 {
				t.Errorf("summary %+v", o)
			}
			if s := b.one(name); s.Status != "" || s.Twice != 0 {
				t.Errorf("status %q, %d twice", s.Status, s.Twice)
			}
			for _, s := range b.streams() {
				if p := b.state(s.ID); !p.Released || p.Rows != int64(len(s.Rows)) {
					t.Errorf("progress of %s: %+v", s.Source, p)
				}
			}
			b.wantWarnings()
			// Another run sends the rest, and the end. It need not wait for this one.
			c := b.config()
			c.Exclusive = false
			b.send(c)
			one := b.one(name)
			one.want(t, producer.Complete, "1,a", "2,b", "3,\"c\nd\"", "4,e", "5,f")
			_, at := marked(bom + "id,name\n§1,a\n§2,b\n§3,\"c\nd\"\n§4,e\n§5,f")
			one.wantPositions(t, at)
			b.one("new.csv").want(t, producer.Complete, "7", "8")
		})
	}
}

// A file that is renamed away is sent to its end, with what its writer wrote in
// the last moment and what it goes on to write until the new file has bytes.
func TestRotation(t *testing.T) {
	for _, source := range []string{"in", "in/x.csv", "in/*.csv"} {
		t.Run(source, func(t *testing.T) { testRotation(t, source) })
	}
}

func testRotation(t *testing.T, source string) {
	b := newBench(t, 1)
	b.write("in/x.csv", "id\n1\n")
	f := b.follow(func(c *producer.Config) { c.Sources = b.source(source) })
	b.waitRows("x.csv", 0, "1")
	old, err := os.OpenFile(b.path("in/x.csv"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fmt.Fprint(old, "2\n")
	if err := os.Rename(b.path("in/x.csv"), b.path("x.csv.1")); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(old, "3\n")
	b.waitRows("x.csv", 0, "1", "2", "3")
	b.write("in/x.csv", "")
	fmt.Fprint(old, "4\n5")
	b.waitRows("x.csv", 0, "1", "2", "3", "4")
	b.write("in/x.csv", "id\n10\n")
	b.waitRows("x.csv", 1, "10")
	b.add("in/x.csv", "11\n")
	b.waitRows("x.csv", 1, "10", "11")
	b.wantWarnings()
	s := f.stop()
	streams := b.of("x.csv")
	streams[0].want(t, producer.Complete, "1", "2", "3", "4", "5")
	streams[1].want(t, "", "10", "11")
	if n := len(s.Objects); n != 2 || s.Objects[0].Status != producer.Complete || s.Objects[0].Rows != 5 || s.Objects[1].Rows != 2 {
		t.Errorf("summary %+v", s)
	}
}

func TestTruncatedInPlace(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "id,name\n1,a\n2,b\n")
	f := b.follow(nil)
	b.waitRows("x.csv", 0, "1,a", "2,b")
	if err := os.Truncate(b.path("x.csv"), 0); err != nil {
		t.Fatal(err)
	}
	b.add("x.csv", "id,name\n3,c\n")
	b.waitRows("x.csv", 1, "3,c")
	b.of("x.csv")[0].want(t, producer.Complete, "1,a", "2,b")
	b.wantWarnings("cut off")
	// And longer than it was.
	b.add("x.csv", "4,d\n")
	b.waitRows("x.csv", 1, "3,c", "4,d")
	if err := os.WriteFile(b.path("x.csv"), []byte("id,name\n5,eeeeeeeeee\n6,ffffffffffffffff\n7,g\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.waitRows("x.csv", 2, "5,eeeeeeeeee", "6,ffffffffffffffff", "7,g")
	f.stop()
	b.of("x.csv")[1].want(t, producer.Complete, "3,c", "4,d")
	b.wantWarnings("cut off")
}

// A file that was rotated while nobody followed it has no more to be sent: its
// stream's end says that it is another by now.
func TestRotatedMeanwhile(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "id\n1\n")
	f := b.follow(nil)
	b.waitRows("x.csv", 0, "1")
	f.stop()
	os.Remove(b.path("x.csv"))
	b.write("x.csv", "id\n2\n3\n")
	f = b.follow(nil)
	b.waitRows("x.csv", 1, "2", "3")
	f.stop()
	b.of("x.csv")[0].want(t, producer.Changed, "1")
	b.wantWarnings("not those that were sent")
}

func TestFollowCompressedAndEmpty(t *testing.T) {
	b := newBench(t, 1)
	b.write("empty.csv", "")
	b.replace("binary.csv", "\x00\x01\x02\x03\x00\x00\x00")
	f := b.follow(nil)
	b.wait("binary.csv", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.warnings) == 1 })
	whole := gzipped(text("id,v", numbered(0, 1000)))
	b.replace("x.csv.gz", whole[:len(whole)/2]) // a copy under way
	b.wait("cut off", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.warnings) == 2 })
	b.replace("x.csv.gz", whole)
	b.waitEnd("x.csv.gz", 0)
	b.add("empty.csv", "id,na")
	b.replace("y.csv.gz", gzipped("id\n1\n"))
	b.waitEnd("y.csv.gz", 0)
	b.add("empty.csv", "me\n1,a\n")
	b.waitRows("empty.csv", 0, "1,a")
	f.stop()
	b.one("x.csv.gz").want(t, producer.Complete, numbered(0, 1000)...)
	if c := b.one("empty.csv").Columns; c != "id,name" {
		t.Errorf("columns %q", c)
	}
	b.wantWarnings("not text", "cut off")
}

// Many lines while it is followed: each once.
func TestFollowManyLines(t *testing.T) {
	b := newBench(t, 1)
	lines := numbered(0, 300)
	b.write("x.csv", "a,b\n")
	f := b.follow(func(c *producer.Config) { c.Poll = time.Millisecond })
	all := text("", lines)
	for len(all) > 0 {
		n := min(len(all), 17)
		b.add("x.csv", all[:n])
		all = all[n:]
	}
	b.wait("the last line", func() bool { s := b.of("x.csv"); return len(s) == 1 && len(s[0].Rows) == len(lines) })
	f.stop()
	s := b.one("x.csv")
	s.want(t, "", lines...)
	if s.Twice != 0 {
		t.Errorf("%d rows twice", s.Twice)
	}
	b.wantWarnings()
}

// A file that lost its name is let go when nothing more is written to it.
func TestFollowedFileGoesAway(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "id\n1\n")
	b.write("y.csv", "id\n1\n")
	f := b.follow(nil)
	b.waitRows("x.csv", 0, "1")
	b.waitRows("y.csv", 0, "1")
	if err := os.Rename(b.path("x.csv"), b.path("x.old")); err != nil {
		t.Fatal(err)
	}
	b.add("x.old", "2\n")
	b.waitRows("x.csv", 0, "1", "2")
	stream := b.one("x.csv").ID
	b.wait("its release", func() bool {
		b.pass(time.Minute)
		return b.state(stream).Released
	})
	b.add("x.old", "3\n")
	b.add("y.csv", "2\n")
	b.waitRows("y.csv", 0, "1", "2")
	f.stop()
	b.one("x.csv").want(t, "", "1", "2")
	// Its name comes back with it.
	if err := os.Rename(b.path("x.old"), b.path("x.csv")); err != nil {
		t.Fatal(err)
	}
	b.send(b.config())
	b.one("x.csv").want(t, producer.Complete, "1", "2", "3")
	b.wantWarnings()
}
