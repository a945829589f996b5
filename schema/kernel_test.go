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

func TestTimestamps(t *testing.T) {
	zoned := Type{Kind: Timestamp, Zoned: true, Format: ISO}
	for _, c := range []struct {
		typ    Type
		text   string
		normal string // "" when it does not fit
	}{
		{Type{Kind: Date, Format: ISO}, "2020-02-29", "2020-02-29"},
		{Type{Kind: Date, Format: ISO}, "2021-02-29", ""},
		{Type{Kind: Date, Format: ISO}, "0000-01-01", ""},
		{Type{Kind: Date, Format: ISO}, "0001-01-01", "0001-01-01"},
		{Type{Kind: Date, Format: ISO}, "9999-12-31", "9999-12-31"},
		{Type{Kind: Date, Format: ISO}, "2020-2-9", ""},
		{Type{Kind: Date, Format: SlashMDY}, "1/22/2020", "2020-01-22"},
		{Type{Kind: Date, Format: SlashDMY}, "1/22/2020", ""},
		{Type{Kind: Date, Format: SlashMDYShort}, "1/22/20", "2020-01-22"},
		{Type{Kind: Date, Format: SlashMDYShort}, "1/22/69", "1969-01-22"},
		{Type{Kind: Date, Format: DotDMY}, "31.12.1999", "1999-12-31"},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22 23:45:00", "2020-03-22T23:45:00"},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T23:45", "2020-03-22T23:45:00"},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T23:45:01.250000", "2020-03-22T23:45:01.250"},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T23:45:01.2501", ""},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T24:00:00", ""},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T23:59:60", ""},
		{Type{Kind: Timestamp, Format: ISO}, "2020-03-22T23:45:00Z", ""},
		{Type{Kind: Timestamp, Format: ISO}, "1900-01-01 00:00:00.001", "1900-01-01T00:00:00.001"},
		{Type{Kind: Timestamp, Format: SlashMDY}, "1/22/2020 9:05", "2020-01-22T09:05:00"},
		{zoned, "2013-01-01T10:00:00Z", "2013-01-01T10:00:00Z"},
		{zoned, "2013-01-01T10:00:00+05:30", "2013-01-01T04:30:00Z"},
		{zoned, "2013-01-01T10:00:00-0100", "2013-01-01T11:00:00Z"},
		{zoned, "2013-01-01T10:00:00+24:00", ""},
		{zoned, "2013-01-01T10:00:00", ""},
	} {
		v := &Vector{}
		v.Reset(c.typ)
		ok := v.AppendCell([]byte(c.text))
		if got := string(v.AppendValue(nil, 0)); ok != (c.normal != "") || got != c.normal {
			t.Errorf("%v %v: %q became %q, want %q", c.typ, c.typ.Format, c.text, got, c.normal)
		}
	}
}

func TestDatesAgreeWithTheCalendar(t *testing.T) {
	from := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := 0; d < 3652059; d += 13 {
		day := from.AddDate(0, 0, d)
		got, ok := ParseDate([]byte(day.Format("2006-01-02")), ISO)
		if want := day.Unix() / 86400; !ok || got*86400 != day.Unix() {
			t.Fatalf("ParseDate(%s) = %d, %v, want %d", day.Format(time.DateOnly), got, ok, want)
		}
	}
}

// Whatever is typed gives a text back that is typed to the same value.
func TestNormalFormIsStable(t *testing.T) {
	types := []Type{{Kind: Boolean}, {Kind: Bigint}, {Kind: Double}, {Kind: Decimal, Precision: 20, Scale: 4}, {Kind: Timestamp, Zoned: true, Format: ISO}, {Kind: Date, Format: ISO}, {Kind: Timestamp, Format: ISO}}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{0,18})?(e-?[0-9]{1,3})?`),
			rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-][01][0-9]:[0-5][0-9])?)?`),
			rapid.SampledFrom([]string{"true", "FALSE", "nan", "-inf", "Infinity"}),
			rapid.String(),
		).Draw(t, "text")
		for _, typ := range types {
			v := &Vector{}
			v.Reset(typ)
			if !v.AppendCell([]byte(text)) {
				continue
			}
			normal := v.AppendValue(nil, 0)
			if !v.AppendCell(normal) {
				t.Fatalf("%v: %q has the normal form %q, which is not accepted", typ, text, normal)
			}
			if again := v.AppendValue(nil, 1); string(again) != string(normal) {
				t.Fatalf("%v: %q became %q, then %q", typ, text, normal, again)
			}
		}
	})
}

func FuzzKernel(f *testing.F) {
	for _, s := range []string{"1", "-0.5e10", "2020-01-01", "1/2/2020 10:00", "2020-01-01T00:00:00.5+01:00", "true", "NaN", "99999999999999999999.99", "0001-01-01 00:03:00.0+0010", "9999-12-31T23:59:59.999-01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e Evidence
		e.Observe(text, true, nil)
		typ := e.Type()
		if typ.Kind == Unknown {
			return
		}
		v := &Vector{}
		v.Reset(typ)
		if !v.AppendCell(text) {
			t.Fatalf("%q is inferred as %v %v but not accepted as one", text, typ, typ.Format)
		}
		normal := v.AppendValue(nil, 0)
		if typ.Kind == Date || typ.Kind == Timestamp {
			typ.Format = ISO
			v.Type = typ
		}
		if !v.AppendCell(normal) {
			t.Fatalf("%v: normal form %q of %q is not accepted", typ, normal, text)
		}
	})
}

func BenchmarkKernel(b *testing.B) {
	for _, c := range []struct {
		name string
		typ  Type
		text string
	}{
		{"bigint", Type{Kind: Bigint}, "155190"},
		{"double", Type{Kind: Double}, "21168.23"},
		{"date", Type{Kind: Date, Format: ISO}, "1996-03-13"},
		{"timestamp", Type{Kind: Timestamp, Zoned: true, Format: ISO}, "2013-01-01T10:00:00Z"},
		{"string", Type{Kind: String}, "DELIVER IN PERSON"},
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
