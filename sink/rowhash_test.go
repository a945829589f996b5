package sink

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lakefeed/schema"
)

// hashed is a batch of two rows, one of them with cells of every kind.
func hashed() FileSpec {
	spec := FileSpec{Rows: 2, IDs: IDs{Stream: []uint64{0x0123456789abcdef, 0x0123456789abcdef}, Row: []int64{0, 1}}, Rescued: new(Rescues)}
	spec.Columns = []Column{
		column("b", "boolean", func(v *schema.Vector) { v.AppendInt(1) }),
		column("i", "bigint", func(v *schema.Vector) { v.AppendInt(-5); v.AppendInt(7) }),
		column("f", "double", func(v *schema.Vector) { v.AppendFloat(1.5) }),
		column("d", "decimal(5,2)", decimals("-1.25")),
		column("day", "date", func(v *schema.Vector) { v.AppendInt(19000) }),
		column("t", "timestamp", func(v *schema.Vector) { v.AppendInt(1700000000123) }),
		column("s", "string", texts("héllo", "")),
	}
	spec.Rescued.Add(1, "f", []byte("n/a?"))
	return spec
}

// The numbers were made by another implementation of XXH3 (python-xxhash) from
// the documentation of the hashes alone.
func TestHashesAreThoseDocumented(t *testing.T) {
	_, got := encode(t, hashed(), nil)
	if want := "c227821830f3ba4a9926fcafabd40c3a"; got.CellHash != want {
		t.Errorf("cell hash %s, want %s", got.CellHash, want)
	}
	if want := "186cb8f7ee9645f37ba639db6e510228"; got.RowHash != want {
		t.Errorf("row hash %s, want %s", got.RowHash, want)
	}
}

func TestHashesIgnoreOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := batches(t)
		_, want := encode(t, spec, nil)

		other := spec
		other.Columns = slices.Clone(spec.Columns)
		slices.Reverse(other.Columns)
		other.Columns = append(other.Columns, Column{Name: "new", Type: stringType})
		rows := make([]int32, spec.Rows)
		for i := range rows {
			rows[i] = int32(spec.Rows - 1 - i)
		}
		_, got := encode(t, other, rows)
		if got.RowHash != want.RowHash || got.CellHash != want.CellHash {
			t.Fatal("the order of columns and rows, or a new column, changes the hashes")
		}

		// The sums of two files are the sum of the batch.
		cut := rapid.IntRange(0, spec.Rows).Draw(t, "cut")
		var rowSum, cellSum schema.Sum128
		for _, part := range [][]int32{rows[:cut], rows[cut:]} {
			_, got := encode(t, spec, part)
			r, _ := schema.ParseSum128(got.RowHash)
			c, _ := schema.ParseSum128(got.CellHash)
			rowSum.Add(r.Hi, r.Lo)
			cellSum.Add(c.Hi, c.Lo)
		}
		if rowSum.String() != want.RowHash || cellSum.String() != want.CellHash {
			t.Fatal("the hashes of the parts do not add up")
		}
	})
}

func TestHashesTellContentsApart(t *testing.T) {
	seen := map[string]string{}
	add := func(name string, spec FileSpec, sameCells bool) {
		_, got := encode(t, spec, nil)
		for what, h := range map[string]string{"row": got.RowHash, "cell": got.CellHash} {
			if what == "cell" && sameCells {
				continue
			}
			if other, ok := seen[what+h]; ok {
				t.Errorf("%s and %s have the same %s hash", name, other, what)
			}
			seen[what+h] = name
		}
	}
	two := func(a, b []string) FileSpec {
		return FileSpec{Rows: 2, IDs: numbered(2), Columns: []Column{column("a", "string", texts(a...)), column("b", "string", texts(b...))}}
	}
	plain := two([]string{"x", "y"}, []string{"1", "2"})
	add("plain", plain, false)
	add("cells of rows swapped", two([]string{"y", "x"}, []string{"1", "2"}), false)
	add("cells of columns swapped", two([]string{"1", "y"}, []string{"x", "2"}), false)
	add("text moved over", two([]string{"x1", "y"}, []string{"", "2"}), false)
	swapped := two([]string{"x", "y"}, []string{"1", "2"})
	swapped.IDs.Row = []int64{1, 0}
	add("identities swapped", swapped, true)
	stream := two([]string{"x", "y"}, []string{"1", "2"})
	stream.IDs.Stream = []uint64{8, 8}
	add("other stream", stream, true)
	null := two([]string{"x", "y"}, []string{"1"})
	add("null", null, false)
	add("empty", two([]string{"x", "y"}, []string{"1", ""}), false)
	rescued := two([]string{"x", "y"}, []string{"1"})
	rescued.Rescued = new(Rescues)
	rescued.Rescued.Add(1, "b", []byte("2"))
	add("rescued", rescued, false)
	for i, kind := range []string{"bigint", "date", "timestamp", "decimal(18,0)"} {
		v := func(v *schema.Vector) {
			for range 2 {
				if !v.AppendCell([]byte("1")) {
					v.AppendInt(1)
				}
			}
		}
		add(fmt.Sprint(i, kind), FileSpec{Rows: 2, IDs: numbered(2), Columns: []Column{column("a", kind, v)}}, false)
	}
}
