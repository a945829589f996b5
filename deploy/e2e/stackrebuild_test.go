package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// conflictTable is a table on the stack whose column v had whole numbers before it
// had fractions, and whose column kind had numbers before it had words.
type conflictTable struct {
	*stack
	name    string
	sent    int
	rebuild []string // command line
}

// The first conflictRows rows have a number in each column, as many after them have
// fractions, and a word for a kind.
const conflictRows = 2000

func newConflictTable(t *testing.T, consume ...string) *conflictTable {
	t.Helper()
	s := newStack(t)
	c := &conflictTable{stack: s, name: strings.ReplaceAll(testbed.Name("rows"), "-", "_")}
	c.rebuild = []string{"rebuild", c.name, "--lake", "s3://" + s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database, "--flush-size", "50kB"}
	for range 2 {
		c.send(t, conflictRows)
		ok(t, s.consume(c.name, consume...)...)
	}
	return c
}

// send sends so many rows more. Row n has n in v, or a half more, and the kind n mod 3,
// or a letter.
func (c *conflictTable) send(t *testing.T, n int) {
	t.Helper()
	var text strings.Builder
	text.WriteString("id,v,kind\n")
	for range n {
		if c.sent < conflictRows {
			fmt.Fprintf(&text, "%d,%[1]d,%d\n", c.sent, c.sent%3)
		} else {
			fmt.Fprintf(&text, "%d,%[1]d.5,%c\n", c.sent, 'x'+rune(c.sent%3))
		}
		c.sent++
	}
	c.s3.Put(t, c.source, fmt.Sprintf("in/rows-%09d.csv", c.sent), []byte(text.String()))
	ok(t, c.stack.produce(c.name)...)
}

func (c *conflictTable) count(t *testing.T, where string) string {
	t.Helper()
	return c.one(t, "SELECT count(*) FROM "+c.name+" WHERE "+where)
}

// wantCounts asks Trino for counts under conditions.
func (c *conflictTable) wantCounts(t *testing.T, when string, counts map[string]int) {
	t.Helper()
	for where, want := range counts {
		if got := c.count(t, where); got != strconv.Itoa(want) {
			t.Errorf("%s, where %s: %s, want %d", when, where, got, want)
		}
	}
}

// conflicting are the counts of the first rows: in the generation that rescued cells,
// and in one that has a type for all.
func conflicting(rescued bool) map[string]int {
	const n = conflictRows
	if rescued {
		return map[string]int{
			"id < 4000": 2 * n, "v < 1000 AND id < 4000": 1000, "v IS NULL AND id < 4000": n, "kind = 1": 667, "kind IS NULL AND id < 4000": n,
			"element_at(_rescued, 'v') = '3000.5'": 1, "element_at(_rescued, 'kind') = 'x' AND id < 4000": 667,
		}
	}
	return map[string]int{
		"id < 4000": 2 * n, "v < 1000 AND id < 4000": 1000, "v IS NULL": 0, "kind = '1'": 667, "kind = 'x' AND id < 4000": 667, "kind IS NULL": 0,
		"v = 3000.5": 1, "v > 3000 AND id < 4000": 1000, "cardinality(map_keys(_rescued)) > 0": 0,
	}
}

// watch counts the rows of the table in a loop, until stop: all of them, which never
// become fewer, and under conditions, of which each finds what one of the generations
// has and nothing between.
func (c *conflictTable) watch(t *testing.T) (stop func() (looks int), look func()) {
	t.Helper()
	var looks atomic.Int64
	end := make(chan struct{})
	var reading sync.WaitGroup
	stop = sync.OnceValue(func() int {
		close(end)
		reading.Wait()
		return int(looks.Load())
	})
	look = func() {
		before := looks.Load()
		until(t, "Trino has looked", func() bool { return looks.Load() > before || t.Failed() })
	}
	t.Cleanup(func() { stop() })
	engine, least := c.trino.In(c.database), c.sent
	statement := "SELECT count(*), count_if(id < 4000), sum(CASE WHEN id < 4000 THEN id END)"
	conditions := map[string][]string{
		"v >= 0 AND id < 4000":       {"2000", "4000"},
		"v > 500 AND id < 2000":      {"1499"},
		"kind IS NULL AND id < 4000": {"2000", "0"},
	}
	asked := slices.Sorted(maps.Keys(conditions))
	for _, where := range asked {
		statement += ", (SELECT count(*) FROM " + c.name + " WHERE " + where + ")"
	}
	statement += " FROM " + c.name
	reading.Go(func() {
		for ; ; looks.Add(1) {
			select {
			case <-end:
				return
			case <-time.After(10 * time.Millisecond):
			}
			got, err := engine.Try(statement)
			if err != nil {
				t.Errorf("a query failed: %v", err)
				continue
			}
			n, err := strconv.Atoi(fmt.Sprint(got[0][0]))
			if first := fmt.Sprint(got[0][1:3]); err != nil || n < least || first != "[4000 7998000]" {
				t.Errorf("Trino counts %d rows, and has counted %d; of the first 4000 it has number and sum %s", n, least, first)
			}
			least = max(least, n)
			for i, where := range asked {
				if n := fmt.Sprint(got[0][3+i]); !slices.Contains(conditions[where], n) {
					t.Errorf("where %s: %s rows, and the generations have %v", where, n, conditions[where])
				}
			}
		}
	})
	return stop, look
}

