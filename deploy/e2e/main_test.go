// Package e2e drives the binary as a user does, and judges each run by reading
// the lake as Athena does: every file under the table's folder whose name and
// folders do not begin with an underscore or a dot, with readers that are not
// ours.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

var (
	binary string // path of lakefeed, built by TestMain
	module string // folder of go.mod
)

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build makes the binary as it is shipped, or with the race detector when the
// tests have it, and runs the tests.
func build(m *testing.M) (int, error) {
	wd, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	module = filepath.Dir(filepath.Dir(wd))
	dir, err := os.MkdirTemp("", "lakefeed-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // others run it, too
		return 0, err
	}
	binary = filepath.Join(dir, "lakefeed")
	args, cgo := []string{"build", "-o", binary, "."}, "CGO_ENABLED=0"
	if raceEnabled {
		args, cgo = []string{"build", "-race", "-o", binary, "."}, "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = module, append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	code := m.Run()
	return code, testbed.Close()
}

// long says that the longer campaigns are to be run, too: each fault of a rebuild, where
// otherwise it is those that stand for them.
func long() bool { return os.Getenv("LAKEFEED_LONG_TESTS") == "1" && !testing.Short() }

// limit is how long any one command may take before the test gives up on it.
const limit = 10 * time.Minute

// result is what became of one command line.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\n--- stdout\n%s--- stderr\n%s", r.code, r.stdout, r.stderr)
}

// process is a command that is running.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	cancel         context.CancelFunc
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts lakefeed. Its environment has no LAKEFEED_ variable of ours.
func start(t *testing.T, stdin *os.File, args ...string) *process {
	t.Helper()
	return startFor(t, limit, stdin, args...)
}

// startFor starts lakefeed, which may run for so long.
func startFor(t *testing.T, limit time.Duration, stdin *os.File, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p := &process{cmd: exec.CommandContext(ctx, binary, args...), cancel: cancel}
	p.cmd.Dir = t.TempDir()
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LAKEFEED_") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		p.cmd.Wait()
	})
	return p
}

// wait waits for the end. A process that a signal ended has code -1.
func (p *process) wait(t *testing.T) result {
	t.Helper()
	err := p.cmd.Wait()
	p.cancel()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
	if strings.Contains(r.stderr, "DATA RACE") {
		t.Errorf("%v: %v", p.cmd.Args, r)
	}
	return r
}

// signal sends a signal to a process that should be running still.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// run runs lakefeed to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return start(t, nil, args...).wait(t)
}

// ok runs lakefeed, which must exit with 0.
func ok(t *testing.T, args ...string) result {
	t.Helper()
	return exits(t, 0, args...)
}

func exits(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := run(t, args...)
	if r.code != code {
		t.Fatalf("lakefeed %s: want exit %d, got %v", strings.Join(args, " "), code, r)
	}
	return r
}

// summary is what the closing summary has as JSON, as far as tests look at it.
type summary struct {
	Table       string `json:"table"`
	Sent        int64  `json:"rows_sent"`
	Rows        int64  `json:"rows_committed"`
	Duplicates  int64  `json:"rows_already_in_lake"`
	Quarantined int64  `json:"rows_quarantined"`
	Rescued     int64  `json:"cells_rescued"`
	Objects     []struct {
		URI    string `json:"uri"`
		Status string `json:"status"`
		Rows   int64  `json:"rows"`
	} `json:"objects"`
	Total struct {
		Rows       int64 `json:"rows"`
		Files      int   `json:"files"`
		Partitions int   `json:"partitions"`
	} `json:"total"`
	Columns []struct{ Name, Type string } `json:"columns"`
	Query   string                        `json:"query"`
}

// ingest runs ingest with -o json, which must exit with 0.
func ingest(t *testing.T, args ...string) summary {
	t.Helper()
	return parse(t, ok(t, append([]string{"ingest", "-o", "json"}, args...)...))
}

func parse(t *testing.T, r result) summary {
	t.Helper()
	var s summary
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("standard output is not the summary: %v\n%v", err, r)
	}
	return s
}

// until polls for something that a running process does. It gives up when the
// process has long had its time.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit / 2); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still not after %v", what, limit/2)
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// appendFile adds text to the end of a file.
func appendFile(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
