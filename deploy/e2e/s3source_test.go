package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/deploy/testbed"
)

// sourceBucket makes a bucket of MinIO, and lets the binary find it.
func sourceBucket(t *testing.T) (server *testbed.S3, bucket string) {
	t.Helper()
	server = testbed.MinIO(t)
	server.Setenv(t)
	return server, server.Bucket(t)
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// requests stands between the binary and the server, and sees what is read.
type requests struct {
	mu   sync.Mutex
	gets []string       // path and range of each GET of an object
	sent map[string]int // bytes of bodies, by path
	hook func(path, ranges string)
}

func watch(t *testing.T, server *testbed.S3) *requests {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w := &requests{sent: map[string]int{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(out http.ResponseWriter, _ *http.Request, _ error) { out.WriteHeader(http.StatusBadGateway) }, // the binary was killed
	}
	front := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "" {
			w.mu.Lock()
			w.gets = append(w.gets, r.URL.Path+" "+r.Header.Get("Range"))
			hook := w.hook
			w.mu.Unlock()
			if hook != nil {
				hook(r.URL.Path, r.Header.Get("Range"))
			}
			out = &counted{out, w, r.URL.Path}
		}
		proxy.ServeHTTP(out, r)
	}))
	t.Cleanup(front.Close)
	t.Setenv("AWS_ENDPOINT_URL_S3", front.URL)
	return w
}

// counted counts the bytes of a body.
type counted struct {
	http.ResponseWriter
	w    *requests
	path string
}

func (c *counted) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	c.w.sent[c.path] += len(b)
	c.w.mu.Unlock()
	return c.ResponseWriter.Write(b)
}

// read gives what was asked for since it was called last.
func (w *requests) read() (gets []string, sent map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gets, sent = w.gets, w.sent
	w.gets, w.sent = nil, map[string]int{}
	return gets, sent
}

