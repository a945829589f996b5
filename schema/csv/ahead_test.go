package csv_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"lakefeed/schema/csv"
)

// paused says at some offsets of a text that nothing more is there yet.
type paused struct {
	text string
	at   []int
	read int
}

func (p *paused) Read(b []byte) (int, error) {
	if p.read == len(p.text) {
		return 0, io.EOF
	}
	if len(p.at) > 0 && p.read == p.at[0] {
		p.at = p.at[1:]
		return 0, csv.ErrPause
	}
	rest := p.text[p.read:]
	if len(p.at) > 0 {
		rest = p.text[p.read:p.at[0]]
	}
	n := copy(b, rest)
	p.read += n
	return n, nil
}

// What follows a table is found however the bytes come, and nothing is held back of a
// reader that fails or has no more to give.
func TestSeekTail(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "%d,%s,\"x\ny\"\n", i, strings.Repeat("v", 60))
	}
	table := b.String()
	text := table + "\nSource: Office\n* provisional\n"
	o := csv.Options{Width: 3, Columns: []string{"a", "b", "c"}, SeekTail: true}
	// rows gives how many rows and rejects there are, and why it ended.
	rows := func(r io.Reader, o csv.Options) (rows, rejects int, tail csv.Tail, err error) {
		s := csv.NewSplitter(r, csv.Standard(), o)
		for {
			row, err := s.Next()
			if err != nil {
				tail, sought := s.Tail()
				if want := errors.Is(err, io.EOF) && o.SeekTail && o.Tail == (csv.Tail{}); sought != want {
					t.Errorf("sought %v, want %v", sought, want)
				}
				return rows, rejects, tail, err
			}
			if row.Rule != "" {
				rejects++
			} else {
				rows++
			}
		}
	}
	want := csv.Tail{From: int64(len(table) + 1), To: int64(len(text)), Rule: csv.Footer}
	for name, r := range map[string]io.Reader{
		"as it is": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)), "with the end": iotest.DataErrReader(strings.NewReader(text)),
		"a pause before": &paused{text: text, at: []int{100, len(table)}}, "pauses all the time": &paused{text: text, at: slices.Repeat([]int{70_000}, 300)},
	} {
		if n, rejects, tail, err := rows(r, o); n != 2000 || rejects != 2 || tail != want || err != io.EOF {
			t.Errorf("%s: %d rows, %d rejects, %+v, %v; want 2000, 2, %+v", name, n, rejects, tail, err, want)
		}
	}
	// Of another encoding offsets are those of its text.
	var utf16 bytes.Buffer
	for _, c := range []byte(text) {
		utf16.Write([]byte{c, 0})
	}
	s := csv.NewSplitter(&utf16, csv.Dialect{Delimiter: ",", Quote: '"', Encoding: csv.UTF16LE}, o)
	n := 0
	for row, err := s.Next(); err == nil; row, err = s.Next() {
		if row.Rule == csv.Footer {
			n++
		}
	}
	if tail, _ := s.Tail(); n != 2 || tail != want {
		t.Errorf("utf-16: %d remarks, %+v", n, tail)
	}
	// What was given before a pause amid the remarks is no part of them any more.
	half := len(table) + len("\nSource: Office\n")
	if n, rejects, tail, err := rows(&paused{text: text, at: []int{half}}, o); n != 2001 || rejects != 1 || tail.From != int64(half) || err != io.EOF {
		t.Errorf("a pause amid the remarks: %d rows, %d rejects, %+v, %v", n, rejects, tail, err)
	}
	// A failure gives all that was read before it.
	broken := errors.New("broken")
	if n, rejects, _, err := rows(io.MultiReader(strings.NewReader(table), iotest.ErrReader(broken)), o); n != 2000 || rejects != 0 || !errors.Is(err, broken) {
		t.Errorf("a failure: %d rows, %d rejects, %v", n, rejects, err)
	}
	// Another that goes on needs to be told.
	o.Tail, o.Offset = want, int64(strings.Index(text, "1995,"))
	if n, rejects, _, _ := rows(strings.NewReader(text[o.Offset:]), o); n != 5 || rejects != 2 {
		t.Errorf("gone on with: %d rows, %d rejects", n, rejects)
	}
}
