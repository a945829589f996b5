package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/schema/fault"
)

// everyRow has each row of the live generation of a lake's table rows, and of its
// quarantine, with all cells as text, sorted.
func everyRow(t *testing.T, lake string) (out []string) {
	t.Helper()
	suffix := ""
	if live := generationOf(t, lake); live > 1 {
		suffix = fmt.Sprintf(".g%d", live)
	}
	for _, folder := range []string{"rows" + suffix, "rows__quarantine" + suffix} {
		if !exists(filepath.Join(lake, folder)) {
			continue
		}
		x := readTable(t, lake, folder)
		names := []string{}
		for name := range x.columns {
			names = append(names, name)
		}
		slices.Sort(names)
		x.pad(x.rows)
		for i := range x.rows {
			row := folder[:min(len(folder), len("rows__quarantine"))]
			for _, name := range names {
				if cells := x.columns[name]; i < len(cells) && !strings.HasPrefix(name, "schema_version") {
					row += fmt.Sprintf("|%s=%v", name, cells[i])
				}
			}
			row = strings.Replace(row, suffix, "", 1)
			out = append(out, row)
		}
	}
	slices.Sort(out)
	return out
}

// sameRows compares what two lakes have.
func sameRows(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("%s: there is nothing to compare with", what)
	}
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s: %d rows, want %d; the first that differs is\n%s\nand not\n%s", what, len(got), len(want), g, w)
		}
	}
}

// rawLake has a table of everything that can come in, with its raw zone, each source
// taken in by a run of its own and some in several.
func rawLake(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	in := filepath.Join(dir, "in")
	text := func(from, to int, v string) string {
		var s strings.Builder
		s.WriteString("id,v,note\n")
		for i := from; i < to; i++ {
			fmt.Fprintf(&s, "%d,%s,\"a \"\"note\"\", %d\nof two lines\"\n", i, strings.ReplaceAll(v, "#", fmt.Sprint(i)), i)
		}
		return s.String()
	}
	writeFile(t, filepath.Join(in, "ints.csv"), text(0, 3000, "#"))
	writeFile(t, filepath.Join(in, "semicolons.csv"), "# a remark\nid;v;note\n"+strings.Repeat("7;8;\"x;y\"\n\n", 50)+"9;NA;\n9;\"NA\";\"\"\n")
	writeFile(t, filepath.Join(in, "reject.csv"), text(3000, 3100, "#")+"1,2\n1,2,\"never closed\n3,4,5\n")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(text(4000, 7000, "#.25")))
	z.Close()
	writeFile(t, filepath.Join(in, "packed.csv.gz"), packed.String())
	packed.Reset()
	z.Reset(&packed)
	z.Write([]byte("id,v,note\n" + strings.Repeat("4000,1,"+strings.Repeat("long ", 30)+"\n", 8_000) + "\nSource: the register of notes\nas of yesterday\n"))
	z.Close()
	writeFile(t, filepath.Join(in, "footer.csv.gz"), packed.String())
	enc, _ := zstd.NewWriter(nil)
	writeFile(t, filepath.Join(in, "packed.csv.zst"), string(enc.EncodeAll([]byte(text(7000, 8000, "#")), nil)))
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text(8000, 8500, "#") + "1,2,größer\n")) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	writeFile(t, filepath.Join(in, "wide.csv"), string(wide))
	writeFile(t, filepath.Join(in, "grows.csv"), text(9000, 9100, "#"))
	args := []string{"--lake", filepath.Join(dir, "lake"), "--table", "rows", "--meta", "--raw-zone", "--flush-size", "60kB", "--quarantine-max-share", "100%"}
	ok(t, append([]string{"ingest", in}, args...)...)
	appendFile(t, filepath.Join(in, "grows.csv"), "9100,1,more\n9101,x,and more\n")
	writeFile(t, filepath.Join(in, "ints.csv"), text(0, 10, "changed #"))
	ok(t, append([]string{"ingest", in}, args...)...)
	writeFile(t, filepath.Join(dir, "piped.csv"), text(9500, 9900, "#"))
	stdin, err := os.Open(filepath.Join(dir, "piped.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if r := start(t, stdin, append([]string{"ingest", "-", "--stream", "piped"}, args...)...).wait(t); r.code != 0 {
		t.Fatal(r)
	}
	return dir
}

