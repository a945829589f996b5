package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/schema/fault"
)

// rebuildLake has a table with rows that were rescued for their type, in two topic
// partitions.
func rebuildLake(t *testing.T) (dir string, rows int) {
	t.Helper()
	dir = t.TempDir()
	var ints, doubles strings.Builder
	ints.WriteString("id,v\n")
	doubles.WriteString("id,v\n")
	for i := range 2000 {
		fmt.Fprintf(&ints, "%d,%d\n", i, i)
		fmt.Fprintf(&doubles, "%d,%d.5\n", 2000+i, i)
	}
	for i, text := range []string{ints.String(), doubles.String()} {
		for n := range 2 { // streams of both topic partitions, most probably
			writeFile(t, filepath.Join(dir, "in", fmt.Sprintf("%d-%d.csv", i, n)), text)
		}
		ok(t, "ingest", filepath.Join(dir, "in"), "--lake", filepath.Join(dir, "lake"), "--table", "rows", "--meta", "--flush-size", "10kB")
	}
	return dir, 8000
}

// visibleRows is how many rows a reader finds who reads what `files` lists.
func visibleRows(t *testing.T, lake string) int {
	t.Helper()
	r := run(t, "files", "rows", "--lake", lake)
	if r.code != 0 {
		t.Fatalf("files: %v", r)
	}
	x := &table{columns: map[string][]cell{}, types: map[string]string{}}
	for _, f := range strings.Fields(r.stdout) {
		x.read(t, f, ".")
	}
	seen := map[string]bool{}
	x.pad(x.rows)
	for i, c := range x.columns["_source"] {
		key := c.text + ":" + x.columns["_row"][i].text
		if seen[key] {
			t.Fatalf("row %s is there twice", key)
		}
		seen[key] = true
	}
	return len(seen)
}

// At each point of a rebuild and of its swap a run fails, and another is killed. A
// reader sees every row all the while, the feed goes on in between, and the next
// rebuild comes to its end.
func TestRebuildFaultPoints(t *testing.T) {
	t.Parallel()
	points := fault.RebuildPoints
	if long() {
		points = append(append([]string{}, points...), fault.BatchTaken, fault.SchemaAppend, fault.SchemaAppended, fault.FileStage, fault.FileStaged,
			fault.RecordCreate, fault.RecordCreated, fault.FilePublish, fault.FilePublished, fault.CheckpointWrite, fault.CheckpointWritten, fault.ObjectCreate)
	}
	base, rows := rebuildLake(t)
	for _, point := range points {
		for _, action := range []string{"fail", "kill"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				lake, passed := filepath.Join(dir, "lake"), false
				for n := 1; n <= 3; n++ {
					r := run(t, "rebuild", "rows", "--lake", lake, "--flush-size", "20kB", "--fault", fmt.Sprintf("%s:%d:%s", point, n, action))
					switch {
					case r.code == 0 && n > 1:
					case retried(t, point, action, lake, r): // that it is passed is shown where it kills
						passed = true
					case action == "kill" && r.code == -1, action == "fail" && r.code != 0 && strings.Contains(r.stderr, point):
						passed = true
					default:
						t.Fatalf("passing %d: the point was not passed, or its fault not told: %v", n, r)
					}
					if have := visibleRows(t, lake); have != rows {
						t.Fatalf("passing %d: %d rows are visible, want %d", n, have, rows)
					}
					if n == 2 { // the feed goes on, and takes what was begun to its end
						writeFile(t, filepath.Join(dir, "in", "more.csv"), "id,v\n9000,1\n9001,2.5\n")
						ok(t, "ingest", filepath.Join(dir, "in", "more.csv"), "--lake", lake, "--table", "rows", "--meta")
						if have := visibleRows(t, lake); have != rows+2 {
							t.Fatalf("after more was taken %d rows are visible, want %d", have, rows+2)
						}
						ok(t, "rebuild", "rows", "--lake", lake, "--flush-size", "20kB")
						if have := visibleRows(t, lake); have != rows+2 {
							t.Fatalf("after the rebuild %d rows are visible, want %d", have, rows+2)
						}
						break
					}
				}
				if !passed {
					t.Error("the point was never passed")
				}
				ok(t, "audit", "rows", "--lake", lake)
				live := generationOf(t, lake)
				if live < 2 {
					t.Fatalf("generation %d is live", live)
				}
				checkGeneration(t, lake, "rows", live)
				x := readTable(t, lake, fmt.Sprintf("rows.g%d", live))
				if len(x.columns["_rescued.v"]) > 0 || x.types["v"] != "float64" {
					t.Errorf("v is %s, and has rescued cells: %v", x.types["v"], len(x.columns["_rescued.v"]) > 0)
				}
			})
		}
	}
}

