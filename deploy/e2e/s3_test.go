package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
	"lakefeed/deploy/testbed/s3test"
	"lakefeed/sink"
	"lakefeed/sink/awsclient"
	"lakefeed/sink/s3"
	"lakefeed/sink/sinktest"
)

// s3Store opens a lake as lakefeed does, with little patience.
func s3Store(t *testing.T, server *testbed.S3, c s3.Config) *s3.Store {
	t.Helper()
	server.Setenv(t)
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Patience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	store, err := s3.New(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// What every store must do, on the servers that people have.
func TestS3Conformance(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *testbed.S3{"minio": testbed.MinIO, "moto": testbed.Moto} {
		t.Run(name, func(t *testing.T) {
			server := server(t)
			bucket := server.Bucket(t)
			sinktest.TestStore(t, func(t *testing.T) sink.Store {
				return s3Store(t, server, s3.Config{Bucket: bucket, Prefix: testbed.Name("lake"), PartSize: 5 << 20})
			})
			t.Run("without a prefix", func(t *testing.T) {
				store := s3Store(t, server, s3.Config{Bucket: server.Bucket(t)})
				if err := store.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := store.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := store.Create(t.Context(), "_lakefeed/store/probe.json", nil); !errors.Is(err, sink.ErrExists) {
					t.Error(err)
				}
			})
		})
	}
}

// The same while each fourth request of every operation fails, and then is sent
// again, before a server that is not ours.
func TestS3ConformanceUnderFaults(t *testing.T) {
	server := testbed.MinIO(t)
	bucket := server.Bucket(t)
	for name, fault := range map[string]s3test.Fault{
		"409":                 {Status: 409, Code: "ConditionalRequestConflict"},
		"503":                 {Status: 503, Code: "SlowDown"},
		"cut in the request":  {Cut: s3test.InRequest},
		"cut in the response": {Cut: s3test.InResponse},
		"the answer is lost":  {Cut: s3test.Lost},
	} {
		t.Run(name, func(t *testing.T) {
			faults := 0
			sinktest.TestStore(t, func(t *testing.T) sink.Store {
				proxy := s3test.NewProxy(s3test.To(server.Endpoint))
				proxy.Before(func(c s3test.Call) *s3test.Fault {
					if c.N%4 != 1 {
						return nil
					}
					return &fault
				})
				t.Cleanup(func() {
					for _, op := range []string{s3test.PutObject, s3test.UploadPart, s3test.CompleteMultipartUpload, s3test.GetObject, s3test.ListObjects} {
						_, n := proxy.Count(op)
						faults += n
					}
				})
				front := *server
				front.Endpoint = s3test.Serve(t, proxy)
				prefix := testbed.Name("lake")
				return &settled{s3Store(t, &front, s3.Config{Bucket: bucket, Prefix: prefix}), proxy, prefix}
			})
			if faults == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// settled is a store whose Create is that of those who use it.
type settled struct {
	*s3.Store
	proxy  *s3test.Proxy
	prefix string
}

func (s *settled) Create(ctx context.Context, key string, body []byte) error {
	return sinktest.CreateSettled(ctx, s.Store, key, body, func() bool { return s.proxy.Forget(s3test.PutObject, s.prefix+"/"+key) })
}

// What a run leaves that dies is told by an audit, as is a bucket that keeps it for
// ever; and the next run takes no notice of it.
func TestS3AuditTellsLeftovers(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *testbed.S3{"minio": testbed.MinIO, "moto": testbed.Moto} {
		t.Run(name, func(t *testing.T) {
			server := server(t)
			server.Setenv(t)
			bucket := server.Bucket(t)
			dir := t.TempDir()
			writeFile(t, dir+"/rows.csv", rowsHeader+rowsCSV(0, 100))
			args := []string{dir + "/rows.csv", "--lake", "s3://" + bucket + "/feeds", "--kafka-dir", dir + "/kafka"}
			ingest(t, args...)
			store := s3Store(t, server, s3.Config{Bucket: bucket, Prefix: "feeds"})
			for _, key := range []string{"rows/left.parquet", "rows__quarantine/left.parquet", "other/left.parquet"} {
				if _, err := store.Stage(t.Context(), key, strings.NewReader("left")); err != nil {
					t.Fatal(err)
				}
			}
			r := ok(t, "audit", "rows", "--lake", "s3://"+bucket+"/feeds", "--no-topic")
			for _, want := range []string{"2 files are staged", "has no lifecycle rule", "AbortIncompleteMultipartUpload"} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("it does not tell %q: %v", want, r)
				}
			}
			if s := ingest(t, args...); s.Rows != 0 || s.Total.Rows != 100 {
				t.Errorf("%+v", s)
			}
		})
	}
}
