package schema

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func observe(cells ...string) *Evidence {
	e := &Evidence{}
	for _, c := range cells {
		e.Observe([]byte(c), false, nil, nil)
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
		{[]string{"12345678901234567890"}, Type{Kind: String}},
		{[]string{"5%", "$5", "5 €"}, Type{Kind: String}},
		{[]string{`{"a":1}`, "[1,2]"}, Type{Kind: String}},

		{[]string{"true", "FALSE"}, Type{Kind: Boolean}},
		{[]string{"true"}, Type{Kind: Boolean}},
		{[]string{"true", "1"}, Type{Kind: String}},
		{[]string{"0", "1"}, Type{Kind: Bigint}},
		{[]string{"t", "f", "T"}, Type{Kind: Boolean, Format: LettersTF}},
		{[]string{"Yes", "no"}, Type{Kind: Boolean, Format: WordsYesNo}},
		{[]string{"N", "Y"}, Type{Kind: Boolean, Format: LettersYN}},
		{[]string{"on", "off"}, Type{Kind: Boolean, Format: WordsOnOff}},
		{[]string{"N", "N"}, Type{Kind: String}},      // it may be north
		{[]string{"yes", "true"}, Type{Kind: String}}, // of two pairs
		{[]string{"F", "M"}, Type{Kind: String}},

		{[]string{"1,234,567", "12"}, Type{Kind: Bigint, Format: Grouped}},
		{[]string{"1,234.5", "1.5"}, Type{Kind: Double, Format: Grouped}},
		{[]string{"2,50", "10,00"}, Type{Kind: Double, Format: CommaDecimal}},
		{[]string{"1.234,5", "1.234"}, Type{Kind: Double, Format: CommaDecimal}}, // the second is 1234
		{[]string{"1.234.567", "7"}, Type{Kind: Bigint, Format: CommaDecimal}},
		{[]string{"1.234", "5.678"}, Type{Kind: Double}},
		{[]string{"1,234", "5,678"}, Type{Kind: String}}, // a thousand, or one and a bit
		{[]string{"1,234", "0,5"}, Type{Kind: Double, Format: CommaDecimal}},
		{[]string{"1,234", "1,234,567"}, Type{Kind: Bigint, Format: Grouped}},
		{[]string{"1,234", "1.5"}, Type{Kind: Double, Format: Grouped}},
		{[]string{"1 234", "12 345"}, Type{Kind: Bigint, Format: Grouped}}, // the same with point or comma
		{[]string{"1 234,5", "12"}, Type{Kind: Double, Format: CommaDecimal}},
		{[]string{"1'234.50", "7"}, Type{Kind: Double, Format: Grouped}},
		{[]string{"1\u00a0234", "12"}, Type{Kind: Bigint, Format: Grouped}},
		{[]string{"555 123 456", "777 000 111"}, Type{Kind: String}}, // telephone numbers
		{[]string{"555,123,456", "777,000,111"}, Type{Kind: String}},
		{[]string{"12,34,567"}, Type{Kind: String}},
		{[]string{"1,234 567"}, Type{Kind: String}},
		{[]string{"01,234"}, Type{Kind: String}},
		{[]string{"1,5", "1.5"}, Type{Kind: String}},

		{[]string{"2020-01-01", "2020-12-31"}, Type{Kind: Date}},
		{[]string{"2020-01-01", "2020-12-31 10:00"}, Type{Kind: String}},
		{[]string{"2020-01-01T10:00:00Z", "2020-01-01T10:00:00+01:00"}, Type{Kind: Timestamp, Zoned: true}},
		{[]string{"2020-01-01T10:00:00Z", "2020-01-01T10:00:00"}, Type{Kind: String}}, // zoned and naive
		{[]string{"1/2/2020", "1/22/2020"}, Type{Kind: Date, Format: MonthFirst}},
		{[]string{"1/2/2020", "22/1/2020"}, Type{Kind: Date, Format: DayFirst}},
		{[]string{"1/2/2020", "22.1.2020"}, Type{Kind: Date, Format: DayFirst}},
		{[]string{"1/22/2020", "22.1.2020"}, Type{Kind: String}},
		{[]string{"1.2.2020"}, Type{Kind: Date, Format: DayFirst}}, // with dots the day is first
		{[]string{"10.11.12", "9.1.2"}, Type{Kind: String}},        // versions
		{[]string{"10.11.12"}, Type{Kind: String}},
		{[]string{"10.11.12", "31.12.19"}, Type{Kind: Date, Format: DayFirst}},
		{[]string{"2020.1.2", "2021.3.4"}, Type{Kind: String}},
		{[]string{"1/2/2020", "3/4/2020"}, Type{Kind: String}}, // nothing tells day and month apart
		{[]string{"1/2/2020 10:00", "1/22/2020 9:30"}, Type{Kind: Timestamp, Format: MonthFirst}},
		{[]string{"1/22/2020 17:00", "1/23/20 17:00", "2020-02-02T23:43:02", "2020-03-23 23:19:34"}, Type{Kind: Timestamp, Format: MonthFirst}},
		{[]string{"2020-02-02T23:43:02", "2/3/20 17:00"}, Type{Kind: String}},
		{[]string{"1/22/45"}, Type{Kind: String}}, // 1945 or 2045
		{[]string{"22-01-20"}, Type{Kind: String}},
		{[]string{"22-Jan-20", "1 February 2020", "Mar 3, 2020", "2020-04-05"}, Type{Kind: Date}},
		{[]string{"Wed, 22 Jan 2020 10:00:00 GMT"}, Type{Kind: Timestamp, Zoned: true}},
		{[]string{"Thu, 22 Jan 2020 10:00:00 GMT"}, Type{Kind: String}}, // it was a Wednesday
		{[]string{"1/22/2020 5:00 PM", "1/2/2020 12:00am"}, Type{Kind: Timestamp, Format: MonthFirst}},
		{[]string{"1/22/2020 13:00 PM"}, Type{Kind: String}},
		{[]string{"2020-01-01 00:00:00.1234"}, Type{Kind: String}}, // finer than a millisecond
		{[]string{"1579688400", "1579688401"}, Type{Kind: Bigint}},

		{[]string{"", "NA"}, Type{}},
		{[]string{"NA", "abc"}, Type{Kind: String}},
		{nil, Type{}},
	} {
		if got := observe(c.cells...).Type(Doubles); got != c.want {
			t.Errorf("cells %q: type %s, want %s", c.cells, got.Written(), c.want.Written())
		}
	}
}

