package transform_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lakefeed/consumer/transform"
	"lakefeed/schema"
)

// feed makes a batch of columns "name type", a row a line, cells with | between; an
// empty cell is null.
func feed(t testing.TB, columns string, rows ...string) (*schema.Schema, *transform.Batch) {
	t.Helper()
	s := &schema.Schema{Version: 1}
	b := &transform.Batch{Rows: len(rows)}
	for i, c := range strings.Split(columns, ", ") {
		name, text, _ := strings.Cut(c, " ")
		typ, err := schema.ParseType(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Fields = append(s.Fields, schema.Field{Name: name, Type: typ})
		v := &schema.Vector{}
		v.Reset(typ)
		for _, row := range rows {
			switch cell := strings.Split(row, "|")[i]; {
			case cell == "":
				v.AppendNull()
			case !v.AppendCell([]byte(cell)):
				t.Fatalf("%s: %q is no %s", name, cell, typ)
			}
		}
		b.Columns = append(b.Columns, transform.Column{Name: name, Vector: v})
	}
	return s, b
}

// made compiles and runs steps, and gives the columns as "name type", the rows as the
// feed is written, and why rows have failed.
func made(t testing.TB, spec transform.Spec, columns string, rows ...string) (header string, out, failed []string) {
	t.Helper()
	s, b := feed(t, columns, rows...)
	p, err := transform.Compile(spec, s)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a program is used again
		r := p.Run(b)
		header, out, failed = "", nil, nil
		keep := r.Keep
		if keep == nil {
			for i := range b.Rows {
				keep = append(keep, int32(i))
			}
		}
		for i, f := range p.Fields() {
			if i > 0 {
				header += ", "
			}
			header += f.Name + " " + f.Type.String()
			if got := r.Columns[i].Vector.Type; got != f.Type && r.Columns[i].Vector.Len() > 0 {
				t.Errorf("column %s is %v, its field %v", f.Name, got, f.Type)
			}
		}
		for _, row := range keep {
			var cells []string
			for _, c := range r.Columns {
				cells = append(cells, string(c.Vector.AppendValue(nil, int(row))))
			}
			out = append(out, strings.Join(cells, "|"))
		}
		for _, f := range r.Failed {
			failed = append(failed, fmt.Sprintf("%d %s", f.Row, f.Message))
		}
		if n := len(keep) + len(r.Failed) + len(r.Filtered); n != b.Rows {
			t.Errorf("%d rows of %d are accounted for", n, b.Rows)
		}
	}
	return header, out, failed
}

func set(name, e string) transform.Spec {
	return transform.Spec{{Set: map[string]string{name: e}}}
}

