package config

import (
	"fmt"
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
	shown := maskedLines(e.lines)
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n%s:%d:%d: %s\n", e.Name, f.Line, f.Column, f.Message)
		if f.Line <= len(e.lines) && strings.TrimSpace(e.lines[f.Line-1]) != "" {
			line := shown[f.Line-1]
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