// copyOf copies a lake, so that something can be done to it.
func copyOf(t *testing.T, lake string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "lake")
	if err := os.CopyFS(to, os.DirFS(lake)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Built from the raw zone when its topic was deleted a table has the rows that it has
// when it is built from the topic: every cell, and where each row came from.
func TestRebuildFromRawZone(t *testing.T) {
	t.Parallel()
	dir := rawLake(t)
	lake := filepath.Join(dir, "lake")
	fromTopic := copyOf(t, lake)
	ok(t, "rebuild", "rows", "--lake", fromTopic)
	want := everyRow(t, fromTopic)
	forget := func(t *testing.T) string {
		lake := copyOf(t, lake)
		if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "kafka")); err != nil {
			t.Fatal(err)
		}
		return lake
	}
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		lake := forget(t)
		ok(t, "rebuild", "rows", "--lake", lake, "--dry-run")
		for n := 2; n <= 3; n++ { // the new generation can be built again, too
			ok(t, "rebuild", "rows", "--lake", lake)
			sameRows(t, fmt.Sprintf("generation %d", n), everyRow(t, lake), want)
			if live := generationOf(t, lake); live != n {
				t.Fatalf("generation %d is live, want %d", live, n)
			}
		}
		// The feed goes on: what is sent again to another topic is there once. (Of files
		// that have changed since another version would be the first.)
		writeFile(t, filepath.Join(lake, "..", "new.csv"), "id,v,note\n99999,1,new\n")
		ok(t, "ingest", filepath.Join(dir, "in", "*packed*"), filepath.Join(dir, "in", "wide.csv"), filepath.Join(lake, "..", "new.csv"), "--lake", lake, "--table", "rows", "--meta", "--quarantine-max-share", "100%")
		if have := len(everyRow(t, lake)); have != len(want)+1 {
			t.Errorf("%d rows after the feed went on, want %d", have, len(want)+1)
		}
		// Its log and the one before give the table together.
		more := everyRow(t, lake)
		ok(t, "rebuild", "rows", "--lake", lake)
		sameRows(t, "built from two topics", everyRow(t, lake), more)
		if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "kafka")); err != nil {
			t.Fatal(err)
		}
		ok(t, "rebuild", "rows", "--lake", lake)
		sameRows(t, "built from two topics that are gone", everyRow(t, lake), more)
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		zone := filepath.Join("_lakefeed", "raw-zone", "rows")
		first := func(t *testing.T, lake, pattern string) string {
			names, err := filepath.Glob(filepath.Join(lake, zone, pattern))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			return names[0]
		}
		for _, damage := range []struct {
			name string
			do   func(t *testing.T, lake string)
			says []string
		}{
			{"an object is gone", func(t *testing.T, lake string) {
				os.RemoveAll(filepath.Dir(first(t, lake, "objects/*/object.json")))
			}, []string{"there is no copy of the object", "rows/"}},
			{"a piece is gone", func(t *testing.T, lake string) { os.Remove(first(t, lake, "objects/*/*.zst")) }, []string{"its copy has no byte", "rows/"}},
			{"a piece is another", func(t *testing.T, lake string) {
				dec, _ := zstd.NewReader(nil)
				enc, _ := zstd.NewWriter(nil)
				names, err := filepath.Glob(filepath.Join(lake, zone, "objects", "*", "*.zst"))
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					text, err := dec.DecodeAll([]byte(readFile(t, name)), nil)
					if err != nil {
						t.Fatal(err)
					}
					other := bytes.ReplaceAll(text, []byte("7"), []byte("8"))
					if len(text) < 1000 || bytes.Equal(other, text) { // it may have nothing but a header, or no 7
						continue
					}
					os.Remove(name)
					writeFile(t, name, string(enc.EncodeAll(other, nil)))
					return
				}
				t.Fatal("no piece can be made another")
			}, []string{"of its copy are not those that were sent", "rows/"}},
			{"an order is gone", func(t *testing.T, lake string) { os.Remove(first(t, lake, "order/*/*/*.json")) }, []string{"the raw zone does not have it either", "rows/0@0"}},
			{"all of it is gone", func(t *testing.T, lake string) { os.RemoveAll(filepath.Join(lake, zone)) }, []string{"raw zone has nothing"}},
		} {
			t.Run(damage.name, func(t *testing.T) {
				t.Parallel()
				lake := forget(t)
				before := everyRow(t, lake)
				damage.do(t, lake)
				r := run(t, "rebuild", "rows", "--lake", lake)
				if r.code == 0 {
					t.Fatalf("%v", r)
				}
				for _, text := range damage.says {
					if !strings.Contains(r.stderr, text) {
						t.Errorf("nothing of %q in %v", text, r)
					}
				}
				if generationOf(t, lake) != 1 {
					t.Error("another generation is live")
				}
				sameRows(t, "afterwards", everyRow(t, lake), before)
			})
		}
	})
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		points := append([]string{fault.FileStaged, fault.RecordCreate, fault.RecordCreated, fault.FilePublish, fault.SchemaAppended}, fault.RebuildPoints...)
		if !long() {
			points = []string{fault.Inferred, fault.RecordCreated, fault.SetChange}
		}
		for _, point := range points {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				lake := forget(t)
				for n := 1; n <= 2; n++ {
					if r := run(t, "rebuild", "rows", "--lake", lake, "--flush-size", "60kB", "--fault", fmt.Sprintf("%s:%d:kill", point, n)); r.code != -1 && (n == 1 || r.code != 0) && point != fault.CatalogWrite {
						t.Fatalf("passing %d: %v", n, r)
					}
				}
				ok(t, "rebuild", "rows", "--lake", lake)
				sameRows(t, "after it was killed", everyRow(t, lake), want)
			})
		}
	})
}

