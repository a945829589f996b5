package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"lakefeed/schema/fault"
)

// followed runs ingest --follow, whose context the hook may end.
func followed(t *testing.T, hook func(stop func(), point string) error) (code int, said string) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "a.csv", "a\n1\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ctx = fault.With(ctx, func(_ context.Context, point string) error { return hook(stop, point) })
	code, out, talk := command(ctx, "", "ingest", "a.csv", "--table", "t", "--kafka-dir", "kafka", "--follow", "--flush-every", "1s")
	return code, out + talk
}

// An interrupt does not hide why what was read could not be committed.
func TestInterruptTellsWhatFailed(t *testing.T) {
	code, said := followed(t, func(stop func(), point string) error {
		if point != fault.BatchTaken {
			return nil
		}
		stop()
		time.Sleep(2 * time.Second) // in which the producer ends, and the other topic partition
		return errors.New("the disk is full")
	})
	if code != exitUnexpected || !strings.Contains(said, ": the disk is full") || strings.Contains(said, "in the lake") {
		t.Errorf("exit %d\n%s", code, said)
	}
}

// A lake that was removed while a run wrote into it is said to be gone, and its rows not
// to be in it.
func TestLakeRemovedMeanwhile(t *testing.T) {
	var once sync.Once
	code, said := followed(t, func(stop func(), point string) error {
		switch point {
		case fault.FilePublished:
			stop()
		case fault.CheckpointWrite:
			once.Do(func() { os.RemoveAll("lake") })
		}
		return nil
	})
	if code != exitDataLoss || !strings.Contains(said, "table t is not in file://") || strings.Contains(said, "rows are in the lake") {
		t.Errorf("exit %d\n%s", code, said)
	}
}
