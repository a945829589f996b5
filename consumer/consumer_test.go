package consumer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/consumer"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/wire"
	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/raw"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Kafka in this process, and a lake in memory.
type bench struct {
	t      *testing.T
	dir    string // of the Kafka
	kafka  *embedded.Broker
	client *broker.Client
	topic  broker.Topic
	store  *mem.Store
	shape  sink.Shape
	events consumer.Events
	group  string
	flush  int
	// lakeStore is what the consumer writes to, store when nil.
	lakeStore sink.Store
	loss      consumer.DataLoss
	adopt     bool
	contract  *schema.Contract
	messages  *consumer.Messages
	steps     transform.Spec
	memory    int
	zone      *raw.Zone // nil for none
}

func newBench(t *testing.T, partitions int) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), store: mem.New()}
	b.start()
	t.Cleanup(b.stop)
	b.makeTopic(partitions)
	return b
}

// start starts the Kafka with the log that is in its folder.
func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.kafka, err = embedded.Start(embedded.Config{Dir: b.dir}); err != nil {
		b.t.Fatal(err)
	}
	if b.client, err = broker.New(broker.Settings{Brokers: b.kafka.Addrs(), ClientID: "test"}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stop() {
	b.client.Close()
	if err := b.kafka.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) makeTopic(partitions int) {
	b.t.Helper()
	var err error
	if b.topic, err = b.client.EnsureTopic(context.WithoutCancel(b.t.Context()), broker.TopicConfig{Name: "feed", Partitions: partitions}); err != nil {
		b.t.Fatal(err)
	}
}

// feed is rows of one stream, as a producer sends them.
type feed struct {
	stream  schema.StreamID
	header  string // "" for none
	source  string
	next    int64
	line    int64
	noHeads bool // as a mirror leaves it
}

func stream(name, header string) *feed {
	return &feed{stream: schema.NewStreamID(name, "0", 0), header: header, source: "file:///" + name, line: 2}
}

func (f *feed) heads() []broker.Header {
	if f.noHeads {
		return nil
	}
	h := []broker.Header{{Key: wire.Source, Value: []byte(f.source)}, {Key: wire.At, Value: wire.AppendAt(nil, 0, f.line)}}
	if f.header != "" {
		h = append(h, broker.Header{Key: wire.Columns, Value: []byte(f.header)})
	}
	return h
}

// send sends rows as one record batch.
func (b *bench) send(f *feed, partition int, rows ...string) {
	b.t.Helper()
	var batch broker.Batch
	for i, row := range rows {
		var heads []broker.Header
		if i == 0 {
			heads = f.heads()
		}
		batch.Append(wire.AppendKey(nil, f.stream, f.next), []byte(row), heads, time.Now().UnixMilli())
		f.next++
		f.line++
	}
	b.produce(partition, &batch)
}

func (b *bench) end(f *feed, partition int) {
	var batch broker.Batch
	batch.Append(wire.AppendKey(nil, f.stream, f.next), nil, []broker.Header{{Key: wire.Status, Value: []byte("complete")}}, time.Now().UnixMilli())
	b.produce(partition, &batch)
}

func (b *bench) produce(partition int, batch *broker.Batch) {
	b.t.Helper()
	if _, err := b.client.Produce(b.t.Context(), b.topic.Name, partition, batch); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) table() *sink.Table {
	b.t.Helper()
	var lake sink.Store = b.store
	if b.lakeStore != nil {
		lake = b.lakeStore
	}
	table, err := sink.OpenTable(b.t.Context(), sink.TableConfig{Store: lake, Name: "feed", Feed: "feed", Topic: "feed", Partitions: b.topic.Partitions, Shape: b.shape, Config: b.config()})
	if err != nil {
		b.t.Fatal(err)
	}
	return table
}

// config is the text that records refer to, as the command line writes it.
func (b *bench) config() []byte {
	text, err := json.Marshal(map[string]any{"schema": b.contract, "messages": b.messages, "transform": b.steps})
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// drain consumes all that is in the topic.
func (b *bench) drain() error {
	b.t.Helper()
	return b.drainUntil(b.t.Context())
}

// drainUntil drains unless ctx ends before.
func (b *bench) drainUntil(ctx context.Context) error {
	b.t.Helper()
	c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: b.table(), Events: b.events, Group: b.group, FlushBytes: b.flush, Meta: b.shape.Meta, OnDataLoss: b.loss, AdoptNewLog: b.adopt, Contract: b.contract, Messages: b.messages, Transform: b.steps, Memory: b.memory, Raw: b.zone}
	ends := map[int]int64{}
	for p := range b.topic.Partitions {
		_, end, err := b.client.Offsets(b.t.Context(), b.topic.Name, p)
		if err != nil {
			b.t.Fatal(err)
		}
		ends[p] = end
	}
	c.Drain(ends)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // far more than it takes: a race detector on a busy machine took two
	defer cancel()
	return c.Run(ctx)
}

func (b *bench) mustDrain() {
	b.t.Helper()
	if err := b.drain(); err != nil {
		b.t.Fatal(err)
	}
}

// lake reads a folder as Athena does: all files under it. Rows are name=value,
// nulls left out, in order.
func (b *bench) lake(folder string) []string {
	b.t.Helper()
	var rows []string
	for o, err := range b.store.List(b.t.Context(), folder+"/", "") {
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := b.store.Get(b.t.Context(), o.Key)
		if err != nil {
			b.t.Fatal(err)
		}
		prefix := ""
		if dir := strings.TrimPrefix(path.Dir(o.Key), folder); dir != "" {
			prefix = strings.TrimPrefix(dir, "/") + " "
		}
		for _, row := range parquetRows(b.t, body) {
			rows = append(rows, prefix+row)
		}
	}
	slices.Sort(rows)
	return rows
}

func parquetRows(t *testing.T, body []byte) []string {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	var rows []string
	records := array.NewTableReader(table, 0)
	defer records.Release()
	for records.Next() {
		record := records.RecordBatch()
		for row := range int(record.NumRows()) {
			var cells []string
			for i, c := range record.Columns() {
				if !c.IsNull(row) {
					cells = append(cells, record.ColumnName(i)+"="+c.ValueStr(row))
				}
			}
			rows = append(rows, strings.Join(cells, " "))
		}
	}
	return rows
}

func (b *bench) want(folder string, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.lake(folder)); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", folder, diff)
	}
}

