package csv_test

import (
	"testing"

	"pgregory.net/rapid"

	"lakefeed/schema/csv"
)

var dialects = []csv.Dialect{
	{Delimiter: ",", Quote: '"'},
	{Delimiter: ",", Quote: '"', Comment: '#'},
	{Delimiter: ",", Quote: '"', Escape: '\\'},
	{Delimiter: ";", Quote: '"'},
	{Delimiter: "\t", Quote: '\''},
	{Delimiter: ",", Quote: '\'', Escape: '\\'},
	{Delimiter: "||", Quote: '"', Escape: '\\', Comment: '#'},
	{Delimiter: ", ", Quote: '"'},
	{Delimiter: ","},
	{Delimiter: "|", Escape: '\\'},
	{Delimiter: "||", Escape: '\\'},
	{Delimiter: ",", Quote: '"', Trailing: true},
	{Delimiter: " ", Quote: '"'},
	{Delimiter: ",", Quote: '"', Padded: true},
	{Delimiter: "||", Quote: '\'', Escape: '\\', Padded: true},
	{Delimiter: ",", Quote: '"', LineEnd: csv.CRLF, Comment: '#'},
	{Delimiter: ";", Quote: '"', LineEnd: csv.LF},
	{Delimiter: "||", Quote: '"', LineEnd: csv.CRLF, Padded: true},
	{Delimiter: ",", Quote: '"', LineEnd: csv.LF, Trailing: true},
	{Delimiter: ",", Quote: '"', Headers: 2},
}

func FuzzSplitter(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n", "a,\"b\nc\"\r\nd,e", "\ufeffa\r\rb\n\n\"\"\n", "a,\"b\nc,d\ne", "x\"y,\"z\"w,\"\"\"\"\n",
		"a,   \"b,c\" \r\n  \"d\"e,\"\n\",\r\r\n\nf",
		"\"\\\"a\\\\\",\\N\n#c\n'a''b'\t'\n'", "a|||\"b||c\"||\n", "\xff,\xc3\n\xe2\x82", "NA,\"NA\",\"\",\n", "\"a,\"\"b,\nc\"\"\"\n\"1,2,3\"\n\"1, 2, 3\"\n", "a\",\"\na\",\"\na\",\"\n",
	} {
		for i := range dialects {
			f.Add([]byte(text), uint8(i), uint8(3), uint16(7+i), i%3 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, dialect, cut uint8, maxRecord uint16, known bool) {
		o := csv.Options{MaxRecord: int(maxRecord)%300 + 1}
		if known {
			o.Unwrap = maxRecord%2 == 0
			o.Width = 1 + int(cut)%4
			o.Columns = []string{"a", "b"}
			if maxRecord%3 == 0 {
				o.Known = [][]string{{"b", "a", ""}, {"x", "a\"b"}, {"c", "d"}}
				o.Header = int(cut) % 4
				o.Joined = cut%3 > 0
			}
			if maxRecord%5 == 0 {
				o.Tail = csv.Tail{From: int64(cut), To: int64(cut) * 2, Rule: csv.Footer}
			}
		}
		checkSplit(t, text, dialects[int(dialect)%len(dialects)], o, int(cut))
	})
}

// TestSplitterIsTheReference holds the splitter against a plain one on texts
// made of what matters.
func TestSplitterIsTheReference(t *testing.T) {
	parts := []string{`"`, `"`, `""`, "'", `\`, ",", ",", ";", "|", "||", "\t", ", ", "\n", "\n", "\r\n", "\r", "a", "bc", "é", "\xff", "#", "NA", `\N`, " ", "\n  \n", "\t", "\na,a\n,bc\n", "\nbc,\n", "\nbc,a\n", "\n\"a,\"\"bc\"\"\"\n", "\n\"", "\"\"\"\n"}
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		if rapid.IntRange(0, 9).Draw(t, "bom") == 0 {
			text = "\ufeff"
		}
		for _, p := range rapid.SliceOfN(rapid.SampledFrom(parts), 0, 60).Draw(t, "text") {
			text += p
		}
		o := csv.Options{MaxRecord: rapid.IntRange(1, 60).Draw(t, "max"), Width: rapid.IntRange(0, 3).Draw(t, "width"), Unwrap: rapid.Bool().Draw(t, "unwrap")}
		if rapid.IntRange(0, 3).Draw(t, "columns") == 0 {
			o.Columns = []string{"a", "bc"}
		}
		if rapid.IntRange(0, 2).Draw(t, "known") == 0 {
			o.Known = [][]string{{"a", "a"}, {"", "a", "bc"}, {"bc", "a"}, {"a\"", "a"}}
			o.Header = rapid.IntRange(0, 4).Draw(t, "header")
		}
		if rapid.IntRange(0, 2).Draw(t, "joined") == 0 { // headers of several records
			o.Joined, o.Columns = true, []string{"a", "a bc"}
			o.Known = append(o.Known, []string{"bc bc", "a"}, []string{"", "a", "a a a"})
		}
		if rapid.IntRange(0, 5).Draw(t, "tail") == 0 {
			o.Tail = csv.Tail{From: rapid.Int64Range(3, 40).Draw(t, "from"), To: rapid.Int64Range(3, 90).Draw(t, "to"), Rule: csv.SecondTable}
		}
		d := rapid.SampledFrom(dialects).Draw(t, "dialect")
		checkSplit(t, []byte(text), d, o, rapid.IntRange(0, 200).Draw(t, "cut"))
	})
}
