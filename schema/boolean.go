package schema

// word is a boolean as text: which pair of words it is of, and which of the two.
type word struct {
	format Format
	value  bool
}

// booleanWord finds a word in lower, upper or title case.
func booleanWord(b []byte) (w word, ok bool) {
	switch string(b) {
	case "true", "True", "TRUE":
		return word{NoFormat, true}, true
	case "false", "False", "FALSE":
		return word{NoFormat, false}, true
	case "t", "T":
		return word{LettersTF, true}, true
	case "f", "F":
		return word{LettersTF, false}, true
	case "yes", "Yes", "YES":
		return word{WordsYesNo, true}, true
	case "no", "No", "NO":
		return word{WordsYesNo, false}, true
	case "y", "Y":
		return word{LettersYN, true}, true
	case "n", "N":
		return word{LettersYN, false}, true
	case "on", "On", "ON":
		return word{WordsOnOff, true}, true
	case "off", "Off", "OFF":
		return word{WordsOnOff, false}, true
	}
	return word{}, false
}

// ParseBoolean reads a word of the format's pair, in lower, upper or title case.
func ParseBoolean(b []byte, f Format) (value, ok bool) {
	w, ok := booleanWord(b)
	return w.value, ok && w.format == f
}
