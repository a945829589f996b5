package schema

import "bytes"

// AppendCSVCell appends the text of one cell as it stands in a record of RFC 4180:
// in quotes where the text asks for them, and where a cell that was quoted would be
// taken for null without them ([IsNullToken]).
func AppendCSVCell(dst, text []byte, quoted bool) []byte {
	if !(quoted && IsNullToken(text)) && !asksForQuotes(text) {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			dst = append(dst, text...)
			return append(dst, '"')
		}
		dst = append(dst, text[:i+1]...)
		dst = append(dst, '"')
		text = text[i+1:]
	}
}

// asksForQuotes says whether a text cannot stand without quotes.
func asksForQuotes(text []byte) bool {
	const special uint64 = 1<<',' | 1<<'"' | 1<<'\r' | 1<<'\n'
	for _, c := range text {
		if c < 64 && special>>c&1 != 0 {
			return true
		}
	}
	return false
}
