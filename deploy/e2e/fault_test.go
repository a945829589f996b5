package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lakefeed/schema/fault"
)

// At each point in turn a run fails, and another is killed; the next run finds
// every row once, and what must hold of a lake has held in between.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	const rows = 25_000
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, rows/2)+"no row\n"+rowsCSV(rows/2, rows))
	writeFile(t, filepath.Join(in, "b.csv"), "extra,text,id\n1,x,"+fmt.Sprint(rows)+"\n2,y,"+fmt.Sprint(rows+1)+"\n")
	for _, point := range fault.Points {
		for _, action := range []string{"fail", "kill"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				lake := filepath.Join(t.TempDir(), "lake")
				args := []string{"ingest", "-o", "json", in, "--lake", lake, "--table", "rows", "--flush-size", "300kB", "--partition-by", "extra", "--meta"}
				// The first passing of a point, and later ones where it is passed
				// more often; the run after that goes through.
				passings := 2
				var w watcher
				if point == fault.ObjectCreate {
					passings = 8 // what a table consists of
				}
				for n := 1; n <= passings; n++ {
					r := run(t, append(args, "--fault", fmt.Sprintf("%s:%d:%s", point, n, action))...)
					switch {
					case action == "kill" && r.code == -1:
					case action == "fail" && r.code != 0 && strings.Contains(r.stderr, point):
					case n > 1 && r.code == 0: // nothing was left to do at this point
					case point == fault.CatalogWrite || point == fault.CheckpointWrite || point == fault.CheckpointWritten:
						// Worth a warning only, where it can be made good later.
						if r.code != 0 {
							t.Fatalf("passing %d: %v", n, r)
						}
					default:
						t.Fatalf("passing %d: the point was not passed, or its fault not told: %v", n, r)
					}
					checkInvariants(t, lake, "rows")
					w.look(t, lake, "rows", 2)
				}
				ok(t, args...)
				readTable(t, lake, "rows").eachOnce(t, "id", rows+2)
				if x, all := checkInvariants(t, lake, "rows"), int64(rows+3); x != (restLake{complete: all, rows: all}) {
					t.Errorf("at the end the lake is %+v, want all %d rows of complete streams and nothing else", x, all)
				}
				w.look(t, lake, "rows", 2)
				if s := parse(t, ok(t, args...)); s.Sent != 0 || s.Rows != 0 || s.Total.Rows != rows+2 {
					t.Errorf("one more run: %+v", s)
				}
			})
		}
	}
}

// noRowTwice checks what readers see while a run has not been made good.
func noRowTwice(t *testing.T, lake string) {
	t.Helper()
	if !exists(filepath.Join(lake, "rows")) {
		return
	}
	seen := map[string]bool{}
	for _, c := range readTable(t, lake, "rows").columns["id"] {
		if seen[c.text] {
			t.Fatalf("row %s is there twice", c.text)
		}
		seen[c.text] = true
	}
}
