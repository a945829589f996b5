package sink_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// field makes a column of a type, "unknown" for one that is undecided.
func field(name, typ string) schema.Field {
	t, err := schema.ParseType(typ)
	if err != nil {
		panic(err)
	}
	return schema.Field{Name: name, Type: t}
}

// feeder writes a table that is partitioned by day.
type feeder struct {
	t     *testing.T
	table *sink.Table
	chain *sink.Chain
}

func newFeeder(t *testing.T, s sink.Store, topicPartition int, by ...string) *feeder {
	t.Helper()
	c := tableConfig(s)
	c.Shape.PartitionBy = by
	table, err := sink.OpenTable(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	table.Tune(256, noWait)
	return &feeder{t: t, table: table, chain: table.Chain(topicPartition)}
}

func (f *feeder) evolve(version int64, fields ...schema.Field) {
	f.t.Helper()
	if err := f.table.Schemas().Append(f.t.Context(), &schema.Schema{Version: version, Previous: version - 1, Fields: fields}); err != nil {
		f.t.Fatal(err)
	}
}

// commit commits a file of one row into each of the days, written with a version of
// the columns; the day "-" is null, "!" a quarantined row.
func (f *feeder) commit(version int64, days ...string) {
	f.t.Helper()
	ctx := f.t.Context()
	if _, err := f.chain.Open(ctx); err != nil {
		f.t.Fatal(err)
	}
	d := f.chain.Begin()
	c := sink.Commit{To: d.From() + int64(len(days)), Log: testLog, Schema: version}
	for n, day := range days {
		if _, err := d.Row(streamID(int(d.From())+n), 0); err != nil {
			f.t.Fatal(err)
		}
		file := sink.File{Table: sink.Main, Rows: 1, RowHash: day}
		if day == "!" {
			file.Table = sink.Quarantine
		} else if len(f.table.Shape().PartitionBy) > 0 {
			file.Partition = []sink.PartitionValue{{Column: "day", Value: day, Null: day == "-"}}
		}
		file.Key = f.table.FileKey(file.Table, sink.PartitionPath(file.Partition), "topic", 0, d, c.To, n)
		staged, err := f.table.Store().Stage(ctx, file.Key, strings.NewReader(day))
		if err != nil {
			f.t.Fatal(err)
		}
		file.Staged, file.Size = staged, staged.Size
		c.Files = append(c.Files, file)
	}
	if outcome, err := f.chain.Commit(ctx, d, c); err != nil || outcome != sink.Decided {
		f.t.Fatal(outcome, err)
	}
}

func register(t *testing.T, r *sink.Registrar) sink.Registration {
	t.Helper()
	done, err := r.Register(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// registered is what a catalog has of table t, one line each.
func registered(t *testing.T, c sink.Catalog) (lines []string) {
	t.Helper()
	table, err := c.Table(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, fmt.Sprintf("%s v%d %s by %s", table.Location, table.SchemaVersion, types(table.Columns), types(table.PartitionBy)))
	for p, err := range c.Partitions(t.Context(), "t") {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s v%d %s", strings.Join(p.Values, "/"), p.Location, p.SchemaVersion, types(p.Columns)))
	}
	slices.Sort(lines[1:])
	return lines
}

func types(columns []sink.NamedType) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.Name+":"+c.Type)
	}
	return strings.Join(out, ",")
}

