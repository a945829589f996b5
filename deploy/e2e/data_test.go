package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
)

// readCSV reads a CSV with the standard library's reader, which is not ours.
func readCSV(t *testing.T, name string) (header []string, rows [][]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF"))))
	header, err = r.Read()
	for err == nil {
		var row []string
		if row, err = r.Read(); err == nil {
			rows = append(rows, row)
		}
	}
	if err != io.EOF {
		t.Fatalf("%s: %v", name, err)
	}
	return header, rows
}

// Two months of flights: types as the data set documents them, NA as null, the
// sums of the CSVs, and a second run that adds nothing.
func TestFlights(t *testing.T) {
	t.Parallel()
	source := filepath.Join(testdata(t, "nycflights13"), "flights-2013-*.csv")
	lake := filepath.Join(t.TempDir(), "lake")
	args := []string{source, "--lake", lake, "--table", "flights", "--partition-by", "month"}
	first := ingest(t, args...)
	if first.Rows != 51955 || first.Rescued+first.Quarantined != 0 || first.Total.Partitions != 2 {
		t.Errorf("the summary is %+v", first)
	}
	x := readTable(t, lake, "flights")
	if x.rows != 51955 {
		t.Errorf("%d rows, want 51,955", x.rows)
	}
	for _, c := range first.Columns {
		want := "bigint"
		switch c.Name {
		case "carrier", "tailnum", "origin", "dest":
			want = "string"
		case "time_hour":
			want = "timestamp"
		case "_rescued":
			want = "map<string,string>"
		case "month":
			want = "bigint, partition"
		}
		if c.Type != want {
			t.Errorf("column %s is %s, want %s", c.Name, c.Type, want)
		}
	}
	names, err := filepath.Glob(source)
	if err != nil || len(names) != 2 {
		t.Fatalf("%s: %q, %v", source, names, err)
	}
	type total struct{ Sum, Count int64 }
	want := map[string]total{}
	for _, name := range names {
		header, rows := readCSV(t, name)
		for _, row := range rows {
			for i, cell := range row {
				if n, err := strconv.ParseInt(cell, 10, 64); err == nil && header[i] != "tailnum" {
					want[header[i]] = total{want[header[i]].Sum + n, want[header[i]].Count + 1}
				}
			}
		}
	}
	if len(want) != 14 {
		t.Errorf("%d columns of numbers in the CSVs, want 14", len(want))
	}
	for name, w := range want {
		if sum, n := x.sum(t, name); sum != w.Sum || int64(n) != w.Count {
			t.Errorf("column %s adds up to %d in %d rows, in the CSVs to %d in %d", name, sum, n, w.Sum, w.Count)
		}
	}
	files := dataFiles(t, filepath.Join(lake, "flights"))
	if second := ingest(t, args...); second.Sent != 0 || second.Rows != 0 || second.Total.Rows != 51955 {
		t.Errorf("the second run's summary is %+v", second)
	}
	if again := dataFiles(t, filepath.Join(lake, "flights")); !slices.Equal(files, again) {
		t.Errorf("the second run changed the files:\n%q\n%q", files, again)
	}
	t.Run("duckdb", func(t *testing.T) {
		aggregates := "count(*)"
		for _, name := range slices.Sorted(maps.Keys(want)) {
			aggregates += fmt.Sprintf(", sum(%s)", name)
		}
		aggregates += ", count(nullif(tailnum, 'NA')), count(DISTINCT carrier), min(time_hour), max(time_hour)"
		got := duck(t, strings.Replace(first.Query, "SELECT *", "SELECT "+aggregates, 1))
		csvs := duck(t, fmt.Sprintf("SELECT %s FROM read_csv('%s', nullstr='NA')", aggregates, source))
		if diff := cmp.Diff(csvs, got); diff != "" {
			t.Errorf("DuckDB over the CSVs (-) and over the lake (+):\n%s", diff)
		}
	})
	t.Run("pyarrow", func(t *testing.T) {
		got := python(t, "import sys, json, pyarrow.dataset as d; print(json.dumps([d.dataset(sys.argv[1], partitioning='hive').count_rows()]))", filepath.Join(lake, "flights"))
		if diff := cmp.Diff([]any{51955.0}, got); diff != "" {
			t.Errorf("rows by pyarrow (-want +got):\n%s", diff)
		}
	})
}

