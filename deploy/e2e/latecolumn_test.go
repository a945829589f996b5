package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A column that had only nulls when the table was made gets values later that the steps
// cannot take: the rows that have one go into quarantine, or the value that is made of it
// is null, as is declared, and the feed goes on. With other steps they are put back.
func TestLateColumns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, conf := filepath.Join(dir, "lake"), filepath.Join(dir, "lakefeed.yaml")
	config := func(total, twice, z, w string) {
		writeFile(t, conf, fmt.Sprintf(`
lake: lake
feeds:
  - table: t
    source: in
    meta: true
    quarantine: {max_share: 100%%}
    transform:
      - {name: the total, set: {total: %q}}
      - {set: {twice: %q}, on_error: "null"}
      - %s
      - set: {v: %q}
`, total, twice, z, w))
	}
	config("x + 1", "y * 2", "fill: {z: 0}", "w ?? 0")
	writeFile(t, filepath.Join(dir, "in/1.csv"), "id,x,y,z,w\n1,,,,\n2,,,,\n")
	ok(t, "ingest", "-c", conf)
	writeFile(t, filepath.Join(dir, "in/2.csv"), "id,x,y,z,w\n3,,,,\n4,seven,,,\n5,,eight,,\n6,,,1.5,\n7,,,,2026-01-02\n8,,,,\n")
	ok(t, "ingest", "-c", conf)
	writeFile(t, filepath.Join(dir, "in/3.csv"), "id,x,y,z,w\n9,nine,,,\n10,,,,\n")
	ok(t, "ingest", "-c", conf)
	ok(t, "audit", "--deep", "t", "-c", conf)
	checkInvariants(t, lake, "t")
	x := readTable(t, lake, "t")
	if got := strings.Join(x.list("id"), " "); got != "1 10 2 3 5 8" {
		t.Errorf("in the table are %s", got)
	}
	at := func(name string, i int) (c cell) { // none of a column that has held only nulls
		if cells := x.columns[name]; cells != nil {
			c = cells[i]
		}
		return c
	}
	for i := range x.rows {
		id, twice, z, v := at("id", i).text, at("twice", i), at("z", i), at("v", i)
		if twice.ok || z.text != "0" || v.text != "0" || len(x.rescued[i]) > 0 || (id == "5") != (at("y", i).text == "eight") {
			t.Errorf("row %s: twice %v, z %v, v %v, y %v, rescued %v", id, twice, z, v, at("y", i), x.rescued[i])
		}
	}
	q := readTable(t, lake, "t__quarantine")
	said := map[string]string{
		"4,": "set total: the total of total: column x has a value, string, and had none when the table got its columns: the step does not take it",
		"9,": "set total: the total of total: column x has a value, string",
		"6,": "fill z: transform[2] fill of z: column z has a value, double, and had none when the table got its columns: the step makes it bigint",
		"7,": "set v: transform[3] set of v: column w has a value, date",
	}
	for i := range q.rows {
		text := func(name string) string { return q.columns[name][i].text }
		want, there := said[text("raw")[:2]]
		if got := text("rule") + " " + text("column") + ": " + text("message"); !there || !strings.HasPrefix(got, want) || text("stage") != "transform" || text("line") == "" {
			t.Errorf("%s is in quarantine by %s", text("raw"), got)
		}
	}
	if q.rows != len(said) {
		t.Errorf("%d rows are in quarantine, want %d", q.rows, len(said))
	}

	// Steps that take the values.
	config("len(x)", "len(y)", "fill: {z: 0}", "w == nil ? 0 : 1")
	r := exits(t, 3, "rejects", "replay", "t", "-c", conf)
	if !strings.Contains(r.stdout, "3 of 4 rows") || !strings.Contains(r.stdout, "fill of z: column z has a value, double") {
		t.Errorf("%v", r)
	}
	ok(t, "audit", "--deep", "t", "-c", conf)
	checkInvariants(t, lake, "t")
	x = readTable(t, lake, "t")
	values := map[string]string{}
	for i := range x.rows {
		values[at("id", i).text] = at("total", i).text + "/" + at("v", i).text
	}
	if values["4"] != "5/0" || values["9"] != "4/0" || values["7"] != "/1" || len(values) != 9 {
		t.Errorf("put back: %v", values)
	}
	// From the beginning the steps see the types, and a rebuild says what does not fit.
	config("x + 1", "len(y)", "fill: {z: 0.0}", "w == nil ? 0 : 1")
	r = exits(t, 2, "rebuild", "t", "-c", conf)
	if !strings.Contains(r.stderr, "x + 1") {
		t.Errorf("%v", r)
	}
	config("len(x)", "len(y)", "fill: {z: 0}", "w == nil ? 0 : 1")
	ok(t, "rebuild", "t", "-c", conf)
	ok(t, "audit", "--deep", "t", "-c", conf)
	if got := strings.Join(readTable(t, lake, "t.g3").list("id"), " "); got != "1 10 2 3 4 5 6 7 8 9" {
		t.Errorf("in the new generation are %s", got)
	}
}
