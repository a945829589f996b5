package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A quote that opens at the start of a gigabyte costs its own line: neither the
// rest, nor memory, nor time that grows faster than the file.
func TestOpenQuoteInAGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a file of a gigabyte")
	}
	const size, most = 1_000_000_000, 512 << 20
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	f, err := os.Create(source)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	w.WriteString("id,text\n\"here it opens\n")
	lines := strings.Repeat("2,"+strings.Repeat("text", 250)+"\n", 100)
	rows := 0
	for n := 0; n < size; n += len(lines) {
		if _, err := w.WriteString(lines); err != nil {
			t.Fatal(err)
		}
		rows += 100
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "ingest", source, "--lake", filepath.Join(dir, "lake"), "-o", "json")
	memory := p.watchMemory(t)
	r := p.wait(t) // for as long as any command may take
	if r.code != 0 {
		t.Fatal(r)
	}
	if s := parse(t, r); s.Rows != int64(rows) || s.Quarantined != 1 {
		t.Errorf("%d rows and %d in quarantine, want %d and 1", s.Rows, s.Quarantined, rows)
	}
	if peak := memory(); peak > most && !raceEnabled {
		t.Errorf("it took %d MB of memory", peak>>20)
	}
	if quarantined := readTable(t, filepath.Join(dir, "lake"), "rows__quarantine"); quarantined.list("rule")[0] != "open_quote" || quarantined.list("raw")[0] != `"here it opens` {
		t.Errorf("in quarantine: %v", quarantined.lines())
	}
}

// A file that is cut off under the reader's hands is told: what was read is in the
// lake, then what is there now as another version; and the others go in.
func TestFileShrinksWhileItIsRead(t *testing.T) {
	t.Parallel()
	const rows, left = 1_500_000, 50
	dir := t.TempDir()
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	source := filepath.Join(in, "a.csv")
	content := rowsHeader + rowsCSV(0, rows)
	writeFile(t, source, content)
	writeFile(t, filepath.Join(in, "b.csv"), rowsHeader+rowsCSV(rows, rows+10))
	p := start(t, nil, "ingest", in, "--table", "rows", "--lake", lake, "-o", "json", "--flush-size", "300kB")
	until(t, "a commit", func() bool { return commits(lake, "rows") >= 1 })
	p.signal(t, syscall.SIGSTOP)
	if err := os.Truncate(source, int64(strings.Index(content, fmt.Sprintf("\n%d,", left))+1)); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGCONT)
	r := p.wait(t)
	if r.code != 0 || !strings.Contains(r.stderr, "a.csv: it changed while it was read") {
		t.Fatal(r)
	}
	seen := map[int]int{}
	for _, c := range readTable(t, lake, "rows").columns["id"] {
		id, err := strconv.Atoi(c.text)
		if err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	read := 0
	for ; seen[read] > 0; read++ {
		want := 1
		if read < left {
			want = 2 // once in each version
		}
		if seen[read] != want {
			t.Fatalf("row %d is there %d times, want %d", read, seen[read], want)
		}
	}
	if read <= left || read == rows || len(seen) != read+10 {
		t.Errorf("%d rows were read before it was cut off, and %d different ones are in the lake", read, len(seen))
	}
	if s := ingest(t, in, "--table", "rows", "--lake", lake); s.Sent != 0 {
		t.Errorf("one more run: %+v", s)
	}
}
