package e2e

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"lakefeed/deploy/testbed/s3test"
)

// The bound of --memory holds for a lake on S3 too, whose uploads are slow: the
// parts that are on their way are within it. Beside the buffers there is what the
// program itself takes, and what the runtime has not given back.
func TestMemoryWithUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes in 60 MB, slowly")
	}
	const (
		rows   = 1_500_000
		budget = 512 << 20
		most   = budget * 3 / 2 // GOMEMLIMIT
	)
	l := newBucketLake(t)
	var uploading, together atomic.Int64
	l.proxy.Before(func(c s3test.Call) *s3test.Fault {
		if c.Operation != s3test.UploadPart {
			return nil
		}
		now := uploading.Add(1)
		defer uploading.Add(-1)
		for have := together.Load(); now > have && !together.CompareAndSwap(have, now); have = together.Load() {
		}
		time.Sleep(300 * time.Millisecond)
		return nil
	})
	source := filepath.Join(l.dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	p := start(t, nil, "ingest", "-o", "json", source, "--lake", "s3://lake/feeds", "--kafka-dir", filepath.Join(l.dir, "kafka"), "--memory", "512MiB")
	memory := p.watchMemory(t)
	r := p.wait(t)
	if r.code != 0 {
		t.Fatal(r)
	}
	if s := parse(t, r); s.Total.Rows != rows {
		t.Errorf("%+v", s)
	}
	peak := memory()
	t.Logf("%d MB resident at most, %d parts on their way at once", peak/1e6, together.Load())
	if peak > most && !raceEnabled {
		t.Errorf("%d MB resident, want %d at most", peak/1e6, most/1_000_000)
	}
	if together.Load() == 0 {
		t.Error("no part was sent")
	}
}
