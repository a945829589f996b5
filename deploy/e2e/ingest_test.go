package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func TestSample(t *testing.T) {
	t.Parallel()
	lake := filepath.Join(t.TempDir(), "lake")
	flights := filepath.Join(module, "deploy", "sample", "flights")
	first := ingest(t, flights, "--lake", lake)
	if first.Table != "flights" || first.Sent != 1254 || first.Rows != 1254 || first.Total.Rows != 1254 || len(first.Objects) != 4 || first.Rescued+first.Quarantined != 0 {
		t.Errorf("the summary is %+v", first)
	}
	x := readTable(t, lake, "flights")
	if sum, n := x.sum(t, "distance"); x.rows != 1254 || sum != 1601361 || n != 1254 {
		t.Errorf("%d rows, distances add up to %d in %d rows", x.rows, sum, n)
	}
	if _, n := x.sum(t, "dep_time"); n != 1251 {
		t.Errorf("dep_time is there in %d rows, want 1,251: NA is null in a column of numbers", n)
	}
	// The column that only the last file has, whose columns are in another order.
	counts := map[string]int{}
	for _, c := range x.columns["cancelled"] {
		counts[c.text]++
	}
	if diff := cmp.Diff(map[string]int{"": 936, "false": 317, "true": 1}, counts); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
	if got := x.list("time_hour")[0]; got != "2013-01-01T10:00:00Z" {
		t.Errorf("the first time_hour is %s", got)
	}

	files := dataFiles(t, filepath.Join(lake, "flights"))
	second := ingest(t, flights, "--lake", lake)
	if second.Sent != 0 || second.Rows != 0 || second.Total.Rows != 1254 {
		t.Errorf("the second run's summary is %+v", second)
	}
	if again := dataFiles(t, filepath.Join(lake, "flights")); !slices.Equal(files, again) {
		t.Errorf("the second run changed the files:\n%q\n%q", files, again)
	}
	if left := leftovers(t, lake, "flights"); len(left) > 0 {
		t.Errorf("staged files are left: %q", left)
	}

	t.Run("duckdb", func(t *testing.T) {
		query := strings.Replace(first.Query, "SELECT *", "SELECT count(*), sum(distance), count(dep_time), count(cancelled), min(time_hour AT TIME ZONE 'UTC')", 1)
		want := []any{"1254", "1601361", "1251", "318", "2013-01-01 10:00:00"}
		if diff := cmp.Diff(want, duck(t, query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	})
}

func TestSchemaCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake := filepath.Join(dir, "lake")
	writeFile(t, filepath.Join(dir, "orders.csv"), "Order ID,Größe,When,Ok,Nothing,Price\n1,x,2020-01-01,true,,1.5\n2,NA,2020-01-02,FALSE,NA,2\n")
	ingest(t, filepath.Join(dir, "orders.csv"), "--lake", lake, "--partition-by", "date(when)")
	show := ok(t, "schema", "show", "orders", "--lake", lake).stdout
	for column, typ := range map[string]string{"order_id": "bigint", "groesse": "string", "when": "date", "ok": "boolean", "nothing": "string", "price": "double", "_rescued": "map<string,string>", "when_date": "date"} {
		found := false
		for line := range strings.Lines(show) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == column && strings.HasPrefix(f[1], typ) {
				found = true
			}
		}
		if !found {
			t.Errorf("schema show has no column %s %s:\n%s", column, typ, show)
		}
	}
	if r := ok(t, "schema", "show", "orders", "--lake", lake, "-o", "json"); !strings.HasPrefix(r.stdout, "{") {
		t.Errorf("schema show -o json prints %v", r)
	}
	ddl := ok(t, "schema", "ddl", "orders", "--lake", lake, "--location", "s3://bucket/lake").stdout
	for _, part := range []string{"CREATE EXTERNAL TABLE", "`order_id` bigint", "PARTITIONED BY (\n  `when_date` date", "STORED AS PARQUET", "LOCATION 's3://bucket/lake/orders/'"} {
		if !strings.Contains(ddl, part) {
			t.Errorf("schema ddl lacks %q:\n%s", part, ddl)
		}
	}
	// A column of nulls is in no file, and a null token is text in a column of text.
	x := readTable(t, lake, "orders")
	if _, there := x.types["nothing"]; there {
		t.Error("a column of nulls is in the files")
	}
	if diff := cmp.Diff([]string{"NA", "x"}, x.list("groesse")); diff != "" {
		t.Errorf("groesse (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"2020-01-01", "2020-01-02"}, x.list("when_date")); diff != "" {
		t.Errorf("when_date (-want +got):\n%s", diff)
	}
}

func TestAppendedAndChangedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 100))
	if s := ingest(t, source, "--lake", lake); s.Rows != 100 {
		t.Fatalf("the first run's summary is %+v", s)
	}
	appendFile(t, source, rowsCSV(100, 130))
	if s := ingest(t, source, "--lake", lake); s.Sent != 30 || s.Rows != 30 || s.Total.Rows != 130 {
		t.Errorf("30 lines were appended, and the summary is %+v", s)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 130)

	// A change in the middle makes another version: all its rows are new ones.
	text := readFile(t, source)
	writeFile(t, source, strings.Replace(text, "\n7,", "\n7000,", 1))
	r := ok(t, "ingest", "-o", "json", source, "--lake", lake)
	if s := parse(t, r); s.Rows != 130 || s.Total.Rows != 260 {
		t.Errorf("the file was changed, and the summary is %+v", s)
	}
	if !strings.Contains(r.stderr, "warning") {
		t.Errorf("a changed file gave no warning: %q", r.stderr)
	}
	if ids := readTable(t, lake, "rows").list("id"); !slices.Contains(ids, "7") || !slices.Contains(ids, "7000") {
		t.Error("the rows of both versions should be there")
	}
}

