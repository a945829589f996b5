package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
)

// duckQuery asks DuckDB's program, or the one of deploy/duckdb.
func duckQuery(t *testing.T, lake, sql string) string {
	t.Helper()
	program := os.Getenv("LAKEFEED_DUCKDB")
	if program == "" {
		t.Skip("LAKEFEED_DUCKDB names no DuckDB program")
	}
	return ok(t, "query", sql, "--lake", lake, "--duckdb", program, "-o", "csv").stdout
}

const flightsConfig = `
lake: ./lake
feeds:
  - table: flights
    source: flights/*.csv
    partition_by: [month(departed_at), origin]
    transform:
      - rename: {tailnum: tail, dep_delay: delay_minutes}
      - cast: {dep_time: bigint, delay_minutes: bigint, distance: double}
      - where: dep_time != nil
      - set:
          departed_at: add_minutes(timestamp(date(year, month, day)), div(dep_time, 100) * 60 + dep_time % 100)
      - map: {carrier: {file: airlines.csv, key: carrier, value: name, into: airline}}
      - mask: {tail: keep-last-2}
      - drop: [time_hour, hour, minute]
  - table: cancelled
    topic: flights
    transform:
      - cast: {dep_time: bigint}
      - where: dep_time == nil
      - keep: [year, month, day, carrier, flight, origin, dest, sched_dep_time]
`

// The flights as a configuration transforms them are what DuckDB makes of the CSVs by
// SQL, in two tables of one topic.
func TestTransformedFlights(t *testing.T) {
	for _, c := range []struct{ name, flights, airlines string }{
		{"sample", "../sample/flights/*.csv", ""},
		{"two months", "nycflights13/flights-*.csv", "nycflights13/airlines.csv"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			glob, airlines := c.flights, "carrier,name\nAA,American Airlines Inc.\nUA,United Air Lines Inc.\nB6,JetBlue Airways\n"
			if c.airlines != "" {
				glob, airlines = filepath.Join(testdata(t, filepath.Dir(c.flights)), filepath.Base(c.flights)), readFile(t, testdata(t, c.airlines))
			}
			files, err := filepath.Glob(glob)
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %v %v", glob, files, err)
			}
			for _, f := range files {
				writeFile(t, filepath.Join(dir, "flights", filepath.Base(f)), readFile(t, f))
			}
			writeFile(t, filepath.Join(dir, "airlines.csv"), airlines)
			config := filepath.Join(dir, "lakefeed.yaml")
			writeFile(t, config, flightsConfig)
			ok(t, "ingest", "-c", config)
			lake := filepath.Join(dir, "lake")
			for _, table := range []string{"flights", "cancelled"} {
				ok(t, "audit", "--deep", table, "--lake", lake)
			}
			want := flightsByDuckDB(dir)
			have := map[string]string{
				"flights": `SELECT year, month, day, dep_time, sched_dep_time, delay_minutes, arr_time, arr_delay, carrier, flight, origin, dest, air_time, distance, departed_at, airline,
					NULLIF(tail, '***') AS tail, departed_at_month FROM flights`,
				"cancelled": `SELECT year, month, day, carrier, flight, origin, dest, sched_dep_time FROM cancelled`,
			}
			for table := range want {
				sql := fmt.Sprintf(`WITH have AS (%s), want AS (%s) SELECT (SELECT count(*) FROM have) > 0 AS some,
					(SELECT count(*) FROM have) = (SELECT count(*) FROM want) AS equal,
					(SELECT count(*) FROM (SELECT * FROM have EXCEPT ALL SELECT * FROM want)) AS more, (SELECT count(*) FROM (SELECT * FROM want EXCEPT ALL SELECT * FROM have)) AS missing`, have[table], want[table])
				if got := duckQuery(t, lake, sql); got != "some,equal,more,missing\ntrue,true,0,0\n" {
					t.Errorf("%s: %s", table, got)
				}
			}
		})
	}
}

