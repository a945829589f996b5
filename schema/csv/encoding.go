package csv

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
)

// findEncoding says how the sample's characters are written, and why it thinks
// so. A BOM decides. Else text with a zero in every other byte is UTF-16, text
// that is UTF-8, or mostly, is it, and the rest is told by its letters.
func findEncoding(sample []byte, complete bool) (encoding, why string) {
	switch {
	case bytes.HasPrefix(sample, []byte("\xff\xfe")):
		return UTF16LE, "it begins with a BOM"
	case bytes.HasPrefix(sample, []byte("\xfe\xff")):
		return UTF16BE, "it begins with a BOM"
	case bytes.HasPrefix(sample, []byte("\ufeff")):
		return UTF8, "it begins with a BOM"
	}
	if e := zeros(sample); e != "" {
		return e, "nearly every other byte is zero"
	}
	good, bad := 0, 0
	for rest := sample; len(rest) > 0; {
		if rest[0] < utf8.RuneSelf {
			n := bytes.IndexFunc(rest, func(r rune) bool { return r >= utf8.RuneSelf })
			if n < 0 {
				break
			}
			rest = rest[n:]
		}
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			if complete || utf8.FullRune(rest) {
				bad++
			}
		case n > 1:
			good++
		}
		rest = rest[n:]
	}
	switch {
	case bad == 0 && good == 0:
		return UTF8, "all of it is ASCII"
	case bad == 0:
		return UTF8, "all of it is valid"
	case bad*20 <= good:
		return UTF8, fmt.Sprintf("%d of %d characters beyond ASCII are valid", good, good+bad)
	}
	if e := eastAsian(sample); e != "" {
		return e, "all letters beyond ASCII are pairs of bytes, as frequent as in its texts"
	}
	if shiftJIS(sample, complete) {
		return ShiftJIS, "all of it is valid, and most of it is kana and kanji"
	}
	return codePage(sample)
}

// zeros finds UTF-16 without a BOM: in text of mostly Latin letters one byte of
// each pair is zero.
func zeros(sample []byte) string {
	head := sample[:min(len(sample), 4<<10)&^1]
	if len(head) < 4 {
		return ""
	}
	var counts [2]int
	for i, c := range head {
		if c == 0 {
			counts[i%2]++
		}
	}
	pairs := len(head) / 2
	switch {
	case counts[1]*10 >= pairs*7 && counts[0]*20 <= pairs:
		return UTF16LE
	case counts[0]*10 >= pairs*7 && counts[1]*20 <= pairs:
		return UTF16BE
	}
	return ""
}

// The least that tells an encoding of pairs of bytes: texts of them that differ, for
// those of other encodings have as many odd as even lengths.
const fewestPairTexts = 12

// eastAsian finds GB18030, EUC-KR and EUC-JP, in which a character beyond ASCII is two
// bytes beyond it. Which of them is told by the first of the two: kana have their own,
// hangul are b0 to c8, and of the frequent characters of Chinese, which are in the order of
// their sounds, many are d0 to d7, but none of Japanese.
func eastAsian(sample []byte) string {
	sample = sample[:min(len(sample), 64<<10)]
	texts := map[string]bool{}
	kana, low, middle, late, pairs, odd, runs := 0, 0, 0, 0, 0, 0, 0
	for i := 0; i < len(sample); {
		n := bytes.IndexFunc(sample[i:], func(r rune) bool { return r < utf8.RuneSelf })
		switch {
		case n == 0:
			i++
			continue
		case n < 0: // it may go on behind the sample
			i = len(sample)
			continue
		}
		text := sample[i : i+n]
		i += n
		runs++
		if n%2 == 1 {
			odd++
			continue
		}
		texts[string(text)] = true
		for k := 0; k < n; k += 2 {
			pairs++
			switch lead := text[k]; {
			case text[k+1] < 0xa1 || lead < 0xa1:
				odd++
			case lead == 0xa4 || lead == 0xa5:
				kana++
			case lead >= 0xb0 && lead <= 0xc8:
				low++
			case lead > 0xc8 && lead <= 0xcf:
				middle++
			case lead >= 0xd0 && lead <= 0xd7:
				late++
			}
		}
	}
	if len(texts) < fewestPairTexts || odd*50 > runs {
		return ""
	}
	name := ""
	switch {
	case kana*5 >= pairs, late*30 <= pairs && middle*8 >= pairs && (low+middle)*10 >= pairs*7:
		name = EUCJP
	case low*10 >= pairs*9:
		name = EUCKR
	case late*12 >= pairs && (low+middle+late)*10 >= pairs*7:
		name = GB18030
	default:
		return ""
	}
	if text, err := multiByte[name].NewDecoder().Bytes(sample[:bytes.LastIndexByte(sample, '\n')+1]); err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return ""
	}
	return name
}

