package raw_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/raw"
)

func zone(t *testing.T, store sink.Store) *raw.Zone {
	t.Helper()
	z, err := raw.Open(store, "feed/1") // as no topic is called, and the key has to stand it
	if err != nil {
		t.Fatal(err)
	}
	z.PieceBytes = 1000
	return z
}

// manifest is what a claim would say of an object.
func manifest(t *testing.T, uri string, text []byte) raw.Manifest {
	t.Helper()
	found, err := csv.Sniff(text, true)
	if err != nil {
		t.Fatal(err)
	}
	return raw.Manifest{
		URI: uri, Version: "0", Stream: schema.NewStreamID(uri, "0", 0), Dialect: found.Dialect, Columns: found.Columns, Width: found.Width,
		Body: found.Body, BodyLine: found.BodyLine, Splitter: csv.Version,
	}
}

// An object that is copied by runs that end anywhere comes out as it went in, and its
// rows as they were cut.
func TestCopy(t *testing.T) {
	var plain strings.Builder
	plain.WriteString("id,text\n")
	for i := range 400 {
		fmt.Fprintf(&plain, "%d,\"line %d\nand another\"\n", i, i)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	io.WriteString(w, plain.String())
	w.Close()
	for name, stored := range map[string][]byte{"plain": []byte(plain.String()), "packed": packed.Bytes()} {
		t.Run(name, func(t *testing.T) {
			store := mem.New()
			m := manifest(t, "file:///"+name, []byte(plain.String()))
			for _, stop := range []int{0, 1, 999, 1500, 1501, len(stored)} {
				stop = min(stop, len(stored))
				z := zone(t, store)
				o, err := z.Object(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				read, err := io.ReadAll(o.Copying(t.Context(), iotest.HalfReader(bytes.NewReader(stored[:stop])), 0))
				if err != nil || !bytes.Equal(read, stored[:stop]) {
					t.Fatalf("up to %d: %d bytes, %v", stop, len(read), err)
				}
				if o.Covered() != int64(stop) {
					t.Errorf("%d bytes are copied, want %d", o.Covered(), stop)
				}
			}
			z := zone(t, store)
			var out bytes.Buffer
			if err := z.WriteTo(t.Context(), &out, &m); err != nil || !bytes.Equal(out.Bytes(), stored) {
				t.Errorf("%d bytes come out of %d: %v", out.Len(), len(stored), err)
			}
			if err := z.Check(t.Context(), m.Stream); err != nil {
				t.Error(err)
			}
			rows, err := z.Rows(t.Context(), m.Stream)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for i := range 400 {
				row, err := rows.Next()
				if err != nil || string(row.Value) != fmt.Sprintf("%d,\"line %d\nand another\"", i, i) || row.Line != int64(2+2*i) || string(row.Columns) != "id,text" {
					t.Fatalf("row %d: %+v %q, %v", i, row.Row, row.Value, err)
				}
			}
			var missing *raw.MissingError
			if _, err := rows.Next(); !errors.As(err, &missing) || missing.Row != 400 || missing.Source != m.URI {
				t.Errorf("behind the last row: %v", err)
			}
			var listed []raw.Copy
			for c, err := range z.Copies(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				listed = append(listed, c)
			}
			if len(listed) != 1 || listed[0].Size != int64(len(stored)) || listed[0].URI != m.URI || listed[0].Stored == 0 {
				t.Errorf("%+v", listed)
			}
		})
	}
}

// What cannot be copied is not given to be read.
func TestNothingIsReadThatIsNotCopied(t *testing.T) {
	store := mem.New()
	text := []byte("id\n" + strings.Repeat("1\n", 2000))
	o, err := zone(t, store).Object(t.Context(), manifest(t, "file:///a", text))
	if err != nil {
		t.Fatal(err)
	}
	failing := iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(text)))
	read, err := io.ReadAll(o.Copying(t.Context(), failing, 0))
	if !errors.Is(err, iotest.ErrTimeout) || int64(len(read)) != o.Covered() {
		t.Errorf("%d bytes are read, %d are copied: %v", len(read), o.Covered(), err)
	}
}

func TestOrder(t *testing.T) {
	store := mem.New()
	z := zone(t, store)
	a, b := schema.NewStreamID("a", "0", 0), schema.NewStreamID("b", "0", 0)
	var o raw.Order
	add := func(offset int64, id schema.StreamID, row, at int64, first bool) (sum schema.Sum128) {
		hi, lo, _ := wire.RowHash(nil, wire.AppendKey(nil, id, row), []byte("x"))
		o.Row(raw.Run{Offset: offset, Stream: id, Row: row, At: at}, first, hi, lo)
		sum.Add(hi, lo)
		return sum
	}
	sum := add(10, a, 0, 5, true)
	next := add(11, a, 1, 5, false)
	sum.Add(next.Hi, next.Lo)
	add(12, a, 2, 6, false) // another time
	add(14, a, 3, 6, false) // an offset that holds nothing before it
	add(15, b, 0, 6, true)  // another stream
	add(16, b, 1, 6, true)  // another record batch
	add(17, b, 1, 6, false) // sent twice
	o.Other(raw.Run{Offset: 18, Stream: b, Row: 2, At: 7, End: true, Status: "complete"})
	o.Other(raw.Run{Offset: 19, Foreign: true})
	o.Other(raw.Run{Offset: 20, Foreign: true})
	for range 2 { // whoever else has read the same
		if err := z.KeepOrder(t.Context(), "log/1", 3, 10, 22, &o); err != nil {
			t.Fatal(err)
		}
	}
	o.Reset()
	for _, r := range [][2]int64{{12, 20}, {22, 25}, {24, 30}} {
		if err := z.KeepOrder(t.Context(), "log/1", 3, r[0], r[1], &o); err != nil {
			t.Fatal(err)
		}
	}
	ranges, err := z.Segments(t.Context(), "log/1", 3)
	if want := []raw.Range{{From: 10, To: 22}, {From: 22, To: 25}, {From: 24, To: 30}}; err != nil || fmt.Sprint(ranges) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", ranges, err, want)
	}
	s, err := z.Segment(t.Context(), "log/1", 3, raw.Range{From: 10, To: 22})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range s.Runs {
		got = append(got, fmt.Sprint(r.Offset, "+", r.Count))
	}
	if want := "[10+2 12+1 14+1 15+1 16+1 17+1 18+1 19+2]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if s.Runs[0].Sum != sum.String() || !s.Runs[6].End || s.Runs[6].Sum != "" || !s.Runs[7].Foreign {
		t.Errorf("%+v", s.Runs)
	}
	if other, err := z.Segments(t.Context(), "log", 3); err != nil || len(other) > 0 {
		t.Errorf("another log: %v, %v", other, err)
	}
}
