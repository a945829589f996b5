package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"lakefeed/deploy/testbed"
	"lakefeed/deploy/testbed/s3test"
)

// bucketLake is a lake in an S3 in this process, with a proxy before it that fails
// when it is told to.
type bucketLake struct {
	server  *s3test.Server
	proxy   *s3test.Proxy
	address string
	dir     string // of the embedded Kafka's log
}

func newBucketLake(t *testing.T) *bucketLake {
	t.Helper()
	l := &bucketLake{server: s3test.NewServer(), dir: t.TempDir()}
	l.proxy = s3test.NewProxy(l.server)
	l.address = s3test.Serve(t, l.proxy)
	for _, bucket := range []string{"lake", "raw"} {
		l.server.MakeBucket(bucket)
	}
	l.at("key").Setenv(t)
	return l
}

// at is the server for who has an access key.
func (l *bucketLake) at(accessKey string) *testbed.S3 {
	return &testbed.S3{Endpoint: l.address, AccessKey: accessKey, SecretKey: "secret"}
}

// args are those of an ingest from the bucket raw.
func (l *bucketLake) args(more ...string) []string {
	return append([]string{"ingest", "-o", "json", "s3://raw/rows/", "--lake", "s3://lake/feeds", "--kafka-dir", filepath.Join(l.dir, "kafka")}, more...)
}

// read copies the lake into a folder and reads a table there.
func (l *bucketLake) read(t *testing.T, name string) *table {
	t.Helper()
	folder := t.TempDir()
	for _, key := range l.server.Keys("lake", "feeds/") {
		writeFile(t, filepath.Join(folder, strings.TrimPrefix(key, "feeds/")), string(l.server.Get("lake", key)))
	}
	return readTable(t, folder, name)
}

// Each fifth request of every operation meets a fault, and the lake has each row
// once, in one run, with not many more requests than there are without.
func TestS3FaultsUnderWay(t *testing.T) {
	const rows = 30_000
	operations := []string{s3test.PutObject, s3test.CreateMultipartUpload, s3test.UploadPart, s3test.CompleteMultipartUpload, s3test.AbortMultipartUpload,
		s3test.GetObject, s3test.HeadObject, s3test.ListObjects, s3test.DeleteObject}
	ingested := func(t *testing.T, fault s3test.Fault) (requests, faults int) {
		l := newBucketLake(t)
		for i := range 6 {
			l.server.Put("raw", fmt.Sprintf("rows/%d.csv", i), []byte(rowsHeader+rowsCSV(i*rows/6, (i+1)*rows/6)))
		}
		l.proxy.Before(func(c s3test.Call) *s3test.Fault {
			if c.N%5 != 3 || fault == (s3test.Fault{}) || fault.Status == 200 && c.Operation != s3test.CompleteMultipartUpload {
				return nil
			}
			return &fault
		})
		s := parse(t, ok(t, l.args("--flush-size", "150kB")...))
		if s.Rows != rows || s.Total.Rows != rows || s.Quarantined != 0 {
			t.Errorf("%+v", s)
		}
		for _, op := range operations {
			n, f := l.proxy.Count(op)
			requests, faults = requests+n, faults+f
		}
		l.proxy.Before(nil)
		l.read(t, "rows").eachOnce(t, "id", rows)
		ok(t, "audit", "rows", "--lake", "s3://lake/feeds", "--kafka-dir", filepath.Join(l.dir, "kafka"), "--deep")
		if again := parse(t, ok(t, l.args()...)); again.Sent != 0 || again.Rows != 0 {
			t.Errorf("a run after it: %+v", again)
		}
		return requests, faults
	}
	usual, _ := ingested(t, s3test.Fault{})
	for name, fault := range map[string]s3test.Fault{
		"409":                 {Status: 409, Code: "ConditionalRequestConflict"},
		"503":                 {Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."},
		"500":                 {Status: 500, Code: "InternalError"},
		"200 with an error":   {Status: 200, Code: "InternalError"},
		"cut in the request":  {Cut: s3test.InRequest},
		"cut in the response": {Cut: s3test.InResponse},
		"the answer is lost":  {Cut: s3test.Lost},
		"slow":                {Delay: 150 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			requests, faults := ingested(t, fault)
			if faults == 0 {
				t.Error("nothing failed")
			}
			t.Logf("%d requests, %d of them failed; %d without faults", requests, faults, usual)
			if requests > 2*usual+20 {
				t.Errorf("%d requests, %d without faults", requests, usual)
			}
		})
	}
}

