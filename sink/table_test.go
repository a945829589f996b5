package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

func TestOpenTableMakesItsObjects(t *testing.T) {
	s := mem.New()
	table := openTable(t, s)
	var keys []string
	for o := range s.List(t.Context(), "", "") {
		keys = append(keys, o.Key)
	}
	want := []string{
		"_lakefeed/t/g1/build.json",
		"_lakefeed/t/g1/config/b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910.json",
		"_lakefeed/t/g1/set/00000000000000000000.json",
		"_lakefeed/t/generations/00000000000000000000.json",
		"_lakefeed/t/table.json",
	}
	if strings.Join(keys, "\n") != strings.Join(want, "\n") {
		t.Errorf("objects\n%s\nwant\n%s", strings.Join(keys, "\n"), strings.Join(want, "\n"))
	}
	if table.Name() != "t" || table.Generation() != 1 || table.Folder() != "t" || table.QuarantineFolder() != "t__quarantine" || table.Partitions() != 2 || table.LakeID() == "" {
		t.Errorf("table %+v", table)
	}
	if again := openTable(t, s); again.LakeID() != table.LakeID() {
		t.Error("the lake has another id now")
	}
	if other := openTable(t, mem.New()); other.LakeID() == table.LakeID() {
		t.Error("two lakes have one id")
	}
}

// All who open a new table at once find the same one, whatever the store answers.
func TestOpenTableRace(t *testing.T) {
	s := mem.New()
	const n = 16
	var ids [n]string
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			table, err := sink.OpenTable(t.Context(), tableConfig(s))
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = table.LakeID()
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("lake ids %q", ids)
		}
	}
}

// Wherever making a table is cut off, the next one to open it finishes it.
func TestOpenTableAfterACrash(t *testing.T) {
	for n := 1; ; n++ {
		s := mem.New()
		faults := &sinktest.FaultStore{Store: s, Plan: sinktest.FailNth(n, sinktest.CrashAfter)}
		whole := false
		crash(func() {
			_, err := sink.OpenTable(t.Context(), tableConfig(faults))
			whole = err == nil
		})
		o := newOwner(t, s).open()
		o.mustCommit(row{1, 0, false})
		if whole {
			if n < 10 {
				t.Errorf("only %d calls", n)
			}
			return
		}
	}
}

func TestOpenTableRefusesAnotherShape(t *testing.T) {
	s := mem.New()
	c := tableConfig(s)
	c.Shape = sink.Shape{PartitionBy: []string{"year", "month"}}
	if _, err := sink.OpenTable(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, shape := range []sink.Shape{{}, {PartitionBy: []string{"year"}}, {PartitionBy: []string{"month", "year"}}, {PartitionBy: []string{"year", "month"}, Meta: true}} {
		c.Shape = shape
		_, err := sink.OpenTable(t.Context(), c)
		var refused *sink.ShapeError
		if !errors.As(err, &refused) {
			t.Errorf("shape %v: %v, want a ShapeError", shape, err)
			continue
		}
		for _, part := range []string{"partitioned by year, month, without meta columns", shape.String(), "table t"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not say %q: %v", part, err)
			}
		}
	}
	c.Shape = sink.Shape{PartitionBy: []string{"year", "month"}}
	c.Config = []byte("another config of the same shape")
	if _, err := sink.OpenTable(t.Context(), c); err != nil {
		t.Error(err)
	}
	c.Topic = "other"
	_, err := sink.OpenTable(t.Context(), c)
	var topic *sink.TopicError
	if !errors.As(err, &topic) || !strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), "topic topic") {
		t.Errorf("another topic: %v", err)
	}
}

func TestOpenTableGrowsTheSet(t *testing.T) {
	s := mem.New()
	c := tableConfig(s)
	for _, test := range []struct{ topic, want int }{{2, 2}, {5, 5}, {3, 5}, {6, 6}} {
		c.Partitions = test.topic
		table, err := sink.OpenTable(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if table.Partitions() != test.want {
			t.Errorf("topic of %d partitions: the table knows %d, want %d", test.topic, table.Partitions(), test.want)
		}
	}
}

func TestOpenTableRefusesNewerFormats(t *testing.T) {
	for _, key := range []string{"table.json", "g1/build.json", "generations/00000000000000000000.json", "g1/set/00000000000000000000.json"} {
		s := mem.New()
		openTable(t, s)
		rewrite(t, s, "_lakefeed/t/"+key, func(m map[string]any) { m["v"] = 99 })
		_, err := sink.OpenTable(t.Context(), tableConfig(s))
		var format *sink.FormatError
		if !errors.As(err, &format) || format.Have != 99 || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, want a FormatError", key, err)
		}
	}
}

