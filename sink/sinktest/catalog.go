package sinktest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lakefeed/sink"
)

// TestCatalog checks that a catalog keeps to the contract of sink.Catalog. open
// gives a new, empty catalog each time.
func TestCatalog(t *testing.T, open func(t *testing.T) sink.Catalog) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c sink.Catalog)
	}{
		{"what is not there", catalogNothing},
		{"a table comes back as it was given", catalogTable},
		{"a table is created once", catalogCreateTwice},
		{"update with the revision", catalogUpdate},
		{"update with a stale revision is a conflict", catalogConflict},
		{"updates racing: one wins each revision", catalogRace},
		{"partitions come back as they were given", catalogPartitions},
		{"partitions that are there are left as they are", catalogAddTwice},
		{"many partitions", catalogMany},
		{"partitions are replaced", catalogUpdatePartitions},
		{"partitions are deleted", catalogDeletePartitions},
		{"update of a table keeps its partitions", catalogKeepsPartitions},
		{"projected partitions", catalogProjection},
		{"tables are apart", catalogApart},
		{"an ended context", catalogEnded},
		{"errors name the table", catalogErrors},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func catalogSales() sink.CatalogTable {
	return sink.CatalogTable{
		Name: "sales", Location: "sales", Lake: "4f1c", Swap: 3, Generation: 2, SchemaVersion: 5,
		Columns:     []sink.NamedType{{Name: "id", Type: "bigint"}, {Name: "amount", Type: "decimal(12,2)"}, {Name: "_rescued", Type: "map<string,string>"}},
		PartitionBy: []sink.NamedType{{Name: "country", Type: "string"}, {Name: "day", Type: "date"}},
	}
}

func catalogPartition(country, day string) sink.CatalogPartition {
	return sink.CatalogPartition{
		Values: []string{country, day}, Swap: 3, SchemaVersion: 4,
		Location: "sales/" + sink.PartitionPath([]sink.PartitionValue{{Column: "country", Value: country}, {Column: "day", Value: day}}),
		Columns:  []sink.NamedType{{Name: "id", Type: "bigint"}, {Name: "_rescued", Type: "map<string,string>"}},
	}
}

var noRevision = cmpopts.IgnoreFields(sink.CatalogTable{}, "Revision")

func wantTable(t *testing.T, c sink.Catalog, want sink.CatalogTable) sink.CatalogTable {
	t.Helper()
	got, err := c.Table(t.Context(), want.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, noRevision, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	return got
}

func partitionsOf(t *testing.T, c sink.Catalog, table string) []sink.CatalogPartition {
	t.Helper()
	var out []sink.CatalogPartition
	for p, err := range c.Partitions(t.Context(), table) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b sink.CatalogPartition) int { return slices.Compare(a.Values, b.Values) })
	return out
}