// A run that keeps a raw zone is killed at each point: what has come to the table can
// be built again without the topic whenever that is.
func TestRawZoneFaultPoints(t *testing.T) {
	t.Parallel()
	points := append(slices.Clone(fault.RawPoints), fault.BatchSend, fault.BatchSent, fault.ProgressWritten, fault.EndSend, fault.EndSent, fault.BatchTaken, fault.RecordCreate, fault.RecordCreated, fault.FilePublish)
	passings := 4
	if !long() {
		points, passings = []string{fault.RawWrite, fault.RawWritten, fault.BatchSent, fault.RecordCreate}, 2
	}
	in := t.TempDir()
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, 12_500)+"no row\n"+rowsCSV(12_500, 25_000))
	writeFile(t, filepath.Join(in, "b.csv"), "extra,text,id\n1,x,25000\n2,y,25001\n")
	for _, point := range points {
		for _, action := range []string{"fail", "kill"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				lake := filepath.Join(t.TempDir(), "lake")
				args := []string{"ingest", in, "--lake", lake, "--table", "rows", "--flush-size", "300kB", "--meta", "--raw-zone"}
				for n := 1; n <= passings; n++ {
					r := run(t, append(args, "--fault", fmt.Sprintf("%s:%d:%s", point, n, action))...)
					if n == 1 && (action == "kill" && r.code != -1 || action == "fail" && (r.code == 0 || !strings.Contains(r.stderr, point))) {
						t.Fatalf("passing %d: the point was not passed, or its fault not told: %v", n, r)
					}
					if !exists(filepath.Join(lake, "rows")) || run(t, "files", "rows", "--lake", lake).code != 0 {
						continue
					}
					now := copyOf(t, lake)
					before := everyRow(t, now)
					if len(before) == 0 {
						continue
					}
					if err := os.RemoveAll(filepath.Join(now, "_lakefeed", "kafka")); err != nil {
						t.Fatal(err)
					}
					ok(t, "rebuild", "rows", "--lake", now)
					// A record that was decided and not published is in the new generation.
					if after := everyRow(t, now); len(after) < len(before) {
						t.Fatalf("passing %d: %d rows after the rebuild, and %d before", n, len(after), len(before))
					}
				}
				ok(t, args...)
				want := everyRow(t, lake)
				if err := os.RemoveAll(filepath.Join(lake, "_lakefeed", "kafka")); err != nil {
					t.Fatal(err)
				}
				ok(t, "rebuild", "rows", "--lake", lake)
				sameRows(t, "at the end", everyRow(t, lake), want)
				readTable(t, lake, "rows.g2").eachOnce(t, "id", 25_002)
			})
		}
	}
}

// What retention has removed comes from the raw zone, and the rest from the topic,
// while processes of their own produce and consume.
func TestRawZoneAndRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	state := filepath.Join(dir, "state")
	at := []string{"--lake", lake, "--state", state, "--brokers", brokers}
	produce := func(name string, from, to int) {
		writeFile(t, filepath.Join(in, name), rowsHeader+rowsCSV(from, to))
		ok(t, append([]string{"produce", filepath.Join(in, name), "--topic", "rows", "--partitions", "2", "--raw-zone"}, at...)...)
	}
	consume := append([]string{"consume", "--drain", "--table", "rows", "--meta", "--flush-size", "20kB"}, at...)
	produce("a.csv", 0, 2000)
	produce("b.csv", 2000, 4000)
	ok(t, consume...) // it finds that there is a raw zone
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	remove := func(offset int64) {
		for p := range int32(2) {
			cut := kmsg.NewPtrDeleteRecordsRequest()
			cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "rows", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: p, Offset: offset}}}}
			if r, err := cut.RequestWith(t.Context(), client); err != nil {
				t.Fatal(err, r)
			}
		}
	}
	remove(700) // of the topic partitions that have so many
	produce("c.csv", 4000, 5000)
	rebuild := append([]string{"rebuild", "rows"}, at...)
	ok(t, rebuild...)
	x := readTable(t, lake, "rows.g2")
	x.eachOnce(t, "id", 5000)
	if found, err := filepath.Glob(filepath.Join(lake, "_lakefeed", "raw-zone", "*")); err != nil || len(found) > 0 {
		t.Errorf("the raw zone is within reach of readers: %v", found)
	}
	remove(1500)
	ok(t, rebuild...)
	readTable(t, lake, "rows.g3").eachOnce(t, "id", 5000)
	// What is missing is refused.
	produce("d.csv", 5000, 6000)
	ok(t, consume...)
	zone := filepath.Join(state, "_lakefeed", "raw-zone", "rows", "order")
	names, err := filepath.Glob(filepath.Join(zone, "*", "*", fmt.Sprintf("%020d-*.json", 0)))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		os.Remove(name)
	}
	if r := exits(t, 4, rebuild...); !strings.Contains(r.stderr, "raw zone does not have it either") || !strings.Contains(r.stderr, "@0") {
		t.Errorf("%v", r)
	}
}

