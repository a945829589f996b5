package producer_test

import (
	"context"
	"io"
	"iter"
	"os"
	"strings"
	"testing"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
)

// wantAlready says that a run has found nothing to send.
func wantAlready(t *testing.T, s producer.Summary, name string, rows int64, stream *sent) {
	t.Helper()
	o := object(t, s, name)
	if !o.Already || o.Sent != 0 || o.Rows != rows || o.Status != producer.Complete || o.Stream != stream.ID || o.Partition != stream.Partition {
		t.Errorf("summary %+v of a run with nothing to send, want %d rows of stream %s in topic partition %d", o, rows, stream.ID, stream.Partition)
	}
}

func TestRerunSendsNothing(t *testing.T) {
	b := newBench(t, 2)
	b.write("x.csv", "id,name\n1,a\n2,b\n\n# the end\n\n")
	b.write("y.csv", "id;name\n1;é\n2;b")
	b.write("z.csv", "id,name\n1,Zo\xeb\n2,b")
	b.write("dir.csv.gz", gzipped("id,name\n1,a\n"))
	b.send(b.config())
	before := len(b.messages())
	b.one("y.csv").want(t, producer.Complete, "1,é", "2,b")
	for _, what := range []string{"again", "touched", "touched again", "copied over"} {
		for _, name := range []string{"x.csv", "y.csv", "z.csv", "dir.csv.gz"} {
			switch what {
			case "touched", "touched again":
				b.touch(name)
			case "copied over":
				content, err := os.ReadFile(b.path(name))
				if err != nil {
					t.Fatal(err)
				}
				os.Remove(b.path(name))
				b.write(name, string(content))
			}
		}
		s := b.send(b.config())
		if n := len(b.messages()); n != before {
			t.Fatalf("%s: %d messages were sent", what, n-before)
		}
		for _, name := range []string{"x.csv", "y.csv", "z.csv", "dir.csv.gz"} {
			one := b.one(name)
			wantAlready(t, s, name, int64(len(one.Rows)), one)
		}
	}
	b.wantWarnings()
}

func TestAppended(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"utf8.csv", "id,name\n§1,a\n§2,\"b\nc\"\n|\n§3,d\n§4,e\n|§5,f\n"},
		{"trailing.csv", "id,name\n§1,a\n\n\n|\n§2,d\n§3,e\n|§4,f\n"},
		{"latin.csv", "id,name\n§1,é\n§2,ü\n|§3,ö\n§4,e\n|§5,f\n"},
		{"crlf.csv", "id,name\r\n§1,a\r\n§2,b\r\n|§3,ö\r\n§4,e\r\n|§5,f\r\n"},
		{"lateend.csv", "id,name\n§1,a\n§2,b|\n§3,c\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 2)
			encode := func(s string) string { return s }
			if c.name == "latin.csv" {
				encode = latin
			}
			parts := strings.Split(c.text, "|")
			all, at := marked(strings.ReplaceAll(c.text, "|", ""))
			var from, at0 int
			for i, part := range parts {
				clean, rows := marked(part)
				if i == 0 {
					b.write(c.name, encode(clean))
				} else {
					b.add(c.name, encode(clean))
				}
				sum := b.send(b.config())
				streams := b.of(c.name)
				if len(streams) != i+1 {
					t.Fatalf("%d streams after %d parts", len(streams), i+1)
				}
				s := byVersion(t, b, streams, c.name, i)
				s.wantPositions(t, at[at0:at0+len(rows)])
				if s.Status != producer.Complete {
					t.Errorf("part %d: status %q", i, s.Status)
				}
				if s.Columns != "id,name" {
					t.Errorf("part %d: columns %q", i, s.Columns)
				}
				if o := object(t, sum, c.name); o.Rows != int64(len(rows)) || o.Version != string(rune('0'+i)) {
					t.Errorf("part %d: summary %+v", i, o)
				}
				from += len(clean)
				at0 += len(rows)
			}
			if from != len(all) {
				t.Fatal("the test is wrong")
			}
			b.wantWarnings()
		})
	}
}

// byVersion is the stream of one version of a file: the one whose id is that of
// a byte at which the version may begin.
func byVersion(t *testing.T, b *bench, streams []*sent, name string, version int) *sent {
	t.Helper()
	info, err := os.Stat(b.path(name))
	if err != nil {
		t.Fatal(err)
	}
	for from := range 2 * info.Size() {
		for _, s := range streams {
			if s.ID == schema.NewStreamID(s.Source, string(rune('0'+version)), from) {
				return s
			}
		}
	}
	t.Fatalf("%s has no stream of version %d", name, version)
	return nil
}

