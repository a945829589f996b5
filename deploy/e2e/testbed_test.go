package e2e

import (
	"encoding/json"
	"testing"

	"lakefeed/deploy/testbed"
)

// The containers that the other tests rely on, and that they come back at the
// same place with what they had.
func TestTestbed(t *testing.T) {
	t.Run("kafka", func(t *testing.T) {
		k := testbed.Kafka(t)
		folder := t.TempDir()
		writeFile(t, folder+"/a.csv", "id,name\n1,a\n2,b\n")
		topic := testbed.Name("topic")
		args := []string{"--brokers", k.Brokers, "--topic", topic, "--lake", folder + "/lake", "--table", "t", folder + "/a.csv"}
		if s := ingest(t, args...); s.Rows != 2 {
			t.Fatalf("%d rows", s.Rows)
		}
		k.Stop(t)
		k.Start(t)
		if s := ingest(t, args...); s.Rows != 0 || s.Total.Rows != 2 {
			t.Fatalf("after a restart %+v", s)
		}
	})
	t.Run("minio", func(t *testing.T) {
		s := testbed.MinIO(t)
		bucket := s.Bucket(t)
		s.Put(t, bucket, "a/b", []byte("x"))
		s.Stop(t)
		s.Start(t)
		if got := s.Get(t, bucket, "a/b"); string(got) != "x" {
			t.Fatalf("after a restart %q", got)
		}
		resume := s.Pause(t)
		resume()
		if got := s.Keys(t, bucket, "a"); len(got) != 1 || got[0] != "a/b" {
			t.Fatalf("keys %q", got)
		}
	})
	t.Run("trino", func(t *testing.T) {
		engine := testbed.Trino(t)
		if got := engine.Query(t, "select count(*) from tpch.tiny.nation"); got[0][0] != json.Number("25") {
			t.Fatalf("nations: %v", got)
		}
		if got := engine.Query(t, "show schemas"); len(got) == 0 {
			t.Fatal("the catalog has no schemas")
		}
	})
}