// retried says of a run that succeeds though the catalog's first write fails, as it is
// written again, whether the catalog has the generation that is live.
func retried(t *testing.T, point, action, lake string, r result) bool {
	t.Helper()
	if point != fault.CatalogWrite || action != "fail" || r.code != 0 {
		return false
	}
	want := fmt.Sprintf("\"generation\": %d,", generationOf(t, lake))
	if catalog := readFile(t, filepath.Join(lake, "_lakefeed", "rows", "catalog.json")); !strings.Contains(catalog, want) {
		t.Errorf("the catalog does not have %s %s", want, catalog)
	}
	return true
}

// generationOf is the generation that `files` reads.
func generationOf(t *testing.T, lake string) int {
	t.Helper()
	r := run(t, "files", "rows", "--lake", lake)
	_, state, _ := strings.Cut(r.stderr, " at g")
	number, _, _ := strings.Cut(state, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("files: %v", r)
	}
	return n
}

// A reader in a loop sees all rows, each once, while generations are built, swapped,
// taken back and cancelled.
func TestRebuildUnderReaders(t *testing.T) {
	t.Parallel()
	dir, rows := rebuildLake(t)
	lake := filepath.Join(dir, "lake")
	stop := make(chan struct{})
	var reading sync.WaitGroup
	stopReading := sync.OnceFunc(func() {
		close(stop)
		reading.Wait()
	})
	defer stopReading()
	var looks atomic.Int64
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if have := visibleRows(t, lake); have != rows {
				t.Errorf("a reader sees %d rows, want %d", have, rows)
				return
			}
			looks.Add(1)
		}
	})
	for _, flags := range []string{"", "--rollback", "--rollback", "--keep", "--cancel", "--rollback"} {
		ok(t, append([]string{"rebuild", "rows", "--lake", lake, "--flush-size", "20kB"}, strings.Fields(flags)...)...)
		before := looks.Load()
		until(t, "the reader has looked", func() bool { return looks.Load() > before || t.Failed() })
	}
	stopReading()
	ok(t, "audit", "rows", "--lake", lake, "--deep")
}

