package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
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
	rows, err := duckAnswer(exec.Command(duckDB(t), duckFlags...), sql)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

var duckFlags = []string{"-init", os.DevNull, "-bail", "-csv", "-header", "-nullvalue", null}

// duckAnswer gives statements to a program that prints the rows of the last as CSV.
func duckAnswer(cmd *exec.Cmd, sql string) ([][]string, error) {
	cmd.Stdin = strings.NewReader(sql)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("duckdb: %w\n%s\n%s", err, stderr.String(), sql)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("duckdb printed no CSV: %w\n%s", err, out)
	}
	return rows[1:], nil
}

// duckAnswers gives a function that asks DuckDB, by its program or from Python, whichever
// there is.
func duckAnswers(t *testing.T) func(sql string) ([][]string, error) {
	t.Helper()
	if python := os.Getenv("LAKEFEED_PYTHON"); python != "" && os.Getenv("LAKEFEED_DUCKDB") == "" {
		const script = `import csv, duckdb, sys
r = duckdb.sql(sys.stdin.read())
w = csv.writer(sys.stdout)
w.writerow(r.columns)
w.writerows([["` + null + `" if v is None else v for v in row] for row in r.fetchall()])`
		return func(sql string) ([][]string, error) { return duckAnswer(exec.Command(python, "-c", script), sql) }
	}
	program := duckDB(t)
	return func(sql string) ([][]string, error) { return duckAnswer(exec.Command(program, duckFlags...), sql) }
}

// quoted is text as a literal of SQL.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
