package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// Every script in testdata is one situation: what is done, with which exit code,
// what is said, and what is in the lake afterwards. Beside testscript's own
// commands there are
//
//	lakefeed CODE ARG…       run lakefeed, which must exit with CODE
//	unprivileged CODE ARG…   the same, as a user whom permissions bind
//	table NAME               print a table of ./lake: a line a row, sorted
//	count NAME N             the table of ./lake has N rows
//	write FILE TEXT          make a file of a Go string's text: \xff, \n
//	append FILE TEXT         add to a file
//	repeat FILE N TEXT       add N times to a file
//	cut FILE N               cut a file off after N bytes, or before the last -N
//	pack FILE                compress it: to .gz or .zst, by the name
//	cat FILE… TO             put files together
//	rewrite FILE OLD NEW     change the file's text
//	rmtree FOLDER            remove a folder
//	spoil FOLDER             flip a bit in the largest file below
//	clobber FOLDER           make every file below a half of what it was
//
// After each ingest that exits with 0 the lake is audited, which must exit with 0 too,
// or with what the script has set as AUDIT.
//
// What it says when CODE is not 0 is in testdata/errors.golden.
func TestScripts(t *testing.T) {
	said := loadGoldens(t, filepath.Join("testdata", "errors.golden"))
	t.Cleanup(func() { said.finish(t) })
	work := t.TempDir()
	if unprivileged != nil { // who has to come there
		for dir := work; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:         "testdata",
		WorkdirRoot: work,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lakefeed":     func(ts *testscript.TestScript, _ bool, args []string) { runScripted(ts, said, args) },
			"unprivileged": func(ts *testscript.TestScript, _ bool, args []string) { runUnprivileged(ts, said, args) },
			"table": func(ts *testscript.TestScript, _ bool, args []string) {
				fmt.Fprint(ts.Stdout(), strings.Join(scriptTable(ts, args[0]).lines(), ""))
			},
			"count": func(ts *testscript.TestScript, _ bool, args []string) {
				if x := scriptTable(ts, args[0]); strconv.Itoa(x.rows) != args[1] {
					ts.Fatalf("table %s has %d rows, want %s", args[0], x.rows, args[1])
				}
			},
			"write": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o777))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(unquote(ts, args[1])), 0o666))
			},
			"append": func(ts *testscript.TestScript, _ bool, args []string) { addTo(ts, args[0], unquote(ts, args[1])) },
			"repeat": func(ts *testscript.TestScript, _ bool, args []string) {
				addTo(ts, args[0], strings.Repeat(unquote(ts, args[2]), number(ts, args[1])))
			},
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				b, n := ts.ReadFile(args[0]), number(ts, args[1])
				if n < 0 {
					n += len(b)
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b[:n]), 0o666))
			},
			"cat": func(ts *testscript.TestScript, _ bool, args []string) {
				last := len(args) - 1
				for _, name := range args[:last] {
					addTo(ts, args[last], ts.ReadFile(name))
				}
			},
			"rewrite": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				if !strings.Contains(text, args[1]) {
					ts.Fatalf("%s has no %s", args[0], args[1])
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o666))
			},
			"rmtree": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(os.RemoveAll(ts.MkAbs(args[0]))) },
			"spoil": func(ts *testscript.TestScript, _ bool, args []string) {
				largest, text := "", []byte(nil)
				eachFile(ts, args[0], func(name string, b []byte) {
					if len(b) > len(text) {
						largest, text = name, b
					}
				})
				text[len(text)/2] ^= 1
				ts.Check(os.WriteFile(largest, text, 0o666))
			},
			"clobber": func(ts *testscript.TestScript, _ bool, args []string) {
				eachFile(ts, args[0], func(name string, b []byte) { ts.Check(os.WriteFile(name, b[:len(b)/2], 0o666)) })
			},
			"pack": func(ts *testscript.TestScript, _ bool, args []string) { pack(ts, args[0]) },
		},
	})
}

