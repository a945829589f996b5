package e2e

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// What a run counts is what it did.
func TestMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The second file has a new column, a cell of another type, and a row with a cell too many.
	writeFile(t, filepath.Join(dir, "in/1.csv"), "id,amount\n1,1.5\n2,2.5\n")
	writeFile(t, filepath.Join(dir, "in/2.csv"), "id,amount,more\n3,much,x\n4,1.25,y,z\n")
	port, err := testbed.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := start(t, nil, "ingest", filepath.Join(dir, "in"), "--lake", filepath.Join(dir, "lake"), "--table", "sales",
		"--column", "amount=double", "--follow", "--flush-every", "100ms", "--http", address)
	counted := func(want ...string) func() bool {
		return func() bool {
			text, err := get("http://" + address + "/metrics")
			for _, line := range want {
				if err != nil || !strings.Contains(text, line) {
					return false
				}
			}
			return true
		}
	}
	until(t, "rows in the table", counted(`lakefeed_rows_committed_total{table="sales"} 3`))
	writeFile(t, filepath.Join(dir, "in/3.csv"), "id,amount,late\n5,1,w\n")
	until(t, "a new column", counted(`lakefeed_schema_changes_total{kind="add",table="sales"} 1`, `lakefeed_schema_version{table="sales"} 2`))
	until(t, "the count of what was sent", counted(`lakefeed_rows_sent_total{table="sales"} 5`)) // a row is in the table first, at times
	for _, line := range []string{
		`lakefeed_rows_quarantined_total{rule="cell_count",table="sales"} 1`,
		`lakefeed_cells_rescued_total{table="sales"} 1`,
		`lakefeed_schema_deviations_total{kind="type_change",policy="rescue",table="sales"} 1`,
		`lakefeed_commits_total{outcome="won",table="sales"}`,
		`lakefeed_rows_filtered_total{table="sales"} 0`,
		`lakefeed_commits_total{outcome="lost",table="sales"} 0`,
		`lakefeed_offsets_lost_total{table="sales"} 0`,
		`lakefeed_build_info{version=`,
		`process_cpu_seconds_total`,
	} {
		if !counted(line)() {
			text, err := get("http://" + address + "/metrics")
			t.Errorf("/metrics (%v) has no %s:\n%s", err, line, text)
		}
	}
	if text, err := get("http://" + address + "/healthz"); text != "ok\n" || err != nil {
		t.Errorf("/healthz: %q, %v", text, err)
	}

	// The port is taken: another run says so, and does nothing.
	r := run(t, "ingest", filepath.Join(dir, "in"), "--lake", filepath.Join(dir, "other"), "--http", address)
	if r.code != 2 || !strings.Contains(r.stderr, address+": another process has this port") {
		t.Errorf("with a port that is taken: %v", r)
	}
	if exists(filepath.Join(dir, "other")) {
		t.Error("it made a lake all the same")
	}
	p.signal(t, syscall.SIGINT)
	if r := p.wait(t); r.code != 130 {
		t.Errorf("interrupted: %v", r)
	}
	if _, err := get("http://" + address + "/healthz"); err == nil {
		t.Error("it is served still")
	}
}

func get(url string) (string, error) {
	client := http.Client{Timeout: time.Minute}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}
