package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"lakefeed/schema/fault"
)

// rebuildLake has a table with rows that were rescued for their type, in two topic
// partitions.
func rebuildLake(t *testing.T) (dir string, rows int) {
	t.Helper()
	dir = t.TempDir()
	var ints, doubles strings.Builder
	ints.WriteString("id,v\n")
	doubles.WriteString("id,v\n")
	for i := range 2000 {
		fmt.Fprintf(&ints, "%d,%d\n", i, i)
		fmt.Fprintf(&doubles, "%d,%d.5\n", 2000+i, i)
	}
	for i, text := range []string{ints.String(), doubles.String()} {
		for n := range 2 { // streams of both topic partitions, most probably
			writeFile(t, filepath.Join(dir, "in", fmt.Sprintf("%d-%d.csv", i, n)), text)
		}
		ok(t, "ingest", filepath.Join(dir, "in"), "--lake", filepath.Join(dir, "lake"), "--table", "rows", "--meta", "--flush-size", "10kB")
	}
	return dir, 8000
}

// visibleRows is how many rows a reader finds who reads what `files` lists.
func visibleRows(t *testing.T, lake string) int {
	t.Helper()
	r := run(t, "files", "rows", "--lake", lake)
	if r.code != 0 {
		t.Fatalf("files: %v", r)
	}
	x := &table{columns: map[string][]cell{}, types: map[string]string{}}
	for _, f := range strings.Fields(r.stdout) {
		x.read(t, f, ".")
	}
	seen := map[string]bool{}
	x.pad(x.rows)
	for i, c := range x.columns["_source"] {
		key := c.text + ":" + x.columns["_row"][i].text
		if seen[key] {
			t.Fatalf("row %s is there twice", key)
		}
		seen[key] = true
	}
	return len(seen)
}

// At each point of a rebuild and of its swap a run fails, and another is killed. A
// reader sees every row all the while, the feed goes on in between, and the next
// rebuild comes to its end.
func TestRebuildFaultPoints(t *testing.T) {
	t.Parallel()
	points := fault.RebuildPoints
	if !testing.Short() {
		points = append(append([]string{}, points...), fault.BatchTaken, fault.SchemaAppend, fault.SchemaAppended, fault.FileStage, fault.FileStaged,
			fault.RecordCreate, fault.RecordCreated, fault.FilePublish, fault.FilePublished, fault.CheckpointWrite, fault.CheckpointWritten, fault.ObjectCreate)
	}
	base, rows := rebuildLake(t)
	for _, point := range points {
		for _, action := range []string{"fail", "kill"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				lake, passed := filepath.Join(dir, "lake"), false
				for n := 1; n <= 3; n++ {
					r := run(t, "rebuild", "rows", "--lake", lake, "--flush-size", "20kB", "--fault", fmt.Sprintf("%s:%d:%s", point, n, action))
					switch {
					case r.code == 0 && (n > 1 || point == fault.CatalogWrite || point == fault.CheckpointWrite || point == fault.CheckpointWritten):
					case action == "kill" && r.code == -1, action == "fail" && r.code != 0 && strings.Contains(r.stderr, point):
						passed = true
					default:
						t.Fatalf("passing %d: the point was not passed, or its fault not told: %v", n, r)
					}
					if have := visibleRows(t, lake); have != rows {
						t.Fatalf("passing %d: %d rows are visible, want %d", n, have, rows)
					}
					if n == 2 { // the feed goes on, and takes what was begun to its end
						writeFile(t, filepath.Join(dir, "in", "more.csv"), "id,v\n9000,1\n9001,2.5\n")
						ok(t, "ingest", filepath.Join(dir, "in", "more.csv"), "--lake", lake, "--table", "rows", "--meta")
						if have := visibleRows(t, lake); have != rows+2 {
							t.Fatalf("after more was taken %d rows are visible, want %d", have, rows+2)
						}
						ok(t, "rebuild", "rows", "--lake", lake, "--flush-size", "20kB")
						if have := visibleRows(t, lake); have != rows+2 {
							t.Fatalf("after the rebuild %d rows are visible, want %d", have, rows+2)
						}
						break
					}
				}
				if !passed && point != fault.CatalogWrite && point != fault.CheckpointWrite && point != fault.CheckpointWritten {
					t.Error("the point was never passed")
				}
				ok(t, "audit", "rows", "--lake", lake)
				live := generationOf(t, lake)
				if live < 2 {
					t.Fatalf("generation %d is live", live)
				}
				checkGeneration(t, lake, "rows", live)
				x := readTable(t, lake, fmt.Sprintf("rows.g%d", live))
				if len(x.columns["_rescued.v"]) > 0 || x.types["v"] != "float64" {
					t.Errorf("v is %s, and has rescued cells: %v", x.types["v"], len(x.columns["_rescued.v"]) > 0)
				}
			})
		}
	}
}

// generationOf is the generation that `files` reads.
func generationOf(t *testing.T, lake string) int {
	t.Helper()
	r := run(t, "files", "rows", "--lake", lake)
	_, state, _ := strings.Cut(r.stderr, " at g")
	number, _, _ := strings.Cut(state, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("files: %v", r)
	}
	return n
}

// A reader in a loop sees all rows, each once, while generations are built, swapped,
// taken back and cancelled.
func TestRebuildUnderReaders(t *testing.T) {
	t.Parallel()
	dir, rows := rebuildLake(t)
	lake := filepath.Join(dir, "lake")
	stop := make(chan struct{})
	var reading sync.WaitGroup
	looks := 0
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if have := visibleRows(t, lake); have != rows {
				t.Errorf("a reader sees %d rows, want %d", have, rows)
				return
			}
			looks++
		}
	})
	for _, flags := range []string{"", "--rollback", "--rollback", "--keep", "--cancel", "--rollback"} {
		ok(t, append([]string{"rebuild", "rows", "--lake", lake, "--flush-size", "20kB"}, strings.Fields(flags)...)...)
	}
	close(stop)
	reading.Wait()
	if looks < 3 {
		t.Errorf("the reader looked %d times", looks)
	}
	ok(t, "audit", "rows", "--lake", lake, "--deep")
}
