package producer_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

func utf16Bytes(order binary.ByteOrder, s string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, 0, 0)
		order.PutUint16(out[len(out)-2:], u)
	}
	return string(out)
}

func latin(s string) string {
	var out []byte
	for _, r := range s {
		out = append(out, byte(r))
	}
	return string(out)
}

// In all dialects the same rows arrive, once each and in order, and a reader
// finds where each of them stands in the file.
func TestDialects(t *testing.T) {
	b := newBench(t, 2)
	cases := []struct {
		name, text string // § marks the beginning of a row
		encode     func(string) string
		columns    string
		rows       []string
	}{
		{name: "comma.csv", text: "id,name\n§1,a\n§2,\n§3,\"\"\n§4,\"x,y\"\n", columns: "id,name", rows: []string{"1,a", "2,", `3,""`, `4,"x,y"`}},
		{name: "semicolon.csv", text: "id;name\n§1;a,b\n§2;\n§3;\"\"\n§4;\"x;y\"\n", columns: "id,name", rows: []string{`1,"a,b"`, "2,", `3,""`, `4,x;y`}},
		{name: "tab.tsv", text: "id\tname\n§1\ta,b\n§2\t\n§3\tc\n", columns: "id,name", rows: []string{`1,"a,b"`, "2,", "3,c"}},
		{name: "single.csv", text: "id,name\n§1,'a,b'\n§2,''\n§3,'it''s'\n§4,'say \"x\"'\n", columns: "id,name", rows: []string{`1,"a,b"`, `2,""`, "3,it's", `4,"say ""x"""`}},
		{name: "crlf.csv", text: "id,name\r\n§1,a\r\n§2,\"b\r\nc\"\r\n§3,d\r\n", columns: "id,name", rows: []string{"1,a", "2,\"b\r\nc\"", "3,d"}},
		{name: "newline.csv", text: "id,name\n§1,\"a\nb\n\"\n§2,c\n§3,\"\n\"\n§4,d\n", columns: "id,name", rows: []string{"1,\"a\nb\n\"", "2,c", "3,\"\n\"", "4,d"}},
		{name: "bom.csv", text: "\ufeffid,name\n§1,é\n§2,b\n", columns: "id,name", rows: []string{"1,é", "2,b"}},
		{name: "noend.csv", text: "id,name\n§1,a\n§2,b", columns: "id,name", rows: []string{"1,a", "2,b"}},
		{name: "latin.csv", text: "id,name\n§1,Zoë\n§2,François\n§3,Ünal", encode: latin, columns: "id,name", rows: []string{"1,Zoë", "2,François", "3,Ünal"}},
		{name: "utf16le.csv", text: "\ufeffid,name\n§1,Zoë\n§2,日本\n§3,x", encode: func(s string) string { return utf16Bytes(binary.LittleEndian, s) }, columns: "id,name", rows: []string{"1,Zoë", "2,日本", "3,x"}},
		{name: "utf16be.csv", text: "\ufeffid,name\r\n§1,Zoë\r\n§2,日本\r\n", encode: func(s string) string { return utf16Bytes(binary.BigEndian, s) }, columns: "id,name", rows: []string{"1,Zoë", "2,日本"}},
		{name: "blank.csv", text: "id,name\n§1,a\n\n\n§2,b\n§3,c\n\n§4,d\n\n", columns: "id,name", rows: []string{"1,a", "2,b", "3,c", "4,d"}},
		{name: "one.csv", text: "id\n§1\n§\n§2\n", columns: "id", rows: []string{"1", "", "2"}},
		{name: "headeronly.csv", text: "id,name\n", columns: "", rows: nil},
	}
	for _, c := range cases {
		content, _ := marked(c.text)
		if c.encode != nil {
			content = c.encode(content)
		}
		b.write(c.name, content)
	}
	summary := b.send(b.config())
	byName := map[string]*sent{}
	for _, s := range b.streams() {
		byName[s.Source[strings.LastIndexByte(s.Source, '/')+1:]] = s
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := byName[c.name]
			if s == nil {
				t.Fatal("not in the topic")
			}
			s.want(t, producer.Complete, c.rows...)
			if s.Columns != c.columns {
				t.Errorf("columns %q, want %q", s.Columns, c.columns)
			}
			_, at := marked(c.text)
			s.wantPositions(t, at)
			uri := "file://" + b.path(c.name)
			if s.Source != uri {
				t.Errorf("source %s, want %s", s.Source, uri)
			}
			if id := schema.NewStreamID(uri, "0", 0); s.ID != id {
				t.Errorf("stream %s, want %s", s.ID, id)
			}
			o := object(t, summary, c.name)
			o.Bytes = 0
			want := producer.ObjectSummary{URI: uri, Version: "0", Stream: s.ID, Partition: s.Partition, Rows: int64(len(c.rows)), Sent: int64(len(c.rows)), Status: producer.Complete}
			if diff := cmp.Diff(want, o); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
			if int(s.ID.Hash64()%2) != s.Partition {
				t.Errorf("stream %s is in topic partition %d", s.ID, s.Partition)
			}
		})
	}
	b.wantWarnings()
}

