package producer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"lakefeed/producer"
	"lakefeed/schema/csv"
)

// counted counts what is read of a source.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// Of a gigabyte a few megabytes are read before its first row is sent.
func TestSniffReadsLittle(t *testing.T) {
	const size, most = 1 << 30, 4 << 20
	line := func(at int64) string { return fmt.Sprintf("%09d,some text,\"and, more\",2.5\n", at%1e9) }
	var read atomic.Int64
	o := producer.Object{URI: "x:big", Version: "1", Size: size, Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
		r := &generated{size: size, at: offset, line: line, peak: new(atomic.Uint64)}
		if offset == 0 {
			r.rest = "id,a,b,c\n"
		}
		return io.NopCloser(counted{r, &read}), nil
	}}
	b := newBench(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	c := b.config(list{o})
	c.BatchRows = 1
	before := int64(-1)
	c.Events.Sent = func(s producer.SentInfo) {
		if before < 0 {
			before = read.Load()
		}
		cancel()
	}
	if _, err := (&producer.Producer{Config: c}).Run(ctx); ctx.Err() == nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", before)
	if before < 0 || before > most {
		t.Errorf("%d bytes were read before the first row was sent, want %d at most", before, most)
	}
	read.Store(0)
	err := producer.Sample(t.Context(), []producer.Source{list{o}}, csv.Overrides{}, most, 64<<20, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		if found.Width != 4 || complete || len(head) != most {
			t.Errorf("%+v, %d bytes, complete %v", found, len(head), complete)
		}
		return nil
	})
	if n := read.Load(); err != nil || n > most+1<<16 {
		t.Errorf("%d bytes were read for a sample of %d, %v", n, most, err)
	}
}

// Remarks behind a table that is longer than the sample, and another table, are told from
// its rows, for ever, however the end is to be had; and rows that are appended behind them
// later are rows.
func TestRemarksBehindALongTable(t *testing.T) {
	var rows []string
	var long bytes.Buffer
	long.WriteString("id,a,b\n")
	for i := 0; long.Len() < 2*producer.SniffBytes; i++ {
		rows = append(rows, fmt.Sprintf("%d,%s,\"x, y\"", i, strings.Repeat("v", 400)))
		long.WriteString(rows[i] + "\n")
	}
	for _, c := range []struct {
		name, end string
		more      []string // rows
		rejects   int
	}{
		{"source", "\nSource: Office\n* provisional\n", nil, 2},
		{"delimiters", ",,\nSource: Office,,\n", []string{}, 2},
		{"total", "total,5,x\n", []string{"total,5,x"}, 0},
		{"short row", "77,z\n", []string{"77,z"}, 0},
		{"nothing", "", nil, 0},
		{"another table", "\nTable 2\nname,n\nu,1\nv,2\n", nil, 4},
		{"another table without a gap", "a,sum\n1,1\n2,2\n", nil, 3},
		{"another table that is long", "\nname,n\n" + strings.Repeat("u,1\n", 20_000), slices.Concat([]string{"name,n"}, slices.Repeat([]string{"u,1"}, 20_000)), 0},
		{"rows of another width", "1,1\n2,2\n", []string{"1,1", "2,2"}, 0},
	} {
		for _, form := range []string{"plain", "gzip", "utf16", "latin", "stdin", "stdin gzip"} {
			t.Run(c.name+", "+form, func(t *testing.T) {
				b := newBench(t, 1)
				content := long.String() + c.end
				switch form {
				case "gzip", "stdin gzip":
					content = gzipped(content)
				case "utf16":
					content = utf16Bytes(littleEndian, "\ufeff"+content)
				case "latin":
					content = latin(strings.Replace(content, "v", "é", 1))
				}
				name := "x.csv"
				if strings.HasPrefix(form, "stdin") {
					name = "stdin:"
					b.send(b.stdin("", content))
				} else {
					b.write(name, content)
					b.send(b.config())
				}
				one := b.one(name)
				want := slices.Concat(rows, c.more)
				if form == "latin" {
					want[0] = strings.Replace(want[0], "v", "é", 1)
				}
				var got []string
				for i, r := range one.Rows {
					if !slices.Contains(one.Rejects, int64(i)) {
						got = append(got, r)
					}
				}
				if len(one.Rejects) != c.rejects || !slices.Equal(got, want) {
					t.Errorf("%d rejects, %d rows, want %d and %d", len(one.Rejects), len(got), c.rejects, len(want))
				}
				source := b.source()
				if name != "x.csv" {
					source = b.stdin("", content).Sources
				}
				var out bytes.Buffer
				if err := producer.DryRun(t.Context(), &out, source, csv.Overrides{}, producer.Events{}); err != nil {
					t.Fatal(err)
				}
				if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1+len(want) {
					t.Errorf("--dry-run printed %d lines, want %d", n, 1+len(want))
				}
			})
		}
	}
	b := newBench(t, 1)
	b.write("x.csv", long.String()+"\nSource: Office\n")
	b.send(b.config())
	b.add("x.csv", "1,2,3\n")
	b.send(b.config())
	if s := b.of("x.csv"); len(s) != 2 || len(s[0].Rejects) != 1 || len(s[1].Rejects) != 0 || len(s[1].Rows) != 1 {
		t.Errorf("%d streams, %+v", len(s), s[len(s)-1].Rows)
	}
}
