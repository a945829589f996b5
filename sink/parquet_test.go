package sink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lakefeed/schema"
)

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// encode encodes to memory and verifies the file deeply.
func encode(t failer, spec FileSpec, rows []int32) ([]byte, Encoded) {
	t.Helper()
	var e Encoder
	var buf bytes.Buffer
	got, err := e.Encode(&buf, spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(bytes.NewReader(buf.Bytes()), int64(buf.Len()), got, true); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), got
}

// readArrow reads a file with arrow-go: for each column its name with its type,
// and its cells, "null" for null.
func readArrow(t failer, body []byte) (columns []string, cells [][]string) {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	for i := range int(table.NumCols()) {
		c := table.Column(i)
		columns = append(columns, c.Name()+" "+c.DataType().String())
		texts := []string{}
		for _, a := range c.Data().Chunks() {
			for j := range a.Len() {
				texts = append(texts, arrowText(a, j))
			}
		}
		cells = append(cells, texts)
	}
	return columns, cells
}

func arrowText(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Float64:
		return fmt.Sprintf("%016x", math.Float64bits(a.Value(i)))
	case *array.Int64:
		return fmt.Sprint(a.Value(i))
	case *array.Date32:
		return fmt.Sprint(int32(a.Value(i)))
	case *array.Timestamp:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Decimal128:
		return a.Value(i).BigInt().String()
	case *array.String:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.Boolean:
		return fmt.Sprint(a.Value(i))
	case *array.Map:
		from, to := a.ValueOffsets(i)
		var b strings.Builder
		for j := from; j < to; j++ {
			fmt.Fprintf(&b, "%s=%s;", arrowText(a.Keys(), int(j)), arrowText(a.Items(), int(j)))
		}
		return b.String()
	}
	return fmt.Sprintf("unexpected %T", a)
}

// vectorText is what arrowText has to give for row i.
func vectorText(v *schema.Vector, i int) string {
	if v == nil || v.Null(i) {
		return "null"
	}
	switch v.Type.Kind {
	case schema.Boolean:
		return fmt.Sprint(v.Ints[i] != 0)
	case schema.Double:
		return fmt.Sprintf("%016x", math.Float64bits(v.Floats[i]))
	case schema.Decimal:
		unscaled := schema.Vector{}
		unscaled.Reset(schema.Type{Kind: schema.Decimal, Precision: 38})
		unscaled.AppendDecimal([16]byte(v.DecimalAt(i)))
		return string(unscaled.AppendValue(nil, 0))
	case schema.String:
		return fmt.Sprintf("%q", v.TextAt(i))
	}
	return fmt.Sprint(v.Ints[i])
}

// wantCells is what readArrow has to give for the columns of a spec.
func wantCells(spec FileSpec, rows []int32) [][]string {
	if rows == nil {
		for i := range spec.Rows {
			rows = append(rows, int32(i))
		}
	}
	var cells [][]string
	for _, c := range spec.Columns {
		texts := []string{}
		for _, r := range rows {
			texts = append(texts, vectorText(c.Vector, int(r)))
		}
		cells = append(cells, texts)
	}
	rescued := []string{}
	for _, r := range rows {
		text := ""
		for i := 0; spec.Rescued != nil && i < spec.Rescued.Len(); i++ {
			if row, column, x := spec.Rescued.Cell(i); row == int(r) {
				text += fmt.Sprintf("%q=%q;", column, x)
			}
		}
		if text == "" {
			text = "null"
		}
		rescued = append(rescued, text)
	}
	return append(cells, rescued)
}

func arrowType(t schema.Type) string {
	switch t.Kind {
	case schema.Boolean:
		return "bool"
	case schema.Bigint:
		return "int64"
	case schema.Double:
		return "float64"
	case schema.Date:
		return "date32"
	case schema.Timestamp:
		if t.Zoned {
			return "timestamp[ms, tz=UTC]"
		}
		return "timestamp[ms]"
	case schema.Decimal:
		return fmt.Sprintf("decimal(%d, %d)", t.Precision, t.Scale)
	}
	return "utf8"
}

func wantColumns(spec FileSpec) []string {
	var names []string
	for _, c := range spec.Columns {
		names = append(names, c.Name+" "+arrowType(c.Type))
	}
	return append(names, "_rescued map<utf8, utf8, items_nullable>")
}

