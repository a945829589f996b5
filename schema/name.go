package schema

import (
	"strconv"
	"strings"
)

// maxName is the longest column name that the Glue catalog takes, in bytes.
const maxName = 255

// latin gives the plain letters of the accented ones from U+00C0 to U+017F that
// names of columns have; the others become underscores.
var latin = strings.NewReplacer(
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "ae", "å", "a", "æ", "ae", "ç", "c", "è", "e", "é", "e", "ê", "e", "ë", "e",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ñ", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "oe", "ø", "o", "ù", "u", "ú", "u",
	"û", "u", "ü", "ue", "ý", "y", "ÿ", "y", "ß", "ss", "ą", "a", "ć", "c", "č", "c", "ď", "d", "đ", "d", "ę", "e", "ě", "e", "ğ", "g",
	"ı", "i", "ł", "l", "ń", "n", "ň", "n", "ő", "o", "œ", "oe", "ř", "r", "ś", "s", "š", "s", "ş", "s", "ť", "t", "ů", "u", "ű", "u",
	"ź", "z", "ż", "z", "ž", "z",
)

// SafeName is the name a column has in the table, which is its identity: lower
// case, accents taken off, every run of other characters one underscore, none at
// either end. It is empty when nothing of the name is left.
func SafeName(name string) string {
	var out strings.Builder
	gap := false
	for _, c := range []byte(latin.Replace(strings.ToLower(name))) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			gap = true
			continue
		}
		if gap && out.Len() > 0 {
			out.WriteByte('_')
		}
		gap = false
		if out.Len() == maxName {
			break
		}
		out.WriteByte(c)
	}
	s := out.String()
	return strings.TrimRight(s[:min(len(s), maxName)], "_")
}

// SafeNames names the columns of one header. A name that comes again gets _2, _3
// and so on; a column without a name is column_N, N its place counted from 1.
func SafeNames(header []string) []string {
	out := make([]string, len(header))
	taken := make(map[string]bool, len(header))
	tried := map[string]int{} // of a name that comes again, the last number: all up to it are taken
	for i, h := range header {
		base := SafeName(h)
		if base == "" {
			base = "column_" + strconv.Itoa(i+1)
		}
		name := base
		for n := max(2, tried[base]+1); taken[name]; n++ {
			suffix := "_" + strconv.Itoa(n)
			name = base[:min(len(base), maxName-len(suffix))] + suffix
			tried[base] = n
		}
		taken[name] = true
		out[i] = name
	}
	return out
}

// NumberedNames are the header of an object that has none: column_1, column_2 …
func NumberedNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "column_" + strconv.Itoa(i+1)
	}
	return out
}
