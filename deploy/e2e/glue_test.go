package e2e

import (
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
	"lakefeed/sink"
	"lakefeed/sink/glue"
	"lakefeed/sink/sinktest"
)

// database is the name of a database that no other test has.
func database() string { return strings.ReplaceAll(testbed.Name("lake"), "-", "_") }

// glueProxy is a proxy before moto's Glue, which this process's clients talk to.
func glueProxy(t *testing.T) *testbed.GlueProxy {
	t.Helper()
	moto := testbed.Moto(t)
	moto.Setenv(t)
	proxy := testbed.NewGlueProxy(moto.Endpoint)
	t.Cleanup(proxy.Close)
	t.Setenv("AWS_ENDPOINT_URL_GLUE", proxy.URL())
	return proxy
}

func openGlue(t *testing.T, database string) *glue.Catalog {
	t.Helper()
	c, err := glue.Open(t.Context(), glue.Config{Database: database, Lake: "s3://bucket/lake"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGlueCatalog(t *testing.T) {
	glueProxy(t)
	sinktest.TestCatalog(t, func(t *testing.T) sink.Catalog { return openGlue(t, database()) })
}
