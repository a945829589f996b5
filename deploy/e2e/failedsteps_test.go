package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// failingSteps are steps, each with the cell that a bad row has for it, how the step is
// mended, and what becomes of the cell then.
var failingSteps = []struct {
	rule, column      string
	step, mended      string
	good, bad         string
	result, goodValue string // "" is null
}{
	{"cast", "n", `{cast: {n: bigint}}`, `{cast: {n: bigint}, on_error: "null"}`, "7", "seven", "", "7"},
	{"parse", "d", `{parse: {d: {formats: ["%d.%m.%Y"]}}}`, `{parse: {d: {formats: ["%d.%m.%Y", "%Y, %d %b"]}}}`, "03.02.2026", `"2026, 04 Feb"`, "2026-02-04", "2026-02-03"},
	{"map", "code", `{map: {code: {values: {AA: American}, missing: error}}}`, `{map: {code: {values: {AA: American}, missing: keep}}}`, "AA", "ZZ", "ZZ", "American"},
	{"json", "payload", `{json: {payload: {columns: {user: {path: u, type: bigint}}}}}`, `{json: {payload: {columns: {user: {path: u, type: bigint}}}}, on_error: "null"}`, `"{""u"":5}"`, `"{""u"":"`, "", "5"},
}

// Of each step that fails 100 rows: all are in quarantine with source and line, and the
// rows between them are in the table. With the step mended they are taken again, once each.
func TestFailedRowsAreReplayed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, conf := filepath.Join(dir, "lake"), filepath.Join(dir, "lakefeed.yaml")
	config := func(mended bool) {
		var text strings.Builder
		text.WriteString("lake: lake\nfeeds:\n  - table: t\n    source: in\n    meta: true\n    transform:\n")
		for _, s := range failingSteps {
			step := s.step
			if mended {
				step = s.mended
			}
			fmt.Fprintf(&text, "      - %s\n", step)
		}
		writeFile(t, conf, text.String())
	}
	config(false)
	ids := 0
	lines := map[string]bool{} // rule file:line id of the bad rows
	for _, s := range failingSteps {
		var text strings.Builder
		text.WriteString("id")
		for _, other := range failingSteps {
			text.WriteString("," + other.column)
		}
		for line := 2; line < 202; line++ {
			fmt.Fprintf(&text, "\n%d", ids)
			for _, other := range failingSteps {
				if cell := other.good; other.rule != s.rule || line%2 == 1 {
					text.WriteString("," + cell)
					continue
				}
				text.WriteString("," + other.bad)
				lines[fmt.Sprintf("%s %s.csv:%d %d", s.rule, s.rule, line, ids)] = true
			}
			ids++
		}
		writeFile(t, filepath.Join(dir, "in", s.rule+".csv"), text.String()+"\n")
	}

	exits(t, 3, "ingest", "-c", conf)
	if x := readTable(t, lake, "t"); x.rows != ids-len(lines) {
		t.Errorf("%d rows are in the table, want the %d good ones", x.rows, ids-len(lines))
	}
	q := readTable(t, lake, "t__quarantine")
	if q.rows != 100*len(failingSteps) {
		t.Errorf("%d rows are in quarantine, want 100 of each step", q.rows)
	}
	for i := range q.rows {
		text := func(name string) string { return q.columns[name][i].text }
		id, _, _ := strings.Cut(text("raw"), ",")
		at := fmt.Sprintf("%s %s:%s %s", text("rule"), filepath.Base(text("source")), text("line"), id)
		if !lines[at] || text("stage") != "transform" {
			t.Errorf("in quarantine: %s, stage %s", at, text("stage"))
		}
	}

	r := exits(t, 3, "rejects", "replay", "t", "-c", conf)
	if !strings.Contains(r.stderr, "400 of 400 rows stay") {
		t.Errorf("without a fix: %v", r)
	}
	config(true)
	ok(t, "rejects", "replay", "t", "-c", conf)
	ok(t, "ingest", "-c", conf)
	x := readTable(t, lake, "t")
	x.eachOnce(t, "id", ids)
	if n := readTable(t, lake, "t__quarantine").rows; n != 0 {
		t.Errorf("%d rows are in quarantine", n)
	}
	seen := map[string]int{}
	for i := range x.rows {
		for _, s := range failingSteps {
			column := s.column
			if s.rule == "json" {
				column = "user"
			}
			cell := ""
			if c := x.columns[column][i]; c.ok {
				cell = c.text
			}
			switch cell {
			case s.result:
				seen[s.rule]++
			case s.goodValue:
			default:
				t.Errorf("row %s: %s is %q", x.columns["id"][i].text, column, cell)
			}
		}
	}
	for _, s := range failingSteps {
		if seen[s.rule] != 100 {
			t.Errorf("%d rows have what the mended %s makes of a bad cell", seen[s.rule], s.rule)
		}
	}
	ok(t, "audit", "t", "-c", conf, "--deep")
	checkInvariants(t, lake, "t")
}
