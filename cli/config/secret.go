package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that is never printed, logged or marshalled.
type Secret string

const hidden = "(secret)"

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string   { return hidden }
func (s Secret) GoString() string { return hidden }

// Format prints the same for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue is what slog prints.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText is what encoders print.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
