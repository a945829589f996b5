package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"
)

// What has to be true of a lake at rest, whatever became of the runs that wrote
// it. It is read here from the objects as lake-layout.md describes them, by code
// that shares nothing with the code that wrote them.

// checker is told what is wrong.
type checker interface {
	tester
	Errorf(format string, args ...any)
}

type restRecord struct {
	Kind          string
	Seq, From, To int64
	Prev, Attempt string
	Schema        int64
	Files         []restFile
	Replaces      map[string]restFile
	Lost          []string
	Retires       []struct {
		Key  string
		Rows int64
	}
	Streams []struct {
		ID     string
		Next   int64
		Holes  [][2]int64
		Count  *int64
		Status string
	}
	Skipped []struct{ From, To int64 }
	Counts  struct{ Rows, Quarantined, Ends, Skipped, Filtered int64 }
}

type restFile struct {
	Table, Key string
	Staged     struct{ Upload string }
	Size, Rows int64
}

// added are the files that a record makes visible.
func (r *restRecord) added() []restFile {
	out := slices.Clone(r.Files)
	for _, key := range sorted(r.Replaces) {
		out = append(out, r.Replaces[key])
	}
	return out
}

// restLake is a table of a lake at rest.
type restLake struct {
	complete int64 // rows of streams that are complete
	open     int   // streams that are not
	pending  int   // files that the newest record of a chain lists, and that are not published
	rows     int64 // that readers see, those in quarantine included
}

// checkInvariants checks the first generation of a table that was made with --meta.
func checkInvariants(t checker, lake, name string) (out restLake) {
	t.Helper()
	return checkGeneration(t, lake, name, 1)
}

// checkGeneration checks one generation of a table that was made with --meta.
func checkGeneration(t checker, lake, name string, generation int) (out restLake) {
	t.Helper()
	state := filepath.Join(lake, "_lakefeed", name)
	build := fmt.Sprintf("g%d", generation)
	listed := map[string]restFile{} // files that should be there, by key
	gone := map[string]bool{}       // and those that were given up or replaced
	retired := map[string]bool{}    // of them, those that a replay took out of the quarantine
	pending := map[string]bool{}    // of the newest records
	staged := map[string]bool{}     // uploads of all but the newest records
	rows := map[string]string{}     // where each row is, by source and number
	for _, chain := range globbed(t, filepath.Join(state, build, "commits", "*", "*")) {
		records := readChain(t, chain)
		streams := map[string]bool{}
		counts := map[string]int64{}
		for i, r := range records {
			for _, f := range r.added() {
				if _, twice := listed[f.Key]; twice {
					t.Errorf("%s is listed twice", f.Key)
				}
				listed[f.Key] = f
				pending[f.Key] = i == len(records)-1
				if i < len(records)-1 {
					staged[f.Staged.Upload] = true
				}
			}
			for key := range r.Replaces {
				gone[key] = true
			}
			for _, f := range r.Retires {
				if old, ok := listed[f.Key]; !ok || old.Table != "quarantine" || old.Rows != f.Rows || retired[f.Key] && r.Kind == "replay" {
					t.Errorf("record %d of %s retires %s, which it cannot", r.Seq, chain, f.Key)
				}
				gone[f.Key], retired[f.Key] = true, true
			}
			for _, key := range r.Lost {
				gone[key] = true
			}
			for _, s := range r.Streams {
				streams[s.ID] = s.Count != nil && s.Next == *s.Count && len(s.Holes) == 0
				if streams[s.ID] {
					counts[s.ID] = *s.Count
				}
			}
			if r.Schema > 0 && !exists(filepath.Join(state, build, "schema", fmt.Sprintf("%020d.json", r.Schema))) {
				t.Errorf("record %d of %s is written in schema version %d, which there is not", r.Seq, chain, r.Schema)
			}
		}
		for id, complete := range streams {
			if complete {
				out.complete += counts[id]
			} else {
				out.open++
			}
		}
	}
	seen := map[string]bool{}
	suffix := ""
	if generation > 1 {
		suffix = "." + build
	}
	for _, folder := range []string{name + suffix, name + "__quarantine" + suffix} {
		if !exists(filepath.Join(lake, folder)) {
			continue
		}
		for _, path := range dataFiles(t, filepath.Join(lake, folder)) {
			key, err := filepath.Rel(lake, path)
			if err != nil {
				t.Fatal(err)
			}
			key = filepath.ToSlash(key)
			seen[key] = true
			if retired[key] {
				t.Errorf("%s can be seen, and its rows are elsewhere", key)
				continue
			}
			f, ok := listed[key]
			if !ok {
				t.Errorf("%s can be seen and no record lists it", key)
				continue
			}
			out.rows += f.Rows
			f.check(t, path, rows)
		}
	}
	for _, key := range sorted(listed) {
		switch {
		case seen[key] || gone[key]:
		case pending[key]:
			out.pending++
		default:
			t.Errorf("%s is listed by a record that has another behind it, and is not published", key)
		}
	}
	for _, path := range leftovers(t, lake, name) {
		upload, err := filepath.Rel(lake, path)
		if err != nil {
			t.Fatal(err)
		}
		if staged[filepath.ToSlash(upload)] {
			t.Errorf("%s is staged still, and listed by a record that has another behind it", upload)
		}
	}
	return out
}