func TestExpressions(t *testing.T) {
	const columns = "i bigint, j bigint, d double, m decimal(12,2), n decimal(10,3), s string, u string, b boolean, c boolean, day date, at timestamp, z timestamp with time zone"
	rows := []string{
		"7|2|1.5|2.50|1.125|Hello|lo|true|false|2024-02-29|2013-01-01T05:17:00|2024-03-31T00:30:00Z",
		"|2||||||true||||",
	}
	for _, c := range []struct{ e, typ, first, second string }{
		{"i + j", "bigint", "9", ""},
		{"i - j * 3", "bigint", "1", ""},
		{"i / j", "double", "3.5", ""},
		{"div(i, j)", "bigint", "3", ""},
		{"-i % j", "bigint", "-1", ""},
		{"m * i", "decimal(31,2)", "17.50", ""},
		{"m * n", "decimal(22,5)", "2.81250", ""},
		{"m + n", "decimal(14,3)", "3.625", ""},
		{"m - 1", "decimal(13,2)", "1.50", ""},
		{"m * 1.19", "decimal(15,4)", "2.9750", ""},
		{"m + d", "double", "4", ""},
		{"m / 2", "double", "1.25", ""},
		{"round(m * 1.19, 2)", "decimal(14,2)", "2.98", ""},
		{"floor(n)", "decimal(8,0)", "1", ""},
		{"ceil(-n)", "decimal(8,0)", "-1", ""},
		{"round(d)", "double", "2", ""},
		{"max(i, m)", "decimal(21,2)", "7.00", ""},
		{"m == 2.5", "boolean", "true", ""},
		{"m > n", "boolean", "true", ""},
		{"i in [1, 7]", "boolean", "true", ""},
		{"i not in [1, 7]", "boolean", "false", ""},
		{"i == nil", "boolean", "false", "true"},
		{"i != nil and i > 3", "boolean", "true", "false"},
		{"i > 3 or b", "boolean", "true", "true"},
		{"i > 3 and c", "boolean", "false", ""},
		{"i ?? 0", "bigint", "7", "0"},
		{"coalesce(i, j, 0)", "bigint", "7", "2"},
		{"nullif(j, 2)", "bigint", "", ""},
		{`b ? "yes" : s`, "string", "yes", "yes"},
		{`c ? "yes" : s`, "string", "Hello", ""},
		{`s + ", " + u`, "string", "Hello, lo", ""},
		{`concat(s, "-", string(i))`, "string", "Hello-7", ""},
		{"upper(s)", "string", "HELLO", ""},
		{"s[1:3]", "string", "el", ""},
		{"substring(s, 2, 2)", "string", "el", ""},
		{"left(s, 2) + right(s, 1)", "string", "Heo", ""},
		{"len(s)", "bigint", "5", ""},
		{`replace(s, "l", "L")`, "string", "HeLLo", ""},
		{`split_part(s, "l", 3)`, "string", "o", ""},
		{`pad_left(string(i), 3, "0")`, "string", "007", ""},
		{`regex_extract(s, "l+(.)", 1)`, "string", "o", ""},
		{`regex_replace(s, "l+", "<$0>")`, "string", "He<ll>o", ""},
		{"s endsWith u", "boolean", "true", ""},
		{`s matches "^H.*o$"`, "boolean", "true", ""},
		{`s contains "ell"`, "boolean", "true", ""},
		{"day + 1", "date", "2024-03-01", ""},
		{"day - i", "date", "2024-02-22", ""},
		{"day - date(at) > i", "boolean", "true", ""},
		{"div(day - date(at), i)", "bigint", "582", ""},
		{"(day ?? date(at)) - 1", "date", "2024-02-28", ""},
		{`b ? day : date(2013, i, j)`, "date", "2024-02-29", ""},
		{`coalesce(at, timestamp(day))`, "timestamp", "2013-01-01T05:17:00", ""},
		{"m / i + d", "double", "1.8571428571428572", ""},
		{"min(m, n, i)", "decimal(22,3)", "1.125", ""},
		{`s in ["Hello", u]`, "boolean", "true", ""},
		{"seconds_between(day, date(at))", "bigint", "-352166400", ""},
		{`day >= "2024-01-01"`, "boolean", "true", ""},
		{`day - date(2024, 1, 1)`, "bigint", "59", ""},
		{"year(day) * 100 + month(day)", "bigint", "202402", ""},
		{"weekday(day)", "bigint", "4", ""},
		{"add_minutes(at, 90)", "timestamp", "2013-01-01T06:47:00", ""},
		{"add_minutes(timestamp(date(2013, 1, i)), j)", "timestamp", "2013-01-07T00:02:00", ""},
		{"timestamp(2013, 1, i, 5, 17)", "timestamp", "2013-01-07T05:17:00", ""},
		{"seconds_between(at, add_hours(at, 2))", "bigint", "7200", ""},
		{`at >= "2013-01-01"`, "boolean", "true", ""},
		{`in_zone(z, "Europe/Berlin")`, "timestamp", "2024-03-31T01:30:00", ""},
		{`date(z, "America/New_York")`, "date", "2024-03-30", ""},
		{`hour(z, "Europe/Berlin")`, "bigint", "1", ""},
		{"date(at)", "date", "2013-01-01", ""},
		{"int(\"12\") + 1", "bigint", "13", "13"},
		{"float(m)", "double", "2.5", ""},
		{"decimal(d, 10, 3)", "decimal(10,3)", "1.500", ""},
		{"string(m)", "string", "2.50", ""},
		{"$env[\"i\"] + 1", "bigint", "8", ""},
		{"true ? i : i", "bigint", "7", ""},
		{"not b", "boolean", "false", "false"},
		{"abs(-i)", "bigint", "7", ""},
		{"s | upper() | left(1)", "string", "H", ""},
	} {
		header, out, failed := made(t, set("x", c.e), columns, rows...)
		typ := header[strings.LastIndex(header, ", x ")+4:]
		value := func(i int) string { return out[i][strings.LastIndex(out[i], "|")+1:] }
		if len(failed) > 0 || typ != c.typ || value(0) != c.first || value(1) != c.second {
			t.Errorf("%s is %s %q, %q (failed: %q), want %s %q, %q", c.e, typ, value(0), value(1), failed, c.typ, c.first, c.second)
		}
		columnsMayBeUndecided(t, c.e, columns)
	}
}

