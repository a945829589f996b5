package duckdb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink/query"
)

type result struct {
	columns []string
	rows    [][]any
}

func (r *result) Columns(c []query.Column) error {
	for _, col := range c {
		r.columns = append(r.columns, col.Name)
	}
	return nil
}

func (r *result) Row(values []any) error {
	r.rows = append(r.rows, append([]any{}, values...))
	return nil
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		csv     string
		columns []string
		rows    [][]any
	}{
		"nothing":      {"", nil, nil},
		"no rows":      {"a,b\n", []string{"a", "b"}, nil},
		"cells":        {"a,b\n1,x\nNIL,\"NI\"\"L\"\n", []string{"a", "b"}, [][]any{{"1", "x"}, {nil, `NI"L`}}},
		"empty":        {"a,b\n,\n", []string{"a", "b"}, [][]any{{"", ""}}},
		"one empty":    {"a\n\n\"\"\n", []string{"a"}, [][]any{{""}, {""}}},
		"line ends":    {"a,b\r\n\"x\r\ny\",\"\n\"\r\n", []string{"a", "b"}, [][]any{{"x\r\ny", "\n"}}},
		"no last line": {"a\n1", []string{"a"}, [][]any{{"1"}}},
		"commas":       {"\"a,b\",c\n\"1,2\",3\n", []string{"a,b", "c"}, [][]any{{"1,2", "3"}}},
	} {
		var got result
		if err := read(strings.NewReader(c.csv), "NIL", &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.columns, got.columns); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.rows, got.rows); diff != "" {
			t.Errorf("%s: rows (-want +got):\n%s", name, diff)
		}
	}
}

func TestPrelude(t *testing.T) {
	e := Engine{S3: true, Endpoint: "http://minio:9000", Views: []View{{`a"b`, "s3://b/it's[1]"}}}
	want := "INSTALL httpfs;\nLOAD httpfs;\nSET s3_url_style='path';\n" +
		`CREATE VIEW "a""b" AS SELECT * FROM read_parquet('s3://b/it''s[[]1]/**/*.parquet', hive_partitioning=true, union_by_name=true);` + "\n"
	if diff := cmp.Diff(want, e.prelude()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DUCKDB_S3_ENDPOINT=minio:9000", "DUCKDB_S3_USE_SSL=false"}, e.environment()); diff != "" {
		t.Error(diff)
	}
}
