package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lakefeed/deploy/testbed"
)

// Rows in quarantine are put back in a lake on S3 by an in-process server, and by
// MinIO with a real Kafka; for a feed with masks, whose quarantine has no bytes of the
// rows, so that they are read from the topic again.
func TestRejectsAreReplayedOnS3(t *testing.T) {
	l := newBucketLake(t)
	replayMasked(t, l.at("key"), "lake", "kafka_dir: "+filepath.Join(l.dir, "kafka"), "people")
}

func TestStackRejectsAreReplayed(t *testing.T) {
	server, kafka := testbed.MinIO(t), testbed.Kafka(t)
	server.Setenv(t)
	replayMasked(t, server, server.Bucket(t), fmt.Sprintf("kafka: {bootstrap.servers: %q}", kafka.Brokers), strings.ReplaceAll(testbed.Name("people"), "-", "_"))
}

// replayMasked fills a table with 100 good rows, and 20 of each kind of bad ones, and
// puts these back by another configuration.
func replayMasked(t *testing.T, server *testbed.S3, bucket, kafka, name string) {
	t.Helper()
	const canary = "canary"
	dir := t.TempDir()
	ids, bad := 0, 0
	var text strings.Builder
	row := func(format string) {
		text.WriteString(strings.ReplaceAll(format, "ID", strconv.Itoa(ids)) + "\n")
		ids++
	}
	text.WriteString("id,email,n\n")
	for range 100 {
		row("ID," + canary + "ID@naïve.org,ID")
	}
	for range 20 {
		row("ID," + canary + "ID@example.org,nID") // no number
		row("ID," + canary + "ID@caf\xe9.org,ID")  // no UTF-8
		row("ID,ID," + canary + ",too,many")
		row("ID,,ID") // no address
		bad += 4
	}
	writeFile(t, filepath.Join(dir, "people.csv"), text.String())
	writeFile(t, filepath.Join(dir, "key"), "the key of the masks, 32 characters")
	conf := filepath.Join(dir, "lakefeed.yaml")
	config := func(form, contract, onError string) {
		writeFile(t, conf, fmt.Sprintf(`
lake: s3://%s/feeds
%s
feeds:
  - table: %s
    source: people.csv
    meta: true
    csv: %s
    schema: %s
    quarantine: {max_share: 100%%}
    transform:
      - {cast: {n: bigint}, on_error: %s}
      - set: {double: n * 2}
      - {mask: {email: hmac}, key: {file: %s}}
`, bucket, kafka, name, form, contract, onError, filepath.Join(dir, "key")))
	}
	config("{encoding: utf-8}", "{contracts: {email: {on_null: reject}}}", "quarantine")
	ok(t, "ingest", "-c", conf)
	read := func(folder string) *table {
		return readTable(t, server.Download(t, bucket, "feeds").Name(), folder)
	}
	if x := read(name); x.rows != ids-bad {
		t.Errorf("%d rows, want %d", x.rows, ids-bad)
	}
	q := read(name + "__quarantine")
	if q.rows != bad {
		t.Errorf("%d rows in quarantine, want %d", q.rows, bad)
	}
	for i := range q.rows {
		if q.columns["raw"][i].ok {
			t.Errorf("the bytes of a row of a feed with masks are in quarantine: %q", q.columns["raw"][i].text)
		}
	}
	exits(t, 3, "rejects", "replay", name, "-c", conf)
	config("{encoding: windows-1252}", "{}", `"null"`)
	r := exits(t, 3, "rejects", "replay", name, "-c", conf)
	if !strings.Contains(r.stdout, "60 of 80 rows") || !strings.Contains(r.stdout, "cell_count: 20 rows") {
		t.Errorf("%v", r)
	}
	exits(t, 3, "rejects", "replay", name, "-c", conf)
	ok(t, "ingest", "-c", conf)
	ok(t, "audit", "--deep", name, "-c", conf)
	x := read(name)
	seen := map[string]int{}
	for i := range x.rows {
		id, n, double, email := x.columns["id"][i].text, x.columns["n"][i], x.columns["double"][i], x.columns["email"][i]
		seen[id]++
		number, _ := strconv.Atoi(id)
		kind := (number - 100) % 4
		switch {
		case email.ok && len(email.text) != 64, email.ok == (number >= 100 && kind == 3):
			t.Errorf("row %s has the address %q", id, email.text)
		case number >= 100 && kind == 0 && (n.ok || double.ok), (number < 100 || kind != 0) && double.text != strconv.Itoa(2*number):
			t.Errorf("row %s: n %v, double %v", id, n, double)
		}
	}
	for n := range ids {
		want := 1
		if n >= 100 && (n-100)%4 == 2 {
			want = 0
		}
		if seen[strconv.Itoa(n)] != want {
			t.Errorf("row %d is there %d times, want %d", n, seen[strconv.Itoa(n)], want)
		}
	}
	if q := read(name + "__quarantine"); q.rows != 20 {
		t.Errorf("%d rows in quarantine, want 20", q.rows)
	}
	for _, key := range server.Keys(t, bucket, "feeds/") {
		if bytes.Contains(server.Get(t, bucket, key), []byte(canary)) {
			t.Errorf("%s has a value in clear", key)
		}
	}
	if strings.Contains(r.String(), canary) {
		t.Errorf("a value is said: %v", r)
	}
	ok(t, "rebuild", name, "-c", conf)
	if x := read(name + ".g2"); x.rows != ids-20 {
		t.Errorf("after a rebuild: %d rows, want %d", x.rows, ids-20)
	}
}