// readChain reads a chain's records and checks that they hang together.
func readChain(t checker, folder string) (records []restRecord) {
	t.Helper()
	for i, name := range globbed(t, filepath.Join(folder, "*.json")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r restRecord
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if filepath.Base(name) != fmt.Sprintf("%020d.json", i) || r.Seq != int64(i) {
			t.Fatalf("%s: it is record %d, at place %d of its chain", name, r.Seq, i)
		}
		before := restRecord{}
		if i > 0 {
			before = records[i-1]
		}
		if r.Prev != before.Attempt || r.Kind != "reset" && r.From != before.To {
			t.Errorf("%s: it goes on at offset %d behind attempt %q; the record before it is attempt %q and ends at %d", name, r.From, r.Prev, before.Attempt, before.To)
		}
		switch r.Kind {
		case "rows":
			r.account(t, name)
		case "replay":
			n := r.Counts.Rows + r.Counts.Quarantined + r.Counts.Filtered
			for _, f := range r.Retires {
				n -= f.Rows
			}
			if n != 0 || r.From != r.To {
				t.Errorf("%s: it accounts for %d rows more than it retires, and moves from %d to %d", name, n, r.From, r.To)
			}
		}
		records = append(records, r)
	}
	return records
}

// account checks that each offset is a row, an end, or skipped for a reason.
func (r *restRecord) account(t checker, name string) {
	t.Helper()
	c := r.Counts
	if n := c.Rows + c.Quarantined + c.Ends + c.Skipped; n != r.To-r.From {
		t.Errorf("%s: %d offsets, of which %d are accounted for", name, r.To-r.From, n)
	}
	inFiles, skipped, end := map[string]int64{}, int64(0), r.From
	for _, f := range r.Files {
		inFiles[f.Table] += f.Rows
	}
	for _, s := range r.Skipped {
		if s.From < end || s.To <= s.From || s.To > r.To {
			t.Errorf("%s: offsets %d to %d are skipped out of order", name, s.From, s.To)
		}
		skipped, end = skipped+s.To-s.From, s.To
	}
	if inFiles["main"] != c.Rows || inFiles["quarantine"] != c.Quarantined || skipped != c.Skipped {
		t.Errorf("%s: it counts %+v, lists files of %v rows, and skips %d", name, c, inFiles, skipped)
	}
}

