package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file in which values are looked up changes while a feed runs: the rows of the next
// batch have what it holds now, and each record refers to a configuration with the file
// that made its rows. One that is broken, or gone, is told once and changes nothing.
func TestLookupIsReloaded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, codes, config := filepath.Join(dir, "lake"), filepath.Join(dir, "codes.csv"), filepath.Join(dir, "lakefeed.yaml")
	changes := 0
	put := func(text string) string {
		writeFile(t, codes, text)
		changes++ // it has been at rest for a while, and was changed at another time each time
		at := time.Now().Add(time.Duration(changes)*time.Second - time.Hour)
		if err := os.Chtimes(codes, at, at); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	one := put("code,name\na,one\n")
	writeFile(t, config, `
lake: ./lake
feeds:
  - table: rows
    source: in
    meta: true
    flush: {every: 100ms}
    transform: [{map: {code: {file: codes.csv, value: name, into: name}}}]
`)
	ids := 0
	rows := func() {
		ids++
		writeFile(t, filepath.Join(dir, "in", fmt.Sprintf("%d.csv", ids)), fmt.Sprintf("id,code\n%d,a\n", ids))
	}
	rows()
	p := start(t, nil, "ingest", "-c", config, "--follow")
	taken := func(what string) {
		t.Helper()
		until(t, what, func() bool { return exists(filepath.Join(lake, "rows")) && readTable(t, lake, "rows").rows == ids })
	}
	taken("rows of the first file")
	two := put("code,name\na,two\nb,other\n")
	rows()
	taken("rows of the second file")
	put("code,nom\na,three\n") // the column is another's
	for range 3 {
		rows()
		taken("rows beside a broken file")
	}
	if err := os.Remove(codes); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		rows()
		taken("rows without a file")
	}
	four := put("code,name\na,four\n")
	rows()
	taken("rows of the mended file")
	p.signal(t, syscall.SIGINT)
	r := p.wait(t)
	if r.code != 130 {
		t.Fatalf("interrupted: %v", r)
	}
	for said, times := range map[string]int{"goes on with the 2 values that it has": 2, "has no column name; its columns are code, nom": 1, "no such file": 1, "has 2 values of": 1, "has 1 value of": 1} {
		if n := strings.Count(r.stderr, said); n != times {
			t.Errorf("%q is said %d times, want %d: %v", said, n, times, r)
		}
	}
	got := map[string]string{}
	x := readTable(t, lake, "rows")
	for i := range x.rows {
		got[x.columns["id"][i].text] = x.columns["name"][i].text
	}
	names := map[string]string{"1": "one", "2": "two", "3": "two", "4": "two", "5": "two", "6": "two", "7": "two", "8": "four"}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("looked up: %v, want %v", got, names)
	}
	// Which file made the rows is in the configuration of their record, and they can be
	// made again by it.
	sums := map[string]string{"one": one, "two": two, "four": four}
	for id, name := range names {
		if text := configOf(t, lake, "rows", id); !strings.Contains(text, `"sha256":"`+sums[name]+`"`) || !strings.Contains(text, `"`+name+`"`) {
			t.Errorf("row %s was made by %s", id, text)
		}
	}
	ok(t, "audit", "--deep", "rows", "--lake", lake)
	checkInvariants(t, lake, "rows")
}

// configOf is the configuration of the record that has the row of an id which is also
// its file's number.
func configOf(t *testing.T, lake, table, id string) string {
	t.Helper()
	state := filepath.Join(lake, "_lakefeed", table, "g1")
	records, err := filepath.Glob(filepath.Join(state, "commits/*/*/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range records {
		var r struct {
			Config string
			Files  []struct{ Key string }
		}
		if err := json.Unmarshal([]byte(readFile(t, name)), &r); err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Files {
			x := &tableFile{}
			if x.has(t, filepath.Join(lake, f.Key), id) {
				var stored struct{ Text string }
				if err := json.Unmarshal([]byte(readFile(t, filepath.Join(state, "config", r.Config+".json"))), &stored); err != nil {
					t.Fatal(err)
				}
				return stored.Text
			}
		}
	}
	t.Fatalf("no record has row %s", id)
	return ""
}

// tableFile is one file of a table.
type tableFile struct{ table }

func (x *tableFile) has(t *testing.T, name, id string) bool {
	x.columns, x.types = map[string][]cell{}, map[string]string{}
	x.read(t, name, ".")
	for _, c := range x.columns["id"] {
		if c.ok && c.text == id {
			return true
		}
	}
	return false
}
