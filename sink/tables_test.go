package sink_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
	"lakefeed/sink/mem"
)

func TestTables(t *testing.T) {
	store := mem.New()
	for _, key := range []string{
		"_lakefeed/state.json", "_lakefeed/b/table.json", "_lakefeed/b/g1/build.json", "_lakefeed/a/g1/build.json", "_lakefeed/a/table.json",
		"_lakefeed/a_1/table.json", "_lakefeed/kafka/log", "_lakefeed/zz/g1/build.json", "b/part.parquet",
	} {
		if err := store.Create(t.Context(), key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	names, err := sink.Tables(t.Context(), store)
	if diff := cmp.Diff([]string{"a", "a_1", "b"}, names); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
