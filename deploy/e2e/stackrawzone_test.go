package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
	"lakefeed/sink"
)

// A table is built from its raw zone after its topic, and the one with its producers'
// progress, were deleted: the engine inside Athena finds the same in each column, where
// each row came from too.
func TestStackRebuiltFromRawZone(t *testing.T) {
	folder := testdata(t, "csse_daily")
	s := newStack(t)
	names, err := filepath.Glob(filepath.Join(folder, "*.csv"))
	if err != nil || len(names) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range names {
		s.s3.Put(t, s.source, filepath.Base(name), []byte(readFile(t, name)))
	}
	table := strings.ReplaceAll(testbed.Name("rawzone"), "-", "_")
	at := []string{"--lake", "s3://" + s.lake, "--raw-zone"}
	ok(t, append(s.produce(table), at...)...)
	ok(t, s.consume(table, "--meta", "--raw-zone", "--flush-size", "1MB")...)
	rebuild := []string{"rebuild", table, "--lake", "s3://" + s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database}
	ok(t, rebuild...) // so that types are decided by all rows
	have := readTable(t, s.s3.Download(t, s.lake, "").Name(), table+".g2")
	sums := []string{"count(*) AS n"}
	for name := range have.columns {
		if name, rescued, _ := strings.Cut(name, "."); rescued == "" {
			sums = append(sums, fmt.Sprintf(`checksum("%s") AS "%[1]s"`, name))
		}
	}
	sql := "SELECT " + strings.Join(sums, ", ") + " FROM " + table
	want := s.query(t, sql)
	if len(want) != 1 || fmt.Sprint(want[0]["n"]) != fmt.Sprint(have.rows) || have.rows == 0 {
		t.Fatalf("%v, the files have %d rows", want, have.rows)
	}
	s.kafka.DeleteTopic(t, table)
	s.kafka.DeleteTopic(t, table+".progress")
	for _, o := range s.s3.Keys(t, s.source, "") {
		s.s3.Delete(t, s.source, o)
	}
	r := ok(t, "audit", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers, "--deep", "-o", "json")
	var report sink.AuditReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if wantAll(t, &report, sink.WithRawZone); report.Rows != int64(have.rows) || !report.Deep {
		t.Errorf("%v", r)
	}
	r = ok(t, rebuild...)
	if !strings.Contains(r.stdout, "generation 3 is live") || !strings.Contains(r.stdout, "audit: clean") {
		t.Errorf("%v", r)
	}
	if got := s.query(t, sql); !reflect.DeepEqual(got, want) {
		t.Errorf("Trino finds %v, and had found %v", got, want)
	}
	if where := s.one(t, `SELECT "$path" FROM `+table+` LIMIT 1`); !strings.Contains(where, table+".g3/") {
		t.Errorf("Trino reads %s", where)
	}
}
