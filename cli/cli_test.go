package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/producer"
	"lakefeed/sink"
)

// command runs one command line.
func command(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, talk bytes.Buffer
	code = run(ctx, args, strings.NewReader(stdin), &out, &talk)
	return code, out.String(), talk.String()
}

func TestTableNames(t *testing.T) {
	folders := map[string]bool{"in": true, "data/2020.d": true}
	for _, test := range []struct {
		sources string
		want    string // empty: a name has to be given
	}{
		{"sales.csv", "sales"},
		{"/a/b/Sales Report.CSV.gz", "sales_report"},
		{"s.tsv.zst", "s"},
		{"in", "in"},
		{"data/2020.d", "2020_d"},
		{"flights-2013-01.csv|flights-2013-02.csv", "flights_2013"},
		{"flights-*.csv", "flights"},
		{"part-9.csv|part-10.csv", "part"},
		{"a.csv|b.csv", ""},
		{"ab1.csv|ab2.csv", ""},
		{"s3://raw/sales/", "sales"},
		{"s3://raw/in/Sales.csv.gz", "sales"},
		{"s3://raw/2020.d/", "2020_d"},
		{"s3://raw", "raw"},
		{"s3://raw/in/sales-*.csv|sales-1.csv", "sales"},
		{"s3://raw/*.csv", ""},
		{"-", ""},
		{"???.csv", ""},
	} {
		got, err := tableName(strings.Split(test.sources, "|"), func(s string) bool { return folders[s] || isFolder(s) })
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q, %v, want %q", test.sources, got, err, test.want)
		}
		if err != nil && (exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--table")) {
			t.Errorf("%s: %v does not say what to do", test.sources, err)
		}
	}
	for name, ok := range map[string]bool{"sales": true, "s2_x": true, "Sales": false, "a-b": false, "": false, "a__b": false, "kafka": false, "ä": false} {
		if err := checkTableName(name); (err == nil) != ok {
			t.Errorf("table name %q: %v", name, err)
		}
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]int64{"64MB": 64e6, "256MiB": 256 << 20, "1.5 kB": 1500, "4096": 4096, "2GiB": 2 << 30, "7B": 7} {
		var b bytesFlag
		if err := b.UnmarshalText([]byte(text)); err != nil || int64(b) != want {
			t.Errorf("size %s: %d, %v, want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1TBB", "1e400", "64 megs", "NaN"} {
		var b bytesFlag
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q is taken for %d", text, b)
		}
	}
	for text, want := range map[string]float64{"1%": 0.01, "0.5": 0.5, "100%": 1, "0": 0} {
		var p percentFlag
		if err := p.UnmarshalText([]byte(text)); err != nil || float64(p) != want {
			t.Errorf("share %s: %v, %v, want %v", text, p, err, want)
		}
	}
	for _, text := range []string{"", "%", "-1%", "101%", "2", "NaN"} {
		var p percentFlag
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("share %q is taken for %v", text, p)
		}
	}
	for n, want := range map[int64]string{0: "0 rows", 1: "1 row", 1254: "1,254 rows", 1234567: "1,234,567 rows"} {
		if got := plural(n, "row"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := plural(2, "entry"); got != "2 entries" {
		t.Errorf("got %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	for code, errs := range map[int][]error{
		exitDone:        {nil},
		exitUnexpected:  {errors.New("any")},
		exitUsage:       {&usageError{"x"}, &sink.ShapeError{}, &sink.TopicError{}, producer.ErrNoObjects, sink.ErrNoTable, embedded.ErrLocked},
		exitQuarantine:  {&quarantineError{"x"}},
		exitDataLoss:    {embedded.ErrDamaged, &sink.LogError{}, &sink.ChainError{Err: errors.New("x")}, &goneError{"x"}, &sink.SetError{}},
		exitUnreachable: {&broker.DeliveryError{Err: errors.New("x")}, broker.ErrUnreachable},
		exitDenied:      {broker.ErrDenied, fs.ErrPermission, syscall.EACCES, syscall.EROFS},
		exitInterrupted: {context.Canceled},
	} {
		for _, err := range errs {
			wrapped := err
			if err != nil {
				wrapped = fmt.Errorf("do it: %w", err)
			}
			if got := exitCode(wrapped); got != code {
				t.Errorf("%T %v: exit %d, want %d", err, err, got, code)
			}
		}
	}
}

// The flags, their environment variables and the help of every command.
func TestHelp(t *testing.T) {
	ctx := t.Context()
	code, out, _ := command(ctx, "")
	if code != exitDone || !strings.Contains(out, "ingest") {
		t.Errorf("no arguments: exit %d\n%s", code, out)
	}
	for _, name := range []string{"ingest", "produce", "consume", "sniff", "schema show", "schema ddl"} {
		code, out, talk := command(ctx, "", append(strings.Fields(name), "--help")...)
		if code != exitDone || talk != "" || !strings.Contains(out, "LAKEFEED_") {
			t.Errorf("%s --help: exit %d\n%s%s", name, code, out, talk)
		}
		for line := range strings.Lines(out) {
			if len(line) > 101 {
				t.Errorf("%s --help has a line of %d characters: %s", name, len(line), line)
			}
		}
	}
	if code, out, _ := command(ctx, "", "--version"); code != exitDone || !strings.HasPrefix(out, "lakefeed ") {
		t.Errorf("--version: exit %d, %q", code, out)
	}
	code, out, talk := command(ctx, "", "ingest", "x.csv", "--tabel", "x")
	if code != exitUsage || out != "" || !strings.Contains(talk, "--table") {
		t.Errorf("a flag spelled wrong: exit %d\n%s%s", code, out, talk)
	}
}

// The environment stands in for flags; a source that is not there stops before
// anything is made.
func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	lake := filepath.Join(dir, "lake")
	source := filepath.Join(dir, "x.csv")
	if err := os.WriteFile(source, []byte("a,b\n1,x\n2,y\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAKEFEED_LAKE", lake)
	t.Setenv("LAKEFEED_TABLE", "named")
	if code, _, talk := command(t.Context(), "", "ingest", filepath.Join(dir, "none.csv")); code != exitUsage || !strings.Contains(talk, "none.csv") {
		t.Errorf("no source: exit %d\n%s", code, talk)
	}
	if _, err := os.Stat(lake); err == nil {
		t.Error("a lake was made for a source that is not there")
	}
	code, out, talk := command(t.Context(), "", "ingest", source, "-o", "json")
	if code != exitDone {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Table != "named" || r.Rows != 2 || r.Lake != lake {
		t.Errorf("%v: %+v", err, r)
	}
}

// The query that a summary gives reads this lake's files and no other's, whatever its
// folder is called.
func TestQueryOfAnyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.csv", "a\n1\n")
	out := exits(t, exitDone, "ingest", "a.csv", "--table", "t", "--lake", "it's [1]*?")
	if want := "SELECT * FROM read_parquet('it''s [[]1][*][?]/t/**/*.parquet', hive_partitioning=true, union_by_name=true)\n"; !strings.Contains(out, want) {
		t.Errorf("said is %s, want %s", out, want)
	}
}

func TestFeedThatIsNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "lakefeed.yaml", "feeds: [{table: sales, source: a.csv}, {table: t, topic: sales}]\n")
	for name, want := range map[string]string{
		"none": "--feed none: lakefeed.yaml has no such feed. It has sales, t\n",
		"sale": "--feed sale: lakefeed.yaml has no such feed; did you mean sales? It has sales, t\n",
	} {
		if said := exits(t, exitUsage, "ingest", "--feed", name); !strings.Contains(said, want) {
			t.Errorf("of %s is said %s, want %s", name, said, want)
		}
	}
}