func TestSourcesOfEveryKind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake := filepath.Join(dir, "lake")
	var zipped bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	gz.Write([]byte("\xEF\xBB\xBFid;text\r\n0;a\r\n1;\"b;\r\nc\"")) // BOM, semicolons, CR LF, no line end at the end
	gz.Close()
	writeFile(t, filepath.Join(dir, "in", "part-1.csv.gz"), zipped.String())
	zs, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "in", "part-2.csv.zst"), string(zs.EncodeAll([]byte("text\tid\nd\t2\n\"\"\t3\n"), nil)))
	writeFile(t, filepath.Join(dir, "in", "other.txt"), "this is not one of them\n")
	if s := ingest(t, filepath.Join(dir, "in", "part-*"), "--lake", lake); s.Table != "part" || s.Rows != 4 {
		t.Errorf("the glob's summary is %+v", s)
	}
	stdin := filepath.Join(dir, "stdin")
	writeFile(t, stdin, "id,text\n4,\n")
	f, err := os.Open(stdin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := start(t, f, "ingest", "-", "--table", "part", "--lake", lake).wait(t); r.code != 0 {
		t.Errorf("standard input: %v", r)
	}
	x := readTable(t, lake, "part")
	x.eachOnce(t, "id", 5)
	if diff := cmp.Diff([]string{"", "a", "b;\r\nc", "d", "~"}, x.list("text")); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// A row that cannot become a record, and bytes that are no row, are kept with
// reason and line; beyond the share that is allowed the run exits with 3. A cell
// that does not fit its column is rescued.
func TestQuarantineAndRescue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 50))
	ingest(t, source, "--lake", lake)
	bad := filepath.Join(dir, "rows2.csv")
	writeFile(t, bad, rowsHeader+"50,x,1.5\n51,x\nfifty-two,x,07\n53,x,1,5\n\"54,x,1,6\n55,y,2\n")
	r := exits(t, 3, "ingest", bad, "--table", "rows", "--lake", lake)
	if !strings.Contains(r.stderr, "rows__quarantine") {
		t.Errorf("exit 3 does not say where the rows are: %v", r)
	}
	x := readTable(t, lake, "rows")
	if ids := x.list("id"); !slices.Contains(ids, "50") || !slices.Contains(ids, "55") || x.rows != 53 {
		t.Errorf("the good rows are not in the lake: %d rows", x.rows)
	}
	var rescued []map[string]string
	for _, m := range x.rescued {
		if m != nil {
			rescued = append(rescued, m)
		}
	}
	if diff := cmp.Diff([]map[string]string{{"id": "fifty-two", "amount": "07"}}, rescued); diff != "" {
		t.Errorf("rescued (-want +got):\n%s", diff)
	}
	q := readTable(t, lake, "rows__quarantine")
	var got []string
	for i := range q.rows {
		got = append(got, strings.Join([]string{q.columns["line"][i].text, q.columns["rule"][i].text, q.columns["raw"][i].text}, " "))
		if !strings.HasSuffix(q.columns["source"][i].text, "/rows2.csv") || q.columns["message"][i].text == "" {
			t.Errorf("quarantined row %d has no source or message", i)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"3 cell_count 51,x", "5 cell_count 53,x,1,5", "6 open_quote \"54,x,1,6"}, got); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	// The same again is not there twice.
	if r := run(t, "ingest", bad, "--table", "rows", "--lake", lake); r.code != 0 {
		t.Errorf("nothing new is in quarantine: %v", r)
	}
	if n := readTable(t, lake, "rows__quarantine").rows; n != 3 {
		t.Errorf("after a second run the quarantine has %d rows, want 3", n)
	}
	if s := ingest(t, bad, "--table", "other", "--lake", lake, "--quarantine-max-share", "60%"); s.Quarantined != 3 {
		t.Errorf("with a higher threshold the summary is %+v", s)
	}
}