// What a person has to mend is said in one message that names the resource and what
// is missing, with the exit code of its kind; nothing is lost, and the run goes on
// where it stopped when the fault is gone.
func TestS3FaultsAsUsersSeeThem(t *testing.T) {
	const rows = 6_000
	denied := func(names ...string) func(*testing.T, *bucketLake) {
		return func(_ *testing.T, l *bucketLake) {
			l.server.SetUser("key", s3test.User{Denied: func(action, bucket, _ string) bool { return bucket == "lake" && slices.Contains(names, action) }})
		}
	}
	refused := func(code string) func(*testing.T, *bucketLake) {
		return func(_ *testing.T, l *bucketLake) { l.server.SetUser("key", s3test.User{Refused: code}) }
	}
	said := loadSaid(t, filepath.Join("testdata", "s3_faults.golden"))
	for _, c := range []struct {
		name  string
		fault func(*testing.T, *bucketLake)
		code  int
		flags []string
		names []string // what the message has to name
	}{
		{"no such bucket for the lake", nil, 6, []string{"--lake", "s3://nowhere/feeds"}, []string{"s3://nowhere/feeds"}},
		{"no such bucket for the state", nil, 6, []string{"--state", "s3://nowhere/state"}, []string{"s3://nowhere/state"}},
		{"no such bucket of a source", nil, 6, []string{"s3://nowhere/rows/"}, []string{"s3://nowhere/rows/"}},
		{"denied PutObject", denied("PutObject"), 7, nil, []string{"s3:PutObject", "s3://lake/feeds/"}},
		{"denied UploadPart", denied(s3test.UploadPart), 7, nil, []string{"s3:PutObject", "s3://lake/feeds/"}},
		{"denied CompleteMultipartUpload", denied(s3test.CompleteMultipartUpload), 7, nil, []string{"s3:PutObject", "s3://lake/feeds/"}},
		{"denied GetObject", denied("GetObject"), 7, nil, []string{"s3:GetObject", "s3://lake/feeds/"}},
		{"denied ListBucket", denied("ListBucket"), 7, nil, []string{"s3:ListBucket", "s3://lake/feeds/"}},
		{"denied DeleteObject", denied("DeleteObject"), 0, nil, nil},
		{"denied AbortMultipartUpload", denied("AbortMultipartUpload"), 0, nil, nil},
		{"denied ListBucket of the source", func(_ *testing.T, l *bucketLake) {
			l.server.SetUser("key", s3test.User{Denied: func(action, bucket, _ string) bool { return bucket == "raw" && action == "ListBucket" }})
		}, 7, nil, []string{"s3:ListBucket", "s3://raw/rows/"}},
		{"denied GetObject of the source", func(_ *testing.T, l *bucketLake) {
			l.server.SetUser("key", s3test.User{Denied: func(action, bucket, _ string) bool { return bucket == "raw" && action == "GetObject" }})
		}, 7, nil, []string{"s3:GetObject", "s3://raw/rows/"}},
		{"conditional writes are not implemented", func(_ *testing.T, l *bucketLake) { l.server.SetConditions(s3test.NotImplemented) }, 6, nil, []string{"s3://lake/feeds", "If-None-Match"}},
		{"conditional writes are ignored", func(_ *testing.T, l *bucketLake) { l.server.SetConditions(s3test.Ignored) }, 6, nil, []string{"s3://lake/feeds", "If-None-Match"}},
		{"wrong port", func(t *testing.T, _ *bucketLake) { t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1") }, 6, nil, []string{"http://127.0.0.1:1", "AWS_ENDPOINT_URL", "s3://"}},
		{"endpoint that is not S3", func(t *testing.T, l *bucketLake) {
			l.proxy.Before(func(s3test.Call) *s3test.Fault { return &s3test.Fault{Status: 200} })
		}, 6, nil, []string{"s3://", "endpoint"}},
		{"endpoint of another scheme", func(t *testing.T, l *bucketLake) {
			t.Setenv("AWS_ENDPOINT_URL_S3", strings.Replace(l.address, "http:", "https:", 1))
		}, 6, nil, []string{"https://127.0.0.1", "s3://"}},
		{"endpoint that is no URL", func(t *testing.T, l *bucketLake) { t.Setenv("AWS_ENDPOINT_URL_S3", "minio 9000") }, 2, nil, []string{"minio 9000"}},
		{"expired credentials", refused("ExpiredToken"), 7, nil, []string{"ExpiredToken", "AWS_SESSION_TOKEN", "s3://"}},
		{"wrong secret", refused("SignatureDoesNotMatch"), 7, nil, []string{"SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY", "s3://"}},
		{"unknown key", func(t *testing.T, l *bucketLake) {
			l.server.SetUser("key", s3test.User{})
			l.at("other").Setenv(t)
		}, 7, nil, []string{"InvalidAccessKeyId", "AWS_ACCESS_KEY_ID", "s3://"}},
		{"no credentials", func(t *testing.T, l *bucketLake) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		}, 7, nil, []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE"}},
		{"expired under way", func(_ *testing.T, l *bucketLake) {
			afterRecord(l, s3test.Fault{Status: 400, Code: "ExpiredToken", Message: "The provided token has expired."})
		}, 7, nil,
			[]string{"ExpiredToken", "AWS_SESSION_TOKEN", "s3://lake/feeds/"}},
		{"denied under way", func(_ *testing.T, l *bucketLake) {
			afterRecord(l, s3test.Fault{Status: 403, Code: "AccessDenied", Message: "Access Denied"})
		}, 7, nil,
			[]string{"s3:", "s3://lake/feeds/"}},
		{"bucket gone under way", func(_ *testing.T, l *bucketLake) {
			afterRecord(l, s3test.Fault{Status: 404, Code: "NoSuchBucket", Message: "The specified bucket does not exist"})
		}, 6, nil,
			[]string{"s3://lake/feeds/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newBucketLake(t)
			l.server.Put("raw", "rows/a.csv", []byte(rowsHeader+rowsCSV(0, rows)))
			args := l.args(append([]string{"--flush-size", "50kB", "--table", "rows"}, c.flags...)...)
			if len(c.flags) == 1 { // another source
				args = slices.DeleteFunc(args, func(a string) bool { return a == "s3://raw/rows/" })
			}
			t.Run("run", func(t *testing.T) {
				if c.fault != nil {
					c.fault(t, l)
				}
				r := exits(t, c.code, args...)
				if c.code != 0 {
					said.check(t, c.name, r.stderr)
				}
				message := closing(r.stderr)
				for _, name := range c.names {
					if !strings.Contains(message, name) {
						t.Errorf("it does not name %s: %s", name, message)
					}
				}
				if n := strings.Count(message, "lakefeed: "); c.code != 0 && n != 1 {
					t.Errorf("%d messages: %s", n, r.stderr)
				}
			})
			// The fault is gone.
			l.server.SetConditions(s3test.Honoured)
			l.server.SetUser("key", s3test.User{})
			l.proxy.Before(nil)
			s := parse(t, ok(t, l.args("--table", "rows")...))
			if s.Total.Rows != rows {
				t.Errorf("%+v", s)
			}
			l.read(t, "rows").eachOnce(t, "id", rows)
		})
	}
	said.finish(t)
}

// afterRecord makes every request about the lake fail once it has its second record.
func afterRecord(l *bucketLake, f s3test.Fault) {
	var mu sync.Mutex
	records := map[string]bool{}
	l.proxy.Before(func(c s3test.Call) *s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		if len(records) >= 2 && c.Bucket == "lake" {
			return &f
		}
		if c.Operation == s3test.PutObject && strings.Contains(c.Key, "/commits/") {
			records[c.Key] = true
		}
		return nil
	})
}

// said is what lakefeed says to whom must mend something, by the name of the fault.
type said struct {
	file      string
	want, got map[string]string
}

func loadSaid(t *testing.T, file string) *said {
	s := &said{file: file, want: map[string]string{}, got: map[string]string{}}
	a, err := txtar.ParseFile(file)
	if err != nil {
		if *update && os.IsNotExist(err) {
			return s
		}
		t.Fatal(err)
	}
	for _, f := range a.Files {
		s.want[f.Name] = string(f.Data)
	}
	return s
}

// Of S3's messages these parts differ from run to run.
var varyingKeys = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[A-Z2-7]{26}`), "RANDOM"},
	{regexp.MustCompile(`s3://lake/feeds/(rows|_lakefeed/rows)/[^\s:,)]+`), "s3://lake/feeds/$1/…"},
	{regexp.MustCompile(`(commit record|offsets|seq|rows/)\s?[0-9]+( to [0-9]+)?`), "$1 N"},
}

func (s *said) check(t *testing.T, name, stderr string) {
	t.Helper()
	text := unvarying(closing(stderr))
	for _, v := range varyingKeys {
		text = v.what.ReplaceAllString(text, v.with)
	}
	s.got[name] = text
	if diff := cmp.Diff(s.want[name], text); diff != "" && !*update {
		t.Errorf("standard error of %q is not as in %s (-want +got), which -update writes anew:\n%s", name, s.file, diff)
	}
}

// finish writes the file anew when that is asked for and all faults were met.
func (s *said) finish(t *testing.T) {
	if !*update {
		return
	}
	a := &txtar.Archive{Comment: []byte("What lakefeed says of faults of S3, by fault.\n\n")}
	for name, text := range s.got {
		s.want[name] = text
	}
	for _, name := range sorted(s.want) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(s.want[name])})
	}
	if err := os.WriteFile(s.file, txtar.Format(a), 0o666); err != nil {
		t.Fatal(err)
	}
}
