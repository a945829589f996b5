package e2e

import (
	"fmt"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lakefeed/deploy/testbed"
)

// csvFeed are CSVs, and what their table should be: worked out from the text of the
// files by DuckDB, which shares no code with the way that the rows take.
type csvFeed struct {
	name    string
	files   map[string]string // local paths by key
	flags   []string          // of ingest and of consume
	columns []csvColumn
}

// csvColumn is a column of the table.
type csvColumn struct {
	name, typ string // as the catalog has them
	cells     string // in DuckDB, of text columns that are named as in the files
}

// of makes a column of one of the files.
func (c csvColumn) of(column string) csvColumn {
	text := `"` + column + `"`
	if c.typ != "string" {
		text = `CASE WHEN ` + text + ` NOT IN ('NA', '\N', 'NULL', 'null') THEN ` + text + ` END`
		text = fmt.Sprintf("CAST(%s AS %s)", text, c.typ)
	}
	c.cells = text
	return c
}

// load reads the files into a table of DuckDB.
func (f *csvFeed) load() string {
	var files, cells []string
	for _, key := range slices.Sorted(maps.Keys(f.files)) {
		files = append(files, quoted(f.files[key]))
	}
	for _, c := range f.columns {
		cells = append(cells, c.cells+` AS "`+c.name+`"`)
	}
	return "CREATE TABLE csvs AS SELECT " + strings.Join(cells, ", ") + " FROM read_csv([" + strings.Join(files, ", ") + "], header=true, all_varchar=true, " +
		"union_by_name=true, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, strict_mode=false);\n"
}

// sum adds a column's cells up: text by a hash of each cell.
func (c *csvColumn) sum(hash string) string {
	column := `"` + c.name + `"`
	switch c.typ {
	case "string":
		return "sum(" + strings.ReplaceAll(hash, "?", column) + ")"
	case "bigint":
		return "sum(CAST(" + column + " AS decimal(38,0)))"
	case "boolean":
		return "sum(CASE WHEN " + column + " THEN 1 WHEN NOT " + column + " THEN 1000 END)"
	case "date":
		return "sum(date_diff('day', DATE '1970-01-01', " + column + "))"
	case "timestamp":
		return "sum(date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00', " + column + "))"
	}
	return "sum(" + column + ")"
}

// The hash of a text: the first 48 bits of its MD5, in each engine's words.
const (
	duckHash  = "CAST('0x' || substr(md5(?), 1, 12) AS bigint)"
	trinoHash = "from_base(substr(to_hex(md5(to_utf8(?))), 1, 12), 16)"
)

// conditions are what is asked of a column whose values have least and most among
// them.
func (c *csvColumn) conditions(least, most string) []string {
	column, typ := `"`+c.name+`"`, c.typ
	if typ == "string" {
		typ = "varchar"
	}
	value := func(text string) string { return "CAST(" + quoted(text) + " AS " + typ + ")" }
	out := []string{
		"true",
		column + " = " + value(least),
		column + " < " + value(most),
		column + " >= " + value(most),
		column + " IN (" + value(least) + ", " + value(most) + ")",
		column + " IS NULL",
		column + " IS DISTINCT FROM " + value(most),
	}
	if first := []rune(most); c.typ == "string" && len(first) > 0 && first[0] != '%' && first[0] != '_' {
		out = append(out, column+" LIKE "+quoted(string(first[:1])+"%"))
	}
	return out
}

// asked is a statement with a row for each condition: its number, how many rows meet
// it, and their sum.
func (c *csvColumn) asked(conditions []string, table, hash string) string {
	var parts []string
	for i, condition := range conditions {
		parts = append(parts, fmt.Sprintf(`SELECT '%s %02d' AS k, CAST(count(*) AS varchar) AS n, CAST(%s AS varchar) AS s FROM %s WHERE %s`,
			c.name, i, c.sum(hash), table, condition))
	}
	return strings.Join(parts, "\nUNION ALL ")
}

// CSVs in a bucket go through Kafka, three consumers, another bucket and the catalog;
// and the engine inside Athena finds in each column what DuckDB finds in the CSVs, for
// conditions of every sort: those are what a table of several schemas gets wrong.
func TestStackConditions(t *testing.T) {
	duckDB(t)
	for name, feed := range map[string]func(t *testing.T) *csvFeed{"kinds": kindsFeed, "csse": csseFeed} {
		t.Run(name, func(t *testing.T) {
			f := feed(t)
			s := newStack(t)
			for key, file := range f.files {
				s.s3.Put(t, s.source, key, []byte(readFile(t, file)))
			}
			table := strings.ReplaceAll(testbed.Name(f.name), "-", "_")
			s.ingestByThree(t, table, f.flags)
			s.compare(t, table, f)
		})
	}
}

