package sink_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
)

// What a Parquet file of another writer holds is its values' text, whatever units and
// widths they are kept in.
func TestPairsOfOtherWriters(t *testing.T) {
	micros := &arrow.TimestampType{Unit: arrow.Microsecond}
	nanos := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	for _, c := range []struct {
		typ  arrow.DataType
		text string // as arrow reads it
		want string
	}{
		{arrow.PrimitiveTypes.Uint8, "200", "200"},
		{arrow.PrimitiveTypes.Int32, "-7", "-7"},
		{arrow.PrimitiveTypes.Uint32, "4000000000", "4000000000"},
		{arrow.PrimitiveTypes.Uint64, "18446744073709551615", "18446744073709551615"},
		{arrow.PrimitiveTypes.Float32, "0.1", "0.1"},
		{arrow.PrimitiveTypes.Float64, "1e10", "10000000000"},
		{arrow.FixedWidthTypes.Boolean, "true", "true"},
		{arrow.FixedWidthTypes.Date32, "1969-12-31", "1969-12-31"},
		{arrow.FixedWidthTypes.Time64us, "10:00:00.5", "10:00:00.500"},
		{micros, "2020-01-01 10:00:00.25", "2020-01-01T10:00:00.250"},
		{micros, "1969-12-31 23:59:59.123456", "1969-12-31T23:59:59.123456"},
		{nanos, "2020-01-01 10:00:00Z", "2020-01-01T10:00:00Z"},
		{&arrow.Decimal128Type{Precision: 10, Scale: 2}, "1.50", "1.50"},
		{&arrow.Decimal128Type{Precision: 18, Scale: 3}, "-0.005", "-0.005"},
		{&arrow.Decimal128Type{Precision: 38, Scale: 0}, "-12", "-12"},
		{arrow.BinaryTypes.String, "ü", "ü"},
	} {
		for _, whole := range []bool{false, true} {
			if got := pairs(t, c.typ, c.text, whole); got != c.want {
				t.Errorf("%s %s (decimals as whole numbers: %t) is %q, want %q", c.typ, c.text, whole, got, c.want)
			}
		}
	}
	var b bytes.Buffer
	writePairs(t, &b, arrow.BinaryTypes.Binary, "\"/w==\"", false)
	if err := sink.ReadPairs(b.Bytes(), "k", "v", func(_, _ []byte) {}); err == nil || !strings.Contains(err.Error(), "column v has bytes that are no text") {
		t.Errorf("of bytes that are no text is said %v", err)
	}
}

// pairs reads a value that is behind a key, and a null.
func pairs(t *testing.T, typ arrow.DataType, text string, whole bool) string {
	t.Helper()
	var b bytes.Buffer
	if typ.ID() != arrow.BOOL && !strings.HasPrefix(typ.Name(), "uint") && !strings.HasPrefix(typ.Name(), "int") && !strings.HasPrefix(typ.Name(), "float") {
		text = `"` + text + `"`
	}
	writePairs(t, &b, typ, text, whole)
	var got []string
	if err := sink.ReadPairs(b.Bytes(), "k", "v", func(k, v []byte) {
		if v == nil {
			v = []byte("null")
		}
		got = append(got, string(k)+"="+string(v))
	}); err != nil {
		t.Error(err)
		return ""
	}
	if diff := cmp.Diff([]string{"b=null"}, got[1:]); diff != "" {
		t.Error(diff)
	}
	return strings.TrimPrefix(got[0], "a=")
}

func writePairs(t *testing.T, b *bytes.Buffer, typ arrow.DataType, text string, whole bool) {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.BinaryTypes.String}, {Name: "v", Type: typ, Nullable: true}}, nil)
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(`[{"k": "a", "v": `+text+`}, {"k": "b", "v": null}]`))
	if err != nil {
		t.Fatal(typ, err)
	}
	defer batch.Release()
	w, err := pqarrow.NewFileWriter(s, b, parquet.NewWriterProperties(parquet.WithStoreDecimalAsInteger(whole)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
