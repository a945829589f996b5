package csv

import (
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// decode gives r's text as UTF-8. A BOM stays.
func decode(r io.Reader, encoding string) io.Reader {
	if t := decoder(encoding); t != nil {
		return transform.NewReader(r, t)
	}
	return r
}

// decoder is the transformer of an encoding to UTF-8, nil for UTF-8 itself.
func decoder(encoding string) transform.Transformer {
	switch encoding {
	case Windows1252:
		return windows1252Text{}
	case UTF16LE:
		return utf16Text{low: 0, high: 1}
	case UTF16BE:
		return utf16Text{low: 1, high: 0}
	}
	return nil
}

// windows1252Text decodes Windows-1252. The five bytes that it does not define
// become the control characters of the same number, as in browsers, and not
// U+FFFD, which would hide which they were.
type windows1252Text struct{ transform.NopResetter }

func (windows1252Text) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
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
		r := charmap.Windows1252.DecodeByte(c)
		if r == utf8.RuneError {
			r = rune(c)
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
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