func TestOpenTableReportsEveryFault(t *testing.T) {
	_, err := sink.OpenTable(t.Context(), sink.TableConfig{Name: "a/b", Topic: ".."})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"no store", `"a/b"`, `".."`, "0 partitions"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func version(n int64, columns ...string) *schema.Schema {
	s := &schema.Schema{Version: n, Previous: n - 1}
	for _, c := range columns {
		s.Fields = append(s.Fields, schema.Field{Name: c, Type: schema.Type{Kind: schema.String}})
	}
	return s
}

func TestSchemaLog(t *testing.T) {
	s := mem.New()
	a, b := openTable(t, s).Schemas(), openTable(t, s).Schemas()
	ctx := t.Context()
	if latest, err := a.Latest(ctx); latest != nil || err != nil {
		t.Fatalf("Latest of an empty log = %v, %v", latest, err)
	}
	if err := a.Append(ctx, version(1, "x")); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(ctx, version(1, "y")); !errors.Is(err, sink.ErrExists) {
		t.Errorf("the loser gets %v, want ErrExists", err)
	}
	if err := b.Append(ctx, version(1, "x")); err != nil {
		t.Errorf("an equal version: %v", err)
	}
	for i, l := range []*sink.SchemaLog{b, a} {
		if err := l.Append(ctx, version(int64(i)+2, "x", "y")); err != nil {
			t.Error(err)
		}
	}
	for _, l := range []*sink.SchemaLog{a, b} {
		latest, err := l.Latest(ctx)
		if err != nil || latest.Version != 3 || len(latest.Fields) != 2 {
			t.Errorf("Latest = %+v, %v", latest, err)
		}
		first, err := l.Get(ctx, 1)
		if err != nil || first.Version != 1 || first.Fields[0].Name != "x" {
			t.Errorf("Get(1) = %+v, %v", first, err)
		}
		if _, err := l.Get(ctx, 4); !errors.Is(err, sink.ErrNotExist) {
			t.Errorf("Get(4): %v", err)
		}
		if err := l.Append(ctx, version(9)); err == nil {
			t.Error("a version was appended behind a hole")
		}
		if err := l.Append(ctx, &schema.Schema{Version: 4, Previous: 2}); err == nil {
			t.Error("a version was appended that is not made from the one before")
		}
	}
}

// An answer that was lost is no loss of the race.
func TestSchemaLogWithLostAnswers(t *testing.T) {
	for _, fault := range []sinktest.Fault{sinktest.FailBefore, sinktest.FailAfter} {
		o := newOwner(t, mem.New())
		o.store.Plan = once(fault, "create", "/schema/")
		if err := o.table.Schemas().Append(t.Context(), version(1, "x")); err != nil {
			t.Error(err)
		}
	}
}

func TestSchemaLogRace(t *testing.T) {
	table := openTable(t, mem.New())
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for {
				latest, err := table.Schemas().Latest(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				next := version(1, fmt.Sprint("c", i))
				if latest != nil {
					next = version(latest.Version+1, fmt.Sprint("c", i))
					next.Fields = append(next.Fields, latest.Fields...)
				}
				err = table.Schemas().Append(t.Context(), next)
				if err == nil {
					return
				}
				if !errors.Is(err, sink.ErrExists) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	latest, err := table.Schemas().Latest(t.Context())
	if err != nil || latest.Version != 8 || len(latest.Fields) != 8 {
		t.Errorf("Latest = %+v, %v", latest, err)
	}
}

func TestFileKey(t *testing.T) {
	o := newOwner(t, mem.New()).open()
	d := o.chain.Begin()
	key := o.table.FileKey(sink.Main, "y=2024/m=1", "a-topic", 3, d, 77, 2)
	want := "t/y=2024/m=1/part-a-topic-3-00000000000000000000-00000000000000000000-00000000000000000077-" + d.Attempt() + "-2.zstd.parquet"
	if key != want {
		t.Errorf("key %s\nwant %s", key, want)
	}
	name, ok := sink.ParseFileKey(key)
	if !ok || name != (sink.FileName{Topic: "a-topic", Partition: 3, To: 77, Attempt: d.Attempt(), N: 2}) {
		t.Errorf("ParseFileKey = %+v, %v", name, ok)
	}
	if key := o.table.FileKey(sink.Quarantine, "", "a-topic", 3, d, 77, 2); !strings.HasPrefix(key, "t__quarantine/part-") {
		t.Errorf("key %s", key)
	}
	long := o.table.FileKey(sink.Main, "", strings.Repeat("topic", 49), 99999, d, 77, 99999)
	if n := len(long) - len("t/"); n > 230 {
		t.Errorf("a file name of %d bytes: %s", n, long)
	}
	if other := o.table.FileKey(sink.Main, "", strings.Repeat("topic", 48)+"tropic", 99999, d, 77, 99999); other == long {
		t.Error("two long topics have one name")
	}
	for _, key := range []string{"", "x", "t/part-a.zstd.parquet", "t/part-a-b-1-2-3-x-0.zstd.parquet", "t/part-a-0-1-2-3-x-y.zstd.parquet", "t/part-a-0-1-2-99999999999999999999-x-1.zstd.parquet", "t/part-a-0-1-2-3-x-0.parquet"} {
		if name, ok := sink.ParseFileKey(key); ok {
			t.Errorf("ParseFileKey(%q) = %+v", key, name)
		}
	}
	for folder, table := range map[string]string{"t": "t", "t.g2": "t", "t__quarantine": "t", "t__quarantine.g10": "t", "t.gx": "t.gx", "a_b": "a_b"} {
		if have := sink.TableOfFolder(folder); have != table {
			t.Errorf("TableOfFolder(%s) = %s", folder, have)
		}
	}
}

// An unwritable lake is an error at once: it will not become writable by waiting.
func TestPermissionDeniedIsNotTriedAgain(t *testing.T) {
	o := newOwner(t, mem.New()).open()
	d := o.batch(row{1, 0, false})
	waits := 0
	o.table.Tune(256, func(context.Context) error { waits++; return nil })
	o.store.Store = denied{o.store.Store}
	if outcome, err := o.chain.Commit(t.Context(), d.Draft, d.Commit); outcome != sink.Undecided || !errors.Is(err, errDenied) || waits != 0 {
		t.Errorf("Commit = %v, %v after %d waits", outcome, err, waits)
	}
}