// A rebuild that needs what is in no raw zone is refused, and names the first offset:
// messages that lakefeed did not write, objects of a producer that kept no copies, what
// came before the raw zone was begun. While the topic has them it is not.
func TestRebuildOfWhatTheRawZoneLacks(t *testing.T) {
	t.Parallel()
	for _, lack := range []struct {
		name    string
		send    func(t *testing.T, produce func(name string, flags ...string), others func())
		first   int64 // offset that only the topic has
		says    string
		finding string // of the audit
	}{
		{"messages of others", func(t *testing.T, produce func(string, ...string), others func()) {
			produce("a.csv", "--raw-zone")
			others()
			produce("b.csv", "--raw-zone")
		}, 101, "it is a message that lakefeed did not write", "warning topic-removed"},
		{"an object that was not copied", func(t *testing.T, produce func(string, ...string), others func()) {
			produce("a.csv", "--raw-zone")
			produce("b.csv")
			produce("c.csv", "--raw-zone")
		}, 101, "there is no copy of the object", "damage raw-missing"},
		{"an object before the copies", func(t *testing.T, produce func(string, ...string), others func()) {
			produce("a.csv")
			produce("b.csv", "--raw-zone")
		}, 0, "there is no copy of the object", "warning raw-missing"},
	} {
		t.Run(lack.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			brokers := startKafka(t, filepath.Join(dir, "kafka"))
			client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			at := []string{"--lake", filepath.Join(dir, "lake"), "--brokers", brokers}
			rows := 0
			lack.send(t, func(name string, flags ...string) {
				writeFile(t, filepath.Join(dir, name), rowsHeader+rowsCSV(rows, rows+100))
				rows += 100
				ok(t, append(append([]string{"produce", filepath.Join(dir, name), "--topic", "rows", "--partitions", "1"}, flags...), at...)...)
			}, func() {
				for i := range 3 {
					if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "rows", Key: []byte("a key"), Value: fmt.Appendf(nil, "message %d", i)}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			})
			ok(t, append([]string{"consume", "--drain", "--table", "rows", "--meta", "--quarantine-max-share", "100%"}, at...)...)
			before := everyRow(t, filepath.Join(dir, "lake"))
			remove := func(offset int64) { removeBelow(t, brokers, "rows", offset) }
			rebuild := append([]string{"rebuild", "rows"}, at...)
			if remove(lack.first); lack.first > 0 { // what is before comes from the raw zone
				ok(t, rebuild...)
				sameRows(t, "while the topic has the rest", everyRow(t, filepath.Join(dir, "lake")), before)
			}
			live := generationOf(t, filepath.Join(dir, "lake"))
			remove(lack.first + 1)
			for range 2 { // refused it is as it was
				r := exits(t, 4, rebuild...)
				for _, say := range []string{fmt.Sprintf("rows/0@%d,", lack.first), fmt.Sprintf("begins at offset %d now", lack.first+1), lack.says, "the table is left as it is"} {
					if !strings.Contains(r.stderr, say) {
						t.Errorf("nothing of %q in %v", say, r)
					}
				}
			}
			if now := generationOf(t, filepath.Join(dir, "lake")); now != live {
				t.Errorf("generation %d is live, want %d", now, live)
			}
			sameRows(t, "afterwards", everyRow(t, filepath.Join(dir, "lake")), before)
			code := 0
			if strings.HasPrefix(lack.finding, "damage") {
				code = 9
			}
			if have := strings.Join(worst(audited(t, code, at...)), ", "); have != lack.finding {
				t.Errorf("the audit found %q, want %q", have, lack.finding)
			}
		})
	}
}
