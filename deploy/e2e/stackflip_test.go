package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
)

// stopAt lets Glue refuse an action from the n-th call on, so that a catalog stays as it
// is in the middle of a turn.
func stopAt(glue *testbed.GlueProxy, action string, n int) {
	calls := 0
	glue.Before(func(c testbed.GlueCall) *testbed.GlueFailure {
		if c.Action != action {
			return nil
		}
		if calls++; calls < n {
			return nil
		}
		return &testbed.GlueFailure{Code: "AccessDeniedException", Message: "stopped here"}
	})
}

// refused is what Trino says of a statement that fails.
func (s *stack) refused(t *testing.T, sql string) string {
	t.Helper()
	r := run(t, "query", sql, "--trino-url", s.trino.Endpoint, "--trino-schema", s.database)
	if r.code == 0 {
		t.Errorf("%s: %v", sql, r)
	}
	return r.stderr
}

// Where a partition's value is null, a table with registered partitions turns to another
// generation in hundreds of them. Stopped in the middle it is as the documentation says:
// each row is there once, of one generation or the other, and a query of a column
// whose type changed fails; afterwards all is right.
func TestStackFlipWithNullPartition(t *testing.T) {
	const kinds, each = 150, 4
	s := newStack(t)
	name := strings.ReplaceAll(testbed.Name("nulls"), "-", "_")
	rows, halves := 0, 0 // halves is the sum of v, doubled
	for _, half := range []string{"", ".5"} {
		var text strings.Builder
		text.WriteString("id,v,kind\n")
		for kind := range kinds + 1 {
			for range each / 2 {
				value := fmt.Sprintf("k%03d", kind)
				if kind == kinds {
					value = ""
				}
				fmt.Fprintf(&text, "%d,%[1]d%s,%s\n", rows, half, value)
				halves += 2*rows + len(half)/2
				rows++
			}
		}
		s.s3.Put(t, s.source, fmt.Sprintf("in/rows%s.csv", half), []byte(text.String()))
		ok(t, s.produce(name)...)
		ok(t, s.consume(name, "--partition-by", "kind")...)
	}
	generations := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		for _, r := range s.query(t, `SELECT generation, count(DISTINCT coalesce(kind, 'null')) AS n FROM (SELECT kind, coalesce(regexp_extract("$path", '\.(g\d+)/', 1), 'g1') AS generation FROM `+name+`) GROUP BY 1`) {
			out[fmt.Sprint(r["generation"])] = fmt.Sprint(r["n"])
		}
		return out
	}
	once := func(when string) {
		t.Helper()
		for sql, want := range map[string]int{
			"SELECT count(*) FROM " + name:                                              rows,
			"SELECT count(DISTINCT id) FROM " + name:                                    rows,
			"SELECT sum(id) FROM " + name:                                               rows * (rows - 1) / 2,
			"SELECT count(*) FROM " + name + " WHERE kind IS NULL":                      each,
			"SELECT count(*) FROM " + name + " WHERE kind IS NOT NULL":                  rows - each,
			"SELECT count(*) FROM " + name + " WHERE kind = 'k007'":                     each,
			"SELECT count(*) FROM " + name + " WHERE kind >= 'k100'":                    each * (kinds - 100),
			"SELECT count(*) FROM " + name + " WHERE id < 10":                           10,
			"SELECT min(n) FROM (SELECT count(*) AS n FROM " + name + " GROUP BY kind)": each,
			"SELECT max(n) FROM (SELECT count(*) AS n FROM " + name + " GROUP BY kind)": each,
		} {
			if got := s.one(t, sql); got != fmt.Sprint(want) {
				t.Errorf("%s, %s: %s, want %d", when, sql, got, want)
			}
		}
	}
	once("before")
	if have := generations(); len(have) != 1 || have["g1"] != fmt.Sprint(kinds+1) {
		t.Fatalf("partitions by generation: %v", have)
	}
	at := []string{name, "--lake", "s3://" + s.lake, "--glue-database", s.database}
	stopAt(s.glue, "BatchUpdatePartition", 2)
	r := ok(t, append([]string{"rebuild", "--brokers", s.kafka.Brokers}, at...)...)
	if !strings.Contains(r.stderr, "the swap is done, but readers of the catalog see") {
		t.Errorf("%v", r)
	}
	if have := generations(); have["g2"] != "100" || have["g1"] != fmt.Sprint(kinds+1-100) {
		t.Errorf("in the middle, partitions by generation: %v", have)
	}
	once("in the middle")
	if said := s.refused(t, "SELECT sum(v) FROM "+name); !regexp.MustCompile(`HIVE_PARTITION_SCHEMA_MISMATCH|HIVE_BAD_DATA`).MatchString(said) {
		t.Errorf("in the middle, of the column whose type changed: %s", said)
	}
	s.glue.Before(nil)
	ok(t, append([]string{"register"}, at...)...)
	if have := generations(); len(have) != 1 || have["g2"] != fmt.Sprint(kinds+1) {
		t.Errorf("afterwards, partitions by generation: %v", have)
	}
	once("afterwards")
	if got, want := s.one(t, "SELECT CAST(sum(v) * 2 AS bigint) FROM "+name), fmt.Sprint(halves); got != want {
		t.Errorf("afterwards the sum of v is %s, want %s", got, want)
	}
}

// Where the partition column's type changed and null is a value of it, rows whose
// partition is another are there twice until the turn is over, as the documentation says.
func TestStackFlipOfPartitionsThatDiffer(t *testing.T) {
	c := newConflictTable(t, "--partition-by", "kind")
	ok(t, c.rebuild...)
	c.wantCounts(t, "forward", conflicting(false))
	stopAt(c.glue, "BatchDeletePartition", 1)
	if r := ok(t, append(c.rebuild, "--rollback")...); !strings.Contains(r.stderr, "the swap is done, but readers of the catalog see") {
		t.Errorf("%v", r)
	}
	c.wantCounts(t, "in the middle", map[string]int{
		"true": 3 * conflictRows, "kind IS NULL": conflictRows, "kind IN ('x', 'y', 'z')": conflictRows, "kind IN ('0', '1', '2')": conflictRows,
	})
	c.glue.Before(nil)
	ok(t, "register", c.name, "--lake", "s3://"+c.lake, "--glue-database", c.database)
	c.wantCounts(t, "afterwards", conflicting(true))
}