func TestRowsBecomeATypedTable(t *testing.T) {
	b := newBench(t, 2)
	x, y := stream("x.csv", "id,name,when"), stream("y.csv", "when,id,extra")
	b.send(x, 0, "1,a,2020-01-01", `2,"b,c",`)
	b.send(x, 0, "NA,,2020-01-03")
	b.end(x, 0)
	b.mustDrain() // the first batch gives the columns their order
	b.send(y, 1, "2020-02-01,7,2.5")
	b.end(y, 1)
	b.mustDrain()
	b.want("feed",
		"id=1 name=a when=2020-01-01", "id=2 name=b,c", "id=7 when=2020-02-01 extra=2.5", "when=2020-01-03")
	b.mustDrain()
	if n := len(b.lake("feed")); n != 4 {
		t.Errorf("%d rows after a second run, want 4", n)
	}
}

func TestRowsSentAgainAreLeftOut(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "id")
	b.send(x, 0, "1", "2", "3")
	x.next = 1 // a producer that crashed begins again behind what it knows
	b.send(x, 0, "2", "3", "4")
	b.end(x, 0)
	b.mustDrain()
	x.next = 0 // and another sends all of it, after the end
	b.send(x, 0, "1", "2", "3", "4")
	b.end(x, 0)
	var commits []consumer.Commit
	b.events.Committed = func(c consumer.Commit) { commits = append(commits, c) }
	b.mustDrain()
	b.want("feed", "id=1", "id=2", "id=3", "id=4")
	if len(commits) != 1 || commits[0].Duplicates != 4 || commits[0].Rows != 0 {
		t.Errorf("the rows sent again were committed as %+v", commits)
	}
}

