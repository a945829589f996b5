package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// audited is an audit's report. Of the exit code only that it is the one wanted is
// checked.
func audited(t *testing.T, code int, args ...string) *sink.AuditReport {
	t.Helper()
	r := exits(t, code, append([]string{"audit", "rows", "-o", "json"}, args...)...)
	report := &sink.AuditReport{}
	if err := json.Unmarshal([]byte(r.stdout), report); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	return report
}

// worst are the kinds of a report's findings, but for notes.
func worst(r *sink.AuditReport) (out []string) {
	for _, f := range r.Findings {
		if f.Level != sink.Note {
			out = append(out, string(f.Level)+" "+string(f.Kind))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// forgetTopic takes the embedded Kafka's log away.
func forgetTopic(t *testing.T, lake string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "kafka")); err != nil {
		t.Fatal(err)
	}
}

// wantAll checks that a report has compared each row, and each offset with what it
// should.
func wantAll(t *testing.T, r *sink.AuditReport, with sink.ComparedWith) {
	t.Helper()
	topic, zone := r.Rows+r.Quarantined, int64(0)
	if with == sink.WithRawZone {
		topic, zone = zone, topic
	}
	if r.Compared != topic || r.ComparedRaw != zone || topic+zone == 0 {
		t.Errorf("%d rows were compared with the topic and %d with the raw zone, want %d and %d", r.Compared, r.ComparedRaw, topic, zone)
	}
	offsets := int64(0)
	for _, c := range r.Ranges {
		if offsets += c.To - c.From; c.With != with {
			t.Errorf("%+v, want all with the %s", c, with)
		}
	}
	if offsets != r.Offsets || r.UnderWay > 0 {
		t.Errorf("%d of %d offsets are in %+v", offsets, r.Offsets, r.Ranges)
	}
}

// A lake is compared with its raw zone when the topic is gone: each row and cell of
// everything that can come in, and the hash of each producer.
func TestAuditWithRawZone(t *testing.T) {
	t.Parallel()
	dir := rawLake(t)
	lake := filepath.Join(dir, "lake")
	before := audited(t, 0, "--lake", lake)
	wantAll(t, before, sink.WithTopic)
	forgetTopic(t, lake)
	for _, deep := range [][]string{nil, {"--deep"}, {"--whole-topic"}} {
		r := audited(t, 0, append(deep, "--lake", lake)...)
		wantAll(t, r, sink.WithRawZone)
		if have, want := worst(r), worst(before); !slices.Equal(have, want) || r.Hashed != before.Hashed || r.Hashed == 0 {
			t.Errorf("found %q and %d streams by their hash, and with the topic %q and %d", have, r.Hashed, want, before.Hashed)
		}
	}
	texts := []string{"compared with the raw zone: 16,170 rows cell by cell", "clean: "}
	for _, c := range before.Ranges {
		texts = append(texts, fmt.Sprintf("%s, offsets %d to %d: compared with the raw zone", c.Chain, c.From, c.To-1))
	}
	r := ok(t, "audit", "rows", "--lake", lake, "--deep")
	for _, text := range texts {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("nothing of %q in %v", text, r)
		}
	}
	if r := audited(t, 0, "--lake", lake, "--no-topic"); r.ComparedRaw > 0 || len(r.Ranges) > 0 {
		t.Errorf("without the topic it was compared all the same: %+v", r.Ranges)
	}
	exits(t, 2, "audit", "rows", "--lake", lake, "--no-topic", "--deep")

	// The feed goes on with another topic: each offset is compared with what has it.
	writeFile(t, filepath.Join(dir, "new.csv"), "id,v,note\n99999,1,new\n")
	ok(t, "ingest", filepath.Join(dir, "new.csv"), "--lake", lake, "--table", "rows", "--meta", "--quarantine-max-share", "100%")
	both := audited(t, 0, "--lake", lake, "--deep")
	for _, c := range both.Ranges {
		if old := c.Log == before.Ranges[0].Log; old != (c.With == sink.WithRawZone) || !old && (c.With != sink.WithTopic || c.From != 0 || c.To != 2) {
			t.Errorf("%+v", c)
		}
	}
	if len(both.Ranges) != len(before.Ranges)+1 || both.Compared != 1 || both.ComparedRaw != before.Rows+before.Quarantined {
		t.Errorf("%+v", both)
	}
	all := audited(t, 0, "--lake", lake, "--whole-topic")
	if all.Compared+all.ComparedRaw != both.Rows+both.Quarantined {
		t.Errorf("%+v", all)
	}

	// Without the raw zone the rows of the earlier topic are nowhere, unless they are sent again.
	bare := copyOf(t, lake)
	if err := os.RemoveAll(filepath.Join(bare, "_lakefeed", "raw-zone")); err != nil {
		t.Fatal(err)
	}
	audited(t, 0, "--lake", bare)
	if r := audited(t, 9, "--lake", bare, "--whole-topic"); !slices.Contains(worst(r), "damage topic-removed") || r.Compared != 1 || r.Counts[sink.TopicRemoved] == 0 {
		t.Errorf("found %q, %+v", worst(r), r)
	}

	forgetTopic(t, lake)
	ok(t, "rebuild", "rows", "--lake", lake)
	again := audited(t, 0, "--lake", lake, "--deep")
	if wantAll(t, again, sink.WithRawZone); again.Generation != 2 || again.Rows != both.Rows {
		t.Errorf("%+v, want %d rows of generation 2", again, both.Rows)
	}

	// Without a raw zone there is nothing to compare with.
	if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "raw-zone")); err != nil {
		t.Fatal(err)
	}
	if r := audited(t, 0, "--lake", lake); r.ComparedRaw > 0 || r.Counts[sink.TopicNotCompared] != 1 {
		t.Errorf("%+v", r)
	}
	exits(t, 2, "audit", "rows", "--lake", lake, "--deep")
}

