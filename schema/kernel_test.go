package schema

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseBigint(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "-7": -7, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "9007199254740993": 9007199254740993,
	} {
		if got, ok := ParseBigint([]byte(text)); !ok || got != want {
			t.Errorf("ParseBigint(%q) = %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", "+7", "07", "-0", "00", "7 ", " 7", "1_000", "0x1F", "1.0", "1e3", "9223372036854775808", "-9223372036854775809", "12345678901234567890", "99999999999999999999"} {
		if got, ok := ParseBigint([]byte(text)); ok {
			t.Errorf("ParseBigint(%q) = %d, want no bigint", text, got)
		}
	}
}

func TestParseDouble(t *testing.T) {
	for text, want := range map[string]float64{
		"0": 0, "1": 1, "-1.5": -1.5, "0.10": 0.1, ".5": 0.5, "5.": 5, "1e5": 1e5, "1E-5": 1e-5, "1e+5": 1e5, "100": 100, "123456789012345": 123456789012345,
		"0.1234567890123456": 0.1234567890123456, "1.7976931348623157e308": math.MaxFloat64, "5e-324": math.SmallestNonzeroFloat64, "1e22": 1e22, "1e23": 1e23,
		"Infinity": math.Inf(1), "-inf": math.Inf(-1), "9007199254740992": 1 << 53, "100000000000000000000": 1e20,
	} {
		if got, ok := ParseDouble([]byte(text)); !ok || got != want {
			t.Errorf("ParseDouble(%q) = %g, %v, want %g", text, got, ok, want)
		}
	}
	if got, ok := ParseDouble([]byte("-0")); !ok || got != 0 || !math.Signbit(got) {
		t.Errorf("ParseDouble(-0) = %g, %v, want negative zero", got, ok)
	}
	for _, text := range []string{"", "-", ".", "-.", "1.2.3", "01.5", "00", "1e", "1e400", "-1e400", "1e-400", "1,5", "0x1p3", "1_0", "abc", "9007199254740993", "0.12345678901234567891", "1e99999", "1.5 "} {
		if got, ok := ParseDouble([]byte(text)); ok {
			t.Errorf("ParseDouble(%q) = %g, want no double: it does not give the text back", text, got)
		}
	}
}

// A double is a number text iff its shortest decimal has the digits of the text.
func TestDoubleGivesTheNumberBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "text")
		f, ok := ParseDouble([]byte(text))
		want, good := new(big.Rat).SetString(strings.TrimSuffix(text, "."))
		if !good {
			return
		}
		if !ok {
			if g, err := strconv.ParseFloat(text, 64); err == nil {
				back, _ := new(big.Rat).SetString(strconv.FormatFloat(g, 'g', -1, 64))
				if back.Cmp(want) == 0 {
					t.Fatalf("%q is given back by %g but was refused", text, g)
				}
			}
			return
		}
		back, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
		if back.Cmp(want) != 0 {
			t.Fatalf("%q became %g", text, f)
		}
	})
}

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		text     string
		p, s     int
		normal   string
		accepted bool
	}{
		{"12.50", 12, 2, "12.50", true}, {"12.5", 12, 2, "12.50", true}, {"12", 12, 2, "12.00", true}, {"-0.01", 3, 2, "-0.01", true}, {"12.500", 12, 2, "12.50", true},
		{"99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999", true},
		{"-99999999999999999999999999999999999.999", 38, 3, "-99999999999999999999999999999999999.999", true},
		{"12.501", 12, 2, "", false}, {"100.00", 4, 2, "", false}, {"1e2", 12, 2, "", false}, {"-0", 12, 2, "", false}, {"", 12, 2, "", false},
		{"199999999999999999999999999999999999999", 38, 0, "", false}, {"9999999999999999999999999999999999999999999", 38, 0, "", false},
	} {
		v := &Vector{}
		v.Reset(Type{Kind: Decimal, Precision: c.p, Scale: c.s})
		if ok := v.AppendCell([]byte(c.text)); ok != c.accepted {
			t.Errorf("decimal(%d,%d) accepts %q: %v, want %v", c.p, c.s, c.text, ok, c.accepted)
		} else if ok && string(v.AppendValue(nil, 0)) != c.normal {
			t.Errorf("decimal(%d,%d) %q has the normal form %q, want %q", c.p, c.s, c.text, v.AppendValue(nil, 0), c.normal)
		}
	}
}

