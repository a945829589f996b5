package schema

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func observe(cells ...string) *Evidence {
	e := &Evidence{}
	for _, c := range cells {
		e.Observe([]byte(c), false, nil)
	}
	return e
}

func TestInference(t *testing.T) {
	for _, c := range []struct {
		cells []string
		want  Type
	}{
		{[]string{"1", "2"}, Type{Kind: Bigint}},
		{[]string{"1", "", "NA", `\N`, "NULL", "null"}, Type{Kind: Bigint}},
		{[]string{"1", "2.5"}, Type{Kind: Double}},
		{[]string{"9007199254740993", "2.5"}, Type{Kind: String}}, // no double gives the first back
		{[]string{"1", "x"}, Type{Kind: String}},
		{[]string{"07", "08"}, Type{Kind: String}},
		{[]string{"true", "FALSE"}, Type{Kind: Boolean}},
		{[]string{"true", "1"}, Type{Kind: String}},
		{[]string{"2020-01-01", "2020-12-31"}, Type{Kind: Date, Format: ISO}},
		{[]string{"2020-01-01", "2020-12-31 10:00"}, Type{Kind: String}},
		{[]string{"2020-01-01T10:00:00Z", "2020-01-01T10:00:00+01:00"}, Type{Kind: Timestamp, Zoned: true, Format: ISO}},
		{[]string{"2020-01-01T10:00:00Z", "2020-01-01T10:00:00"}, Type{Kind: String}}, // zoned and naive
		{[]string{"1/2/2020", "1/22/2020"}, Type{Kind: Date, Format: SlashMDY}},
		{[]string{"1/2/2020", "22/1/2020"}, Type{Kind: Date, Format: SlashDMY}},
		{[]string{"1/2/2020", "3/4/2020"}, Type{Kind: String}}, // nothing tells day and month apart
		{[]string{"1/2/2020 10:00", "1/22/2020 9:30"}, Type{Kind: Timestamp, Format: SlashMDY}},
		{[]string{"", "NA"}, Type{}},
		{[]string{"NA", "abc"}, Type{Kind: String}},
		{nil, Type{}},
	} {
		if got := observe(c.cells...).Type(); got != c.want {
			t.Errorf("cells %q: type %v %v, want %v %v", c.cells, got, got.Format, c.want, c.want.Format)
		}
	}
}

var cellGen = rapid.OneOf(
	rapid.SampledFrom([]string{"", "NA", "1", "-3", "2.5", "07", "true", "x", "1e400", "9007199254740993", "2020-01-01", "1/2/2020", "1/22/2020", "22/1/2020", "2020-01-01T00:00:00Z", "2020-01-01 00:00"}),
	rapid.String(),
)

// The type of a column is the same for any order of its cells and any way of
// splitting them among samples, and each cell that is not null is accepted.
func TestInferenceIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOf(cellGen).Draw(t, "cells")
		all := observe(cells...)
		shuffled := rapid.Permutation(cells).Draw(t, "order")
		cut := rapid.IntRange(0, len(cells)).Draw(t, "cut")
		left, right := observe(shuffled[:cut]...), observe(shuffled[cut:]...)
		joined := *right
		joined.Join(*left)
		if all.Type() != joined.Type() || all.Cells != joined.Cells || all.Nulls != joined.Nulls {
			t.Fatalf("in order: %v; split and joined: %v", all.Type(), joined.Type())
		}
		again := joined
		again.Join(joined)
		if again.Type() != joined.Type() {
			t.Fatalf("joined with itself: %v, was %v", again.Type(), joined.Type())
		}
		v := &Vector{}
		v.Reset(all.Type())
		for _, c := range cells {
			if !IsNullToken([]byte(c)) && !v.AppendCell([]byte(c)) {
				t.Fatalf("%v does not accept %q, which decided it", v.Type, c)
			}
		}
	})
}

func TestSchemaStoredForm(t *testing.T) {
	first, changed := Evolve(nil, []Seen{
		{Name: "a", Spellings: []string{"A"}, Evidence: *observe("1", "2")},
		{Name: "b", Spellings: []string{"b"}, Evidence: *observe("")},
		{Name: "c", Spellings: []string{"c"}, Evidence: *observe("1/22/2020")},
	})
	if !changed || first.Version != 1 {
		t.Fatalf("first version: %+v, changed %v", first, changed)
	}
	second, changed := Evolve(first, []Seen{
		{Name: "b", Spellings: []string{"b"}, Evidence: *observe("2.5")},
		{Name: "a", Spellings: []string{"a "}, Evidence: *observe("x")}, // keeps its type
		{Name: "d", Spellings: []string{"d"}, Evidence: *observe("x")},
	})
	if !changed || second.Version != 2 || second.Previous != 1 {
		t.Fatalf("second version: %+v, changed %v", second, changed)
	}
	got := map[string]string{}
	for _, f := range second.Fields {
		got[f.Name] = f.Type.String() + " " + f.Type.Format.String()
	}
	want := map[string]string{"a": "bigint ", "b": "double ", "c": "date m/d/y", "d": "string "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if same, changed := Evolve(second, []Seen{{Name: "a", Spellings: []string{"A"}, Evidence: *observe("x")}}); changed || same != second {
		t.Errorf("nothing new made version %d", same.Version)
	}
	b, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	var back Schema
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(second, &back, cmp.AllowUnexported(Evidence{})); diff != "" {
		t.Errorf("stored and read again (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"v":99}`), &back); err == nil {
		t.Error("a newer format was accepted")
	}
}

func TestSafeNames(t *testing.T) {
	got := SafeNames([]string{"Province/State", " Last Update ", "Long_", "a", "A", "a!", "", "", "Größe (m²)", "_rescued", "日本", "Case-Fatality_Ratio"})
	want := []string{"province_state", "last_update", "long", "a", "a_2", "a_3", "column_7", "column_8", "groesse_m", "rescued", "column_11", "case_fatality_ratio"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSafeNamesAreSafeAndUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a", "a_2", "A", ""}))).Draw(t, "header")
		seen := map[string]bool{}
		for _, n := range SafeNames(header) {
			if n == "" || seen[n] || len(n) > 255 || n[0] == '_' {
				t.Fatalf("name %q of header %q", n, header)
			}
			seen[n] = true
		}
	})
}