func TestChanged(t *testing.T) {
	first := "id,name\n1,a\n2,b\n3,c\n"
	for _, c := range []struct {
		name, first, second string
		warning             string
		rows                []string
	}{
		{"changed.csv", first, "id,name\n1,a\n2,x\n3,c\n", "not those that were sent", []string{"1,a", "2,x", "3,c"}},
		{"shrunk.csv", first, "id,name\n1,a\n2,b\n", "not those that were sent", []string{"1,a", "2,b"}},
		{"longer.csv", first, "id,name,more\n1,a,\n2,b,\n3,c,\n4,d,e\n", "not those that were sent", []string{"1,a,", "2,b,", "3,c,", "4,d,e"}},
		{"lastline.csv", "id,name\n1,a\n2,b", "id,name\n1,a\n2,bc\n3,d\n", "last line went on", []string{"1,a", "2,bc", "3,d"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 1)
			b.write(c.name, c.first)
			b.send(b.config())
			b.write(c.name, c.second)
			s := b.send(b.config())
			b.wantWarnings(c.warning)
			streams := b.of(c.name)
			if len(streams) != 2 {
				t.Fatalf("%d streams, want 2", len(streams))
			}
			streams[1].want(t, producer.Complete, c.rows...)
			if o := object(t, s, c.name); o.Version != "1" || o.Already {
				t.Errorf("summary %+v", o)
			}
			b.send(b.config())
			if n := len(b.of(c.name)); n != 2 {
				t.Errorf("%d streams after another run", n)
			}
			b.wantWarnings()
		})
	}
}

// A file of another name is another object.
func TestRenamed(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "id\n1\n")
	b.send(b.config())
	if err := os.Rename(b.path("x.csv"), b.path("y.csv")); err != nil {
		t.Fatal(err)
	}
	s := b.send(b.config())
	b.one("x.csv").want(t, producer.Complete, "1")
	b.one("y.csv").want(t, producer.Complete, "1")
	if len(s.Objects) != 1 {
		t.Errorf("summary %+v", s)
	}
}

// hooked calls at when so many bytes of an object were read, once. What is read of its
// end before it is claimed does not count; with bytes -1 it is called behind that.
type hooked struct {
	producer.Source
	bytes int
	at    func() error
}

