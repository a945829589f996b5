package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// Years of history are sent while lines are appended to a live file: every row of both
// is there once. How old live rows are when they are in the table is told, without a
// backfill, with one that goes to all topic partitions, and with one that leaves one of
// them to the live rows; and the same where all of the history is in the topic before
// anybody consumes it.
func TestBackfillBesideTheFeed(t *testing.T) {
	files, size := 4, 10_000
	var brokers string
	if testing.Short() {
		brokers = startKafka(t, t.TempDir())
	} else {
		brokers = testbed.Kafka(t).Brokers
		files, size = 12, 250_000
	}
	history := t.TempDir()
	for n := range files {
		writeFile(t, filepath.Join(history, fmt.Sprintf("%02d.csv", n)), rowsHeader+rowsCSV(n*size, (n+1)*size))
	}
	for _, way := range []struct {
		name          string
		live, history []string
		rows          int
		waits         bool // the history, for a consumer
	}{
		{"without a backfill", nil, nil, 0, false},
		{"into all topic partitions", nil, []string{}, files * size, false},
		{"into topic partitions of its own", []string{"--pin", "3"}, []string{"--pin", "0,1,2"}, files * size, false},
		{"behind what waits in all", nil, []string{}, files * size, true},
		{"beside what waits in others", []string{"--pin", "3"}, []string{"--pin", "0,1,2"}, files * size, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			dir := t.TempDir()
			table := strings.ReplaceAll(testbed.Name("backfill"), "-", "_")
			lake, live := filepath.Join(dir, "lake"), filepath.Join(dir, "live.csv")
			to := []string{"--topic", table, "--brokers", brokers, "--partitions", "4"}
			writeFile(t, live, rowsHeader)
			follow := startFor(t, 20*time.Minute, nil, append(append([]string{"produce", live, "--follow"}, to...), way.live...)...)
			// The first batch of a table waits for its columns' types: it is over by then.
			writeFile(t, filepath.Join(dir, "first.csv"), rowsHeader+rowsCSV(-1, 0))
			ok(t, append([]string{"produce", filepath.Join(dir, "first.csv")}, to...)...)
			consume := []string{"consume", "--table", table, "--meta", "--lake", lake, "--brokers", brokers, "--flush-every", "1s"}
			ok(t, append(consume, "--drain")...)
			var backfill *process
			if way.history != nil {
				backfill = startFor(t, 20*time.Minute, nil, append(append([]string{"produce", history}, to...), way.history...)...)
			}
			if way.waits {
				if r := backfill.wait(t); r.code != 0 {
					t.Fatal(r)
				}
				backfill = nil
			}
			consumer := startFor(t, 20*time.Minute, nil, consume...)
			began, n := time.Now(), 0
			sent := func() bool { return backfill == nil || backfill.ended() }
			for ; time.Since(began) < 10*time.Second || !sent() || files*size > 100_000 && way.rows > 0 && !taken(t, lake, table, way.rows); n++ {
				appendFile(t, live, fmt.Sprintf("%d,live %d,0.5\n", 100_000_000+n, time.Now().UnixMilli()))
				time.Sleep(100 * time.Millisecond)
				if time.Since(began) > 10*time.Minute {
					t.Fatal("it takes too long")
				}
			}
			took := time.Since(began)
			if backfill != nil {
				if r := backfill.wait(t); r.code != 0 {
					t.Fatal(r)
				}
			}
			until(t, "all rows", func() bool { return taken(t, lake, table, way.rows+n+1) })
			for _, p := range []*process{follow, consumer} {
				p.signal(t, syscall.SIGTERM)
				if r := p.wait(t); r.code != 130 && r.code != 0 {
					t.Error(r)
				}
			}
			ages := liveAges(t, lake, table)
			if len(ages) != n {
				t.Fatalf("%d live rows, want %d", len(ages), n)
			}
			if way.live != nil {
				apart(t, lake, table, 3)
				if r := exits(t, 2, append(append([]string{"produce", live}, to...), "--pin", "4")...); !strings.Contains(r.stderr, "topic partitions 0 to 3") {
					t.Error(r)
				}
			}
			slices.Sort(ages)
			t.Logf("%d rows of history in %v; live rows were in the table after %v in the median, %v of 99 in 100, %v at most", way.rows, took.Round(time.Second), ages[n/2], ages[n*99/100], ages[n-1])
			ok(t, "audit", table, "--lake", lake, "--brokers", brokers)
		})
	}
}

// ended says whether the process has ended.
func (p *process) ended() bool {
	return p.cmd.Process.Signal(syscall.Signal(0)) != nil || zombie(p.cmd.Process.Pid)
}

// zombie says whether a process waits for nothing but to be waited for.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}

type batchRecord struct {
	From, To int64
	At       time.Time
	Counts   struct{ Rows int64 }
}

func batchRecords(t *testing.T, lake, table string) (out map[string][]batchRecord) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(lake, "_lakefeed", table, "g1", "commits", table, "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	out = map[string][]batchRecord{}
	for _, name := range names {
		var r batchRecord
		if err := json.Unmarshal([]byte(readFile(t, name)), &r); err != nil {
			t.Fatal(err)
		}
		of := filepath.Base(filepath.Dir(name))
		out[of] = append(out[of], r)
	}
	return out
}

// taken says whether a table has so many rows.
func taken(t *testing.T, lake, table string, rows int) bool {
	t.Helper()
	have := int64(0)
	for _, records := range batchRecords(t, lake, table) {
		for _, r := range records {
			have += r.Counts.Rows
		}
	}
	return have >= int64(rows)
}

// liveAges are, of each live row, the time from when it was appended to its file to
// when its batch was committed.
func liveAges(t *testing.T, lake, table string) (ages []time.Duration) {
	t.Helper()
	records := batchRecords(t, lake, table)
	for _, name := range dataFiles(t, filepath.Join(lake, table)) {
		part := strings.Split(filepath.Base(name), "-")
		partition, err := strconv.Atoi(part[2])
		if err != nil {
			t.Fatal(name, err)
		}
		x := emptyTable()
		x.read(t, name, ".")
		for i, c := range x.columns["text"] {
			stamp, live := strings.CutPrefix(c.text, "live ")
			if !live {
				continue
			}
			millis, err := strconv.ParseInt(stamp, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			offset, err := strconv.ParseInt(x.columns["_offset"][i].text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			of := records[fmt.Sprintf("%020d", partition)]
			at := slices.IndexFunc(of, func(r batchRecord) bool { return r.From <= offset && offset < r.To })
			if at < 0 {
				t.Fatalf("no record of %d/%d", partition, offset)
			}
			ages = append(ages, of[at].At.Sub(time.UnixMilli(millis)).Round(time.Millisecond))
		}
	}
	return ages
}

// apart checks that live rows, and no others, are in a topic partition.
func apart(t *testing.T, lake, table string, partition int) {
	t.Helper()
	for _, name := range dataFiles(t, filepath.Join(lake, table)) {
		x := emptyTable()
		x.read(t, name, ".")
		here := strings.Split(filepath.Base(name), "-")[2] == strconv.Itoa(partition)
		for i, c := range x.columns["text"] {
			if live := strings.HasPrefix(c.text, "live "); live != here && x.columns["id"][i].text != "-1" {
				t.Fatalf("%s has %q", name, c.text)
			}
		}
	}
}

func emptyTable() *table { return &table{columns: map[string][]cell{}, types: map[string]string{}} }
