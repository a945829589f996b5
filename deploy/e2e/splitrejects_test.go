package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// splitRejects writes files with 100 rejects of each rule among good rows, with the
// columns id, n and s, and gives where each is, by its id: file:line.
func splitRejects(t *testing.T, dir string) (rejects map[string]string, ids int) {
	t.Helper()
	rejects = map[string]string{}
	var text strings.Builder
	line, name := 0, ""
	begin := func(file string) {
		name, line = file, 1
		text.Reset()
		text.WriteString("id,n,s\n")
	}
	good := func() {
		line++
		fmt.Fprintf(&text, "%d,%d,naïve\n", ids, ids)
		ids++
	}
	bad := func(row string) {
		line++
		rejects[strconv.Itoa(ids)] = fmt.Sprintf("%s:%d", name, line)
		text.WriteString(strings.ReplaceAll(row, "ID", strconv.Itoa(ids)) + "\n")
		ids++
	}
	end := func() { writeFile(t, filepath.Join(dir, name), text.String()) }

	for i := range 100 {
		begin(fmt.Sprintf("open_quote-%02d.csv", i))
		good()
		bad(`ID,ID,"sID, more`)
		good()
		end()
	}
	begin("encoding.csv")
	for range 100 {
		good()
		bad("ID,ID,caf\xe9")
	}
	end()
	begin("footer.csv")
	for range 300 {
		good()
	}
	for range 100 {
		bad("Note ID: as of last year")
	}
	end()
	begin("second_table.csv")
	for range 300 {
		good()
	}
	text.WriteString("\n")
	line++
	bad("codeID,name,remark,since,until")
	for range 99 {
		bad("ID,x,y,z,w")
	}
	end()
	// Records of more than 4 MiB, which are hardly anything when they are packed.
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 4<<20)
	begin("too_long.csv.gz")
	for range 100 {
		good()
		bad("ID,ID," + long)
		if _, err := z.Write([]byte(text.String())); err != nil {
			t.Fatal(err)
		}
		text.Reset()
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), packed.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return rejects, ids
}

// Of each rule of the splitter 100 rejects: all are in quarantine with source and line.
// With what the configuration says later of the sources' form they are split again and
// taken into the table, once each, by a replay as by a rebuild. Those that were not kept
// whole stay, and say what to do.
func TestSplitRejectsAreReplayed(t *testing.T) {
	if testing.Short() {
		t.Skip("half a GB of records that are too long")
	}
	t.Parallel()
	dir := t.TempDir()
	lake, conf := filepath.Join(dir, "lake"), filepath.Join(dir, "lakefeed.yaml")
	config := func(form, schema string) {
		writeFile(t, conf, fmt.Sprintf("lake: lake\nfeeds:\n  - {table: t, source: in, meta: true, csv: %s, schema: %s}\n", form, schema))
	}
	config("{encoding: utf-8}", "{}")
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o777); err != nil {
		t.Fatal(err)
	}
	rejects, ids := splitRejects(t, filepath.Join(dir, "in"))
	if len(rejects) != 500 {
		t.Fatalf("%d rejects", len(rejects))
	}
	exits(t, 3, "ingest", "-c", conf)
	if x := readTable(t, lake, "t"); x.rows != ids-500 {
		t.Errorf("%d rows are in the table, want the %d good ones", x.rows, ids-500)
	}
	q := readTable(t, lake, "t__quarantine")
	at := map[string]int{}
	for i := range q.rows {
		file := filepath.Base(q.columns["source"][i].text)
		if rule := q.columns["rule"][i].text; !strings.HasPrefix(file, rule) || q.columns["stage"][i].text != "split" {
			t.Errorf("a row of %s has the rule %s", file, rule)
		}
		at[file+":"+q.columns["line"][i].text]++
	}
	for id, where := range rejects {
		if at[where] != 1 {
			t.Errorf("reject %s, at %s, is %d times in quarantine", id, where, at[where])
		}
	}
	if q.rows != 500 {
		t.Errorf("%d rows are in quarantine", q.rows)
	}

	// Without a fix each says what would be one, and stays.
	exits(t, 3, "rejects", "replay", "t", "-c", conf, "--where", "rule=encoding")
	r := exits(t, 3, "rejects", "replay", "t", "-c", conf)
	for _, remedy := range []string{"csv: {encoding: windows-1252}", "csv: {quote: none}", "csv: {tail: false}"} {
		if !strings.Contains(r.stdout, remedy) {
			t.Errorf("%s is not named: %v", remedy, r)
		}
	}
	// One kind by flags, the others by the file.
	if r := ok(t, "rejects", "replay", "t", "-c", conf, "--where", "rule=footer", "--no-tail", "--on-cell-count", "rescue"); !strings.Contains(r.stdout, "100 of 100 rows") {
		t.Errorf("footers: %v", r)
	}
	checkInvariants(t, lake, "t")
	config("{encoding: windows-1252, quote: none, tail: false}", "{on_cell_count: rescue}")
	r = exits(t, 3, "rejects", "replay", "t", "-c", conf)
	if !strings.Contains(r.stdout, "300 of 400 rows") || !strings.Contains(r.stdout, "only its first 65536 bytes were kept: send the source again under another name") {
		t.Errorf("the others: %v", r)
	}
	ok(t, "ingest", "-c", conf)
	ok(t, "audit", "--deep", "t", "-c", conf)
	checkInvariants(t, lake, "t")
	mended(t, lake, "t", rejects, ids)

	ok(t, "rebuild", "t", "-c", conf)
	ok(t, "audit", "--deep", "t", "-c", conf)
	mended(t, lake, "t.g2", rejects, ids)
}