func numbered(n int) IDs {
	ids := IDs{Stream: make([]uint64, n), Row: make([]int64, n)}
	for i := range n {
		ids.Stream[i], ids.Row[i] = uint64(7+i%3), int64(i)
	}
	return ids
}

func column(name, typ string, fill func(*schema.Vector)) Column {
	t, err := schema.ParseType(typ)
	if err != nil {
		panic(err)
	}
	v := new(schema.Vector)
	v.Reset(t)
	fill(v)
	return Column{Name: name, Type: t, Vector: v}
}

func decimals(texts ...string) func(*schema.Vector) {
	return func(v *schema.Vector) {
		for _, s := range texts {
			if s == "" {
				v.AppendNull()
			} else if !v.AppendCell([]byte(s)) {
				panic(s + " is no " + v.Type.String())
			}
		}
	}
}

func ints(x ...int64) func(*schema.Vector) {
	return func(v *schema.Vector) {
		v.AppendNull()
		for _, n := range x {
			v.AppendInt(n)
		}
	}
}

func texts(x ...string) func(*schema.Vector) {
	return func(v *schema.Vector) {
		for _, s := range x {
			v.AppendText([]byte(s))
		}
	}
}

// extremes is a batch with the odd values of every type.
func extremes() FileSpec {
	nines := strings.Repeat("9", 38)
	spec := FileSpec{Rows: 9, IDs: numbered(9), Rescued: new(Rescues), Meta: map[string]string{"lakefeed.topic": "feed", "lakefeed.from": "0"}}
	spec.Columns = []Column{
		column("zz_first", "bigint", ints(math.MaxInt64, math.MinInt64, 0, -1, 1)),
		column("flag", "boolean", ints(1, 0, 1, 1)),
		column("x", "double", func(v *schema.Vector) {
			for _, f := range []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, -1.5} {
				v.AppendFloat(f)
			}
		}),
		column("d38", "decimal(38,10)", decimals("-"+nines[:28]+"."+nines[28:], nines[:28]+"."+nines[28:], "", "0", "-0.0000000001", "1.5")),
		column("d9", "decimal(9,2)", decimals("-9999999.99", "9999999.99", "-0.01", "0.00", "")),
		column("d2", "decimal(2,0)", decimals("-99", "99", "", "0")),
		column("day", "date", ints(-719162, 2932896, -1, 0, math.MinInt32, math.MaxInt32)), // 0001-01-01, 9999-12-31
		column("wall", "timestamp", ints(-62135596800000, 253402300799999, -1, 0, 1)),
		column("instant", "timestamp with time zone", ints(-62135596800000, 253402300799999, -1, 0, 1)),
		column("text", "string", texts("", "a", "ä€😀", strings.Repeat("long ", 1<<18), "\x00", "\U0010ffff", "zebra", "", "quote\"d")),
		{Name: "none", Type: stringType},
		column("a_last", "string", func(v *schema.Vector) { v.PadTo(9) }),
	}
	spec.Rescued.Add(1, "x", []byte("12,5"))
	spec.Rescued.Add(1, "day", []byte("31.02.2024"))
	spec.Rescued.Add(8, "x", nil)
	return spec
}

func TestRoundTripByArrow(t *testing.T) {
	spec := extremes()
	for _, rows := range [][]int32{nil, {}, {0}, {8, 7, 6, 5, 4, 3, 2, 1, 0}, {1, 8}, {5, 1, 2}, {2, 3}} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			body, got := encode(t, spec, rows)
			columns, cells := readArrow(t, body)
			if diff := cmp.Diff(wantColumns(spec), columns); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantCells(spec, rows), cells); diff != "" {
				t.Errorf("cells (-want +got):\n%.2000s", diff)
			}
			if rows != nil && got.Rows != int64(len(rows)) {
				t.Errorf("rows = %d, want %d", got.Rows, len(rows))
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	body, got := encode(t, extremes(), nil)
	f, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if by := f.MetaData().GetCreatedBy(); !strings.HasPrefix(by, "lakefeed version ") {
		t.Errorf("created by %q", by)
	}
	kv := f.MetaData().KeyValueMetadata()
	if v := kv.FindValue("lakefeed.topic"); v == nil || *v != "feed" {
		t.Errorf("metadata lakefeed.topic = %v", v)
	}
	want := map[string][2]string{
		"zz_first": {"-9223372036854775808", "9223372036854775807"},
		"flag":     {"false", "true"},
		"d38":      {"-9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"},
		"d9":       {"-9999999.99", "9999999.99"},
		"d2":       {"-99", "99"},
		"wall":     {"0001-01-01T00:00:00", "9999-12-31T23:59:59.999"},
		"instant":  {"0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"},
		"text":     {"", "\U0010ffff"},
	}
	for name, b := range want {
		if got.Min[name] != b[0] || got.Max[name] != b[1] {
			t.Errorf("%s is in [%q,%q], want %q", name, got.Min[name], got.Max[name], b)
		}
	}
	for _, name := range []string{"x", "none", "a_last"} { // a NaN, nulls
		if b, ok := got.Min[name]; ok {
			t.Errorf("%s has the lower bound %q, want none", name, b)
		}
	}
}

