package e2e

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"lakefeed/deploy/testbed"
	"lakefeed/sink"
	"lakefeed/sink/glue"
	"lakefeed/sink/sinktest"
)

func TestScratchGlue(t *testing.T) {
	proxy := testbed.NewGlueProxy(os.Getenv("MOTO"))
	defer proxy.Close()
	for k, v := range map[string]string{"AWS_ENDPOINT_URL_GLUE": proxy.URL(), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"} {
		t.Setenv(k, v)
	}
	var n atomic.Int64
	sinktest.TestCatalog(t, func(t *testing.T) sink.Catalog {
		c, err := glue.Open(t.Context(), glue.Config{Database: fmt.Sprint("d", os.Getpid(), "_", n.Add(1)), Lake: "s3://bucket/lake"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}
