package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// stack is Kafka, S3 and Glue as lakefeed finds them, with a bucket for sources and
// one for the lake.
type stack struct {
	kafka    *testbed.KafkaServer
	s3       *testbed.S3
	glue     *testbed.GlueProxy
	moto     *testbed.S3
	trino    *testbed.TrinoServer
	database string
	source   string // bucket
	lake     string // bucket
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{kafka: testbed.Kafka(t), s3: testbed.MinIO(t), moto: testbed.Moto(t), trino: testbed.Trino(t), database: database()}
	s.glue = glueProxy(t)
	s.environment(t)
	s.source, s.lake = s.s3.Bucket(t), s.s3.Bucket(t)
	return s
}

// environment lets what is started next find the servers.
func (s *stack) environment(t *testing.T) {
	t.Helper()
	s.s3.Setenv(t)
	t.Setenv("AWS_ENDPOINT_URL_GLUE", s.glue.URL())
}

// produce and consume are command lines for a table, whose topic has its name.
func (s *stack) produce(table string) []string {
	return []string{"produce", "s3://" + s.source + "/", "--topic", table, "--brokers", s.kafka.Brokers, "--partitions", "4"}
}

func (s *stack) consume(table string, more ...string) []string {
	return append([]string{"consume", "--drain", "--table", table, "--lake", "s3://" + s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database, "--flush-size", "200kB"}, more...)
}

// query asks Trino through lakefeed.
func (s *stack) query(t *testing.T, sql string) []map[string]any {
	t.Helper()
	r := ok(t, "query", sql, "--trino-url", s.trino.Endpoint, "--trino-schema", s.database, "-o", "json")
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.UseNumber()
	var rows []map[string]any
	if err := d.Decode(&rows); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	return rows
}

// one is the only value of a result.
func (s *stack) one(t *testing.T, sql string) string {
	t.Helper()
	rows := s.query(t, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: %v", sql, rows)
	}
	for _, v := range rows[0] {
		return fmt.Sprint(v)
	}
	return ""
}

func numeral(n int) json.Number { return json.Number(fmt.Sprint(n)) }

