package consumer_test

import (
	"strings"
	"testing"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/schema"
)

// foreign sends messages as another producer would: with keys of its own or none.
func (b *bench) foreign(partition int, values ...string) {
	b.t.Helper()
	var batch broker.Batch
	for i, v := range values {
		var key []byte
		if i%2 == 1 {
			key = []byte("customer-" + v[:1])
		}
		batch.Append(key, []byte(v), []broker.Header{{Key: "content-type", Value: []byte("text/plain")}}, 1_700_000_000_000)
	}
	b.produce(partition, &batch)
}

func TestJSONMessagesBecomeRows(t *testing.T) {
	b := newBench(t, 2)
	b.messages = &consumer.Messages{Format: consumer.JSONMessages}
	b.shape.Meta = true
	b.foreign(0,
		`{"id": 1, "name": "a,\"b\"", "at": "2026-01-31T10:00:00Z", "ok": true}`,
		`{"name": "NA", "id": 2, "tags": ["x", {"y": 1}], "ok": null}`,
		`{"id": 3, "name": "", "id": 4}`,
	)
	b.foreign(1, `{"id": 5`, `[1]`, `{"id": 6} {}`, `{}`, "{\"id\": \"\xff\"}", `{"id": 7}`)
	b.mustDrain()
	b.want("feed",
		`id=1 name=a,"b" at=2026-01-31T10:00:00Z ok=true _offset=0 _ingested_at=2023-11-14T22:13:20Z`,
		`id=2 name=NA tags=["x", {"y": 1}] _offset=1 _ingested_at=2023-11-14T22:13:20Z`,
		"id=4 name= _offset=2 _ingested_at=2023-11-14T22:13:20Z",
		"id=7 _offset=5 _ingested_at=2023-11-14T22:13:20Z",
	)
	var rules []string
	for _, q := range b.quarantined() {
		rules = append(rules, q[strings.Index(q, "rule="):])
	}
	if got := strings.Join(rules, ","); got != "rule=encoding,rule=not_json,rule=not_json,rule=not_json,rule=not_json" {
		t.Errorf("quarantine: %s", got)
	}
	b.clean()
}

// A member is in one column, wherever in its object it stands.
func TestJSONMembersHaveNoOrder(t *testing.T) {
	b := newBench(t, 1)
	b.messages = &consumer.Messages{Format: consumer.JSONMessages}
	b.foreign(0,
		`{"id": 1, "名前": "a", "値": "b"}`,
		`{"値": "d", "名前": "c", "id": 2}`,
		`{"名前": "e", "": "f", "id": 3}`,
		`{"id": 4, "Code": "g", "code": "h"}`,
		`{"code": "j", "id": 5, "Code": "i"}`,
	)
	b.mustDrain()
	b.want("feed",
		"id=1 u540d_u524d=a u5024=b",
		"id=2 u540d_u524d=c u5024=d",
		"id=3 u540d_u524d=e u=f",
		"id=4 code_2=g code=h",
		"id=5 code_2=i code=j",
	)
	b.clean()
}

func TestCSVMessagesBecomeRows(t *testing.T) {
	b := newBench(t, 1)
	b.messages = &consumer.Messages{Format: consumer.CSVMessages, Columns: []string{"Id", "Name"}}
	b.foreign(0, "1,a", `2,"b,c"`, "3", `4,"x`, "5,e")
	x := stream("x.csv", "id,name")
	b.send(x, 0, "6,f") // rows of ours among them
	b.end(x, 0)
	b.foreign(0, "1,a") // another row, as its offset says
	b.mustDrain()
	b.want("feed", "id=1 name=a", "id=1 name=a", "id=2 name=b,c", "id=5 name=e", "id=6 name=f")
	if got := b.quarantined(); len(got) != 2 || !strings.Contains(got[0], "rule=cell_count") || !strings.Contains(got[1], "rule=not_csv") {
		t.Errorf("quarantine: %q", got)
	}
	b.mustDrain()
	b.clean()
	// Without names the columns are numbered.
	other := newBench(t, 1)
	other.messages = &consumer.Messages{Format: consumer.CSVMessages}
	other.foreign(0, "1,a")
	other.mustDrain()
	other.want("feed", "column_1=1 column_2=a")
}

// Writers of CSV end each record with a line end, and some mark each text as UTF-8: a
// cell has neither.
func TestCSVMessagesWithLineEnds(t *testing.T) {
	b := newBench(t, 1)
	b.messages = &consumer.Messages{Format: consumer.CSVMessages, Columns: []string{"id", "day"}}
	b.foreign(0, "1,2026-01-01\n", "2,2026-01-02\r\n", "\ufeff3,\"2026-01-03\"\r\n", "4,\"a\nb\n\"\n", "5,2026-01-05\n6,2026-01-06\n", "7,2026-01-07\n\n", "8,\"x\ny\"")
	b.mustDrain()
	b.want("feed", "id=1 day=2026-01-01", "id=2 day=2026-01-02", "id=3 day=2026-01-03", "id=4 day=a\nb\n", "id=8 day=x\ny")
	got := b.quarantined()
	if len(got) != 2 || !strings.Contains(got[0], "rule=not_csv") || !strings.Contains(got[1], "rule=not_csv") {
		t.Errorf("quarantine: %q", got)
	}
	b.clean()
	other := newBench(t, 1)
	other.messages = &consumer.Messages{Format: consumer.JSONMessages}
	other.foreign(0, "\ufeff{\"id\": 1}\n")
	other.mustDrain()
	other.want("feed", "id=1")
}

// Messages of others are in quarantine until somebody says what they are; then they are
// rows, once each.
func TestForeignMessagesAreReplayed(t *testing.T) {
	b := newBench(t, 1)
	b.foreign(0, `{"n": 1}`, `{"n": "x"}`, `no JSON`)
	b.mustDrain()
	if got := b.quarantined(); len(got) != 3 || !strings.Contains(got[0], "rule=foreign_key") {
		t.Fatalf("quarantine: %q", got)
	}
	b.messages = &consumer.Messages{Format: consumer.JSONMessages}
	b.contract = &schema.Contract{Columns: map[string]schema.Declaration{"n": {Type: schema.Type{Kind: schema.Bigint}}}}
	if done := b.replay(everyReject); done.Rows != 2 || done.Still != 1 || done.Rescued != 1 {
		t.Errorf("%+v", done)
	}
	b.want("feed", `_rescued=[{"key":"n","value":"x"}]`, "n=1")
	if got := b.quarantined(); len(got) != 1 || !strings.Contains(got[0], "rule=not_json") {
		t.Errorf("quarantine: %q", got)
	}
	b.foreign(0, `{"n": 2}`)
	b.mustDrain()
	b.clean()
}

// Files of such rows are made again when they are lost.
func TestForeignRowsAreRepaired(t *testing.T) {
	b := newBench(t, 1)
	b.messages = &consumer.Messages{Format: consumer.JSONMessages}
	b.foreign(0, `{"n": 1}`, `{"n": 2, "m": "x"}`)
	b.lakeStore = &losing{Store: b.store}
	b.mustDrain()
	b.lakeStore = nil
	b.mustDrain()
	b.want("feed", "n=1", "n=2 m=x")
	b.clean()
}

func TestMessagesThatAreNotValid(t *testing.T) {
	for _, m := range []consumer.Messages{{}, {Format: "avro"}, {Format: "json", Columns: []string{"a"}}} {
		if err := m.Validate(); err == nil {
			t.Errorf("%+v is valid", m)
		}
	}
}
