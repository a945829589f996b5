package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker/embedded"
	"lakefeed/schema/fault"
)

var missedText = regexp.MustCompile(`do not see (\d+) rows(?: and (\d+) in quarantine)? \((rows/\d@\d+ to \d+(?:, rows/\d@\d+ to \d+)*)\)`)

// missed is what a rollback that does not wait says that readers do not see.
func missed(t *testing.T, r result) (rows, rejects int, where string) {
	t.Helper()
	m := missedText.FindStringSubmatch(r.stderr)
	if m == nil {
		t.Fatalf("it does not say what readers do not see: %v", r)
	}
	rows, _ = strconv.Atoi(m[1])
	rejects, _ = strconv.Atoi(m[2])
	return rows, rejects, m[3]
}

// quarantinedRows is how many rows the quarantine of the generation that is live has.
func quarantinedRows(t *testing.T, lake string) (n int) {
	t.Helper()
	r := run(t, "files", "rows", "--lake", lake, "--quarantine")
	if r.code != 0 {
		t.Fatalf("files: %v", r)
	}
	x := &table{columns: map[string][]cell{}, types: map[string]string{}}
	for _, f := range strings.Fields(r.stdout) {
		x.read(t, f, ".")
	}
	return x.rows
}

// Readers are turned to the generation before at once, which lacks what came since and
// part of a batch of the one after: as many rows as is said. A feed that runs, or the
// command, brings it up to date, and then readers see each row once.
func TestRollbackNow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	lake, in, brokers := filepath.Join(dir, "lake"), filepath.Join(dir, "in"), strings.Join(b.Addrs(), ",")
	rows, rejects := 0, 0
	produce := func(v string) {
		t.Helper()
		var text strings.Builder
		text.WriteString("id,v\n")
		for i := range 500 {
			fmt.Fprintf(&text, "%d,%s\n", rows, v)
			rows++
			if i%200 == 100 {
				text.WriteString("no row\n")
				rejects++
			}
		}
		writeFile(t, filepath.Join(in, fmt.Sprintf("%06d.csv", rows)), text.String())
		ok(t, "produce", in, "--topic", "rows", "--brokers", brokers, "--partitions", "2")
	}
	feed := []string{"--table", "rows", "--meta", "--lake", lake, "--brokers", brokers, "--flush-size", "5kB", "--flush-every", "1s", "--quarantine-max-share", "100%"}
	rebuild := []string{"rebuild", "rows", "--lake", lake, "--brokers", brokers}
	for range 4 {
		produce("1")
	}
	ok(t, append([]string{"consume", "--drain"}, feed...)...)
	older, olderRejects := rows, rejects
	for range 4 {
		produce("2.5")
	}
	ok(t, rebuild...) // its batches have what the older generation has, and what it lacks
	consumer := start(t, nil, append([]string{"consume"}, feed...)...)
	produce("3.5")
	until(t, "the feed is taken", func() bool { return visibleRows(t, lake) == rows && quarantinedRows(t, lake) == rejects })

	consumer.signal(t, syscall.SIGSTOP)
	r := run(t, append(rebuild, "--rollback", "--now", "--fault", fault.SwapTold+":1:kill")...)
	lacks, lacksRejects, where := missed(t, r)
	if r.code != -1 || lacks != rows-older || lacksRejects != rejects-olderRejects {
		t.Fatalf("it says that %d rows and %d in quarantine are missing (%s), want %d and %d: %v", lacks, lacksRejects, where, rows-older, rejects-olderRejects, r)
	}
	if have, q := visibleRows(t, lake), quarantinedRows(t, lake); generationOf(t, lake) != 1 || have != older || q != olderRejects {
		t.Fatalf("generation %d has %d rows and %d in quarantine, want %d and %d", generationOf(t, lake), have, q, older, olderRejects)
	}
	consumer.signal(t, syscall.SIGCONT)
	until(t, "the feed brings the generation up to date", func() bool { return visibleRows(t, lake) == rows && quarantinedRows(t, lake) == rejects })
	ok(t, "audit", "rows", "--lake", lake, "--brokers", brokers, "--deep")

	// Forward again: nothing that was seen goes away, and nothing was missing.
	produce("4.5")
	until(t, "the feed is taken", func() bool { return visibleRows(t, lake) == rows })
	if r := run(t, append(rebuild, "--rollback")...); r.code != 0 || strings.Contains(r.stderr, "do not see") || generationOf(t, lake) != 2 {
		t.Fatalf("forward: %v", r)
	}
	if have := visibleRows(t, lake); have != rows {
		t.Fatalf("forward again readers see %d rows, want %d", have, rows)
	}

	// Beside a feed that works and a reader in a loop.
	least := rows
	produce("5.5")
	until(t, "the feed is taken", func() bool { return visibleRows(t, lake) == rows })
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if have := visibleRows(t, lake); have < least || have > rows {
				t.Errorf("a reader sees %d rows, want %d to %d", have, least, rows)
				return
			}
		}
	})
	r = run(t, append(rebuild, "--rollback", "--now")...)
	close(stop)
	reading.Wait()
	if r.code != 0 || generationOf(t, lake) != 1 || visibleRows(t, lake) != rows {
		t.Fatalf("%d rows are visible after it, want %d: %v", visibleRows(t, lake), rows, r)
	}
	if strings.Contains(r.stderr, "do not see") != strings.Contains(r.stdout, "until it had caught up readers did not see") {
		t.Errorf("%v", r)
	}
	consumer.signal(t, syscall.SIGTERM)
	if r := consumer.wait(t); r.code != 130 {
		t.Errorf("consume: %v", r)
	}
	// Without a feed the command does it.
	ok(t, append(rebuild, "--rollback")...)
	produce("6.5")
	ok(t, append([]string{"consume", "--drain"}, feed...)...)
	r = ok(t, append(rebuild, "--rollback", "--now")...)
	if lacks, _, _ := missed(t, r); lacks != 500 || !strings.Contains(r.stderr, "readers see all rows again") || visibleRows(t, lake) != rows || generationOf(t, lake) != 1 {
		t.Errorf("%d rows are missing, want 500: %v", lacks, r)
	}
	ok(t, "audit", "rows", "--lake", lake, "--brokers", brokers, "--deep")
	checkGeneration(t, lake, "rows", 1)
}

