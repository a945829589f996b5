package consumer_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lakefeed/consumer"
	"lakefeed/consumer/transform"
)

// The columns that steps make are bounded like the rows' text: a batch of which they
// make much ends earlier.
func TestStepsAreOfTheBudget(t *testing.T) {
	batches := func(steps transform.Spec) (commits int, rows int64) {
		b := newBench(t, 1)
		b.memory, b.steps = 48<<20, steps
		b.events.Committed = func(c consumer.Commit) { commits, rows = commits+1, rows+c.Rows }
		x := stream("x.csv", "id,text")
		random := rand.NewChaCha8([32]byte{})
		text := make([]byte, 950) // which cannot be compressed: a fetch has no more of it than its size
		for n := 0; n < 12_000; n += 400 {
			var batch []string
			for i := range 400 {
				random.Read(text)
				batch = append(batch, fmt.Sprintf("%d,%x", n+i, text))
			}
			b.send(x, 0, batch...)
		}
		b.end(x, 0)
		b.mustDrain()
		return commits, rows
	}
	much := map[string]string{}
	for i := range 6 {
		much[fmt.Sprintf("text_%d", i)] = fmt.Sprintf("text + %q", fmt.Sprint(i))
	}
	without, rows := batches(nil)
	with, same := batches(transform.Spec{{Set: much}})
	if rows != 12_000 || same != rows {
		t.Fatalf("%d and %d rows", rows, same)
	}
	if with < 2*without+2 {
		t.Errorf("%d batches without steps, and %d with steps that make six times their text", without, with)
	}
}

// A fetch of compressed messages brings many times its size, of which the budget has
// a part only: a batch ends where it is used up, and not where the fetch does.
func TestCompressedRowsAreOfTheBudget(t *testing.T) {
	b := newBench(t, 1)
	b.memory = 16 << 20
	commits, rows, most := 0, int64(0), int64(0)
	b.events.Committed = func(c consumer.Commit) { commits, rows, most = commits+1, rows+c.Rows, max(most, c.Rows) }
	x := stream("x.csv", "id,text")
	text := strings.Repeat("much the same, ", 64)
	for n := 0; n < 30_000; n += 500 { // 30 MB, of which little is left
		var batch []string
		for i := range 500 {
			batch = append(batch, fmt.Sprintf("%d,\"%s\"", n+i, text))
		}
		b.send(x, 0, batch...)
	}
	b.end(x, 0)
	b.mustDrain()
	if rows != 30_000 || commits < 3 || most > 12_000 {
		t.Errorf("%d rows in %d batches, of %d rows at most: half the memory is that of 8,000", rows, commits, most)
	}
}
