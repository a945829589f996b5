package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker/embedded"
	"lakefeed/deploy/testbed"
)

// startKafka begins an embedded Kafka on a folder, for brokers that stay while several
// commands come and go, and gives its address. It ends with the test.
func startKafka(t *testing.T, dir string) (brokers string) {
	t.Helper()
	b, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.Addrs()[0]
}

// removeBelow has the broker remove what is before an offset of topic partition 0, as
// retention does.
func removeBelow(t *testing.T, brokers, topic string, offset int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cut := kmsg.NewPtrDeleteRecordsRequest()
	cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	if r, err := cut.RequestWith(t.Context(), client); err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, r)
	}
}

// The two halves of ingest as two commands, one after the other, on the embedded
// Kafka.
func TestProduceThenConsume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, kafka, source := filepath.Join(dir, "lake"), filepath.Join(dir, "kafka"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 1000))
	ok(t, "produce", source, "--kafka-dir", kafka)
	if exists(filepath.Join(lake, "rows")) {
		t.Error("produce wrote into the lake")
	}
	ok(t, "consume", "--drain", "--table", "rows", "--kafka-dir", kafka, "--lake", lake)
	readTable(t, lake, "rows").eachOnce(t, "id", 1000)
	if r := ok(t, "produce", source, "--kafka-dir", kafka, "-o", "json"); parse(t, r).Sent != 0 {
		t.Errorf("a second produce sent rows: %v", r)
	}
	ok(t, "consume", "--drain", "--table", "rows", "--kafka-dir", kafka, "--lake", lake)
	readTable(t, lake, "rows").eachOnce(t, "id", 1000)
	// Two tables from one topic.
	ok(t, "consume", "--drain", "--table", "copy", "--topic", "rows", "--kafka-dir", kafka, "--lake", lake)
	readTable(t, lake, "copy").eachOnce(t, "id", 1000)
}

// A stream whose producer never comes back is given its end by hand.
func TestAbandon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lake, kafka, source := filepath.Join(dir, "lake"), filepath.Join(dir, "kafka"), filepath.Join(dir, "rows.csv")
	const rows = 50_000
	writeFile(t, source, rowsHeader+rowsCSV(0, rows))
	if r := run(t, "produce", source, "--kafka-dir", kafka, "--fault", "batch-sent:3:kill"); r.code != -1 {
		t.Fatalf("it was not killed: %v", r)
	}
	abandon := []string{"produce", "--abandon", "file://" + source, "--topic", "rows", "--kafka-dir", kafka}
	if r := ok(t, abandon...); !strings.Contains(r.stdout, "was ended behind 30,000 rows: abandoned") {
		t.Errorf("abandon: %v", r)
	}
	if r := ok(t, append(abandon, "-o", "json")...); !strings.Contains(r.stdout, `"already_ended": true`) || !strings.Contains(r.stdout, `"rows": 30000`) {
		t.Errorf("abandon again: %v", r)
	}
	if r := ok(t, "produce", source, "--kafka-dir", kafka); !strings.Contains(r.stderr, "it was abandoned") || !strings.Contains(r.stdout, "sent 0 rows") {
		t.Errorf("the source is back: %v", r)
	}
	ok(t, "consume", "--drain", "--table", "rows", "--kafka-dir", kafka, "--lake", lake)
	readTable(t, lake, "rows").eachOnce(t, "id", 30_000)
	if s := parse(t, ok(t, "produce", source, "--topic", "rows", "--kafka-dir", kafka, "--source-name", "again:", "-o", "json")); s.Sent != rows {
		t.Errorf("under another name: %+v", s)
	}
	for what, args := range map[string][]string{
		"no topic":        {"produce", "--abandon", "x", "--kafka-dir", kafka},
		"a source, too":   {"produce", source, "--abandon", "x", "--kafka-dir", kafka},
		"unknown stream":  {"produce", "--abandon", "0123456789abcdef", "--topic", "rows", "--kafka-dir", kafka},
		"no source":       {"produce", "--kafka-dir", kafka},
		"topic not there": {"produce", "--abandon", "x", "--topic", "none", "--kafka-dir", kafka},
	} {
		if r := run(t, args...); r.code == 0 || r.code == 1 && what != "topic not there" || r.stderr == "" {
			t.Errorf("%s: %v", what, r)
		}
	}
}

// The embedded Kafka's folder is one process's at a time.
func TestKafkaFolderIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kafka, source := filepath.Join(dir, "kafka"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 3))
	startKafka(t, kafka)
	if r := run(t, "ingest", source, "--lake", filepath.Join(dir, "lake"), "--kafka-dir", kafka); r.code == 0 || !strings.Contains(r.stderr, kafka) {
		t.Errorf("a second process on %s: %v", kafka, r)
	}
}

// The same binary against brokers of its own, with several consumers of a group
// and several producers of one source.
func TestBrokers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	const files, each = 6, 2000
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	for i := range files {
		writeFile(t, filepath.Join(in, "rows-"+string(rune('a'+i))+".csv"), rowsHeader+rowsCSV(i*each, (i+1)*each))
	}
	produce := []string{"produce", in, "--topic", "rows", "--brokers", brokers}
	p, q := start(t, nil, produce...), start(t, nil, produce...)
	for _, r := range []result{p.wait(t), q.wait(t)} {
		if r.code != 0 {
			t.Fatalf("two producers at once: %v", r)
		}
	}
	consume := []string{"consume", "--drain", "--table", "rows", "--brokers", brokers, "--lake", lake, "--flush-size", "100kB"}
	p, q = start(t, nil, consume...), start(t, nil, consume...)
	for _, r := range []result{p.wait(t), q.wait(t)} {
		if r.code != 0 {
			t.Fatalf("two consumers at once: %v", r)
		}
	}
	readTable(t, lake, "rows").eachOnce(t, "id", files*each)
	if s := ingest(t, in, "--table", "rows", "--brokers", brokers, "--lake", lake); s.Sent != 0 || s.Rows != 0 || s.Total.Rows != files*each {
		t.Errorf("ingest after both: %+v", s)
	}
	if left := leftovers(t, lake, "rows"); len(left) > 0 {
		slices.Sort(left)
		t.Errorf("staged files are left: %q", left)
	}
}