func TestHivePartitions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	var b strings.Builder
	b.WriteString("id,place,at\n")
	day := func(i int) string { return fmt.Sprintf("%d-%02d-%02d", 2020+i/336, 1+i/28%12, 1+i%28) }
	places := []string{"a/b", "x=y", "50% off", `"q,r"`, "", "Köln", "a:b"}
	for i := range 700 { // more of them than files are open at once anywhere
		fmt.Fprintf(&b, "%d,%s,%s 10:00:00\n", i, places[i%7], day(i))
	}
	writeFile(t, source, b.String())
	s := ingest(t, source, "--lake", lake, "--partition-by", "place,date(at)")
	x := readTable(t, lake, "rows")
	x.eachOnce(t, "id", 700)
	if s.Total.Partitions != 700 || x.files < 700 {
		t.Errorf("%d partitions in %d files: %+v", s.Total.Partitions, x.files, s)
	}
	for i, id := range x.columns["id"] {
		n, _ := strconv.Atoi(id.text)
		place := strings.Trim(places[n%7], `"`)
		if got := x.columns["place"][i]; got.text != place || got.ok != (place != "") {
			t.Fatalf("row %d has place %q, want %q", n, got.text, place)
		}
		if got, want := x.columns["at_date"][i].text, day(n); got != want {
			t.Fatalf("row %d has at_date %s, want %s", n, got, want)
		}
	}
	// Another partitioning of the same table is refused, with nothing changed.
	if r := exits(t, 2, "ingest", source, "--lake", lake, "--partition-by", "place"); !strings.Contains(r.stderr, "partitioned by") {
		t.Errorf("another shape: %v", r)
	}
	t.Run("duckdb", func(t *testing.T) {
		query := strings.Replace(s.Query, "SELECT *", "SELECT count(*), count(DISTINCT id), count(DISTINCT place), count(place), count(DISTINCT at_date)", 1)
		if diff := cmp.Diff([]any{"700", "700", "6", "600", "700"}, duck(t, query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	})
}

// Killed again and again in the middle of its work, and started again each time,
// a run ends with every row there once.
func TestKilled(t *testing.T) {
	t.Parallel()
	const rows = 200_000
	dir := t.TempDir()
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	args := []string{"ingest", source, "--lake", lake, "--flush-size", "300kB"}
	middle := 0
	for kill := range 4 {
		p := start(t, nil, args...)
		target := commits(lake, "rows") + kill
		ended := make(chan struct{})
		go func() { p.cmd.Wait(); close(ended) }()
		until(t, "a commit", func() bool {
			select {
			case <-ended:
				return true
			default:
				return exists(filepath.Join(lake, "_lakefeed", "rows", "table.json")) && commits(lake, "rows") >= target
			}
		})
		select {
		case <-ended:
		default:
			middle++
			p.signal(t, syscall.SIGKILL)
			<-ended
		}
		// What a reader sees in between is right, too: no row twice.
		if exists(filepath.Join(lake, "rows")) {
			seen := map[string]bool{}
			for _, c := range readTable(t, lake, "rows").columns["id"] {
				if seen[c.text] {
					t.Fatalf("after kill %d row %s is there twice", kill, c.text)
				}
				seen[c.text] = true
			}
		}
	}
	if middle == 0 {
		t.Error("every run ended before it could be killed: the test shows nothing")
	}
	s := ingest(t, args[1:]...)
	readTable(t, lake, "rows").eachOnce(t, "id", rows)
	if s.Total.Rows != rows {
		t.Errorf("the catalog counts %d rows", s.Total.Rows)
	}
	if s := ingest(t, args[1:]...); s.Sent != 0 || s.Rows != 0 {
		t.Errorf("a run after the last: %+v", s)
	}
}

// --follow takes appended lines and new files one flush later, and an interrupt
// commits what was read and leaves nothing half-done.
func TestFollowAndInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, 10))
	p := start(t, nil, "ingest", in, "--lake", lake, "--table", "rows", "--follow", "--flush-every", "500ms", "-o", "json")
	has := func(rows int) func() bool {
		return func() bool {
			return exists(filepath.Join(lake, "rows")) && readTable(t, lake, "rows").rows >= rows
		}
	}
	until(t, "the first rows", has(10))
	appendFile(t, filepath.Join(in, "a.csv"), rowsCSV(10, 15)+"15,\"half a li")
	writeFile(t, filepath.Join(in, "b.csv"), rowsHeader+rowsCSV(16, 20))
	until(t, "appended lines and a new file", has(19))
	appendFile(t, filepath.Join(in, "a.csv"), "ne\",1.5\n")
	until(t, "the rest of a line", has(20))
	p.signal(t, syscall.SIGINT)
	r := p.wait(t)
	if r.code != 130 {
		t.Errorf("interrupted: want exit 130, got %v", r)
	}
	if s := parse(t, r); s.Total.Rows != 20 {
		t.Errorf("the summary of an interrupted run is %+v", s)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 20)
	if left := leftovers(t, lake, "rows"); len(left) > 0 {
		t.Errorf("staged files are left: %q", left)
	}
	// The next run, without --follow, has nothing to do but what came since.
	appendFile(t, filepath.Join(in, "b.csv"), rowsCSV(20, 25))
	if s := ingest(t, in, "--lake", lake, "--table", "rows"); s.Rows != 5 {
		t.Errorf("the next run's summary is %+v", s)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 25)
}