func TestInferenceOfDecimals(t *testing.T) {
	for _, c := range []struct {
		cells []string
		want  string
	}{
		{[]string{"1", "2"}, "bigint"},
		{[]string{"1", "2.50"}, "decimal(15,2)"},
		{[]string{"1.5", "2.505", "99999999999.1"}, "decimal(15,3)"},
		{[]string{"1.5", "9999999999999999.1"}, "decimal(18,1)"},
		{[]string{"12345678901234567890.25"}, "decimal(38,2)"},
		{[]string{"1.234.567,25"}, "decimal(15,2) 1.234,5"},
		{[]string{"1.5", "1e5"}, "double"},
		{[]string{"12345678901234567890"}, "string"},
		{[]string{"1.5", "07"}, "string"},
		{[]string{"0.1234567890123456789012345678901234567890"}, "string"},
	} {
		if got := observe(c.cells...).Type(Decimals); got.Written() != c.want {
			t.Errorf("cells %q: type %s, want %s", c.cells, got.Written(), c.want)
		}
	}
}

var cellGen = rapid.OneOf(
	rapid.SampledFrom([]string{"", "NA", "1", "-3", "2.5", "07", "true", "x", "1e400", "9007199254740993", "2020-01-01", "1/2/2020", "1/22/2020", "22/1/2020", "2020-01-01T00:00:00Z", "2020-01-01 00:00", " 1", "2.5  ", "   ", " 2020-01-01"}),
	rapid.SampledFrom([]string{"y", "n", "yes", "No", "t", "F", "1,234", "123,456", "123,456,789", "1.234", "1.234,5", "1,234.5", "0,5", "1 234", "123 456", "1'234", "10.11.12", "31.12.19", "1.2.2020", "1/2/20 5:00 PM", "22-Jan-20"}),
	rapid.Custom(func(t *rapid.T) string { // cells that are alike, as those of a column are
		return rapid.StringMatching(rapid.SampledFrom([]string{`[1-9]{1,3}(,[0-9]{3}){0,2}`, `[1-9]{1,3}(\.[0-9]{3}){0,2}(,[0-9]{1,3})?`, `[0-3]?[0-9]/[01]?[0-9]/(20)?[0-9]{2}`, `[0-9]{1,2}\.[0-9]{1,3}`}).Draw(t, "form")).Draw(t, "cell")
	}),
	rapid.String(),
)