// flightsByDuckDB are the tables of flightsConfig as SQL over the CSVs in a folder.
func flightsByDuckDB(dir string) map[string]string {
	source := fmt.Sprintf("read_csv('%s/flights/*.csv', union_by_name=true, nullstr='NA', types={'tailnum': 'VARCHAR'})", dir)
	const departed = "make_timestamp(year, f.month, day, 0, 0, 0) + to_minutes(dep_time // 100 * 60 + dep_time % 100)"
	return map[string]string{
		"flights": `SELECT year, f.month, day, dep_time, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, origin, dest, air_time, CAST(distance AS DOUBLE) AS distance,
			` + departed + ` AS departed_at, a.name AS airline, CASE WHEN tailnum IS NULL THEN NULL ELSE '***' || right(tailnum, 2) END AS tail, month(` + departed + `) AS departed_at_month
			FROM ` + source + ` f LEFT JOIN read_csv('` + dir + `/airlines.csv') a USING (carrier) WHERE dep_time IS NOT NULL`,
		"cancelled": `SELECT year, month, day, carrier, flight, origin, dest, sched_dep_time FROM ` + source + ` WHERE dep_time IS NULL`,
	}
}

// flightsCells are the columns of both tables as texts that DuckDB and Trino write
// alike.
var flightsCells = map[string][]string{
	"flights": {"year", "month", "day", "dep_time", "sched_dep_time", "delay_minutes", "arr_time", "arr_delay", "carrier", "flight", "origin", "dest", "air_time", "CAST(distance AS bigint)",
		"date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00', departed_at)", "airline", "tail", "departed_at_month"},
	"cancelled": {"year", "month", "day", "carrier", "flight", "origin", "dest", "sched_dep_time"},
}

// flightsConditions are what the tables are asked for.
var flightsConditions = map[string][]string{
	"flights": {"true", "airline = 'United Air Lines Inc.'", "airline IS NULL", "tail = '***UA' OR tail = '***AA'", "tail IS NULL", "delay_minutes > 60", "delay_minutes IS NULL",
		"departed_at >= TIMESTAMP '2013-01-31 12:00:00'", "departed_at_month = 2", "departed_at_month = 1 AND origin <> 'JFK'", "distance < 300", "carrier IN ('AA', 'B6')"},
	"cancelled": {"true", "origin = 'EWR'", "day <= 3", "carrier > 'MQ'", "month = 2 OR dest = 'ORD'"},
}

// flightsAsked is a statement with a row for each condition and airport: how many rows
// there are, and the sum of the hashes of each row's cells.
func flightsAsked(table, from, hash string) string {
	var cells, parts []string
	for _, c := range flightsCells[table] {
		cells = append(cells, "coalesce(CAST("+c+" AS varchar), 'none')")
	}
	hash = strings.ReplaceAll(hash, "?", strings.Join(cells, " || '|' || "))
	for i, condition := range flightsConditions[table] {
		parts = append(parts, fmt.Sprintf("SELECT '%02d ' || origin AS k, CAST(count(*) AS varchar) AS n, CAST(sum(%s) AS varchar) AS s FROM %s WHERE %s GROUP BY origin", i, hash, from, condition))
	}
	return strings.Join(parts, "\nUNION ALL ")
}

