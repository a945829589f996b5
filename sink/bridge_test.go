package sink_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// writesOf notes what is written of table t.
type writesOf struct {
	sink.Catalog
	done []string
}

func (w *writesOf) note(table, what string) {
	if table == "t" {
		w.done = append(w.done, what)
	}
}

func (w *writesOf) UpdateTable(ctx context.Context, t sink.CatalogTable) error {
	what := "table"
	if len(t.Projection) > 0 {
		what = "table, projected"
	}
	w.note(t.Name, what)
	return w.Catalog.UpdateTable(ctx, t)
}

func (w *writesOf) AddPartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) (int, error) {
	w.note(t.Name, "add")
	return w.Catalog.AddPartitions(ctx, t, p)
}

func (w *writesOf) UpdatePartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) error {
	w.note(t.Name, "turn")
	return w.Catalog.UpdatePartitions(ctx, t, p)
}

func (w *writesOf) DeletePartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) error {
	w.note(t.Name, "delete")
	return w.Catalog.DeletePartitions(ctx, t, p)
}

// A table whose partitions are registered one by one turns to another generation by
// one update. These are touched when no query can be about to read them any more, and
// those that the other generation's type does not allow are deleted. With null among
// the values the partitions are turned first, as no projection can name it.
func TestRegistrarBridges(t *testing.T) {
	const was, is, null = " v1 id:bigint" + rescued, " v1 id:double" + rescued, "__HIVE_DEFAULT_PARTITION__"
	for name, test := range map[string]struct {
		days    [2][]string // of each generation
		forward []string    // what is written
		after   []string
		back    []string
		before  []string
	}{
		"told": {
			days:    [2][]string{{"3", "4"}, {"3", "x"}},
			forward: []string{"table, projected", "rest", "add", "turn", "table"},
			after:   []string{"3 t.g2/day=3" + is, "4 t.g2/day=4" + was, "x t.g2/day=x" + is},
			back:    []string{"table, projected", "rest", "turn", "delete", "table"},
			before:  []string{"3 t/day=3" + was, "4 t/day=4" + was},
		},
		"null": {
			days:    [2][]string{{"3", "-"}, {"-", "x"}},
			forward: []string{"add", "turn", "table"},
			after:   []string{"3 t.g2/day=3" + was, null + " t.g2/day=" + null + is, "x t.g2/day=x" + is},
			back:    []string{"turn", "delete", "table"},
			before:  []string{"3 t/day=3" + was, null + " t/day=" + null + was},
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, catalog := mem.New(), &writesOf{Catalog: mem.NewCatalog()}
			f := newFeeder(t, store, 0, "day")
			f.table.Tune(256, func(ctx context.Context) error {
				catalog.note("t", "rest")
				return ctx.Err()
			})
			f.evolve(1, field("id", "bigint"), field("day", "bigint"))
			f.commit(1, test.days[0]...)
			register(t, &sink.Registrar{Table: f.table, Catalog: catalog})
			g, _, err := f.table.Build(t.Context(), sink.BuildConfig{Shape: f.table.Shape(), Config: []byte("{}"), Partitions: 1})
			if err != nil {
				t.Fatal(err)
			}
			second := &feeder{t: t, table: g, chain: g.Chain(0)}
			second.evolve(1, field("id", "double"), field("day", "string"))
			second.commit(1, test.days[1]...)
			swap := func(to int, writes []string, head string, lines []string) {
				t.Helper()
				beginSwap(t, f.table, to)
				catalog.done = nil
				register(t, &sink.Registrar{Table: f.table, Catalog: catalog})
				if diff := cmp.Diff(writes, catalog.done); diff != "" {
					t.Errorf("swap to generation %d (-want +got):\n%s", to, diff)
				}
				wantRegistered(t, catalog, append([]string{head}, lines...)...)
			}
			swap(2, test.forward, "t.g2 v1 id:double"+rescued+" by day:string", test.after)
			swap(1, test.back, "t v1 id:bigint"+rescued+" by day:bigint", test.before)
		})
	}
}
