package sink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"pgregory.net/rapid"

	"lakefeed/schema"
)

// checkIndex reads all pages and fails unless the page index and the column
// statistics bound what is in them, and have their nulls and rows right.
func checkIndex(t failer, body []byte) {
	t.Helper()
	// Not with the page index at once: parquet-go takes all indexes for empty then
	// when the first column has none.
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range f.RowGroups() {
		for j, chunk := range g.ColumnChunks() {
			meta := f.Metadata().RowGroups[i].Columns[j].MetaData
			l := leaf{physical: meta.Type}
			name := strings.Join(meta.PathInSchema, ".")
			offsets, err := chunk.OffsetIndex()
			if err != nil {
				t.Fatal(err)
			}
			columns, err := chunk.ColumnIndex()
			if err != nil && err != parquet.ErrMissingColumnIndex {
				t.Fatal(err)
			}
			pages := chunk.Pages()
			nulls, rows, n, nan := int64(0), int64(0), 0, false
			for ; ; n++ {
				page, err := pages.ReadPage()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				values := make([]parquet.Value, page.NumValues())
				if m, err := page.Values().ReadValues(values); m != len(values) || err != nil && err != io.EOF {
					t.Fatalf("%s: %d of %d values: %v", name, m, len(values), err)
				}
				if offsets.FirstRowIndex(n) != rows {
					t.Fatalf("%s: page %d begins at row %d, the index says %d", name, n, rows, offsets.FirstRowIndex(n))
				}
				if n > 0 && page.NumRows() > maxPageRows {
					t.Fatalf("%s: page %d has %d rows", name, n, page.NumRows())
				}
				rows += page.NumRows()
				inPage := int64(0)
				for _, v := range values {
					if v.IsNull() {
						inPage++
						continue
					}
					x := v.Bytes()
					if v.Kind() == parquet.Double && math.IsNaN(v.Double()) {
						nan = true
						continue
					}
					within := func(lo, hi []byte) bool { return l.compare(lo, x) <= 0 && l.compare(x, hi) <= 0 }
					if s := meta.Statistics; s.MinValue != nil && !within(s.MinValue, s.MaxValue) {
						t.Fatalf("%s: %x is not within the chunk's bounds [%x,%x]", name, x, s.MinValue, s.MaxValue)
					}
					if columns != nil && !within(columns.MinValue(n).Bytes(), columns.MaxValue(n).Bytes()) {
						t.Fatalf("%s: %x is not within the bounds [%x,%x] of page %d", name, x, columns.MinValue(n).Bytes(), columns.MaxValue(n).Bytes(), n)
					}
				}
				if columns != nil && (columns.NullCount(n) != inPage || columns.NullPage(n) != (inPage == int64(len(values)))) {
					t.Fatalf("%s: page %d has %d nulls, the index says %d", name, n, inPage, columns.NullCount(n))
				}
				nulls += inPage
				parquet.Release(page)
			}
			pages.Close()
			if columns != nil {
				rises, falls := isOrdered(l, columns)
				if columns.IsAscending() && !rises || columns.IsDescending() && !falls || rises && !columns.IsAscending() || falls && !rises && !columns.IsDescending() {
					t.Fatalf("%s: pages rise %v and fall %v, the index says %v and %v", name, rises, falls, columns.IsAscending(), columns.IsDescending())
				}
			}
			s := meta.Statistics
			switch {
			case rows != g.NumRows() || n != offsets.NumPages():
				t.Fatalf("%s: %d rows in %d pages", name, rows, n)
			case nulls != s.NullCount:
				t.Fatalf("%s: %d nulls, statistics say %d", name, nulls, s.NullCount)
			case nan && (s.MinValue != nil || columns != nil):
				t.Fatalf("%s: it has a NaN and bounds", name)
			case !nan && nulls < meta.NumValues && s.MinValue == nil, !nan && columns == nil:
				t.Fatalf("%s: it has no bounds", name)
			case len(s.MinValue) > maxBound || len(s.MaxValue) > maxBound+4 || s.Min != nil || s.Max != nil:
				t.Fatalf("%s: bounds [%q,%q], of old [%q,%q]", name, s.MinValue, s.MaxValue, s.Min, s.Max)
			}
		}
	}
}

func isOrdered(l leaf, x parquet.ColumnIndex) (rises, falls bool) {
	rises, falls = true, true
	for i := range x.NumPages() {
		for j := range i {
			if !x.NullPage(i) && !x.NullPage(j) {
				lo, hi := l.compare(x.MinValue(j).Bytes(), x.MinValue(i).Bytes()), l.compare(x.MaxValue(j).Bytes(), x.MaxValue(i).Bytes())
				rises, falls = rises && lo <= 0 && hi <= 0, falls && lo >= 0 && hi >= 0
			}
		}
	}
	return rises, falls
}