func TestForms(t *testing.T) {
	day, wall, zoned := Type{Kind: Date}, Type{Kind: Timestamp}, Type{Kind: Timestamp, Zoned: true}
	for _, c := range []struct {
		typ    Type
		text   string
		normal string // "" when it does not fit
	}{
		{day, "2020-02-29", "2020-02-29"},
		{day, "2021-02-29", ""},
		{day, "0000-01-01", ""},
		{day, "0001-01-01", "0001-01-01"},
		{day, "9999-12-31", "9999-12-31"},
		{day, "2020-2-9", "2020-02-09"},
		{day, "2020/2/9", "2020-02-09"},
		{day, "2020.02.09", "2020-02-09"},
		{day, "2020/2-9", ""},
		{day, "1/22/2020", ""},
		{day, "22 Jan 2020", "2020-01-22"},
		{day, "22-jan-2020", "2020-01-22"},
		{day, "22/January/20", "2020-01-22"},
		{day, "Sept 2, 2020", "2020-09-02"},
		{day, "May 31 2020", "2020-05-31"},
		{day, "Janus 1, 2020", ""},
		{day, "31 Feb 2020", ""},
		{Type{Kind: Date, Format: MonthFirst}, "1/22/2020", "2020-01-22"},
		{Type{Kind: Date, Format: MonthFirst}, "2020-01-22", "2020-01-22"},
		{Type{Kind: Date, Format: DayFirst}, "1/22/2020", ""},
		{Type{Kind: Date, Format: MonthFirst}, "1/22/20", "2020-01-22"},
		{Type{Kind: Date, Format: MonthFirst}, "1/22/70", "1970-01-22"},
		{Type{Kind: Date, Format: MonthFirst}, "1/22/69", ""},
		{Type{Kind: Date, Format: MonthFirst}, "1-22-20", ""},
		{Type{Kind: Date, Format: DayFirst}, "31.12.1999", "1999-12-31"},
		{Type{Kind: Date, Format: DayFirst}, "01.12.99", "1999-12-01"},
		{Type{Kind: Date, Format: MonthFirst}, "12.31.1999", ""},
		{wall, "2020-03-22 23:45:00", "2020-03-22T23:45:00"},
		{wall, "2020-03-22T23:45", "2020-03-22T23:45:00"},
		{wall, "2020-03-22T23:45:01.250000", "2020-03-22T23:45:01.250"},
		{wall, "2020-03-22T23:45:01.2501", ""},
		{wall, "2020-03-22T24:00:00", ""},
		{wall, "2020-03-22T23:59:60", ""},
		{wall, "2020-03-22T23:45:00Z", ""},
		{wall, "1900-01-01 00:00:00.001", "1900-01-01T00:00:00.001"},
		{wall, "2020-03-22 12:00 AM", "2020-03-22T00:00:00"},
		{wall, "2020-03-22 12:30:15pm", "2020-03-22T12:30:15"},
		{wall, "2020-03-22 0:30 PM", ""},
		{Type{Kind: Timestamp, Format: MonthFirst}, "1/22/2020 9:05", "2020-01-22T09:05:00"},
		{Type{Kind: Timestamp, Format: DayFirst}, "22.1.2020 09:05:30", "2020-01-22T09:05:30"},
		{zoned, "2013-01-01T10:00:00Z", "2013-01-01T10:00:00Z"},
		{zoned, "2013-01-01T10:00:00+05:30", "2013-01-01T04:30:00Z"},
		{zoned, "2013-01-01T10:00:00-0100", "2013-01-01T11:00:00Z"},
		{zoned, "2013-01-01 10:00:00 +0200", "2013-01-01T08:00:00Z"},
		{zoned, "2013-01-01 10:00:00 UTC", "2013-01-01T10:00:00Z"},
		{zoned, "Wed, 22 Jan 2020 10:00:00 GMT", "2020-01-22T10:00:00Z"},
		{zoned, "2013-01-01T10:00:00+24:00", ""},
		{zoned, "2013-01-01T10:00:00", ""},
		{zoned, "0001-01-01T00:00:00+01:00", ""}, // year 0 in UTC
		{Type{Kind: Timestamp, Zoned: true, Format: MonthFirst}, "1/22/2020 5:00 PM +01:00", "2020-01-22T16:00:00Z"},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, "1579688400", "2020-01-22T10:20:00Z"},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, "1579688400.5", "2020-01-22T10:20:00.500Z"},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, "1579688400.0005", ""},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, "-1", "1969-12-31T23:59:59Z"},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, "999999999999", ""},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochMillis}, "1579688400123", "2020-01-22T10:20:00.123Z"},
		{Type{Kind: Timestamp, Zoned: true, Format: EpochMillis}, "1579688400123.5", ""},
		{Type{Kind: Boolean, Format: WordsYesNo}, "Yes", "true"},
		{Type{Kind: Boolean, Format: WordsYesNo}, "true", ""},
		{Type{Kind: Bigint, Format: Grouped}, "-1,234,567", "-1234567"},
		{Type{Kind: Bigint, Format: Grouped}, "1234567", "1234567"},
		{Type{Kind: Bigint, Format: Grouped}, "1,234567", ""},
		{Type{Kind: Bigint}, "1,234", ""},
		{Type{Kind: Double, Format: CommaDecimal}, "1.234,50", "1234.5"},
		{Type{Kind: Double, Format: CommaDecimal}, "1.5", ""},
		{Type{Kind: Double, Format: CommaDecimal}, "1.500", "1500"},
		{Type{Kind: Double, Format: CommaDecimal}, "9007199254740993", ""},
		{Type{Kind: Decimal, Precision: 12, Scale: 2, Format: CommaDecimal}, "1.234,5", "1234.50"},
		{Type{Kind: Decimal, Precision: 12, Scale: 2, Format: Grouped}, "1'234.5", "1234.50"},
	} {
		v := &Vector{}
		v.Reset(c.typ)
		ok := v.AppendCell([]byte(c.text))
		if got := string(v.AppendValue(nil, 0)); ok != (c.normal != "") || got != c.normal {
			t.Errorf("%s: %q became %q, want %q", c.typ.Written(), c.text, got, c.normal)
		}
	}
}

