package cli

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What init writes is valid, can be planned and run, and has what was found as
// comments; taken out of the comments, that is valid too.
func TestInit(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "in/sales-1.csv", "id;Ordered At;amount;note\n1;2026-01-31;2,50;\n2;2026-02-01;3,75;\n")
	write(t, "in/sales-2.csv", "id;Ordered At;amount;note\n3;2026-02-02;1,25;\n")
	code, out, talk := command(t.Context(), "", "init", "in", "--table", "sales")
	if code != exitDone || !strings.Contains(out, "lakefeed plan") {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	text, err := os.ReadFile("lakefeed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  - table: sales\n    source: in\n", `delimiter ";"`, "# partition_by: [date(ordered_at)]", "ordered_at: date", "amount:     \"double 1.234,5\"", "note:", "only nulls in 3 cells",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it has no %q:\n%s", want, text)
		}
	}
	if code, _, talk := command(t.Context(), "", "init", "in", "--table", "sales"); code != exitUsage || !strings.Contains(talk, "--force") {
		t.Errorf("over a file that is there: exit %d %s", code, talk)
	}
	if code, _, talk := command(t.Context(), "", "init", "in", "--table", "sales", "--force", "--numbers", "decimal", "--delimiter", ";"); code != exitDone {
		t.Errorf("with --force: exit %d %s", code, talk)
	}
	text, err = os.ReadFile("lakefeed.yaml")
	if err != nil || !strings.Contains(string(text), `csv: {delimiter: ";"}`) || !strings.Contains(string(text), "schema: {numbers: decimal}") {
		t.Errorf("the flags are not in it: %v\n%s", err, text)
	}
	if code, out, talk := command(t.Context(), "", "test"); code != exitUsage {
		t.Errorf("test: exit %d %s%s", code, out, talk)
	}
	// Without the hashes: what is commented is valid as it stands.
	code, out, talk = command(t.Context(), "", "init", "in", "--table", "sales", "-c", "-")
	if code != exitDone {
		t.Fatalf("exit %d %s", code, talk)
	}
	var lines []string
	inFeed := false
	for line := range strings.Lines(out) {
		inFeed = inFeed || strings.HasPrefix(line, "feeds:")
		if rest, ok := strings.CutPrefix(line, "    # "); ok && inFeed && !strings.HasPrefix(rest, "Found") && !strings.HasPrefix(rest, "encoding") && !strings.Contains(rest, "only nulls") {
			line = "    " + rest
		}
		lines = append(lines, line)
	}
	write(t, "all.yaml", strings.Join(lines, ""))
	if code, out, talk := command(t.Context(), "", "validate", "-c", "all.yaml"); code != exitDone {
		t.Errorf("what it has as comments: exit %d\n%s%s\n%s", code, out, talk, strings.Join(lines, ""))
	}
	if code, out, talk := command(t.Context(), "", "test", "-c", "all.yaml"); code != exitDone {
		t.Errorf("its test: exit %d\n%s%s", code, out, talk)
	}
	if code, out, talk := command(t.Context(), "", "ingest"); code != exitDone {
		t.Errorf("ingest: exit %d\n%s%s", code, out, talk)
	}
	for _, args := range [][]string{{"init", "-"}, {"init", "none.csv"}, {"init"}} {
		if code, _, _ := command(t.Context(), "", append(args, "-c", "other.yaml")...); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

// files are all files below a folder, with their sizes.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, e := d.Info()
			out = append(out, path+" "+info.ModTime().String())
			return e
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A plan says what ingest then does, and writes nothing.
func TestPlan(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Chdir(t.TempDir())
	conf := "lake: lake\nfeeds:\n  - {table: t, source: in, partition_by: [c]}\n  - {table: others}\n"
	write(t, "lakefeed.yaml", conf)
	write(t, "in/a.csv", "id,c,x\n1,de,\n2,fr,\n3,de,1,2\n")
	plan := func(code int) (out []planned, text string) {
		t.Helper()
		before := files(t, ".")
		got, stdout, talk := command(t.Context(), "", "plan", "-o", "json")
		if got != code {
			t.Fatalf("exit %d, want %d\n%s%s", got, code, stdout, talk)
		}
		var report struct{ Feeds []planned }
		if err := json.Unmarshal([]byte(stdout), &report); err != nil {
			t.Fatal(err)
		}
		if after := files(t, "."); !slices.Equal(before, after) {
			t.Errorf("it wrote: %q, before %q", after, before)
		}
		if left := files(t, temp); len(left) > 0 {
			t.Errorf("it left %q", left)
		}
		_, text, talk = command(t.Context(), "", "plan")
		return report.Feeds, text + talk
	}
	p, text := plan(exitDone)
	if x := p[0]; x.Exists || x.Taken != 3 || x.Quarantined != 1 || len(x.Causes) != 1 || !strings.HasSuffix(x.Causes[0].Source, "in/a.csv") || x.Causes[0].Line != 4 ||
		!slices.Equal(x.Partitions, []string{"c=de (1 row)", "c=fr (1 row)"}) || x.Files != 2 || !strings.Contains(x.DDL, "PARTITIONED BY") {
		t.Errorf("%+v", x)
	}
	if !strings.Contains(text, "in/a.csv:4") || !strings.Contains(text, "table others: new") {
		t.Errorf("%s", text)
	}
	if code, out, talk := command(t.Context(), "", "ingest"); code != exitQuarantine {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	write(t, "in/b.csv", "id,c,x,new\n4,de,7.5,n\nx,es,1,n\n")
	p, text = plan(exitDone)
	var changes []string
	for _, c := range p[0].Columns {
		if c.New || c.Was != c.Type {
			changes = append(changes, c.Name+" "+c.Was+" "+c.Type)
		}
	}
	if x := p[0]; !x.Exists || x.Rows != 2 || x.Rescued != 1 || !slices.Equal(changes, []string{"x string double", "new  string"}) {
		t.Errorf("%q %+v", changes, x)
	}
	if !strings.Contains(text, "~ x") || !strings.Contains(text, "+ new") {
		t.Errorf("%s", text)
	}
	write(t, "lakefeed.yaml", strings.Replace(conf, "[c]", "[id]", 1))
	if p, text = plan(exitUsage); !strings.Contains(p[0].Error, "cannot become") || !strings.Contains(text, "it would stop") {
		t.Errorf("another partitioning: %s", text)
	}
	write(t, "lakefeed.yaml", strings.Replace(conf, "[c]", "[c], topic: renamed", 1))
	if p, text = plan(exitUsage); !strings.Contains(p[0].Error, "it is built from topic t, not from renamed") || !strings.Contains(text, "it would stop") {
		t.Errorf("another topic: %s", text)
	}
	write(t, "lakefeed.yaml", strings.Replace(conf, "[c]", "[c], schema: {on_new_column: freeze}", 1))
	if p, _ = plan(exitContract); !strings.Contains(p[0].Error, "in/b.csv") {
		t.Errorf("frozen: %s", p[0].Error)
	}
	if code, _, talk := command(t.Context(), "", "plan", "-c", "none.yaml"); code != exitUsage {
		t.Errorf("exit %d %s", code, talk)
	}
}
