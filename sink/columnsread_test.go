package sink_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
)

// meeting is a store in which whoever reads what was seen of columns waits for another
// one who does.
type meeting struct {
	sink.Store
	reading, most atomic.Int64
	met           chan struct{}
	alone         atomic.Bool
}

func (m *meeting) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.Contains(key, "/columns/") {
		defer m.reading.Add(-1)
		n := m.reading.Add(1)
		for most := m.most.Load(); n > most && !m.most.CompareAndSwap(most, n); most = m.most.Load() {
		}
		if n == 2 && m.alone.CompareAndSwap(true, false) {
			close(m.met)
		}
		select {
		case <-m.met:
		case <-time.After(time.Minute):
			return nil, fmt.Errorf("nobody reads beside %s", key)
		}
	}
	return m.Store.Get(ctx, key)
}

// What was kept of a topic partition is read a few objects at a time, and comes in the
// order of its offsets.
func TestColumnsRead(t *testing.T) {
	_, live, _ := swapBench(t)
	store := &meeting{Store: live.store, met: make(chan struct{})}
	store.alone.Store(true)
	table, err := sink.ReadTable(t.Context(), store, "t")
	if err != nil {
		t.Fatal(err)
	}
	const pieces = 40
	var want []sink.ColumnsRead
	for i := range int64(pieces) {
		c := sink.ColumnsRead{V: 1, Log: "log", Partition: 3, From: 7 + i*5, To: 7 + (i+1)*5, Rows: i, Columns: []sink.ColumnSeen{{Name: fmt.Sprint("c", i)}}}
		want = append(want, c)
	}
	for i := range want { // the last first
		if err := table.KeepColumns(t.Context(), want[pieces-1-i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := table.ColumnsRead(t.Context(), "log", 3)
	if err != nil {
		t.Fatal(err)
	}
	names := func(all []sink.ColumnsRead) (out []string) {
		for _, c := range all {
			out = append(out, fmt.Sprintf("%d to %d: %d rows, %s", c.From, c.To, c.Rows, c.Columns[0].Name))
		}
		return out
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		t.Errorf("what was kept, -want +got:\n%s", diff)
	}
	if most := store.most.Load(); most > 16 {
		t.Errorf("%d objects were read at a time", most)
	}
	kept, err := table.ColumnsKept(t.Context(), "log", 3)
	for from, through := range map[int64]int64{6: 6, 7: 207, 10: 207, 207: 207, 300: 300} {
		if at := kept.Through(from); err != nil || at != through {
			t.Errorf("from %d all was kept up to %d, %v, want %d", from, at, err, through)
		}
	}
	if none, err := table.ColumnsKept(t.Context(), "log", 1); err != nil || none.Through(5) != 5 {
		t.Errorf("of another topic partition: %v, %v", none, err)
	}
}
