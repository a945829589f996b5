package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/glue"
)

// trinoVersion is where the engine of the testbed stands among schema.Engines.
const trinoVersion = 1

// coercionValues are values of a kind as text, in order, and what each is as another
// kind; "" where it is nothing there.
func coercionValues(from, to schema.Type) (values, as []string) {
	numbers := from.Kind == schema.String && slices.Contains([]schema.Kind{schema.Bigint, schema.Double, schema.Decimal}, to.Kind)
	switch {
	case numbers, from.Kind == schema.Bigint:
		values = []string{"7", "8", "9"}
	case from.Kind == schema.String && to.Kind == schema.Boolean:
		return []string{"abc", "true"}, []string{"", "true"} // any text is true
	case from.Kind == schema.Boolean:
		values = []string{"false", "true"}
	case from.Kind == schema.Double:
		values = []string{"1.5", "2.5", "3.5"}
	case from.Kind == schema.Decimal:
		values = []string{"1.25", "2.5", "3.75"}
	case from.Kind == schema.Timestamp, from.Kind == schema.String && to.Kind == schema.Timestamp:
		values = []string{"2020-01-02 03:04:05.678", "2020-01-03 03:04:05.678", "2020-01-04 03:04:05.678"}
	default:
		values = []string{"2020-01-02", "2020-01-03", "2020-01-04"}
	}
	number := func(k schema.Kind) bool { return k == schema.Bigint || k == schema.Double || k == schema.Decimal }
	switch {
	case to.Kind == schema.String, from.Kind == schema.String, from.Kind == to.Kind, number(from.Kind) && number(to.Kind):
		return values, values
	case from.Kind == schema.Date && to.Kind == schema.Timestamp:
		for _, v := range values {
			as = append(as, v+" 00:00:00.000")
		}
		return values, as
	}
	return values, make([]string, len(values))
}

// literal is a value as SQL has it.
func literal(t schema.Type, text string) string {
	if text == "" {
		text = "0"
	}
	switch t.Kind {
	case schema.Boolean:
		return text
	case schema.String:
		return "'" + text + "'"
	}
	return fmt.Sprintf("CAST('%s' AS %s)", text, t.DDL())
}

// sameValue compares a value of Trino's JSON with a text.
func sameValue(t schema.Type, got any, want string) bool {
	if got == nil || want == "" {
		return false
	}
	text := fmt.Sprint(got)
	if n, ok := got.(json.Number); ok {
		text = n.String()
	}
	switch t.Kind {
	case schema.Bigint, schema.Double, schema.Decimal:
		x, ok := new(big.Rat).SetString(text)
		y, ok2 := new(big.Rat).SetString(want)
		return ok && ok2 && x.Cmp(y) == 0
	case schema.String:
		x, ok := new(big.Rat).SetString(text)
		y, ok2 := new(big.Rat).SetString(want)
		return strings.EqualFold(text, want) || ok && ok2 && x.Cmp(y) == 0
	}
	return text == want
}

