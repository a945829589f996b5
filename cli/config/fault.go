package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	Line, Column, Width int // from 1, in characters
	Message             string
	Hint                string // what to do; may be empty
}

// Error is all that is wrong with a file.
type Error struct {
	Name   string
	Faults []Fault
	lines  []string
}

// Error gives each fault with its line of the file.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %s", e.Name, count(len(e.Faults)))
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n%s:%d:%d: %s\n", e.Name, f.Line, f.Column, f.Message)
		if f.Line <= len(e.lines) && strings.TrimSpace(e.lines[f.Line-1]) != "" {
			line := masked(e.lines[f.Line-1])
			fmt.Fprintf(&b, "%5d | %s\n      | %s\n", f.Line, strings.TrimRight(line, " \t"), pointer(line, f.Column, f.Width))
		}
		if f.Hint != "" {
			fmt.Fprintf(&b, "      = %s\n", f.Hint)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func count(n int) string {
	if n == 1 {
		return "a fault"
	}
	return fmt.Sprintf("%d faults", n)
}

// pointer underlines a part of a line. Tabs stay tabs, so that it stands below.
func pointer(line string, column, width int) string {
	var b strings.Builder
	runes := []rune(line)
	for _, r := range runes[:min(column-1, len(runes))] {
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString(strings.Repeat("^", max(1, min(width, len(runes)-column+1))))
	return b.String()
}

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

// masked is a line of the file without the secrets in it, as wide as it was. Of
// sasl settings, which may be misspelled, only those are shown that are none.
func masked(line string) string {
	var b strings.Builder
	for {
		at := keyed.FindStringSubmatchIndex(line)
		if at == nil {
			return b.String() + line
		}
		key, from := line[at[2]:at[3]], at[1]
		value := line[from:]
		b.WriteString(line[:from])
		if comparison := strings.HasSuffix(line[:from], "=") && strings.HasPrefix(value, "="); comparison || !secretKey.MatchString(key) || strings.HasPrefix(key, "sasl.mechanism") || key == "sasl.username" {
			line = value
			continue
		}
		value = value[:valueEnd(value, strings.ContainsAny(b.String(), "{["))]
		if line = line[from+len(value):]; aReference.MatchString(value) {
			b.WriteString(value)
		} else {
			b.WriteString("***" + strings.Repeat(" ", max(0, len([]rune(value))-3)))
		}
	}
}

// valueEnd is where the value at the beginning of a text ends. Rather than show a part
// of one that YAML reads otherwise, it goes too far.
func valueEnd(text string, braces bool) int {
	if quote := text[:min(1, len(text))]; quote == `"` || quote == "'" {
		for i := 1; i < len(text); i++ {
			switch {
			case quote == `"` && text[i] == '\\', quote == "'" && strings.HasPrefix(text[i:], "''"):
				i++
			case text[i:i+1] == quote:
				return i + 1
			}
		}
		return len(text)
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
