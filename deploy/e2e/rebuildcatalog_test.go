package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
	"lakefeed/sink"
)

// The catalog is away when a rebuild is swapped in, or fails after it was turned and
// before its partitions were: the swap is done, the rebuild says what is left, and
// whoever comes next does it.
func TestRebuildWithTheCatalogAway(t *testing.T) {
	for name, test := range map[string]struct {
		failure   testbed.GlueFailure
		only      string // action; empty: all
		projected bool   // the table was turned
	}{
		"away":                  {testbed.GlueFailure{}, "", false},
		"between two steps":     {testbed.GlueFailure{Code: "AccessDeniedException", Message: "not this"}, "BatchUpdatePartition", true},
		"at the table's update": {testbed.GlueFailure{Code: "AccessDeniedException", Message: "not this"}, "UpdateTable", false},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, dir, db := glueProxy(t), t.TempDir(), database()
			_, _, lake := s3Lake(t) // this S3 it is, and not moto's
			rows := 0
			ingest := func(v string) {
				t.Helper()
				var text strings.Builder
				text.WriteString("id,v,kind\n")
				for range 100 {
					fmt.Fprintf(&text, "%d,%s,%c\n", rows, v, 'a'+rune(rows%2))
					rows++
				}
				writeFile(t, filepath.Join(dir, "in", fmt.Sprintf("%d.csv", rows)), text.String())
				ok(t, "ingest", filepath.Join(dir, "in"), "--table", "rows", "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"), "--partition-by", "kind", "--glue-database", db)
			}
			ingest("1")
			ingest("2.5")
			catalog := openGlue(t, db)
			have := func() (sink.CatalogTable, []string) {
				t.Helper()
				table, err := catalog.Table(t.Context(), "rows")
				if err != nil {
					t.Fatal(err)
				}
				var locations []string
				for p, err := range catalog.Partitions(t.Context(), "rows") {
					if err != nil {
						t.Fatal(err)
					}
					locations = append(locations, p.Location[strings.LastIndex(p.Location, "rows"):])
				}
				slices.Sort(locations)
				return table, locations
			}
			first, _ := have()
			proxy.Before(func(c testbed.GlueCall) *testbed.GlueFailure {
				if test.only == "" || c.Action == test.only {
					return &test.failure
				}
				return nil
			})
			r := ok(t, "rebuild", "rows", "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"), "--glue-database", db)
			if !strings.Contains(r.stderr, "the swap is done, but readers of the catalog see") || !strings.Contains(r.stderr, "lakefeed register rows --lake "+lake) {
				t.Errorf("%v", r)
			}
			proxy.Before(nil)
			meanwhile, locations := have()
			if turned := len(meanwhile.Projection) > 0; turned != test.projected || turned != (meanwhile.Generation == 2) || !turned && meanwhile.Revision != first.Revision {
				t.Errorf("meanwhile the catalog has %+v", meanwhile)
			}
			if want := []string{"rows/kind=a", "rows/kind=b"}; !slices.Equal(locations, want) {
				t.Errorf("meanwhile it has %q, want %q", locations, want)
			}
			ingest("3.5")
			after, locations := have()
			v := slices.IndexFunc(after.Columns, func(c sink.NamedType) bool { return c.Name == "v" })
			if after.Generation != 2 || after.Swap != 1 || len(after.Projection) > 0 || after.Columns[v].Type != "double" {
				t.Errorf("afterwards the catalog has %+v", after)
			}
			if want := []string{"rows.g2/kind=a", "rows.g2/kind=b"}; !slices.Equal(locations, want) {
				t.Errorf("afterwards it has %q, want %q", locations, want)
			}
			if r := ok(t, "register", "rows", "--lake", lake, "--glue-database", db); !strings.Contains(r.stdout, "all was there") {
				t.Errorf("%v", r)
			}
			ok(t, "audit", "rows", "--lake", lake, "--kafka-dir", filepath.Join(dir, "kafka"))
		})
	}
}