// A rebuild goes on beside consumers and producers of processes of their own, with a
// topic partition more than there was at its start. A second rebuild is refused, and a
// reader never sees a row less than before.
func TestRebuildBesideTheFeed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	rows := 0
	produce := func(v string) {
		var text strings.Builder
		text.WriteString("id,v\n")
		for range 500 {
			fmt.Fprintf(&text, "%d,%s\n", rows, v)
			rows++
		}
		writeFile(t, filepath.Join(in, fmt.Sprintf("%06d.csv", rows)), text.String())
		ok(t, "produce", in, "--topic", "rows", "--brokers", brokers, "--partitions", "2")
	}
	feed := []string{"--table", "rows", "--meta", "--lake", lake, "--brokers", brokers, "--flush-size", "5kB", "--flush-every", "1s"}
	produce("1")
	ok(t, append([]string{"consume", "--drain"}, feed...)...)
	produce("2.5")
	consumer := start(t, nil, append([]string{"consume"}, feed...)...)
	stop := make(chan struct{})
	var reading sync.WaitGroup
	stopReading := sync.OnceFunc(func() {
		close(stop)
		reading.Wait()
	})
	defer stopReading()
	reading.Go(func() {
		for least := 0; ; {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond): // leave something to the others
			}
			have := visibleRows(t, lake)
			if have < least {
				t.Errorf("a reader sees %d rows, and has seen %d", have, least)
				return
			}
			least = have
		}
	})
	rebuild := []string{"rebuild", "rows", "--lake", lake, "--brokers", brokers, "--flush-size", "5kB"}
	first := start(t, nil, rebuild...)
	until(t, "the first rebuild is at work", func() bool {
		return first.ended() || exists(filepath.Join(lake, "_lakefeed", "rows", "rebuild.json"))
	})
	// It may have ended by the time that the second one looks.
	if second := run(t, rebuild...); second.code != 0 && (second.code != 2 || !strings.Contains(second.stderr, "another process is building")) {
		t.Errorf("a second rebuild: %v", second)
	}
	client := &kafka.Client{Addr: kafka.TCP(brokers)}
	if r, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "rows", Count: 3}}}); err != nil || r.Errors["rows"] != nil {
		t.Fatal(err, r)
	}
	for range 2 {
		produce("3.5")
	}
	if r := first.wait(t); r.code != 0 {
		t.Fatalf("rebuild: %v", r)
	}
	produce("4.5")
	for _, flag := range []string{"--rollback", "--rollback"} {
		ok(t, append(rebuild, flag)...)
		produce("5.5")
	}
	ok(t, rebuild...)
	until(t, "the feed is taken", func() bool { return visibleRows(t, lake) == rows })
	stopReading()
	consumer.signal(t, syscall.SIGTERM)
	if r := consumer.wait(t); r.code != 130 {
		t.Errorf("consume: %v", r)
	}
	ok(t, "audit", "rows", "--lake", lake, "--brokers", brokers, "--deep")
	checkGeneration(t, lake, "rows", generationOf(t, lake))
}

// A rebuild beside one that is at work is refused; one beside the mark of a dead one goes
// on when it has watched that for a while.
func TestRebuildBesideAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, 100))
	ingest(t, in, "--table", "rows", "--meta", "--lake", lake, "--brokers", brokers, "--partitions", "1")
	mark := filepath.Join(lake, "_lakefeed", "rows", "rebuild.json")
	beat := func(n int) {
		writeFile(t, filepath.Join(dir, "mark"), fmt.Sprintf(`{"v":1,"by":"another","beats":%d,"at":"2026-01-02T03:04:05Z"}`, n))
		if err := os.Rename(filepath.Join(dir, "mark"), mark); err != nil {
			t.Error(err)
		}
	}
	beat(0)
	rebuild := []string{"rebuild", "rows", "--lake", lake, "--brokers", brokers}
	for _, flag := range []string{"--keep", "--rollback"} {
		second := start(t, nil, append(rebuild, flag)...)
		ended := make(chan struct{})
		var beating sync.WaitGroup
		beating.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-ended:
					return
				case <-time.After(time.Second):
					beat(n)
				}
			}
		})
		r := second.wait(t)
		close(ended)
		beating.Wait()
		if r.code != 2 || !strings.Contains(r.stderr, "another process is building a new generation of the table (since 2026-01-02T03:04:05Z)") {
			t.Errorf("beside another, %s: %v", flag, r)
		}
	}
	if exists(filepath.Join(lake, "_lakefeed", "rows", "g2")) {
		t.Error("a generation was begun all the same")
	}
	ok(t, rebuild...)
	if generationOf(t, lake) != 2 || visibleRows(t, lake) != 100 || exists(mark) {
		t.Error("the table is not built anew")
	}
}

// Rows that the topic no longer has, and the table has, forbid a rebuild.
func TestRebuildOfWhatIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, 100))
	ingest(t, in, "--table", "rows", "--meta", "--lake", lake, "--brokers", brokers, "--partitions", "1")
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cut := kmsg.NewPtrDeleteRecordsRequest()
	cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "rows", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 40}}}}
	if r, err := cut.RequestWith(t.Context(), client); err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, r)
	}
	if r := exits(t, 4, "rebuild", "rows", "--lake", lake, "--brokers", brokers); !strings.Contains(r.stderr, "rows/0@0") || !strings.Contains(r.stderr, "begins at offset 40") {
		t.Errorf("%v", r)
	}
	if generationOf(t, lake) != 1 || visibleRows(t, lake) != 100 {
		t.Error("the table is not as it was")
	}
}
