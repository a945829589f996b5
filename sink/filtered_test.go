package sink_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
)

// Offsets of rows that were left out are stored as runs, and read as they were.
func TestFilteredOffsetsOfARecord(t *testing.T) {
	r := exampleRecord()
	r.To = 100_000
	r.Skipped = []sink.Skip{{From: 10, To: 12, Reason: sink.SkipDuplicate}}
	for at := int64(12); at < 90_000; at += 3 {
		r.Skipped = append(r.Skipped, sink.Skip{From: at, To: at + 1, Reason: sink.SkipFiltered})
		if at%1000 == 0 {
			r.Skipped = append(r.Skipped, sink.Skip{From: at + 1, To: at + 2, Reason: sink.SkipControl})
		}
	}
	b, err := sink.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 100_000 {
		t.Errorf("a record of 30,000 rows that were left out has %d bytes", len(b))
	}
	have, err := sink.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, have); diff != "" {
		t.Error(diff)
	}
	for _, damage := range [][2]string{{`"runs":"AQIB`, `"runs":"AQI!`}, {`"runs":"AQIB`, `"runs":"AAIB`}, {`"reason":"filtered","runs":"`, `"reason":"filtered","runs":"/////w`}} {
		if !bytes.Contains(b, []byte(damage[0])) {
			t.Fatalf("no %s in the record", damage[0])
		}
		if _, err := sink.DecodeRecord(bytes.Replace(b, []byte(damage[0]), []byte(damage[1]), 1)); err == nil {
			t.Errorf("%s is read", damage[1])
		}
	}
}
