package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// s3Lake gives a server that runs of lakefeed find by their environment, and the URI
// of a lake in a new bucket of it.
func s3Lake(t *testing.T) (server *testbed.S3, bucket, lake string) {
	t.Helper()
	server = testbed.MinIO(t)
	server.Setenv(t)
	bucket = server.Bucket(t)
	return server, bucket, "s3://" + bucket + "/feeds"
}

// A lake in a bucket has each row once, whenever the process is killed, and nothing
// of an upload that no record lists is visible.
func TestS3LakeKilled(t *testing.T) {
	const rows = 200_000
	server, bucket, lake := s3Lake(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	args := []string{source, "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"), "--flush-size", "300kB"}
	middle := 0
	for n := range 4 {
		records := func() int { return len(server.Keys(t, bucket, "feeds/_lakefeed/rows/g1/commits/")) }
		before := records()
		p := start(t, nil, append([]string{"ingest"}, args...)...)
		until(t, "a few more records", func() bool { return p.ended() || records() > before+n })
		p.signal(t, syscall.SIGKILL)
		if r := p.wait(t); r.code == -1 {
			middle++
		}
	}
	if middle == 0 {
		t.Error("every run ended before it could be killed: the test shows nothing")
	}
	s := ingest(t, args...)
	if s.Total.Rows != rows || !strings.Contains(s.Query, lake+"/rows/**/*.parquet") {
		t.Errorf("%+v", s)
	}
	readTable(t, server.Download(t, bucket, "feeds").Name(), "rows").eachOnce(t, "id", rows)
	if s := ingest(t, args...); s.Sent != 0 || s.Rows != 0 {
		t.Errorf("a run after the last: %+v", s)
	}
	ok(t, "audit", "rows", "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"), "--deep")
	if r := ok(t, "schema", "ddl", "rows", "--lake", lake); !strings.Contains(r.stdout, lake+"/rows/") {
		t.Errorf("%v", r)
	}
	if files := strings.Fields(ok(t, "files", "rows", "--lake", lake).stdout); len(files) != s.Total.Files || !strings.HasPrefix(files[0], lake+"/rows/") {
		t.Errorf("%d files of %d, the first %s", len(files), s.Total.Files, files[0])
	}
}

// The state in another bucket, which readers of the lake need not see.
func TestS3LakeWithItsStateElsewhere(t *testing.T) {
	server, bucket, lake := s3Lake(t)
	other := server.Bucket(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 1000))
	args := []string{source, "--lake", lake, "--state", "s3://" + other, "--kafka-dir", filepath.Join(dir, "kafka")}
	ingest(t, args...)
	appendFile(t, source, rowsCSV(1000, 1500))
	ingest(t, args...)
	readTable(t, server.Download(t, bucket, "feeds").Name(), "rows").eachOnce(t, "id", 1500)
	if in := server.Keys(t, bucket, "feeds/_lakefeed/"); len(in) > 2 { // what binds it, and what tried the store
		t.Errorf("the lake has state in it: %q", in)
	}
	if r := exits(t, 2, "schema", "show", "rows", "--lake", lake); !strings.Contains(r.stderr, "--state") {
		t.Errorf("%v", r)
	}
	ok(t, "audit", "rows", "--lake", lake, "--state", "s3://"+other, "--no-topic")
}

// What is wrong with a bucket is said, nothing is lost, and the next run goes on.
func TestS3LakeFaults(t *testing.T) {
	server, bucket, lake := s3Lake(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 1000))
	to := func(lake string) []string {
		return []string{"ingest", source, "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka")}
	}
	if r := exits(t, 6, to("s3://"+bucket+"-none/x")...); !strings.Contains(r.stderr, "does not exist") {
		t.Errorf("no such bucket: %v", r)
	}
	for _, action := range []string{"s3:PutObject", "s3:ListBucket", "s3:GetObject"} {
		policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
			{"Effect":"Deny","Action":%s,"Resource":["arn:aws:s3:::%[2]s","arn:aws:s3:::%[2]s/*"]}]}`, strconv.Quote(action), bucket)
		user := server.User(t, policy)
		user.Setenv(t)
		r := exits(t, 7, to(lake)...)
		if !strings.Contains(r.stderr, action) || !strings.Contains(r.stderr, "s3://"+bucket) {
			t.Errorf("without %s: %v", action, r)
		}
		if strings.Contains(r.stdout+r.stderr, user.SecretKey) {
			t.Errorf("the secret is told: %v", r)
		}
	}
	server.Setenv(t)
	ok(t, to(lake)...)
	readTable(t, server.Download(t, bucket, "feeds").Name(), "rows").eachOnce(t, "id", 1000)
}

// A store that is away in the middle is waited for.
func TestS3LakeAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for half a minute")
	}
	const rows = 300_000
	server, bucket, lake := s3Lake(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	p := start(t, nil, "ingest", source, "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"), "--flush-size", "300kB")
	until(t, "the first record", func() bool { return len(server.Keys(t, bucket, "feeds/_lakefeed/rows/g1/commits/")) > 0 })
	server.Outage(t, 30*time.Second)
	if r := p.wait(t); r.code != 0 {
		t.Fatalf("%v", r)
	}
	readTable(t, server.Download(t, bucket, "feeds").Name(), "rows").eachOnce(t, "id", rows)
}