func TestRowsBehindTheEndAreConflicts(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "id")
	b.send(x, 0, "1")
	b.end(x, 0)
	b.send(x, 0, "2")
	var conflicts int
	b.events.Conflict = func(int, int64, schema.StreamID, int64) { conflicts++ }
	b.mustDrain()
	b.want("feed", "id=1")
	if conflicts != 1 {
		t.Errorf("%d conflicts were told, want 1", conflicts)
	}
}

func TestUnfitRowsGoToQuarantine(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "a,b")
	b.send(x, 0, "1,2", "1,2,3", "4", `5,"6`, "\"7\n\",8", "9,9,9")
	var batch broker.Batch
	batch.Append(wire.AppendKey(nil, x.stream, x.next), []byte("\xff\xfe"), []broker.Header{
		{Key: wire.Source, Value: []byte(x.source)}, {Key: wire.At, Value: []byte("100:17")}, {Key: wire.Reject, Value: []byte("encoding")},
		{Key: wire.Message, Value: []byte("not UTF-8")}, {Key: wire.Bytes, Value: []byte("100-102")},
	}, 0)
	batch.Append([]byte("foreign"), []byte("whatever"), nil, 0)
	x.next++
	b.produce(0, &batch)
	b.end(x, 0)
	b.mustDrain()
	b.want("feed", "a=1 b=2", "a=7\n b=8")
	var got []string
	for _, row := range b.lake("feed__quarantine") {
		var keep []string
		for _, cell := range strings.Split(row, " ") {
			for _, name := range []string{"row=", "line=", "rule=", "offset=", "bytes_from="} {
				if strings.HasPrefix(cell, name) {
					keep = append(keep, cell)
				}
			}
		}
		got = append(got, strings.Join(keep, " "))
	}
	slices.Sort(got)
	want := []string{
		"offset=7 rule=foreign_key",
		"row=1 line=3 offset=1 rule=cell_count", "row=2 line=4 offset=2 rule=cell_count", "row=3 line=5 offset=3 rule=not_csv",
		"row=5 line=8 offset=5 rule=cell_count", "row=6 line=17 bytes_from=100 offset=6 rule=encoding",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
}

// A batch that is committed in the middle of a record batch, and one whose
// headers a mirror dropped, still know their columns.
func TestHeadersAreLookedUp(t *testing.T) {
	b := newBench(t, 1)
	x, other := stream("x.csv", "id,name"), stream("y.csv", "n")
	b.send(x, 0, "1,a", "2,b")
	b.send(other, 0, "9")
	x.noHeads = true
	b.send(x, 0, "3,c")
	b.send(x, 0, "4,d")
	b.mustDrain()
	b.want("feed", "id=1 name=a", "id=2 name=b", "id=3 name=c", "id=4 name=d", "n=9")
	b.send(x, 0, "5,e")
	b.end(x, 0)
	b.mustDrain()
	if rows := b.lake("feed"); !slices.Contains(rows, "id=5 name=e") {
		t.Errorf("a row behind the chain's end lost its columns: %q", rows)
	}
}

func TestObjectsWithoutAHeader(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "")
	b.send(x, 0, "1,a", "2,b")
	b.end(x, 0)
	b.mustDrain()
	b.want("feed", "column_1=1 column_2=a", "column_1=2 column_2=b")
}

