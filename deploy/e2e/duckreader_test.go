package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lakefeed/sink"
)

// duckReader asks DuckDB over what `files` lists, and judges each answer by the records
// of the state that was listed.
type duckReader struct {
	lake string
	ask  func(sql string) ([][]string, error)

	mu          sync.Mutex
	looks       int
	generations map[int]int // looks by generation
	most        int64       // rows that were seen
}

// valueOf is v of a row as the source has it, in halves: the first sources have whole
// numbers, and of the others each row has a half.
func valueOf(source, row int64) (halves int64) {
	if source < 2 {
		return 2 * row
	}
	return 2*row + 1
}

// look reads the table once. What is wrong is the error.
func (d *duckReader) look(t *testing.T) error {
	before := d.seen() // another look may begin later than this one, and end sooner
	r := run(t, "files", "rows", "--lake", d.lake, "-o", "json")
	if r.code != 0 {
		return fmt.Errorf("files: %v", r)
	}
	var list struct {
		State string `json:"state"`
		Files []struct {
			Path string `json:"path"`
			Rows int64  `json:"rows"`
		} `json:"files"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		return fmt.Errorf("files: %w: %v", err, r)
	}
	position, err := sink.ParsePosition(list.State)
	if err != nil {
		return err
	}
	committed, err := d.committed(t, position)
	if err != nil || committed == 0 {
		return err
	}
	var paths []string
	for _, f := range list.Files {
		paths = append(paths, quoted(f.Path))
	}
	// Whole numbers first: v is bigint where the table was not built anew, and the others
	// are in _rescued.
	rows, err := d.ask(fmt.Sprintf(`select source, count(*), count(distinct _row), min(_row), max(_row),
			count(v), coalesce(sum(v) * 2, 0)::bigint, count(*) filter (where v > 100), coalesce(sum(v * 2) filter (where v > 100 and part = 1), 0)::bigint,
			count(*) filter (where part = 1), count(_rescued)
		from read_parquet([%s], hive_partitioning = true, union_by_name = true) group by source order by source;`, strings.Join(paths, ", ")))
	if err != nil {
		return err
	}
	var all int64
	for _, row := range rows {
		var n [11]int64
		for i, cell := range row {
			if _, err := fmt.Sscan(cell, &n[i]); err != nil {
				return fmt.Errorf("%s of %q: %w", cell, row, err)
			}
		}
		want := d.expected(n[0], n[1], position.Generation)
		if n != want {
			return fmt.Errorf("at %s DuckDB has of source %d %v, want %v", list.State, n[0], n, want)
		}
		all += n[1]
	}
	if all != committed {
		return fmt.Errorf("at %s DuckDB has %d rows, and %d were committed", list.State, all, committed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if all < before {
		return fmt.Errorf("at %s there are %d rows, and there were %d", list.State, all, before)
	}
	d.most = max(d.most, all)
	d.looks++
	d.generations[position.Generation]++
	return nil
}

// expected is the answer for the first rows of a source: row numbers follow each other.
func (*duckReader) expected(source, rows int64, generation int) [11]int64 {
	want := [11]int64{source, rows, rows, 0, rows - 1}
	for row := range rows {
		if row%3 == 1 {
			want[9]++
		}
		halves := valueOf(source, row)
		if halves%2 == 1 && generation == 1 {
			want[10]++
			continue
		}
		want[5]++
		want[6] += halves
		if halves > 200 {
			want[7]++
			if row%3 == 1 {
				want[8] += halves
			}
		}
	}
	return want
}

// committed sums up the rows of the records of a state.
func (d *duckReader) committed(t *testing.T, at sink.Position) (rows int64, err error) {
	for p, last := range at.Seqs {
		for seq := range last + 1 {
			var r struct {
				Counts struct{ Rows int64 }
			}
			name := filepath.Join(d.lake, "_lakefeed", "rows", fmt.Sprintf("g%d", at.Generation), "commits", "rows", fmt.Sprintf("%020d", p), fmt.Sprintf("%020d.json", seq))
			if err := json.Unmarshal([]byte(readFile(t, name)), &r); err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			rows += r.Counts.Rows
		}
	}
	return rows, nil
}

// DuckDB that reads in a loop what `files` lists finds exactly the rows that were
// committed by that state, with each value, under conditions on columns and on the
// partition, while the feed runs and generations are built, swapped, taken back and
// given up.
func TestRebuildUnderDuckDB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := &duckReader{lake: filepath.Join(dir, "lake"), ask: duckAnswers(t), generations: map[int]int{}}
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	at := []string{"--lake", d.lake, "--brokers", brokers}
	source, sent := int64(0), int64(0)
	produce := func() {
		var text strings.Builder
		text.WriteString("source,part,v\n")
		for row := range int64(400) {
			v := valueOf(source, row)
			fmt.Fprintf(&text, "%d,%d,%d%s\n", source, row%3, v/2, map[int64]string{0: "", 1: ".5"}[v%2])
		}
		name := filepath.Join(dir, "in", fmt.Sprintf("%06d.csv", source))
		source, sent = source+1, sent+400
		writeFile(t, name, text.String())
		ok(t, append([]string{"produce", name, "--topic", "rows", "--partitions", "2"}, at...)...)
	}
	feed := append([]string{"consume", "--table", "rows", "--partition-by", "part", "--meta", "--flush-size", "3kB", "--flush-every", "1s"}, at...)
	produce()
	produce()
	ok(t, append(feed, "--drain")...)
	produce() // of halves: rescued
	consumer := start(t, nil, feed...)
	stop := make(chan struct{})
	var reading sync.WaitGroup
	stopReading := sync.OnceFunc(func() {
		close(stop)
		reading.Wait()
	})
	defer stopReading()
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond): // leave something to the others
			}
			if err := d.look(t); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for _, flags := range []string{"", "--rollback", "--rollback", "--keep", "--cancel", "--rollback", ""} {
		ok(t, append(append([]string{"rebuild", "rows", "--flush-size", "3kB"}, strings.Fields(flags)...), at...)...)
		produce()
		if err := d.look(t); err != nil {
			t.Fatalf("after rebuild %s: %v", flags, err)
		}
	}
	until(t, "the feed is taken", func() bool {
		if err := d.look(t); err != nil {
			t.Fatal(err)
		}
		return d.seen() == sent
	})
	stopReading()
	consumer.signal(t, syscall.SIGTERM)
	if r := consumer.wait(t); r.code != 130 {
		t.Errorf("consume: %v", r)
	}
	if len(d.generations) < 3 || d.generations[1] < 2 {
		t.Errorf("DuckDB has read generations %v", d.generations)
	}
	t.Logf("DuckDB has looked %d times, by generation %v, and found %d rows at last", d.looks, d.generations, d.most)
	ok(t, append([]string{"audit", "rows", "--deep"}, at...)...)

	// It can tell: a row too few, a row twice, another value.
	for name, rows := range map[string]int64{"a row is missing": -1, "a row is there twice": 1} {
		r := d.fresh()
		ask := r.ask
		r.ask = func(sql string) ([][]string, error) {
			cut := "limit " + fmt.Sprint(sent+rows)
			if rows > 0 {
				cut = "union all (select * from x limit 1)"
			}
			sql = strings.Replace(sql, "from read_parquet(", "from (with x as (from read_parquet(", 1)
			return ask(strings.Replace(sql, "union_by_name = true)", "union_by_name = true)) (select * from x) "+cut+")", 1))
		}
		if err := r.look(t); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s, and it was not seen", name)
		}
	}
}

func (d *duckReader) seen() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most
}

// fresh is a reader that has seen nothing yet.
func (d *duckReader) fresh() *duckReader {
	return &duckReader{lake: d.lake, ask: d.ask, generations: map[int]int{}}
}
