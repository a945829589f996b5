package producer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/producer"
	"lakefeed/schema/csv"
)

// uris are the objects of a source.
func uris(t *testing.T, name string, o producer.LocalOptions) (out []string) {
	t.Helper()
	s, err := producer.Local(name, o)
	if err != nil {
		t.Fatal(err)
	}
	for o, err := range s.Objects(t.Context()) {
		if err != nil {
			t.Errorf("%s: %v", o.URI, err)
		}
		out = append(out, o.URI)
	}
	return out
}

func TestLocalSources(t *testing.T) {
	b := newFolder(t)
	for _, name := range []string{
		"in/a.csv", "in/b.TSV", "in/c.txt", "in/d.dat.gz", "in/e.psv.zst", "in/sub/deep/f.csv", "in/readme.md", "in/g.csv.bak", "in/.hidden.csv", "in/_tmp.csv",
		"in/.git/h.csv", "in/_spark/i.csv", "in/j.parquet", "in/dir.csv/k.csv", "odd [1]/x.csv", "odd [1]/y.csv", "odd [1]/*.csv",
	} {
		b.write(name, "id\n1\n")
	}
	if err := os.Symlink(b.path("in/a.csv"), b.path("in/link.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(b.path("nowhere"), b.path("in/broken.csv")); err != nil {
		t.Fatal(err)
	}
	root := "file://" + b.dir + "/"
	folder := []string{"in/a.csv", "in/b.TSV", "in/c.txt", "in/d.dat.gz", "in/dir.csv/k.csv", "in/e.psv.zst", "in/link.csv", "in/sub/deep/f.csv"}
	for _, c := range []struct {
		name string
		o    producer.LocalOptions
		want []string
	}{
		{name: "in", want: folder},
		{name: "in/", want: folder},
		{name: "in/readme.md", want: []string{"in/readme.md"}},
		{name: "in/*.csv", want: []string{"in/_tmp.csv", "in/a.csv", "in/link.csv"}}, // a pattern says what it means
		{name: "in/*/*/*.csv", want: []string{"in/sub/deep/f.csv"}},
		{name: "in/.*.csv", want: []string{"in/.hidden.csv"}},
		{name: "in/[ab].*", want: []string{"in/a.csv", "in/b.TSV"}},
		{name: "in/?.txt", want: []string{"in/c.txt"}},
		{name: "odd [1]", want: []string{"odd%20%5B1%5D/%2A.csv", "odd%20%5B1%5D/x.csv", "odd%20%5B1%5D/y.csv"}},
		{name: "odd [1]/*.csv", want: []string{"odd%20%5B1%5D/%2A.csv"}}, // a file of that name
		{name: "in/nothing*.csv"},
		{name: "in/sub", o: producer.LocalOptions{SourceName: "nfs://host/feed/"}, want: []string{"nfs://host/feed/deep/f.csv"}},
		{name: "in/a.csv", o: producer.LocalOptions{SourceName: "nfs://host"}, want: []string{"nfs://host/a.csv"}},
		{name: "in/*/deep/*.csv", o: producer.LocalOptions{SourceName: "nfs://host"}, want: []string{"nfs://host/sub/deep/f.csv"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if c.o.SourceName == "" {
				want = nil
				for _, w := range c.want {
					want = append(want, root+w)
				}
			}
			if diff := cmp.Diff(want, uris(t, filepath.Join(b.dir, c.name), c.o)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
	// A pattern in a folder whose name looks like one.
	t.Chdir(b.path("odd [1]"))
	if diff := cmp.Diff([]string{root + "odd%20%5B1%5D/x.csv", root + "odd%20%5B1%5D/y.csv"}, uris(t, "[xy].csv", producer.LocalOptions{})); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got := uris(t, root+"odd%20%5B1%5D/x.csv", producer.LocalOptions{}); len(got) != 1 || got[0] != root+"odd%20%5B1%5D/x.csv" {
		t.Errorf("objects of a URI: %q", got)
	}
	for _, c := range []struct{ name, want string }{
		{"s3://b/k", "s3://b/k"}, {"missing.csv", "no such file"}, {"x[", "pattern"}, {"-", "standard input"},
	} {
		if _, err := producer.Local(c.name, producer.LocalOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// What a pipe has given once is gone: its rows would be missing without an error.
func TestPipes(t *testing.T) {
	b := newFolder(t)
	pipe := b.path("rows.csv")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(pipe, b.path("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{pipe: "it is a pipe", "file://" + pipe: "it is a pipe", b.path("link"): "it is a pipe", os.DevNull: "it is a device"} {
		if _, err := producer.Local(name, producer.LocalOptions{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "give - as the source") {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	if got := uris(t, b.dir, producer.LocalOptions{}); got != nil {
		t.Errorf("objects of its folder: %q", got)
	}
	// One that takes a file's name later is not opened.
	b.write("in.csv", "id\n1\n")
	source := b.source("in.csv")[0]
	if err := os.Rename(pipe, b.path("in.csv")); err != nil {
		t.Fatal(err)
	}
	n := 0
	for o, err := range source.Objects(t.Context()) {
		if n++; err == nil || !strings.Contains(err.Error(), "it is a pipe") || !strings.HasSuffix(o.URI, "/in.csv") {
			t.Errorf("object %s: error %v", o.URI, err)
		}
	}
	if n != 1 {
		t.Errorf("%d objects, want 1", n)
	}
}

func newFolder(t *testing.T) *bench { return &bench{t: t, dir: t.TempDir()} }

// Files of any name are sent once, each as its own object.
func TestOddNames(t *testing.T) {
	names := []string{"a b.csv", "100%.csv", "a%20b.csv", "what?.csv", "star*.csv", "x[1].csv", "a#b.csv", "\xff\xfe.csv", "\xff\xfd.csv", "ü.csv", "a:b.csv", "a\nb.csv"}
	for _, name := range []string{"", "mount"} {
		b := newBench(t, 2)
		for i, name := range names {
			b.write("in/"+name, text("id", []string{string(rune('a' + i))}))
		}
		source, err := producer.Local(b.path("in"), producer.LocalOptions{SourceName: name})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if s := b.send(b.config(source)); len(s.Objects) != len(names) {
				t.Errorf("%d objects, want %d", len(s.Objects), len(names))
			}
		}
		all := b.streams()
		if len(all) != len(names) {
			t.Errorf("%d streams, want %d", len(all), len(names))
		}
		for _, s := range all {
			if s.Twice > 0 || len(s.Rows) != 1 {
				t.Errorf("%s: %d rows, %d twice", s.Source, len(s.Rows), s.Twice)
				continue
			}
			want := names[s.Rows[0][0]-'a']
			base, err := url.PathUnescape(s.Source[strings.LastIndexByte(s.Source, '/')+1:])
			if err != nil || base != want {
				t.Errorf("source %s is of file %q: %v", s.Source, want, err)
			}
		}
		b.wantWarnings()
	}
}

func TestNothingToSend(t *testing.T) {
	b := newBench(t, 1)
	b.write("in/x.md", "")
	for _, name := range []string{"in", "in/*.csv"} {
		if _, err := b.run(b.config(b.source(name)...)); !errors.Is(err, producer.ErrNoObjects) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	b.write("in/empty.csv", "")
	b.write("in/blank.csv", "\n\n")
	for range 2 {
		s := b.send(b.config(b.source("in")...))
		for _, o := range s.Objects {
			if o.Status != "empty" || o.Err != nil {
				t.Errorf("summary %+v", o)
			}
		}
	}
	// An empty file that has rows later is as any other.
	b.add("in/empty.csv", "id\n1\n")
	b.send(b.config(b.source("in")...))
	b.one("empty.csv").want(t, producer.Complete, "1")
	b.wantWarnings()
}

// list is a source of what it is given.
type list []producer.Object

func (l list) Objects(context.Context) iter.Seq2[producer.Object, error] {
	return func(yield func(producer.Object, error) bool) {
		for _, o := range l {
			var err error
			if o.Open == nil {
				err = errors.New("the store is angry")
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func opened(content string) func(context.Context, int64) (io.ReadCloser, error) {
	return func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}
}

// Objects that fail do not keep the others from being sent.
func TestOthersGoOn(t *testing.T) {
	b := newBench(t, 1)
	refused := func(context.Context, int64) (io.ReadCloser, error) {
		return nil, &os.PathError{Op: "open", Path: "b", Err: os.ErrPermission}
	}
	s, err := b.run(b.config(list{
		{URI: "x:a", Version: "1", Open: opened("id\n1\n")},
		{URI: "x:b", Version: "1", Open: refused},
		{URI: "x:c", Version: "1"},
		{URI: "x:d", Version: "1", Open: opened("\x00\x01\x02\x00\x00")},
		{URI: "x:e", Version: "1", Open: opened("id\n2\n")},
	}))
	if err != nil {
		t.Fatal(err)
	}
	b.one("x:a").want(t, producer.Complete, "1")
	b.one("x:e").want(t, producer.Complete, "2")
	for name, want := range map[string]string{"x:b": "permission denied", "x:c": "angry", "x:d": "not text"} {
		if o := object(t, s, name); o.Err == nil || !strings.Contains(o.Err.Error(), want) || o.Status != "open" {
			t.Errorf("summary %+v, want error %q", o, want)
		}
	}
}

// The versions of a store's objects are its own.
func TestStoreVersions(t *testing.T) {
	b := newBench(t, 2)
	v1 := list{{URI: "s3://b/k.csv", Version: "etag1-8", Size: 8, Open: opened("id\n1\n2\n")}}
	v2 := list{{URI: "s3://b/k.csv", Version: "etag2-8", Size: 8, Open: opened("id\n1\n3\n")}}
	for range 2 {
		b.send(b.config(v1))
	}
	b.wantWarnings()
	for range 2 {
		b.send(b.config(v2))
	}
	b.wantWarnings("changed since version etag1-8")
	all := b.of("s3://b/k.csv")
	all[0].want(t, producer.Complete, "1", "2")
	all[1].want(t, producer.Complete, "1", "3")
	// A version that was not sent to its end gets one when another takes its place.
	cut := list{{URI: "s3://b/c.gz", Version: "1", Open: opened(gzipped(text("a,b", numbered(0, 50_000)))[:100_000])}}
	if s, err := b.run(b.config(cut)); err != nil || s.Objects[0].Err == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	b.send(b.config(list{{URI: "s3://b/c.gz", Version: "2", Open: opened("a,b\n1,2\n")}}))
	all = b.of("s3://b/c.gz")
	if len(all) != 2 || all[0].Status != producer.Changed || all[1].Status != producer.Complete {
		t.Errorf("%v", b.describe())
	}
	b.wantWarnings("changed since version 1")
}

func TestDryRun(t *testing.T) {
	b := newFolder(t)
	b.write("a.csv", "id;name\n1;a,b\n2;\n\n3;\"\"\n4;\"x\ny\"")
	b.write("b.csv", "# c\nid\n1\n\n\xff\n2\n")
	b.write("c.csv", "")
	comment, utf8 := byte('#'), csv.UTF8
	var out bytes.Buffer
	var rejected []producer.Rejected
	events := producer.Events{Rejected: func(r producer.Rejected) { rejected = append(rejected, r) }}
	if err := producer.DryRun(t.Context(), &out, b.source(), csv.Overrides{Comment: &comment, Encoding: &utf8}, events); err != nil {
		t.Fatal(err)
	}
	want := "id,name\n1,\"a,b\"\n2,\n3,\"\"\n4,\"x\ny\"\nid\n1\n\n2\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	if len(rejected) != 1 || rejected[0].Line != 5 || !strings.HasSuffix(rejected[0].URI, "b.csv") {
		t.Errorf("rejects %+v", rejected)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := producer.DryRun(ctx, io.Discard, b.source(), csv.Overrides{}, producer.Events{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSample(t *testing.T) {
	b := newFolder(t)
	b.write("a.csv", text("id,name", numbered(0, 100)))
	b.write("b.csv.gz", gzipped("x;y\n1;2\n"))
	b.write("c.csv", "")
	var got []string
	err := producer.Sample(t.Context(), b.source(), csv.Overrides{}, 1<<20, 4<<20, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		got = append(got, strings.Join(found.Columns, ","))
		if !complete || len(head) == 0 {
			t.Errorf("%s: %d bytes, complete %v", o.URI, len(head), complete)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"id,name", "x,y"}) {
		t.Errorf("columns %q, error %v", got, err)
	}
	stop := errors.New("enough")
	if err := producer.Sample(t.Context(), b.source(), csv.Overrides{}, 1<<20, 4<<20, func(producer.Object, csv.Found, []byte, bool) error { return stop }); err != stop {
		t.Errorf("error %v", err)
	}
}