func TestUnreachableBrokers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 3))
	// Port 1 of the loopback: nothing listens there.
	exits(t, 6, "ingest", source, "--lake", filepath.Join(dir, "lake"), "--brokers", "127.0.0.1:1")
}

// A topic that was deleted and made again is not gone on with until somebody says
// so; then the rows that come again are left out.
func TestTopicMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, source := filepath.Join(dir, "lake"), filepath.Join(dir, "rows.csv")
	writeFile(t, source, rowsHeader+rowsCSV(0, 500))
	args := []string{source, "--lake", lake, "--brokers", brokers}
	ingest(t, args...)
	client := &kafka.Client{Addr: kafka.TCP(brokers)}
	if r, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{"rows"}}); err != nil || r.Errors["rows"] != nil {
		t.Fatal(err, r)
	}
	appendFile(t, source, rowsCSV(500, 600))
	r := exits(t, 4, append([]string{"ingest"}, args...)...)
	if !strings.Contains(r.stderr, "adopt-topic") {
		t.Errorf("another topic: %v", r)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 500)
	adopt := []string{"adopt-topic", "rows", "--lake", lake, "--brokers", brokers}
	for range 2 { // it may be said again
		ok(t, adopt...)
	}
	if s := ingest(t, args...); s.Rows != 100 || s.Duplicates == 0 {
		t.Errorf("after the topic was adopted: %+v", s)
	}
	readTable(t, lake, "rows").eachOnce(t, "id", 600)
}

// Rows that are removed from the topic before they reach the lake stop a run;
// told to go on without them it does, and does not wait for what will not come.
func TestRowsRemovedFromTheTopic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brokers := startKafka(t, filepath.Join(dir, "kafka"))
	lake, in := filepath.Join(dir, "lake"), filepath.Join(dir, "in")
	args := []string{in, "--table", "rows", "--lake", lake, "--brokers", brokers, "--partitions", "1"}
	writeFile(t, filepath.Join(in, "a.csv"), rowsHeader+rowsCSV(0, 100))
	ingest(t, args...)
	writeFile(t, filepath.Join(in, "b.csv"), rowsHeader+rowsCSV(100, 200))
	ok(t, "produce", in, "--topic", "rows", "--brokers", brokers)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cut := kmsg.NewPtrDeleteRecordsRequest()
	cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "rows", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 150}}}}
	if r, err := cut.RequestWith(t.Context(), client); err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, r)
	}
	if r := exits(t, 4, append([]string{"ingest"}, args...)...); !strings.Contains(r.stderr, "--on-data-loss=record") {
		t.Errorf("removed rows: %v", r)
	}
	r := exits(t, 4, append([]string{"ingest", "--on-data-loss", "record"}, args...)...)
	if !strings.Contains(r.stderr, "b.csv: the lake does not have all") || !strings.Contains(r.stderr, "were removed from the topic") {
		t.Errorf("removed rows, on record: %v", r)
	}
	noRowTwice(t, lake)
	// a.csv's 100 rows and its end are offsets 0 to 100: 49 of b.csv's are gone.
	if n := readTable(t, lake, "rows").rows; n != 151 {
		t.Errorf("%d rows in the lake, want 151", n)
	}
}

// A topic that another producer fills, with keys, values and batches of its own.
func TestForeignTopic(t *testing.T) {
	t.Parallel()
	k := testbed.Kafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "lakefeed.yaml")
	objects, records := testbed.Name("objects"), testbed.Name("records")
	for _, topic := range []string{objects, records} {
		ok(t, "produce", writeTemp(t, dir, topic, "id,text\n0,of ours\n"), "--topic", topic, "--brokers", k.Brokers)
	}
	const rows = 1000
	for i := 1; i <= rows; i++ {
		client.Produce(t.Context(), &kgo.Record{Topic: objects, Key: []byte(strconv.Itoa(i % 7)), Value: fmt.Appendf(nil, `{"id": %d, "text": "t,%d", "more": {"n": %d}}`, i, i, i)}, nil)
		client.Produce(t.Context(), &kgo.Record{Topic: records, Value: fmt.Appendf(nil, `%d,"t,%d"`, i, i)}, nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, conf, fmt.Sprintf("lake: lake\nkafka: {bootstrap.servers: %q}\nfeeds:\n  - {table: objects, topic: %s, messages: {format: json}}\n  - {table: records, topic: %s, messages: {format: csv, columns: [ID, Text]}}\n", k.Brokers, objects, records))
	ok(t, "consume", "--drain", "-c", conf)
	ok(t, "consume", "--drain", "-c", conf)
	for _, name := range []string{"objects", "records"} {
		x := readTable(t, filepath.Join(dir, "lake"), name)
		x.eachOnce(t, "id", rows+1)
		for i := range x.rows {
			if id := x.columns["id"][i].text; id != "0" && x.columns["text"][i].text != "t,"+id {
				t.Errorf("%s: row %s has the text %s", name, id, x.columns["text"][i].text)
			}
		}
		ok(t, "audit", name, "-c", conf, "--deep")
	}
}

// writeTemp makes a file of a text and gives its name.
func writeTemp(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name+".csv")
	writeFile(t, file, text)
	return file
}
