package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"

	"lakefeed/broker/embedded"
)

// sharedTable is a table whose topic has four topic partitions, with rows for many
// commits in each, on a Kafka that several processes reach.
type sharedTable struct {
	lake, brokers string
	rows          int
	rebuild       []string // command line
	meeting       string   // folder in which processes leave their marks
}

func newSharedTable(t *testing.T) *sharedTable {
	t.Helper()
	dir := t.TempDir()
	b, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	s := &sharedTable{lake: filepath.Join(dir, "lake"), brokers: strings.Join(b.Addrs(), ","), meeting: filepath.Join(dir, "meeting")}
	if err := os.Mkdir(s.meeting, 0o777); err != nil {
		t.Fatal(err)
	}
	const files, lines = 20, 50
	for p := range 4 {
		in := filepath.Join(dir, fmt.Sprint("in", p))
		for f := range files {
			var text strings.Builder
			text.WriteString("id,v\n")
			for range lines {
				value := fmt.Sprint(s.rows)
				if p == 3 {
					value += ".5" // rescued at first
				}
				fmt.Fprintf(&text, "%d,%s\n", s.rows, value)
				s.rows++
			}
			writeFile(t, filepath.Join(in, fmt.Sprintf("%03d.csv", f)), text.String())
		}
		ok(t, "produce", in, "--topic", "rows", "--brokers", s.brokers, "--partitions", "4", "--pin", fmt.Sprint(p))
	}
	ok(t, "consume", "--drain", "--table", "rows", "--meta", "--lake", s.lake, "--brokers", s.brokers)
	s.rebuild = []string{"rebuild", "rows", "--lake", s.lake, "--brokers", s.brokers, "--flush-size", "200B"}
	return s
}

// start starts a process of the rebuild. It goes slowly from its n-th record on, until so
// many processes have come to theirs.
func (s *sharedTable) start(t *testing.T, n, processes int, flags ...string) *process {
	t.Helper()
	return start(t, nil, append(append(s.rebuild, "--fault", fmt.Sprintf("record-created:%d:meet=%s,%d", n, s.meeting, processes)), flags...)...)
}

// met says how many processes have come to where they meet.
func (s *sharedTable) met(t *testing.T) int {
	t.Helper()
	marks, err := os.ReadDir(s.meeting)
	if err != nil {
		t.Fatal(err)
	}
	return len(marks)
}

// lead starts the process that leads, and waits until it has begun.
func (s *sharedTable) lead(t *testing.T, processes int) *process {
	t.Helper()
	p := s.start(t, 1, processes)
	until(t, "the rebuild has written a record", func() bool { return s.met(t) == 1 })
	return p
}

