package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What steps make of a column is said, and when they are others than those that made
// the table's rows: by plan, and by the first run with them.
func TestStepsAreExplained(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LAKEFEED_MASK_KEY", "a key of more than 16 characters")
	write(t, "codes.csv", "code,name\nx,Ex\n")
	config := func(factor string) {
		write(t, "lakefeed.yaml", "feeds:\n  - table: t\n    source: a.csv\n    schema: {on_cell_count: rescue}\n    transform:\n      - rename: {n: amount}\n      - set: {twice: amount * "+factor+"}\n"+
			"      - mask: {mail: hmac}\n      - map: {code: {file: codes.csv, value: name}}\n      - drop: [gone]\n")
	}
	config("2")
	write(t, "a.csv", "id,n,mail,code,gone\n1,2,a@b,x,1\n2,3,c@d,x,2\n")
	if said := exits(t, exitDone, "validate"); !strings.Contains(said, "on_cell_count: rescue is as reject for a feed with masks") {
		t.Errorf("validate says %s", said)
	}
	exits(t, exitDone, "ingest")
	for column, want := range map[string][]string{
		"id":     {"decided by 2 cells"},
		"amount": {"it is the feed's column n", "decided by 2 cells", "from 2 to 3"},
		"twice":  {"made by transform[1] set: amount * 2, of the feed's n"},
		"mail":   {"made by transform[2] mask"},
		"code":   {"made by transform[3] map, of the feed's code"},
	} {
		said := exits(t, exitDone, "schema", "why", "t", column)
		for _, part := range want {
			if !strings.Contains(said, part) {
				t.Errorf("of %s is said %s, want %s", column, said, part)
			}
		}
		if strings.Contains(said, "a@b") {
			t.Errorf("of %s is said %s", column, said)
		}
	}
	if said := exits(t, exitUsage, "schema", "why", "t", "gone"); !strings.Contains(said, "its steps leave it out") {
		t.Errorf("of a column that is dropped is said %s", said)
	}
	const changed = "not those that"
	// Another file of values is no other step.
	write(t, "codes.csv", "code,name\nx,Ex\ny,Why\n")
	if said := exits(t, exitDone, "plan") + exits(t, exitDone, "ingest"); strings.Contains(said, changed) {
		t.Errorf("of the same steps is said %s", said)
	}
	config("3")
	if said := exits(t, exitDone, "plan"); !strings.Contains(said, changed) || !strings.Contains(said, "2 rows stay as they are") {
		t.Errorf("plan says %s", said)
	}
	write(t, "b.csv", "id,n,mail,code,gone\n3,4,e@f,y,1\n")
	text, err := os.ReadFile("lakefeed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "lakefeed.yaml", strings.Replace(string(text), "source: a.csv", "source: [a.csv, b.csv]", 1))
	if said := exits(t, exitDone, "ingest"); strings.Count(said, changed) != 1 {
		t.Errorf("ingest says %s", said)
	}
	if said := exits(t, exitDone, "plan") + exits(t, exitDone, "ingest"); strings.Contains(said, changed) {
		t.Errorf("once more is said %s", said)
	}
	exits(t, exitDone, "rebuild", "t")
	if said := exits(t, exitDone, "schema", "why", "t", "twice"); !strings.Contains(said, "amount * 3") {
		t.Errorf("after a rebuild is said %s", said)
	}
}

// A file in which values are looked up may be gone: what was made by it is audited by the
// values of then, and read.
func TestTableIsReadWithoutItsFilesOfValues(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "codes.csv", "code,name\nx,Ex\n")
	write(t, "lakefeed.yaml", "lake: elsewhere\nfeeds: [{table: t, source: a.csv, transform: [{map: {code: {file: codes.csv, value: name}}}]}]\n")
	write(t, "a.csv", "id,code\n1,x\n")
	exits(t, exitDone, "ingest")
	if err := os.Remove("codes.csv"); err != nil {
		t.Fatal(err)
	}
	if said := exits(t, exitDone, "audit", "t", "--deep"); !strings.Contains(said, "1 row cell by cell") {
		t.Errorf("audit says %s", said)
	}
	exits(t, exitDone, "schema", "show", "t")
	if said := exits(t, exitUsage, "ingest"); !strings.Contains(said, "codes.csv") {
		t.Errorf("ingest says %s", said)
	}
	write(t, "lakefeed.yaml", "lake: [elsewhere]\nfeeds: [{table: t, source: a.csv}]\n")
	if said := exits(t, exitUsage, "schema", "show", "t"); !strings.Contains(said, "lakefeed.yaml:1:") {
		t.Errorf("schema show says %s", said)
	}
}

