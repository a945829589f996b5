package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// A lake in a folder is asked with DuckDB: its program, or the one of deploy/duckdb,
// which LAKEFEED_DUCKDB names.
func TestQueryWithDuckDB(t *testing.T) {
	program := duckDB(t)
	dir := t.TempDir()
	lake := filepath.Join(dir, "it's [a] lake")
	writeFile(t, filepath.Join(dir, "sales.csv"), "id,amount,note,day\n1,2.5,\"a, \"\"b\"\"\",2026-01-01\n2,,NULL,2026-01-02\n3,4,\"two\nlines\",2026-01-02\nonly,\n")
	exits(t, 3, "ingest", filepath.Join(dir, "sales.csv"), "--lake", lake, "--partition-by", "date(day)")
	ask := func(code int, sql, format string) result {
		t.Helper()
		return exits(t, code, "query", sql, "--lake", lake, "--duckdb", program, "-o", format)
	}
	if r := ask(0, "SELECT id, amount, note FROM sales ORDER BY id", "csv"); r.stdout != "id,amount,note\n1,2.5,\"a, \"\"b\"\"\"\n2,,NULL\n3,4.0,\"two\nlines\"\n" {
		t.Errorf("%q", r.stdout)
	}
	if r := ask(0, "SELECT count(*) AS n, sum(amount) AS s FROM sales WHERE day_date = DATE '2026-01-02';", "json"); r.stdout != "[\n{\"n\":\"2\",\"s\":\"4.0\"}\n]\n" {
		t.Errorf("%q", r.stdout)
	}
	if r := ask(0, "SELECT CAST(2.5 AS DECIMAL(10,2)) AS a, CAST(-0.05 AS DECIMAL(4,2)) AS b, CAST(0 AS DECIMAL(4,2)) AS c, CAST(70 AS DECIMAL(5,0)) AS d, CAST('12345678901234567.50' AS DECIMAL(38,2)) AS e", "csv"); r.stdout != "a,b,c,d,e\n2.50,-0.05,0.00,70,12345678901234567.50\n" {
		t.Errorf("%q", r.stdout)
	}
	if r := ask(0, "SELECT rule, line FROM sales__quarantine", "table"); !strings.Contains(r.stdout, "cell_count") {
		t.Errorf("%v", r)
	}
	if r := ask(2, "SELECT nothing FROM sales", "table"); !strings.Contains(r.stderr, "nothing") || r.stdout != "" {
		t.Errorf("%v", r)
	}
	if r := ask(2, ".shell true", "table"); !strings.Contains(r.stderr, "statement of SQL") {
		t.Errorf("%v", r)
	}
	if r := exits(t, 2, "query", "SELECT 1", "--lake", filepath.Join(dir, "none"), "--duckdb", program); !strings.Contains(r.stderr, "no table") {
		t.Errorf("%v", r)
	}
}

// Without an engine it is said what to do.
func TestQueryWithoutAnEngine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	r := exits(t, 2, "query", "SELECT 1", "--lake", t.TempDir())
	for _, says := range []string{"duckdb.org", "deploy/duckdb", "--trino-url", "--athena-database"} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("it does not say %s: %v", says, r)
		}
	}
	if r := exits(t, 2, "query", "SELECT 1", "--trino-url", "http://localhost:1", "--athena-database", "feeds"); !strings.Contains(r.stderr, "not both") {
		t.Errorf("%v", r)
	}
	if r := exits(t, 6, "query", "SELECT 1", "--trino-url", "http://127.0.0.1:1"); !strings.Contains(r.stderr, "--trino-url") {
		t.Errorf("%v", r)
	}
	if r := exits(t, 2, "query", " "); !strings.Contains(r.stderr, "no statement") {
		t.Errorf("%v", r)
	}
}
