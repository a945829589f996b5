package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// watcher looks at a table time and again, and checks what may only grow: the
// files that readers see (I6), the columns and partitions of the catalog (I9),
// and the one stream that an object of the source is sent as (I11). It keeps an
// eye on the size of what the table remembers with each batch, too (I12).
type watcher struct {
	files   map[string][sha256.Size]byte // by path
	catalog restCatalog
	streams map[string]bool
}

type restCatalog struct {
	Columns []struct{ Name, Type string }
	Swap    int64
	Version int64 `json:"schema_version"`

	Partitions []struct {
		Values   []string
		Location string
		Columns  []struct{ Name, Type string }
	}
}

// Bounds of what one batch leaves: the record of a batch grows with the files
// and streams of that batch, and with nothing that came before; a checkpoint with
// the streams that have not ended.
const (
	recordBase  = 4 << 10
	recordEach  = 8 << 10 // of a file, whose columns have a smallest and a largest value, or of a stream
	streamBytes = 1 << 10 // in a checkpoint
)

// look checks a table that consists of so many objects of the source, at the most.
func (w *watcher) look(t checker, lake, name string, objects int) {
	t.Helper()
	w.lookAtFiles(t, lake, name)
	w.lookAtCatalog(t, lake, name)
	w.lookAtChains(t, lake, name, objects)
}

func (w *watcher) lookAtFiles(t checker, lake, name string) {
	t.Helper()
	seen := map[string][sha256.Size]byte{}
	for _, folder := range []string{name, name + "__quarantine"} {
		if !exists(filepath.Join(lake, folder)) {
			continue
		}
		for _, path := range dataFiles(t, filepath.Join(lake, folder)) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			seen[path] = sha256.Sum256(b)
		}
	}
	for path, before := range w.files {
		if now, ok := seen[path]; !ok || now != before {
			t.Errorf("I6: readers have seen %s, and it is not there as it was", path)
		}
	}
	w.files = seen
}

func (w *watcher) lookAtCatalog(t checker, lake, name string) {
	t.Helper()
	path := filepath.Join(lake, "_lakefeed", name, "catalog.json")
	if !exists(path) {
		if w.catalog.Columns != nil {
			t.Errorf("I9: the catalog is gone")
		}
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var now restCatalog
	if err := json.Unmarshal(b, &now); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, c := range w.catalog.Columns {
		if !slices.ContainsFunc(now.Columns, func(n struct{ Name, Type string }) bool { return n.Name == c.Name }) {
			t.Errorf("I9: column %s is no longer in the catalog", c.Name)
		}
	}
	if now.Swap < w.catalog.Swap || now.Version < w.catalog.Version {
		t.Errorf("I9: the catalog went back from swap %d, schema version %d to %d, %d", w.catalog.Swap, w.catalog.Version, now.Swap, now.Version)
	}
	for _, p := range w.catalog.Partitions {
		i := slices.IndexFunc(now.Partitions, func(n struct {
			Values   []string
			Location string
			Columns  []struct{ Name, Type string }
		}) bool {
			return slices.Equal(n.Values, p.Values)
		})
		if i < 0 || len(now.Partitions[i].Columns) < len(p.Columns) {
			t.Errorf("I9: the partition %v is no longer in the catalog, or has fewer columns", p.Values)
		}
	}
	w.catalog = now
}

func (w *watcher) lookAtChains(t checker, lake, name string, objects int) {
	t.Helper()
	state := filepath.Join(lake, "_lakefeed", name, "g1")
	if w.streams == nil {
		w.streams = map[string]bool{}
	}
	for _, chain := range globbed(t, filepath.Join(state, "commits", "*", "*")) {
		for i, r := range readChain(t, chain) {
			path := filepath.Join(chain, fmt.Sprintf("%020d.json", i))
			most := int64(recordBase + recordEach*(len(r.added())+len(r.Streams)))
			if n := fileSize(t, path); n > most {
				t.Errorf("I12: %s has %d bytes, for %d files and %d streams", path, n, len(r.added()), len(r.Streams))
			}
			for _, s := range r.Streams {
				w.streams[s.ID] = true
			}
		}
	}
	for _, path := range globbed(t, filepath.Join(state, "checkpoints", "*", "*", "*.json")) {
		if n := fileSize(t, path); n > int64(recordBase+streamBytes*objects) {
			t.Errorf("I12: %s has %d bytes, of %d streams at the most", path, n, objects)
		}
	}
	if len(w.streams) > objects {
		t.Errorf("I11: %d objects were sent as %d streams", objects, len(w.streams))
	}
}

func fileSize(t checker, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What is taken back from readers is noticed.
func TestWatcherNotices(t *testing.T) {
	t.Parallel()
	good := t.TempDir()
	text := "id,part\n"
	for i := range 2_000 {
		text += fmt.Sprintf("%d,%c\n", i, 'a'+i%2)
	}
	writeFile(t, filepath.Join(good, "rows.csv"), text)
	ok(t, "ingest", filepath.Join(good, "rows.csv"), "--lake", filepath.Join(good, "lake"), "--meta", "--partition-by", "part", "--flush-size", "5kB", "--partitions", "1")
	lake := ""
	inCatalog := func(before, after string) {
		path := filepath.Join(lake, "_lakefeed/rows/catalog.json")
		text := readFile(t, path)
		if !strings.Contains(text, before) {
			t.Fatalf("there is no %s in %s", before, text)
		}
		writeFile(t, path, strings.ReplaceAll(text, before, after))
	}
	record := func() string {
		return globbed(t, filepath.Join(lake, "_lakefeed/rows/g1/commits/rows/*/*.json"))[0]
	}
	for _, test := range []struct {
		name  string
		harm  func()
		found string
	}{
		{"nothing", func() {}, ""},
		{"file gone", func() {
			if err := os.Remove(dataFiles(t, filepath.Join(lake, "rows"))[0]); err != nil {
				t.Fatal(err)
			}
		}, "I6"},
		{"file changed", func() { appendFile(t, dataFiles(t, filepath.Join(lake, "rows"))[0], "x") }, "I6"},
		{"catalog gone", func() {
			if err := os.Remove(filepath.Join(lake, "_lakefeed/rows/catalog.json")); err != nil {
				t.Fatal(err)
			}
		}, "I9"},
		{"column gone", func() { inCatalog(`"name": "id"`, `"name": "no"`) }, "I9"},
		{"older schema", func() { inCatalog(`"schema_version": 1`, `"schema_version": 0`) }, "I9"},
		{"partition gone", func() { inCatalog("        \"b\"", "        \"c\"") }, "I9"},
		{"another claim", func() {
			text := readFile(t, record())
			id := strings.SplitAfter(text, `"streams":[{"id":"`)[1][:16]
			writeFile(t, record(), strings.ReplaceAll(text, id, "0123456789abcdef"))
		}, "I11"},
		{"record that grows", func() {
			writeFile(t, record(), strings.Replace(readFile(t, record()), `{`, `{"more":"`+strings.Repeat("x", 100<<10)+`",`, 1))
		}, "I12"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lake = filepath.Join(t.TempDir(), "lake")
			if err := os.CopyFS(lake, os.DirFS(filepath.Join(good, "lake"))); err != nil {
				t.Fatal(err)
			}
			var w watcher
			w.look(t, lake, "rows", 1)
			test.harm()
			var r recorder
			w.look(&r, lake, "rows", 1)
			all := strings.Join(r.found, "\n")
			if clean := test.name == "nothing"; clean != (len(r.found) == 0) || !strings.Contains(all, test.found) {
				t.Errorf("found %q, want %q", all, test.found)
			}
		})
	}
}
