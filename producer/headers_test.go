package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/producer"
	"lakefeed/schema/wire"
)

// rowsUnder gives each row of a file behind the header that a reader of the topic
// finds for it, and the position where one is told; the same for a row that was
// sent again.
func (b *bench) rowsUnder(name string) []string {
	b.t.Helper()
	var out []string
	under := map[string]string{}
	columns := ""
	for _, m := range b.messages() {
		if m.First {
			columns = ""
		}
		if c, ok := m.Headers[wire.Columns]; ok {
			columns = c
			if m.Headers[wire.Source] == "" || m.Headers[wire.At] == "" {
				b.t.Errorf("message %s tells of a header, and not of its source and place: %v", m.Key, m.Headers)
			}
		}
		if m.Null {
			continue
		}
		row := columns + " | " + m.Value
		if before, again := under[m.Key]; again {
			if before != row {
				b.t.Errorf("message %s is %q, and was %q", m.Key, row, before)
			}
			continue
		}
		under[m.Key] = row
		for _, s := range b.of(name) {
			if s.ID == m.Stream {
				out = append(out, row)
			}
		}
	}
	return out
}

// A file that was put together of others begins each part with its header. Those
// that the feed had when the file was claimed are headers for ever, and others
// are rows for ever, wherever its producers died.
func TestHeadersOfTheFeed(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 3 {
		b := newBench(t, 1)
		b.write("a.csv", "id,name\n1,x\n")
		b.write("b.csv", "id,name,place\n2,y,z\n")
		b.write("c.csv", "place,id\nw,3\n")
		b.send(b.config())
		b.write("all.csv", "id,name\n4,k\n5,l\nid,name,place\n6,m,\"n\n\"\n7,o,p\nplace,id\nq,8\nid,size\nid,name\n9,r\n")
		want := []string{"id,name | 4,k", "id,name | 5,l", "id,name,place | 6,m,\"n\n\"", "id,name,place | 7,o,p", "place,id | q,8", "place,id | id,size", "id,name | 9,r"}
		for run := 0; ; run++ {
			if run > 100 {
				t.Fatal("it does not come to its end")
			}
			ctx, cancel := context.WithCancel(t.Context())
			left := random.IntN(3) + 1
			c := b.config()
			c.BatchRows = 1 + random.IntN(3)
			c.Events.Sent = func(producer.SentInfo) {
				if left--; left == 0 {
					cancel()
				}
			}
			_, err := (&producer.Producer{Config: c}).Run(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err == nil {
				break
			}
			if run == 0 { // a header that came too late for it
				b.write("d.csv", "id,size\n10,1\n")
			}
			for _, s := range b.of("all.csv") {
				if n := len(b.progress(s.ID)); s.Status == "" && random.IntN(2) == 0 {
					b.crash(s.ID, random.IntN(n+1))
				}
			}
		}
		if diff := cmp.Diff(want, b.rowsUnder("all.csv")); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", round, diff)
		}
		b.wantWarnings()
	}
}