func TestPartitions(t *testing.T) {
	b := newBench(t, 1)
	b.shape.PartitionBy = []string{"country", "date(at)"}
	x := stream("x.csv", "country,at,n")
	b.send(x, 0, "de,2020-01-01T10:00:00Z,1", "a/b=c,2020-01-02T23:59:59Z,2", ",2020-01-01T00:00:00Z,3", `"",,4`, "de,2020-01-01T11:00:00Z,5")
	b.end(x, 0)
	b.mustDrain()
	b.want("feed",
		"country=__HIVE_DEFAULT_PARTITION__/at_date=2020-01-01 at=2020-01-01T00:00:00Z n=3",
		"country=__HIVE_DEFAULT_PARTITION__/at_date=__HIVE_DEFAULT_PARTITION__ n=4 _rescued=[{\"key\":\"country\",\"value\":\"\"}]",
		"country=a%2Fb%3Dc/at_date=2020-01-02 at=2020-01-02T23:59:59Z n=2",
		"country=de/at_date=2020-01-01 at=2020-01-01T10:00:00Z n=1",
		"country=de/at_date=2020-01-01 at=2020-01-01T11:00:00Z n=5",
	)
}

func TestMetaColumns(t *testing.T) {
	b := newBench(t, 1)
	b.shape.Meta = true
	x := stream("x.csv", "n")
	var batch broker.Batch
	for i, at := range []int64{0, 1_577_836_800_123} { // the messages' timestamps
		batch.Append(wire.AppendKey(nil, x.stream, int64(i)), fmt.Append(nil, i+1), x.heads(), at)
	}
	b.produce(0, &batch)
	b.mustDrain()
	b.want("feed", "n=1 _source=file:///x.csv _row=0 _offset=0 _ingested_at=1970-01-01T00:00:00Z",
		"n=2 _source=file:///x.csv _row=1 _offset=1 _ingested_at=2020-01-01T00:00:00.123Z")
}

// Two consumers that both think a topic partition is theirs: one is a zombie.
// Every row is in the lake once, whoever wins.
func TestTwoOwnersOfATopicPartition(t *testing.T) {
	b := newBench(t, 1)
	b.flush = 1 // a commit for each record batch
	x := stream("x.csv", "n")
	var want []string
	for i := range 40 {
		b.send(x, 0, fmt.Sprint(i), fmt.Sprint(i, ".5"))
		want = append(want, fmt.Sprintf("n=%d", i), fmt.Sprintf("n=%d.5", i))
	}
	b.end(x, 0)
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- b.drain() }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	slices.Sort(want)
	b.want("feed", want...)
}

func TestInterruptedConsumerCommitsWhatItRead(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "n")
	b.send(x, 0, "1", "2")
	ctx, cancel := context.WithCancel(t.Context())
	c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: b.table(), FlushEvery: time.Hour}
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	time.Sleep(time.Second) // long enough to have read; the next drain makes it right otherwise
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.mustDrain()
	b.want("feed", "n=1", "n=2")
}

func TestAnotherLogStopsTheFeed(t *testing.T) {
	b := newBench(t, 1)
	x := stream("x.csv", "n")
	b.send(x, 0, "1")
	b.mustDrain()
	other := newBench(t, 1)
	other.store = b.store
	other.send(x, 0, "2")
	var log *sink.LogError
	if err := other.drain(); !errors.As(err, &log) || log.Case != sink.LogOther {
		t.Errorf("a topic made again was read: %v", err)
	}
	b.want("feed", "n=1")
}

// Two members of a group share the topic partitions out, and the lake has every
// row once.
func TestAGroupSharesTheTopic(t *testing.T) {
	b := newBench(t, 4)
	b.group = "lakefeed.feed"
	var want []string
	for p := range 4 {
		x := stream(fmt.Sprint("x", p), "n")
		for i := range 10 {
			b.send(x, p, fmt.Sprint(p*100+i))
			want = append(want, fmt.Sprintf("n=%d", p*100+i))
		}
		b.end(x, p)
	}
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- b.drain() }()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	slices.Sort(want)
	b.want("feed", want...)
}