// A rollback that does not wait fails, or is killed, at each of its steps: readers see all
// rows, or those of the generation before, each once, and the feed, or the next rollback,
// takes it to its end.
func TestRollbackNowFaultPoints(t *testing.T) {
	t.Parallel()
	base, rows := rebuildLake(t)
	lake := filepath.Join(base, "lake")
	ok(t, "rebuild", "rows", "--lake", lake, "--flush-size", "20kB")
	older := rows
	writeFile(t, filepath.Join(base, "in", "since.csv"), fractions(older))
	ok(t, "ingest", filepath.Join(base, "in", "since.csv"), "--lake", lake, "--table", "rows", "--meta", "--flush-size", "10kB")
	rows += 2000
	points := fault.NowPoints
	if !long() {
		points = []string{fault.SwapBegun, fault.SetChanged, fault.SwapDecided, fault.SwapTold, fault.RecordCreated}
	}
	for _, point := range points {
		for _, action := range []string{"fail", "kill"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				lake := filepath.Join(dir, "lake")
				now := []string{"rebuild", "rows", "--lake", lake, "--flush-size", "20kB", "--rollback", "--now"}
				for n := 1; n <= 2; n++ {
					before := generationOf(t, lake)
					r := run(t, append(now, "--fault", fmt.Sprintf("%s:%d:%s", point, n, action))...)
					switch {
					case n > 1 && r.code == 0, retried(t, point, action, lake, r):
					case action == "kill" && r.code == -1, action == "fail" && strings.Contains(r.stderr, point):
					default:
						t.Fatalf("passing %d: the point was not passed, or its fault not told: %v", n, r)
					}
					have := visibleRows(t, lake)
					if live := generationOf(t, lake); have < older || have > rows || live == before && live == 2 && have != rows {
						t.Fatalf("passing %d: %d rows are visible in generation %d", n, have, live)
					}
				}
				writeFile(t, filepath.Join(dir, "in", "more.csv"), "id,v\n9000,1\n9001,2.5\n")
				ok(t, "ingest", filepath.Join(dir, "in", "more.csv"), "--lake", lake, "--table", "rows", "--meta")
				if have := visibleRows(t, lake); have != rows+2 {
					t.Fatalf("after more was taken %d rows are visible, want %d", have, rows+2)
				}
				ok(t, "audit", "rows", "--lake", lake, "--deep")
				for range 2 {
					ok(t, append(now[:len(now):len(now)], "--limit", "1")...)
					if have := visibleRows(t, lake); have != rows+2 {
						t.Fatalf("after another swap %d rows are visible, want %d", have, rows+2)
					}
				}
				ok(t, "audit", "rows", "--lake", lake, "--deep")
				checkGeneration(t, lake, "rows", generationOf(t, lake))
			})
		}
	}
}