// The same with real parts: one process takes the CSVs through Kafka into two tables on
// S3 that are registered in Glue, and both Trino and DuckDB find in them what DuckDB
// makes of the CSVs by SQL.
func TestStackTransformedFlights(t *testing.T) {
	duckDB(t)
	dir := t.TempDir()
	for _, name := range []string{"flights-2013-01.csv", "flights-2013-02.csv"} {
		writeFile(t, filepath.Join(dir, "flights", name), readFile(t, testdata(t, "nycflights13/"+name)))
	}
	writeFile(t, filepath.Join(dir, "airlines.csv"), readFile(t, testdata(t, "nycflights13/airlines.csv")))
	s := newStack(t)
	config := filepath.Join(dir, "lakefeed.yaml")
	topic := testbed.Name("flights")
	text := strings.ReplaceAll(flightsConfig, "lake: ./lake", fmt.Sprintf("lake: s3://%s\nkafka: {bootstrap.servers: %q}\ncatalog: {glue: {database: %s}}", s.lake, s.kafka.Brokers, s.database))
	text = strings.ReplaceAll(text, "    source: flights/*.csv\n", "    source: flights/*.csv\n    topic: "+topic+"\n    flush: {size: 1MB}\n    group: "+topic+".flights\n")
	text = strings.ReplaceAll(text, "    topic: flights\n", "    topic: "+topic+"\n    group: "+topic+".cancelled\n")
	writeFile(t, config, text)
	ok(t, "ingest", "-c", config)

	lake := s.s3.Download(t, s.lake, "").Name()
	for table, sql := range flightsByDuckDB(dir) {
		want := map[string][]string{}
		csvs := "WITH csvs AS (" + strings.Replace(sql, "dep_delay", "dep_delay AS delay_minutes", 1) + ") "
		for _, row := range duckRows(t, csvs+flightsAsked(table, "csvs", duckHash)+";") {
			want[row[0]] = row[1:]
		}
		if len(want) < len(flightsConditions[table])*2 {
			t.Fatalf("table %s: the CSVs have little to compare: %v", table, want)
		}
		compare := func(engine, key string, got []string) {
			if !slices.Equal(got, want[key]) {
				n, _ := strconv.Atoi(key[:2])
				t.Errorf("%s of table %s where %s, at %s: rows and sum are %q in the lake and %q in the CSVs", engine, table, flightsConditions[table][n], key[3:], got, want[key])
			}
		}
		answers := s.query(t, flightsAsked(table, table, trinoHash))
		for _, row := range answers {
			compare("Trino", fmt.Sprint(row["k"]), []string{fmt.Sprint(row["n"]), fmt.Sprint(row["s"])})
		}
		files := fmt.Sprintf("read_parquet('%s/%s/**/*.parquet', hive_partitioning=true, union_by_name=true)", lake, table)
		again := duckRows(t, flightsAsked(table, files, duckHash)+";")
		for _, row := range again {
			compare("DuckDB", row[0], row[1:])
		}
		if len(answers) != len(want) || len(again) != len(want) {
			t.Errorf("table %s: %d answers of Trino and %d of DuckDB, want %d", table, len(answers), len(again), len(want))
		}
		t.Logf("table %s: %d answers of Trino and of DuckDB are those of the CSVs", table, len(want))
		ok(t, "audit", "--deep", table, "-c", config)
	}
	plan := fmt.Sprint(s.query(t, "EXPLAIN SELECT count(*) FROM flights WHERE departed_at_month = 2 AND origin = 'JFK'"))
	if strings.Contains(plan, "EWR") || !strings.Contains(plan, "JFK") {
		t.Errorf("partitions that the condition leaves out are read:\n%s", plan)
	}
}

// A feed whose steps are wrong, and one whose quarantine is full, do not stop another
// that reads the same topic.
func TestFeedsOfOneTopicAreIsolated(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "in.csv"), "id,n\n1,1\n2,x\n3,3\n")
	config := filepath.Join(dir, "lakefeed.yaml")
	writeFile(t, config, `
lake: ./lake
feeds:
  - {table: good, source: in.csv, topic: rows}
  - {table: wrong, topic: rows, transform: [{set: {y: nothing + 1}}]}
  - {table: full, topic: rows, transform: [{cast: {n: bigint}}]}
`)
	r := run(t, "ingest", "-c", config)
	if r.code == 0 || !strings.Contains(r.stderr, "there is no column nothing") || !strings.Contains(r.stderr, "feed full: 1 of 3 rows went into quarantine") {
		t.Errorf("%v", r)
	}
	lake := filepath.Join(dir, "lake")
	for table, rows := range map[string]int{"good": 3, "full": 2, "full__quarantine": 1} {
		if got := readTable(t, lake, table); got.rows != rows {
			t.Errorf("table %s has %d rows, want %d", table, got.rows, rows)
		}
	}
	ok(t, "audit", "--deep", "good", "--lake", lake)
	ok(t, "audit", "--deep", "full", "--lake", lake)
}

