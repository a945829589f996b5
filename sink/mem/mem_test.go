package mem_test

import (
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

func TestStore(t *testing.T) {
	sinktest.TestStore(t, func(*testing.T) sink.Store { return mem.New() })
}
