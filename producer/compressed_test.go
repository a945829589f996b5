package producer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lakefeed/producer"
)

var littleEndian = binary.LittleEndian

func gzipped(parts ...string) string {
	var b bytes.Buffer
	for _, part := range parts { // a member each
		z := gzip.NewWriter(&b)
		z.Write([]byte(part))
		z.Close()
	}
	return b.String()
}

func zstandard(parts ...string) string {
	var b bytes.Buffer
	for _, part := range parts {
		z, _ := zstd.NewWriter(&b)
		z.Write([]byte(part))
		z.Close()
	}
	return b.String()
}

func TestCompressed(t *testing.T) {
	b := newBench(t, 2)
	b.write("one.csv.gz", gzipped("id,name\n1,a\n2,b"))
	b.write("many.csv.gz", gzipped("id,na", "me\n1,a\n2", ",b\n", ""))
	b.write("zstd.csv.zst", zstandard("id,name\n1,a\n", "2,b\n"))
	b.write("misnamed.csv", gzipped("id,name\n1,a\n2,b\n"))
	b.send(b.config())
	for _, name := range []string{"one.csv.gz", "many.csv.gz", "zstd.csv.zst", "misnamed.csv"} {
		s := b.one(name)
		s.want(t, producer.Complete, "1,a", "2,b")
		s.wantPositions(t, []string{"8:2", "12:3"})
	}
	// A larger copy of one: only the new rows.
	b.write("many.csv.gz", gzipped("id,name\n1,a\n2,b\n3,c\n"))
	b.write("zstd.csv.zst", zstandard("id,name\n1,a\n2,b\n3,c\n"))
	b.send(b.config())
	for _, name := range []string{"many.csv.gz", "zstd.csv.zst"} {
		streams := b.of(name)
		if len(streams) != 2 {
			t.Fatalf("%s: %d streams", name, len(streams))
		}
		streams[1].want(t, producer.Complete, "3,c")
		streams[1].wantPositions(t, []string{"16:4"})
	}
	b.wantWarnings()
}

// Of a file that is cut off the rows before are sent, and the rest when it comes.
func TestCutOff(t *testing.T) {
	for _, kind := range []string{"gz", "zst"} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t, 1)
			content, lines := sniffed(30_000)
			pack := map[string]func(...string) string{"gz": gzipped, "zst": zstandard}[kind]
			name := "cut.csv." + kind
			whole := pack(content)
			b.write("a.csv", "id\n1\n")
			b.write(name, whole[:len(whole)*3/4])
			b.write("z.csv", "id\n1\n")
			for range 2 {
				s, err := b.run(b.config())
				if err != nil {
					t.Fatal(err)
				}
				o := object(t, s, name)
				if o.Err == nil || !strings.Contains(o.Err.Error(), "cut off") || !strings.Contains(o.Err.Error(), "line ") || o.Status != "open" {
					t.Errorf("summary %+v", o)
				}
				b.touch(name)
			}
			b.one("a.csv").want(t, producer.Complete, "1")
			b.one("z.csv").want(t, producer.Complete, "1")
			cut := b.one(name)
			if n := len(cut.Rows); n == 0 || n == len(lines) || cut.Status != "" {
				t.Fatalf("%d rows of the file that is cut off, status %q", n, cut.Status)
			}
			b.write(name, whole)
			b.send(b.config())
			s := b.one(name)
			s.want(t, producer.Complete, lines...)
			if s.Twice != 0 {
				t.Errorf("%d rows were sent twice", s.Twice)
			}
			b.wantWarnings()
		})
	}
}