func (h *hooked) Objects(ctx context.Context) iter.Seq2[producer.Object, error] {
	return func(yield func(producer.Object, error) bool) {
		for o, err := range h.Source.Objects(ctx) {
			open := o.Open
			if open != nil {
				o.Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
					r, err := open(ctx, offset)
					if err != nil {
						return nil, err
					}
					if offset == o.Size-csv.TailBytes {
						if h.bytes < 0 && h.at != nil {
							hook := h.at
							h.at = nil
							err = hook()
						}
						return r, err
					}
					return &hookedReader{h: h, r: r.(*os.File)}, nil
				}
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

type hookedReader struct {
	h *hooked
	r *os.File
}

func (r *hookedReader) Seek(to int64, whence int) (int64, error) { return r.r.Seek(to, whence) }
func (r *hookedReader) Close() error                             { return r.r.Close() }

func (r *hookedReader) Read(b []byte) (int, error) {
	at, _ := r.r.Seek(0, io.SeekCurrent)
	if hook := r.h.at; hook != nil && r.h.bytes >= 0 {
		if left := r.h.bytes - int(at); left > 0 {
			b = b[:min(len(b), left)]
		} else {
			r.h.at = nil
			if err := hook(); err != nil {
				return 0, err
			}
		}
	}
	return r.r.Read(b)
}

// sniffed is more than what the dialect is found in, so that a hook behind it is
// called while rows are read.
func sniffed(rows int) (content string, lines []string) {
	lines = numbered(0, rows)
	for i := range lines {
		lines[i] += strings.Repeat("x", 100)
	}
	return text("a,b", lines), lines
}

func TestGrownWhileRead(t *testing.T) {
	for _, name := range []string{"utf8.csv", "latin.csv", "utf16.csv"} {
		t.Run(name, func(t *testing.T) {
			encode := func(s string) string { return s }
			content, lines := sniffed(12_000)
			switch name {
			case "latin.csv":
				encode, content = latin, strings.Replace(content, "x", "é", 1)
				lines[0] = strings.Replace(lines[0], "x", "é", 1)
			case "utf16.csv":
				encode = func(s string) string { return utf16Bytes(littleEndian, s) }
				content = "\ufeff" + content
			}
			b := newBench(t, 1)
			b.write(name, encode(content)) // half a line comes before the run is at the end, its rest later
			h := &hooked{Source: b.source()[0], bytes: len(encode(content)) - 10, at: func() error { b.add(name, encode("half,a li")); return nil }}
			c := b.config(h)
			done := false
			sources := c.Sources
			c.Sources = []producer.Source{sources[0]}
			c.Events.Warning = func(w producer.Warning) {
				b.note(&b.warnings, w)
				if !done && strings.Contains(w.Message, "while it was read") {
					done = true
					b.add(name, encode("ne\nlast,line\n"))
				}
			}
			b.send(c)
			streams := b.of(name)
			if len(streams) != 2 {
				t.Fatalf("%d streams, want 2", len(streams))
			}
			streams[0].want(t, producer.Changed, lines...)
			streams[1].want(t, producer.Complete, "half,a line", "last,line")
			b.wantWarnings("changed while it was read")
			b.send(b.config())
			if n := len(b.of(name)); n != 2 {
				t.Errorf("%d streams after another run", n)
			}
		})
	}
}

// A file that is only touched while it is read is sent to its end all the same.
func TestTouchedWhileRead(t *testing.T) {
	for _, last := range []string{"last,line", "last,\xe9"} {
		b := newBench(t, 1)
		content, lines := sniffed(12_000)
		content = strings.Replace(content, "v1x", "v1"+last[5:6], 1)
		lines[1] = "1,v1" + fromLatin(last[5:6]) + lines[1][5:]
		b.write("x.csv", content+last)
		h := &hooked{Source: b.source()[0], bytes: len(content) - 10, at: func() error { b.touch("x.csv"); return nil }}
		b.send(b.config(h))
		var rows []string
		for _, s := range b.of("x.csv") {
			rows = append(rows, s.Rows...)
		}
		if len(rows) != len(lines)+1 || rows[len(lines)] != fromLatin(last) {
			t.Errorf("%d rows, want %d", len(rows), len(lines)+1)
		}
	}
}

func TestChangedWhileRead(t *testing.T) {
	b := newBench(t, 1)
	content, _ := sniffed(12_000)
	b.write("x.csv", content)
	h := &hooked{Source: b.source()[0], bytes: len(content) - 10, at: func() error { b.write("x.csv", "a,b\nnew,file\n"); return nil }}
	b.send(b.config(h))
	streams := b.of("x.csv")
	if len(streams) != 2 {
		t.Fatalf("%d streams, want 2", len(streams))
	}
	if streams[0].Status != producer.Changed {
		t.Errorf("status %q", streams[0].Status)
	}
	streams[1].want(t, producer.Complete, "new,file")
	b.wantWarnings("changed while it was read", "not those that were sent")
}

// A file that changes while its form is found is another before it is claimed.
func TestChangedWhileSniffed(t *testing.T) {
	b := newBench(t, 1)
	content, _ := sniffed(12_000)
	b.write("x.csv", content)
	h := &hooked{Source: b.source()[0], bytes: -1, at: func() error { b.write("x.csv", "a,b\nnew,file\n"); return nil }}
	b.send(b.config(h))
	b.one("x.csv").want(t, producer.Complete, "new,file")
	b.wantWarnings()
	if n := len(b.claims()); n != 1 {
		t.Errorf("%d claims", n)
	}
}

// A file that never rests does not keep a run for ever.
func TestGoesOnChanging(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "a,b\n1,2\n")
	c := b.config()
	c.Events.Sent = func(producer.SentInfo) { b.add("x.csv", "3,4\n") }
	b.send(c) // or it goes after the file until its time is over
	if w := b.warned(); len(w) == 0 || !strings.Contains(w[len(w)-1], "goes on changing") {
		t.Errorf("warnings %q", w)
	}
	b.send(b.config())
	n := 0
	for _, s := range b.of("x.csv") {
		n += len(s.Rows)
	}
	if want := strings.Count(readFile(t, b.path("x.csv")), "\n") - 1; n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
