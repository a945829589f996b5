package wire

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lakefeed/schema"
)

func TestKey(t *testing.T) {
	id := schema.NewStreamID("file:///a.csv", "0", 0)
	for _, row := range []int64{0, 1, 10, 1<<63 - 1} {
		key := AppendKey(nil, id, row)
		gotID, gotRow, ok := ParseKey(key)
		if !ok || gotID != id || gotRow != row {
			t.Errorf("ParseKey(%s) = %v, %d, %v", key, gotID, gotRow, ok)
		}
	}
	for _, key := range []string{
		"", "x", id.String(), id.String() + ":", id.String() + ":-1", id.String() + ":01", id.String() + ":1x", id.String() + ":9223372036854775808",
		strings.ToUpper(id.String()) + ":1", "0123456789abcde:1", id.String() + ";1",
	} {
		if strings.ToUpper(id.String()) == id.String() && strings.HasPrefix(key, id.String()) {
			continue
		}
		if _, _, ok := ParseKey([]byte(key)); ok {
			t.Errorf("ParseKey(%q) was accepted", key)
		}
	}
}

func TestAt(t *testing.T) {
	if o, l, err := ParseAt(AppendAt(nil, 1024, 17)); err != nil || o != 1024 || l != 17 {
		t.Errorf("ParseAt = %d, %d, %v", o, l, err)
	}
	if f, to, err := ParseRange(AppendRange(nil, 1024, 1090)); err != nil || f != 1024 || to != 1090 {
		t.Errorf("ParseRange = %d, %d, %v", f, to, err)
	}
	for _, bad := range []string{"", "1", "1:", ":1", "a:b", "-1:2", "1-2"} {
		if _, _, err := ParseAt([]byte(bad)); err == nil {
			t.Errorf("ParseAt(%q) was accepted", bad)
		}
	}
}

func cell(text string, quoted bool) Cell { return Cell{Text: []byte(text), Quoted: quoted} }

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		value string
		want  []Cell
	}{
		{"", []Cell{cell("", false)}},
		{`""`, []Cell{cell("", true)}},
		{",", []Cell{cell("", false), cell("", false)}},
		{`a,"b,c",d`, []Cell{cell("a", false), cell("b,c", true), cell("d", false)}},
		{`"a""b","c"`, []Cell{cell(`a"b`, true), cell("c", true)}},
		{`"a""","""",""""""`, []Cell{cell(`a"`, true), cell(`"`, true), cell(`""`, true)}},
		{"\"a\nb\",c", []Cell{cell("a\nb", true), cell("c", false)}},
		{`a"b,c`, []Cell{cell(`a"b`, false), cell("c", false)}},
		{`NA,"NA"`, []Cell{cell("NA", false), cell("NA", true)}},
		{strings.Repeat("x", 31) + ",y", []Cell{cell(strings.Repeat("x", 31), false), cell("y", false)}},
		{strings.Repeat("x", 32) + ",y", []Cell{cell(strings.Repeat("x", 32), false), cell("y", false)}},
		{strings.Repeat("x", 33) + ",y", []Cell{cell(strings.Repeat("x", 33), false), cell("y", false)}},
	} {
		var s Splitter
		got, err := s.Split([]byte(c.value))
		if err != nil {
			t.Errorf("Split(%q): %v", c.value, err)
		} else if diff := cmp.Diff(c.want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("Split(%q) (-want +got):\n%s", c.value, diff)
		}
	}
	for _, bad := range []string{`"`, `"a`, `"a"b`, `"a""`, `x,"a`, `"a" ,b`} {
		var s Splitter
		if got, err := s.Split([]byte(bad)); err == nil {
			t.Errorf("Split(%q) = %v, want ErrRecord", bad, got)
		}
	}
}

// record writes cells as the value of a message.
func record(cells []Cell) (value []byte) {
	for i, c := range cells {
		if i > 0 {
			value = append(value, ',')
		}
		value = schema.AppendCSVCell(value, c.Text, c.Quoted)
	}
	return value
}

// What is written is read again, by this package and by encoding/csv.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Cell {
			text := rapid.OneOf(rapid.StringOf(rapid.SampledFrom([]rune("a,\"\n\r NA\\é"))), rapid.SampledFrom([]string{"", "NA", `\N`, "null"})).Draw(t, "text")
			return cell(text, rapid.Bool().Draw(t, "quoted"))
		}), 1, 8).Draw(t, "cells")
		value := record(cells)
		var s Splitter
		got, err := s.Split(value)
		if err != nil || len(got) != len(cells) {
			t.Fatalf("%q: %d cells, %v", value, len(got), err)
		}
		for i, c := range cells {
			null := schema.IsNullToken(c.Text)
			if !bytes.Equal(got[i].Text, c.Text) || null && got[i].Quoted != c.Quoted {
				t.Fatalf("%q: cell %d is %q %v, was %q %v", value, i, got[i].Text, got[i].Quoted, c.Text, c.Quoted)
			}
		}
		if len(value) == 0 || bytes.ContainsAny(value, "\r") {
			return // encoding/csv skips an empty record and folds \r\n
		}
		r := csv.NewReader(bytes.NewReader(value))
		r.LazyQuotes = true
		foreign, err := r.Read()
		if err != nil || len(foreign) != len(cells) {
			t.Fatalf("encoding/csv reads %q as %q, %v", value, foreign, err)
		}
		for i, c := range cells {
			if foreign[i] != string(c.Text) {
				t.Fatalf("encoding/csv reads cell %d of %q as %q", i, value, foreign[i])
			}
		}
	})
}

func TestNamesRoundTrip(t *testing.T) {
	for _, names := range [][]string{{"a"}, {""}, {"a", "", "b,c", `d"e`, "NA"}, {"a\nb"}} {
		got, err := ParseNames(AppendNames(nil, names))
		if err != nil || !cmp.Equal(got, names) {
			t.Errorf("names %q came back as %q, %v", names, got, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a,b", `"a""b",,"c"`, `"`, "\"a\r\n\",b", `a"b`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var s, again Splitter
		cells, err := s.Split(value)
		if err != nil {
			return
		}
		back, err := again.Split(record(cells))
		if err != nil || len(back) != len(cells) {
			t.Fatalf("%q split into %d cells, written and split again into %d, %v", value, len(cells), len(back), err)
		}
		for i := range cells {
			if !bytes.Equal(cells[i].Text, back[i].Text) {
				t.Fatalf("%q: cell %d is %q, then %q", value, i, cells[i].Text, back[i].Text)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("0123456789abcdef:42"))
	f.Fuzz(func(t *testing.T, key []byte) {
		if id, row, ok := ParseKey(key); ok && !bytes.Equal(AppendKey(nil, id, row), key) {
			t.Fatalf("key %q was read as %s:%d", key, id, row)
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	value := []byte(`1,155190,7706,1,17,21168.23,0.04,0.02,N,O,1996-03-13,1996-02-12,1996-03-22,DELIVER IN PERSON,TRUCK,"egular courts above the"`)
	var s Splitter
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Split(value); err != nil {
			b.Fatal(err)
		}
	}
}
