package s3source_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"lakefeed/producer"
	"lakefeed/producer/s3source"
	"lakefeed/schema/csv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c *s3.Client, uri string, name ...string) *s3source.Source {
	t.Helper()
	s, err := s3source.New(uri, s3source.Options{Client: c, SourceName: strings.Join(name, "")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// objects lists a source, faults as text.
func objects(t *testing.T, s producer.Source) (out []string) {
	t.Helper()
	for o, err := range s.Objects(t.Context()) {
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %v", o.URI, err))
			continue
		}
		out = append(out, o.URI)
	}
	return out
}

func TestSources(t *testing.T) {
	s, c := newStore(t)
	s.pageOf = 3
	for _, key := range []string{
		"in/a.csv", "in/b.TSV.gz", "in/c.txt", "in/readme.md", "in/.hidden.csv", "in/_SUCCESS.csv", "in/sub/d.csv", "in/sub/deep/e.psv.zst", "in/_spark/f.csv", "in/", "in/sub/",
		"in-old/a.csv", "in/dir.csv/g.dat", "odd/a b+c%20d&é#?.csv", "odd/x\x01y.csv", "odd/a[1].csv", "top.csv", "in//double.csv",
	} {
		s.put(key, "id\n1\n")
	}
	folder := []string{"in//double.csv", "in/a.csv", "in/b.TSV.gz", "in/c.txt", "in/dir.csv/g.dat", "in/sub/d.csv", "in/sub/deep/e.psv.zst"}
	for _, test := range []struct {
		uri, name string
		want      []string
	}{
		{"in/", "", folder},
		{"in", "", folder},
		{"in/a.csv", "", []string{"in/a.csv"}},
		{"in/readme.md", "", []string{"in/readme.md"}}, // what is named is taken
		{"in/*.csv", "", []string{"in/_SUCCESS.csv", "in/a.csv"}},
		{"in/*/*", "", []string{"in//double.csv", "in/_spark/f.csv", "in/dir.csv/g.dat", "in/sub/d.csv"}},
		{"in/.*.csv", "", []string{"in/.hidden.csv"}},
		{"in*/a.csv", "", []string{"in-old/a.csv", "in/a.csv"}},
		{"in/[ab].*", "", []string{"in/a.csv", "in/b.TSV.gz"}},
		{"in/?.txt", "", []string{"in/c.txt"}},
		{`odd/a\[1].csv`, "", []string{"odd/a[1].csv"}},
		{"odd/", "", []string{"odd/a b+c%20d&é#?.csv", "odd/a[1].csv", "odd/x\x01y.csv"}},
		{"in/none*.csv", "", nil},
		{"nothing/", "", nil},
		{"in/sub/", "s3://mirror/feed/", []string{"s3://mirror/feed/d.csv", "s3://mirror/feed/deep/e.psv.zst"}},
		{"in/sub/d.csv", "feed", []string{"feed/d.csv"}},
		{"in/*/d.csv", "feed", []string{"feed/sub/d.csv"}},
		{"top.csv", "feed", []string{"feed/top.csv"}},
		{"nothing", "", []string{"nothing: there is no such object, and no CSV below s3://raw/nothing/ (all that begin with a text: s3://raw/nothing*): file does not exist"}},
	} {
		t.Run(test.uri, func(t *testing.T) {
			want := test.want
			if test.name == "" {
				want = nil
				for _, w := range test.want {
					want = append(want, "s3://raw/"+w)
				}
			}
			if diff := cmp.Diff(want, objects(t, open(t, c, "s3://raw/"+test.uri, test.name))); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
	if got := objects(t, open(t, c, "s3://raw")); len(got) != 12 {
		t.Errorf("the bucket has %q", got)
	}
	if got := objects(t, open(t, c, "s3://other/in/")); len(got) != 1 || !strings.Contains(got[0], "bucket of s3://other/in/ does not exist") {
		t.Errorf("of a bucket that is not there: %q", got)
	}
	for _, uri := range []string{"in/", "s3://", "s3:///in", "s3://*/in", "s3://raw/in/[a", "s3://raw/**/a.csv"} {
		if _, err := s3source.New(uri, s3source.Options{Client: c}); err == nil || !strings.Contains(err.Error(), uri) {
			t.Errorf("%s: error %v", uri, err)
		}
	}
	// A listing can be left in the middle.
	for range open(t, c, "s3://raw/in/").Objects(t.Context()) {
		break
	}
}

// noise is text that compression does not make much shorter.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}

func one(t *testing.T, s producer.Source) producer.Object {
	t.Helper()
	for o, err := range s.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	t.Fatal("no object")
	return producer.Object{}
}

func read(ctx context.Context, o producer.Object, offset int64) (string, error) {
	r, err := o.Open(ctx, offset)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

// Bodies that break off are read on from where they did, bound to the same content.
func TestCutBodies(t *testing.T) {
	s, c := newStore(t)
	body := noise(9 << 20)
	s.put("a.csv", body)
	o := one(t, open(t, c, "s3://raw/"))
	for _, test := range []struct {
		name   string
		offset int
		hook   func(g get) fault
	}{
		{"whole", 0, nil},
		{"from the middle", 5<<20 + 17, nil},
		{"the last byte", 9<<20 - 1, nil},
		{"behind the end", 9 << 20, nil},
		{"each body", 0, func(g get) fault { return fault{cut: true, after: 700_001} }},
		{"before the first byte", 100, func(g get) fault { return fault{cut: g.n%3 != 2} }},
		{"busy", 0, func(g get) fault {
			if g.n%2 == 0 {
				return fault{status: 503, code: "SlowDown"}
			}
			return fault{}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.counts()
			s.hook = test.hook
			got, err := read(t.Context(), o, int64(test.offset))
			if err != nil || got != body[test.offset:] {
				t.Errorf("%d bytes, want %d, error %v", len(got), len(body)-test.offset, err)
			}
			_, _, gets := s.counts()
			next := test.offset
			for _, g := range gets {
				if g.ifMatch == "" || g.from < next-(65<<20) || g.from < test.offset {
					t.Errorf("request %+v", g)
				}
				next = max(next, g.from)
			}
		})
	}
	s.hook = func(get) fault { return fault{cut: true} }
	ctx, cancel := context.WithCancel(t.Context())
	_, err := read(ctx, o, 0)
	if !errors.Is(err, producer.ErrSource) || !strings.Contains(err.Error(), "at byte 0") {
		t.Errorf("error %v", err)
	}
	s.hook = func(get) fault { cancel(); return fault{cut: true, after: 10} }
	if _, err := read(ctx, o, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.hook = func(get) fault { return fault{noRange: true} }
	if _, err := read(t.Context(), o, 10); err == nil || !strings.Contains(err.Error(), "does not give ranges") {
		t.Errorf("error %v", err)
	}
}

// text is a CSV of so many rows, each of about width bytes.
func text(from, to, width int) string {
	var b strings.Builder
	b.WriteString("id,text\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%d,%s\n", i, strings.Repeat(string(rune('a'+i%26)), width))
	}
	return b.String()
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.String()
}

// Objects in the middle of which a run ended are gone on with there: plain ones by
// a range, compressed ones from their beginning.
func TestResume(t *testing.T) {
	s, c := newStore(t)
	content := text(0, 4000, 2000) // 8 MB
	s.put("a.csv", content)
	s.put("b.csv.gz", gzipped(strings.ReplaceAll(content, "aaaa", noise(4))))
	for _, key := range []string{"a.csv", "b.csv.gz"} {
		t.Run(key, func(t *testing.T) {
			b := newBench(t, 1)
			source := open(t, c, "s3://raw/"+key)
			b.interrupt(source, 2500)
			s.counts()
			summary := b.send(source)
			if o := summary.Objects[0]; o.Rows != 4000 || o.Sent > 1500 || o.Sent == 0 || o.Status != producer.Complete {
				t.Errorf("summary %+v", o)
			}
			b.wantRows("s3://raw/"+key, 4000)
			_, heads, gets := s.counts()
			if heads != 1 { // it was named, so it is looked at
				t.Errorf("%d HEADs", heads)
			}
			if key == "a.csv" && (len(gets) < 2 || gets[1].from < 2500*2000) {
				t.Errorf("requests %+v", gets)
			}
		})
	}
}

// An object that is replaced while it is read ends as changed, and what took its
// place is another. In a bucket with versions the old one is read to its end.
func TestReplacedWhileRead(t *testing.T) {
	for _, test := range []struct {
		name    string
		version bool
		zip     func(string) string
	}{
		{"plain", false, func(s string) string { return s }},
		{"gzip", false, gzipped},
		{"versions", true, func(s string) string { return s }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := newStore(t)
			s.version = test.version
			b := newBench(t, 1)
			long := test.zip("id,text\n" + strings.Repeat("1,"+noise(1000)+"\n", 1000) + noise(4<<20))
			s.put("a.csv", long)
			after := text(0, 10, 5)
			s.hook = func(g get) fault {
				if g.from > 0 && g.from != len(long)-csv.TailBytes { // which is looked at before it is claimed
					s.hook = nil
					s.put("a.csv", after)
				}
				return fault{}
			}
			b.send(open(t, c, "s3://raw/"))
			if test.version {
				b.wantStatus("s3://raw/a.csv", producer.Complete)
				_, _, gets := s.counts()
				if g := gets[len(gets)-1]; g.version != "v1" {
					t.Errorf("request %+v", g)
				}
				b.send(open(t, c, "s3://raw/"))
				b.wantStatus("s3://raw/a.csv", producer.Complete, producer.Complete)
			} else {
				b.wantStatus("s3://raw/a.csv", producer.Changed, producer.Complete)
			}
			if all := b.streams("s3://raw/a.csv"); len(all[1].rows) != 10 || len(all[0].rows) > 1001 {
				t.Errorf("%d and %d rows", len(all[0].rows), len(all[1].rows))
			}
			if s := b.send(open(t, c, "s3://raw/")); !s.Objects[0].Already {
				t.Errorf("summary %+v", s.Objects)
			}
		})
	}
}

// An object that is replaced before a run goes on with it ends behind all that the
// topic has of it, and when it is back it is another.
func TestBackAgain(t *testing.T) {
	s, c := newStore(t)
	b := newBench(t, 1)
	source := open(t, c, "s3://raw/")
	first := text(0, 3000, 1000)
	s.put("a.csv", first)
	b.interrupt(source, 1000)
	s.hook = func(g get) fault { // it is found as it was, and then replaced
		s.hook = nil
		s.put("a.csv", text(0, 5, 5))
		return fault{}
	}
	b.send(source)
	b.wantStatus("s3://raw/a.csv", producer.Changed, producer.Complete)
	s.put("a.csv", first)
	b.send(source)
	b.wantStatus("s3://raw/a.csv", producer.Changed, producer.Complete, producer.Complete)
	if all := b.streams("s3://raw/a.csv"); len(all[0].rows) < 1000 || len(all[2].rows) != 3000 {
		t.Errorf("%d rows and %d", len(all[0].rows), len(all[2].rows))
	}
	s.put("a.csv", text(0, 5, 5)) // which went in whole
	if s := b.send(source); !s.Objects[0].Already {
		t.Errorf("summary %+v", s.Objects)
	}
	if _, heads, _ := s.counts(); heads == 0 {
		t.Error("no HEAD")
	}
}

// The same content under the same key is not sent again, whatever its time, its
// version and even its ETag.
func TestCopiedAgain(t *testing.T) {
	for _, version := range []bool{false, true} {
		s, c := newStore(t)
		s.version = version
		b := newBench(t, 1)
		source := open(t, c, "s3://raw/")
		content := text(0, 2000, 1000)
		s.put("a.csv", content)
		s.put("b.csv.gz", gzipped(content))
		b.send(source)
		already := func(wantGets int) {
			t.Helper()
			s.counts()
			for _, o := range b.send(source).Objects {
				if !o.Already || o.Rows != 2000 {
					t.Errorf("summary %+v", o)
				}
			}
			if _, _, gets := s.counts(); len(gets) > wantGets {
				t.Errorf("%d requests for bytes, want %d", len(gets), wantGets)
			}
		}
		already(0)
		s.put("a.csv", content)
		s.put("b.csv.gz", gzipped(content))
		already(0)
		s.put("a.csv", content, "0123-2") // in other parts, or encrypted
		already(4)
		already(0)
		// Half sent, and stored again: it goes on.
		long := text(0, 3000, 1000)
		s.put("a.csv", long)
		b.interrupt(source, 1000)
		s.put("a.csv", long)
		b.send(source)
		b.wantStatus("s3://raw/a.csv", producer.Complete, producer.Complete)
		b.wantRows("s3://raw/b.csv.gz", 2000)
	}
}

// Objects that cannot be read are told, each with what is missing, and the others
// go in.
func TestTrouble(t *testing.T) {
	s, c := newStore(t)
	b := newBench(t, 1)
	faults := map[string]struct {
		fault
		kind error
		says []string
	}{
		"in/archived.csv": {fault{status: 403, code: "InvalidObjectState", text: "The operation is not valid for the object's storage class"}, nil, []string{"archived", "s3:RestoreObject"}},
		"in/denied.csv":   {fault{status: 403, code: "AccessDenied", text: "Access Denied"}, fs.ErrPermission, []string{"s3:GetObject"}},
		"in/kms.csv":      {fault{status: 403, code: "AccessDenied", text: "User: u is not authorized to perform: kms:Decrypt on resource: k"}, fs.ErrPermission, []string{"kms:Decrypt"}},
		"in/kmsoff.csv":   {fault{status: 400, code: "KMS.DisabledException", text: "k is disabled"}, nil, []string{"KMS key", "k is disabled"}},
		"in/ssec.csv":     {fault{status: 400, code: "InvalidRequest", text: "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."}, fs.ErrPermission, []string{"SSE-C"}},
		"in/gone.csv":     {fault{status: 404, code: "NoSuchKey"}, fs.ErrNotExist, []string{"not there any more"}},
	}
	s.put("in/a.csv", text(0, 3, 3))
	s.put("in/z.csv", text(0, 3, 3))
	for key := range faults {
		s.put(key, text(0, 3, 3))
	}
	s.hook = func(g get) fault { return faults[g.key].fault }
	check := func(summary producer.Summary) {
		t.Helper()
		for _, o := range summary.Objects {
			key := strings.TrimPrefix(o.URI, "s3://raw/")
			want, bad := faults[key]
			if !bad {
				continue
			}
			if o.Err == nil || want.kind != nil && !errors.Is(o.Err, want.kind) {
				t.Errorf("%s: error %v", key, o.Err)
				continue
			}
			for _, says := range append(want.says, o.URI) {
				if !strings.Contains(o.Err.Error(), says) {
					t.Errorf("%s: %q does not say %q", key, o.Err, says)
				}
			}
		}
	}
	summary, err := b.run(open(t, c, "s3://raw/in"))
	if err != nil || len(summary.Objects) != 8 {
		t.Fatalf("%d objects, error %v", len(summary.Objects), err)
	}
	check(summary)
	b.wantStatus("s3://raw/in/a.csv", producer.Complete)
	b.wantStatus("s3://raw/in/z.csv", producer.Complete)
	// Named one by one they are looked at in another way.
	delete(faults, "in/gone.csv")
	for key := range faults {
		summary, err := b.run(open(t, c, "s3://raw/"+key))
		if err != nil {
			t.Errorf("%s: error %v", key, err)
		}
		check(summary)
	}
	// Versions have a permission of their own.
	s.version = true
	s.put("v.csv", text(0, 3, 3))
	s.hook = func(g get) fault {
		if g.version != "" {
			return fault{status: 403, code: "AccessDenied"}
		}
		return fault{}
	}
	summary, err = b.run(open(t, c, "s3://raw/v.csv"))
	if err != nil || summary.Objects[0].Err == nil || !strings.Contains(summary.Objects[0].Err.Error(), "s3:GetObjectVersion on s3://raw/v.csv") {
		t.Errorf("%+v, error %v", summary, err)
	}
}

// What the whole source meets ends the run.
func TestSourceTrouble(t *testing.T) {
	s, c := newStore(t)
	b := newBench(t, 1)
	s.put("in/a.csv", text(0, 3, 3))
	s.hook = func(g get) fault {
		if strings.HasPrefix(g.key, "?") {
			return fault{status: 403, code: "AccessDenied", text: "no"}
		}
		return fault{}
	}
	_, err := b.run(open(t, c, "s3://raw/in/"))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "s3:ListBucket on s3://raw/in/") {
		t.Errorf("error %v", err)
	}
	s.hook = func(g get) fault { return fault{status: 403, code: "AccessDenied"} }
	if summary, err := b.run(open(t, c, "s3://raw/in/a.csv")); err != nil || !errors.Is(summary.Objects[0].Err, fs.ErrPermission) {
		t.Errorf("%+v, error %v", summary, err)
	}
	s.hook = func(g get) fault {
		if g.to > 0 {
			return fault{status: 503, code: "ServiceUnavailable"}
		}
		return fault{}
	}
	if _, err := b.run(open(t, c, "s3://raw/in/")); !errors.Is(err, producer.ErrSource) {
		t.Errorf("error %v", err)
	}
	for _, uri := range []string{"s3://raw/in/", "s3://raw/in/a.csv"} {
		if _, err := b.run(open(t, client(t, "http://127.0.0.1:1"), uri)); !errors.Is(err, producer.ErrSource) || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("error %v", err)
		}
	}
}

// Several sources, of several kinds, are one feed.
func TestMixed(t *testing.T) {
	s, c := newStore(t)
	b := newBench(t, 2)
	s.put("in/a.csv", text(0, 3, 3))
	s.put("more/b.csv.gz", gzipped(text(3, 5, 3)))
	local := b.file("c.csv", text(5, 9, 3))
	sources := []producer.Source{open(t, c, "s3://raw/in/"), open(t, c, "s3://raw/more/*.gz"), local, open(t, c, "s3://raw/in/a.csv")}
	for range 2 {
		if s := b.send(sources...); len(s.Objects) != 3 {
			t.Errorf("%+v", s.Objects)
		}
	}
	b.wantRows("s3://raw/in/a.csv", 3)
	b.wantRows("s3://raw/more/b.csv.gz", 2)
	b.wantRows("c.csv", 4)
	// The same feed in a mirror, under another key.
	s.put("mirror/a.csv", text(0, 3, 3))
	if s := b.send(open(t, c, "s3://raw/mirror/", "s3://raw/in")); !s.Objects[0].Already || s.Objects[0].URI != "s3://raw/in/a.csv" {
		t.Errorf("%+v", s.Objects)
	}
}

// Followed, new and changed objects are sent, and others do not cost more than
// their listing.
func TestFollow(t *testing.T) {
	s, c := newStore(t)
	s.pageOf = 20
	b := newBench(t, 4)
	for i := range 50 {
		s.put(fmt.Sprintf("in/%03d.csv", i), text(i, i+2, 3))
	}
	stop := b.follow(unpaced{open(t, c, "s3://raw/in/")})
	b.wait("the first objects", func() bool { return b.ends() == 50 })
	// The progress of an object that ended is written before the next pass lists.
	s.counts()
	listings := func(more int) func() bool {
		return func() bool { n, _, _ := s.counts(); more -= n; return more <= 0 }
	}
	b.wait("the next pass", listings(1))
	written := b.progressEnd()
	b.wait("ten passes", listings(30))
	if end := b.progressEnd(); end != written {
		t.Errorf("%d messages of progress were written while nothing came", end-written)
	}
	s.put("in/000.csv", text(0, 2, 3)) // again, as it was
	s.put("in/001.csv", text(0, 7, 3))
	s.put("in/new.csv", text(0, 4, 3))
	s.remove("in/002.csv")
	b.wait("what is new", func() bool { return b.ends() == 52 })
	stop()
	b.wantRows("s3://raw/in/000.csv", 2)
	b.wantRows("s3://raw/in/002.csv", 2)
	b.wantRows("s3://raw/in/new.csv", 4)
	b.wantStatus("s3://raw/in/001.csv", producer.Complete, producer.Complete)
	_, _, gets := s.counts()
	for _, g := range gets {
		if !slices.Contains([]string{"in/001.csv", "in/new.csv"}, g.key) {
			t.Errorf("request %+v", g)
		}
	}
}

// unpaced is a source that is looked at as often as the producer wants.
type unpaced struct{ producer.Source }
