package csv_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"lakefeed/schema/csv"
)

// lines makes about size bytes of lines like those of TPC-H's lineitem: sixteen
// cells, of which the last is a comment.
func lines(size int, comment, sep, end string) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		cells := []string{fmt.Sprint(i/4 + 1), fmt.Sprint(i * 7 % 200000), fmt.Sprint(i % 10000), fmt.Sprint(i%4 + 1), fmt.Sprint(i%50 + 1),
			fmt.Sprintf("%d.%02d", i*13%90000, i%100), "0.04", "0.02", "N", "O", "1996-03-13", "1996-02-12", "1996-03-22", "DELIVER IN PERSON", "TRUCK", comment}
		b.WriteString(strings.Join(cells, sep))
		b.WriteString(end)
	}
	return b.Bytes()
}

var workloads = []struct {
	name string
	d    csv.Dialect
	text func() []byte
}{
	{"plain", csv.Standard(), func() []byte { return lines(8<<20, "egular courts above the", ",", "\n") }},
	{"quoted", csv.Standard(), func() []byte { return lines(8<<20, `"egular courts, above the"`, ",", "\n") }},
	{"quoted-crlf", csv.Standard(), func() []byte { return lines(8<<20, `"egular courts, above the"`, ",", "\r\n") }},
	{"all-quoted", csv.Standard(), func() []byte {
		return []byte(strings.Repeat(`"1","156","4","1","17","17954.55","0.04","0.02","N","O","1996-03-13","1996-02-12","TRUCK","egular ""courts"" above the"`+"\n", 70000))
	}},
	{"bad-utf8", csv.Standard(), func() []byte { return lines(8<<20, "egular co\xfcrts above the", ",", "\n") }},
	{"tab", csv.Dialect{Delimiter: "\t", Quote: '"'}, func() []byte { return lines(8<<20, "egular courts above the", "\t", "\n") }},
	{"semicolon-quoted", csv.Dialect{Delimiter: ";", Quote: '"'}, func() []byte { return lines(8<<20, `"egular courts; above the"`, ";", "\n") }},
	{"wide-delimiter", csv.Dialect{Delimiter: "||", Quote: '"'}, func() []byte { return lines(8<<20, `"egular courts; above the"`, "||", "\n") }},
}

func BenchmarkSplitter(b *testing.B) {
	for _, w := range workloads {
		text := w.text()
		for _, use := range []string{"next", "record", "cells"} {
			b.Run(w.name+"/"+use, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(text)))
				var dst []byte
				var cells []csv.Cell
				rows := 0
				r := bytes.NewReader(nil)
				for b.Loop() {
					r.Reset(text)
					s := csv.NewSplitter(r, w.d, csv.Options{})
					for {
						if _, err := s.Next(); err != nil {
							if err != io.EOF {
								b.Fatal(err)
							}
							break
						}
						rows++
						switch use {
						case "record":
							dst = s.AppendRFC4180(dst[:0])
						case "cells":
							cells = s.Cells(cells[:0])
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
			})
		}
	}
}

// BenchmarkOpenQuotes reads a text in which every line seems to leave a quote
// open: what was learnt from the first has to serve the next.
func BenchmarkOpenQuotes(b *testing.B) {
	text := []byte(strings.Repeat("a\",\"\n", 1<<20))
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s := csv.NewSplitter(bytes.NewReader(text), csv.Standard(), csv.Options{})
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