// runScripted runs lakefeed in the script's folder.
func runScripted(ts *testscript.TestScript, said *goldens, args []string) {
	err := ts.Exec(binary, args[1:]...)
	judge(ts, said, args[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	if args[0] == "0" && args[1] == "ingest" {
		auditScripted(ts)
	}
}

// runUnprivileged does so without root's rights, which ts.Exec does not take away.
func runUnprivileged(ts *testscript.TestScript, said *goldens, args []string) {
	if unprivileged == nil {
		runScripted(ts, said, args)
		return
	}
	var stdout, stderr strings.Builder
	cmd := exec.Command(binary, args[1:]...)
	cmd.Dir, cmd.SysProcAttr, cmd.Env = ts.MkAbs("."), unprivileged, []string{"HOME=" + ts.Getenv("WORK")}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, ts.Stdout()), io.MultiWriter(&stderr, ts.Stderr())
	err := cmd.Run()
	judge(ts, said, args[0], err, stdout.String(), stderr.String())
}

// judge compares what became of a command with what should.
func judge(ts *testscript.TestScript, said *goldens, want string, err error, stdout, stderr string) {
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("lakefeed: %v", err)
	}
	if code != number(ts, want) {
		ts.Fatalf("exit %d, want %s\n%s%s", code, want, stdout, stderr)
	}
	if code != 0 {
		said.check(ts, stderr)
	}
}

// auditScripted audits all tables of ./lake, as deeply as there is a log for it.
func auditScripted(ts *testscript.TestScript) {
	tables, err := filepath.Glob(ts.MkAbs("lake/_lakefeed/*/table.json"))
	ts.Check(err)
	want := 0
	if text := ts.Getenv("AUDIT"); text != "" {
		want = number(ts, text)
	}
	for _, table := range tables {
		args := []string{"audit", filepath.Base(filepath.Dir(table)), "--lake", ts.MkAbs("lake")}
		if exists(ts.MkAbs("lake/_lakefeed/kafka")) {
			args = append(args, "--deep")
		}
		cmd := exec.Command(binary, args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			ts.Fatalf("lakefeed %s: %v, want exit %d\n%s", strings.Join(args, " "), err, want, out)
		}
	}
}

// scripted is a script as a tester.
type scripted struct{ *testscript.TestScript }

func (s scripted) Helper()           {}
func (s scripted) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }

func scriptTable(ts *testscript.TestScript, name string) *table {
	return readTable(scripted{ts}, ts.MkAbs("lake"), name)
}

// lines are the table's rows as text, nulls left out, sorted.
func (x *table) lines() (out []string) {
	for row := range x.rows {
		var line []string
		for _, name := range slices.Sorted(maps.Keys(x.columns)) {
			if c := x.columns[name][row]; c.ok {
				line = append(line, fmt.Sprintf("%s=%q", name, c.text))
			}
		}
		if row < len(x.rescued) {
			for _, name := range slices.Sorted(maps.Keys(x.rescued[row])) {
				line = append(line, fmt.Sprintf("_rescued.%s=%q", name, x.rescued[row][name]))
			}
		}
		out = append(out, strings.Join(line, " ")+"\n")
	}
	slices.Sort(out)
	return out
}

func unquote(ts *testscript.TestScript, text string) string {
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		ts.Fatalf("%s: %v", text, err)
	}
	return s
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func addTo(ts *testscript.TestScript, name, text string) {
	f, err := os.OpenFile(ts.MkAbs(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	ts.Check(err)
	_, err = f.WriteString(text)
	ts.Check(errors.Join(err, f.Close()))
}

// pack compresses FILE.gz's or FILE.zst's content in place.
func pack(ts *testscript.TestScript, name string) {
	text := []byte(ts.ReadFile(name))
	var out bytes.Buffer
	if strings.HasSuffix(name, ".zst") {
		w, err := zstd.NewWriter(&out)
		ts.Check(err)
		_, err = w.Write(text)
		ts.Check(errors.Join(err, w.Close()))
	} else {
		w := gzip.NewWriter(&out)
		_, err := w.Write(text)
		ts.Check(errors.Join(err, w.Close()))
	}
	ts.Check(os.WriteFile(ts.MkAbs(name), out.Bytes(), 0o666))
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// eachFile calls fn for each file below a folder.
func eachFile(ts *testscript.TestScript, folder string, fn func(name string, b []byte)) {
	ts.Check(filepath.WalkDir(ts.MkAbs(folder), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err == nil {
			fn(name, b)
		}
		return err
	}))
}
