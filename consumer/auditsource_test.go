package consumer_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"lakefeed/consumer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// keepRaw begins a raw zone, with the copy of an object of some rows.
func (b *bench) keepRaw(f *feed, rows ...string) {
	b.t.Helper()
	zone, err := raw.Open(b.store, "feed")
	if err != nil {
		b.t.Fatal(err)
	}
	b.zone = zone
	text := strings.Join(append([]string{f.header}, rows...), "\n") + "\n"
	found, err := csv.Sniff([]byte(f.header+"\n1,a\n2,b\n3,c\n"), true)
	if err != nil {
		b.t.Fatal(err)
	}
	o, err := zone.Object(b.t.Context(), raw.Manifest{
		URI: f.source, Version: "0", Stream: f.stream, Dialect: found.Dialect, Columns: found.Columns, Width: found.Width,
		Body: found.Body, BodyLine: found.BodyLine, Splitter: csv.Version,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.ReadAll(o.Copying(b.t.Context(), strings.NewReader(text), 0)); err != nil {
		b.t.Fatal(err)
	}
}

// removing has the broker remove what is before an offset of topic partition 0 when an
// audit that compares has read an object whose key contains part, once.
func (b *bench) removing(part string, before int64) func(*consumer.Audit) {
	compares, done := false, false
	lake := &hooked{Store: b.store, got: func(key string) {
		if compares && !done && strings.Contains(key, part) {
			done = true
			b.deleteRecords(0, before)
		}
	}}
	b.t.Cleanup(func() {
		if !done {
			b.t.Errorf("nothing was removed: no object has %q in its key", part)
		}
	})
	b.lakeStore = lake
	return func(a *consumer.Audit) {
		compares = true
		if a.Raw == nil {
			return
		}
		var err error
		if a.Raw, err = raw.Open(lake, "feed"); err != nil {
			b.t.Fatal(err)
		}
	}
}

// whole has an audit fail when the topic does not have all rows.
func whole(a *consumer.Audit) { a.Whole = true }

// wantRanges checks what the offsets were compared with.
func wantRanges(t *testing.T, r *sink.AuditReport, want ...sink.ComparedRange) {
	t.Helper()
	have := slices.Clone(r.Ranges)
	for i := range have {
		have[i].Chain, have[i].Log, have[i].Why = "", "", ""
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

// What retention removes during an audit is compared with the raw zone, and the report
// says so.
func TestAuditWhileRetentionRemoves(t *testing.T) {
	rows := []string{"1,a", "2,b", "3,c", "4,d", "5,e", "6,f", "7,g", "8,h", "9,i", "10,j", "11,k", "12,l"}
	filled := func(t *testing.T) *bench {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		b.keepRaw(f, rows...)
		for i := 0; i < len(rows); i += 3 {
			b.send(f, 0, rows[i:i+3]...)
			if i+3 == len(rows) {
				b.endWith(f, 0, int64(len(rows)), "complete", hashOf(f, rows...))
			}
			b.mustDrain()
		}
		return b
	}
	const topic, zone, nothing = sink.WithTopic, sink.WithRawZone, sink.WithNothing
	const firstFile, secondFile = "feed/part-feed-0-00000000000000000000-", "feed/part-feed-0-00000000000000000001-"

	t.Run("of records that come next", func(t *testing.T) {
		b := filled(t)
		r := b.auditWith(true, 0, b.removing(firstFile, 8), whole)
		b.wantFound(r, "")
		wantRanges(t, r, sink.ComparedRange{From: 0, To: 3, With: topic}, sink.ComparedRange{From: 3, To: 8, With: zone}, sink.ComparedRange{From: 8, To: 13, With: topic})
		if r.Compared != 7 || r.ComparedRaw != 5 || r.Hashed != 1 {
			t.Error(describe(r))
		}
	})
	t.Run("of the record that is read, between two reads", func(t *testing.T) {
		b := newBench(t, 1)
		f := stream("a.csv", "id,v")
		var large []string
		for i := range 48 {
			large = append(large, fmt.Sprintf("%d,%s", i, strings.Repeat("x", 200_000)))
		}
		b.keepRaw(f, large...)
		for i := 0; i < len(large); i += 4 {
			b.send(f, 0, large[i:i+4]...)
		}
		b.endWith(f, 0, 48, "complete", hashOf(f, large...))
		b.mustDrain()
		b.deleteRecords(0, 1)
		r := b.auditWith(false, 0, b.removing("/objects/", 40), whole)
		b.wantFound(r, "")
		if r.Records != 1 || r.Compared+r.ComparedRaw != 48 || r.ComparedRaw < 16 || r.Hashed != 1 || len(r.Ranges) < 2 {
			t.Fatal(describe(r))
		}
		r.Ranges = r.Ranges[len(r.Ranges)-2:]
		second := r.Ranges[0].From // by how much was read first
		if second <= 1 || second >= 40 {
			t.Errorf("the second read began at offset %d", second)
		}
		wantRanges(t, r, sink.ComparedRange{From: second, To: 40, With: zone}, sink.ComparedRange{From: 40, To: 49, With: topic})
	})
	t.Run("and the raw zone lacks them", func(t *testing.T) {
		b := filled(t)
		for _, key := range b.objects() {
			if strings.Contains(key, "/order/") && strings.Contains(key, "00000006-") {
				b.remove(key)
			}
		}
		r := b.auditWith(true, 0, b.removing(firstFile, 8))
		b.wantFound(r, "damage raw-missing", "3 rows of records 2 to 2 were not compared", "the order of offsets before, and not of these")
		wantRanges(t, r, sink.ComparedRange{From: 0, To: 3, With: topic}, sink.ComparedRange{From: 3, To: 6, With: zone}, sink.ComparedRange{From: 6, To: 9, With: nothing}, sink.ComparedRange{From: 9, To: 13, With: topic})
	})
	t.Run("and there is no raw zone", func(t *testing.T) {
		b := filled(t)
		b.zone = nil
		b.wantFound(b.auditWith(true, 0, b.removing(firstFile, 8)), "warning topic-removed", "6 rows of records 1 to 2 were not compared: neither the topic nor a raw zone has them: the topic partition begins at offset 8")
	})
	t.Run("of rows that a replay took out of the quarantine", func(t *testing.T) {
		b := rejecting(t, "1,a", "x,b", "3,c", "y,d", "5,e", "6,f,g")
		b.contract.OnTypeChange = schema.PolicyRescue
		if done := b.replay(func(q *sink.QuarantineRow) bool { return q.Rule == "type_change" }); done.Rows != 2 {
			t.Fatalf("replayed: %+v", done)
		}
		r := b.auditWith(true, 0, b.removing(secondFile, 7), whole)
		b.wantFound(r, "")
		wantRanges(t, r, sink.ComparedRange{From: 0, To: 7, With: topic})
		b.lakeStore = nil
		b.zone = nil
		b.wantFound(b.auditWith(true, 0, whole), "damage topic-removed")
	})
}

// Rows that there is nothing to compare with are a note where they may have been sent
// again, and damage where the topic must have all.
func TestAuditOfAWholeTopic(t *testing.T) {
	t.Run("a topic that was made again", func(t *testing.T) {
		b := rejecting(t)
		b.contract.OnTypeChange = schema.PolicyRescue
		b.replay(func(q *sink.QuarantineRow) bool { return q.Rule == "type_change" })
		b.wantFound(b.auditWith(true, 0, whole), "")
		b.deleteTopic()
		b.adopt = true
		b.send(stream("other.csv", "n,s"), 0, "8,h")
		b.mustDrain()
		says := []string{"6 rows of records 0 to 1 were not compared", "they were taken out of the quarantine"}
		b.wantFound(b.audit(true), "", says...)
		r := b.auditWith(true, 0, whole)
		b.wantFound(r, "damage topic-removed", append(says, "unless they were sent again since")...)
		if r.Compared != 1 || r.Counts[sink.TopicNotCompared] != 0 {
			t.Error(describe(r))
		}
	})
	t.Run("a topic partition that is not there", func(t *testing.T) {
		b := newBench(t, 1)
		restore := b.snapshot()
		client := &kafka.Client{Addr: kafka.TCP(b.kafka.Addrs()...), Transport: &kafka.Transport{}}
		defer client.Transport.(*kafka.Transport).CloseIdleConnections()
		made, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "feed", Count: 2}}})
		if err != nil || made.Errors["feed"] != nil {
			t.Fatal(err, made)
		}
		b.makeTopic(2)
		b.send(stream("a.csv", "id,v"), 1, "1,a", "2,b")
		b.mustDrain()
		b.wantFound(b.auditWith(false, 0, whole), "")
		restore()
		const says = "2 rows of records 0 to 0 were not compared: neither the topic nor a raw zone has them: topic feed has 1 partitions"
		b.wantFound(b.audit(false), "", says)
		b.wantFound(b.auditWith(false, 0, whole), "damage topic-removed", says)
	})
	t.Run("a replay before a cut of what it did not take", func(t *testing.T) {
		b := rejecting(t)
		b.loss = consumer.Record
		f := stream("y.csv", "n,s")
		b.contract.OnTypeChange = schema.PolicyRescue
		restore := b.snapshot()
		b.send(f, 0, "8,h", "9,i")
		b.mustDrain()
		if done := b.replay(func(q *sink.QuarantineRow) bool { return q.Rule == "type_change" }); done.Rows != 2 {
			t.Fatalf("replayed: %+v", done)
		}
		restore()
		f.next = 0
		b.send(f, 0, "8,h", "9,i", "10,j")
		b.mustDrain()
		r := b.audit(true)
		b.wantFound(r, "", "2 rows of records 2 to 2 were not compared: the log has lost their messages since")
		if n := r.Counts[sink.TopicNotCompared]; n != 1 {
			t.Errorf("%d findings of what was not compared: %s", n, describe(r))
		}
	})
}
