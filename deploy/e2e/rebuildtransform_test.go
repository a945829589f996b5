package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A feed with transforms, masks and messages of another producer is built anew: with the
// same steps the rows are the same, but for rescued cells, and with others they are what
// those make of all that ever came. What is masked is in neither generation.
func TestRebuildTransforms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const canary = "canary"
	conf, lake := filepath.Join(dir, "lakefeed.yaml"), filepath.Join(dir, "lake")
	config := func(times int) {
		writeFile(t, conf, fmt.Sprintf(`
lake: ./lake
kafka: {bootstrap.servers: "%s"}
feeds:
  - table: people
    source: in
    meta: true
    quarantine: {max_share: 100%%}
    messages: {format: json}
    transform:
      - where: id != 2
      - rename: {mail: email}
      - mask: {email: hmac, card: keep-last-2}
        key: {file: %s}
      - set: {twice: id * %d}
`, brokers, filepath.Join(dir, "key"), times))
	}
	writeFile(t, filepath.Join(dir, "key"), "the key of the masks, 32 characters")
	config(2)
	var said []result
	say := func(args ...string) {
		t.Helper()
		said = append(said, ok(t, append(args, "-c", conf)...))
	}
	send := func(n int, v string) {
		var text strings.Builder
		text.WriteString("id,mail,card,v\n")
		for i := range 5 {
			fmt.Fprintf(&text, "%d,%s%d@example.org,%s-%d,%s\n", n+i, canary, n+i, canary, n+i, v)
		}
		text.WriteString("too,few\n")
		writeFile(t, filepath.Join(dir, "in", fmt.Sprintf("%d.csv", n)), text.String())
		say("ingest")
		for i, value := range []string{fmt.Sprintf(`{"id": %d, "mail": "%s%[1]d@example.org", "card": "%[2]s-%[1]d", "v": %[3]s}`, n+5, canary, v), "no JSON"} {
			if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: "people", Partition: int32(i), Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		say("ingest")
	}
	send(1, "7")
	send(11, "7.5")
	// rowsOf are the rows of a generation: what is the same in each, and v with rescued cells.
	rowsOf := func(folder string) (rows, values []string) {
		x := readTable(t, lake, folder)
		for i := range x.rows {
			v := ""
			if c := x.columns["v"][i]; c.ok {
				v = c.text
			}
			if len(x.rescued[i]) > 0 {
				v = fmt.Sprint(x.rescued[i])
			}
			rows = append(rows, fmt.Sprint(x.columns["id"][i].text, " ", x.columns["email"][i].text, " ", x.columns["card"][i].text, " ", x.columns["twice"][i].text))
			values = append(values, x.columns["id"][i].text+" "+v)
		}
		slices.Sort(rows)
		slices.Sort(values)
		return rows, values
	}
	before, values := rowsOf("people")
	if len(before) != 11 || !slices.Contains(values, "16 map[v:7.5]") {
		t.Fatalf("before: %q with %q", before, values)
	}
	rejects := readTable(t, lake, "people__quarantine").rows
	if rejects != 4 {
		t.Fatalf("%d rows are in quarantine", rejects)
	}
	say("rebuild", "people")
	after, values := rowsOf("people.g2")
	if !slices.Equal(before, after) || !slices.Contains(values, "16 7.5") || !slices.Contains(values, "6 7") {
		t.Errorf("after: %q with %q, want %q", after, values, before)
	}
	if n := readTable(t, lake, "people__quarantine.g2").rows; n != rejects {
		t.Errorf("%d rows are in quarantine, want %d", n, rejects)
	}
	config(3)
	send(21, "8.5")
	say("rebuild", "people")
	again, _ := rowsOf("people.g3")
	if len(again) != 17 {
		t.Errorf("%d rows, want 17: %q", len(again), again)
	}
	for _, row := range again {
		var id, three int
		var email, card string
		if _, err := fmt.Sscan(row, &id, &email, &card, &three); err != nil || three != 3*id || len(email) != 64 || !strings.HasSuffix(card, fmt.Sprint(id%10)) {
			t.Errorf("%q: %v", row, err)
		}
	}
	say("audit", "people", "--deep")
	for _, r := range said {
		if strings.Contains(r.String(), canary) {
			t.Errorf("what is masked is said: %v", r)
		}
	}
	err = filepath.WalkDir(lake, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if strings.Contains(string(text), canary) || strings.Contains(name, canary) {
			t.Errorf("what is masked is in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, x := range map[string]*table{"people.g2": nil, "people.g3": nil, "people__quarantine.g3": nil} {
		x = readTable(t, lake, folder)
		for name, cells := range x.columns {
			for _, c := range cells {
				if strings.Contains(c.text, canary) {
					t.Errorf("what is masked is in column %s of %s", name, folder)
				}
			}
		}
	}
	// Without the key nothing is built.
	if err := os.Remove(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "rebuild", "people", "-c", conf); r.code == 0 || !strings.Contains(r.stderr, "key") {
		t.Errorf("without the key: %v", r)
	}
}
