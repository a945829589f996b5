package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Kafka, S3, Glue and Trino: two processes share a rebuild, each writes a part of its
// records, and Trino finds every row once.
func TestStackRebuildJoin(t *testing.T) {
	c := newConflictTable(t)
	for f := range 40 { // for several commits in each topic partition
		var text strings.Builder
		text.WriteString("id,v,kind\n")
		for range 50 {
			fmt.Fprintf(&text, "%d,%[1]d.5,%c\n", c.sent, 'x'+rune(c.sent%3))
			c.sent++
		}
		c.s3.Put(t, c.source, fmt.Sprintf("in/more-%03d.csv", f), []byte(text.String()))
	}
	ok(t, c.stack.produce(c.name)...)
	ok(t, c.stack.consume(c.name)...)
	meeting := t.TempDir()
	met := func() int {
		marks, err := os.ReadDir(meeting)
		if err != nil {
			t.Fatal(err)
		}
		return len(marks)
	}
	slowly := append([]string{}, c.rebuild...)
	slowly[len(slowly)-1] = "200B"
	slowly = append(slowly, "--fault", fmt.Sprintf("record-created:1:meet=%s,2", meeting))
	leader := start(t, nil, slowly...)
	until(t, "the rebuild has written a record", func() bool { return met() == 1 })
	commits := joined(t, ok(t, append(slowly, "--join", "-o", "json")...), c.name)
	if r := leader.wait(t); r.code != 0 || strings.Contains(r.stderr, "warning") {
		t.Fatalf("the one that leads: %v", r)
	}
	if met() != 2 || commits < 1 {
		t.Errorf("%d processes have written, and the one that joined %d records", met(), commits)
	}
	c.wantCounts(t, "after", conflicting(false))
	if got := c.count(t, "true"); got != fmt.Sprint(c.sent) {
		t.Errorf("Trino counts %s rows, want %d", got, c.sent)
	}
	ok(t, "audit", c.name, "--lake", "s3://"+c.lake, "--brokers", c.kafka.Brokers, "--deep")
	t.Logf("the one that joined has written %d records", commits)
}