// Forty files whose header goes from 6 to 14 columns, with renamed and reordered
// ones and four forms of timestamps: no cell's text is lost.
func TestCSSE(t *testing.T) {
	t.Parallel()
	folder := testdata(t, "csse_daily")
	lake := filepath.Join(t.TempDir(), "lake")
	s := ingest(t, folder, "--lake", lake, "--table", "csse", "--meta")
	x := readTable(t, lake, "csse")
	if len(s.Objects) != 40 || s.Quarantined != 0 || int64(x.rows) != s.Rows {
		t.Errorf("%d rows in the lake; the summary is %+v", x.rows, s)
	}
	if n := len(x.types); n != 16+4 { // _rescued is not among them
		t.Errorf("%d columns, want 16 and the four of --meta: %v", n, x.types)
	}
	place := map[string]map[int]int{} // by source and row number, the row in x
	for i := range x.rows {
		source := filepath.Base(x.columns["_source"][i].text)
		if place[source] == nil {
			place[source] = map[int]int{}
		}
		n, err := strconv.Atoi(x.columns["_row"][i].text)
		if _, twice := place[source][n]; err != nil || twice {
			t.Fatalf("%s has row %s twice, or not as a number: %v", source, x.columns["_row"][i].text, err)
		}
		place[source][n] = i
	}
	expected := expectedRows(t, filepath.Join(filepath.Dir(folder), "MANIFEST.tsv"), "csse_daily/")
	if len(expected) != 40 {
		t.Fatalf("%d files in the manifest", len(expected))
	}
	rescued, cells := 0, 0
	for name, rows := range expected {
		if len(place[name]) != rows {
			t.Errorf("%s has %d rows in the lake, want %d", name, len(place[name]), rows)
		}
		header, records := readCSV(t, filepath.Join(folder, name))
		names := schema.SafeNames(header)
		for n, record := range records {
			i, there := place[name][n]
			if !there {
				t.Fatalf("%s: row %d is not in the lake", name, n)
			}
			for c, text := range record {
				cells++
				if kept, there := x.rescued[i][names[c]]; there {
					rescued++
					if kept != text || x.columns[names[c]][i].ok {
						t.Errorf("%s, row %d, %s: %q was rescued as %q", name, n, names[c], text, kept)
					}
				} else if got := x.columns[names[c]][i]; !sameCell(x.types[names[c]], text, got) {
					t.Errorf("%s, row %d, %s: %q is %+v in the lake", name, n, names[c], text, got)
				}
				if t.Failed() && cells > 1000 {
					t.FailNow()
				}
			}
		}
	}
	if int64(rescued) != s.Rescued {
		t.Errorf("%d cells were rescued, the summary says %d", rescued, s.Rescued)
	}
	t.Logf("%d cells, %d of them rescued", cells, rescued)

	// Pages that hold only nulls, in columns with a dictionary, are what DuckDB is
	// stricter about than others.
	t.Run("duckdb", func(t *testing.T) {
		names := sorted(x.types)
		want := []any{strconv.Itoa(x.rows)}
		aggregates := "count(*)"
		for _, name := range names {
			there := 0
			for _, c := range x.columns[name] {
				if c.ok {
					there++
				}
			}
			want = append(want, strconv.Itoa(there))
			aggregates += ", count(" + name + ")"
		}
		if diff := cmp.Diff(want, duck(t, strings.Replace(s.Query, "SELECT *", "SELECT "+aggregates, 1))); diff != "" {
			t.Errorf("cells that are there, of %q (-want +got):\n%s", names, diff)
		}
	})
}

// sameCell says whether a value in the lake gives a cell's text back, up to the
// normal form of its type.
func sameCell(typ, text string, got cell) bool {
	if !got.ok {
		return text == "" || typ != "utf8" && slices.Contains([]string{"NA", `\N`, "NULL", "null"}, text)
	}
	if got.text == text {
		return true
	}
	if typ == "float64" {
		a, err1 := strconv.ParseFloat(text, 64)
		b, err2 := strconv.ParseFloat(got.text, 64)
		return err1 == nil && err2 == nil && a == b
	}
	if strings.HasPrefix(typ, "timestamp") {
		for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "1/2/2006 15:04", "1/2/06 15:04"} {
			if at, err := time.Parse(layout, text); err == nil {
				return at.Format("2006-01-02T15:04:05") == strings.TrimSuffix(got.text, "Z")
			}
		}
	}
	return false
}