// ingestByThree takes the source bucket into a table by one process that reads it,
// and three that share the topic out: the first does not go on with reading until
// each of them has its topic partitions.
func (s *stack) ingestByThree(t *testing.T, table string, flags []string) {
	t.Helper()
	common := append([]string{"--table", table, "--lake", "s3://" + s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database, "-o", "json"}, flags...)
	typed := func() bool { return len(s.s3.Keys(t, s.lake, "_lakefeed/"+table+"/g1/schema/")) > 0 }
	shared := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(shared) })
	watch(t, s.s3).hook = func(path, _ string) {
		if strings.HasPrefix(path, "/"+s.source+"/") && typed() {
			<-shared
		}
	}
	t.Cleanup(goOn)
	first := start(t, nil, append([]string{"ingest", "s3://" + s.source + "/", "--partitions", "4"}, common...)...)
	s.environment(t)
	until(t, "the schema", typed)
	until(t, "the topic", func() bool { return s.kafka.HasTopic(t, table) })
	others := []*process{start(t, nil, append([]string{"consume"}, common...)...), start(t, nil, append([]string{"consume"}, common...)...)}
	until(t, "topic partitions for each of three", func() bool {
		members := s.kafka.Members(t, "lakefeed."+table)
		slices.Sort(members)
		return slices.Equal(members, []int{1, 1, 2})
	})
	goOn()
	r := first.wait(t)
	if r.code != 0 {
		t.Fatalf("ingest: %v", r)
	}
	shares := []int64{parse(t, r).Rows}
	for _, p := range others {
		p.signal(t, syscall.SIGINT)
		r := p.wait(t)
		if r.code != 130 {
			t.Errorf("consume: %v", r)
		} else if r.stdout != "" {
			shares = append(shares, parse(t, r).Rows)
		}
	}
	t.Logf("rows by consumer: %d", shares)
}

// compare asks both engines.
func (s *stack) compare(t *testing.T, table string, f *csvFeed) {
	t.Helper()
	var bounds, asked []string
	for _, c := range f.columns {
		column := `"` + c.name + `"`
		bounds = append(bounds, fmt.Sprintf("SELECT '%s', CAST(quantile_disc(%s, 0.3) AS varchar), CAST(quantile_disc(%[2]s, 0.7) AS varchar), CAST(count(%[2]s) AS varchar) FROM csvs", c.name, column))
	}
	conditions := map[string][]string{}
	by := map[string]csvColumn{}
	for _, row := range duckRows(t, f.load()+strings.Join(bounds, "\nUNION ALL ")+";") {
		i := slices.IndexFunc(f.columns, func(c csvColumn) bool { return c.name == row[0] })
		if row[3] == "0" {
			t.Fatalf("column %s has no value in the CSVs: nothing is shown by it", row[0])
		}
		by[row[0]] = f.columns[i]
		conditions[row[0]] = f.columns[i].conditions(row[1], row[2])
		asked = append(asked, f.columns[i].asked(conditions[row[0]], "csvs", duckHash))
	}
	want := map[string][]string{}
	for _, row := range duckRows(t, f.load()+strings.Join(asked, "\nUNION ALL ")+";") {
		want[row[0]] = row[1:]
	}
	began, answers := time.Now(), 0
	for _, name := range slices.Sorted(maps.Keys(by)) {
		c := by[name]
		for _, row := range s.query(t, c.asked(conditions[name], table, trinoHash)) {
			key := fmt.Sprint(row["k"])
			got := []string{fmt.Sprint(row["n"]), null}
			if row["s"] != nil {
				got[1] = fmt.Sprint(row["s"])
			}
			w, there := want[key]
			n, _ := strconv.Atoi(key[strings.LastIndex(key, " ")+1:])
			if !there || got[0] != w[0] || !sameSum(c.typ, got[1], w[1]) {
				t.Errorf("WHERE %s: rows and sum are %q in the lake and %q in the CSVs", conditions[name][n], got, w)
			}
			answers++
			delete(want, key)
		}
	}
	if len(want) > 0 {
		t.Errorf("not answered: %q", slices.Sorted(maps.Keys(want)))
	}
	if got := s.one(t, "SELECT count(*) FROM "+table+" WHERE cardinality(map_keys(_rescued)) > 0"); got != "0" {
		t.Errorf("%s rows have cells that did not fit", got)
	}
	t.Logf("%d answers of %d columns are alike, in %v", answers, len(by), time.Since(began).Round(time.Second))
}

// sameSum compares sums; those of doubles hang on the order in which they are added.
func sameSum(typ, a, b string) bool {
	if a == b || a == null || b == null || typ != "double" {
		return a == b
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y))
}

