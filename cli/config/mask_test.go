package config

import (
	"strings"
	"testing"
)

// Whatever line a fault is of, what is shown of it has nothing of a secret, also where
// the secret is on lines of its own; and the keys behind it are seen again.
func TestSecretsOnSeveralLines(t *testing.T) {
	for _, text := range []string{
		"kafka:\n  sasl.password:\n    - canary\n    - canary\n  after: seen",
		"kafka:\n  sasl.password:\n  - canary\n  - canary: canary\n\n  - canary\n  after: seen",
		"kafka:\n  sasl.password:\n    canary: canary\n\n    canary:\n      - canary\n  after: seen",
		"kafka:\n  sasl.password: |\n    canary\n    # canary\n\n    canary\n  after: seen",
		"kafka:\n  \"sasl.password\": >-\n   canary\n  after: seen",
		"kafka:\n  sasl.password: canary\n    canary\n  after: seen",
		"kafka:\n  sasl.password: canary\n\tcanary\n  after: seen",
		"kafka:\n  sasl.password: \"canary\ncanary: canary\n  canary\\\"\n  canary\"\n  after: seen",
		"kafka:\n  sasl.password: 'canary\n  canary''\n  canary: canary'\n  after: seen",
		"kafka:\n  sasl.password: &a !!str\n    canary\n  after: seen",
		"kafka:\n  sasl.password: [canary,\ncanary, {canary: canary,\n  canary: 'canary]'}\n  ]\n  after: seen",
		"kafka: {sasl.password: [canary, canary: canary], after: seen}",
		"kafka: {sasl.password: {canary: canary, canary: canary}, after: seen}",
		"kafka: {sasl.password: &a {canary: canary, canary: canary}, after: seen}",
		"kafka: {sasl.password: {canary: [canary, canary: canary],\n  canary: canary},\n  after: seen}",
		"kafka: {sasl.password: \"canary\",\n  after: seen}",
		"kafka: {sasl.password: \"canary\" canary: canary\n}\nafter: seen",
		"kafka: {sasl.password:\n  canary,\n canary\n}\nafter: seen",
		"kafka: {sasl.password: canary,\n  canary,\n  after: seen}",
		"kafka: {\n  sasl.password:\n  canary,\n canary,\n  after: seen\n}",
		"kafka:\n  ? sasl.password\n  : canary\n    canary\n  after: seen",
		"list:\n  - sasl.password:\n      - canary\n    after: seen\n  - seen",
		"list:\n  - sasl.password: canary\n     canary\n  - after: seen\n  - seen",
		"kafka:\n  sasl.password: ${file:password}\n  # seen\n  after: seen",
		"kafka:\n  sasl.username: seen\n  sasl.mechanism:\n    - seen\n  after: seen",
		"kafka:\n  sasl.pasword:\n    - canary\n--- # seen\nafter: seen",
		"sasl.password:\n- canary\nafter: seen",
	} {
		lines := strings.Split(text, "\n")
		e := &Error{Name: "x.yaml", lines: lines}
		for i := range lines {
			e.Faults = append(e.Faults, Fault{Line: i + 1, Column: 1, Width: 1, Message: "wrong"})
		}
		if said := e.Error(); strings.Contains(said, "canary") || strings.Count(said, "seen") != strings.Count(text, "seen") || !strings.Contains(said, "after: seen") {
			t.Errorf("of\n%s\nis said\n%s", text, said)
		}
	}
}

// Lists and keys that are no secret's are shown, and a line keeps its width.
func TestLinesAreShown(t *testing.T) {
	lines := strings.Split("source:\n  - s3://b/pass=canary/a.csv\n  - s3://b/x.csv\ncolumns: {a: [b, c], d: e}\nkafka: {sasl.password: [canary, x], after: seen}", "\n")
	want := strings.Split("source:\n  - s3://b/pass=***\n  - s3://b/x.csv\ncolumns: {a: [b, c], d: e}\nkafka: {sasl.password: ***        , after: seen}", "\n")
	for i, line := range maskedLines(lines) {
		if strings.TrimRight(line, " ") != want[i] {
			t.Errorf("%q, want %q", line, want[i])
		}
	}
}
