package config

import (
	"regexp"
	"strings"
)

// keyed is a key and what parts it from its value.
var keyed = regexp.MustCompile(`([\w.-]+)["']?\s*[:=]\s*`)

// nextKey begins the next pair between braces.
var nextKey = regexp.MustCompile(`\s*,\s*["']?[\w.-]+["']?\s*:(\s|$)`)

// bracesClosed is the end of a line behind the last pair between braces.
var bracesClosed = regexp.MustCompile(`[\s}\]]*$`)

var secretKey = regexp.MustCompile(`(?i)pas+w|pass|pwd|secret|token|credential|^sasl\.`)

// aReference is a value that is a reference and nothing else; a default may be the secret.
var aReference = regexp.MustCompile(`^\s*(\$\{(file:)?[^}:]*\}|"\$\{(file:)?[^}:]*\}"|'\$\{(file:)?[^}:]*\}')\s*(#.*)?$`)

// wholeReference is one that is all of a value between braces.
var wholeReference = regexp.MustCompile(`^(\$\{[^}]*\})\s*([,}\]]|$)`)

// startsKey is the beginning of a line that has a pair of its own.
var startsKey = regexp.MustCompile(`^\s*([\w.-]+|"[^"]*"|'[^']*'|<<)\s*:(\s|$)`)

// explicitKey is a key whose value is on the next line, behind a colon.
var explicitKey = regexp.MustCompile(`^\s*(-\s+)*\?\s+["']?([\w.-]+)["']?\s*(#.*)?$`)

// item is what begins a line of a list, or of a list in a list.
var item = regexp.MustCompile(`^\s*(-\s+)*`)

// noText is a line that only closes something, or says something to readers.
var noText = regexp.MustCompile(`^\s*([\]},\s]*|#.*|---.*|\.\.\.)$`)

// behindValue is what may come behind a value that has an end of its own.
var behindValue = regexp.MustCompile(`^\s*([,}\]#]|$)`)

// properties are a value's tag and anchor.
var properties = regexp.MustCompile(`^([&!]\S*\s+)+`)

// maskedLines are a file's lines without the secrets in them, each as wide as it was.
func maskedLines(lines []string) []string {
	m, out := mask{under: -1}, make([]string, len(lines))
	for i, line := range lines {
		out[i] = m.line(line)
	}
	return out
}

// mask goes through the lines of a file, which may be no YAML: rather than show a part
// of a secret that is on several lines, it hides too much.
type mask struct {
	under int  // column of the key whose secret may go on, from 0; -1 for none
	open  flow // what of it is not closed yet
}

// line is the next line without the secrets in it.
func (m *mask) line(line string) string {
	switch {
	case strings.TrimSpace(line) == "":
		return line
	case m.open.unclosed():
		m.open.scan(line)
		return hide(line)
	case m.under >= 0 && m.nested(line):
		return hide(line)
	case m.under >= 0 && !noText.MatchString(line):
		m.under = -1
	}
	if key := explicitKey.FindStringSubmatch(line); key != nil && isSecret(key[2]) {
		m.under = strings.IndexByte(line, '?')
		return line
	}
	return m.pairs(line)
}

// nested says whether a line is of the value of the key before it.
func (m *mask) nested(line string) bool {
	indent := len(line) - len(strings.TrimLeft(line, " \t"))
	switch rest := line[indent:]; {
	case indent > m.under:
		return true
	case rest == "-" || strings.HasPrefix(rest, "- "):
		return indent == m.under // YAML's lists need not be indented
	}
	return !startsKey.MatchString(line) && !noText.MatchString(line)
}

// hide is a line of which nothing is to be seen.
func hide(line string) string {
	text := strings.TrimLeft(line, " \t")
	return line[:len(line)-len(text)] + stars(text)
}

// stars stand for a text, as wide as it is.
func stars(text string) string {
	if text == "" {
		return ""
	}
	return "***" + strings.Repeat(" ", max(0, len([]rune(text))-3))
}

func isSecret(key string) bool {
	return secretKey.MatchString(key) && !strings.HasPrefix(key, "sasl.mechanism") && key != "sasl.username"
}

// pairs is a line without the secrets that are in it with their keys. Of
// sasl settings, which may be misspelled, only those are shown that are none.
func (m *mask) pairs(line string) string {
	whole := line
	var b strings.Builder
	for {
		at := keyed.FindStringSubmatchIndex(line)
		if at == nil {
			return b.String() + line
		}
		key, from := line[at[2]:at[3]], at[1]
		value := line[from:]
		b.WriteString(line[:from])
		if comparison := strings.HasSuffix(line[:from], "=") && strings.HasPrefix(value, "="); comparison || !isSecret(key) {
			line = value
			continue
		}
		braces := strings.ContainsAny(b.String(), "{[")
		value = value[:valueEnd(value, braces)]
		if line = line[from+len(value):]; strings.Trim(line, " \t,") == "" {
			m.begin(whole, value, braces)
		}
		if aReference.MatchString(value) {
			b.WriteString(value)
		} else {
			b.WriteString(stars(value))
		}
	}
}

// begin notes that a secret may go on behind its line.
func (m *mask) begin(line, value string, braces bool) {
	m.under = len(item.FindString(line))
	if braces && strings.HasSuffix(strings.TrimSpace(line), ",") {
		m.under = len(line) // the next pair between braces may be indented as it likes
	}
	m.open = flow{}
	if text := value[len(properties.FindString(value)):]; text != "" && strings.Contains(`"'[{`, text[:1]) {
		m.open.scan(text)
	}
}

// flow is how far a value has come that is in quotes or between brackets.
type flow struct {
	quote byte
	depth int
}

func (f *flow) unclosed() bool { return f.quote != 0 || f.depth > 0 }

// scan goes on with a text up to where the value ends, which it gives; -1 where it
// does not.
func (f *flow) scan(text string) int {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case f.quote == '"' && c == '\\', f.quote == '\'' && strings.HasPrefix(text[i:], "''"):
			i++
			continue
		case f.quote != 0:
			if c != f.quote {
				continue
			}
			f.quote = 0
		case c == '[' || c == '{':
			f.depth++
			continue
		case c == ']' || c == '}':
			f.depth--
		case (c == '"' || c == '\'') && (i == 0 || strings.IndexByte(" \t,:[{", text[i-1]) >= 0):
			f.quote = c
			continue
		default:
			continue
		}
		if !f.unclosed() {
			return i + 1
		}
	}
	return -1
}

// valueEnd is where the value at the beginning of a text ends. Rather than show a part
// of one that YAML reads otherwise, it goes too far.
func valueEnd(text string, braces bool) int {
	start := len(properties.FindString(text))
	first := text[start:min(start+1, len(text))]
	if first == `"` || first == "'" || braces && (first == "[" || first == "{") {
		var f flow
		end := f.scan(text[start:])
		if end < 0 || !behindValue.MatchString(text[start+end:]) {
			return len(text)
		}
		return start + end
	}
	if !braces {
		return len(text)
	}
	if whole := wholeReference.FindStringSubmatch(text); whole != nil {
		return len(whole[1])
	}
	if next := nextKey.FindStringIndex(text); next != nil {
		text = text[:next[0]]
	}
	return bracesClosed.FindStringIndex(text)[0]
}