func TestPageIndex(t *testing.T) {
	body, _ := encode(t, extremes(), nil)
	checkIndex(t, body)
	body, _ = encode(t, lineitem(100_000), nil)
	checkIndex(t, body)

	const n = 4*maxPageRows + 1 // pages that rise, fall, do neither, or hold only nulls; many rescued cells
	spec := FileSpec{Rows: n, IDs: numbered(n), Rescued: new(Rescues)}
	add := func(name, typ string, value func(i int) int64) {
		spec.Columns = append(spec.Columns, column(name, typ, func(v *schema.Vector) {
			for i := range n {
				switch {
				case name == "holes" && i/maxPageRows == 1:
					v.AppendNull()
				case v.Type.Kind == schema.String:
					v.AppendText(fmt.Appendf(nil, "%07d", value(i)))
				case v.Type.Kind == schema.Decimal:
					v.AppendCell(fmt.Append(nil, value(i)))
				default:
					v.AppendInt(value(i))
				}
			}
		}))
	}
	add("rises", "decimal(12,0)", func(i int) int64 { return int64(i - n/2) })
	add("falls", "date", func(i int) int64 { return int64(n/2 - i) })
	add("hill", "timestamp", func(i int) int64 { return int64(min(i, n-i)) })
	add("valley", "bigint", func(i int) int64 { return int64(max(i, n-i)) })
	add("same", "bigint", func(int) int64 { return 7 })
	add("holes", "string", func(i int) int64 { return int64(n - i) })
	for i := range n {
		if i%2 == 0 {
			spec.Rescued.Add(i, "rises", fmt.Append(nil, i))
			spec.Rescued.Add(i, "falls", nil)
		}
	}
	body, _ = encode(t, spec, nil)
	checkIndex(t, body)
	_, cells := readArrow(t, body)
	if cells[6][n-1] != fmt.Sprintf(`"rises"="%d";"falls"="";`, n-1) || cells[6][n-2] != "null" {
		t.Errorf("rescued cells of the last rows: %s, %s", cells[6][n-2], cells[6][n-1])
	}
}

// A zero is both zeros to readers that compare bits.
func TestBoundsOfZero(t *testing.T) {
	for _, x := range []float64{0, math.Copysign(0, -1)} {
		b := doubleBounds([]uint64{math.Float64bits(x)})
		lo, hi := binary.LittleEndian.Uint64(b.min), binary.LittleEndian.Uint64(b.max)
		if lo != 1<<63 || hi != 0 {
			t.Errorf("bounds of %v are %x, %x, want -0 and 0", x, lo, hi)
		}
	}
}

func TestCutBounds(t *testing.T) {
	long := strings.Repeat("x", 63)
	for _, c := range []struct{ in, min, max string }{
		{"", "", ""},
		{"short", "short", "short"},
		{long + "yz", long + "y", long + "z"},
		{long + "é", long, strings.Repeat("x", 62) + "y"},
		{long + "\x7f_", long + "\x7f", long + "\u0080"},
		{strings.Repeat("x", 61) + "\ud7ff__", strings.Repeat("x", 61) + "\ud7ff", strings.Repeat("x", 61) + "\ue000"},
		{"a" + strings.Repeat("\U0010ffff", 20), "a" + strings.Repeat("\U0010ffff", 15), "b"},
		{"a" + strings.Repeat("\xff", 80), "a" + strings.Repeat("\xff", 63), "b"},
	} {
		hi, ok := cutMax([]byte(c.in))
		if lo := cutMin([]byte(c.in)); string(lo) != c.min || string(hi) != c.max || !ok {
			t.Errorf("cut %q: [%q,%q] %v, want [%q,%q]", c.in, lo, hi, ok, c.min, c.max)
		}
	}
	for _, s := range []string{strings.Repeat("\U0010ffff", 20), strings.Repeat("\xff", 80)} {
		if hi, ok := cutMax([]byte(s)); ok {
			t.Errorf("upper bound of %q is %q, want none", s, hi)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 0, 100), rapid.Map(rapid.StringN(0, 100, 200), func(s string) []byte { return []byte(s) })).Draw(t, "x")
		lo := cutMin(x)
		hi, ok := cutMax(x)
		if bytes.Compare(lo, x) > 0 || ok && bytes.Compare(hi, x) < 0 || len(lo) > maxBound || len(hi) > maxBound+utf8.UTFMax {
			t.Fatalf("[%q,%q] does not bound %q", lo, hi, x)
		}
		if utf8.Valid(x) && (!utf8.Valid(lo) || !utf8.Valid(hi)) {
			t.Fatalf("[%q,%q] is not UTF-8", lo, hi)
		}
	})
}

// Text that readers take for the bounds of everything must not hide a chunk.
func TestUnboundedText(t *testing.T) {
	spec := FileSpec{Rows: 2, IDs: numbered(2), Columns: []Column{column("s", "string", texts(strings.Repeat("\U0010ffff", 20), "a"))}}
	body, got := encode(t, spec, nil)
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	c := f.Metadata().RowGroups[0].Columns[0]
	if c.MetaData.Statistics.MinValue != nil || c.ColumnIndexLength != 0 || c.OffsetIndexLength == 0 || len(got.Min) != 0 {
		t.Errorf("bounds %q, column index of %d bytes", c.MetaData.Statistics.MinValue, c.ColumnIndexLength)
	}
}