// A generation is made live again whose topic has lost what came since, and whose raw
// zone has it: it is taken from there, beside a feed that would record it as lost, and what
// is not there either is refused by its offset. Nobody waits for the raw zone who does not
// want to wait.
func TestRollbackAndRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	at := []string{"--lake", lake, "--brokers", strings.Join(b.Addrs(), ",")}
	rows := 0
	produce := func() {
		t.Helper()
		name := filepath.Join(in, fmt.Sprintf("%d.csv", rows))
		writeFile(t, name, rowsHeader+rowsCSV(rows, rows+1000))
		rows += 1000
		ok(t, append([]string{"produce", name, "--topic", "rows", "--partitions", "1", "--raw-zone"}, at...)...)
	}
	feed := append([]string{"consume", "--table", "rows", "--meta", "--flush-size", "20kB", "--flush-every", "1s", "--on-data-loss", "record"}, at...)
	drain := append(feed[:len(feed):len(feed)], "--drain")
	rebuild := append([]string{"rebuild", "rows", "--on-data-loss", "record"}, at...)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	remove := func(offset int64) {
		t.Helper()
		cut := kmsg.NewPtrDeleteRecordsRequest()
		cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "rows", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
		if r, err := cut.RequestWith(t.Context(), client); err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatal(err, r)
		}
	}
	live := func(generation int) {
		t.Helper()
		if g, have := generationOf(t, lake), visibleRows(t, lake); g != generation || have != rows {
			t.Fatalf("generation %d is live with %d rows, want %d with %d", g, have, generation, rows)
		}
	}
	produce() // with its end 1001 offsets
	ok(t, drain...)
	ok(t, rebuild...)
	produce()
	ok(t, drain...)
	remove(1500)
	live(2)
	if r := exits(t, 4, append(rebuild, "--rollback", "--now")...); !strings.Contains(r.stderr, "rows/0@1001") || !strings.Contains(r.stderr, "begins at offset 1500") || !strings.Contains(r.stderr, "without --now it is taken from there") {
		t.Errorf("%v", r)
	}
	live(2)
	consumer := start(t, nil, feed...)
	produce()
	until(t, "the feed is taken", func() bool { return visibleRows(t, lake) == rows })
	// Begun, and dead: the feed does not take what is missing for lost, and waits for it.
	if r := run(t, append(rebuild, "--rollback", "--fault", fault.SwapBegun+":1:kill")...); r.code != -1 {
		t.Fatal(r)
	}
	until(t, "the feed has met the swap", func() bool {
		closed, err := filepath.Glob(filepath.Join(lake, "_lakefeed", "rows", "g1", "commits", "rows", "*", "*.json"))
		return err == nil && len(closed) > 0 && strings.Contains(readFile(t, closed[len(closed)-1]), `"kind":"open"`)
	})
	time.Sleep(2 * time.Second) // so that it has a chance to do the wrong thing
	live(2)
	ok(t, append(rebuild, "--rollback")...)
	live(1)
	produce()
	until(t, "the feed goes on", func() bool { return visibleRows(t, lake) == rows })
	ok(t, append([]string{"audit", "rows", "--deep"}, at...)...)
	ok(t, append(rebuild, "--rollback")...)
	live(2)
	produce()
	until(t, "the feed goes on", func() bool { return visibleRows(t, lake) == rows })
	consumer.signal(t, syscall.SIGTERM)
	consumer.wait(t)
	// Generation 1 ends at 4004, or before the end of a file there. The order of what is
	// behind it is gone; its pieces may overlap.
	remove(4600)
	orders, err := filepath.Glob(filepath.Join(lake, "_lakefeed", "raw-zone", "rows", "order", "*", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var first int64
	for _, name := range orders {
		_, to, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".json"), "-")
		end, err := strconv.ParseInt(to, 10, 64)
		switch {
		case err != nil:
			t.Fatal(err)
		case end <= 4004:
			first = max(first, end)
		default:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := exits(t, 4, append(rebuild, "--rollback")...)
	if want := fmt.Sprintf("rows/0@%d", first); !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "the raw zone does not have it either") || !strings.Contains(r.stderr, "roll table rows back to generation 1") {
		t.Errorf("want %s: %v", want, r)
	}
	live(2)
	if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "raw-zone")); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--rollback"}, {"--rollback", "--now"}} {
		if r := exits(t, 4, append(rebuild, flags...)...); !strings.Contains(r.stderr, "rows/0@4004 ") && !strings.Contains(r.stderr, "rows/0@4003 ") {
			t.Errorf("%v: %v", flags, r)
		}
	}
	live(2)
}

// fractions is a file of 2000 rows with fractions.
func fractions(from int) string {
	var text strings.Builder
	text.WriteString("id,v\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,%d.25\n", from+i, i)
	}
	return text.String()
}