// The type of a column is the same for any order of its cells and any way of
// splitting them among samples, and each cell that is not null is accepted.
func TestInferenceIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOf(cellGen).Draw(t, "cells")
		numbers := rapid.SampledFrom([]Numbers{Doubles, Decimals}).Draw(t, "numbers")
		all := observe(cells...)
		shuffled := rapid.Permutation(cells).Draw(t, "order")
		cut := rapid.IntRange(0, len(cells)).Draw(t, "cut")
		left, right := observe(shuffled[:cut]...), observe(shuffled[cut:]...)
		joined, other := *right, *left
		joined.Join(*left)
		other.Join(*right)
		again := joined
		again.Join(joined)
		again.Cells, again.Nulls, again.Quoted = joined.Cells, joined.Nulls, joined.Quoted
		for what, e := range map[string]*Evidence{"another order": observe(shuffled...), "split and joined": &joined, "joined the other way round": &other, "joined with itself": &again} {
			if diff := cmp.Diff(known(all), known(e), cmp.AllowUnexported(Evidence{}), cmpopts.EquateComparable(extent[float64]{}, extent[int64]{})); diff != "" {
				t.Fatalf("%s (-as they come +then):\n%s", what, diff)
			}
			if all.Type(numbers) != e.Type(numbers) {
				t.Fatalf("%s: %v, was %v", what, e.Type(numbers).Written(), all.Type(numbers).Written())
			}
		}
		v := &Vector{}
		v.Reset(all.Type(numbers))
		for _, c := range cells {
			if !(*Nulls)(nil).Typed([]byte(c), false) && !v.AppendCell([]byte(c)) {
				t.Fatalf("%s does not accept %q, which decided it", v.Type.Written(), c)
			}
		}
		if want, ok := slowType(cells); ok && numbers == Doubles && want != v.Type.Written() {
			t.Fatalf("type %s, by the slow twin %s", v.Type.Written(), want)
		}
	})
}

// known is what evidence knows without its witnesses, which depend on the order.
func known(e *Evidence) Evidence {
	out := *e
	out.First, out.Decided, out.Steps = Witness{}, Witness{}, nil
	return out
}