// columnsMayBeUndecided shows that what is right of typed columns is right before they
// are known, and while one of them has held only nulls.
func columnsMayBeUndecided(t *testing.T, e, columns string) {
	t.Helper()
	if err := set("x", e).Check(); err != nil {
		t.Errorf("%s is a fault before the columns are known: %v", e, err)
	}
	all := strings.Split(columns, ", ")
	for i, c := range all {
		name, _, _ := strings.Cut(c, " ")
		some := slices.Clone(all)
		some[i] = name + " unknown"
		s, b := feed(t, strings.Join(some, ", "), strings.Repeat("|", len(all)))
		p, err := transform.Compile(set("x", e), s)
		if err != nil {
			t.Errorf("%s is a fault while %s has held only nulls: %v", e, name, err)
			continue
		}
		p.Run(b)
	}
}

// What is between a date and a column without a type may be days or a date.
func TestDateLessAnUndecidedColumn(t *testing.T) {
	header, out, _ := made(t, set("x", "day - u"), "day date, u unknown", "2024-02-29|")
	if header != "day date, u unknown, x unknown" || out[0] != "2024-02-29||" {
		t.Errorf("%s: %q", header, out)
	}
}

func TestExpressionsThatFail(t *testing.T) {
	for _, c := range []struct{ e, row, want string }{
		{"i / j", "1|0|x", "it is divided by zero"},
		{"i * j", "9223372036854775807|2|x", "the number is too large"},
		{"date(i, j, 1)", "2013|13|x", "there is no such date"},
		{"int(s)", "1|1|x", "it is no bigint"},
		{"add_days(date(i, 1, 1), j)", "9999|400|x", "the date is not in the years 0001 to 9999"},
	} {
		_, out, failed := made(t, set("x", c.e), "i bigint, j bigint, s string", c.row, "|1|1")
		if want := "0 transform[0] set of x: " + c.want; len(out) != 1 || len(failed) != 1 || failed[0] != want {
			t.Errorf("%s: rows %q, failed %q, want %q", c.e, out, failed, want)
		}
		spec := set("x", c.e)
		spec[0].OnError = transform.OnErrorNull
		if _, out, failed = made(t, spec, "i bigint, j bigint, s string", c.row); len(out) != 1 || len(failed) != 0 || !strings.HasSuffix(out[0], "|") {
			t.Errorf("%s with null: rows %q, failed %q", c.e, out, failed)
		}
	}
	// What is not chosen does not fail.
	for _, e := range []string{"j != 0 ? i / j : 0.0", "j == 0 or i / j > 1", "nullif(j, 0) == nil ? 0.0 : i / j"} {
		if _, _, failed := made(t, set("x", e), "i bigint, j bigint", "1|0"); len(failed) > 0 {
			t.Errorf("%s: %q", e, failed)
		}
	}
}