// check holds a file that readers see against what its record says of it, and
// its rows against those of all other files.
func (f *restFile) check(t checker, path string, rows map[string]string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	n := p.NumRows()
	p.Close()
	if info.Size() != f.Size || n != f.Rows {
		t.Errorf("%s has %d rows in %d bytes, its record says %d in %d", path, n, info.Size(), f.Rows, f.Size)
	}
	x := &table{columns: map[string][]cell{}, types: map[string]string{}}
	x.read(t, path, ".")
	source, number, offset := "_source", "_row", "_offset"
	if f.Table == "quarantine" {
		source, number, offset = "source", "row", "offset"
	}
	// part-<topic>-<topic partition>-<seq>-<from>-<to>-…
	part := strings.Split(filepath.Base(path), "-")
	from, to := atoi(t, part[4]), atoi(t, part[5])
	for i := range x.rows {
		id := x.columns[source][i].text + " row " + x.columns[number][i].text
		if other, twice := rows[id]; twice {
			t.Fatalf("%s is in %s and in %s", id, other, path)
		}
		rows[id] = path
		if o := atoi(t, x.columns[offset][i].text); o >= to || o < from && from < to { // a replay has offsets of before
			t.Fatalf("%s: %s has the offset %d", path, id, o)
		}
	}
}

func atoi(t checker, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func globbed(t checker, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// recorder keeps what is wrong.
type recorder struct{ found []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}

// What is done to a lake that breaks an invariant is noticed.
func TestInvariantsAreChecked(t *testing.T) {
	t.Parallel()
	good := t.TempDir()
	writeFile(t, filepath.Join(good, "rows.csv"), rowsHeader+rowsCSV(0, 20_000))
	ok(t, "ingest", filepath.Join(good, "rows.csv"), "--lake", filepath.Join(good, "lake"), "--meta", "--flush-size", "200kB", "--partitions", "1")
	lake := ""
	record := func(n int) string {
		return globbed(t, filepath.Join(lake, "_lakefeed/rows/g1/commits/rows/*/*.json"))[n]
	}
	data := func(n int) string { return globbed(t, filepath.Join(lake, "rows", "*.parquet"))[n] }
	replace := func(n int, before, after string) {
		text := readFile(t, record(n))
		if !strings.Contains(text, before) {
			t.Fatalf("there is no %s in %s", before, text)
		}
		writeFile(t, record(n), strings.Replace(text, before, after, 1))
	}
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		harm  func()
		found string
	}{
		{"nothing", func() {}, ""},
		{"file of no record", func() { writeFile(t, filepath.Join(lake, "rows", "more.parquet"), "x") }, "no record lists it"},
		{"rows twice", func() { writeFile(t, data(1), readFile(t, data(0))) }, " is in "},
		{"file of another size", func() { appendFile(t, data(0), "x") }, ""},
		{"unpublished", func() { move(data(0), filepath.Join(lake, "rows", "_"+filepath.Base(data(0)))) }, "is not published"},
		{"hole", func() { move(record(1), filepath.Join(lake, "record")) }, "at place 1 of its chain"},
		{"another attempt before", func() { replace(1, `"prev":"`, `"prev":"0`) }, "behind attempt"},
		{"offsets left out", func() { replace(1, `"from":`, `"from":1`) }, "it goes on at offset"},
		{"offset not accounted for", func() { replace(0, `"counts":{"rows":`, `"counts":{"rows":1`) }, "are accounted for"},
		{"file listed twice", func() { writeFile(t, record(1), strings.Replace(readFile(t, record(0)), `"seq":0`, `"seq":1`, 1)) }, "is listed twice"},
		{"unknown schema", func() { replace(0, `"schema":1`, `"schema":7`) }, "schema version 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lake = filepath.Join(t.TempDir(), "lake")
			if err := os.CopyFS(lake, os.DirFS(filepath.Join(good, "lake"))); err != nil {
				t.Fatal(err)
			}
			test.harm()
			var r recorder
			func() {
				defer func() {
					if p := recover(); p != nil && p != any(&r) {
						panic(p)
					}
				}()
				checkInvariants(&r, lake, "rows")
			}()
			all := strings.Join(r.found, "\n")
			if clean := test.name == "nothing"; clean != (len(r.found) == 0) || !strings.Contains(all, test.found) {
				t.Errorf("found %q, want %q", all, test.found)
			}
		})
	}
}
