package e2e

import (
	"errors"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
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