// The values of masked columns are nowhere in what readers of the lake can see, and in
// nothing that is printed.
func TestMaskedValuesAreNowhere(t *testing.T) {
	dir := t.TempDir()
	const canary = "canary"
	row := func(i int, email, card string) string {
		return fmt.Sprintf("%d,%s,%s,%s-ssn-%d,%s-note-%d,%d\n", i, email, card, canary, i, canary, i, i)
	}
	var text strings.Builder
	text.WriteString("id,email,card,ssn,note,n\n")
	for i := range 50 {
		text.WriteString(row(i, fmt.Sprintf("%s%d@example.org", canary, i), fmt.Sprintf("%d", 7741770000000000+i)))
	}
	text.WriteString(row(50, "not an address "+canary, canary+"-card")) // where others are numbers
	text.WriteString("51," + canary + "-too-few\n")
	text.WriteString(row(52, canary+",too,many", "1"))
	text.WriteString("53,\"" + canary + "\" bad quote,1,2,3,x9\n") // n is no number
	text.WriteString("54,a@b," + canary + ",s,n,x9\n")
	writeFile(t, filepath.Join(dir, "people.csv"), text.String())
	writeFile(t, filepath.Join(dir, "later.csv"), "id,email,card,ssn,note,n,"+"extra\n60,"+canary+"@later.org,7741771,"+canary+",x,1,2\n")
	writeFile(t, filepath.Join(dir, "key"), "the key of the masks, 32 characters")
	config := filepath.Join(dir, "lakefeed.yaml")
	writeFile(t, config, `
lake: ./lake
kafka_dir: ./kafka
feeds:
  - table: people
    source: [people.csv, later.csv]
    partition_by: ["truncate(email, 1)", card]
    meta: true
    quarantine: {max_share: 100%}
    schema: {on_null: rescue, nulls: {ssn: [none]}, on_new_column: rescue}
    transform:
      - trim: [email]
      - cast: {id: bigint, n: bigint}
      - lower: [email]
      - mask: {email: hmac, card: keep-last-1, ssn: redact, note: drop}
        key: {file: `+filepath.Join(dir, "key")+`}
      - set: {domain_free: len(email)}
`)
	var said []result
	say := func(code int, args ...string) { said = append(said, exits(t, code, args...)) }
	say(0, "ingest", "-c", config)
	lake := filepath.Join(dir, "lake")
	kafka := filepath.Join(dir, "kafka")
	say(0, "audit", "--deep", "people", "--lake", lake, "--kafka-dir", kafka)
	say(0, "ingest", "-c", config, "-o", "json", "--log-level", "debug")
	say(0, "schema", "log", "people", "--lake", lake)
	say(0, "schema", "show", "people", "--lake", lake, "-o", "json")
	for _, column := range []string{"email", "card", "ssn"} {
		say(0, "schema", "why", "people", column, "--lake", lake, "-o", "json")
	}
	say(0, "files", "people", "--lake", lake, "-o", "json")
	say(0, "rejects", "people", "--lake", lake, "-o", "json")

	secrets := []string{canary, "774177", "the key of the masks"}
	shows := func(where string, text []byte) {
		for _, s := range secrets {
			if i := bytes.Index(text, []byte(s)); i >= 0 {
				t.Errorf("%s shows %q: …%q…", where, s, text[max(0, i-80):min(len(text), i+80)])
			}
		}
	}
	for _, r := range said {
		shows("what is said", []byte(r.String()))
	}
	objects := 0
	err := filepath.WalkDir(lake, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			shows("a folder", []byte(name))
			return err
		}
		objects++
		shows("a name", []byte(name))
		shows(name, []byte(readFile(t, name)))
		return nil
	})
	if err != nil || objects < 8 {
		t.Fatalf("%d objects: %v", objects, err)
	}
	for table, rows := range map[string]int{"people": 52, "people__quarantine": 4} {
		x := readTable(t, lake, table)
		if table == "people__quarantine" && !strings.Contains(strings.Join(x.list("message"), "\n"), "the value, which is not shown as the feed has masks, is no bigint") {
			t.Errorf("messages %q", x.list("message"))
		}
		if x.rows != rows {
			t.Errorf("table %s has %d rows, want %d", table, x.rows, rows)
		}
		for name, cells := range x.columns {
			for _, c := range cells {
				shows("column "+name+" of "+table, []byte(c.text))
				if table == "people__quarantine" && name == "raw" && c.ok {
					t.Errorf("raw is %q", c.text)
				}
			}
		}
		for _, rescued := range x.rescued {
			shows("_rescued of "+table, fmt.Append(nil, rescued))
		}
	}
	if shown := readTable(t, lake, "people").columns["email"]; len(shown) == 0 || len(shown[0].text) != 64 {
		t.Errorf("email is not masked: %v", shown)
	}
}