func wantPartitions(t *testing.T, c sink.Catalog, table string, want ...sink.CatalogPartition) {
	t.Helper()
	if diff := cmp.Diff(want, partitionsOf(t, c, table), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func add(t *testing.T, c sink.Catalog, there int, partitions ...sink.CatalogPartition) {
	t.Helper()
	if n, err := c.AddPartitions(t.Context(), catalogSales(), partitions); err != nil || n != there {
		t.Fatalf("AddPartitions: %d were there, want %d; %v", n, there, err)
	}
}

func catalogNothing(t *testing.T, c sink.Catalog) {
	sales := catalogSales()
	_, getErr := c.Table(t.Context(), "sales")
	_, addErr := c.AddPartitions(t.Context(), sales, []sink.CatalogPartition{catalogPartition("de", "2024-01-02")})
	var listErr error
	for _, err := range c.Partitions(t.Context(), "sales") {
		listErr = err
	}
	for name, err := range map[string]error{
		"Table": getErr, "AddPartitions": addErr, "Partitions": listErr, "UpdateTable": c.UpdateTable(t.Context(), sales),
		"DeletePartitions": c.DeletePartitions(t.Context(), sales, []sink.CatalogPartition{catalogPartition("de", "2024-01-02")}),
		"UpdatePartitions": c.UpdatePartitions(t.Context(), sales, []sink.CatalogPartition{catalogPartition("de", "2024-01-02")}),
	} {
		if !errors.Is(err, sink.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", name, err)
		}
	}
}

func catalogTable(t *testing.T, c sink.Catalog) {
	want := catalogSales()
	ok(t, c.CreateTable(t.Context(), want))
	if got := wantTable(t, c, want); got.Revision == "" {
		t.Error("the table has no revision")
	}
	wantPartitions(t, c, "sales")
	plain := sink.CatalogTable{Name: "sales__quarantine", Location: "sales__quarantine", Columns: sink.QuarantineTypes(), Lake: "4f1c", Generation: 1}
	ok(t, c.CreateTable(t.Context(), plain))
	wantTable(t, c, plain)
	wantTable(t, c, want)
}

func catalogCreateTwice(t *testing.T, c sink.Catalog) {
	first := catalogSales()
	ok(t, c.CreateTable(t.Context(), first))
	second := first
	second.SchemaVersion, second.Columns = 9, first.Columns[:1]
	if err := c.CreateTable(t.Context(), second); !errors.Is(err, sink.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	wantTable(t, c, first)
}

func catalogUpdate(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	for version := int64(6); version <= 8; version++ {
		have, err := c.Table(t.Context(), "sales")
		ok(t, err)
		have.SchemaVersion = version
		have.Columns = append(have.Columns, sink.NamedType{Name: fmt.Sprintf("c%d", version), Type: "string"})
		have.Location, have.Generation, have.Swap = "sales.g3", 3, 4
		ok(t, c.UpdateTable(t.Context(), have))
		wantTable(t, c, have)
	}
}

func catalogConflict(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	stale, err := c.Table(t.Context(), "sales")
	ok(t, err)
	next := stale
	next.SchemaVersion = 6
	ok(t, c.UpdateTable(t.Context(), next))
	stale.SchemaVersion = 7
	if err := c.UpdateTable(t.Context(), stale); !errors.Is(err, sink.ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	next.Revision = ""
	if err := c.UpdateTable(t.Context(), next); !errors.Is(err, sink.ErrConflict) {
		t.Errorf("without a revision: %v, want ErrConflict", err)
	}
	next.SchemaVersion = 6
	wantTable(t, c, next)
}

// catalogRace has writers that each add a column to what they read: none is lost.
func catalogRace(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	const writers = 4
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for {
				have, err := c.Table(t.Context(), "sales")
				if err != nil {
					t.Error(err)
					return
				}
				have.Columns = append(have.Columns, sink.NamedType{Name: fmt.Sprintf("of_%d", w), Type: "bigint"})
				have.SchemaVersion++
				err = c.UpdateTable(t.Context(), have)
				if errors.Is(err, sink.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	group.Wait()
	got, err := c.Table(t.Context(), "sales")
	ok(t, err)
	for w := range writers {
		if !slices.Contains(got.Columns, sink.NamedType{Name: fmt.Sprintf("of_%d", w), Type: "bigint"}) {
			t.Errorf("the column of writer %d is lost: %v", w, got.Columns)
		}
	}
	if want := catalogSales().SchemaVersion + writers; got.SchemaVersion != want {
		t.Errorf("version %d, want %d", got.SchemaVersion, want)
	}
}

func catalogPartitions(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	want := []sink.CatalogPartition{
		catalogPartition("a:b/c%d e", "2024-01-02"), catalogPartition("de", "2024-01-02"), catalogPartition("de", "2024-01-03"),
		catalogPartition(sink.DefaultPartition, "2024-01-02"), catalogPartition("日本", "2024-01-02"),
	}
	slices.SortFunc(want, func(a, b sink.CatalogPartition) int { return slices.Compare(a.Values, b.Values) })
	add(t, c, 0, want...)
	wantPartitions(t, c, "sales", want...)
}

func catalogAddTwice(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	de, fr := catalogPartition("de", "2024-01-02"), catalogPartition("fr", "2024-01-02")
	add(t, c, 0, de)
	other := de
	other.Location, other.SchemaVersion = "elsewhere", 9
	add(t, c, 1, other, fr)
	wantPartitions(t, c, "sales", de, fr)
}

func catalogMany(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	var want []sink.CatalogPartition
	for i := range 250 {
		want = append(want, catalogPartition(fmt.Sprintf("c%03d", i), "2024-01-02"))
	}
	add(t, c, 0, want[100])
	add(t, c, 1, want...)
	wantPartitions(t, c, "sales", want...)
	for i := range want {
		want[i].SchemaVersion = 5
	}
	ok(t, c.UpdatePartitions(t.Context(), catalogSales(), want))
	wantPartitions(t, c, "sales", want...)
}

func catalogUpdatePartitions(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	de, fr := catalogPartition("de", "2024-01-02"), catalogPartition("fr", "2024-01-02")
	add(t, c, 0, de, fr)
	fr.Location, fr.Swap, fr.SchemaVersion = "sales.g3/country=fr/day=2024-01-02", 4, 7
	fr.Columns = append(slices.Clone(fr.Columns), sink.NamedType{Name: "new", Type: "double"})
	ok(t, c.UpdatePartitions(t.Context(), catalogSales(), []sink.CatalogPartition{fr}))
	wantPartitions(t, c, "sales", de, fr)
	gone := catalogPartition("xx", "2024-01-02")
	if err := c.UpdatePartitions(t.Context(), catalogSales(), []sink.CatalogPartition{gone}); !errors.Is(err, sink.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
	wantPartitions(t, c, "sales", de, fr)
}

// Those that are gone are no error: another registrar was faster.
func catalogDeletePartitions(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	var all []sink.CatalogPartition
	for day := range 30 {
		all = append(all, catalogPartition("de", fmt.Sprintf("2024-01-%02d", day+1)))
	}
	add(t, c, 0, all...)
	ok(t, c.DeletePartitions(t.Context(), catalogSales(), all[:28]))
	wantPartitions(t, c, "sales", all[28:]...)
	ok(t, c.DeletePartitions(t.Context(), catalogSales(), all[27:29]))
	wantPartitions(t, c, "sales", all[29])
}

func catalogKeepsPartitions(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	de := catalogPartition("de", "2024-01-02")
	add(t, c, 0, de)
	have, err := c.Table(t.Context(), "sales")
	ok(t, err)
	have.SchemaVersion = 6
	have.Columns = append(have.Columns, sink.NamedType{Name: "new", Type: "double"})
	ok(t, c.UpdateTable(t.Context(), have))
	wantPartitions(t, c, "sales", de)
}

func catalogProjection(t *testing.T, c sink.Catalog) {
	sales := catalogSales()
	sales.PartitionBy = append(sales.PartitionBy, sink.NamedType{Name: "shard", Type: "bigint"})
	sales.Projection = []sink.ProjectedColumn{
		{Name: "country", Type: sink.ProjectEnum, Values: []string{"de", "fr", "a%3Ab"}},
		{Name: "day", Type: sink.ProjectDate, Min: "2024-01-02", Max: "2024-02-03"},
		{Name: "shard", Type: sink.ProjectInteger, Min: "-7", Max: "1200"},
	}
	ok(t, c.CreateTable(t.Context(), sales))
	have := wantTable(t, c, sales)
	have.Projection[1].Max, have.Projection[0].Values = "2024-02-04", append(have.Projection[0].Values, "it")
	ok(t, c.UpdateTable(t.Context(), have))
	wantTable(t, c, have)
	have, err := c.Table(t.Context(), "sales")
	ok(t, err)
	have.Projection = nil // and back to partitions that are registered
	ok(t, c.UpdateTable(t.Context(), have))
	wantTable(t, c, have)
}

func catalogApart(t *testing.T, c sink.Catalog) {
	sales, other := catalogSales(), catalogSales()
	other.Name, other.Location = "other", "other"
	ok(t, c.CreateTable(t.Context(), sales))
	ok(t, c.CreateTable(t.Context(), other))
	add(t, c, 0, catalogPartition("de", "2024-01-02"))
	wantPartitions(t, c, "other")
	have, err := c.Table(t.Context(), "other")
	ok(t, err)
	have.SchemaVersion = 99
	ok(t, c.UpdateTable(t.Context(), have))
	wantTable(t, c, sales)
}

func catalogEnded(t *testing.T, c sink.Catalog) {
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := c.Table(ctx, "sales")
	_, addErr := c.AddPartitions(ctx, catalogSales(), []sink.CatalogPartition{catalogPartition("de", "2024-01-02")})
	var listErr error
	for _, err := range c.Partitions(ctx, "sales") {
		listErr = err
	}
	other := catalogSales()
	other.Name = "other"
	for name, err := range map[string]error{"Table": getErr, "AddPartitions": addErr, "Partitions": listErr, "CreateTable": c.CreateTable(ctx, other)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	wantPartitions(t, c, "sales")
}

func catalogErrors(t *testing.T, c sink.Catalog) {
	if _, err := c.Table(t.Context(), "sales"); err == nil || !strings.Contains(err.Error(), "sales") {
		t.Errorf("%v does not name the table", err)
	}
	ok(t, c.CreateTable(t.Context(), catalogSales()))
	if err := c.CreateTable(t.Context(), catalogSales()); err == nil || !strings.Contains(err.Error(), "sales") {
		t.Errorf("%v does not name the table", err)
	}
	if c.String() == "" {
		t.Error("the catalog has no name")
	}
}

// CatalogHook is a catalog of which a test decides what each call does first.
type CatalogHook struct {
	sink.Catalog
	// Before is called with the method's name; its error is the method's.
	Before func(method, table string) error
}

// Table and the others call Before.
func (h *CatalogHook) Table(ctx context.Context, name string) (sink.CatalogTable, error) {
	if err := h.Before("Table", name); err != nil {
		return sink.CatalogTable{}, err
	}
	return h.Catalog.Table(ctx, name)
}

// CreateTable calls Before.
func (h *CatalogHook) CreateTable(ctx context.Context, t sink.CatalogTable) error {
	if err := h.Before("CreateTable", t.Name); err != nil {
		return err
	}
	return h.Catalog.CreateTable(ctx, t)
}

// UpdateTable calls Before.
func (h *CatalogHook) UpdateTable(ctx context.Context, t sink.CatalogTable) error {
	if err := h.Before("UpdateTable", t.Name); err != nil {
		return err
	}
	return h.Catalog.UpdateTable(ctx, t)
}

// Partitions calls Before.
func (h *CatalogHook) Partitions(ctx context.Context, table string) iter.Seq2[sink.CatalogPartition, error] {
	if err := h.Before("Partitions", table); err != nil {
		return func(yield func(sink.CatalogPartition, error) bool) { yield(sink.CatalogPartition{}, err) }
	}
	return h.Catalog.Partitions(ctx, table)
}

// AddPartitions calls Before.
func (h *CatalogHook) AddPartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) (int, error) {
	if err := h.Before("AddPartitions", t.Name); err != nil {
		return 0, err
	}
	return h.Catalog.AddPartitions(ctx, t, p)
}

// UpdatePartitions calls Before.
func (h *CatalogHook) UpdatePartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) error {
	if err := h.Before("UpdatePartitions", t.Name); err != nil {
		return err
	}
	return h.Catalog.UpdatePartitions(ctx, t, p)
}

// DeletePartitions calls Before.
func (h *CatalogHook) DeletePartitions(ctx context.Context, t sink.CatalogTable, p []sink.CatalogPartition) error {
	if err := h.Before("DeletePartitions", t.Name); err != nil {
		return err
	}
	return h.Catalog.DeletePartitions(ctx, t, p)
}