// Kafka, S3, Glue and Trino: a table with rescued cells is built anew while a consumer
// runs, rows arrive and Trino asks in a loop; then it is taken back and forward again.
// The table is whole, or its partitions are registered one by one; those of one
// generation are not those of the other, and their column has another type.
func TestStackRebuild(t *testing.T) {
	for name, flags := range map[string][]string{
		"whole":       nil,
		"partitioned": {"--partition-by", "kind"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConflictTable(t, flags...)
			c.wantCounts(t, "before", conflicting(true))
			live := start(t, nil, append([]string{"consume"}, c.consume(c.name, append(flags, "--flush-every", "1s")...)[2:]...)...)
			looks := 0
			stop, look := c.watch(t)
			caughtUp := func() {
				t.Helper()
				until(t, "the feed goes on", func() bool { return c.count(t, "true") == fmt.Sprint(c.sent) })
			}
			building := start(t, nil, c.rebuild...)
			c.send(t, 500)
			if r := building.wait(t); r.code != 0 || strings.Contains(r.stderr, "warning") {
				t.Fatalf("rebuild: %v", r)
			}
			c.send(t, 500)
			caughtUp()
			c.wantCounts(t, "after", conflicting(false))
			look()
			for _, rescued := range []bool{true, false} {
				// Partitions of null are turned one by one, and mix for a moment.
				mixes := rescued && flags != nil
				if mixes {
					looks += stop()
				}
				ok(t, append(c.rebuild, "--rollback")...)
				if mixes {
					caughtUp()
					stop, look = c.watch(t)
				}
				c.send(t, 100)
				caughtUp()
				c.wantCounts(t, "after another swap", conflicting(rescued))
				look()
			}
			if looks += stop(); looks < 3 {
				t.Errorf("Trino counted %d times", looks)
			}
			live.signal(t, syscall.SIGTERM)
			if r := live.wait(t); r.code != 130 {
				t.Errorf("consume: %v", r)
			}
			ok(t, "audit", c.name, "--lake", "s3://"+c.lake, "--brokers", c.kafka.Brokers, "--deep")
			t.Logf("Trino looked %d times", looks)
		})
	}
}

// Of two rebuilds at once the second is refused, and so is a rollback: while the first
// one waits for Glue, with its swap done, and says that it is at work. Then it ends as if
// nothing had been.
func TestStackTwoRebuilds(t *testing.T) {
	c := newConflictTable(t)
	held, release := make(chan struct{}), make(chan struct{})
	letGo, hold := sync.OnceFunc(func() { close(release) }), sync.OnceFunc(func() { close(held) })
	defer letGo()
	c.glue.Before(func(call testbed.GlueCall) *testbed.GlueFailure {
		if call.Action == "UpdateTable" {
			hold()
			<-release
		}
		return nil
	})
	first := start(t, nil, c.rebuild...)
	select {
	case <-held:
	case <-time.After(5 * time.Minute):
		t.Fatal("the first rebuild does not come to its registration")
	}
	second, back := start(t, nil, c.rebuild...), start(t, nil, append(c.rebuild, "--rollback", "--now")...)
	for what, r := range map[string]result{"a second rebuild": second.wait(t), "a rollback": back.wait(t)} {
		if r.code != 2 || !strings.Contains(r.stderr, "build table "+c.name+" anew: another process is building a new generation of the table (since ") {
			t.Errorf("%s: %v", what, r)
		}
	}
	letGo()
	if r := first.wait(t); r.code != 0 || !strings.Contains(r.stdout, "generation 2 is live since swap 1") {
		t.Fatalf("the first rebuild: %v", r)
	}
	ok(t, "register", c.name, "--lake", "s3://"+c.lake, "--glue-database", c.database) // it waits half a minute for Glue, no longer
	c.wantCounts(t, "after it", conflicting(false))
	if r := ok(t, c.rebuild...); !strings.Contains(r.stdout, "generation 3 is live since swap 2") {
		t.Errorf("the next rebuild: %v", r)
	}
	c.wantCounts(t, "after the next", conflicting(false))
	ok(t, "audit", c.name, "--lake", "s3://"+c.lake, "--brokers", c.kafka.Brokers, "--deep")
}