// A prefix with more objects than a listing's page has, plain and compressed, a
// pattern and an object, are one table; and none of it is sent again.
func TestS3Sources(t *testing.T) {
	server, bucket := sourceBucket(t)
	lake := filepath.Join(t.TempDir(), "lake")
	const objects = 1_100
	for i := range objects {
		text := rowsHeader + rowsCSV(i*10, i*10+10)
		if i%10 == 0 {
			server.Put(t, bucket, fmt.Sprintf("in/%d/rows-%04d.csv.gz", i%3, i), gzipped(t, text))
		} else {
			server.Put(t, bucket, fmt.Sprintf("in/%d/rows-%04d.csv", i%3, i), []byte(text))
		}
	}
	server.Put(t, bucket, "in/_SUCCESS", nil)
	server.Put(t, bucket, "in/notes.md", []byte("no rows"))
	server.Put(t, bucket, "more/a.csv", []byte(rowsHeader+rowsCSV(11_000, 11_010)))
	server.Put(t, bucket, "more/b.tsv", []byte("not,these\n1,2\n"))
	server.Put(t, bucket, "odd/ü +%20.csv", []byte(rowsHeader+rowsCSV(11_010, 11_020)))
	in := "s3://" + bucket + "/"
	args := []string{in + "in/", in + "more/*.csv", in + "odd/ü +%20.csv", "--lake", lake, "--table", "rows"}
	if s := ingest(t, args...); s.Rows != 11_020 || len(s.Objects) != objects+2 {
		t.Fatalf("%d rows of %d objects", s.Rows, len(s.Objects))
	}
	rows := readTable(t, lake, "rows")
	rows.eachOnce(t, "id", 11_020)
	for i, id := range rows.columns["id"] { // the others are of the same row
		var n int
		if _, err := fmt.Sscan(id.text, &n); err != nil {
			t.Fatal(err)
		}
		if text := rows.columns["text"][i].text; !strings.HasPrefix(text, fmt.Sprintf("row %d, of ", n)) {
			t.Fatalf("row %d has %q", n, text)
		}
	}
	// Stored again, some with other parts, they are the same.
	server.Put(t, bucket, "in/1/rows-0001.csv", []byte(rowsHeader+rowsCSV(10, 20)))
	if s := ingest(t, args...); s.Sent != 0 || s.Rows != 0 {
		t.Errorf("again: %+v", s)
	}
	server.Put(t, bucket, "in/1/rows-0001.csv", []byte(rowsHeader+rowsCSV(11_020, 11_025)))
	if s := ingest(t, args...); s.Sent != 5 {
		t.Errorf("one that changed: %+v", s)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 11_025)

	if r := ok(t, "sniff", in+"in/0/rows-0000.csv.gz"); !strings.Contains(r.stdout, in+"in/0/rows-0000.csv.gz") || !strings.Contains(r.stdout, "bigint") {
		t.Errorf("sniff: %v", r)
	}
	r := ok(t, "produce", "--dry-run", in+"more/a.csv")
	if want := rowsHeader + rowsCSV(11_000, 11_010); r.stdout != want {
		t.Errorf("dry run: %v", r)
	}
	kafka := filepath.Join(t.TempDir(), "kafka")
	if r := ok(t, "produce", in+"in/0/", in+"more/a.csv", "--topic", "rows", "--kafka-dir", kafka, "-o", "json"); parse(t, r).Sent != 3_670+10 {
		t.Errorf("produce: %v", r)
	}
	t.Run("duckdb", func(t *testing.T) {
		query := "SELECT count(*), count(DISTINCT id), sum(id), sum(amount) FROM read_parquet('" + lake + "/rows/**/*.parquet')"
		ids, amounts := 0, 0.0
		for i := range 11_025 {
			ids, amounts = ids+i, amounts+float64(i%1000)+0.5
		}
		if diff := cmp.Diff([]any{"11025", "11025", fmt.Sprint(ids), strconv.FormatFloat(amounts, 'f', -1, 64)}, duck(t, query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	})
}

// A run that is killed in the middle of an object is taken up there: a plain one
// by a request for the rest.
func TestS3SourceKilled(t *testing.T) {
	const rows = 400_000
	for name, at := range map[string]int{"rows.csv": 5_000_000, "rows.csv.gz": 1_000_000} { // in the middle
		t.Run(name, func(t *testing.T) {
			server, bucket := sourceBucket(t)
			w := watch(t, server)
			body := []byte(rowsHeader + rowsCSV(0, rows))
			if strings.HasSuffix(name, ".gz") {
				body = gzipped(t, string(body))
			}
			server.Put(t, bucket, name, body)
			dir := t.TempDir()
			lake := filepath.Join(dir, "lake")
			args := []string{"s3://" + bucket + "/" + name, "--lake", lake, "--flush-size", "300kB"}
			for range 3 {
				reached, killed := make(chan struct{}), make(chan struct{})
				w.hook = from(at, reached, killed)
				p := start(t, nil, append([]string{"ingest"}, args...)...)
				<-reached
				p.signal(t, syscall.SIGKILL)
				if r := p.wait(t); r.code != -1 {
					t.Fatalf("it was not killed: %v", r)
				}
				close(killed)
			}
			w.hook = nil
			w.read()
			s := ingest(t, args...)
			gets, sent := w.read()
			readTable(t, lake, "rows").eachOnce(t, "id", rows)
			if s.Total.Rows != rows || len(s.Objects) != 1 || s.Objects[0].Rows != rows {
				t.Errorf("%+v", s)
			}
			t.Logf("%d of %d bytes were read by the last run, which sent %d of %d rows", sent["/"+bucket+"/"+name], len(body), s.Sent, rows)
			// The first range is read to see whether the object is compressed.
			if share := float64(s.Sent) / rows; name == "rows.csv" && float64(sent["/"+bucket+"/"+name]) > share*float64(len(body))+2<<20 {
				t.Errorf("more was read than was missing: %q", gets)
			}
			if s := ingest(t, args...); s.Sent != 0 || s.Rows != 0 {
				t.Errorf("a run after the last: %+v", s)
			}
		})
	}
}

// from tells of the first request for bytes from an offset on, and holds it back.
func from(offset int, reached chan<- struct{}, goOn <-chan struct{}) func(path, ranges string) {
	tell := sync.OnceFunc(func() { close(reached) })
	return func(_, ranges string) {
		var first int
		if _, err := fmt.Sscanf(ranges, "bytes=%d-", &first); err == nil && first >= offset {
			tell()
			<-goOn
		}
	}
}

// An object that is replaced while it is read does not go into the table as a
// mixture of both.
func TestS3SourceReplaced(t *testing.T) {
	server, bucket := sourceBucket(t)
	w := watch(t, server)
	lake := filepath.Join(t.TempDir(), "lake")
	const first = 200_000
	server.Put(t, bucket, "rows.csv", []byte(rowsHeader+rowsCSV(0, first)))
	after := []byte(rowsHeader + rowsCSV(first, first+100))
	reached, replaced := make(chan struct{}), make(chan struct{})
	size := len(rowsHeader + rowsCSV(0, first))
	hook := from(5<<20, reached, replaced) // behind what is looked at to find the types
	w.hook = func(path, ranges string) {
		var at int
		if _, err := fmt.Sscanf(ranges, "bytes=%d-", &at); err == nil && at > size-1<<20 {
			return // the end is looked at first, for remarks behind the table
		}
		hook(path, ranges)
	}
	go func() {
		<-reached
		server.Put(t, bucket, "rows.csv", after)
		close(replaced)
	}()
	uri := "s3://" + bucket + "/rows.csv"
	s := ingest(t, uri, "--lake", lake)
	if len(s.Objects) != 2 || s.Objects[0].Status != "changed" && s.Objects[1].Status != "changed" {
		t.Errorf("%+v", s.Objects)
	}
	before := int(s.Rows) - 100
	if before <= 0 || before >= first {
		t.Fatalf("%d rows of what was replaced", before)
	}
	rows := readTable(t, lake, "rows")
	sum, n := rows.sum(t, "id")
	want := int64(before)*int64(before-1)/2 + 100*first + 100*99/2
	if n != before+100 || sum != want {
		t.Errorf("%d rows with the sum %d, want %d and %d: the first %d of the one and all of the other", n, sum, before+100, want, before)
	}
	if s := ingest(t, uri, "--lake", lake); s.Sent != 0 {
		t.Errorf("again: %+v", s)
	}
}

// --follow takes objects as they come.
func TestS3SourceFollow(t *testing.T) {
	server, bucket := sourceBucket(t)
	lake := filepath.Join(t.TempDir(), "lake")
	server.Put(t, bucket, "in/a.csv", []byte(rowsHeader+rowsCSV(0, 10)))
	p := start(t, nil, "ingest", "s3://"+bucket+"/in", "--lake", lake, "--table", "rows", "--follow", "--flush-every", "500ms", "-o", "json")
	has := func(rows int) func() bool {
		return func() bool { return exists(filepath.Join(lake, "rows")) && readTable(t, lake, "rows").rows >= rows }
	}
	until(t, "the first rows", has(10))
	server.Put(t, bucket, "in/a.csv", []byte(rowsHeader+rowsCSV(0, 10)))
	server.Put(t, bucket, "in/b.csv.gz", gzipped(t, rowsHeader+rowsCSV(10, 20)))
	until(t, "a new object", has(20))
	p.signal(t, syscall.SIGINT)
	if r := p.wait(t); r.code != 130 {
		t.Errorf("interrupted: want exit 130, got %v", r)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 20)
}

// Each missing permission is named, with what it is missing for; and what may be
// read goes in.
func TestS3SourceDenied(t *testing.T) {
	server, bucket := sourceBucket(t)
	server.Put(t, bucket, "in/a.csv", []byte(rowsHeader+rowsCSV(0, 10)))
	server.Put(t, bucket, "in/secret/b.csv", []byte(rowsHeader+rowsCSV(10, 20)))
	server.Put(t, bucket, "in/z.csv", []byte(rowsHeader+rowsCSV(20, 30)))
	in := "s3://" + bucket + "/in/"
	lake := filepath.Join(t.TempDir(), "lake")
	if r := exits(t, 6, "ingest", "s3://"+bucket+"-none/", "--lake", lake, "--table", "rows"); !strings.Contains(r.stderr, "s3://"+bucket+"-none/ does not exist") {
		t.Errorf("no such bucket: %v", r)
	}
	// What the documentation says is enough.
	user := server.User(t, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::%[1]s","Condition":{"StringLike":{"s3:prefix":"in/*"}}},
		{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::%[1]s/in/*"},
		{"Effect":"Deny","Action":"s3:GetObject*","Resource":"arn:aws:s3:::%[1]s/in/secret/*"}]}`, bucket))
	user.Setenv(t)
	r := exits(t, 7, "ingest", in, "--lake", lake, "--table", "rows")
	for _, says := range []string{"secret/b.csv", "s3:GetObject"} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("it does not say %s: %v", says, r)
		}
	}
	if n := readTable(t, lake, "rows").rows; n != 20 {
		t.Errorf("%d rows", n)
	}
	if strings.Contains(r.stdout+r.stderr, user.SecretKey) {
		t.Errorf("the secret is told: %v", r)
	}
	r = exits(t, 7, "ingest", "s3://"+bucket+"/", "--lake", lake, "--table", "rows")
	if !strings.Contains(r.stderr, "s3:ListBucket on s3://"+bucket+"/") {
		t.Errorf("it does not say what is missing: %v", r)
	}
	if s := ingest(t, in+"z.csv", in+"a.csv", "--lake", lake, "--table", "rows"); s.Sent != 0 {
		t.Errorf("single objects: %+v", s)
	}
	server.As("nobody", "nothing-at-all").Setenv(t)
	if r := exits(t, 7, "ingest", in, "--lake", lake, "--table", "rows"); !strings.Contains(r.stderr, "AWS_ACCESS_KEY_ID") {
		t.Errorf("unknown user: %v", r)
	}
}
