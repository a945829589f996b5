package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// History of a thousand days, its rows in no order, is one batch: one file each day,
// made one after the other within the memory that there is.
func TestThousandPartitionsInABatch(t *testing.T) {
	const (
		days = 1000
		most = 448 << 20 // --memory, half as much that GOMEMLIMIT adds, and the program itself
	)
	rows := 600_000
	if testing.Short() {
		rows = 60_000
	}
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("id,day,text\n")
	for id := range rows {
		fmt.Fprintf(&text, "%d,%d,\"history of row %d, and more of it\"\n", id, id*7919%days, id)
	}
	source, lake := filepath.Join(dir, "history.csv"), filepath.Join(dir, "lake")
	writeFile(t, source, text.String())
	p := start(t, nil, "ingest", "-o", "json", source, "--lake", lake, "--table", "rows", "--partition-by", "day", "--flush-every", "10m")
	memory := p.watchMemory(t)
	r := p.wait(t)
	if r.code != 0 {
		t.Fatal(r)
	}
	s := parse(t, r)
	if s.Total.Rows != int64(rows) || s.Total.Files != days*commits(lake, "rows") || commits(lake, "rows") != 1 {
		t.Errorf("%d rows in %d files of %d batches, want %d rows in %d files of one", s.Total.Rows, s.Total.Files, commits(lake, "rows"), rows, days)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", rows)
	peak := memory()
	t.Logf("%d MB of text in %d files; %d MB resident at most", text.Len()/1e6, s.Total.Files, peak/1e6)
	if peak > most && !raceEnabled {
		t.Errorf("%d MB resident, want %d at most", peak/1e6, most/1_000_000)
	}
}