// Without the configuration that masks a table's columns nothing is written to it that
// they would hide: not by a run that was not given it, and not by a replay.
func TestMasksNeedTheirConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	config := func(steps string) {
		write(t, "lakefeed.yaml", "feeds:\n  - table: t\n    source: a.csv\n    quarantine: {max_share: 100%}\n    transform: ["+steps+"]\n")
	}
	config("{mask: {mail: redact}}")
	write(t, "a.csv", "id,mail\n1,canary@a\n2,canary@b,3\n")
	write(t, "b.csv", "id,mail\n3,canary@c\n")
	exits(t, exitDone, "ingest")
	for _, args := range [][]string{{"ingest", "b.csv", "--table", "t"}, {"consume", "--lake", "lake", "--table", "t", "--topic", "t", "--drain"}} {
		if said := exits(t, exitUsage, args...); !strings.Contains(said, "table t has masks") || !strings.Contains(said, "-c FILE") {
			t.Errorf("%v says %s", args, said)
		}
	}
	if err := os.Rename("lakefeed.yaml", "other.yaml"); err != nil {
		t.Fatal(err)
	}
	if said := exits(t, exitUsage, "rejects", "replay", "t", "--on-cell-count", "rescue"); !strings.Contains(said, "-c FILE") {
		t.Errorf("replay says %s", said)
	}
	exits(t, exitQuarantine, "rejects", "replay", "t", "-c", "other.yaml", "--on-cell-count", "rescue")
	exits(t, exitDone, "ingest", "b.csv", "-c", "other.yaml")
	files, err := filepath.Glob("lake/t/*.parquet")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if text, err := os.ReadFile(name); err != nil || bytes.Contains(text, []byte("canary")) {
			t.Errorf("%s shows what is masked: %v", name, err)
		}
	}
	// A configuration may say that there are no masks any more.
	config("{set: {twice: id * 2}}")
	if said := exits(t, exitDone, "ingest"); !strings.Contains(said, "not those that") {
		t.Errorf("ingest without the mask says %s", said)
	}
}

// A header that has a masked column twice, or by two of its names, shows it nowhere: its
// rows are in quarantine until the other is masked too.
func TestMaskedColumnTwiceInAHeader(t *testing.T) {
	t.Chdir(t.TempDir())
	config := func(source, mask string) {
		write(t, "lakefeed.yaml", "feeds:\n  - table: t\n    source: "+source+"\n    quarantine: {max_share: 100%}\n    schema: {aliases: {mail: email}}\n    transform: [{mask: {"+mask+"}}]\n")
	}
	write(t, "a.csv", "id,Email,email,mail\n1,canary@a,canary@b,canary@c\n")
	write(t, "b.csv", "id,mail\n2,canary@d\n")
	write(t, "c.csv", "id,email,Email\n3,canary@e,canary@f\n")
	config("[b.csv, c.csv]", "email: redact")
	said := exits(t, exitDone, "ingest")
	if !strings.Contains(said, "mask email_2 too") {
		t.Errorf("ingest says %s", said)
	}
	config("a.csv", "email: redact")
	said += exits(t, exitDone, "ingest")
	nowhere := func() {
		t.Helper()
		err := filepath.WalkDir("lake", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(name, "kafka") {
				return err
			}
			if text, err := os.ReadFile(name); err != nil || bytes.Contains(text, []byte("canary")) {
				t.Errorf("%s shows what is masked: %v", name, err)
			}
			return nil
		})
		if err != nil || strings.Contains(said, "canary") {
			t.Error(err, said)
		}
	}
	nowhere()
	config("a.csv", "email: redact, email_2: redact, mail: redact")
	said = exits(t, exitDone, "rejects", "replay", "t")
	if !strings.Contains(said, "2 of 2 rows") {
		t.Errorf("replay says %s", said)
	}
	nowhere()
}