func wantRegistered(t *testing.T, c sink.Catalog, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, registered(t, c)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

const rescued = ",_rescued:map<string,string>"

func TestRegistrar(t *testing.T) {
	store, catalog := mem.New(), mem.NewCatalog()
	f := newFeeder(t, store, 0, "day")
	r := &sink.Registrar{Table: f.table, Catalog: catalog}
	register(t, r)
	if _, err := catalog.Table(t.Context(), "t"); !errors.Is(err, sink.ErrNotExist) {
		t.Errorf("a table without columns: %v", err)
	}
	f.evolve(1, field("id", "bigint"), field("day", "date"), field("later", "unknown"))
	f.commit(1, "2024-01-01", "2024-01-02", "-", "!")
	register(t, r)
	first := []string{
		"t v1 id:bigint,later:string" + rescued + " by day:date",
		"2024-01-01 t/day=2024-01-01 v1 id:bigint" + rescued,
		"2024-01-02 t/day=2024-01-02 v1 id:bigint" + rescued,
		"__HIVE_DEFAULT_PARTITION__ t/day=__HIVE_DEFAULT_PARTITION__ v1 id:bigint" + rescued,
	}
	wantRegistered(t, catalog, first...)
	quarantine, err := catalog.Table(t.Context(), "t__quarantine")
	if err != nil || quarantine.Location != "t__quarantine" || len(quarantine.Columns) != len(sink.QuarantineTypes()) {
		t.Errorf("%+v, %v", quarantine, err)
	}

	// Nothing new: nothing is written.
	writes := catalog.Writes()
	if done := register(t, r); done.Tables+done.Partitions != 0 || catalog.Writes() != writes || done.Snapshot.Rows != 3 || done.Snapshot.Quarantine.Rows != 1 {
		t.Errorf("%+v, %d writes", done, catalog.Writes()-writes)
	}
	// A file with a decided and a new column changes its partition, and no other.
	f.evolve(2, field("id", "bigint"), field("day", "date"), field("later", "double"), field("more", "string"))
	f.commit(2, "2024-01-02", "2024-01-03")
	if done := register(t, r); done.Tables != 1 || done.Partitions != 2 {
		t.Errorf("%+v", done)
	}
	second := []string{
		"t v2 id:bigint,later:double,more:string" + rescued + " by day:date",
		first[1],
		"2024-01-02 t/day=2024-01-02 v2 id:bigint,later:double,more:string" + rescued,
		"2024-01-03 t/day=2024-01-03 v2 id:bigint,later:double,more:string" + rescued,
		first[3],
	}
	wantRegistered(t, catalog, second...)

	// All again, from the lake: for another process, and into a catalog that lost it.
	register(t, &sink.Registrar{Table: f.table, Catalog: catalog})
	wantRegistered(t, catalog, second...)
	catalog.Drop("t")
	register(t, r)
	wantRegistered(t, catalog, second...)
}

// What only the catalog knows stays, and what a registrar with an older view brings
// does not replace what is newer.
func TestRegistrarNeverGoesBack(t *testing.T) {
	store, catalog := mem.New(), mem.NewCatalog()
	f := newFeeder(t, store, 0, "day")
	f.evolve(1, field("id", "bigint"), field("day", "date"))
	f.commit(1, "2024-01-01")
	r := &sink.Registrar{Table: f.table, Catalog: catalog}
	register(t, r)
	have, err := catalog.Table(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	have.Columns = append(have.Columns, sink.NamedType{Name: "by_hand", Type: "string"})
	if err := catalog.UpdateTable(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	f.evolve(2, field("id", "bigint"), field("day", "date"), field("more", "string"))
	f.commit(2, "2024-01-01")
	register(t, r)
	wantRegistered(t, catalog, "t v2 id:bigint,more:string"+rescued+",by_hand:string by day:date", "2024-01-01 t/day=2024-01-01 v2 id:bigint,more:string"+rescued)

	have, err = catalog.Table(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	have.SchemaVersion = 7
	if err := catalog.UpdateTable(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(t.Context()); !errors.Is(err, sink.ErrConflict) || !strings.Contains(err.Error(), "schema version 7") {
		t.Errorf("a catalog that is ahead of the lake: %v", err)
	}
	have, _ = catalog.Table(t.Context(), "t")
	have.Lake = "another"
	if err := catalog.UpdateTable(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	before := registered(t, catalog)
	var foreign *sink.ForeignTableError
	if _, err := r.Register(t.Context()); !errors.As(err, &foreign) || !strings.Contains(err.Error(), "another lake") || !strings.Contains(err.Error(), "drop it") {
		t.Errorf("a table of another lake: %v", err)
	}
	wantRegistered(t, catalog, before...)
}

// Writers of two topic partitions evolve the schema and register side by side, each
// over a catalog that lets the other in between at every step.
func TestRegistrarsRacing(t *testing.T) {
	for round := range 12 {
		store, catalog := mem.New(), mem.NewCatalog()
		var a, b *sink.Registrar
		fa, fb := newFeeder(t, store, 0, "day"), newFeeder(t, store, 1, "day")
		fa.evolve(1, field("id", "bigint"), field("day", "date"))
		fa.commit(1, "2024-01-01", "2024-01-02")
		a = &sink.Registrar{Table: fa.table, Catalog: catalog}
		if round%2 == 0 {
			register(t, a)
		}
		// At the n-th call of a's, b takes in version 3 and registers.
		calls := 0
		a.Catalog = &sinktest.CatalogHook{Catalog: catalog, Before: func(string, string) error {
			if calls++; calls == round/2+1 {
				fb.evolve(3, field("id", "bigint"), field("day", "date"), field("two", "string"), field("three", "double"))
				fb.commit(3, "2024-01-02", "2024-01-03")
				b = &sink.Registrar{Table: fb.table, Catalog: catalog}
				register(t, b)
			}
			return nil
		}}
		fa.evolve(2, field("id", "bigint"), field("day", "date"), field("two", "string"))
		fa.commit(2, "2024-01-01", "2024-01-02")
		register(t, a)
		if b == nil {
			t.Fatalf("round %d: a made only %d calls", round, calls)
		}
		want := []string{
			"t v3 id:bigint,two:string,three:double" + rescued + " by day:date",
			"2024-01-01 t/day=2024-01-01 v2 id:bigint,two:string" + rescued,
			"2024-01-02 t/day=2024-01-02 v3 id:bigint,two:string,three:double" + rescued,
			"2024-01-03 t/day=2024-01-03 v3 id:bigint,two:string,three:double" + rescued,
		}
		if diff := cmp.Diff(want, registered(t, catalog)); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
	}
}

func TestManyRegistrars(t *testing.T) {
	for name, catalog := range map[string]sink.Catalog{"mem": mem.NewCatalog(), "file": &sink.FileCatalog{Store: mem.New()}} {
		t.Run(name, func(t *testing.T) {
			store := mem.New()
			f := newFeeder(t, store, 0, "day")
			var days []string
			for d := range 40 {
				days = append(days, fmt.Sprintf("2024-02-%02d", d+1))
			}
			fields := []schema.Field{field("day", "string")}
			var group sync.WaitGroup
			for v := int64(1); v <= 8; v++ {
				fields = append(fields, field(fmt.Sprintf("c%d", v), "string"))
				f.evolve(v, slices.Clone(fields)...)
				f.commit(v, days[v*4:]...)
				r := &sink.Registrar{Table: newFeeder(t, store, 0, "day").table, Catalog: catalog}
				group.Go(func() {
					if _, err := r.Register(context.Background()); err != nil && !errors.Is(err, sink.ErrConflict) {
						t.Error(err)
					}
				})
			}
			group.Wait()
			register(t, &sink.Registrar{Table: f.table, Catalog: catalog})
			got := registered(t, catalog)
			if len(got) != 37 || !strings.HasPrefix(got[0], "t v8 c1:string,") || !strings.Contains(got[0], "c8:string") {
				t.Errorf("%d lines, first %s", len(got), got[0])
			}
			for _, line := range got[1:] {
				var day, version int
				if _, err := fmt.Sscanf(line[strings.Index(line, "day=2024-02-")+len("day=2024-02-"):], "%d v%d", &day, &version); err != nil || version != min(8, (day-1)/4) {
					t.Errorf("%s: version %d, want %d: %v", line, version, min(8, (day-1)/4), err)
				}
			}
		})
	}
}

func TestRegistrarProjects(t *testing.T) {
	store, catalog := mem.New(), mem.NewCatalog()
	f := newFeeder(t, store, 0, "day")
	f.evolve(1, field("id", "bigint"), field("day", "date"))
	f.commit(1, "2024-01-05", "2024-01-02", "-")
	r := &sink.Registrar{Table: f.table, Catalog: catalog, Project: true}
	done := register(t, r)
	if diff := cmp.Diff([]string{"t/day=__HIVE_DEFAULT_PARTITION__"}, done.Hidden); diff != "" {
		t.Error(diff)
	}
	want := func(from, to string) {
		t.Helper()
		have, err := catalog.Table(t.Context(), "t")
		if diff := cmp.Diff([]sink.ProjectedColumn{{Name: "day", Type: "date", Min: from, Max: to}}, have.Projection); err != nil || diff != "" {
			t.Error(diff, err)
		}
	}
	want("2024-01-02", "2024-01-05")
	if lines := registered(t, catalog); len(lines) != 1 {
		t.Errorf("partitions are registered: %v", lines)
	}
	f.commit(1, "2024-03-01")
	if done := register(t, r); done.Projected != 60 {
		t.Errorf("%d partitions are projected, want 60", done.Projected)
	}
	want("2024-01-02", "2024-03-01")
	f.commit(1, "0001-01-01", "9999-12-31")
	if done := register(t, r); done.Projected != 3652059 {
		t.Errorf("%d partitions are projected, want all days of 9,999 years", done.Projected)
	}

	store = mem.New()
	f = newFeeder(t, store, 0, "day")
	f.evolve(1, field("id", "bigint"), field("day", "string"))
	f.commit(1, "b:b", "a", "-", " c", "d ")
	catalog.Drop("t")
	catalog.Drop("t__quarantine")
	done = register(t, &sink.Registrar{Table: f.table, Catalog: catalog, Project: true})
	slices.Sort(done.Hidden)
	if diff := cmp.Diff([]string{"t/day= c", "t/day=d "}, done.Hidden); diff != "" {
		t.Error(diff)
	}
	have, err := catalog.Table(t.Context(), "t")
	if diff := cmp.Diff([]string{" c", "__HIVE_DEFAULT_PARTITION__", "a", "b%3Ab", "d "}, have.Projection[0].Values); err != nil || diff != "" {
		t.Error(diff, err)
	}
	var many []string
	for i := range 1001 {
		many = append(many, fmt.Sprint("v", i))
	}
	f.commit(1, many...)
	if _, err := (&sink.Registrar{Table: f.table, Catalog: catalog, Project: true}).Register(t.Context()); err == nil || !strings.Contains(err.Error(), "1006") {
		t.Errorf("%v does not say how many values there are", err)
	}
}

// A registrar registers what another process has committed and not registered, without
// being told of any commit.
func TestRegistrarOfOthersCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := mem.NewCatalog()
		f := newFeeder(t, mem.New(), 0, "day")
		f.evolve(1, field("id", "bigint"), field("day", "date"))
		f.commit(1, "2024-01-01")
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		r := &sink.Registrar{Table: f.table, Catalog: catalog, Events: sink.RegistrarEvents{Registered: func(sink.Registration) { stop() }}}
		r.Run(ctx)
		wantRegistered(t, catalog, "t v1 id:bigint"+rescued+" by day:date", "2024-01-01 t/day=2024-01-01 v1 id:bigint"+rescued)
	})
}

// An outage of the catalog holds up no commit, is told once, and made good when it
// is over.
func TestRegistrarOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, catalog := mem.New(), mem.NewCatalog()
		c := tableConfig(store)
		c.Shape.PartitionBy = []string{"day"}
		table, err := sink.OpenTable(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		f := &feeder{t: t, table: table, chain: table.Chain(0)}
		f.evolve(1, field("id", "bigint"), field("day", "date"))
		var down atomic.Bool
		down.Store(true)
		var failed, done atomic.Int64
		r := &sink.Registrar{
			Table: table, Events: sink.RegistrarEvents{Failed: func(tries int, err error) { failed.Store(int64(tries)) }, Registered: func(sink.Registration) { done.Add(1) }},
			Catalog: &sinktest.CatalogHook{Catalog: catalog, Before: func(string, string) error {
				if down.Load() {
					return errors.New("no route to host")
				}
				return nil
			}},
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		for day := 1; day <= 5; day++ {
			f.commit(1, fmt.Sprintf("2024-01-0%d", day))
			r.Changed()
			time.Sleep(20 * time.Second)
		}
		if failed.Load() < 3 || done.Load() != 0 {
			t.Errorf("%d failures, %d registrations during the outage", failed.Load(), done.Load())
		}
		down.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := registered(t, catalog); len(got) != 6 {
			t.Errorf("after the outage: %v", got)
		}
		stop()
		running.Wait()
		if err := f.chain.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		for o, err := range store.List(t.Context(), "_lakefeed/t/g1/checkpoints/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if body, err := store.Get(t.Context(), o.Key); err != nil || !strings.Contains(string(body), `"registered":5`) {
				t.Errorf("the checkpoint does not say what is registered: %s, %v", body, err)
			}
		}
	})
}

func TestRegistrarGivesUp(t *testing.T) {
	store := mem.New()
	f := newFeeder(t, store, 0)
	f.evolve(1, field("id", "bigint"))
	f.commit(1, "x")
	calls := 0
	hook := &sinktest.CatalogHook{Catalog: mem.NewCatalog()}
	r := &sink.Registrar{Table: f.table, Catalog: hook}
	hook.Before = func(string, string) error { calls++; return fmt.Errorf("glue:GetTable: %w", fs.ErrPermission) }
	if _, err := r.Register(t.Context()); !errors.Is(err, fs.ErrPermission) || calls != 1 {
		t.Errorf("denied: %v after %d calls", err, calls)
	}
	calls = 0
	hook.Before = func(string, string) error { calls++; return errors.New("down") }
	if _, err := r.Register(t.Context()); err == nil || calls < 3 {
		t.Errorf("down: %v after %d calls", err, calls)
	}
	calls = 0
	hook.Before = func(string, string) error {
		if calls++; calls < 4 {
			return errors.New("down")
		}
		return nil
	}
	register(t, r)
}
