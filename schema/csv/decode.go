package csv

import (
	"io"
	"maps"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/transform"
)

// decode gives r's text as UTF-8. A BOM stays.
func decode(r io.Reader, encoding string) io.Reader {
	if t := decoder(encoding); t != nil {
		return transform.NewReader(r, t)
	}
	return r
}

// codePages are the encodings in which a character is one byte.
var codePages = map[string]*charmap.Charmap{
	Windows1250: charmap.Windows1250, Windows1251: charmap.Windows1251, Windows1252: charmap.Windows1252,
	"windows-1253": charmap.Windows1253, "windows-1254": charmap.Windows1254, "windows-1255": charmap.Windows1255,
	"windows-1256": charmap.Windows1256, "windows-1257": charmap.Windows1257, "windows-1258": charmap.Windows1258,
	"iso-8859-1": charmap.Windows1252, "iso-8859-2": charmap.ISO8859_2, "iso-8859-3": charmap.ISO8859_3, "iso-8859-4": charmap.ISO8859_4,
	"iso-8859-5": charmap.ISO8859_5, "iso-8859-6": charmap.ISO8859_6, "iso-8859-7": charmap.ISO8859_7, "iso-8859-8": charmap.ISO8859_8,
	"iso-8859-9": charmap.ISO8859_9, "iso-8859-10": charmap.ISO8859_10, "iso-8859-13": charmap.ISO8859_13, "iso-8859-14": charmap.ISO8859_14,
	"iso-8859-15": charmap.ISO8859_15, "iso-8859-16": charmap.ISO8859_16,
	KOI8R: charmap.KOI8R, "koi8-u": charmap.KOI8U, "ibm437": charmap.CodePage437, IBM850: charmap.CodePage850,
	"ibm852": charmap.CodePage852, "ibm866": charmap.CodePage866, Macintosh: charmap.Macintosh,
}

// multiByte are the encodings with characters of one byte and of several.
var multiByte = map[string]encoding.Encoding{
	ShiftJIS: japanese.ShiftJIS, EUCJP: japanese.EUCJP, GB18030: simplifiedchinese.GB18030, "big5": traditionalchinese.Big5, EUCKR: korean.EUCKR,
}

// Encodings lists the encodings that a Dialect may name.
func Encodings() []string {
	names := []string{UTF8, UTF16LE, UTF16BE}
	names = slices.AppendSeq(names, maps.Keys(codePages))
	names = slices.AppendSeq(names, maps.Keys(multiByte))
	slices.Sort(names)
	return names
}

// decoder is the transformer of an encoding to UTF-8, nil for UTF-8 itself.
func decoder(encoding string) transform.Transformer {
	switch encoding {
	case UTF16LE:
		return utf16Text{low: 0, high: 1}
	case UTF16BE:
		return utf16Text{low: 1, high: 0}
	}
	if page, ok := codePages[encoding]; ok {
		return codePageText{page: page}
	}
	if e, ok := multiByte[encoding]; ok {
		return transform.Chain(e.NewDecoder().Transformer, unreplaced{})
	}
	return nil
}

// codePageText decodes one byte a character. Bytes that the page does not define
// become the control characters of the same number, as in browsers, and not
// U+FFFD, which would hide which they were.
type codePageText struct {
	transform.NopResetter
	page *charmap.Charmap
}

func (t codePageText) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		if c < utf8.RuneSelf {
			dst[nDst] = c
			nDst++
			continue
		}
		r := t.page.DecodeByte(c)
		if r == utf8.RuneError {
			r = rune(c)
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
	}
	return nDst, nSrc, nil
}

// unreplaced turns U+FFFD, which a decoder wrote for bytes that are no character,
// into a byte that is not valid UTF-8: so its record becomes a reject of the rule
// Encoding, and the loss is not hidden.
type unreplaced struct{ transform.NopResetter }

func (unreplaced) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if nDst+n > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		if r == utf8.RuneError {
			dst[nDst] = 0xff
			nDst++
		} else {
			nDst += copy(dst[nDst:], src[nSrc:nSrc+n])
		}
		nSrc += n
	}
	return nDst, nSrc, nil
}

// utf16Text decodes UTF-16. Half a surrogate pair, or half a unit at the end,
// becomes bytes that are not valid UTF-8, where other decoders write U+FFFD and
// hide the loss: so its record becomes a reject of the rule Encoding.
type utf16Text struct {
	transform.NopResetter
	low, high int
}

func (u utf16Text) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		rest := src[nSrc:]
		if len(rest) < 2 {
			if !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			dst[nDst] = 0xff
			return nDst + 1, nSrc + 1, nil
		}
		unit := rune(rest[u.low]) | rune(rest[u.high])<<8
		n := 2
		if utf16.IsSurrogate(unit) {
			if len(rest) < 4 && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			pair := utf8.RuneError
			if len(rest) >= 4 {
				pair = utf16.DecodeRune(unit, rune(rest[2+u.low])|rune(rest[2+u.high])<<8)
			}
			if pair == utf8.RuneError {
				// The three bytes that UTF-8 would have if it allowed surrogates.
				nDst += copy(dst[nDst:], []byte{0xe0 | byte(unit>>12), 0x80 | byte(unit>>6)&0x3f, 0x80 | byte(unit)&0x3f})
				nSrc += n
				continue
			}
			unit, n = pair, 4
		}
		nDst += utf8.EncodeRune(dst[nDst:], unit)
		nSrc += n
	}
	return nDst, nSrc, nil
}