// A record batch has its headers on the first message and behind what breaks the
// count of lines; with HeadersEvery they are on every message.
func TestHeaders(t *testing.T) {
	for _, every := range []bool{false, true} {
		t.Run(fmt.Sprintf("every=%v", every), func(t *testing.T) {
			b := newBench(t, 1)
			content, at := marked("id,name\n§1,a\n§2,\"b\nc\"\n\n§3,c\n§4,d\n§5,e\n# x\n§6,f\n§7,g\n")
			b.write("x.csv", content)
			c := b.config()
			c.BatchRows = 5
			c.HeadersEvery = every
			comment := byte('#')
			c.CSV.Comment = &comment
			b.send(c)
			s := b.one("x.csv")
			s.want(t, producer.Complete, "1,a", "2,\"b\nc\"", "3,c", "4,d", "5,e", "6,f", "7,g")
			s.wantPositions(t, at)
			var got []string
			for _, m := range s.Messages {
				got = append(got, strings.Join(sortedKeys(m.Headers), " "))
			}
			all, pos := "lakefeed.at lakefeed.columns lakefeed.source", wire.At
			want := []string{all, "", pos, "", "", all, ""}
			if every {
				want = []string{all, all, all, all, all, all, all}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoHeaderNoColumns(t *testing.T) {
	b := newBench(t, 1)
	b.write("x.csv", "1,2.5\n2,3.5\n")
	no := false
	c := b.config()
	c.CSV.Header = &no
	b.send(c)
	s := b.one("x.csv")
	s.want(t, producer.Complete, "1,2.5", "2,3.5")
	for _, m := range s.Messages {
		if _, ok := m.Headers[wire.Columns]; ok {
			t.Errorf("message %s has columns", m.Key)
		}
	}
}

// Many files in few topic partitions at once: batches do not mix, and times are
// when the rows were read.
func TestManyFiles(t *testing.T) {
	b := newBench(t, 3)
	for i := range 20 {
		b.write(fmt.Sprintf("in/%02d.csv", i), text("a,b", numbered(i, i+50)))
	}
	b.pass(24 * time.Hour)
	began := b.now()
	c := b.config(b.source("in")...)
	c.BatchRows = 7
	b.send(c)
	all := b.streams()
	if len(all) != 20 {
		t.Fatalf("%d streams, want 20", len(all))
	}
	for i := range 20 {
		b.one(fmt.Sprintf("%02d.csv", i)).want(t, producer.Complete, numbered(i, i+50)...)
	}
	for _, m := range b.messages() {
		if m.At.Before(began) {
			t.Fatalf("message %s is of %s, before the run began at %s", m.Key, m.At, began)
		}
	}
}

// A batch ends at BatchBytes, too.
func TestBatchBytes(t *testing.T) {
	b := newBench(t, 1)
	row := "1," + strings.Repeat("x", 1000)
	b.write("x.csv", text("a,b", []string{row, row, row, row, row}))
	c := b.config()
	c.BatchBytes = 2000
	b.send(c)
	var firsts []int64
	for _, m := range b.one("x.csv").Messages {
		if m.First {
			firsts = append(firsts, m.Row)
		}
	}
	if diff := cmp.Diff([]int64{0, 2, 4}, firsts); diff != "" {
		t.Errorf("first rows of batches (-want +got):\n%s", diff)
	}
}

func TestRejects(t *testing.T) {
	b := newBench(t, 1)
	long := strings.Repeat("y", 200<<10)
	content, at := marked("id,name\n§1,a\n§2,\xff\xfe\n§3,b\n§4," + long + "\n§5,c\n§6,x,\"open\n§7,d\n")
	b.write("x.csv", content)
	c := b.config()
	c.MaxRecord = 100 << 10
	utf8 := csv.UTF8
	c.CSV.Encoding = &utf8
	summary := b.send(c)
	s := b.one("x.csv")
	s.want(t, producer.Complete, "1,a", "2,\xff\xfe", "3,b", ("4," + long)[:64<<10], "5,c", `6,x,"open`, "7,d")
	s.wantPositions(t, at)
	type reject struct{ Row, Rule, Bytes string }
	var got []reject
	for _, m := range s.Messages {
		if r := m.Headers[wire.Reject]; r != "" {
			got = append(got, reject{fmt.Sprint(m.Row), r, m.Headers[wire.Bytes]})
			if m.Headers[wire.Message] == "" {
				t.Errorf("reject %s does not say why", m.Key)
			}
		}
	}
	i, j, k := strings.Index(content, "2,"), strings.Index(content, "4,"), strings.Index(content, "6,")
	want := []reject{
		{"1", csv.Encoding, fmt.Sprintf("%d-%d", i, i+5)},
		{"3", csv.TooLong, fmt.Sprintf("%d-%d", j, j+3+len(long))},
		{"5", csv.OpenQuote, fmt.Sprintf("%d-%d", k, k+10)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	if o := object(t, summary, "x.csv"); o.Rejects != 3 || o.Rows != 7 {
		t.Errorf("summary %+v", o)
	}
	if len(b.rejected) != 3 || b.rejected[2].Line != 7 || b.rejected[2].Rule != csv.OpenQuote {
		t.Errorf("events %+v", b.rejected)
	}
}
