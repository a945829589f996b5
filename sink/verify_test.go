package sink

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestVerifyNoticesDamage(t *testing.T) {
	body, want := encode(t, extremes(), nil)
	check := func(body []byte, want Encoded, deep bool) error {
		return Verify(bytes.NewReader(body), int64(len(body)), want, deep)
	}
	for name, change := range map[string]func(*Encoded){
		"rows":    func(e *Encoded) { e.Rows++ },
		"size":    func(e *Encoded) { e.Size-- },
		"columns": func(e *Encoded) { e.Columns = append([]string{"other"}, e.Columns[1:]...) },
	} {
		e := want
		change(&e)
		if check(body, e, false) == nil {
			t.Errorf("other %s: no error", name)
		}
	}
	e := want
	e.CellHash = strings.Repeat("0", 32)
	if err := check(body, e, false); err != nil {
		t.Errorf("a shallow Verify looks at values: %v", err)
	}
	if check(body, e, true) == nil {
		t.Error("other cell hash: no error")
	}
	e = want
	for n := 0; n < len(body); n += 1 + len(body)/50 {
		e.Size = int64(n)
		if check(body[:n], e, false) == nil {
			t.Errorf("cut after %d bytes: no error", n)
		}
	}
	for i := 0; i < len(body); i += 1 + i/40 { // a damaged byte may be an error, never a panic, and no other value
		broken := bytes.Clone(body)
		broken[i] ^= 0x55
		if n, sum, err := CellHashes(bytes.NewReader(broken), int64(len(broken))); err == nil && n == want.Rows && sum.String() != want.CellHash && check(broken, want, true) == nil {
			t.Errorf("damaged byte %d: other values, no error", i)
		}
	}
	if err := Verify(failingReader{}, want.Size, want, false); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrNoProgress }

func FuzzVerify(f *testing.F) {
	spec := extremes()
	spec.Columns = spec.Columns[:7] // without a megabyte of text
	body, want := encode(f, spec, nil)
	f.Add(body)
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want.Size = int64(len(b))
		if err := Verify(bytes.NewReader(b), int64(len(b)), want, true); err == nil {
			if _, sum, err := CellHashes(bytes.NewReader(b), int64(len(b))); err != nil || sum.String() != want.CellHash {
				t.Fatalf("verified, but its cell hash is %s, %v", sum, err)
			}
		}
	})
}

func BenchmarkCellHashes(b *testing.B) {
	const n = 200_000
	body, _ := encode(b, lineitem(n), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := CellHashes(bytes.NewReader(body), int64(len(body))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}