// An interrupt in the middle of a long run drains: what was read is committed,
// and the next run takes the rest.
func TestInterruptedInTheMiddle(t *testing.T) {
	t.Parallel()
	const rows = 300_000
	dir := t.TempDir()
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	args := []string{"ingest", source, "--lake", lake, "--flush-size", "300kB"}
	p := start(t, nil, args...)
	until(t, "a commit", func() bool { return commits(lake, "rows") >= 2 })
	p.signal(t, syscall.SIGINT)
	if r := p.wait(t); r.code != 130 && r.code != 0 { // 0 when it was done by then
		t.Errorf("interrupted: want exit 130, got %v", r)
	}
	if left := leftovers(t, lake, "rows"); len(left) > 0 {
		t.Errorf("staged files are left: %q", left)
	}
	ingest(t, args[1:]...)
	readTable(t, lake, "rows").eachOnce(t, "id", rows)
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 3))
	for what, args := range map[string][]string{
		"unknown command":     {"ingset"},
		"unknown flag":        {"ingest", source, "--lakes", "x"},
		"no source":           {"ingest"},
		"table name":          {"ingest", source, "--table", "Not A Table"},
		"stdin without table": {"ingest", "-"},
		"S3 lake":             {"ingest", source, "--lake", "s3://bucket/prefix"},
		"partition term":      {"ingest", source, "--lake", filepath.Join(dir, "l1"), "--partition-by", "date(id"},
		"SASL without TLS":    {"ingest", source, "--lake", filepath.Join(dir, "l2"), "--brokers", "127.0.0.1:1", "--kafka", "security.protocol=SASL_PLAINTEXT"},
	} {
		if r := run(t, args...); r.code != 2 || r.stderr == "" || r.stdout != "" {
			t.Errorf("%s: want exit 2 and nothing on standard output, got %v", what, r)
		}
	}
	if r := run(t, "ingest", filepath.Join(dir, "none.csv"), "--lake", filepath.Join(dir, "l3")); r.code == 0 || !strings.Contains(r.stderr, "none.csv") {
		t.Errorf("a source that is not there: %v", r)
	}
	if r := ok(t, "--help"); !strings.Contains(r.stdout, "ingest") {
		t.Errorf("--help prints %v", r)
	}
}