// Nor are rows written to a table of steps as the feed has them because a run was not
// given its configuration; one that has no steps says that they are to be.
func TestStepsNeedTheirConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "lakefeed.yaml", "feeds: [{table: t, source: a.csv, transform: [{drop: [gone]}]}]\n")
	write(t, "a.csv", "id,gone\n1,x\n")
	write(t, "b.csv", "id,gone\n2,y\n")
	exits(t, exitDone, "ingest")
	for _, args := range [][]string{{"ingest", "b.csv", "--table", "t"}, {"consume", "--lake", "lake", "--table", "t", "--topic", "t", "--drain"}} {
		if said := exits(t, exitUsage, args...); !strings.Contains(said, "table t was last written with the steps of a configuration") || !strings.Contains(said, "-c FILE") {
			t.Errorf("%v says %s", args, said)
		}
	}
	exits(t, exitDone, "ingest", "b.csv", "-c", "lakefeed.yaml")
	if said := exits(t, exitDone, "schema", "log", "t") + exits(t, exitDone, "schema", "show", "t"); strings.Contains(said, "gone") {
		t.Errorf("the table has a column that is dropped: %s", said)
	}
	write(t, "lakefeed.yaml", "feeds: [{table: t, source: a.csv}]\n")
	if said := exits(t, exitDone, "ingest"); !strings.Contains(said, "not those that") {
		t.Errorf("ingest without steps says %s", said)
	}
}

// exits runs a command line, which must end with that code, and gives what it says.
func exits(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, out, talk := command(t.Context(), "", args...)
	if got != code {
		t.Errorf("%v: exit %d\n%s%s", args, got, out, talk)
	}
	return out + talk
}

// Tests of a feed that others send to: messages go in, and a message's place stands for
// a line.
func TestTestsOfMessages(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "lakefeed.yaml", `
feeds:
  - table: events
    topic: theirs
    messages: {format: json}
    transform: [{cast: {n: bigint}}, {where: kind != "noise"}]
    tests:
      - name: objects
        messages: ['{"id": 1, "kind": "a", "n": "7"}', '{"id": 2, "kind": "noise", "n": 1}', '[3]', '{"id": 4, "kind": "b", "n": "x"}', '{"id": 5, "kind": "c"}']
        rows: [{id: 1, n: 7}, {id: 5, n: null}]
        rejects: [{line: 3, rule: not_json}, {line: 4, rule: cast, column: n}]
        schema: {id: bigint, kind: string, n: bigint}
`)
	if code, out, talk := command(t.Context(), "", "test"); code != exitDone || !strings.Contains(out, "1 test passed") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	write(t, "lakefeed.yaml", `
feeds:
  - table: events
    messages: {format: json}
    tests:
      - {name: both, csv: "a\n1", messages: ['{}'], rows: []}
      - {name: neither, rows: []}
`)
	if code, _, talk := command(t.Context(), "", "test"); code != exitUsage || !strings.Contains(talk, "this has both") || !strings.Contains(talk, "or messages: with the values of messages") {
		t.Errorf("exit %d\n%s", code, talk)
	}
}

// A comma that ends a term of partition_by is one fault.
func TestTermOfPartitionByInBrackets(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "lakefeed.yaml", "feeds:\n  - {table: t, source: a.csv, partition_by: [truncate(k, 2), date(at)]}\n")
	code, _, talk := command(t.Context(), "", "validate")
	if code != exitUsage || strings.Count(talk, "lakefeed.yaml:") != 1 || !strings.Contains(talk, "write it in quotes") {
		t.Errorf("exit %d\n%s", code, talk)
	}
}

// What is wrong is told once, and what is only unwise as a warning.
func TestStepsAreChecked(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "codes.csv", "mail,name\na@b,Ex\n")
	for _, c := range []struct {
		steps, want string
		faults      int
	}{
		{"- map: {code: {file: none.csv, value: name}}", "none.csv: no such file", 1},
		{"- cast: {amount: decimal(12,2)}", `between braces a type with a comma is written in quotes, "decimal(12,2)"`, 4},
		{"- map: {mail: {file: codes.csv, value: name, into: who}}\n      - mask: {mail: redact}\n      - mask: {who: redact}", "the values by which mail is looked up are stored in clear", 0},
		{"- mask: {mail: redact}\n      - map: {mail: {file: codes.csv, value: name}}", "", 0},
	} {
		write(t, "lakefeed.yaml", "feeds:\n  - table: t\n    source: a.csv\n    transform:\n      "+c.steps+"\n")
		code, _, talk := command(t.Context(), "", "validate")
		if (code == exitDone) != (c.faults == 0) || !strings.Contains(talk, c.want) || c.want == "" && talk != "" || strings.Count(talk, "lakefeed.yaml:") != c.faults {
			t.Errorf("%s: exit %d\n%s", c.steps, code, talk)
		}
	}
}