// shiftJIS says whether the sample is clearly Shift-JIS: all of it decodes, into
// kana and kanji of two bytes more than into anything else, and these stand
// together, or hardly ever beside an ASCII letter: a letter with an umlaut and the one
// behind it may look like one, amid a word.
func shiftJIS(sample []byte, complete bool) bool {
	sample = sample[:min(len(sample), 64<<10)]
	text, err := japanese.ShiftJIS.NewDecoder().Bytes(sample)
	if err != nil {
		return false
	}
	if !complete || len(sample) == 64<<10 {
		text = bytes.TrimSuffix(text, []byte("\ufffd")) // half a character at the end
	}
	wide, beside, amid, other := 0, 0, 0, 0
	before, letter := false, false // whether the character before is wide, or a letter of ASCII
	for _, r := range string(text) {
		was, wasLetter := before, letter
		before, letter = false, r|0x20 >= 'a' && r|0x20 <= 'z'
		if was && letter {
			amid++
		}
		switch {
		case r < utf8.RuneSelf:
		case r == utf8.RuneError || unicode.IsControl(r):
			return false
		case unicode.In(r, unicode.Hiragana, unicode.Katakana) && r < 0xff00, r >= 0x4e00 && r <= 0x9fff, r >= 0x3000 && r <= 0x303f, r >= 0xff01 && r <= 0xff5e:
			wide++
			before = true
			if was {
				beside++
			}
			if wasLetter {
				amid++
			}
		default:
			other++ // half-width kana, which other code pages' letters look like
		}
	}
	return wide >= 2 && wide >= 4*other && (beside*3 >= wide || amid*5 <= wide)
}

// codePage tells code pages of one byte a character by the letters that their
// bytes would be, in words.
func codePage(sample []byte) (encoding, why string) {
	sample = sample[:min(len(sample), 256<<10)]
	high, words, upper, lower := 0, 0, 0, 0 // bytes beyond ASCII; those beside another; of c0-df and e0-ff among those
	var between [256]int                    // beside a letter of ASCII
	letter := func(i int) bool { return i >= 0 && i < len(sample) && sample[i]|0x20 >= 'a' && sample[i]|0x20 <= 'z' }
	beyond := func(i int) bool { return i >= 0 && i < len(sample) && sample[i] >= 0xc0 }
	for i, c := range sample {
		if c < utf8.RuneSelf {
			continue
		}
		high++
		if letter(i-1) || letter(i+1) {
			between[c]++
		}
		if c >= 0xc0 && (beyond(i-1) || beyond(i+1)) {
			words++
			if c < 0xe0 {
				upper++
			} else {
				lower++
			}
		}
	}
	sum := func(bytes string) (n int) {
		for i := range len(bytes) {
			n += between[bytes[i]]
		}
		return n
	}
	// Letters of one page that are signs or nothing in windows-1252, and the reverse.
	central := sum("\xb9\xb3\xbf\x9c\x9f\xa5\xa3\xaf\x8c\x8f\xbc\xbe\x9d\x9e\x8d")
	western := sum("\xe4\xf6\xfc\xdf\xc4\xd6\xdc\xe9\xe8\xe0\xe7\xea\xf1\xf3\xed\xe1\xfa\xe3\xf5\xe5\xe6\xf8")
	dos := sum("\x81\x84\x94\x82\x8e\x99\x9a\x85\x8a\x87\xa0\xa1\xa2\xa3\xa4")
	switch {
	case words >= 8 && words*10 >= high*7 && lower >= 2*upper:
		return Windows1251, "most letters beyond ASCII stand together, as small Cyrillic ones do"
	case words >= 8 && words*10 >= high*7 && upper >= 2*lower:
		return KOI8R, "most letters beyond ASCII stand together, as small Cyrillic ones do"
	case sample[0] != 0 && bytes.IndexByte(sample, '\n') < 0 && bytes.IndexByte(sample, '\r') >= 0 && sum("\x8a\x9a\x9f\x8e\x8f\x80\x85\x86\x88\x90\x8d\x96\x87\x92") > western:
		return Macintosh, "its lines end in CR, and its letters are those of the Macintosh"
	case dos > 2*western && dos > 2*central:
		return IBM850, "bytes amid words are letters in the code page of DOS only"
	case central > 0 && central*3 >= sum("\xe4\xfc\xdf\xc4\xdc\xe8\xe0\xf1\xe3\xf5\xe5\xe6\xf8"):
		return Windows1250, "bytes amid words are letters in Central European only"
	}
	return Windows1252, "it is not valid UTF-8"
}

// binary says what the sample is when it is not text.
func binary(sample []byte, encoding string) error {
	for _, m := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"PK\x03\x04", "a zip archive or a spreadsheet"}, {"PAR1", "Parquet"},
		{"\x28\xb5\x2f\xfd", "zstd"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"}, {"%PDF-", "PDF"},
		{"SQLite format 3\x00", "SQLite"}, {"\xd0\xcf\x11\xe0", "an old office document"},
	} {
		if bytes.HasPrefix(sample, []byte(m.magic)) && (m.name != "bzip2" || len(sample) > 3 && sample[3]-'0' <= 9 && bytes.IndexByte(sample, 0) >= 0) {
			return fmt.Errorf("%w: it begins like %s", ErrBinary, m.name)
		}
	}
	if encoding == UTF16LE || encoding == UTF16BE {
		if bytes.HasPrefix(sample, []byte("\xff\xfe\x00\x00")) {
			return fmt.Errorf("%w in an encoding that is read: it begins like UTF-32", ErrBinary)
		}
		return nil
	}
	control := 0
	for _, c := range sample {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b && c != 1 || c == 0x7f {
			control++
		}
	}
	if control*10 > len(sample) {
		return fmt.Errorf("%w: %d of its first %d bytes are control characters", ErrBinary, control, len(sample))
	}
	return nil
}
