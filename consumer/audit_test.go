package consumer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// audit audits the lake and compares it with the topic.
func (b *bench) audit(deep bool) *sink.AuditReport {
	b.t.Helper()
	return b.auditWith(deep, 0)
}

func (b *bench) auditWith(deep bool, limit int, set ...func(*consumer.Audit)) *sink.AuditReport {
	b.t.Helper()
	before := b.objects()
	var lake sink.Store = b.store
	if b.lakeStore != nil {
		lake = b.lakeStore
	}
	table, err := sink.ReadTable(b.t.Context(), lake, "feed")
	if err != nil {
		b.t.Fatal(err)
	}
	report := sink.NewAuditReport(limit)
	if err := (&sink.Audit{Table: table, Report: report}).Run(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	position, err := sink.ParsePosition(report.Position)
	if err != nil {
		b.t.Fatal(err)
	}
	a := &consumer.Audit{Client: b.client, Raw: b.zone, Table: table, Report: report, Position: position, Deep: deep}
	for _, s := range set {
		s(a)
	}
	if err := a.Run(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if after := b.objects(); !slices.Equal(before, after) {
		b.t.Errorf("an audit has written: %q before, %q after", before, after)
	}
	return report
}

func (b *bench) objects() (keys []string) {
	b.t.Helper()
	for o, err := range b.store.List(b.t.Context(), "", "") {
		if err != nil {
			b.t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// kinds are the kinds of the findings of a report, but for notes.
func kinds(r *sink.AuditReport) (out []string) {
	for _, f := range r.Findings {
		if f.Level != sink.Note {
			out = append(out, string(f.Level)+" "+string(f.Kind))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func describe(r *sink.AuditReport) string {
	b, _ := json.MarshalIndent(r, "", "  ")
	return string(b)
}

// wantFound checks the kinds of what an audit has found, and that what it says
// contains texts.
func (b *bench) wantFound(r *sink.AuditReport, found string, texts ...string) {
	b.t.Helper()
	if have := strings.Join(kinds(r), ", "); have != found {
		b.t.Errorf("found %q, want %q\n%s", have, found, describe(r))
	}
	if clean := !strings.Contains(found, "damage"); clean != (r.Of(sink.Damage) == 0) {
		b.t.Errorf("%d findings of damage", r.Of(sink.Damage))
	}
	all := describe(r)
	for _, text := range texts {
		if !strings.Contains(all, text) {
			b.t.Errorf("nothing says %q\n%s", text, all)
		}
	}
}

// endWith sends an end with a count, and the hash of the rows.
func (b *bench) endWith(f *feed, partition int, count int64, status, hash string) {
	b.t.Helper()
	var batch broker.Batch
	batch.Append(wire.AppendKey(nil, f.stream, count), nil, []broker.Header{{Key: wire.Status, Value: []byte(status)}, {Key: wire.Hash, Value: []byte(hash)}}, time.Now().UnixMilli())
	b.produce(partition, &batch)
}

// hashOf is the hash of a stream's rows, as a producer makes it.
func hashOf(f *feed, rows ...string) string {
	var sum schema.Sum128
	for i, row := range rows {
		hi, lo, _ := wire.RowHash(nil, wire.AppendKey(nil, f.stream, int64(i)), []byte(row))
		sum.Add(hi, lo)
	}
	return sum.String()
}

// filled is a lake of two chains with several records each: partitioned, with
// rescued cells, quarantined and repeated rows.
func filled(t *testing.T) *bench {
	b := newBench(t, 2)
	b.shape = sink.Shape{PartitionBy: []string{"c", "date(d)"}, Meta: true}
	one, two := stream("one.csv", "id,v,c,d,f"), stream("two.csv", "id,v,c,d,f")
	rows := []string{"1,10,x,2026-01-02,0.5", "2,20,y,2026-01-02,-1.5", "3,30,x,2026-01-03,", "4,,,2026-01-02,2e3"}
	b.send(one, 0, rows...)
	b.mustDrain()
	more := []string{"5,n/a,x,2026-01-02,0", "6,7", "8,9.5,z,soon,1", strings.Repeat("9", 25) + ",1,x,2026-01-04,1"}
	b.send(one, 0, more...)
	b.endWith(one, 0, one.next, "complete", hashOf(one, append(rows, more...)...))
	b.send(two, 1, "10,1,"+strings.Repeat("long ", 60)+",2026-01-02,1")
	b.mustDrain()
	again := stream("one.csv", "id,v,c,d,f")
	b.send(again, 0, rows...)
	b.send(two, 1, "11,2,a/b:c,2026-01-02,1", "12,3,,,")
	b.end(two, 1)
	b.mustDrain()
	return b
}

func TestAuditOfACleanLake(t *testing.T) {
	for _, deep := range []bool{false, true} {
		b := filled(t)
		r := b.audit(deep)
		b.wantFound(r, "")
		if r.Rows != 10 || r.Quarantined != 1 || r.Compared != 11 || r.Hashed != 1 || r.Complete != 2 || r.UnderWay != 0 || r.Skipped["duplicate"] != 4 || r.Position != "g1.2.1" {
			t.Error(describe(r))
		}
	}
}

// firstFile is a file of the table, and its record's key.
func (b *bench) file(part string) string {
	b.t.Helper()
	for _, key := range b.objects() {
		if strings.HasPrefix(key, "feed") && strings.Contains(key, part) {
			return key
		}
	}
	b.t.Fatalf("no file has %q in its key: %q", part, b.objects())
	return ""
}

func (b *bench) get(key string) []byte {
	b.t.Helper()
	body, err := b.store.Get(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return body
}

func (b *bench) put(key string, body []byte) {
	b.t.Helper()
	if err := b.store.Put(b.t.Context(), key, body); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) remove(key string) {
	b.t.Helper()
	if err := b.store.Delete(b.t.Context(), key); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) recordKey(partition, seq int) string {
	return fmt.Sprintf("_lakefeed/feed/g1/commits/feed/%020d/%020d.json", partition, seq)
}

// edit changes a record.
func (b *bench) edit(partition, seq int, change func(*sink.Record)) {
	b.t.Helper()
	r, err := sink.DecodeRecord(b.get(b.recordKey(partition, seq)))
	if err != nil {
		b.t.Fatal(err)
	}
	change(r)
	body, err := sink.EncodeRecord(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(b.recordKey(partition, seq), body)
}

// edited writes a table of the same rows as b's but for one cell, and gives the
// body of the file that has that cell: a valid file with as many rows.
func edited(t *testing.T, b *bench, part string) []byte {
	t.Helper()
	other := newBench(t, 2)
	other.shape = b.shape
	f := stream("one.csv", "id,v,c,d,f")
	other.send(f, 0, "1,11,x,2026-01-02,0.5", "2,20,y,2026-01-02,-1.5", "3,30,x,2026-01-03,", "4,,,2026-01-02,2e3")
	other.mustDrain()
	return other.get(other.file(part))
}

// Each kind of damage is found, by the lake alone where that is enough, and named.
func TestAuditFindsDamage(t *testing.T) {
	const first = "c=x/d_date=2026-01-02/part-feed-0-00000000000000000000-"
	for _, test := range []struct {
		name   string
		damage func(*testing.T, *bench)
		found  string
		says   []string
		deep   bool
	}{
		{
			"a file is deleted", func(t *testing.T, b *bench) { b.remove(b.file(first)) },
			"damage file-missing", []string{"its 1 rows, of offsets 0 to 3, are missing", first}, false,
		},
		{
			"a file of a chain's last record is deleted", func(t *testing.T, b *bench) { b.remove(b.file("part-feed-1-00000000000000000001-")) },
			"damage file-missing", []string{"put the file back", "lakefeed rebuild feed"}, false,
		},
		{
			"a file of a chain's last record, of which there is no checkpoint, is deleted", func(t *testing.T, b *bench) {
				b.remove("_lakefeed/feed/g1/checkpoints/feed/00000000000000000001/00000000000000000001.json")
				b.remove(b.file("part-feed-1-00000000000000000001-"))
			},
			"damage file-missing", []string{"a consumer that runs makes it again"}, false,
		},
		{
			"a file is doubled", func(t *testing.T, b *bench) {
				b.put("feed/c=x/d_date=2026-01-02/copy.parquet", b.get(b.file(first)))
			}, "damage file-copied", []string{"copy.parquet", "readers see these 1 rows twice", "has the rows of feed/" + first}, false,
		},
		{
			"a file is doubled under a name of its own record", func(t *testing.T, b *bench) {
				key := b.file(first)
				b.put(strings.Replace(key, "-0.zstd", "-77.zstd", 1), b.get(key))
			}, "damage file-copied", []string{"-77.zstd.parquet"}, false,
		},
		{
			"a file is truncated", func(t *testing.T, b *bench) {
				key := b.file(first)
				body := b.get(key)
				b.put(key, body[:len(body)-40])
			}, "damage file-truncated", []string{first}, false,
		},
		{
			"bytes of a file are damaged", func(t *testing.T, b *bench) {
				key := b.file(first)
				body := b.get(key)
				copy(body[len(body)-20:], "XXXXXXXX")
				b.put(key, body)
			}, "damage file-damaged", []string{first}, false,
		},
		{
			"a file is rewritten with another value", func(t *testing.T, b *bench) { b.put(b.file(first), edited(t, b, first)) },
			"damage file-edited", []string{"the hash of its values is", "column v are 11 to 11", `says \"10\" to \"10\"`}, false,
		},
		{
			"a file is rewritten with another value, told cell by cell", func(t *testing.T, b *bench) { b.put(b.file(first), edited(t, b, first)) },
			"damage cells-differ, damage file-edited", []string{"row 0 of the stream, column v: the lake has 11, the topic 10", "file:///one.csv"}, true,
		},
		{
			"a file is moved to another partition", func(t *testing.T, b *bench) {
				key := b.file(first)
				b.put(strings.Replace(key, "c=x", "c=q", 1), b.get(key))
				b.remove(key)
			}, "damage file-copied, damage file-missing", []string{"c=q"}, false,
		},
		{
			"a foreign file is put in", func(t *testing.T, b *bench) { b.put("feed/c=x/more.parquet", edited(t, b, "c=y")) },
			"damage file-foreign", []string{"feed/c=x/more.parquet", "readers see 1 rows too many"}, false,
		},
		{
			"a file that is no Parquet is put in", func(t *testing.T, b *bench) { b.put("feed__quarantine/README", []byte("hello")) },
			"damage file-foreign", []string{"it is no Parquet file"}, false,
		},
		{
			"a record is removed", func(t *testing.T, b *bench) { b.remove(b.recordKey(0, 1)) },
			"damage file-foreign, damage record-missing", []string{"record 1 is not there, though there is a record 2", "offsets 4 to 8 are of it", "since record 1, which it is of by its name"}, false,
		},
		{
			"the last record is removed", func(t *testing.T, b *bench) { b.remove(b.recordKey(1, 1)) },
			"damage checkpoint-wrong, damage file-foreign", []string{"the chain ends at record 0", "since record 1, which it is of by its name"}, false,
		},
		{
			"a record is damaged", func(t *testing.T, b *bench) { b.put(b.recordKey(1, 0), []byte(`{"v":1,"ki`)) },
			"damage file-foreign, damage record-damaged", []string{"decode record"}, false,
		},
		{
			"a record has other offsets", func(t *testing.T, b *bench) { b.edit(0, 1, func(r *sink.Record) { r.To++ }) },
			"damage file-edited, damage record-wrong", []string{"1 are not accounted for", "begins at offset 9, but the record before it ends at 10"}, false,
		},
		{
			"a record counts other rows", func(t *testing.T, b *bench) {
				b.edit(0, 0, func(r *sink.Record) { r.Files[0].Rows++; r.Counts.Rows++; r.Skipped = nil })
			}, "damage file-edited, damage record-wrong, damage topic-differs", []string{"it has 1 rows, the record says 2", "its streams have 4 new rows, but its files 5"}, false,
		},
		{
			"a record leaves a file out", func(t *testing.T, b *bench) {
				b.edit(0, 0, func(r *sink.Record) {
					r.Skipped = append(r.Skipped, sink.Skip{From: 0, To: r.Files[0].Rows, Reason: sink.SkipCompacted})
					r.Counts.Rows -= r.Files[0].Rows
					r.Counts.Skipped += r.Files[0].Rows
					r.Files = r.Files[1:]
				})
			}, "damage file-foreign, damage record-wrong, damage topic-differs", nil, false,
		},
		{
			"a record has the hash of other rows", func(t *testing.T, b *bench) {
				b.edit(0, 0, func(r *sink.Record) { r.Files[0].RowHash = strings.Repeat("0", 32) })
			}, "damage cells-differ", []string{"the record has 1 rows with hash 00000000000000000000000000000000"}, true,
		},
		{
			"a record takes rows back", func(t *testing.T, b *bench) { b.edit(0, 1, func(r *sink.Record) { r.Streams[0].Next = 2 }) },
			"damage record-wrong, damage stream-incomplete, damage topic-differs", []string{"takes rows of stream"}, false,
		},
		{
			"a schema version is removed", func(t *testing.T, b *bench) { b.remove("_lakefeed/feed/g1/schema/00000000000000000001.json") },
			"damage object-missing", []string{"schema version 1"}, false,
		},
		{
			"a checkpoint is wrong", func(t *testing.T, b *bench) {
				key := "_lakefeed/feed/g1/checkpoints/feed/00000000000000000000/00000000000000000002.json"
				b.put(key, bytes.Replace(b.get(key), []byte(`"to":13`), []byte(`"to":12`), 1))
			}, "damage checkpoint-wrong", []string{"ends at offset 12 of log"}, false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := filled(t)
			test.damage(t, b)
			b.wantFound(b.audit(test.deep), test.found, test.says...)
		})
	}
}

// What is in the topic is compared too.
func TestAuditComparesWithTheTopic(t *testing.T) {
	rows := []string{"1,a", "2,b", "3,c"}
	t.Run("rows are removed from it", func(t *testing.T) {
		b := filled(t)
		b.deleteRecords(0, 5)
		b.wantFound(b.audit(false), "warning topic-removed", "8 rows of records 0 to 1 were not compared", "neither the topic nor a raw zone has them: the topic partition begins at offset 5")
		b.wantFound(b.auditWith(false, 0, whole), "damage topic-removed")
	})
	t.Run("it has lost messages", func(t *testing.T) {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		b.send(f, 0, rows...)
		b.mustDrain()
		restore := b.snapshot()
		b.send(f, 0, "4,d", "5,e")
		b.mustDrain()
		restore()
		b.wantFound(b.audit(false), "damage topic-differs", "the topic partition ends at offset 3")
		b.send(stream("b.csv", "id,v"), 0, "6,f", "7,g")
		b.wantFound(b.audit(false), "damage topic-differs", "the topic has nothing new of stream "+f.stream.String())
	})
	t.Run("other rows are in the place of lost ones", func(t *testing.T) {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		restore := b.snapshot()
		b.send(f, 0, rows...)
		b.mustDrain()
		restore()
		f.next, f.line = 0, 2
		b.send(f, 0, "1,a", "2,B", "3,c")
		b.wantFound(b.audit(false), "") // number and identity are the same
		b.wantFound(b.audit(true), "damage cells-differ", `row 1 of the stream, column v: the lake has \"b\", the topic \"B\"`)
	})
	t.Run("a stream's hash is another", func(t *testing.T) {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		b.send(f, 0, rows...)
		b.endWith(f, 0, 3, "complete", hashOf(f, "1,a", "2,b", "3,x"))
		b.mustDrain()
		b.wantFound(b.audit(false), "damage stream-hash", "file:///a.csv", "rows were changed on their way")
	})
	t.Run("equal objects", func(t *testing.T) {
		b := newBench(t, 2)
		for p, name := range []string{"a.csv", "b.csv"} {
			f := stream(name, "id,v")
			b.send(f, p, rows...)
			b.end(f, p)
		}
		b.mustDrain()
		b.wantFound(b.audit(false), "warning equal-objects", "file:///b.csv has the same 3 rows as file:///a.csv")
	})
	t.Run("messages of others", func(t *testing.T) {
		b := newBench(t, 1)
		var batch broker.Batch
		batch.Append([]byte("foreign"), []byte("1,2"), nil, 5)
		b.produce(0, &batch)
		b.send(stream("a.csv", "id,v"), 0, rows...)
		b.mustDrain()
		r := b.audit(true)
		b.wantFound(r, "")
		if r.Quarantined != 1 || r.UnderWay != 1 {
			t.Error(describe(r))
		}
	})
}

// Streams that are not what their ends say.
func TestAuditOfStreams(t *testing.T) {
	send := func(b *bench) *feed {
		f := stream("a.csv", "id,v")
		b.send(f, 0, "1,a", "2,b", "3,c")
		return f
	}
	for _, test := range []struct {
		name  string
		send  func(*bench)
		found string
		says  []string
	}{
		{"the end counts more rows", func(b *bench) { b.endWith(send(b), 0, 5, "complete", "") }, "damage stream-incomplete", []string{"its end counts 5 rows, but rows 3 to 4 are not in the table"}},
		{"the end counts fewer rows", func(b *bench) { b.endWith(send(b), 0, 2, "complete", "") }, "damage stream-incomplete", []string{"rows 2 are too many"}},
		{"rows behind the end", func(b *bench) {
			f := send(b)
			b.end(f, 0)
			b.send(f, 0, "4,d", "5,e")
		}, "damage row-conflict", []string{"offsets 4 to 5 contradict the end of their stream"}},
		{"another end", func(b *bench) {
			f := send(b)
			b.end(f, 0)
			b.endWith(f, 0, 9, "complete", "")
		}, "damage row-conflict", []string{"offsets 4 to 4"}},
		{"a gap in the rows", func(b *bench) {
			f := send(b)
			f.next = 7
			b.send(f, 0, "8,d")
			b.end(f, 0)
		}, "damage stream-incomplete", []string{"rows 3 to 6 are not in the table"}},
		{"the object changed", func(b *bench) { b.endWith(send(b), 0, 3, "changed", "") }, "damage stream-changed", []string{"the table has the 3 rows that were read of it"}},
		{"the object was given up", func(b *bench) { b.endWith(send(b), 0, 3, "abandoned", "") }, "loss stream-abandoned", []string{"given up after 3 rows"}},
		{"rows in two topic partitions", func(b *bench) {
			f := send(b)
			f.next = 1
			b.send(f, 1, "2,b", "3,c", "4,d")
		}, "damage stream-twice", []string{"rows 1 to 2 of the stream are in the table twice, from topic partitions 0 and 1"}},
		{"no end yet", func(b *bench) { send(b) }, "", []string{"1 streams have no end yet"}},
		{"an end before its rows", func(b *bench) {
			f := stream("a.csv", "id,v")
			b.endWith(f, 0, 2, "complete", hashOf(f, "1,a", "2,b"))
			b.send(f, 0, "1,a", "2,b")
		}, "", []string{`"streams_compared_by_hash": 1`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, 2)
			test.send(b)
			b.mustDrain()
			b.wantFound(b.audit(true), test.found, test.says...)
		})
	}
}

// What is on record as lost, cut or made again is not damage.
func TestAuditOfWhatIsOnRecord(t *testing.T) {
	t.Run("a gap", func(t *testing.T) {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		b.send(f, 0, "1,a", "2,b")
		b.mustDrain()
		b.send(f, 0, "3,c", "4,d", "5,e")
		b.deleteRecords(0, 4)
		b.loss = consumer.Record
		b.mustDrain()
		b.wantFound(b.audit(true), "loss loss-retention, warning topic-removed", "offsets 2 to 3 were removed from the topic before they reached the lake")
	})
	t.Run("a topic that began before the lake", func(t *testing.T) {
		b := newBench(t, 1)
		b.send(stream("a.csv", "id,v"), 0, "1,a", "2,b")
		b.deleteRecords(0, 1)
		b.mustDrain()
		b.wantFound(b.audit(true), "loss loss-retention", "offsets 0 to 0")
	})
	t.Run("a reset", func(t *testing.T) {
		b := newBench(t, 2)
		f, g := stream("a.csv", "id,v"), stream("b.csv", "id,v")
		b.send(f, 0, "1,a", "2,b")
		b.send(g, 1, "3,c")
		b.mustDrain()
		b.deleteTopic()
		b.adopt = true
		f.next, g.next = 0, 0
		b.send(f, 1, "1,a", "2,b", "4,d") // in the other topic partition
		b.end(f, 1)
		b.send(g, 0, "3,c", "5,e")
		b.end(g, 0)
		b.mustDrain()
		r := b.audit(true)
		b.wantFound(r, "", "the topic is "+b.topic.LogID)
		if r.Rows != 5 || r.Complete != 2 || r.Compared != 2 {
			t.Error(describe(r))
		}
		b.wantFound(b.auditWith(true, 0, whole), "damage topic-removed", "2 rows of records 0 to 0 were not compared", "1 rows of records 0 to 0 were not compared", "unless they were sent again since", "lakefeed rebuild tells")
	})
	t.Run("a rewind", func(t *testing.T) {
		b := newBench(t, 1)
		b.loss = consumer.Record
		f := stream("a.csv", "id,v")
		b.send(f, 0, "1,a", "2,b")
		b.mustDrain()
		restore := b.snapshot()
		b.send(f, 0, "3,c", "4,d")
		b.mustDrain()
		restore()
		f.next = 2
		b.send(f, 0, "3,c", "4,d", "5,e")
		b.end(f, 0)
		b.mustDrain()
		r := b.audit(true)
		b.wantFound(r, "", "the log was cut: the chain went back from offset 4 to 2")
		if r.Rows != 5 || r.Complete != 1 {
			t.Error(describe(r))
		}
		b.wantFound(b.auditWith(true, 0, whole), "damage topic-removed", "2 rows of records 1 to 1 were not compared", "unless they were sent again since")
	})
	t.Run("a repair", func(t *testing.T) {
		b := filled(t)
		b.send(stream("c.csv", "id,v,c,d,f"), 0, "20,1,x,2026-01-02,1", "21,1,y,2026-01-02,1")
		lost := false
		b.lakeStore = &hooked{Store: b.store, publish: func(s sink.Staged) {
			if !lost && strings.Contains(s.Key, "c=x") {
				lost = true
				if err := b.store.Discard(context.WithoutCancel(t.Context()), s); err != nil {
					t.Error(err)
				}
			}
		}}
		b.mustDrain()
		r := b.audit(true)
		b.wantFound(r, "")
		if r.Rows != 12 {
			t.Error(describe(r))
		}
	})
	t.Run("staged files, and a record that is not published yet", func(t *testing.T) {
		b := filled(t)
		if _, err := b.store.Stage(t.Context(), "feed/left-over.parquet", strings.NewReader("...")); err != nil {
			t.Fatal(err)
		}
		b.wantFound(b.audit(false), "", "1 files with 3 bytes are staged")
	})
}

// A table may be audited while it is written: what is on its way is no damage.
func TestAuditOfALiveTable(t *testing.T) {
	b := newBench(t, 2)
	b.flush = 200
	table := b.table()
	written := make(chan error)
	go func() {
		c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: table, FlushBytes: b.flush}
		done := make(chan error)
		go func() { done <- c.Run(t.Context()) }()
		for i := range 40 {
			var batch broker.Batch
			f := stream(fmt.Sprint(i, ".csv"), "id,v")
			for n := range int64(20) {
				batch.Append(wire.AppendKey(nil, f.stream, n), fmt.Appendf(nil, "%d,%d", i, n), nil, 1)
			}
			batch.Append(wire.AppendKey(nil, f.stream, 20), nil, []broker.Header{{Key: wire.Status, Value: []byte("complete")}}, 1)
			if _, err := b.client.Produce(t.Context(), b.topic.Name, i%2, &batch); err != nil {
				written <- err
				return
			}
		}
		c.Drain(map[int]int64{0: 20 * 21, 1: 20 * 21})
		written <- <-done
	}()
	audits, err, ended := 0, error(nil), false
	for ; !ended || audits < 2; audits++ {
		live, openErr := sink.ReadTable(t.Context(), b.store, "feed")
		if openErr != nil {
			t.Fatal(openErr)
		}
		r := sink.NewAuditReport(0)
		if e := (&sink.Audit{Table: live, Report: r}).Run(t.Context()); e != nil {
			t.Fatal(e)
		}
		position, _ := sink.ParsePosition(r.Position)
		if e := (&consumer.Audit{Client: b.client, Table: live, Report: r, Position: position}).Run(t.Context()); e != nil {
			t.Fatal(e)
		}
		if r.Of(sink.Damage) > 0 {
			t.Fatal(describe(r))
		}
		select {
		case err = <-written:
			ended = true
		default:
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	r := b.audit(true)
	b.wantFound(r, "")
	if r.Rows != 800 || r.Complete != 40 {
		t.Errorf("after %d audits: %s", audits, describe(r))
	}
}

// A report keeps few findings of each kind, and counts all of them.
func TestAuditReportIsBounded(t *testing.T) {
	b := filled(t)
	for i := range 30 {
		b.put(fmt.Sprintf("feed/foreign-%02d", i), []byte("x"))
	}
	r := b.auditWith(false, 7)
	n := 0
	for _, f := range r.Findings {
		if f.Kind == sink.FileForeign {
			n++
		}
	}
	if n != 7 || r.Counts[sink.FileForeign] != 30 || r.Left()[sink.FileForeign] != 23 || r.Of(sink.Damage) != 30 {
		t.Error(describe(r))
	}
}
