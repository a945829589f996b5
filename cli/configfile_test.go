package cli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"lakefeed/cli/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each file of testdata/broken.txtar is one broken configuration, followed by all
// that is said of it.
func TestBrokenConfigs(t *testing.T) {
	const golden = "testdata/broken.txtar"
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(text)
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "secret", "canary-in-a-file\n")
	t.Setenv("LAKEFEED_TEST_SECRET", "canary-in-the-environment")
	var out txtar.Archive
	out.Comment = archive.Comment
	broken := 0
	for i, file := range archive.Files {
		name, isYAML := strings.CutSuffix(file.Name, ".yaml")
		if !isYAML {
			continue
		}
		broken++
		input := strings.ReplaceAll(string(file.Data), "→", "\t") // a tab that can be seen
		write(t, "lakefeed.yaml", input)
		code, stdout, said := command(t.Context(), "", "validate")
		if code != exitUsage || stdout != "" {
			t.Errorf("%s: exit %d, %s\n%s", name, code, stdout, said)
		}
		for _, canary := range []string{"canary", "hunter2"} {
			if strings.Contains(said, canary) {
				t.Errorf("%s: what is said has a secret:\n%s", name, said)
			}
		}
		out.Files = append(out.Files, file, txtar.File{Name: name + ".said", Data: []byte(said)})
		if i+1 < len(archive.Files) && archive.Files[i+1].Name == name+".said" {
			if diff := cmp.Diff(string(archive.Files[i+1].Data), said); diff != "" && !*update {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		} else if !*update {
			t.Errorf("%s has no golden text: go test ./cli -run BrokenConfigs -update", name)
		}
	}
	if broken < 60 {
		t.Errorf("only %d broken configurations", broken)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(packageDir, golden), txtar.Format(&out), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

var packageDir, _ = os.Getwd()

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Every key of the file with its value.
func TestConfig(t *testing.T) {
	t.Setenv("LAKEFEED_TEST_TOPIC", "flights: [of, 2013]\nlake: elsewhere")
	t.Setenv("LAKEFEED_TEST_EMPTY", "")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "password"), "hunter2\n")
	f, err := parseConfig(filepath.Join(dir, "lakefeed.yaml"), []byte(`
lake: lakes/one
kafka:
  bootstrap.servers: "k1:9092,k2:9092"
  security.protocol: SASL_SSL
  sasl.username: u$$er
  sasl.password: ${file:password}
memory: 1GiB
feeds:
  - &flights
    table: flights
    source: [in/*.csv, /abs/x.csv, "file:///y"]
    topic: ${LAKEFEED_TEST_EMPTY:-flights}.${LAKEFEED_TEST_NONE:-v1}
    source_name: s3://there/
    partitions: 8
    replication: 3
    csv: {delimiter: tab, quote: "'", escape: double, encoding: utf-16le, header: false, comment: none, headers: 2, skip: 3, trailing: false, padded: false, line_end: crlf, tail: false}
    headers_every_message: true
    partition_by: [date(time_hour), origin]
    meta: true
    flush: {size: 1MB, every: 5m}
    group: mine
    on_data_loss: record
    quarantine: {max_share: 2.5%}
  - <<: *flights
    table: cancelled
    source: other
    topic: cancelled
`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Lake.Lake != filepath.Join(dir, "lakes/one") || f.Memory.Memory != 1<<30 || len(f.Feeds) != 2 {
		t.Errorf("%+v", f)
	}
	if got := f.Kafka.settings().Properties; got["sasl.password"] != "hunter2" || got["sasl.username"] != "u$er" {
		t.Errorf("kafka: %q", got)
	}
	yes, two, no := func(s string) *string { return &s }, func(n int) *int { return &n }, false
	want := feedSettings{
		Feed:   Feed{Table: "flights", SourceName: "s3://there/"},
		Source: []string{filepath.Join(dir, "in/*.csv"), "/abs/x.csv", "file:///y"},
		Topic:  Topic{Topic: "flights.v1", Partitions: 8, Replicas: 3},
		CSV:    CSV{Delimiter: yes("tab"), Quote: yes("'"), Escape: yes("double"), Encoding: yes("utf-16le"), Header: &no, Comment: yes("none"), Headers: two(2), Skip: two(3), Trailing: &no, Padded: &no, LineEnd: yes("crlf"), Tail: &no},
		Send:   Send{Every: true},
		Sink: Sink{
			PartitionBy: []string{"date(time_hour)", "origin"}, Meta: true, Flush: Flush{Size: 1e6, Every: 5 * time.Minute}, Group: "mine",
			OnDataLoss: "record", Quarantine: Quarantine{MaxShare: 0.025},
		},
	}
	if diff := cmp.Diff(want, f.Feeds[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want.Table, want.Topic.Topic, want.Source = "cancelled", "cancelled", []string{filepath.Join(dir, "other")}
	if diff := cmp.Diff(want, f.Feeds[1]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// A value is a value, whatever it looks like.
	_, err = parseConfig("lakefeed.yaml", []byte("feeds:\n  - {table: x, topic: \"${LAKEFEED_TEST_TOPIC}\"}\n"))
	if err == nil || !strings.Contains(err.Error(), "topic name") {
		t.Errorf("a value that is YAML: %v", err)
	}
}

// A flag wins over the environment, that over the file, and the file over the
// default.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "in/a.csv", "a,b\n1,x\n")
	write(t, "lakefeed.yaml", "lake: of-file\nfeeds:\n  - {table: t, source: in, topic: of-file, meta: true}\n")
	run := func(want report, meta bool, args ...string) {
		t.Helper()
		code, out, said := command(t.Context(), "", append(args, "-o", "json")...)
		if code != exitDone {
			t.Fatalf("%v: exit %d\n%s", args, code, said)
		}
		var got struct{ Feeds []report }
		if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Feeds) != 1 {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		r := got.Feeds[0]
		if r.Lake != want.Lake || r.Topic != want.Topic || r.Table != want.Table {
			t.Errorf("%v: lake %s, topic %s, table %s", args, r.Lake, r.Topic, r.Table)
		}
		if has := slices.ContainsFunc(r.Columns, func(c reportColumn) bool { return c.Name == "_source" }); has != meta {
			t.Errorf("%v: meta columns: %v, want %v", args, has, meta)
		}
	}
	run(report{Lake: "of-file", Topic: "of-file", Table: "t"}, true, "ingest")
	t.Setenv("LAKEFEED_LAKE", "of-environment")
	t.Setenv("LAKEFEED_META", "false")
	run(report{Lake: "of-environment", Topic: "of-file", Table: "t"}, false, "ingest")
	run(report{Lake: "of-flag", Topic: "of-flag", Table: "other"}, true, "ingest", "--lake", "of-flag", "--topic", "of-flag", "--table", "other", "--meta")
	// With a source on the command line the file is not read.
	os.Unsetenv("LAKEFEED_META")
	code, out, said := command(t.Context(), "", "ingest", "in/a.csv", "--table", "alone", "-o", "json")
	if code != exitDone || !strings.Contains(out, `"table": "alone"`) || strings.Contains(out, "_source") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	// A table's commands take the lake from the file.
	os.Unsetenv("LAKEFEED_LAKE")
	if code, out, said := command(t.Context(), "", "schema", "show", "t"); code != exitDone || !strings.Contains(out, "1 row") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
}

// Several feeds in one process: one with its own topic, two on one topic, and one
// that fails without stopping them.
func TestFeeds(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a/1.csv", "a,b\n1,x\n2,y\n")
	write(t, "b/1.csv", "c\n1\n2\n3\n")
	write(t, "lakefeed.yaml", `
lake: lake
feeds:
  - {table: one, source: a}
  - {table: two, source: b, topic: shared}
  - {table: three, topic: shared}
  - {table: none, source: missing}
`)
	type feed struct {
		report
		ExitCode int    `json:"exit_code"`
		Error    string `json:"error"`
	}
	var got struct{ Feeds []feed }
	code, out, said := command(t.Context(), "", "ingest", "-o", "json")
	if code != exitUsage || !strings.Contains(said, "feed none: source") || json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("exit %d\n%s%s", code, out, said)
	}
	for i, want := range []feed{
		{report{Table: "one", Topic: "one", Rows: 2, Sent: 2}, exitDone, ""},
		{report{Table: "two", Topic: "shared", Rows: 3, Sent: 3}, exitDone, ""},
		{report{Table: "three", Topic: "shared", Rows: 3}, exitDone, ""},
		{report{Table: "none"}, exitUsage, "missing"},
	} {
		f := got.Feeds[i]
		if f.Table != want.Table || f.Topic != want.Topic || f.Rows != want.Rows || f.Sent != want.Sent || f.ExitCode != want.ExitCode || !strings.Contains(f.Error, want.Error) {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	// One of them alone, produce and consume by the same file, and what they say.
	code, out, said = command(t.Context(), "", "ingest", "--feed", "two")
	if code != exitDone || !strings.Contains(out, "table two: nothing new") || strings.Contains(out, "table one") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	write(t, "a/2.csv", "a,b\n3,z\n")
	code, out, said = command(t.Context(), "", "produce", "--feed", "one", "--feed", "two")
	if code != exitDone || !strings.Contains(out, "topic one: sent 1 row of 2 objects") || !strings.Contains(out, "topic shared: sent 0 rows") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	code, out, said = command(t.Context(), "", "consume", "--drain", "--feed", "one", "--feed", "three")
	if code != exitDone || !strings.Contains(out, "table one: 1 new row") || !strings.Contains(out, "table three: nothing new") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	for _, args := range [][]string{
		{"ingest", "--feed", "ones"}, {"ingest", "--table", "x"}, {"ingest", "-c", "lakefeed.yaml", "a"}, {"produce", "--feed", "three"},
		{"ingest", "-c", "none.yaml"}, {"ingest", "a", "--feed", "one"}, {"produce", "--dry-run"},
	} {
		if code, out, said := command(t.Context(), "", args...); code != exitUsage || out != "" || said == "" {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, said)
		}
	}
	code, out, said = command(t.Context(), "", "validate")
	if code != exitDone || !strings.Contains(out, "4 feeds") || !strings.Contains(out, "shared") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
}

// Every flag of a feed can be in the file, but for those of one run.
func TestFlagsHaveKeys(t *testing.T) {
	alone := []string{"Brokers", "Stream"} // bootstrap.servers says the first; the second is of standard input
	var walk func(reflect.Type)
	walk = func(s reflect.Type) {
		for i := range s.NumField() {
			f := s.Field(i)
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type)
			case f.Tag.Get("help") != "" && strings.Trim(f.Tag.Get("yaml"), "-") == "" && !slices.Contains(alone, f.Name):
				t.Errorf("%s.%s has no key in the file", s.Name(), f.Name)
			}
		}
	}
	walk(reflect.TypeFor[Settings]())
}

// The schema for editors has the keys that the reader knows, and says of each that
// has a flag what it is.
func TestConfigSchema(t *testing.T) {
	code, out, said := command(t.Context(), "", "config-schema")
	if code != exitDone {
		t.Fatalf("exit %d\n%s", code, said)
	}
	type schema struct {
		Type                 string
		Description          string
		Properties           map[string]*schema
		Items                *schema
		AdditionalProperties any
		Required             []string
	}
	var root schema
	if err := json.Unmarshal([]byte(out), &root); err != nil {
		t.Fatal(err)
	}
	var paths []string
	var walk func(s *schema, under string)
	walk = func(s *schema, under string) {
		if s.Properties != nil && s.AdditionalProperties != false {
			t.Errorf("%q takes unknown keys", under)
		}
		for name, p := range s.Properties {
			path := strings.TrimPrefix(under+"."+name, ".")
			paths = append(paths, path)
			if p.Description == "" && p.Properties == nil && p.Items == nil && !slices.Contains([]string{"feeds[].source", "feeds[].schema.nulls", "feeds[].schema.contracts"}, path) {
				t.Errorf("%s is not described", path)
			}
			walk(p, path)
			if p.Items != nil && p.Items.Properties != nil {
				walk(p.Items, path+"[]")
			}
		}
	}
	walk(&root, "")
	slices.Sort(paths)
	known := config.Paths(fileSettings{})
	slices.Sort(known)
	if diff := cmp.Diff(known, paths); diff != "" {
		t.Errorf("(-reader +schema)\n%s", diff)
	}
	if !slices.Contains(root.Required, "feeds") || !slices.Contains(root.Properties["feeds"].Items.Required, "table") {
		t.Error("what is needed is not required")
	}
}

// Every key is told of in the documentation.
func TestConfigDocumented(t *testing.T) {
	text, err := os.ReadFile("../deploy/docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ := strings.Cut(cell, "`")
			documented[key] = true
		}
	}
	keys := config.Paths(fileSettings{})
	for _, key := range keys {
		if !documented[key] {
			t.Errorf("deploy/docs/config.md does not have the key %s", key)
		}
		delete(documented, key)
	}
	for key := range documented {
		t.Errorf("deploy/docs/config.md has %s, which is no key: %v", key, keys)
	}
}
