package consumer

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// fill adds RFC 4180 rows of one header to a batch.
func fill(t *testing.T, b *batch, header string, rows ...string) {
	t.Helper()
	l, err := b.named([]byte(header))
	if err != nil {
		t.Fatal(err)
	}
	var s wire.Splitter
	for _, row := range rows {
		cells, err := s.Split([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		b.add(l, cells, func() schema.Witness { return schema.Witness{Source: "test", Line: int64(b.rows)} })
	}
}

// dump gives the batch's columns as text, ~ for null, and what was rescued.
func dump(b *batch) (columns map[string][]string, rescued []string) {
	columns = map[string][]string{}
	r := b.records(nil)
	for _, c := range r.Columns {
		cells := []string{}
		for row := range r.Rows {
			if c.Vector == nil || c.Vector.Null(row) {
				cells = append(cells, "~")
			} else {
				cells = append(cells, string(c.Vector.AppendValue(nil, row)))
			}
		}
		columns[c.Name+" "+c.Type.String()] = cells
	}
	for i := range r.Rescued.Len() {
		row, column, text := r.Rescued.Cell(i)
		rescued = append(rescued, fmt.Sprintf("%d %s=%s", row, column, text))
	}
	return columns, rescued
}

func newBatch(s *schema.Schema) *batch {
	b := &batch{}
	b.reset(s, &recipe{})
	return b
}

// evolve does what a worker does before it commits.
func evolve(b *batch) *schema.Schema {
	next, _ := schema.Evolve(b.schema, b.seen(b.schema), b.contract)
	b.decide(next)
	return next
}

func check(t *testing.T, b *batch, wantColumns map[string][]string, wantRescued []string) {
	t.Helper()
	columns, rescued := dump(b)
	if diff := cmp.Diff(wantColumns, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantRescued, rescued); diff != "" {
		t.Errorf("rescued (-want +got):\n%s", diff)
	}
	if b.rescues != int64(len(rescued)) {
		t.Errorf("%d cells counted as rescued, want %d", b.rescues, len(rescued))
	}
}

func TestFirstBatchDecidesTypes(t *testing.T) {
	b := newBatch(nil)
	fill(t, b, "id,name,when,empty", `1,x,2020-01-01,`, `NA,"",2020-01-02,NA`, `3,NA,,""`)
	s := evolve(b)
	check(t, b, map[string][]string{
		"id bigint":   {"1", "~", "3"},
		"name string": {"x", "", "NA"},
		"when date":   {"2020-01-01", "2020-01-02", "~"},
	}, nil)
	if f, ok := s.Field("empty"); !ok || f.Type.Kind != schema.Unknown {
		t.Errorf("a column of nulls is %v, want undecided", f.Type)
	}
}

func TestHeadersOfOtherOrderAndSpelling(t *testing.T) {
	b := newBatch(nil)
	fill(t, b, "Province/State,Confirmed", "Hubei,1")
	fill(t, b, "Confirmed,Country_Region,Province_State", "2,China,Hunan", "3,China,")
	fill(t, b, "Province/State,Confirmed", "Anhui,4")
	s := evolve(b)
	check(t, b, map[string][]string{
		"province_state string": {"Hubei", "Hunan", "~", "Anhui"},
		"confirmed bigint":      {"1", "2", "3", "4"},
		"country_region string": {"~", "China", "China", "~"},
	}, nil)
	f, _ := s.Field("province_state")
	if diff := cmp.Diff([]string{"Province/State", "Province_State"}, f.Spellings); diff != "" {
		t.Errorf("spellings (-want +got):\n%s", diff)
	}
}

func TestCellsThatDoNotFitAreRescued(t *testing.T) {
	b := newBatch(nil)
	fill(t, b, "n,undecided", "1,", "2,")
	s := evolve(b)
	b.reset(s, &recipe{})
	fill(t, b, "n,undecided,new", "x,1,2020-01-01", `"NA",,`, `"",2,2020-01-02`, "07,3,", "5,,")
	evolve(b)
	check(t, b, map[string][]string{
		"n bigint":         {"~", "~", "~", "~", "5"},
		"undecided bigint": {"1", "~", "2", "3", "~"},
		"new date":         {"2020-01-01", "~", "2020-01-02", "~", "~"},
	}, []string{"0 n=x", "1 n=NA", "3 n=07"})
}

// Another writer decided the type of a new column first: the batch's cells that
// do not fit it are rescued, in the order of the rows.
func TestLostSchemaRace(t *testing.T) {
	theirs, _ := schema.Evolve(nil, []schema.Seen{
		{Name: "a", Spellings: []string{"a"}, Evidence: evidence("1")},
		{Name: "b", Spellings: []string{"b"}, Evidence: evidence("2020-01-01")},
	}, nil)
	b := newBatch(nil)
	fill(t, b, "a,b,c", "1,x,", "y,2020-01-01,", "NA,z,1", `"NA",,`)
	next, changed := schema.Evolve(theirs, b.seen(theirs), nil)
	if !changed {
		t.Fatal("column c is not new")
	}
	b.decide(next)
	check(t, b, map[string][]string{
		"a bigint": {"1", "~", "~", "~"},
		"b date":   {"~", "2020-01-01", "~", "~"},
		"c bigint": {"~", "~", "1", "~"},
	}, []string{"0 b=x", "1 a=y", "2 b=z", "3 a=NA"})
}

func evidence(cells ...string) (e schema.Evidence) {
	for _, c := range cells {
		e.Observe([]byte(c), false, nil, nil)
	}
	return e
}

func TestNoAllocationARow(t *testing.T) {
	b := newBatch(nil)
	const header = "a,b,c"
	fill(t, b, header, "1,x,2.5")
	s := evolve(b)
	row := []byte(`17,"some, text",2.25`)
	var split wire.Splitter
	at := func() schema.Witness { return schema.Witness{} }
	batch := func() {
		b.reset(s, &recipe{})
		l, err := b.named([]byte(header))
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			cells, err := split.Split(row)
			if err != nil {
				t.Fatal(err)
			}
			b.add(l, cells, at)
		}
	}
	batch()
	if n := testing.AllocsPerRun(5, batch); n > 20 {
		t.Errorf("%g allocations for 1,000 rows, want a few for the header alone", n)
	}
}

func BenchmarkBatch(b *testing.B) {
	const header = "l_orderkey,l_partkey,l_suppkey,l_linenumber,l_quantity,l_extendedprice,l_discount,l_tax,l_returnflag,l_linestatus,l_shipdate,l_commitdate,l_receiptdate,l_shipinstruct,l_shipmode,l_comment"
	row := []byte(`1,155190,7706,1,17,21168.23,0.04,0.02,N,O,1996-03-13,1996-02-12,1996-03-22,DELIVER IN PERSON,TRUCK,"egular courts above the"`)
	batch := newBatch(nil)
	l, err := batch.named([]byte(header))
	if err != nil {
		b.Fatal(err)
	}
	var split wire.Splitter
	cells, _ := split.Split(row)
	at := func() schema.Witness { return schema.Witness{} }
	batch.add(l, cells, at)
	s, _ := schema.Evolve(nil, batch.seen(nil), nil)
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%100_000 == 0 {
			batch.reset(s, &recipe{})
			l, _ = batch.named([]byte(header))
		}
		cells, _ := split.Split(row)
		batch.add(l, cells, at)
	}
}
