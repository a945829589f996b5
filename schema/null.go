package schema

// IsNullToken says whether an unquoted cell's text stands for null in a column
// of typed values: empty, NA, \N, NULL or null. In a string column only the
// empty unquoted cell is null; the other tokens stay text.
func IsNullToken(text []byte) bool {
	switch len(text) {
	case 0:
		return true
	case 2:
		return text[0] == 'N' && text[1] == 'A' || text[0] == '\\' && text[1] == 'N'
	case 4:
		return string(text) == "NULL" || string(text) == "null"
	}
	return false
}