func TestFailedWrite(t *testing.T) {
	body, _ := encode(t, extremes(), nil)
	var e Encoder
	for n := range 20 {
		w := &shortWriter{left: len(body) * n / 20}
		if _, err := e.Encode(w, extremes(), nil); !errors.Is(err, errFull) {
			t.Fatalf("output full after %d bytes: error %v", len(body)*n/20, err)
		}
	}
	var buf bytes.Buffer // the encoder is as good as new
	if _, err := e.Encode(&buf, extremes(), nil); err != nil || !bytes.Equal(buf.Bytes(), body) {
		t.Errorf("another file after failures: error %v, equal %v", err, bytes.Equal(buf.Bytes(), body))
	}
}

var errFull = errors.New("output full")

type shortWriter struct{ left int }

func (w *shortWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		return w.left, errFull
	}
	w.left -= len(b)
	return len(b), nil
}

func TestRefusedSpecs(t *testing.T) {
	one := column("a", "bigint", ints(1))
	large := column("a", "decimal(38,0)", decimals("1000"))
	for name, spec := range map[string]FileSpec{
		"two of a name":   {Columns: []Column{one, one}},
		"reserved name":   {Columns: []Column{{Name: "_rescued", Type: bigintType}}},
		"no name":         {Columns: []Column{{Type: bigintType}}},
		"undecided":       {Columns: []Column{{Name: "a"}}},
		"other kind":      {Columns: []Column{{Name: "a", Type: stringType, Vector: one.Vector}}},
		"too many digits": {Columns: []Column{{Name: "a", Type: schema.Type{Kind: schema.Decimal, Precision: 3}, Vector: large.Vector}}},
		"no such decimal": {Columns: []Column{{Name: "a", Type: schema.Type{Kind: schema.Decimal, Precision: 39}}}},
		"day too large":   {Columns: []Column{column("a", "date", ints(1<<31))}},
		"no identities":   {Columns: []Column{one}, Rows: 3},
	} {
		if spec.Rows == 0 {
			spec.Rows, spec.IDs = 2, numbered(2)
		}
		var e Encoder
		if _, err := e.Encode(new(bytes.Buffer), spec, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var e Encoder
	if _, err := e.Encode(new(bytes.Buffer), FileSpec{Columns: []Column{one}, Rows: 2, IDs: numbered(2)}, []int32{2}); err == nil {
		t.Error("row outside the batch: no error")
	}
}

func TestManyRowGroups(t *testing.T) {
	const n = maxGroupRows + maxGroupRows/4
	spec := FileSpec{Rows: n, IDs: numbered(n), Rescued: new(Rescues)}
	spec.Columns = []Column{column("n", "bigint", func(v *schema.Vector) {
		for i := range n - 5 {
			v.AppendInt(int64(i) * 3)
		}
	})}
	spec.Rescued.Add(n-2, "n", []byte("many"))
	body, got := encode(t, spec, nil)
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	if g := f.RowGroups(); len(g) != 2 || g[0].NumRows() != maxGroupRows {
		t.Errorf("%d row groups, the first of %d rows", len(g), g[0].NumRows())
	}
	_, cells := readArrow(t, body)
	if len(cells[0]) != n || cells[0][n-6] != fmt.Sprint((n-6)*3) || cells[0][n-5] != "null" || cells[1][n-2] != `"n"="many";` {
		t.Error("values differ")
	}
	if got.Max["n"] != fmt.Sprint((n-6)*3) {
		t.Errorf("max = %s", got.Max["n"])
	}
}

func TestRowGroupBytes(t *testing.T) {
	const n = 140
	spec := FileSpec{Rows: n, IDs: numbered(n)}
	mb := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	spec.Columns = []Column{column("s", "string", func(v *schema.Vector) {
		for i := range n {
			mb[0] = byte(i % 100)
			v.AppendText(mb)
		}
	})}
	body, _ := encode(t, spec, nil)
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range f.Metadata().RowGroups {
		if g.TotalByteSize > maxGroupBytes+maxPageBytes {
			t.Errorf("row group %d has %d bytes", i, g.TotalByteSize)
		}
		if len(f.Metadata().RowGroups) != 2 {
			t.Errorf("%d row groups, want 2", len(f.Metadata().RowGroups))
		}
	}
}

// batches draws batches of every type, with few or many distinct values, nulls,
// short vectors and rescued cells.
func batches(t *rapid.T) FileSpec {
	n := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1000, 3000)).Draw(t, "rows")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	spec := FileSpec{Rows: n, IDs: numbered(n)}
	for i := range rapid.IntRange(0, 6).Draw(t, "columns") {
		typ := rapid.SampledFrom([]string{
			"boolean", "bigint", "double", "decimal(1,0)", "decimal(5,2)", "decimal(18,3)", "decimal(19,0)", "decimal(38,38)",
			"date", "timestamp", "timestamp with time zone", "string",
		}).Draw(t, "type")
		distinct := rapid.SampledFrom([]uint64{1, 3, 300, 1 << 40}).Draw(t, "distinct")
		nulls := rapid.SampledFrom([]int{0, 0, 1, 50, 99, 100}).Draw(t, "nulls")
		length := rapid.SampledFrom([]int{n, n, n / 2}).Draw(t, "length")
		spec.Columns = append(spec.Columns, column(fmt.Sprintf("c%d", i), typ, func(v *schema.Vector) {
			for range length {
				appendRandom(v, rng, distinct, nulls)
			}
		}))
	}
	if rapid.Bool().Draw(t, "rescued") {
		spec.Rescued = new(Rescues)
		every := rapid.SampledFrom([]int{1, 2, 500}).Draw(t, "every")
		for row := range n {
			if rng.IntN(every) == 0 {
				for i := range 1 + rng.IntN(2) {
					spec.Rescued.Add(row, fmt.Sprintf("c%d", i), fmt.Appendf(nil, "%d?", rng.Int()))
				}
			}
		}
	}
	return spec
}

