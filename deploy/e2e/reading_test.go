package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The Python in deploy/docs/reading.md runs as it stands, and finds the rows that
// the lake has. LAKEFEED_PYTHON names an interpreter; a snippet whose modules that
// lacks is skipped.
func TestReading(t *testing.T) {
	python := os.Getenv("LAKEFEED_PYTHON")
	if python == "" {
		t.Skip("LAKEFEED_PYTHON names no interpreter")
	}
	folder := t.TempDir()
	lake := filepath.Join(folder, "lake")
	ok(t, "ingest", filepath.Join(module, "deploy/sample/flights"), "--lake", lake, "--partition-by", "month")
	have := readTable(t, lake, "flights")
	cancelled := 0
	for _, c := range have.columns["cancelled"] {
		if c.ok {
			cancelled++
		}
	}
	if have.rows == 0 || cancelled == 0 || cancelled == have.rows {
		t.Fatalf("the sample has %d rows, %d with a column that came later: nothing is shown by it", have.rows, cancelled)
	}
	if err := os.Symlink(binary, filepath.Join(folder, "lakefeed")); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, filepath.Join(module, "deploy/docs/reading.md"))
	snippets := regexp.MustCompile("(?s)```python\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(snippets) == 0 {
		t.Fatal("the page has no Python")
	}
	imports := regexp.MustCompile(`(?m)^(?:import|from) (duckdb|polars|pandas|pyarrow|pyspark)\b`)
	for _, snippet := range snippets {
		code := snippet[1]
		modules := imports.FindAllStringSubmatch(code, -1)
		if len(modules) == 0 {
			t.Fatalf("a snippet imports none of the readers:\n%s", code)
		}
		needs := []string{}
		for _, m := range modules {
			needs = append(needs, m[1])
		}
		if strings.Contains(code, "to_pandas()") || strings.Contains(code, ".df()") {
			needs = append(needs, "pandas")
		}
		t.Run(needs[0], func(t *testing.T) {
			for _, module := range needs {
				if exec.Command(python, "-c", "import "+module).Run() != nil {
					t.Skipf("%s has no module %s", python, module)
				}
			}
			cmd := exec.Command(python, "-c", code)
			cmd.Dir, cmd.Env = folder, append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, stderr.String())
			}
			if !has(string(out), have.rows) {
				t.Errorf("it says %q, and the table has %d rows", out, have.rows)
			}
			if strings.Contains(code, "cancelled") && !strings.Contains(code, `columns=["cancelled"]`) && !has(string(out), cancelled) {
				t.Errorf("it says %q, and %d rows have the column that came later", out, cancelled)
			}
		})
	}
}

// has says whether a number is one of those in a text.
func has(text string, n int) bool {
	for _, digits := range regexp.MustCompile(`\d+`).FindAllString(text, -1) {
		if number, err := strconv.Atoi(digits); err == nil && number == n {
			return true
		}
	}
	return false
}
