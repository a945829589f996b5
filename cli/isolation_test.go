package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// A feed that the file has wrong, one whose table has another shape, and one whose
// source is not there keep none of the others from their work.
func TestOneFeedsFaultIsItsOwn(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.csv", "id\n1\n2\n")
	write(t, "shape.csv", "id,c\n1,x\n")
	write(t, "lakefeed.yaml", "feeds:\n  - {table: shape, source: shape.csv}\n")
	if code, out, talk := command(t.Context(), "", "ingest"); code != exitDone {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	const good = "  - {table: good, source: a.csv}\n  - {table: follows, topic: good}\n"
	write(t, "lakefeed.yaml", "feeds:\n  - {table: typo, source: a.csv, partition: [id]}\n  - {table: shape, source: shape.csv, topic: shape, partition_by: [c]}\n"+
		"  - {table: absent, source: none.csv}\n  - {table: frozen, source: a.csv, transform: [{set: {x: idd + 1}}]}\n"+good)
	code, out, talk := command(t.Context(), "", "ingest", "-o", "json")
	var report struct {
		Feeds []struct {
			Table    string `json:"table"`
			Rows     int64  `json:"rows_committed"`
			ExitCode int    `json:"exit_code"`
			Error    string `json:"error"`
		} `json:"feeds"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitUsage {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, talk)
	}
	said := map[string]string{"typo": `lakefeed.yaml:2:34: unknown key "partition"`, "shape": "cannot become", "absent": "none.csv", "frozen": "idd"}
	for _, f := range report.Feeds {
		want, bad := said[f.Table]
		switch {
		case bad && (f.ExitCode != exitUsage || !strings.Contains(f.Error, want) || !strings.Contains(talk, want)):
			t.Errorf("feed %s: %+v\n%s", f.Table, f, talk)
		case !bad && (f.ExitCode != exitDone || f.Rows != 2):
			t.Errorf("feed %s: %+v", f.Table, f)
		}
	}
	if len(report.Feeds) != 6 {
		t.Errorf("%d feeds are reported on", len(report.Feeds))
	}
	// validate has all of it at once, and what is wrong with the file itself stops all.
	if code, _, talk := command(t.Context(), "", "validate"); code != exitUsage || !strings.Contains(talk, "partition") {
		t.Errorf("validate: exit %d\n%s", code, talk)
	}
	for name, text := range map[string]string{
		"of the file":      "lakke: x\nfeeds:\n" + good,
		"of no name":       "feeds:\n  - {source: a.csv}\n" + good,
		"of two":           "feeds:\n  - {table: good, source: a.csv, topic: x}\n" + good,
		"no feed is sound": "feeds:\n  - {table: a, sauce: x}\n",
	} {
		write(t, "lakefeed.yaml", text)
		if code, out, talk := command(t.Context(), "", "ingest"); code != exitUsage || out != "" || !strings.Contains(talk, "lakefeed.yaml:") {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, talk)
		}
	}
}