// differs are the files whose rows are counted otherwise than the manifest does,
// with what is in the lake, quarantine included: dialects that the sniffer does
// not tell yet.
var differs = map[string]int{
	// a header that repeats a name, or is like the rows
	"frictionless/duplicate-column.csv": 2, "frictionless/transpose.csv": 3, "rust-csv/strange.csv": 7,
	"pollock_style/csv/file_no_header.csv": 80,
	// several header rows, several tables, text before the header
	"pollock_style/csv/file_header_multirow_2.csv": 82, "pollock_style/csv/file_header_multirow_3.csv": 83,
	"pollock_style/csv/file_multitable_less.csv": 161, "pollock_style/csv/file_multitable_more.csv": 162, "pollock_style/csv/file_multitable_same.csv": 162,
	"pollock_style/csv/file_preamble.csv": 82, "pollock_style/csv/file_preamble_text.csv": 83,
	// spaces as delimiters
	"pollock_style/csv/file_field_delimiter_0x20.csv": 81, "pollock_style/csv/row_field_delimiter_0_0x20.csv": 81,
	// a stray quote that another one closes, lines later
	"pollock_style/csv/row_extra_quote0_col8.csv": 79, "pollock_style/csv/row_extra_quote11_col4.csv": 74, "pollock_style/csv/row_extra_quote13_col2.csv": 76,
	"pollock_style/csv/row_extra_quote14_col1.csv": 77, "pollock_style/csv/row_extra_quote28_col3.csv": 76, "pollock_style/csv/row_extra_quote29_col1.csv": 77,
	"pollock_style/csv/row_extra_quote35_col4.csv": 71,
}

// Every file of the test data goes in, one table a folder: its rows and those in
// quarantine are as many as there are.
func TestAllData(t *testing.T) {
	t.Parallel()
	root := testdata(t, ".")
	expected := expectedRows(t, filepath.Join(root, "MANIFEST.tsv"), "")
	folders := map[string]bool{}
	for name := range expected {
		folders[filepath.Dir(name)] = true
	}
	for _, folder := range sorted(folders) {
		t.Run(strings.ReplaceAll(folder, "/", "_"), func(t *testing.T) {
			t.Parallel()
			lake := filepath.Join(t.TempDir(), "lake")
			// One that is no text, a zip archive, does not keep the others out.
			r := run(t, "ingest", filepath.Join(root, folder), "--lake", lake, "--table", "all", "--meta", "--quarantine-max-share", "100%", "-o", "json")
			if r.code != 0 && !(r.code == 1 && strings.Contains(r.stderr, "zip archive")) {
				t.Fatal(r)
			}
			rows := map[string]int{}
			for table, column := range map[string]string{"all": "_source", "all__quarantine": "source"} {
				if !exists(filepath.Join(lake, table)) {
					continue
				}
				for _, c := range readTable(t, lake, table).columns[column] {
					u, err := url.Parse(c.text)
					if err != nil {
						t.Fatal(err)
					}
					rows[u.Path]++
				}
			}
			for name, want := range expected {
				if filepath.Dir(name) != folder || !strings.HasSuffix(name, ".csv") {
					continue
				}
				if n, known := differs[name]; known {
					if n == want {
						t.Errorf("%s is not among those that differ any more", name)
					}
					want = n
				}
				if got := rows[filepath.Join(root, name)]; got != want {
					t.Errorf("%s: %d rows in the lake and in quarantine, want %d", name, got, want)
				}
			}
		})
	}
}

// expectedRows are the row counts of a manifest for the CSVs below a folder, where
// it knows them.
func expectedRows(t *testing.T, manifest, folder string) map[string]int {
	t.Helper()
	lines := strings.Split(readFile(t, manifest), "\n")
	columns := strings.Split(lines[0], "\t")
	path, rows := slices.Index(columns, "path"), slices.Index(columns, "expected_rows")
	out := map[string]int{}
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		if len(cells) <= rows || cells[rows] == "" || !strings.HasPrefix(cells[path], folder) || !strings.HasSuffix(cells[path], ".csv") {
			continue
		}
		n, err := strconv.Atoi(cells[rows])
		if err != nil {
			t.Fatalf("%s: %v", cells[path], err)
		}
		out[strings.TrimPrefix(cells[path], folder)] = n
	}
	return out
}