// orderOf reads the objects of a lake's order, by their first offset.
func orderOf(t *testing.T, lake string) (names []string, segments []raw.Segment) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(lake, "_lakefeed", "raw-zone", "rows", "order", "*", "*", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		var s raw.Segment
		if err := json.Unmarshal([]byte(readFile(t, name)), &s); err != nil {
			t.Fatal(err)
		}
		segments = append(segments, s)
	}
	return names, segments
}

// change writes what is made of a file's content in its place.
func change(t *testing.T, name string, to func([]byte) []byte) {
	t.Helper()
	body := to([]byte(readFile(t, name)))
	if err := os.Remove(name); err != nil { // whatever it is linked to stays
		t.Fatal(err)
	}
	writeFile(t, name, string(body))
}

// repack changes what is packed with zstd.
func repack(t *testing.T, to func([]byte) []byte) func([]byte) []byte {
	return func(packed []byte) []byte {
		dec, _ := zstd.NewReader(nil)
		text, err := dec.DecodeAll(packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		enc, _ := zstd.NewWriter(nil)
		return enc.EncodeAll(to(text), nil)
	}
}

// What is wrong with the raw zone is found and named, by kind, object and offsets; and
// with the raw zone what is wrong with the lake.
func TestAuditOfDamagedRawZone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake := filepath.Join(dir, "lake")
	for i, name := range []string{"a.csv", "b.csv", "c.csv"} { // one topic partition, one behind the other
		writeFile(t, filepath.Join(dir, name), rowsHeader+rowsCSV(i*2000, i*2000+2000))
		ok(t, "ingest", filepath.Join(dir, name), "--lake", lake, "--table", "rows", "--flush-size", "20kB", "--raw-zone", "--partitions", "1")
	}
	_, segments := orderOf(t, lake)
	streams := map[string]string{} // folder of the copy by object
	for _, s := range segments {
		for _, run := range s.Runs {
			if run.End {
				streams[filepath.Base(run.Source)] = filepath.Join("_lakefeed", "raw-zone", "rows", "objects", run.Stream.String())
			}
		}
	}
	if len(streams) != 3 {
		t.Fatal(streams)
	}
	piece := func(t *testing.T, lake, object string) string {
		names, err := filepath.Glob(filepath.Join(lake, streams[object], "*.zst"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		return names[0]
	}
	for _, damage := range []struct {
		name  string
		do    func(t *testing.T, lake string)
		found string
		code  int
		rows  int64 // that are named
		says  []string
	}{
		{"nothing", func(*testing.T, string) {}, "", 0, 0, nil},
		{"an object is gone", func(t *testing.T, lake string) { os.RemoveAll(filepath.Join(lake, streams["b.csv"])) }, "damage raw-missing", 9, 2000, []string{"there is no copy of the object", "offsets 2001 to "}},
		{"the first object is gone", func(t *testing.T, lake string) { os.RemoveAll(filepath.Join(lake, streams["a.csv"])) }, "warning raw-missing", 0, 2000, []string{"there is no copy of the object", "before the raw zone was begun"}},
		{"a piece is gone", func(t *testing.T, lake string) { os.Remove(piece(t, lake, "b.csv")) }, "damage raw-damaged", 9, 2000, []string{"b.csv", "its copy ends"}},
		{"a description is gone", func(t *testing.T, lake string) { os.Remove(filepath.Join(lake, streams["c.csv"], "object.json")) }, "damage raw-damaged", 9, 2000, []string{"object.json"}},
		{"a description is none", func(t *testing.T, lake string) {
			change(t, filepath.Join(lake, streams["c.csv"], "object.json"), func([]byte) []byte { return []byte("{") })
		}, "damage raw-damaged", 9, 2000, []string{"object.json of the raw zone is not what was written"}},
		{"a piece is cut", func(t *testing.T, lake string) {
			change(t, piece(t, lake, "b.csv"), func(b []byte) []byte { return b[:len(b)/2] })
		}, "damage raw-damaged", 9, 2000, []string{".zst of the raw zone is not what was written"}},
		{"a piece lacks its end", func(t *testing.T, lake string) {
			change(t, piece(t, lake, "b.csv"), repack(t, func(b []byte) []byte { return b[:len(b)-100] }))
		}, "damage raw-damaged", 9, 2000, []string{"its name says"}},
		{"a cell is another", func(t *testing.T, lake string) {
			change(t, piece(t, lake, "b.csv"), repack(t, func(b []byte) []byte { return bytes.Replace(b, []byte("\n3000,"), []byte("\n9000,"), 1) }))
		}, "damage raw-damaged", 9, 2000, []string{"b.csv", "are not those that were sent"}},
		{"an order is gone in the middle", func(t *testing.T, lake string) {
			names, _ := orderOf(t, lake)
			os.Remove(names[2])
		}, "damage raw-missing", 9, 2000, []string{"neither the topic nor a raw zone has them", "the order of offsets before, and not of these"}},
		{"the first order is gone", func(t *testing.T, lake string) {
			names, _ := orderOf(t, lake)
			os.Remove(names[0])
		}, "warning topic-removed", 0, 2000, []string{"neither the topic nor a raw zone has them: "}},
		{"an order is none", func(t *testing.T, lake string) {
			names, _ := orderOf(t, lake)
			change(t, names[2], func(b []byte) []byte { return b[:len(b)-3] })
		}, "damage raw-damaged", 9, 2000, []string{"/order/"}},
		{"an order lacks messages", func(t *testing.T, lake string) {
			names, segments := orderOf(t, lake)
			s := segments[2]
			s.Runs = s.Runs[:len(s.Runs)-1]
			b, _ := json.Marshal(s)
			change(t, names[2], func([]byte) []byte { return b })
		}, "damage raw-differs", 9, -1, []string{"none by the order of the raw zone"}},
		{"all of it is gone", func(t *testing.T, lake string) {
			os.RemoveAll(filepath.Join(lake, "_lakefeed", "raw-zone"))
		}, "", 0, 0, []string{"topic-not-compared"}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			lake := copyOf(t, lake)
			forgetTopic(t, lake)
			damage.do(t, lake)
			r := audited(t, damage.code, "--lake", lake)
			if have := strings.Join(worst(r), ", "); have != damage.found {
				t.Errorf("found %q, want %q", have, damage.found)
			}
			b, _ := json.MarshalIndent(r, "", " ")
			rows := int64(0)
			for _, f := range r.Findings {
				if f.Level != sink.Note {
					rows += f.Rows
				}
			}
			differs := damage.found == "damage raw-differs" // all is there, and compared
			if !differs && rows != damage.rows {
				t.Errorf("%d rows are named, want %d", rows, damage.rows)
			}
			if damage.found != "" && !differs && r.ComparedRaw != r.Rows-rows {
				t.Errorf("%d rows were compared of the %d that could be", r.ComparedRaw, r.Rows-rows)
			}
			text := run(t, "audit", "rows", "--lake", lake).stdout
			for _, say := range damage.says {
				if !strings.Contains(text, say) {
					t.Errorf("nothing of %q in %s\n%s", say, text, b)
				}
			}
			if damage.found != "" {
				want := strings.Replace(damage.found, "warning", "damage", 1)
				if have := strings.Join(worst(audited(t, 9, "--lake", lake, "--whole-topic")), ", "); have != want {
					t.Errorf("found %q when all must be there, want %q", have, want)
				}
			}
			// Where the topic has all, the raw zone is not read.
			if err := os.CopyFS(filepath.Join(lake, "_lakefeed", "kafka"), os.DirFS(filepath.Join(dir, "lake", "_lakefeed", "kafka"))); err != nil {
				t.Fatal(err)
			}
			wantAll(t, audited(t, 0, "--lake", lake), sink.WithTopic)
		})
	}

	t.Run("a row is another, and its sum", func(t *testing.T) {
		t.Parallel()
		lake := copyOf(t, lake)
		forgetTopic(t, lake)
		forge(t, lake, piece(t, lake, "b.csv"), filepath.Base(streams["b.csv"]), 1000)
		if r := audited(t, 9, "--lake", lake); strings.Join(worst(r), ", ") != "damage stream-hash" {
			t.Errorf("found %q: %+v", worst(r), r.Findings)
		}
		r := audited(t, 9, "--lake", lake, "--deep")
		if strings.Join(worst(r), ", ") != "damage cells-differ, damage stream-hash" {
			t.Errorf("found %q", worst(r))
		}
		if b, _ := json.Marshal(r.Findings); !bytes.Contains(b, []byte("the lake has 3000, the raw zone 9000")) {
			t.Errorf("%s", b)
		}
	})
}

// forge changes a row of a copy, and the sum of it in the order.
func forge(t *testing.T, lake, piece, stream string, number int) {
	t.Helper()
	var rows [][]byte
	change(t, piece, repack(t, func(b []byte) []byte {
		rows = bytes.Split(b, []byte("\n"))
		rows[number+1] = append([]byte("9"), rows[number+1][1:]...) // behind the header
		return bytes.Join(rows, []byte("\n"))
	}))
	id := schema.StreamID([]byte(stream))
	names, segments := orderOf(t, lake)
	for i, s := range segments {
		for k := range s.Runs {
			run := &s.Runs[k]
			if run.End || run.Stream != id || int64(number) < run.Row || int64(number) >= run.Row+run.Count {
				continue
			}
			var sum schema.Sum128
			for n := run.Row; n < run.Row+run.Count; n++ {
				hi, lo, _ := wire.RowHash(nil, wire.AppendKey(nil, id, n), rows[n+1])
				sum.Add(hi, lo)
			}
			if run.Sum == sum.String() {
				t.Fatal("the sum is the same")
			}
			run.Sum = sum.String()
			b, _ := json.Marshal(s)
			change(t, names[i], func([]byte) []byte { return b })
			return
		}
	}
	t.Fatal("no run has the row")
}

// Where retention has passed, offsets are compared with the raw zone or with nothing,
// and the rest with the topic; the report says which.
func TestAuditAfterRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	at := []string{"--lake", filepath.Join(dir, "lake"), "--brokers", brokers}
	send := func(name string, from, to int, flags ...string) {
		writeFile(t, filepath.Join(dir, name), rowsHeader+rowsCSV(from, to))
		ok(t, append(append([]string{"ingest", filepath.Join(dir, name), "--table", "rows", "--partitions", "1", "--flush-size", "10kB"}, flags...), at...)...)
	}
	remove := func(offset int64) { removeBelow(t, brokers, "rows", offset) }
	send("before.csv", 0, 1000) // and its end
	send("a.csv", 1000, 2000, "--raw-zone")
	send("b.csv", 2000, 3000)
	wantAll(t, audited(t, 0, at...), sink.WithTopic)

	// A record that begins in the raw zone and ends in the topic is compared with both.
	remove(1500)
	r := audited(t, 0, append(at, "--deep")...)
	if have := strings.Join(worst(r), ", "); have != "warning topic-removed" || r.ComparedRaw != 499 || r.Compared != 1501 || r.Hashed != 2 {
		t.Errorf("found %q, %+v", have, r)
	}
	text := ok(t, append([]string{"audit", "rows"}, at...)...).stdout
	for _, say := range []string{
		"compared with the topic: 1,501 rows, with the raw zone: 499 rows by number and identity",
		"rows/0, offsets 0 to 1000: not compared: neither the topic nor a raw zone has them",
		"rows/0, offsets 1001 to 1499: compared with the raw zone",
		"rows/0, offsets 1500 to 3002: compared with the topic",
	} {
		if !strings.Contains(text, say) {
			t.Errorf("nothing of %q in %s", say, text)
		}
	}
	if r := audited(t, 9, append(at, "--whole-topic")...); strings.Join(worst(r), ", ") != "damage topic-removed" {
		t.Errorf("found %q", worst(r))
	}

	// A rebuild needs what was sent before the raw zone was begun, and says from where.
	if r := exits(t, 4, append([]string{"rebuild", "rows"}, at...)...); !strings.Contains(r.stderr, "rows/0@0,") || !strings.Contains(r.stderr, "the raw zone does not have it either") {
		t.Errorf("%v", r)
	}
}
