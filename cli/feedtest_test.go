package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testedConfig = `
feeds:
  - table: sales
    partition_by: [country]
    schema: {numbers: decimal, on_type_change: reject, columns: {amount: "decimal(12,2)", note: string}, aliases: {land: country}}
    tests:
      - name: all of it
        csv: |
          id,amount,land,note
          1,2.50,de,"a, b"
          2,x,de,
          3,10,fr,""
          4,7,,-
        rows:
          - {id: 1, amount: 2.5, country: de, note: "a, b"}
          - {id: "3", amount: 10.00, country: fr, note: ""}
          - {id: 4, amount: 7, country: null, note: "-"}
        rejects: [{line: 3, rule: type_change, column: amount}]
        partitions: [country=de, country=fr, country=__HIVE_DEFAULT_PARTITION__]
        schema: {id: bigint, amount: "decimal(12,2)", note: string, country: string}
      - name: it stops
        csv: "id,amount\n1,2"
        rows: []
        error: country
`

// What a test expects is what the feed does: the very run of ingest, in a folder that is
// gone afterwards.
func TestTests(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Chdir(t.TempDir())
	write(t, "lakefeed.yaml", testedConfig)
	code, out, talk := command(t.Context(), "", "test")
	if want := "ok    sales: all of it\nok    sales: it stops\n2 tests passed\n"; code != exitDone || out != want {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	for _, dir := range []string{temp, "."} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "lakefeed.yaml" {
				t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
	write(t, "lakefeed.yaml", strings.NewReplacer(
		"amount: 2.5,", "amount: 2.51,", "note: \"\"}", "note: null}", "rule: type_change", "rule: \"null\"", "[country=de, ", "[country=es, ", "id: bigint, amount", "id: string, total: double, amount",
		"error: country", "error: something else", "{id: 4, amount: 7, country: null, note: \"-\"}", "{id: 4}\n          - {id: 5, country: de}",
	).Replace(testedConfig))
	code, out, talk = command(t.Context(), "", "test")
	want := `FAIL  sales: all of it (lakefeed.yaml:7; - is expected, + was found)
      - column id string
      + column id bigint
      - column total double
      - row 1 {amount: 2.51}
      + row 1 {amount: 2.50}
      - row 2 {note: null}
      + row 2 {note: ""}
      - row 4 {country: de, id: 5}
      - reject in line 3, null, of column amount
      + reject in line 3, type_change, of column amount: "x" is no decimal(12,2)
      - partition country=es
      + partition country=de
FAIL  sales: it stops (lakefeed.yaml:22; - is expected, + was found)
      - error: something else
`
	at := strings.Index(out, "      + error:")
	if at < 0 {
		at = len(out)
	}
	if diff := cmp.Diff(want, out[:at]); code != exitUnexpected || diff != "" || !strings.Contains(talk, "2 of 2 tests failed") {
		t.Errorf("exit %d (-want +got)\n%s%s", code, diff, talk)
	}
	code, out, _ = command(t.Context(), "", "test", "-o", "json", "--feed", "sales")
	var report struct{ Tests []testResult }
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitUnexpected || len(report.Tests) != 2 || report.Tests[0].OK || report.Tests[0].Line != 7 {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
	write(t, "lakefeed.yaml", "feeds:\n  - table: a\n")
	if code, _, talk := command(t.Context(), "", "test"); code != exitUsage || !strings.Contains(talk, "no tests") {
		t.Errorf("no tests: exit %d %s", code, talk)
	}
	if code, _, talk := command(t.Context(), "", "test", "-c", filepath.Join(temp, "none.yaml")); code != exitUsage {
		t.Errorf("no file: exit %d %s", code, talk)
	}
}
