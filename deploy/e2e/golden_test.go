package e2e

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write testdata/errors.golden anew")

// goldens are what lakefeed says on standard error when it does not exit with 0,
// in every script: written once, for the reader, and read again whenever it
// changes.
type goldens struct {
	file string
	want map[string]string

	mu   sync.Mutex
	runs map[string]int // by script
	got  map[string]string
}

func loadGoldens(t *testing.T, file string) *goldens {
	g := &goldens{file: file, want: map[string]string{}, runs: map[string]int{}, got: map[string]string{}}
	a, err := txtar.ParseFile(file)
	if err != nil && !(*update && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	if a != nil {
		for _, f := range a.Files {
			g.want[f.Name] = string(f.Data)
		}
	}
	return g
}

// check compares what was said with what should be, without what differs from
// run to run.
func (g *goldens) check(ts *testscript.TestScript, said string) {
	said = unvarying(closing(strings.ReplaceAll(said, ts.Getenv("WORK"), "$WORK")))
	g.mu.Lock()
	g.runs[ts.Name()]++
	key := ts.Name()
	if n := g.runs[key]; n > 1 {
		key += " " + string(rune('0'+n))
	}
	g.got[key] = said
	g.mu.Unlock()
	if diff := cmp.Diff(g.want[key], said); diff != "" && !*update {
		ts.Fatalf("standard error of %q is not as in %s (-want +got), which go test -run Scripts -update writes anew:\n%s", key, g.file, diff)
	}
}

// finish writes the file anew when that is asked for, and else finds entries of
// scripts that are gone.
func (g *goldens) finish(t *testing.T) {
	a := &txtar.Archive{Comment: []byte("What lakefeed says when it does not exit with 0, by script and failing command.\n\n")}
	maps.DeleteFunc(g.want, func(name, _ string) bool {
		script, _, _ := strings.Cut(name, " ")
		if exists(filepath.Join(filepath.Dir(g.file), script+".txt")) {
			return g.runs[script] > 0 // it was run, and says what it says
		}
		if !*update {
			t.Errorf("%s: there is no script %s any more", g.file, script)
		}
		return true
	})
	if !*update {
		return
	}
	maps.Copy(g.want, g.got)
	for _, name := range sorted(g.want) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(g.want[name])})
	}
	if err := os.WriteFile(g.file, txtar.Format(a), 0o666); err != nil {
		t.Fatal(err)
	}
}

var varying = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "ID"},
	{regexp.MustCompile(`\b(bucket|lake|t)[-_][a-z2-7]{10}(__quarantine)?\b`), "$1$2"}, // names made at random
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]{4,5}`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`tried for [0-9.]+m?s`), "tried for a while"},
	// The stream of a file, and so its topic partition, hang on the file's path.
	{regexp.MustCompile(`\b(a|f|rows|t)/[01]\b`), "$1/P"},
	{regexp.MustCompile(`\b0{19}[0-9]\b`), "N"},
	{regexp.MustCompile(`data/partitions/\S+ cannot be read from byte [0-9]+ on, offset [0-9]+, and goes on at offset [0-9]+`), "data/… cannot be read from byte … on"},
	{regexp.MustCompile(`/dev/fd/[0-9]+`), "/dev/fd/N"},
}

// closing is what is said at the end: what comes before hangs on who is quicker.
func closing(text string) string {
	if i := strings.Index(text, "lakefeed: "); i > 0 {
		return text[i:]
	}
	return text
}

func unvarying(text string) string {
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.with)
	}
	return text
}
