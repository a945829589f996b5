package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rejectKinds are files of 100 bad rows each: what a row of them looks like by its id.
// The table has the columns id, n and s.
var rejectKinds = []struct {
	rule, header string
	row          func(id int) string
}{
	{"cell_count", "id,n,s", func(id int) string {
		if id%2 == 0 {
			return fmt.Sprintf("%d,%d", id, id)
		}
		return fmt.Sprintf("%d,%d,s%d,more,still more", id, id, id)
	}},
	{"type_change", "id,n,s", func(id int) string { return fmt.Sprintf("%d,n%d,s%d", id, id, id) }},
	{"null", "id,n,s", func(id int) string { return fmt.Sprintf("%d,,s%d", id, id) }},
	{"new_column", "id,n,s,extra", func(id int) string { return fmt.Sprintf("%d,%d,s%d,x%d", id, id, id, id) }},
	{"missing_column", "id,s", func(id int) string { return fmt.Sprintf("%d,s%d", id, id) }},
}

const (
	strictSchema = "{on_new_column: reject, on_missing_column: reject, on_type_change: reject, on_null: reject}"
	laxSchema    = "{on_new_column: evolve, on_missing_column: evolve, on_type_change: rescue, on_null: evolve, on_cell_count: rescue}"
)

// Of each kind of bad data 100 rows: all are in quarantine with source and line, and
// none stops a good one. With another contract they are taken again, once each.
func TestRejectsAreReplayed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake := filepath.Join(dir, "lake")
	conf := filepath.Join(dir, "lakefeed.yaml")
	config := func(schema string) {
		writeFile(t, conf, fmt.Sprintf("lake: lake\nfeeds:\n  - {table: t, source: in, meta: true, schema: %s}\n", schema))
	}
	config(strictSchema)
	writeFile(t, filepath.Join(dir, "in/0.csv"), "id,n,s\n0,0,s0\n")
	ok(t, "ingest", "-c", conf)

	ids := 1
	lines := map[string]string{} // file:line of the bad rows, by id
	for _, kind := range rejectKinds {
		var text strings.Builder
		text.WriteString(kind.header + "\n")
		for line := 2; line < 202; line++ {
			id := strconv.Itoa(ids)
			if line%2 == 0 || kind.header != "id,n,s" { // every other one is good where its header is
				text.WriteString(kind.row(ids) + "\n")
				lines[id] = fmt.Sprintf("%s.csv:%d", kind.rule, line)
			} else {
				fmt.Fprintf(&text, "%d,%d,s%d\n", ids, ids, ids)
			}
			ids++
			if kind.header != "id,n,s" && line == 101 {
				break
			}
		}
		writeFile(t, filepath.Join(dir, "in", kind.rule+".csv"), text.String())
	}
	if len(lines) != 100*len(rejectKinds) {
		t.Fatalf("%d bad rows", len(lines))
	}
	exits(t, 3, "ingest", "-c", conf)
	if x := readTable(t, lake, "t"); x.rows != ids-len(lines) {
		t.Errorf("%d rows are in the table, want the %d good ones", x.rows, ids-len(lines))
	}
	q := readTable(t, lake, "t__quarantine")
	if q.rows != len(lines) {
		t.Errorf("%d rows are in quarantine, want %d", q.rows, len(lines))
	}
	for i := range q.rows {
		id, _, _ := strings.Cut(q.columns["raw"][i].text, ",")
		at := filepath.Base(q.columns["source"][i].text) + ":" + q.columns["line"][i].text
		if lines[id] != at || q.columns["rule"][i].text+".csv" != filepath.Base(q.columns["source"][i].text) {
			t.Errorf("row %s is in quarantine as %s %s, want %s", id, q.columns["rule"][i].text, at, lines[id])
		}
	}
	var shown struct {
		Rows   int
		Causes []struct {
			Rule     string
			Rows     int
			Examples []struct {
				Source string
				Line   int
			}
		}
	}
	if err := json.Unmarshal([]byte(ok(t, "rejects", "t", "-c", conf, "-o", "json").stdout), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Rows != len(lines) || len(shown.Causes) != len(rejectKinds) {
		t.Errorf("rejects: %+v", shown)
	}
	for _, c := range shown.Causes {
		if c.Rows != 100 || len(c.Examples) != 3 || c.Examples[0].Line == 0 {
			t.Errorf("rejects: %+v", c)
		}
	}

	// Without a fix they stay where they are.
	r := exits(t, 3, "rejects", "replay", "t", "-c", conf)
	if n := readTable(t, lake, "t__quarantine").rows; n != len(lines) || !strings.Contains(r.stderr, "500 of 500 rows stay") {
		t.Errorf("without a fix: %d rows in quarantine, %v", n, r)
	}
	config(laxSchema)
	one := ok(t, "rejects", "replay", "t", "-c", conf, "--where", "rule=null")
	if n := readTable(t, lake, "t__quarantine").rows; n != len(lines)-100 || !strings.Contains(one.stdout, "100 of 100 rows") {
		t.Errorf("of one kind: %d rows in quarantine, %v", n, one)
	}
	checkInvariants(t, lake, "t")
	ok(t, "rejects", "replay", "t", "-c", conf, "--where", "source=*_c*.csv", "--where", "rule!=null")
	ok(t, "rejects", "replay", "t", "-c", conf)
	again := ok(t, "rejects", "replay", "t", "-c", conf)
	if !strings.Contains(again.stdout, "no such row") {
		t.Errorf("once more: %v", again)
	}
	ok(t, "ingest", "-c", conf)
	x := readTable(t, lake, "t")
	x.eachOnce(t, "id", ids)
	if n := readTable(t, lake, "t__quarantine").rows; n != 0 {
		t.Errorf("%d rows are in quarantine", n)
	}
	for i := range x.rows {
		id := x.columns["id"][i].text
		at := filepath.Base(x.columns["_source"][i].text)
		rule, _, bad := strings.Cut(lines[id], ".csv:")
		if bad && at != rule+".csv" {
			t.Errorf("row %s has the source %s", id, at)
		}
		number, _ := strconv.Atoi(id)
		var rescued map[string]string
		if x.rescued[i] != nil {
			rescued = x.rescued[i]
		}
		switch {
		case rule == "type_change" && rescued["n"] != "n"+id,
			rule == "cell_count" && number%2 == 1 && (rescued["_cell_4"] != "more" || rescued["_cell_5"] != "still more"),
			rule == "new_column" && x.columns["extra"][i].text != "x"+id,
			!bad && len(rescued) > 0:
			t.Errorf("row %s of %s: rescued %v", id, at, rescued)
		}
	}
	ok(t, "audit", "t", "-c", conf, "--deep")
	checkInvariants(t, lake, "t")
}

