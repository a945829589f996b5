package e2e

import (
	"bufio"
	"bytes"
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

	"lakefeed/deploy/testbed"
)

// campaignLimit is how long a command of a campaign may take.
const campaignLimit = 2 * time.Hour

// lineitems are what some rows of TPC-H's lineitem come to, by the text of the CSV.
type lineitems struct {
	rows, keys int64 // keys is the sum of l_orderkey
	most       int64 // l_orderkey
	large      int64 // rows with l_quantity > 25
}

func (l *lineitems) add(t *testing.T, line []byte) {
	t.Helper()
	cells := bytes.SplitN(line, []byte(","), 6)
	key, err := strconv.ParseInt(string(cells[0]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	quantity, err := strconv.ParseFloat(string(cells[4]), 64)
	if err != nil {
		t.Fatal(err)
	}
	l.rows, l.keys, l.most = l.rows+1, l.keys+key, max(l.most, key)
	if quantity > 25 {
		l.large++
	}
}

// A lake of as many rows as the folder has that LAKEFEED_LINEITEM names is built anew,
// with Kafka, S3, Glue and Trino, while rows arrive and Trino asks in a loop; then it
// is taken back and forward again. The folder is made by
//
//	tpchgen-cli csv -s 1.8 --tables lineitem --parts 20 -o FOLDER
//
// which are 10.8 million rows in FOLDER/lineitem, of which the last twentieth arrives.
func TestCampaignRebuild(t *testing.T) {
	folder := os.Getenv("LAKEFEED_LINEITEM")
	if folder == "" {
		t.Skip("LAKEFEED_LINEITEM names no folder with parts of lineitem")
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.csv"))
	if err != nil || len(names) < 2 {
		t.Fatal(len(names), "files", err)
	}
	s := newStack(t)
	table := strings.ReplaceAll(testbed.Name("lineitem"), "-", "_")
	step := func() func(format string, args ...any) {
		began := time.Now()
		return func(format string, args ...any) {
			t.Logf("%s after %v", fmt.Sprintf(format, args...), time.Since(began).Round(time.Second))
		}
	}

	done := step()
	var base lineitems
	var header string
	var arriving [][]byte // lines
	last := lastPart(names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for first := true; lines.Scan(); first = false {
			switch {
			case first:
				header = lines.Text() + "\n"
			case name == last:
				arriving = append(arriving, bytes.Clone(lines.Bytes()))
			default:
				base.add(t, lines.Bytes())
			}
		}
		if name != last {
			s.s3.Put(t, s.source, "in/"+filepath.Base(name), text)
		}
	}
	done("%d rows are in the bucket, and %d are to arrive", base.rows, len(arriving))

	common := []string{"--table", table, "--lake", "s3://" + s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database}
	long := func(what string, args ...string) {
		t.Helper()
		done := step()
		p := startFor(t, campaignLimit, nil, args...)
		if r := p.wait(t); r.code != 0 {
			t.Fatalf("%s: %v", what, r)
		}
		done("%s: %v of CPU,", what, (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Round(time.Second))
		t.Log(p.stdout.String())
	}
	long("ingest", append([]string{"ingest", "s3://" + s.source + "/in/", "--partitions", "4"}, common...)...)
	live := startFor(t, campaignLimit, nil, append([]string{"consume", "--flush-every", "5s"}, common...)...)

	var sent atomic.Int64 // rows that are in the topic
	sent.Store(base.rows)
	statement := fmt.Sprintf("SELECT count(*), count_if(l_orderkey <= %[2]d), sum(CASE WHEN l_orderkey <= %[2]d THEN l_orderkey END), "+
		"(SELECT count(*) FROM %[1]s WHERE l_orderkey <= %[2]d AND l_quantity > 25) FROM %[1]s", table, base.most)
	fixed := fmt.Sprint([]int64{base.rows, base.keys, base.large})
	var asking sync.Mutex
	looks, least := 0, base.rows
	look := func() int64 {
		asking.Lock()
		defer asking.Unlock()
		got, err := s.trino.In(s.database).Try(statement)
		if err != nil {
			t.Errorf("a query failed: %v", err)
			return 0
		}
		n, err := strconv.ParseInt(fmt.Sprint(got[0][0]), 10, 64)
		if first := fmt.Sprint(got[0][1:]); err != nil || n < least || n > sent.Load() || first != fixed {
			t.Errorf("Trino counts %d rows, has counted %d, and %d were sent; of the first it has %s, and should have %s", n, least, sent.Load(), first, fixed)
		}
		least = max(least, n)
		looks++
		return n
	}
	end := make(chan struct{})
	var others sync.WaitGroup
	finish := sync.OnceFunc(func() {
		close(end)
		others.Wait()
	})
	t.Cleanup(finish)
	others.Go(func() { // rows arrive
		for n := 0; len(arriving) > 0; n++ {
			select {
			case <-end:
				return
			case <-time.After(3 * time.Second):
			}
			some := arriving[:min(2000, len(arriving))]
			arriving = arriving[len(some):]
			s.s3.Put(t, s.source, fmt.Sprintf("more/%06d.csv", n), append([]byte(header), bytes.Join(some, []byte("\n"))...))
			sent.Add(int64(len(some)))
			if r := run(t, "produce", "s3://"+s.source+"/more/", "--topic", table, "--brokers", s.kafka.Brokers); r.code != 0 {
				t.Errorf("produce: %v", r)
			}
		}
	})
	others.Go(func() { // and are counted
		for {
			select {
			case <-end:
				return
			case <-time.After(2 * time.Second):
				look()
			}
		}
	})
	caughtUp := func() {
		want := sent.Load()
		for began := time.Now(); look() < want; time.Sleep(time.Second) {
			if time.Since(began) > campaignLimit {
				t.Fatalf("fewer than %d rows are there", want)
			}
		}
	}
	rebuild := append([]string{"rebuild", table}, common[2:]...)
	long("rebuild", rebuild...)
	caughtUp()
	long("rollback", append(rebuild, "--rollback")...)
	caughtUp()
	long("forward again", append(rebuild, "--rollback")...)
	finish()
	done = step()
	caughtUp()
	done("all %d rows are there, of which %d have arrived meanwhile; Trino has looked %d times;", sent.Load(), sent.Load()-base.rows, looks)
	live.signal(t, syscall.SIGTERM)
	if r := live.wait(t); r.code != 130 {
		t.Errorf("consume: %v", r)
	}
	long("audit", "audit", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers)
}

// lastPart is the file of the highest number.
func lastPart(names []string) (last string) {
	most := -1
	for _, name := range names {
		parts := strings.Split(filepath.Base(name), ".")
		if n, err := strconv.Atoi(parts[len(parts)-2]); err == nil && n > most {
			most, last = n, name
		}
	}
	return last
}