// CSVs in a bucket go through Kafka and three consumers, which are killed again and
// again, into a bucket and a catalog; the engine inside Athena sees each row once.
func TestStackKilled(t *testing.T) {
	const files, each = 8, 20_000
	s := newStack(t)
	for n := range files {
		s.s3.Put(t, s.source, fmt.Sprintf("in/rows-%d.csv", n), []byte(rowsHeader+rowsCSV(n*each, (n+1)*each)))
	}
	table := strings.ReplaceAll(testbed.Name("rows"), "-", "_")
	for range 3 {
		p := start(t, nil, s.produce(table)...)
		time.Sleep(700 * time.Millisecond)
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
	}
	sending := start(t, nil, s.produce(table)...)
	for range 7 {
		var members []*process
		for range 3 {
			members = append(members, start(t, nil, s.consume(table)...))
		}
		time.Sleep(1500 * time.Millisecond)
		for _, p := range members {
			p.signal(t, syscall.SIGKILL)
			p.wait(t)
		}
	}
	// What a killed producer had begun is another's a minute later.
	if r := sending.wait(t); r.code != 0 {
		t.Fatalf("produce: %v", r)
	}
	until(t, "every object sent", func() bool {
		r := run(t, append(s.produce(table), "-o", "json")...)
		return r.code == 0 && !strings.Contains(r.stdout, "another producer")
	})
	var members []*process
	for range 3 {
		members = append(members, start(t, nil, s.consume(table)...))
	}
	for _, p := range members {
		if r := p.wait(t); r.code != 0 {
			t.Fatalf("consume: %v", r)
		}
	}
	readTable(t, s.s3.Download(t, s.lake, "").Name(), table).eachOnce(t, "id", files*each)
	const all = files * each
	for sql, want := range map[string]string{
		"SELECT count(*) FROM " + table:                                                     fmt.Sprint(all),
		"SELECT count(DISTINCT id) FROM " + table:                                           fmt.Sprint(all),
		"SELECT sum(id) FROM " + table:                                                      fmt.Sprint(all * (all - 1) / 2),
		"SELECT count(*) FROM " + table + " WHERE id < 5000":                                "5000",
		"SELECT id FROM " + table + " WHERE text = 'row 77, of 20000'":                      "77",
		"SELECT count(*) FROM " + table + " WHERE amount = 10.5":                            fmt.Sprint(all / 1000),
		"SELECT count(*) FROM " + table + " WHERE amount <> 10.5":                           fmt.Sprint(all - all/1000),
		"SELECT count(*) FROM " + table + " a JOIN " + table + " b ON a.id = b.id":          fmt.Sprint(all),
		"SELECT count(*) FROM " + table + " WHERE cardinality(map_keys(_rescued)) > 0":      "0",
		"SELECT count(*) FROM " + table + " WHERE _rescued IS NULL AND text LIKE '%of 20%'": "20000",
	} {
		if got := s.one(t, sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	ok(t, "audit", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers, "--deep")
}

// Kafka, S3, and the catalog with the engine are away for half a minute each in the
// middle of it; the catalog comes back with nothing in it.
func TestStackAway(t *testing.T) {
	const files, each, away = 4, 40_000, 30 * time.Second
	s := newStack(t)
	for n := range files {
		s.s3.Put(t, s.source, fmt.Sprintf("in/rows-%d.csv", n), []byte(rowsHeader+rowsCSV(n*each, (n+1)*each)))
	}
	table := strings.ReplaceAll(testbed.Name("rows"), "-", "_")
	run := startFor(t, 20*time.Minute, nil, "ingest", "s3://"+s.source+"/", "--follow", "--table", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers,
		"--partitions", "4", "--glue-database", s.database, "--flush-size", "100kB", "--flush-every", "2s")
	records := func() int {
		return len(s.s3.Keys(t, s.lake, "_lakefeed/"+table+"/g1/commits/"))
	}
	all := files * each
	more := func(name string) {
		s.s3.Put(t, s.source, name, []byte(rowsHeader+rowsCSV(all, all+1000)))
		all += 1000
	}
	until(t, "the first records", func() bool { return records() > 2 })
	s.kafka.Outage(t, away)
	more("in/rows-a.csv")
	s.s3.Outage(t, away)
	until(t, "every row", func() bool {
		return s.one(t, "SELECT count(*) FROM "+table) == fmt.Sprint(all)
	})

	began, before := time.Now(), records()
	back := testbed.Away(t, s.moto.Container, s.trino.Container)
	more("in/rows-b.csv")
	until(t, "a commit without a catalog", func() bool { return records() > before })
	if r := exits(t, 6, "query", "SELECT 1", "--trino-url", s.trino.Endpoint); !strings.Contains(r.stderr, s.trino.Endpoint) {
		t.Errorf("without Trino: %v", r)
	}
	const said = "table not registered, trying again; commits go on"
	until(t, "it says that the catalog is away", func() bool { return strings.Contains(run.stderr.String(), said) })
	time.Sleep(time.Until(began.Add(away)))
	back()
	more("in/rows-c.csv")
	until(t, "every row", func() bool {
		got, err := s.trino.In(s.database).Try("SELECT count(*) FROM " + table)
		return err == nil && fmt.Sprint(got[0][0]) == fmt.Sprint(all)
	})
	run.signal(t, syscall.SIGINT)
	if r := run.wait(t); r.code != 130 {
		t.Errorf("%v", r)
	}
	readTable(t, s.s3.Download(t, s.lake, "").Name(), table).eachOnce(t, "id", all)
	if got := s.one(t, "SELECT sum(id) FROM "+table); got != fmt.Sprint(all*(all-1)/2) {
		t.Error(got)
	}
	if r := ok(t, "register", table, "--lake", "s3://"+s.lake, "--glue-database", s.database); !strings.Contains(r.stdout, "all was there") {
		t.Errorf("%v", r)
	}
}

// The feed whose header goes from 6 to 14 columns, through all of the stack by two
// consumers that find its columns at once: the engine sees what DuckDB sees in the
// lake's files, column by column, with conditions too.
func TestStackEvolves(t *testing.T) {
	folder := testdata(t, "csse_daily")
	s := newStack(t)
	names, err := filepath.Glob(filepath.Join(folder, "*.csv"))
	if err != nil || len(names) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range names {
		s.s3.Put(t, s.source, filepath.Base(name), []byte(readFile(t, name)))
	}
	table := strings.ReplaceAll(testbed.Name("csse"), "-", "_")
	ok(t, s.produce(table)...)
	members := []*process{start(t, nil, s.consume(table)...), start(t, nil, s.consume(table)...)}
	for _, p := range members {
		if r := p.wait(t); r.code != 0 {
			t.Fatalf("consume: %v", r)
		}
	}
	have := readTable(t, s.s3.Download(t, s.lake, "").Name(), table)
	if len(have.columns) != 16 { // beside _rescued
		t.Errorf("%d columns", len(have.columns))
	}
	if got := s.one(t, "SELECT count(*) FROM "+table); got != fmt.Sprint(have.rows) {
		t.Errorf("%s rows, the files have %d", got, have.rows)
	}
	for name, cells := range have.columns {
		if name == "_rescued" {
			continue
		}
		valued := 0
		for _, c := range cells {
			if c.ok {
				valued++
			}
		}
		quoted := `"` + name + `"`
		sql := fmt.Sprintf("SELECT (SELECT count(%[1]s) FROM %[2]s) AS valued, (SELECT count(*) FROM %[2]s WHERE %[1]s IS NULL) AS empty, "+
			"(SELECT count(*) FROM %[2]s WHERE %[1]s >= (SELECT min(%[1]s) FROM %[2]s)) AS least", quoted, table)
		want := []map[string]any{{"valued": numeral(valued), "empty": numeral(have.rows - valued), "least": numeral(valued)}}
		if got := s.query(t, sql); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// Partitions that a condition leaves out are not read.
func TestStackPrunes(t *testing.T) {
	s := newStack(t)
	for _, day := range []string{"01", "02", "03"} {
		s.s3.Put(t, s.source, "d"+day+".csv", []byte("id,day\n1,2026-01-"+day+"\n2,2026-01-"+day+"\n"))
	}
	table := strings.ReplaceAll(testbed.Name("days"), "-", "_")
	ok(t, s.produce(table)...)
	ok(t, s.consume(table, "--partition-by", "date(day)")...)
	got := s.query(t, `SELECT "$partition" AS p, count(*) AS n FROM `+table+` WHERE day_date = DATE '2026-01-02' GROUP BY 1`)
	want := []map[string]any{{"p": "day_date=2026-01-02", "n": json.Number("2")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	var plan strings.Builder
	for _, row := range s.query(t, "EXPLAIN SELECT count(*) FROM "+table+" WHERE day_date = DATE '2026-01-02'") {
		for _, v := range row {
			fmt.Fprintln(&plan, v)
		}
	}
	if text := plan.String(); !strings.Contains(text, "[[2026-01-02]]") || strings.Contains(text, "Filter") {
		t.Errorf("the plan reads more than the partition:\n%s", text)
	}
}