// joined is what a process has done that has joined, by its report.
func joined(t *testing.T, r result, table string) (commits int) {
	t.Helper()
	var report struct {
		Table               string
		Generation, Commits int
		Rows                int
		RowsRead            int `json:"rows_read"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || report.Table != table || report.Generation != 2 || report.Rows == 0 {
		t.Fatalf("a process that has joined: %v, %v", err, r)
	}
	return report.Commits
}

// want checks that generation 2 is live and has every row once.
func (s *sharedTable) want(t *testing.T) (records int) {
	t.Helper()
	ok(t, "audit", "rows", "--lake", s.lake, "--brokers", s.brokers, "--deep")
	if generationOf(t, s.lake) != 2 || visibleRows(t, s.lake) != s.rows {
		t.Errorf("generation %d is live, with %d rows, want 2 and %d", generationOf(t, s.lake), visibleRows(t, s.lake), s.rows)
	}
	checkGeneration(t, s.lake, "rows", 2)
	if x := readTable(t, s.lake, "rows.g2"); len(x.columns["_rescued.v"]) > 0 || x.types["v"] != "float64" {
		t.Errorf("v is %s, and has rescued cells: %v", x.types["v"], len(x.columns["_rescued.v"]) > 0)
	}
	found, err := filepath.Glob(filepath.Join(s.lake, "_lakefeed", "rows", "g2", "commits", "rows", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(s.lake, "_lakefeed", "rows", "rebuild.json")) {
		t.Error("the rebuild is said to be under way still")
	}
	return len(found)
}

// Three processes share the writing of a rebuild: each has written some of its records.
func TestRebuildJoin(t *testing.T) {
	t.Parallel()
	s := newSharedTable(t)
	leader := s.lead(t, 3)
	one, two := s.start(t, 1, 3, "--join", "-o", "json"), s.start(t, 1, 3, "--join", "-o", "json")
	first, second := joined(t, one.wait(t), "rows"), joined(t, two.wait(t), "rows")
	if r := leader.wait(t); r.code != 0 {
		t.Fatalf("the one that leads: %v", r)
	}
	if met := s.met(t); met != 3 {
		t.Errorf("%d processes have written", met)
	}
	records := s.want(t)
	if first < 1 || second < 1 || records-first-second < 1 {
		t.Errorf("of %d records those that joined have written %d and %d", records, first, second)
	}
	t.Logf("of %d records those that joined have written %d and %d", records, first, second)
}

// A process that has joined is killed in the middle: the others take its topic
// partitions.
func TestRebuildJoinKilled(t *testing.T) {
	t.Parallel()
	s := newSharedTable(t)
	leader := s.lead(t, 2)
	dying := start(t, nil, append(s.rebuild, "--join", "--fault", "record-create:3:kill")...)
	if r := dying.wait(t); r.code != -1 {
		t.Fatalf("it was to be killed: %v", r)
	}
	writeFile(t, filepath.Join(s.meeting, "dead"), "") // the leader may go on
	if r := leader.wait(t); r.code != 0 {
		t.Fatalf("the one that leads: %v", r)
	}
	s.want(t)
}

// The process that leads is killed: those that have joined end and say so, and the next
// rebuild goes on with what they all have written.
func TestRebuildJoinLeaderKilled(t *testing.T) {
	t.Parallel()
	s := newSharedTable(t)
	leader := s.lead(t, 9)
	other := s.start(t, 1, 9, "--join")
	until(t, "the one that joins has written a record", func() bool { return s.met(t) == 2 })
	leader.signal(t, syscall.SIGKILL)
	leader.wait(t)
	if r := other.wait(t); r.code != 1 || !strings.Contains(r.stderr, "the process that leads the rebuild has ended, or has said nothing for a while, and generation 2 is not written") ||
		!strings.Contains(r.stderr, "lakefeed rebuild rows goes on with it") {
		t.Errorf("the one that has joined: %v", r)
	}
	if generationOf(t, s.lake) != 1 || visibleRows(t, s.lake) != s.rows {
		t.Error("the table is not as it was")
	}
	if r := exits(t, 2, append(s.rebuild, "--join")...); !strings.Contains(r.stderr, "the one that did has said nothing for a while: lakefeed rebuild rows goes on with its work") {
		t.Errorf("joining a dead one: %v", r)
	}
	ok(t, s.rebuild...)
	s.want(t)
}

// Three processes share the reading of the topic for columns: each has read some of its
// topic partitions, and what they have seen makes one schema. What they have read before
// the last of them came is not kept: each time they share the topic out anew.
func TestRebuildJoinReading(t *testing.T) {
	t.Parallel()
	s := newSharedTable(t)
	meet := []string{"--fault", fmt.Sprintf("columns-keep:1:meet=%s,3,120", s.meeting)}
	leader := start(t, nil, append(s.rebuild, meet...)...)
	until(t, "the rebuild has seen columns", func() bool { return s.met(t) > 0 })
	var others [2]*process
	for i := range others {
		others[i] = start(t, nil, append(append(s.rebuild, "--join", "-o", "json"), meet...)...)
	}
	read := 0
	for _, p := range others {
		r := p.wait(t)
		var report struct {
			RowsRead int `json:"rows_read"`
		}
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || report.RowsRead == 0 {
			t.Fatalf("a process that has joined: %v, %v", err, r)
		}
		read += report.RowsRead
	}
	if r := leader.wait(t); r.code != 0 {
		t.Fatalf("the one that leads: %v", r)
	}
	if met := s.met(t); met != 3 || read >= s.rows {
		t.Errorf("%d processes have read the topic, and those that joined %d of its %d rows", met, read, s.rows)
	}
	s.want(t)
	t.Logf("of %d rows those that joined have read %d", s.rows, read)
}

// What has to be read from the raw zone, as the topic is gone, is read by one process:
// others are refused, and told why.
func TestRebuildJoinRawZone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := embedded.Start(embedded.Config{Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	lake, in, brokers, meeting := filepath.Join(dir, "lake"), filepath.Join(dir, "in"), strings.Join(b.Addrs(), ","), filepath.Join(dir, "meeting")
	const files = 20
	for f := range files {
		writeFile(t, filepath.Join(in, fmt.Sprintf("%02d.csv", f)), rowsHeader+rowsCSV(f*100, f*100+100))
	}
	ingest(t, in, "--table", "rows", "--meta", "--lake", lake, "--brokers", brokers, "--partitions", "1", "--raw-zone", "--flush-size", "200B")
	client := &kafka.Client{Addr: kafka.TCP(b.Addrs()...)}
	if r, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{"rows"}}); err != nil || r.Errors["rows"] != nil {
		t.Fatal(err, r)
	}
	if err := os.Mkdir(meeting, 0o777); err != nil {
		t.Fatal(err)
	}
	rebuild := []string{"rebuild", "rows", "--lake", lake, "--brokers", brokers, "--flush-size", "200B"}
	leader := start(t, nil, append(rebuild, "--fault", fmt.Sprintf("record-created:1:meet=%s,2", meeting))...)
	until(t, "the rebuild has written a record", func() bool {
		marks, err := os.ReadDir(meeting)
		return err == nil && len(marks) == 1
	})
	if r := exits(t, 2, append(rebuild, "--join")...); !strings.Contains(r.stderr, "its work cannot be shared: it reads a topic that is gone from the raw zone, in order and by one process") {
		t.Errorf("joining: %v", r)
	}
	writeFile(t, filepath.Join(meeting, "refused"), "")
	if r := leader.wait(t); r.code != 0 {
		t.Fatalf("the one that leads: %v", r)
	}
	if generationOf(t, lake) != 2 || visibleRows(t, lake) != files*100 {
		t.Errorf("generation %d is live, with %d rows", generationOf(t, lake), visibleRows(t, lake))
	}
}

// One that joins when all is written is told that nothing is left, and one that joins a
// rollback that there is nothing to share.
func TestRebuildJoinLate(t *testing.T) {
	t.Parallel()
	s := newSharedTable(t)
	waits := func(at string, flags ...string) *process {
		p := start(t, nil, append(append(s.rebuild, "--fault", fmt.Sprintf("%s:1:meet=%s,2,120", at, s.meeting)), flags...)...)
		until(t, "the rebuild has come to "+at, func() bool { return s.met(t) == 1 })
		return p
	}
	goOn := func(p *process) {
		writeFile(t, filepath.Join(s.meeting, "late"), "")
		if r := p.wait(t); r.code != 0 {
			t.Fatalf("the one that leads: %v", r)
		}
	}
	leader := waits("rebuilt")
	if r := ok(t, append(s.rebuild, "--join")...); !strings.Contains(r.stdout, "there was nothing left to do for this process: generation 2 is written") {
		t.Errorf("joining late: %v", r)
	}
	goOn(leader)
	s.want(t)
	if err := os.RemoveAll(s.meeting); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.meeting, 0o777); err != nil {
		t.Fatal(err)
	}
	back := waits("swap-begun", "--rollback")
	if r := exits(t, 2, append(s.rebuild, "--join")...); !strings.Contains(r.stderr, "its work cannot be shared: it rolls the table back") {
		t.Errorf("joining a rollback: %v", r)
	}
	goOn(back)
	if generationOf(t, s.lake) != 1 {
		t.Errorf("generation %d is live", generationOf(t, s.lake))
	}
}
