package producer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lakefeed/broker"
	"lakefeed/producer"
	"lakefeed/schema"
)

// progress are the progress messages of a stream, oldest first.
func (b *bench) progress(stream schema.StreamID) (out []message) {
	b.t.Helper()
	for _, m := range b.read(b.topic.Name+".progress", 0) {
		if m.Key == "progress/"+stream.String() {
			out = append(out, m)
		}
	}
	return out
}

// claims are the claims of all objects.
func (b *bench) claims() (out []message) {
	b.t.Helper()
	for _, m := range b.read(b.topic.Name+".progress", 0) {
		if strings.HasPrefix(m.Key, "claim/") {
			out = append(out, m)
		}
	}
	return out
}

func (b *bench) ledger(key string, value []byte) {
	b.t.Helper()
	var batch broker.Batch
	batch.Append([]byte(key), value, nil, b.now().UnixMilli())
	if _, err := b.client.Produce(b.t.Context(), b.topic.Name+".progress", 0, &batch); err != nil {
		b.t.Fatal(err)
	}
}

// crash makes the progress of a stream what it was after n messages of it, as if
// its producer had died before it wrote the next. With n = 0 it had written none.
func (b *bench) crash(stream schema.StreamID, n int) {
	b.t.Helper()
	var value []byte
	if n > 0 && !b.progress(stream)[n-1].Null {
		value = []byte(b.progress(stream)[n-1].Value)
	}
	b.ledger("progress/"+stream.String(), value)
}

// Runs are stopped at random places, some without a word, until all is sent.
func TestKilledAndResumed(t *testing.T) {
	rows := map[string][]string{}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 4 {
		b := newBench(t, 2)
		for i := range 3 {
			name := fmt.Sprintf("%d.csv", i)
			rows[name] = numbered(i*1000, i*1000+200)
			switch i {
			case 1:
				rows[name][50] = "9,\"a\nb\"" // and an odd number of lines
				b.write(name, text("a,b", rows[name][:100])+"\n"+text("", rows[name][100:]))
			case 2:
				rows[name][10] = "9,é"
				b.write(name, latin(text("a,b", rows[name])))
			default:
				b.write(name, strings.TrimSuffix(text("a,b", rows[name]), "\n"))
			}
		}
		for run := 0; ; run++ {
			if run > 200 {
				t.Fatal("it does not come to its end")
			}
			ctx, cancel := context.WithCancel(t.Context())
			left := random.IntN(6) + 1
			c := b.config()
			c.BatchRows = 1 + random.IntN(20)
			c.Events.Sent = func(producer.SentInfo) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.clock = b.clock.Add(300 * time.Millisecond) // so that progress is written now and then
				if left--; left == 0 {
					cancel()
				}
			}
			p := &producer.Producer{Config: c}
			s, err := p.Run(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err == nil {
				for _, o := range s.Objects {
					if o.Err != nil || o.Status != producer.Complete {
						t.Errorf("round %d: %+v", round, o)
					}
				}
				break
			}
			for _, s := range b.streams() {
				if n := len(b.progress(s.ID)); random.IntN(3) == 0 && s.Status == "" {
					b.crash(s.ID, random.IntN(n+1))
				}
			}
		}
		for name, want := range rows {
			b.one(name).want(t, producer.Complete, want...)
		}
		if n := len(b.claims()); n != 3 {
			t.Errorf("%d claims, want 3", n)
		}
		b.wantWarnings()
	}
}

// A producer dies anywhere, and the file goes on or is another when the next one
// comes. No key may have two values, no row behind an end, and all rows of the
// file as it is are there.
func TestFileIsAnotherAfterACrash(t *testing.T) {
	kafka, topics := startKafka(t), 0
	first := "a,b\n1,v1\n2,v2\n3,v3\n4,v4\n"
	for _, c := range []struct {
		name, first, second string
	}{
		{"same", first, first},
		{"grown", first, first + "5,v5\n"},
		{"late", first + "5,v", first + "5,v5\n6,v6\n"},
		{"changed", first, "a,b\n1,v1\n2,v2\n3,x\n4,v4\n5,v5\n"},
	} {
		for _, name := range []string{"utf8.csv", "latin.csv"} {
			encode := func(s string) string { return s }
			if name == "latin.csv" {
				encode = func(s string) string { return latin(strings.Replace(s, "1,v1", "1,é", 1)) }
			}
			// How many progress messages there are with a row a batch: count first.
			for n := 0; n < 12; n++ {
				for _, endLost := range []bool{false, true} {
					topics++
					b := newBenchOf(t, kafka, fmt.Sprintf("feed%d", topics), 1)
					b.write(name, encode(c.first))
					cfg := b.config()
					cfg.BatchRows = 1
					cfg.Events.Sent = func(producer.SentInfo) { b.pass(2 * time.Second) }
					if endLost { // the run is stopped before the end is sent
						ctx, cancel := context.WithCancel(t.Context())
						total := strings.Count(c.first, "\n") - 1
						cfg.Events.Sent = func(producer.SentInfo) {
							b.pass(2 * time.Second)
							if total--; total == 0 {
								cancel()
							}
						}
						(&producer.Producer{Config: cfg}).Run(ctx) // it may come to its end before
						cancel()
					} else {
						b.send(cfg)
					}
					stream := b.of(name)[0].ID
					if n > len(b.progress(stream)) {
						continue
					}
					b.crash(stream, n)
					if n > 0 && strings.Contains(b.progress(stream)[n-1].Value, `"released":true`) {
						continue // it did not die
					}
					b.write(name, encode(c.second))
					b.send(b.config())
					checkNothingLost(t, b, name, fmt.Sprintf("%s %s, progress %d, end lost %v", c.name, name, n, endLost), encode(c.second))
				}
			}
		}
	}
}

// checkNothingLost wants that the topic has every row of a file, and that what
// holds of every topic holds.
func checkNothingLost(t *testing.T, b *bench, name, what, content string) {
	t.Helper()
	have := map[string]int{}
	for _, s := range b.of(name) {
		if s.Status == "" {
			t.Errorf("%s: stream %s has no end", what, s.ID)
		}
		for _, row := range s.Rows {
			have[row]++
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(content), "\n")[1:] {
		row := string([]rune(fromLatin(line)))
		if have[row] == 0 {
			t.Errorf("%s: row %q is lost: %v", what, row, b.rows(name))
		}
	}
}

func fromLatin(s string) string {
	var out []rune
	for _, c := range []byte(s) {
		out = append(out, rune(c))
	}
	return string(out)
}

// progressState is what a test looks at in a progress message.
type progressState struct {
	Rows     int64 `json:"rows"`
	Done     bool  `json:"done"`
	Released bool  `json:"released"`
}

func (b *bench) state(stream schema.StreamID) (p progressState) {
	b.t.Helper()
	all := b.progress(stream)
	if len(all) == 0 {
		return p
	}
	if err := json.Unmarshal([]byte(all[len(all)-1].Value), &p); err != nil {
		b.t.Fatal(err)
	}
	return p
}