func TestEncodings(t *testing.T) {
	body, _ := encode(t, lineitem(100_000), nil)
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]format.Encoding{
		"l_quantity": format.RLEDictionary, "l_discount": format.RLEDictionary, "l_shipmode": format.RLEDictionary,
		"l_shipdate": format.RLEDictionary, "l_comment": format.Plain,
	}
	for _, c := range f.Metadata().RowGroups[0].Columns {
		m := c.MetaData
		stats := m.EncodingStats[len(m.EncodingStats)-1]
		if enc, ok := want[m.PathInSchema[0]]; ok && stats.Encoding != enc {
			t.Errorf("column %v is %v", m.PathInSchema, stats.Encoding)
		}
		if stats.PageType != format.DataPage || m.Codec != format.Zstd {
			t.Errorf("column %v has pages %v, codec %v", m.PathInSchema, stats.PageType, m.Codec)
		}
	}
}

// lineitem makes a batch like TPC-H's lineitem: 16 columns, orders of one to
// seven lines, prices with two decimals.
func lineitem(n int) FileSpec {
	types := []struct{ name, typ string }{
		{"l_orderkey", "bigint"}, {"l_partkey", "bigint"}, {"l_suppkey", "bigint"}, {"l_linenumber", "bigint"},
		{"l_quantity", "bigint"}, {"l_extendedprice", "decimal(8,2)"}, {"l_discount", "decimal(3,2)"}, {"l_tax", "decimal(3,2)"},
		{"l_returnflag", "string"}, {"l_linestatus", "string"}, {"l_shipdate", "date"}, {"l_commitdate", "date"}, {"l_receiptdate", "date"},
		{"l_shipinstruct", "string"}, {"l_shipmode", "string"}, {"l_comment", "string"},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]*schema.Vector, len(types))
	spec := FileSpec{Rows: n}
	for i, c := range types {
		t, err := schema.ParseType(c.typ)
		if err != nil {
			panic(err)
		}
		v[i] = new(schema.Vector)
		v[i].Reset(t)
		spec.Columns = append(spec.Columns, Column{Name: c.name, Type: t, Vector: v[i]})
	}
	flags, status := []string{"R", "A", "N"}, []string{"O", "F"}
	instruct := []string{"DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"}
	modes := []string{"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"}
	words := []string{"carefully ", "quickly ", "furiously ", "ironic ", "pending ", "deposits ", "accounts ", "regular ", "foxes ", "requests ",
		"packages ", "sleep ", "haggle ", "across ", "the ", "among ", "final ", "bold ", "even ", "express ", "blithely ", "slyly ", "theodolites ", "instructions "}
	pick := func(s []string) []byte { return []byte(s[rng.IntN(len(s))]) }
	cents := func(x int) (b [16]byte) {
		for i := 15; i >= 8; i-- {
			b[i] = byte(x)
			x >>= 8
		}
		return b
	}
	order, line, lines := int64(1), int64(0), int64(4)
	var comment []byte
	for i := range n {
		if line == lines {
			order, line, lines = order+1+3*(order&1), 0, 1+rng.Int64N(7)
		}
		line++
		q := 1 + rng.IntN(50)
		part := rng.IntN(200_000)
		day := 8036 + rng.Int64N(2526)
		v[0].AppendInt(order)
		v[1].AppendInt(int64(part))
		v[2].AppendInt(rng.Int64N(10_000))
		v[3].AppendInt(line)
		v[4].AppendInt(int64(q))
		v[5].AppendDecimal(cents(q * (90_000 + part/10%20_001 + 100*(part%1000))))
		v[6].AppendDecimal(cents(rng.IntN(11)))
		v[7].AppendDecimal(cents(rng.IntN(9)))
		v[8].AppendText(pick(flags))
		v[9].AppendText(pick(status))
		v[10].AppendInt(day)
		v[11].AppendInt(day + rng.Int64N(60) - 30)
		v[12].AppendInt(day + 1 + rng.Int64N(30))
		v[13].AppendText(pick(instruct))
		v[14].AppendText(pick(modes))
		comment = comment[:0]
		for range 2 + rng.IntN(4) {
			comment = append(comment, pick(words)...)
		}
		v[15].AppendText(comment)
		spec.IDs.Stream = append(spec.IDs.Stream, 0x1234567890abcdef)
		spec.IDs.Row = append(spec.IDs.Row, int64(i))
	}
	return spec
}

func BenchmarkEncode(b *testing.B) {
	const n = 500_000
	spec := lineitem(n)
	var scattered [4][]int32
	for i := range int32(n) {
		scattered[i*7%4] = append(scattered[i*7%4], i)
	}
	bench := func(name string, parts ...[]int32) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e Encoder
			size := int64(0)
			for b.Loop() {
				size = 0
				for _, rows := range parts {
					got, err := e.Encode(io.Discard, spec, rows)
					if err != nil {
						b.Fatal(err)
					}
					size += got.Size
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
			b.ReportMetric(float64(size)/n, "B/row")
		})
	}
	bench("whole", nil)
	bench(fmt.Sprintf("parts=%d", len(scattered)), scattered[:]...)
}