func appendRandom(v *schema.Vector, rng *rand.Rand, distinct uint64, nulls int) {
	if rng.IntN(100) < nulls {
		v.AppendNull()
		return
	}
	x := rng.Uint64N(distinct) * mix // any bits
	switch v.Type.Kind {
	case schema.Boolean:
		v.AppendInt(int64(x & 1))
	case schema.Date:
		v.AppendInt(int64(int32(x >> 20)))
	case schema.Double:
		v.AppendFloat(math.Float64frombits(x))
	case schema.Decimal:
		var b [16]byte
		switch {
		case v.Type.Precision == 1:
			x %= 10
		case v.Type.Precision < 19:
			x %= 100_000
		}
		binary.BigEndian.PutUint64(b[8:], x)
		if rng.IntN(2) == 0 && x != 0 {
			for i := range 8 {
				b[i] = 0xff
			}
			binary.BigEndian.PutUint64(b[8:], -x)
		}
		if v.Type.Precision == 19 && (x > 9_000_000_000_000_000_000) {
			b = [16]byte{}
		}
		v.AppendDecimal(b)
	case schema.String:
		v.AppendText(fmt.Appendf(nil, "%x%s", x, strings.Repeat("é", int(x%50))))
	default:
		v.AppendInt(int64(x))
	}
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := batches(t)
		var rows []int32
		if rapid.Bool().Draw(t, "gather") {
			for _, r := range rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Perm(spec.Rows) {
				rows = append(rows, int32(r))
			}
			rows = rows[:rapid.IntRange(0, spec.Rows).Draw(t, "selected")]
		}
		var e Encoder
		var buf bytes.Buffer
		got, err := e.Encode(&buf, spec, rows)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(bytes.NewReader(buf.Bytes()), int64(buf.Len()), got, true); err != nil {
			t.Fatal(err)
		}
		columns, cells := readArrow(t, buf.Bytes())
		if diff := cmp.Diff(wantColumns(spec), columns); diff != "" {
			t.Fatalf("columns (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantCells(spec, rows), cells); diff != "" {
			t.Fatalf("cells (-want +got):\n%.2000s", diff)
		}
		checkIndex(t, buf.Bytes())
	})
}