func TestSniff(t *testing.T) {
	t.Parallel()
	r := ok(t, "sniff", filepath.Join(module, "deploy", "sample", "flights", "2013-01-04.csv"), "-o", "json")
	for _, part := range []string{`"delimiter": ","`, `"name": "cancelled"`, `"type": "boolean"`, `"type": "timestamp with time zone"`} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("sniff lacks %s:\n%s", part, r.stdout)
		}
	}
}

func TestDryRunPrintsCSV(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, "a;b\n1;\"x;y\"\n;\"\"\n")
	if r := ok(t, "produce", "--dry-run", source); r.stdout != "a,b\n1,\"x;y\"\n,\"\"\n" && r.stdout != "a,b\n1,x;y\n,\"\"\n" {
		t.Errorf("--dry-run printed %q", r.stdout)
	}
}

// What decided the dialect is told, what is not of the table goes into quarantine or is
// told, and every choice can be given.
func TestSniffSaysWhy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.csv")
	text := "Sales report\n\nid;name;price\n1;a;1,5\n2;b;2,25\nx;y\n3;c;4\nid;name;price\n4;d;5\n\nSource: me\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Dialect struct {
			Delimiter string
			Skip      int
		}
		Tail struct{ Rule string }
		Why  struct {
			Candidates []struct {
				Dialect struct{ Delimiter string }
				Score   float64
			}
			Header                 string
			Columns                []struct{ Name, Why string }
			Preamble, Ragged, Tail []struct {
				Line int
				Text string
			}
		}
	}
	if err := json.Unmarshal([]byte(ok(t, "sniff", file, "-o", "json").stdout), &got); err != nil {
		t.Fatal(err)
	}
	w := got.Why
	if got.Dialect.Delimiter != ";" || got.Dialect.Skip != 2 || got.Tail.Rule != "footer" || w.Header == "" ||
		len(w.Candidates) < 2 || w.Candidates[0].Dialect.Delimiter != ";" || w.Candidates[0].Score <= w.Candidates[1].Score ||
		len(w.Preamble) != 1 || w.Preamble[0].Text != "Sales report" || len(w.Tail) != 1 || w.Tail[0].Line != 11 ||
		len(w.Columns) == 0 || w.Columns[0].Name != "id" || len(w.Ragged) == 0 || w.Ragged[0].Text != "x;y" {
		t.Errorf("%+v", got)
	}
	if r := ok(t, "sniff", file); !strings.Contains(r.stdout, "text over numbers") || !strings.Contains(r.stdout, "Sales report") {
		t.Error(r)
	}
	r := ok(t, "produce", "--dry-run", file)
	if want := "id,name,price\n1,a,\"1,5\"\n2,b,\"2,25\"\nx,y\n3,c,4\n4,d,5\n"; r.stdout != want {
		t.Errorf("want\n%s%v", want, r)
	}
	for _, said := range []string{"Sales report", "footer", "1 of its rows are the header again"} {
		if !strings.Contains(r.stderr, said) {
			t.Errorf("%q is not said: %v", said, r)
		}
	}
	r = ok(t, "produce", "--dry-run", file, "--skip", "0", "--no-header", "--no-tail", "--delimiter", ";")
	if !strings.HasPrefix(r.stdout, "Sales report\nid,name,price\n") || !strings.HasSuffix(r.stdout, "Source: me\n") {
		t.Error(r)
	}
	s := ingest(t, file, "--lake", filepath.Join(t.TempDir(), "lake"), "--table", "sales", "--quarantine-max-share", "100%")
	if s.Quarantined != 2 { // the footer, and the row that has not three cells
		t.Errorf("the summary is %+v", s)
	}
}
