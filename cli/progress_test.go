package cli

import (
	"strings"
	"testing"
	"time"

	"lakefeed/producer"
)

// The totals fit a terminal of 80 columns, whatever the numbers.
func TestTotalsFit(t *testing.T) {
	for _, s := range []standing{
		{},
		{Seconds: 12, Sent: 1, BytesSent: 5, BytesDone: 5, BytesTotal: 7, ETA: 0.2},
		{Seconds: 99_999, Sent: 9_999_999_999, BytesSent: 9_999e9, BytesDone: 9_999e9, BytesTotal: 99_999e9, ETA: 359_000, Rows: 9_999_999_999, Rescued: 99_999_999, Quarantined: 99_999_999},
	} {
		for _, line := range []string{s.sent(), "  in the lake " + s.lake()} {
			if n := len(line); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}

// What is left is known over all sources: those that are done, gone on with, in
// work and not begun.
func TestWhatIsLeft(t *testing.T) {
	began := time.Now().Add(-10 * time.Second)
	p := (&board{began: began}).feed("")
	p.now.BytesTotal = 1000
	p.pass("sent before", 200)
	p.advance(producer.SentInfo{URI: "gone on with", Rows: 3, Bytes: 50, Offset: 150, Size: 300})
	p.advance(producer.SentInfo{URI: "gone on with", Rows: 3, Bytes: 50, Offset: 200, Size: 300})
	p.advance(producer.SentInfo{URI: "compressed", Rows: 9, Bytes: 900, Offset: 900, Size: -1})
	s := p.standing()
	if s.BytesDone != 400 || s.BytesSent != 1000 || s.Sent != 15 {
		t.Errorf("%+v", s)
	}
	// 600 of 1000 bytes are left, and 100 took ten seconds, or as long as it is since.
	if s.ETA < 59 || s.ETA > 1+6*time.Since(began).Seconds() || !strings.Contains(s.sent(), "400 B of 1.0 kB (") {
		t.Errorf("%v seconds are left: %s", s.ETA, s.sent())
	}
	p.pass("gone on with", 300)
	p.pass("compressed", 100)
	p.pass("failed", 400)
	if s := p.standing(); s.BytesDone != 1000 || s.ETA != 0 {
		t.Errorf("at the end: %+v", s)
	}
}
