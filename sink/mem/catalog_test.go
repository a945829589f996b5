package mem_test

import (
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

func TestCatalog(t *testing.T) {
	sinktest.TestCatalog(t, func(*testing.T) sink.Catalog { return mem.NewCatalog() })
}

func TestFileCatalog(t *testing.T) {
	sinktest.TestCatalog(t, func(*testing.T) sink.Catalog { return &sink.FileCatalog{Store: mem.New()} })
}