// mended checks that each row is there once, with the cells of its bytes, but for those
// that were too long.
func mended(t *testing.T, lake, folder string, rejects map[string]string, ids int) {
	t.Helper()
	x := readTable(t, lake, folder)
	seen := map[string]int{}
	for i := range x.rows {
		text := func(name string) string { return x.columns[name][i].text }
		id := text("id")
		if !x.columns["id"][i].ok {
			id = x.rescued[i]["id"]
		}
		number := strings.TrimFunc(id, func(r rune) bool { return r < '0' || r > '9' }) // of "Note 17: as of last year" and code17
		seen[number]++
		where, was := rejects[number]
		file := filepath.Base(text("_source"))
		if !was {
			if text("s") != "naïve" || text("n") != number || len(x.rescued[i]) > 0 {
				t.Errorf("row %s of %s: s %q, n %q, rescued %v", id, file, text("s"), text("n"), x.rescued[i])
			}
			continue
		}
		if !strings.HasPrefix(where, file+":") {
			t.Errorf("row %s is of %s, want %s", id, file, where)
		}
		rule, _, _ := strings.Cut(strings.TrimSuffix(file, ".csv"), "-")
		switch {
		case rule == "open_quote" && (text("s") != `"s`+number || x.rescued[i]["_cell_4"] != " more"),
			rule == "encoding" && text("s") != "café",
			rule == "footer" && id != "Note "+number+": as of last year",
			rule == "second_table" && x.rescued[i]["_cell_5"] != "w" && x.rescued[i]["_cell_5"] != "until",
			rule == "too_long.csv.gz":
			t.Errorf("row %s of %s: s %q, rescued %v", id, file, text("s"), x.rescued[i])
		}
	}
	for n := range ids {
		id := strconv.Itoa(n)
		want := 1
		if strings.HasPrefix(rejects[id], "too_long") {
			want = 0
		}
		if seen[id] != want {
			t.Errorf("row %s is there %d times, want %d", id, seen[id], want)
		}
	}
	q := readTable(t, lake, strings.Replace(folder, "t", "t__quarantine", 1))
	for i := range q.rows {
		if rule := q.columns["rule"][i].text; rule != "too_long" {
			t.Errorf("of rule %s a row is in quarantine still", rule)
		}
	}
	if q.rows != 100 {
		t.Errorf("%d rows are in quarantine, want those that are too long", q.rows)
	}
}
