package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// cell is a value as text; ok is false for null, and for a column that the
// value's file has not.
type cell struct {
	text string
	ok   bool
}

// table is a whole table, by columns. Rows are in no order.
type table struct {
	rows    int
	files   int
	columns map[string][]cell
	types   map[string]string
	rescued []map[string]string // by row, nil for none
}

// tester is what reading a table needs of a test, or of a script.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// dataFiles lists what a reader of the Hive family takes for the table's data.
func dataFiles(t tester, folder string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), ".")
		switch {
		case hidden && d.IsDir():
			return fs.SkipDir
		case !hidden && !d.IsDir():
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// readTable reads a table of a lake with arrow-go.
func readTable(t tester, lake, name string) *table {
	t.Helper()
	folder := filepath.Join(lake, name)
	out := &table{columns: map[string][]cell{}, types: map[string]string{}}
	for _, f := range dataFiles(t, folder) {
		out.files++
		rel, err := filepath.Rel(folder, filepath.Dir(f))
		if err != nil {
			t.Fatal(err)
		}
		out.read(t, f, filepath.ToSlash(rel))
	}
	out.pad(out.rows)
	return out
}

func (x *table) read(t tester, name, partition string) {
	t.Helper()
	f, err := file.OpenParquetFile(name, false)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	read, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer read.Release()
	records := array.NewTableReader(read, 0)
	defer records.Release()
	for records.Next() {
		record := records.RecordBatch()
		n := int(record.NumRows())
		for i, column := range record.Columns() {
			name := record.ColumnName(i)
			if name == "_rescued" {
				x.rescued = append(x.rescued, rescuedOf(column.(*array.Map))...)
				continue
			}
			cells := x.pad(x.rows, name)
			for row := range n {
				c := cell{}
				if !column.IsNull(row) {
					c = cell{textOf(column, row), true}
				}
				cells = append(cells, c)
			}
			x.columns[name] = cells
			x.typed(t, name, column.DataType().String())
		}
		if partition != "." {
			for folder := range strings.SplitSeq(partition, "/") {
				name, value, _ := strings.Cut(folder, "=")
				c := cell{}
				if value != "__HIVE_DEFAULT_PARTITION__" {
					if value, err = url.PathUnescape(value); err != nil {
						t.Fatal(err)
					}
					c = cell{value, true}
				}
				x.columns[name] = append(x.pad(x.rows, name), slices.Repeat([]cell{c}, n)...)
				x.typed(t, name, "partition")
			}
		}
		x.rows += n
	}
	if err := records.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// typed fails when two files have one column in two types. Decimals of one scale are
// one: engines read them as the one with more digits.
func (x *table) typed(t tester, name, typ string) {
	t.Helper()
	scale := func(typ string) string {
		if digits, rest, ok := strings.Cut(typ, ", "); ok && strings.HasPrefix(digits, "decimal(") {
			return rest
		}
		return typ
	}
	if before, seen := x.types[name]; seen && scale(before) != scale(typ) {
		t.Fatalf("column %s is %s in one file and %s in another", name, before, typ)
	}
	x.types[name] = typ
}

// pad fills columns up with nulls: the one that is named, which it gives, or all.
func (x *table) pad(rows int, names ...string) (cells []cell) {
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(x.columns))
	}
	for _, name := range names {
		cells = x.columns[name]
		cells = append(cells, make([]cell, rows-len(cells))...)
		x.columns[name] = cells
	}
	return cells
}

func rescuedOf(m *array.Map) []map[string]string {
	out := make([]map[string]string, m.Len())
	keys, items := m.Keys().(*array.String), m.Items().(*array.String)
	for row := range out {
		if m.IsNull(row) {
			continue
		}
		out[row] = map[string]string{}
		from, to := m.ValueOffsets(row)
		for i := int(from); i < int(to); i++ {
			out[row][keys.Value(i)] = items.Value(i)
		}
	}
	return out
}

// textOf is a value in the normal form of its type.
func textOf(column arrow.Array, row int) string {
	switch c := column.(type) {
	case *array.Int64:
		return strconv.FormatInt(c.Value(row), 10)
	case *array.Float64:
		return strconv.FormatFloat(c.Value(row), 'g', -1, 64)
	case *array.String:
		return c.Value(row)
	case *array.Binary:
		return string(c.Value(row))
	case *array.Date32:
		return c.Value(row).ToTime().Format(time.DateOnly)
	case *array.Timestamp:
		typ := c.DataType().(*arrow.TimestampType)
		text := c.Value(row).ToTime(typ.Unit).UTC().Format("2006-01-02T15:04:05.999")
		if typ.TimeZone != "" {
			text += "Z"
		}
		return text
	}
	return column.ValueStr(row)
}

