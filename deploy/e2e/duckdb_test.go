package e2e

import (
	"bytes"
	"encoding/csv"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// duckDB is DuckDB's program, or the one of deploy/duckdb, which LAKEFEED_DUCKDB names:
// an engine that reads CSVs and Parquet and that we did not write.
func duckDB(t *testing.T) string {
	t.Helper()
	program := os.Getenv("LAKEFEED_DUCKDB")
	if program == "" {
		t.Skip("LAKEFEED_DUCKDB names no DuckDB program; cd deploy/duckdb && go build builds one where there is a C compiler")
	}
	return program
}

// null is how duckRows shows it.
const null = "<null>"

// duckRows runs statements with DuckDB and gives the rows of the last.
func duckRows(t *testing.T, sql string) [][]string {
	t.Helper()
	cmd := exec.Command(duckDB(t), "-init", os.DevNull, "-bail", "-csv", "-header", "-nullvalue", null)
	cmd.Stdin = strings.NewReader(sql)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("duckdb: %v\n%s\n%s", err, stderr.String(), sql)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("duckdb printed no CSV: %v\n%s", err, out)
	}
	return rows[1:]
}

// quoted is text as a literal of SQL.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