// coercionFile is a Parquet file, as the lake's are, with one row.
func coercionFile(t *testing.T, id int, typ schema.Type, text string) []byte {
	t.Helper()
	var ids, values schema.Vector
	ids.Reset(schema.Type{Kind: schema.Bigint})
	ids.AppendInt(int64(id))
	values.Reset(typ)
	if !values.AppendCell([]byte(text)) {
		t.Fatalf("%q is no %s", text, typ)
	}
	var out bytes.Buffer
	var e sink.Encoder
	_, err := e.Encode(&out, sink.FileSpec{
		Columns: []sink.Column{{Name: "id", Type: ids.Type, Vector: &ids}, {Name: "x", Type: typ, Vector: &values}},
		Rows:    1, IDs: sink.IDs{Stream: []uint64{1}, Row: []int64{int64(id)}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ids are the ids that a query gives, in order.
func queryIDs(engine *testbed.TrinoServer, statement string) (string, error) {
	rows, err := engine.Try(statement)
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprint(r[0]))
	}
	return strings.Join(out, ","), err
}

// reads finds how the engine reads a table's partition: all of it, and with
// conditions on the column.
func reads(engine *testbed.TrinoServer, table, partition string, to schema.Type, as []string) (schema.Reads, string) {
	where := fmt.Sprintf("FROM %s WHERE p = '%s'", table, partition)
	rows, err := engine.Try("SELECT id, x " + where + " ORDER BY id")
	if err != nil {
		return schema.Fails, err.Error()
	}
	if len(rows) != len(as) {
		return schema.Wrong, fmt.Sprintf("%d rows", len(rows))
	}
	for i, r := range rows {
		if !sameValue(to, r[1], as[i]) {
			return schema.Wrong, fmt.Sprintf("%q is %v", as[i], r[1])
		}
	}
	n := len(as)
	last := literal(to, as[n-1])
	if to.Kind == schema.String { // as the engine writes it
		last = "'" + fmt.Sprint(rows[n-1][1]) + "'"
	}
	var before []string
	for i := 1; i < n; i++ {
		before = append(before, strconv.Itoa(i))
	}
	others := strings.Join(before, ",")
	for _, q := range []struct{ statement, want string }{
		{"SELECT id " + where + " AND x = " + last, strconv.Itoa(n)},
		{"SELECT id " + where + " AND x <> " + last + " ORDER BY id", others},
		{"SELECT id " + where + " AND x < " + last + " ORDER BY id", others},
		{"SELECT id " + where + " AND x >= " + last, strconv.Itoa(n)},
		{"SELECT a.id FROM " + table + " a JOIN (VALUES " + last + ") b (v) ON a.x = b.v WHERE a.p = '" + partition + "'", strconv.Itoa(n)},
	} {
		got, err := queryIDs(engine, q.statement)
		if err != nil {
			return schema.SelectOnly, q.statement + ": " + err.Error()
		}
		if got != q.want {
			return schema.SelectOnly, fmt.Sprintf("%s gives %q, want %q", q.statement, got, q.want)
		}
	}
	return schema.Right, ""
}

// What the planner allows is read right with and without conditions, what it forbids
// is not, and its table says how.
func TestCoercions(t *testing.T) {
	if testing.Short() {
		t.Skip("some six hundred queries")
	}
	engine := testbed.Trino(t)
	moto := testbed.Moto(t)
	moto.Setenv(t)
	t.Setenv("AWS_ENDPOINT_URL_GLUE", moto.Endpoint)
	store := testbed.MinIO(t)
	bucket := store.Bucket(t)
	db := database()
	catalog, err := glue.Open(t.Context(), glue.Config{Database: db, Lake: "s3://" + bucket + "/lake"})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range schema.Coercions {
		name := fmt.Sprintf("c%d", i)
		values, as := coercionValues(c.From, c.To)
		id := sink.NamedType{Name: "id", Type: "bigint"}
		table := sink.CatalogTable{
			Name: name, Location: name, Lake: name, Generation: 1, SchemaVersion: 1,
			Columns: []sink.NamedType{id, {Name: "x", Type: c.To.DDL()}}, PartitionBy: []sink.NamedType{{Name: "p", Type: "string"}},
		}
		if err := catalog.CreateTable(t.Context(), table); err != nil {
			t.Fatal(err)
		}
		var partitions []sink.CatalogPartition
		for partition, declared := range map[string]schema.Type{"in": c.To, "between": c.From} {
			partitions = append(partitions, sink.CatalogPartition{
				Values: []string{partition}, Location: name + "/p=" + partition, SchemaVersion: 1,
				Columns: []sink.NamedType{id, {Name: "x", Type: declared.DDL()}},
			})
			for n, text := range values {
				store.Put(t, bucket, fmt.Sprintf("lake/%s/p=%s/%d.parquet", name, partition, n), coercionFile(t, n+1, c.From, text))
			}
		}
		if _, err := catalog.AddPartitions(t.Context(), table, partitions); err != nil {
			t.Fatal(err)
		}
		at := db + "." + name
		for partition, want := range map[string]schema.Reads{"in": c.In[trinoVersion], "between": c.Partition[trinoVersion]} {
			got, why := reads(engine, at, partition, c.To, as)
			if got != want {
				t.Errorf("%s as %s, partition %s: %s (%s), the table says %s", c.From, c.To, partition, got, why, want)
			}
			if c.Allowed() && got != schema.Right {
				t.Errorf("%s as %s is allowed, and partition %s is not read right: %s", c.From, c.To, partition, why)
			}
		}
	}
}