func TestSchemaStoredForm(t *testing.T) {
	first, changed := Evolve(nil, []Seen{
		{Name: "a", Spellings: []string{"A"}, Evidence: *observe("1", "2")},
		{Name: "b", Spellings: []string{"b"}, Evidence: *observe("")},
		{Name: "c", Spellings: []string{"c"}, Evidence: *observe("1/22/2020")},
	}, nil)
	if !changed || first.Version != 1 {
		t.Fatalf("first version: %+v, changed %v", first, changed)
	}
	second, changed := Evolve(first, []Seen{
		{Name: "b", Spellings: []string{"b"}, Evidence: *observe("2.5")},
		{Name: "a", Spellings: []string{"a "}, Evidence: *observe("x")}, // keeps its type
		{Name: "d", Spellings: []string{"d"}, Evidence: *observe("x")},
	}, nil)
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
	if same, changed := Evolve(second, []Seen{{Name: "a", Spellings: []string{"A"}, Evidence: *observe("x")}}, nil); changed || same != second {
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

// A name that comes again has the least number that no other name has.
func TestSafeNamesOfTheSame(t *testing.T) {
	long := strings.Repeat("x", 300)
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOf(rapid.SampledFrom([]string{"a", "a_2", "A", "a_3", "a_2_2", long, long + "y", "", "column_2"})).Draw(t, "header")
		taken := map[string]bool{}
		for i, got := range SafeNames(header) {
			base := SafeName(header[i])
			if base == "" {
				base = "column_" + strconv.Itoa(i+1)
			}
			want := base
			for n := 2; taken[want]; n++ {
				suffix := "_" + strconv.Itoa(n)
				want = base[:min(len(base), 255-len(suffix))] + suffix
			}
			if got != want {
				t.Fatalf("name %d of header %q is %s, want %s", i, header, got, want)
			}
			taken[want] = true
		}
	})
	// Looking for each from the beginning took many seconds.
	header := make([]string, 20_000)
	for i := range header {
		header[i] = "x"
	}
	if got := SafeNames(header)[len(header)-1]; got != "x_20000" {
		t.Errorf("the last of %d names is %s", len(header), got)
	}
}

// No token is null where the list of them is empty, also when the contract was stored:
// files are made again by it.
func TestContractWithoutNullTokens(t *testing.T) {
	for _, c := range []*Contract{{Nulls: []string{}}, {Columns: map[string]Declaration{"a": {Nulls: []string{}}}}, {Nulls: []string{"-"}}, {}} {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Contract
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{"NA", "-", ""} {
			want, got := c.NullTokens("a").Typed([]byte(token), false), back.NullTokens("a").Typed([]byte(token), false)
			if got != want {
				t.Errorf("%s: is %q null: %v, and was %v", text, token, got, want)
			}
		}
		if usual := c.NullTokens("a") == nil; c.Empty() != usual {
			t.Errorf("%s: is it empty: %v", text, c.Empty())
		}
	}
}

// Versions that the first form of the file has are read: their formats and sets are
// those of today.
func TestFirstStoredForm(t *testing.T) {
	const stored = `{"v":1,"version":3,"previous":2,"columns":[
		{"name":"a","type":"date","format":"m/d/yy","evidence":{"cells":2,"fits":["date m/d/yy"],"bits":256,"seen":true,"first":{"line":2,"text":"1/22/20"}}},
		{"name":"b","type":"timestamp","format":"iso","evidence":{"cells":2,"bits":8192,"seen":true}},
		{"name":"c","type":"string","evidence":{"cells":2,"bits":192,"seen":true}},
		{"name":"d","type":"bigint","evidence":{"cells":2,"bits":6,"seen":true}},
		{"name":"e","type":"date","format":"d.m.y","evidence":{"cells":1,"bits":1024,"seen":true}},
		{"name":"f","type":"unknown","evidence":{"cells":1,"nulls":1}}]}`
	var s Schema
	if err := json.Unmarshal([]byte(stored), &s); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "date m/d/y", "b": "timestamp", "c": "string", "d": "bigint", "e": "date d/m/y", "f": "unknown"}
	for _, f := range s.Fields {
		if f.Type.Written() != want[f.Name] || f.Evidence.Type(Doubles) != f.Type {
			t.Errorf("column %s is %s, by its evidence %s, want %s", f.Name, f.Type.Written(), f.Evidence.Type(Doubles).Written(), want[f.Name])
		}
	}
}
