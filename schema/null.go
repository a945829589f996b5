package schema

// Nulls are the tokens that a column's declaration lists as null. They stand in
// the place of the usual ones, and for null in a column of any type, before they are
// looked at as values. Nil is the usual tokens.
type Nulls struct{ tokens map[string]bool }

// NewNulls makes a list of tokens. An empty cell without quotes is always null.
func NewNulls(tokens []string) *Nulls {
	n := &Nulls{tokens: make(map[string]bool, len(tokens))}
	for _, t := range tokens {
		n.tokens[t] = true
	}
	return n
}

// Declared says whether a cell is null whatever its column's type is.
func (n *Nulls) Declared(text []byte, quoted bool) bool {
	if quoted {
		return false
	}
	return len(text) == 0 || n != nil && n.tokens[string(text)]
}

// Typed says whether a cell is null in a column of another type than string. A
// quoted cell is only when it is empty, or holds nothing but spaces.
func (n *Nulls) Typed(text []byte, quoted bool) bool {
	switch {
	case len(unpadded(text)) == 0:
		return true
	case quoted:
		return false
	case n != nil:
		return n.tokens[string(text)]
	}
	return IsNullToken(text)
}

// IsNullToken says whether an unquoted cell's text stands for null in a column
// of typed values where nothing else is declared: empty, NA, \N, NULL or null. In a
// string column only the empty unquoted cell is null; the other tokens stay text.
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
