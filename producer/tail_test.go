package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefeed/producer"
)

// What follows a table is looked for where a compressed object ends, or one in another
// encoding. Its rows and rejects are the same wherever its producers died, and however
// often.
func TestKilledBeforeRemarks(t *testing.T) {
	var rows []string
	var long bytes.Buffer
	long.WriteString("id,a,b\n")
	for i := 0; long.Len() < producer.SniffBytes+128<<10; i++ {
		rows = append(rows, fmt.Sprintf("%d,%s,\"x, é\"", i, strings.Repeat("v", 400)))
		long.WriteString(rows[i] + "\n")
	}
	long.WriteString("\nSource: Office\n* provisional\n")
	rows = append(rows, "Source: Office", "* provisional")
	random := rand.New(rand.NewPCG(5, 6))
	for name, content := range map[string]string{"x.csv.gz": gzipped(long.String()), "x.csv": utf16Bytes(littleEndian, "\ufeff"+long.String())} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.write(name, content)
			for run := 0; ; run++ {
				if run > 100 {
					t.Fatal("it does not come to its end")
				}
				ctx, cancel := context.WithCancel(t.Context())
				c := b.config()
				c.BatchRows = 1 + random.IntN(30)
				left := int64(1 + random.IntN(80))
				if run == 0 {
					left = int64(len(rows) - 250)
				}
				c.Events.Sent = func(i producer.SentInfo) {
					b.pass(300 * time.Millisecond) // so that progress is written now and then
					if left -= i.Rows; left <= 0 {
						cancel()
					}
				}
				_, err := (&producer.Producer{Config: c}).Run(ctx)
				cancel()
				if err == nil {
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				if s := b.one(name); random.IntN(2) == 0 && s.Status == "" {
					n := len(b.progress(s.ID))
					b.crash(s.ID, n-random.IntN(min(n, 4)))
				}
			}
			s := b.one(name)
			s.want(t, producer.Complete, rows...)
			if n := int64(len(rows)); !slices.Equal(s.Rejects, []int64{n - 2, n - 1}) {
				t.Errorf("rejects %v of %d rows", s.Rejects, n)
			}
			if s.Twice == 0 {
				t.Error("no row was sent twice: nothing was tried")
			}
			b.wantWarnings()
		})
	}
}