// So do files whose headers have several records.
func TestHeadersOfSeveralRecords(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	b := newBench(t, 1)
	parts := []string{"t,v\ns,m/s\n", "\"t\",,w\n,v,\ns,m/s,%\n", "t,w\n"}
	columns := []string{"t s,v m/s", "t s,v m/s,w %", "t,w"}
	rows := func(part, n int) string {
		return strings.Repeat(fmt.Sprintf("%d", n)+strings.Repeat(",5", part%2+1)+"\n", 3)
	}
	for i, header := range parts {
		b.write(fmt.Sprintf("%d.csv", i), header+rows(i, i)+rows(i, i)+rows(i, i))
	}
	b.send(b.config())
	for i := range parts {
		if s := b.one(fmt.Sprintf("%d.csv", i)); s.Columns != columns[i] || len(s.Rows) != 9 {
			t.Fatalf("%d rows under %q", len(s.Rows), s.Columns)
		}
	}
	for name, order := range map[string][]int{"all.csv": {0, 0, 1, 2, 1, 0}, "single.csv": {2, 0, 1, 1, 2}} {
		var text strings.Builder
		var want []string
		for n, part := range order {
			text.WriteString(parts[part] + rows(part, n))
			for _, row := range strings.Split(strings.TrimSuffix(rows(part, n), "\n"), "\n") {
				want = append(want, columns[part]+" | "+row)
			}
		}
		b.write(name, text.String()+"t,v\nu,v\n")
		for run := 0; ; run++ {
			if run > 100 {
				t.Fatal("it does not come to its end")
			}
			ctx, cancel := context.WithCancel(t.Context())
			left := random.IntN(3) + 1
			c := b.config(b.source(name)...)
			c.BatchRows = 1 + random.IntN(3)
			c.Events.Sent = func(producer.SentInfo) {
				if left--; left == 0 {
					cancel()
				}
			}
			_, err := (&producer.Producer{Config: c}).Run(ctx)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			for _, s := range b.of(name) {
				if n := len(b.progress(s.ID)); s.Status == "" && random.IntN(2) == 0 {
					b.crash(s.ID, random.IntN(n+1))
				}
			}
		}
		// It goes on under the header that was in force, and knows that again.
		last := order[len(order)-1]
		b.add(name, "8"+strings.Repeat(",9", last%2+1)+"\n"+parts[last]+rows(last, 9))
		b.send(b.config(b.source(name)...))
		want = append(want, columns[last]+" | t,v", columns[last]+" | u,v", columns[last]+" | 8"+strings.Repeat(",9", last%2+1))
		for _, row := range strings.Split(strings.TrimSuffix(rows(last, 9), "\n"), "\n") {
			want = append(want, columns[last]+" | "+row)
		}
		if diff := cmp.Diff(want, b.rowsUnder(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	b.wantWarnings()
}

// A file that is appended to goes on under the header that was in force, and
// knows all that it knew.
func TestHeadersOfTheFeedGoOn(t *testing.T) {
	b := newBench(t, 1)
	b.write("a.csv", "id,name\n1,x\n")
	b.write("b.csv", "id,name,place\n2,y,z\n")
	b.send(b.config())
	b.write("grows.csv", "id,name\n3,k\nid,name,place\n4,l,m\n")
	b.send(b.config())
	b.add("grows.csv", "5,n,o\nid,name\n6,p\n")
	b.send(b.config())
	b.add("grows.csv", "7,q\nid,name,place\n8,r,s\n")
	b.send(b.config())
	b.write("none.csv", "9,17\n10,12\nid,name\n11,v\n")
	b.send(b.config())
	b.write("swapped.csv", "id,name,place\nA,B,C\nC,D,E\n")
	b.send(b.config())
	for name, want := range map[string][]string{
		"grows.csv":   {"id,name | 3,k", "id,name,place | 4,l,m", "id,name,place | 5,n,o", "id,name | 6,p", "id,name | 7,q", "id,name,place | 8,r,s"},
		"none.csv":    {" | 9,17", " | 10,12", "id,name | 11,v"},
		"swapped.csv": {"id,name,place | A,B,C", "id,name,place | C,D,E"},
	} {
		if diff := cmp.Diff(want, b.rowsUnder(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	b.wantWarnings()
}

// A claim has room for the newest headers of a feed, and no more.
func TestHeadersOfTheFeedAreBounded(t *testing.T) {
	b := newBench(t, 1)
	for i := range 20 {
		b.write(fmt.Sprintf("%02d.csv", i), fmt.Sprintf("id,name%02d\n%d,x\n", i, i))
	}
	b.send(b.config())
	var all strings.Builder
	all.WriteString("id,name\n0,x\n")
	for i := range 20 {
		fmt.Fprintf(&all, "id,name%02d\n", i)
		for range 9 {
			fmt.Fprintf(&all, "%d,x\n", i)
		}
	}
	b.write("all.csv", all.String())
	b.send(b.config())
	// The headers that were forgotten are rows.
	s := b.one("all.csv")
	if s.Columns != "id,name19" || len(s.Rows) != 1+20*9+4 {
		t.Errorf("%d rows, the last under %s", len(s.Rows), s.Columns)
	}
}