// kindsFeed has a column of every kind, with nulls, values at the edge of their types,
// and text of every sort; every other file has a column more, and another order.
func kindsFeed(t *testing.T) *csvFeed {
	const files, each = 8, 250
	dir := t.TempDir()
	f := &csvFeed{
		name: "kinds", files: map[string]string{},
		flags: []string{"--flush-size", "60kB", "--partition-by", "region,date(seen)", "--column", "amount=decimal(12,2)"},
	}
	for n := range files {
		var b strings.Builder
		header := []string{"id", "flag", "amount", "ratio", "big", "day", "seen", "at", "name", "code", "region", "late"}
		for i := n*each - 1; i < (n+1)*each; i++ {
			cells := header
			if i >= n*each {
				cells = kindsRow(i)
			}
			if n%2 == 0 {
				cells = cells[:11]
			} else {
				cells = slices.Clone(cells)
				slices.Reverse(cells)
			}
			b.WriteString(strings.Join(cells, ",") + "\n")
		}
		key := fmt.Sprintf("day=%d/kinds-%d.csv", n%2, n)
		f.files[key] = filepath.Join(dir, path.Base(key))
		writeFile(t, f.files[key], b.String())
	}
	for _, c := range []csvColumn{{name: "id", typ: "bigint"}, {name: "flag", typ: "boolean"}, {name: "amount", typ: "decimal(12,2)"}, {name: "ratio", typ: "double"}, {name: "big", typ: "bigint"},
		{name: "day", typ: "date"}, {name: "seen", typ: "timestamp"}, {name: "name", typ: "string"}, {name: "code", typ: "string"}, {name: "region", typ: "string"}, {name: "late", typ: "bigint"}} {
		f.columns = append(f.columns, c.of(c.name))
	}
	f.columns = append(f.columns,
		csvColumn{"at", "timestamp", `make_timestamp(epoch_us(CAST("at" AS timestamptz)))`},
		csvColumn{"seen_date", "date", `CAST("seen" AS date)`})
	return f
}

func kindsRow(i int) []string {
	unless := func(null bool, text string) string {
		if null {
			return ""
		}
		return text
	}
	sign := int64(1 - 2*(i%2))
	names := []string{fmt.Sprint("plain ", i%40), `"a, ""b"" c"`, "\"two\nlines\"", "naïve – 日本", `""`, "", "NA", "NULL", `"  spaces  "`, "tab\there", "_like%", "\U0001f600"}
	regions := []string{"north", `"a/b é=1"`, ""}
	zones := []string{"Z", "+02:00", "-05:30"}
	flags := []string{"true", "false", "NA"}
	return []string{
		strconv.Itoa(i), flags[i%3], unless(i%11 == 0, fmt.Sprintf("%d.%02d", sign*int64(i*7919%1000000), i%100)),
		unless(i%13 == 0, strconv.FormatFloat(float64(i)/7, 'g', -1, 64)),
		unless(i%19 == 0, strconv.FormatInt(sign*(9007199254740993+int64(i)), 10)),
		unless(i%17 == 0, fmt.Sprintf("%d-%02d-%02d", 1969+i%60, 1+i%12, 1+i%28)),
		fmt.Sprintf("2024-03-%02d %02d:%02d:%02d.%03d", 1+i%2, i%24, i%60, i*7%60, i%1000),
		fmt.Sprintf("2024-03-%02dT%02d:%02d:00%s", 1+i%28, i%24, i%60, zones[i%3]),
		names[i%len(names)], fmt.Sprintf("%03d", i%200), regions[i/3%3], unless(i%2 == 0, strconv.Itoa(-i)),
	}
}

// csseFeed is a feed whose header went from 6 to 14 columns in four steps, with
// renamed and reordered ones, and four ways to write a time.
func csseFeed(t *testing.T) *csvFeed {
	names, err := filepath.Glob(filepath.Join(testdata(t, "csse_daily"), "*.csv"))
	if err != nil || len(names) != 40 {
		t.Fatal(len(names), "files", err)
	}
	f := &csvFeed{name: "csse", files: map[string]string{}, flags: []string{"--flush-size", "1MB"}}
	for _, name := range names {
		f.files[filepath.Base(name)] = name
	}
	either := func(name, a, b string) csvColumn {
		return csvColumn{name, "string", `coalesce("` + a + `", "` + b + `")`}
	}
	update := `coalesce("Last Update", "Last_Update")`
	f.columns = []csvColumn{
		either("province_state", "Province/State", "Province_State"), either("country_region", "Country/Region", "Country_Region"),
		{"last_update", "timestamp", "CASE WHEN " + update + ` LIKE '%/__ %' THEN strptime(` + update + `, '%m/%d/%y %H:%M') WHEN ` + update +
			` LIKE '%/%' THEN strptime(` + update + `, '%m/%d/%Y %H:%M') ELSE CAST(` + update + ` AS timestamp) END`},
	}
	for column, c := range map[string]csvColumn{
		"Confirmed": {name: "confirmed", typ: "bigint"}, "Deaths": {name: "deaths", typ: "bigint"}, "Recovered": {name: "recovered", typ: "bigint"}, "Active": {name: "active", typ: "bigint"},
		"Latitude": {name: "latitude", typ: "double"}, "Longitude": {name: "longitude", typ: "double"}, "Lat": {name: "lat", typ: "double"}, "Long_": {name: "long", typ: "double"},
		"Incidence_Rate": {name: "incidence_rate", typ: "double"}, "Case-Fatality_Ratio": {name: "case_fatality_ratio", typ: "double"},
		"FIPS": {name: "fips", typ: "string"}, "Admin2": {name: "admin2", typ: "string"}, "Combined_Key": {name: "combined_key", typ: "string"},
	} {
		f.columns = append(f.columns, c.of(column))
	}
	return f
}
