package sink_test

import (
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// A raw zone does not tell why an offset has no message: the record's word is taken for
// markers and aborted transactions, and for nothing else.
func TestOffsetsWithoutAMessage(t *testing.T) {
	a := newOwner(t, mem.New()).open()
	d := a.chain.Begin()
	d.Foreign(0)
	d.Skip(1, 2, sink.SkipControl)
	d.Skip(2, 5, sink.SkipAborted)
	d.Skip(5, 6, sink.SkipCompacted)
	d.Skip(6, 8, sink.SkipDuplicate)
	d.Skip(8, 9, sink.SkipControl)
	f := a.file(d, 9, 0, "x\n")
	f.Table = sink.Quarantine
	if outcome, err := a.chain.Commit(t.Context(), d, sink.Commit{To: 9, Log: testLog, Files: []sink.File{f}}); outcome != sink.Decided || err != nil {
		t.Fatalf("%v, %v", outcome, err)
	}
	for name, test := range map[string]struct {
		again func(d *sink.Draft)
		says  string
	}{
		"the same": {again: func(d *sink.Draft) {
			d.Skip(1, 6, sink.SkipCompacted)
			d.Skip(6, 8, sink.SkipDuplicate)
			d.Skip(8, 9, sink.SkipCompacted)
		}},
		"a duplicate is no message any more": {
			again: func(d *sink.Draft) { d.Skip(1, 9, sink.SkipCompacted) },
			says:  "the raw zone has 5 to 7 (compacted) where the lake has 5 to 5 (compacted)",
		},
		"a message where none was": {
			again: func(d *sink.Draft) {
				d.Skip(1, 4, sink.SkipCompacted)
				d.Skip(4, 8, sink.SkipDuplicate)
				d.Skip(8, 9, sink.SkipCompacted)
			},
			says: "the raw zone has 2 to 3 (aborted) where the lake has 2 to 4 (aborted)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for p, err := range a.table.Replay(t.Context(), 0, 0) {
				if err != nil {
					t.Fatal(err)
				}
				p.Draft.Foreign(0)
				test.again(p.Draft)
				p.Draft.AssumeEmpty(p.Record)
				found := strings.Join(p.Draft.Differences(p.Record, sink.WithRawZone), "; ")
				if test.says == "" && found != "" || !strings.Contains(found, test.says) {
					t.Errorf("found %q, want %q", found, test.says)
				}
			}
		})
	}
}