func TestFaultsOfExpressions(t *testing.T) {
	s, _ := feed(t, "amount decimal(12,2), qty bigint, status string, day date", "1.00|1|x|2024-01-01")
	for _, c := range []struct{ e, message, at, hint string }{
		{"amout * qty", "there is no column amout", "amout", "did you mean amount?"},
		{"amount * status", "* takes bigint or double or decimal, and this is string", "status", "int(…), float(…) and the step cast make numbers of text"},
		{"lowr(status)", "there is no function lowr", "lowr", "did you mean lower?"},
		{"now()", "there is no function now", "now", "the same row must always give the same record; --meta adds _ingested_at"},
		{"qty +", "unexpected token EOF", "", ""},
		{"status == 1", "== takes two values of one kind, and these are string and bigint", "", ""},
		{"qty = 1", "", "", "equal is written =="},
		{`status matches "("`, "error parsing regexp: missing closing ): `(`", `"("`, ""},
		{"day + 1.5", "+ of a date takes bigint, and this is double", "1.5", ""},
		{"filter([1,2], # > 1)", "there is no function filter", "", ""},
		{"status.length", "a column has no members", "", ""},
		{"[1, 2]", "a list is for x in [1, 2] only", "", ""},
		{`day(day, "Europe/Berlin")`, "only an instant is in a time zone, and this is date", "", ""},
		{"left(status, qty)", "the count is written as a whole number from 0 to 4194304", "qty", ""},
	} {
		_, err := transform.Compile(set("x", c.e), s)
		var faults transform.Faults
		if !errors.As(err, &faults) || len(faults) != 1 {
			t.Errorf("%s: %v", c.e, err)
			continue
		}
		f := faults[0]
		if at := string([]rune(f.Text)[f.Offset : f.Offset+f.Width]); c.message != "" && f.Message != c.message || c.at != "" && at != c.at || c.hint != "" && f.Hint != c.hint {
			t.Errorf("%s: %q at %q, hint %q", c.e, f.Message, at, f.Hint)
		}
	}
	if err := set("x", "anything * other").Check(); err != nil {
		t.Errorf("columns are not known: %v", err)
	}
	if err := set("x", "anything * * other").Check(); err == nil {
		t.Error("an expression that cannot be read passes")
	}
	if err := set("x", strings.Repeat("a+", 600)+"a").Check(); err == nil || !strings.Contains(err.Error(), "more than 500 parts") {
		t.Errorf("an expression of 1201 parts: %v", err)
	}
	if err := set("x", strings.Repeat("(", 5000)+"a"+strings.Repeat(")", 5000)).Check(); err == nil {
		t.Log("5000 brackets are nothing to the parser")
	}
}

// BenchmarkSteps runs ten steps and two expressions over flights; ns/row is what they
// add to a row's way to the lake.
func BenchmarkSteps(b *testing.B) {
	columns := "year bigint, month bigint, day bigint, dep_time bigint, dep_delay string, arr_delay string, carrier string, flight bigint, tailnum string, origin string, dest string, air_time bigint, distance double, at string, code string, time_hour string"
	row := "2013|1|%d|%d|2|11|UA|1545|N%d|EWR| IAH |227|1400|2013-01-%02d 05:17|EWR-IAH|x"
	var rows []string
	for i := range 100_000 {
		rows = append(rows, fmt.Sprintf(row, i%28+1, i%2400, i%4000, i%28+1))
	}
	s, batch := feed(b, columns, rows...)
	p, err := transform.Compile(transform.Spec{
		{Rename: map[string]string{"tailnum": "tail"}},
		{Drop: []string{"time_hour"}},
		{Trim: []string{"dest"}},
		{Lower: []string{"origin"}},
		{Cast: map[string]string{"dep_delay": "bigint", "arr_delay": "double"}},
		{Fill: map[string]transform.Literal{"air_time": "0"}},
		{Parse: map[string]*transform.Parse{"at": {Formats: []string{"%Y-%m-%d %H:%M"}}}},
		{Split: map[string]*transform.Split{"code": {By: "-", Into: []string{"from_code", "to_code"}}}},
		{Map: map[string]*transform.Lookup{"carrier": {Values: map[string]transform.Literal{"UA": "United Air Lines Inc."}, Into: "airline"}}},
		{Mask: map[string]string{"tail": transform.Hmac}, Key: &transform.Key{Env: "KEY", Secret: []byte("0123456789abcdef")}},
		{Where: "dep_time > 0"},
		{Set: map[string]string{"departed_at": "add_minutes(timestamp(date(year, month, day)), div(dep_time, 100) * 60 + dep_time % 100)"}},
	}, s)
	if err != nil {
		b.Fatal(err)
	}
	p.Run(batch)
	b.ReportAllocs()
	for b.Loop() {
		p.Run(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Rows), "ns/row")
}
