package sink

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuarantine(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)
	rows := []QuarantineRow{
		{Raw: []byte("a,\xff\x00"), Source: "s3://b/k.csv", Stream: "0123456789abcdef", Row: 0, Line: 17, BytesFrom: 100, BytesTo: 104, Topic: "t", Partition: 0,
			Offset: 5, Stage: "split", Rule: "encoding", Column: "c", Message: "not UTF-8", SchemaVersion: 3, At: at},
		{Raw: []byte{}, Row: Unknown, Line: Unknown, BytesFrom: Unknown, BytesTo: Unknown, Partition: Unknown, Offset: Unknown, SchemaVersion: Unknown},
		{Row: Unknown, Line: Unknown, BytesFrom: Unknown, BytesTo: Unknown, Partition: Unknown, Offset: Unknown, SchemaVersion: Unknown},
	}
	var e Encoder
	var buf bytes.Buffer
	got, err := e.EncodeQuarantine(&buf, rows, numbered(3), map[string]string{"lakefeed.topic": "t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(bytes.NewReader(buf.Bytes()), int64(buf.Len()), got, true); err != nil {
		t.Fatal(err)
	}
	columns, cells := readArrow(t, buf.Bytes())
	wantColumns := []string{
		"raw binary", "source utf8", "stream utf8", "row int64", "line int64", "bytes_from int64", "bytes_to int64", "topic utf8", "partition int64",
		"offset int64", "stage utf8", "rule utf8", "column utf8", "message utf8", "schema_version int64", "at timestamp[ms, tz=UTC]",
	}
	if diff := cmp.Diff(wantColumns, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	var wantCells [][]string
	for i, first := range []string{
		`"a,\xff\x00"`, `"s3://b/k.csv"`, `"0123456789abcdef"`, "0", "17", "100", "104", `"t"`, "0", "5", `"split"`, `"encoding"`, `"c"`, `"not UTF-8"`, "3", "1709208000123",
	} {
		second := "null"
		if i == 0 {
			second = `""`
		}
		wantCells = append(wantCells, []string{first, second, "null"})
	}
	if diff := cmp.Diff(wantCells, cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	var names []string
	for _, c := range QuarantineTypes() {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff(names, got.Columns); diff != "" {
		t.Errorf("declared and written columns (-declared +written):\n%s", diff)
	}
}
