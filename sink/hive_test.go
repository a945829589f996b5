package sink

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// parsePartitionPath reads a path as engines do: names and values are what stands on
// either side of the sign, each with its bytes escaped as in a URL.
func parsePartitionPath(path string) (values []PartitionValue, err error) {
	for folder := range strings.SplitSeq(path, "/") {
		column, value, _ := strings.Cut(folder, "=")
		v := PartitionValue{Null: value == DefaultPartition}
		if v.Column, err = url.PathUnescape(column); err != nil {
			return nil, err
		}
		if !v.Null {
			if v.Value, err = url.PathUnescape(value); err != nil {
				return nil, err
			}
		}
		values = append(values, v)
	}
	return values, nil
}

func TestPartitionPath(t *testing.T) {
	for _, c := range []struct {
		values []PartitionValue
		path   string
	}{
		{nil, ""},
		{[]PartitionValue{{Column: "country", Value: "de"}}, "country=de"},
		{[]PartitionValue{{Column: "day", Value: "2024-02-29"}, {Column: "n", Value: "-5"}}, "day=2024-02-29/n=-5"},
		{[]PartitionValue{{Column: "c", Null: true}}, "c=__HIVE_DEFAULT_PARTITION__"},
		{[]PartitionValue{{Column: "c", Value: "a/b=c:d%?*"}}, "c=a%2Fb%3Dc%3Ad%25%3F%2A"},
		{[]PartitionValue{{Column: "c", Value: "\x00\x01\n\x1f\x7f"}}, "c=%00%01%0A%1F%7F"},
		{[]PartitionValue{{Column: "c", Value: `"#'\{[]^`}}, "c=%22%23%27%5C%7B%5B%5D%5E"},
		{[]PartitionValue{{Column: "c", Value: "a b+c}&|<>~é€"}}, "c=a b+c}&|<>~é€"}, // as Hive: not escaped
		{[]PartitionValue{{Column: "c", Value: ".."}}, "c=.."},
		{[]PartitionValue{{Column: "a=b", Value: "1"}}, "a%3Db=1"},
	} {
		if got := PartitionPath(c.values); got != c.path {
			t.Errorf("path of %v is %q, want %q", c.values, got, c.path)
		}
		if c.path == "" {
			continue
		}
		got, err := parsePartitionPath(c.path)
		if diff := cmp.Diff(c.values, got); err != nil || diff != "" {
			t.Errorf("parse %q: error %v (-want +got):\n%s", c.path, err, diff)
		}
	}
	if got := PartitionPath([]PartitionValue{{Column: "c"}}); got != "c="+DefaultPartition {
		t.Errorf("path of an empty value is %q", got)
	}
}

func TestPartitionFits(t *testing.T) {
	for value, want := range map[string]bool{
		"de": true, "": false, DefaultPartition: false, "\xff": false, "/": true,
		strings.Repeat("x", 253): true, strings.Repeat("x", 254): false, strings.Repeat("/", 84): true, strings.Repeat("/", 85): false,
	} {
		if got := PartitionFits("c", value); got != want {
			t.Errorf("PartitionFits(%.20q…) = %v, want %v", value, got, want)
		}
	}
}

// What fits comes back from the path, each folder is one name, and no two
// different values share a path.
func TestPartitionPathProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var values []PartitionValue
		for range rapid.IntRange(1, 4).Draw(t, "columns") {
			v := PartitionValue{Column: rapid.StringMatching("[a-z0-9_]{1,20}").Draw(t, "column")}
			v.Value = rapid.OneOf(rapid.StringN(0, 30, 60), rapid.SampledFrom([]string{"%2F", "%", "..", "=", "/"})).Draw(t, "value")
			if !PartitionFits(v.Column, v.Value) {
				v.Value, v.Null = "", true
			}
			values = append(values, v)
		}
		path := PartitionPath(values)
		if n := strings.Count(path, "/") + 1; n != len(values) {
			t.Fatalf("path %q has %d folders, want %d", path, n, len(values))
		}
		got, err := parsePartitionPath(path)
		if err != nil || !reflect.DeepEqual(got, values) {
			t.Fatalf("path %q gives %v (%v), want %v", path, got, err, values)
		}
	})
}

func TestPartitionValueJSON(t *testing.T) {
	b, err := json.Marshal([]PartitionValue{{Column: "c", Value: "x"}, {Column: "d", Null: true}})
	if want := `[{"c":"c","v":"x"},{"c":"d","null":true}]`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