// list is a column's values, nulls as "~", in order.
func (x *table) list(name string) []string {
	out := make([]string, 0, x.rows)
	for _, c := range x.columns[name] {
		if !c.ok {
			c.text = "~"
		}
		out = append(out, c.text)
	}
	slices.Sort(out)
	return out
}

// sum adds up a column of whole numbers and counts what is not null.
func (x *table) sum(t *testing.T, name string) (sum int64, count int) {
	t.Helper()
	for _, c := range x.columns[name] {
		if !c.ok {
			continue
		}
		n, err := strconv.ParseInt(c.text, 10, 64)
		if err != nil {
			t.Fatalf("column %s: %v", name, err)
		}
		sum, count = sum+n, count+1
	}
	return sum, count
}

// eachOnce checks that column id has 0 to n-1, each once.
func (x *table) eachOnce(t *testing.T, id string, n int) {
	t.Helper()
	if x.rows != n {
		t.Errorf("the lake has %d rows, want %d", x.rows, n)
	}
	seen := make(map[string]int, n)
	for _, c := range x.columns[id] {
		seen[c.text]++
	}
	missing, doubled := 0, 0
	for i := range n {
		switch k := seen[strconv.Itoa(i)]; {
		case k == 0:
			missing++
		case k > 1:
			doubled++
		}
	}
	if missing+doubled > 0 || len(seen) != n {
		t.Errorf("of %d rows %d are missing and %d there more than once; %d different ids", n, missing, doubled, len(seen))
	}
}

// leftovers are files that were staged and neither published nor discarded.
func leftovers(t tester, lake, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(lake, "_lakefeed", name, "staged", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// commits counts the records of a table's chains.
func commits(lake, name string) int {
	files, _ := filepath.Glob(filepath.Join(lake, "_lakefeed", name, "g1", "commits", "*", "*", "*.json"))
	return len(files)
}

// duck asks DuckDB for one row. It skips the test where there is no Python with
// DuckDB in it.
func duck(t *testing.T, query string) []any {
	t.Helper()
	return python(t, `import duckdb, json, sys
print(json.dumps([str(v) if v is not None else None for v in duckdb.sql(sys.argv[1]).fetchall()[0]]))`, query)
}

// python runs a script that prints a list as JSON.
func python(t *testing.T, script string, args ...string) (out []any) {
	t.Helper()
	needPython(t)
	cmd := exec.Command(os.Getenv("LAKEFEED_PYTHON"), append([]string{"-c", script}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("python printed %q: %v", b, err)
	}
	return out
}

func needPython(t *testing.T) {
	t.Helper()
	if os.Getenv("LAKEFEED_PYTHON") == "" {
		t.Skip("LAKEFEED_PYTHON is not set: it names a python3 that has duckdb and pyarrow, a second opinion on what is in the lake")
	}
}

// testdata is the folder of larger test data.
func testdata(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("LAKEFEED_TESTDATA")
	if dir == "" {
		if os.Getenv("LAKEFEED_REQUIRE_DATA") == "1" {
			t.Fatal("LAKEFEED_TESTDATA is not set, and LAKEFEED_REQUIRE_DATA=1")
		}
		t.Skip("LAKEFEED_TESTDATA is not set: it names the folder of larger test data")
	}
	if name = filepath.Join(dir, name); !exists(name) {
		if os.Getenv("LAKEFEED_REQUIRE_DATA") == "1" {
			t.Fatalf("%s is not there, and LAKEFEED_REQUIRE_DATA=1", name)
		}
		t.Skipf("%s is not there", name)
	}
	return name
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// rowsCSV is a CSV of rows id,text,amount for ids from <= id < to, without header.
func rowsCSV(from, to int) string {
	var b strings.Builder
	for id := from; id < to; id++ {
		fmt.Fprintf(&b, "%d,\"row %d, of %d\",%d.5\n", id, id, to, id%1000)
	}
	return b.String()
}

const rowsHeader = "id,text,amount\n"