func TestDatesAgreeWithTheCalendar(t *testing.T) {
	from := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := 0; d < 3652059; d += 13 {
		day := from.AddDate(0, 0, d)
		got, ok := ParseDate([]byte(day.Format("2006-01-02")), NoFormat)
		if want := day.Unix() / 86400; !ok || got*86400 != day.Unix() {
			t.Fatalf("ParseDate(%s) = %d, %v, want %d", day.Format(time.DateOnly), got, ok, want)
		}
	}
}

// Whatever is typed gives a text back that is typed to the same value.
func TestNormalFormIsStable(t *testing.T) {
	types := []Type{
		{Kind: Boolean}, {Kind: Boolean, Format: WordsYesNo},
		{Kind: Bigint}, {Kind: Bigint, Format: Grouped}, {Kind: Bigint, Format: CommaDecimal},
		{Kind: Double}, {Kind: Double, Format: Grouped}, {Kind: Double, Format: CommaDecimal},
		{Kind: Decimal, Precision: 20, Scale: 4}, {Kind: Decimal, Precision: 20, Scale: 4, Format: Grouped}, {Kind: Decimal, Precision: 38, Scale: 2, Format: CommaDecimal},
		{Kind: Date}, {Kind: Date, Format: MonthFirst}, {Kind: Date, Format: DayFirst},
		{Kind: Timestamp}, {Kind: Timestamp, Format: MonthFirst}, {Kind: Timestamp, Zoned: true}, {Kind: Timestamp, Zoned: true, Format: DayFirst},
		{Kind: Timestamp, Zoned: true, Format: EpochSeconds}, {Kind: Timestamp, Zoned: true, Format: EpochMillis},
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{0,18})?(e-?[0-9]{1,3})?`),
			rapid.StringMatching(`-?[0-9]{1,3}([,. '][0-9]{3}){0,4}([.,][0-9]{1,4})?`),
			rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?( ?(Z|[+-][01][0-9]:[0-5][0-9]))?)?`),
			rapid.StringMatching(`[0-3]?[0-9]([/.-]| (Jan|feb|MARCH|sept) )[0-3]?[0-9]?[/.-]?([0-9]{4}|[0-9]{2})( 1?[0-9]:[0-5][0-9] ?([AP]M|UTC)?)?`),
			rapid.SampledFrom([]string{"true", "FALSE", "Yes", "no", "nan", "-inf", "Infinity"}),
			rapid.String(),
		).Draw(t, "text")
		for _, typ := range types {
			v := &Vector{}
			v.Reset(typ)
			if !v.AppendCell([]byte(text)) {
				continue
			}
			normal := v.AppendValue(nil, 0)
			if want, ok := slowValue(typ, text); ok && want != string(normal) {
				t.Fatalf("%s: %q became %q, by the slow twin %q", typ.Written(), text, normal, want)
			}
			v.Type.Format = NoFormat
			if !v.AppendCell(normal) {
				t.Fatalf("%s: %q has the normal form %q, which is not accepted", typ.Written(), text, normal)
			}
			if again := v.AppendValue(nil, 1); string(again) != string(normal) {
				t.Fatalf("%s: %q became %q, then %q", typ.Written(), text, normal, again)
			}
		}
	})
}

// fuzzType checks, of a text and the types that one parser serves, that what is
// typed gives back a normal form of the same value, and that inference grants what
// the parser takes.
func fuzzType(f *testing.F, types []Type, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e Evidence
		e.Observe(text, true, nil, nil)
		for _, n := range []Numbers{Doubles, Decimals} {
			if typ := e.Type(n); typ.Kind != Unknown {
				v := &Vector{}
				if v.Reset(typ); !v.AppendCell(text) {
					t.Fatalf("%q is inferred as %s but not accepted as one", text, typ.Written())
				}
			}
		}
		for _, typ := range types {
			v := &Vector{}
			v.Reset(typ)
			if !v.AppendCell(text) {
				if v.Len() != 0 || len(v.Ints)+len(v.Floats)+len(v.Text) != 0 {
					t.Fatalf("%s: %q is refused and left something behind", typ.Written(), text)
				}
				continue
			}
			if want, ok := slowValue(typ, string(text)); ok && string(v.AppendValue(nil, 0)) != want {
				t.Fatalf("%s: %q became %q, by the slow twin %q", typ.Written(), text, v.AppendValue(nil, 0), want)
			}
			normal := v.AppendValue(nil, 0)
			v.Type.Format = NoFormat
			if !v.AppendCell(normal) {
				t.Fatalf("%s: normal form %q of %q is not accepted", typ.Written(), normal, text)
			}
			if again := v.AppendValue(nil, 1); string(again) != string(normal) {
				t.Fatalf("%s: %q became %q, then %q", typ.Written(), text, normal, again)
			}
		}
	})
}

func FuzzBoolean(f *testing.F) {
	fuzzType(f, []Type{{Kind: Boolean}, {Kind: Boolean, Format: LettersTF}, {Kind: Boolean, Format: WordsYesNo}, {Kind: Boolean, Format: LettersYN}, {Kind: Boolean, Format: WordsOnOff}}, "true", "F", "Yes", "n", "off")
}

func FuzzBigint(f *testing.F) {
	fuzzType(f, []Type{{Kind: Bigint}, {Kind: Bigint, Format: Grouped}, {Kind: Bigint, Format: CommaDecimal}}, "1", "-9223372036854775808", "1,234,567", "1.234.567", "1 234", "1\u202f234", "07")
}

func FuzzDouble(f *testing.F) {
	fuzzType(f, []Type{{Kind: Double}, {Kind: Double, Format: Grouped}, {Kind: Double, Format: CommaDecimal}}, "1", "-0.5e10", "NaN", "1,234.5", "1.234,5", "9007199254740993", "1e400", "0,1")
}

func FuzzDecimal(f *testing.F) {
	fuzzType(f, []Type{{Kind: Decimal, Precision: 12, Scale: 2}, {Kind: Decimal, Precision: 38, Scale: 10}, {Kind: Decimal, Precision: 38}, {Kind: Decimal, Precision: 20, Scale: 4, Format: Grouped}, {Kind: Decimal, Precision: 20, Scale: 4, Format: CommaDecimal}},
		"1", "99999999999999999999.99", "-0.01", "1,234.5", "1.234,5", "1e3")
}

func FuzzDate(f *testing.F) {
	fuzzType(f, []Type{{Kind: Date}, {Kind: Date, Format: MonthFirst}, {Kind: Date, Format: DayFirst}}, "2020-01-01", "1/2/2020", "31.12.99", "22-Jan-20", "Wed, 22 Jan 2020", "Jan 22, 2020", "2020/1/2", "1/2/45")
}

func FuzzTimestamp(f *testing.F) {
	fuzzType(f, []Type{{Kind: Timestamp}, {Kind: Timestamp, Format: MonthFirst}, {Kind: Timestamp, Format: DayFirst}, {Kind: Timestamp, Zoned: true}, {Kind: Timestamp, Zoned: true, Format: MonthFirst}, {Kind: Timestamp, Zoned: true, Format: EpochSeconds}, {Kind: Timestamp, Zoned: true, Format: EpochMillis}},
		"2020-01-01T00:00:00.5+01:00", "0001-01-01 00:03:00.0+0010", "9999-12-31T23:59:59.999-01", "1/2/2020 10:00", "1/2/20 5:00 PM", "Wed, 22 Jan 2020 10:00:00 GMT", "1579688400.5", "-1", "2020-01-01 00:00", "0001-01-1 0:03:00.0")
}

func BenchmarkKernel(b *testing.B) {
	for _, c := range []struct {
		name string
		typ  Type
		text string
	}{
		{"bigint", Type{Kind: Bigint}, "155190"},
		{"double", Type{Kind: Double}, "21168.23"},
		{"date", Type{Kind: Date}, "1996-03-13"},
		{"timestamp", Type{Kind: Timestamp, Zoned: true}, "2013-01-01T10:00:00Z"},
		{"string", Type{Kind: String}, "DELIVER IN PERSON"},
		{"boolean", Type{Kind: Boolean}, "true"},
		{"decimal", Type{Kind: Decimal, Precision: 15, Scale: 2}, "21168.23"},
		{"iso timestamp", Type{Kind: Timestamp}, "2020-03-23 23:19:34"},
		{"slashed timestamp", Type{Kind: Timestamp, Format: MonthFirst}, "3/22/2020 23:45"},
		{"grouped", Type{Kind: Double, Format: Grouped}, "21,168.23"},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := &Vector{}
			text := []byte(c.text)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i&0xffff == 0 {
					v.Reset(c.typ)
				}
				v.AppendCell(text)
			}
		})
	}
}
