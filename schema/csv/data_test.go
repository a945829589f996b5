package csv_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema/csv"
)

// dataFolder is the folder of larger test data; the test is skipped without it.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LAKEFEED_TESTDATA")
	if dir == "" {
		if os.Getenv("LAKEFEED_REQUIRE_DATA") == "1" {
			t.Fatal("LAKEFEED_TESTDATA is not set")
		}
		t.Skip("LAKEFEED_TESTDATA is not set")
	}
	return dir
}

// mustBeRight are the parts of the data that have to come out right; the rest is
// only counted.
var mustBeRight = []string{"csse_daily/", "nycflights13/", "openflights/", "csv-spectrum/", "fivethirtyeight/", "vega/", "tpch/"}

// TestFiles sniffs and splits every file of the data of which the right answer
// is known.
func TestFiles(t *testing.T) {
	dir := dataFolder(t)
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(manifest), "\n"), "\n")
	column := map[string]int{}
	for i, name := range strings.Split(lines[0], "\t") {
		column[name] = i
	}
	right, all := 0, 0
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		get := func(name string) string {
			if i := column[name]; i < len(cells) {
				return cells[i]
			}
			return ""
		}
		name := get("path")
		if get("expected_rows") == "" || strings.HasSuffix(name, ".gz") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		all++
		wantHeader := get("expected_header")
		got, wrong := sniffFile(t, text)
		if rows, _ := strconv.Atoi(get("expected_rows")); rows != got.rows {
			wrong = append(wrong, "rows "+strconv.Itoa(got.rows)+", want "+get("expected_rows"))
		}
		if cols, err := strconv.Atoi(get("expected_cols")); err == nil && cols != got.found.Width {
			wrong = append(wrong, "columns "+strconv.Itoa(got.found.Width)+", want "+get("expected_cols"))
		}
		var names []string
		if json.Unmarshal([]byte(wantHeader), &names) == nil {
			if strings.Join(names, "\x00") != strings.Join(got.found.Columns, "\x00") {
				wrong = append(wrong, "header "+strconv.Quote(strings.Join(got.found.Columns, "|")))
			}
		} else if strings.HasPrefix(wantHeader, "NO HEADER") && got.found.Dialect.Header {
			wrong = append(wrong, "a header was found")
		}
		if len(wrong) == 0 {
			right++
			continue
		}
		report := t.Logf
		for _, p := range mustBeRight {
			if strings.HasPrefix(name, p) {
				report = t.Errorf
			}
		}
		d, _ := json.Marshal(got.found.Dialect)
		report("%s: %s %s", name, strings.Join(wrong, "; "), d)
	}
	t.Logf("%d of %d files are right", right, all)
}

type sniffed struct {
	found csv.Found
	rows  int
}

func sniffFile(t *testing.T, text []byte) (sniffed, []string) {
	sample := text[:min(len(text), 1<<20)]
	found, err := csv.Sniff(sample, len(sample) == len(text))
	if err != nil {
		return sniffed{found: found}, []string{err.Error()}
	}
	var r io.Reader = bytes.NewReader(text)
	if found.Dialect.ByteOffsets() {
		r = bytes.NewReader(text[found.Body:])
	}
	s := csv.NewSplitter(r, found.Dialect, found.Options())
	rows := 0
	var wrong []string
	for {
		row, err := s.Next()
		if err == io.EOF {
			return sniffed{found, rows}, wrong
		}
		if err != nil {
			t.Fatal(err)
		}
		if row.Rule == csv.Footer || row.Rule == csv.SecondTable {
			continue
		}
		if row.Rule != "" && len(wrong) < 3 {
			wrong = append(wrong, row.Rule+" on line "+strconv.FormatInt(row.Line, 10))
		}
		rows++
	}
}

// TestSpectrum compares every cell of csv-spectrum with the answers that stand
// beside it.
func TestSpectrum(t *testing.T) {
	dir := filepath.Join(dataFolder(t), "csv-spectrum")
	names, err := filepath.Glob(filepath.Join(dir, "csvs", "*.csv"))
	if err != nil || len(names) != 12 {
		t.Fatalf("%d files, want 12: %v", len(names), err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".csv")
		if base == "location_coordinates" {
			continue // its answer has another telephone number
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := os.ReadFile(filepath.Join(dir, "json", base+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want []map[string]string
		if err := json.Unmarshal(answer, &want); err != nil {
			t.Fatal(err)
		}
		found, err := csv.Sniff(text, true)
		if err != nil {
			t.Fatal(err)
		}
		s := csv.NewSplitter(bytes.NewReader(text[found.Body:]), found.Dialect, found.Options())
		var got []map[string]string
		for {
			if _, err := s.Next(); err != nil {
				break
			}
			row := map[string]string{}
			for i, cell := range s.Cells(nil) {
				row[found.Columns[i]] = string(cell.Text)
			}
			got = append(got, row)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", base, diff)
		}
	}
}
