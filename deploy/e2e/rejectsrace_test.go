package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lakefeed/deploy/testbed/s3test"
	"lakefeed/schema/fault"
)

// A replay that is decided between the listing of the quarantine and the reading of a
// file of it takes that file away: `rejects` lists again, and shows what one moment had.
func TestRejectsBesideAReplay(t *testing.T) {
	const each = 20
	causes := []string{"null", "type_change", "missing_column"}
	// filled is a lake with so many rows of each cause in quarantine, a file each. of are
	// the files' causes by their keys.
	filled := func(t *testing.T) (l *bucketLake, conf string, of map[string]string) {
		t.Helper()
		l = newBucketLake(t)
		conf = filepath.Join(l.dir, "lakefeed.yaml")
		config := func(schema string) {
			writeFile(t, conf, fmt.Sprintf("lake: s3://lake/feeds\nkafka_dir: %s\nfeeds:\n  - {table: t, source: in, meta: true, schema: %s}\n", filepath.Join(l.dir, "kafka"), schema))
		}
		config(strictSchema)
		in := func(name, header, row string) {
			writeFile(t, filepath.Join(l.dir, "in", name+".csv"), header+"\n"+strings.Repeat(row+"\n", each))
		}
		in("good", "id,n,s", "1,2,s")
		ok(t, "ingest", "-c", conf)
		of = map[string]string{}
		for i, text := range [][2]string{{"id,n,s", ",2,s"}, {"id,n,s", "3,n,s"}, {"id,s", "4,s"}} {
			in(causes[i], text[0], text[1])
			exits(t, 3, "ingest", "-c", conf)
			for _, key := range l.server.Keys("lake", "feeds/t__quarantine/part-") {
				if of[key] == "" {
					of[key] = causes[i]
				}
			}
		}
		config(laxSchema)
		return l, conf, of
	}
	// shown are the rows that are shown, by cause.
	shown := func(t *testing.T, conf string) map[string]int {
		t.Helper()
		var list struct {
			Rows   int
			Causes []struct {
				Rule string
				Rows int
			}
		}
		if err := json.Unmarshal([]byte(ok(t, "rejects", "t", "-c", conf, "-o", "json").stdout), &list); err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, c := range list.Causes {
			out[c.Rule] += c.Rows
			list.Rows -= c.Rows
		}
		if list.Rows != 0 {
			t.Errorf("the causes have not as many rows as all: %+v", list)
		}
		return out
	}
	quarantine := func(c s3test.Call) bool {
		return c.Operation == s3test.GetObject && strings.Contains(c.Key, "t__quarantine/part-")
	}
	for replays := range len(causes) + 1 {
		t.Run(fmt.Sprint(replays, " replays"), func(t *testing.T) {
			l, conf, of := filled(t)
			if have := shown(t, conf); len(have) != len(causes) || have["null"] != each || len(of) != len(causes) {
				t.Fatalf("before: %v, in files %v", have, of)
			}
			// A file is taken away when it is about to be read; other requests, those of the
			// replay among them, are passed on meanwhile.
			var busy atomic.Bool
			done, gone := map[string]bool{}, 0
			l.proxy.Before(func(c s3test.Call) *s3test.Fault {
				if !quarantine(c) || !busy.CompareAndSwap(false, true) {
					return nil
				}
				defer busy.Store(false)
				if cause := of[c.Key]; cause != "" && !done[cause] && len(done) < replays {
					done[cause] = true
					if r := run(t, "rejects", "replay", "t", "-c", conf, "--where", "rule="+cause); r.code != 0 {
						t.Errorf("replay: %v", r)
					}
					if l.server.Get("lake", c.Key) == nil {
						gone++
					}
				}
				return nil
			})
			have := shown(t, conf)
			l.proxy.Before(nil)
			until(t, "no replay is under way", func() bool { return !busy.Load() })
			if gone != replays {
				t.Errorf("%d files were taken away before they were read, by %d replays", gone, replays)
			}
			want := map[string]int{}
			for _, cause := range causes {
				if !done[cause] {
					want[cause] = each
				}
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%v is shown, want %v", have, want)
			}
			if after := shown(t, conf); fmt.Sprint(after) != fmt.Sprint(want) {
				t.Errorf("%v is shown afterwards, want %v", after, want)
			}
		})
	}
	// A replay that has died when it was decided, and before its files were visible.
	for _, point := range []string{fault.RecordCreated, fault.FilePublished} {
		t.Run("killed at "+point, func(t *testing.T) {
			_, conf, _ := filled(t)
			if r := run(t, "rejects", "replay", "t", "-c", conf, "--where", "rule=null", "--fault", point+":1:kill"); r.code != -1 {
				t.Fatalf("%v", r)
			}
			have := shown(t, conf)
			if n := have["null"]; n != 0 && n != each || have["type_change"] != each || have["missing_column"] != each {
				t.Errorf("%v is shown", have)
			}
			ok(t, "rejects", "replay", "t", "-c", conf, "--where", "rule=null")
			if have := shown(t, conf); len(have) != 2 {
				t.Errorf("%v is shown afterwards", have)
			}
		})
	}
	// A file that is gone for good is no race.
	t.Run("a file is gone", func(t *testing.T) {
		l, conf, _ := filled(t)
		l.proxy.Before(func(c s3test.Call) *s3test.Fault {
			if quarantine(c) {
				return &s3test.Fault{Status: 404, Code: "NoSuchKey", Message: "gone"}
			}
			return nil
		})
		if r := run(t, "rejects", "t", "-c", conf); r.code == 0 || !strings.Contains(r.stderr, "t__quarantine/part-") {
			t.Errorf("%v", r)
		}
	})
}