// What ends a feed is said by its limits, and what it has read is in the lake.
func TestQuarantineLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "x.csv")
	var text strings.Builder
	text.WriteString("id,s\n")
	for i := range 3000 {
		if i%10 == 9 {
			fmt.Fprintf(&text, "%d,s,too many\n", i)
		} else {
			fmt.Fprintf(&text, "%d,s\n", i)
		}
	}
	writeFile(t, source, text.String())
	for _, c := range []struct {
		name string
		code int
		args []string
		said string
	}{
		{"share", 3, nil, "300 of 3,000 rows went into quarantine, more than 1% (--quarantine-max-share)"},
		{"rows", 3, []string{"--quarantine-max-share", "50%", "--quarantine-max-rows", "299"}, "300 of 3,000 rows went into quarantine, more than 299 (--quarantine-max-rows)"},
		{"warn", 0, []string{"--quarantine-on-exceed", "warn"}, "warning: 300 of 3,000 rows went into quarantine"},
		{"enough", 0, []string{"--quarantine-max-share", "10%", "--quarantine-max-rows", "300"}, ""},
		{"stop", 3, []string{"--quarantine-on-exceed", "stop"}, "the feed is stopped"},
	} {
		r := exits(t, c.code, append([]string{"ingest", source, "--lake", filepath.Join(dir, c.name)}, c.args...)...)
		if !strings.Contains(r.stderr, c.said) {
			t.Errorf("%s: %v", c.name, r)
		}
		if x := readTable(t, filepath.Join(dir, c.name), "x"); x.rows != 2700 {
			t.Errorf("%s: %d rows", c.name, x.rows)
		}
	}
	// With a feed beside it: that one is taken in.
	conf := filepath.Join(dir, "lakefeed.yaml")
	good := filepath.Join(dir, "good.csv")
	writeFile(t, good, "id\n1\n2\n")
	writeFile(t, conf, "lake: both\nfeeds:\n  - {table: bad, source: x.csv, quarantine: {max_rows: 0, on_exceed: stop}}\n  - {table: good, source: good.csv}\n")
	r := exits(t, 3, "ingest", "-c", conf)
	if x := readTable(t, filepath.Join(dir, "both"), "good"); x.rows != 2 || !slices.Contains(strings.Fields(r.stderr), "bad:") {
		t.Errorf("the feed beside it has %d rows: %v", x.rows, r)
	}
}
