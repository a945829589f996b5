package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

func TestSecret(t *testing.T) {
	s := struct {
		Password Secret
		All      map[string]Secret
	}{"canary", map[string]Secret{"x": "canary"}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", s.Password, "all", s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "password", s.Password, "all", s)
	for _, text := range []string{
		string(b), log.String(), fmt.Sprint(s.Password, s), fmt.Sprintf("%s %v %q %x %d %#v %+v %T", s.Password, s, s.Password, s.Password, s.Password, s, &s, s),
		fmt.Errorf("do it: %v", s.Password).Error(),
	} {
		if strings.Contains(text, "canary") || strings.Contains(text, fmt.Sprintf("%x", "canary")) {
			t.Errorf("shown: %s", text)
		}
	}
	if s.Password.Reveal() != "canary" {
		t.Error("not revealed")
	}
}

type example struct {
	Text   string            `yaml:"text"`
	Number int               `yaml:"number"`
	Share  float64           `yaml:"share"`
	After  time.Duration     `yaml:"after"`
	List   []string          `yaml:"list"`
	Map    map[string]Secret `yaml:"map"`
	More   []more            `yaml:"more"`
	Maybe  *bool             `yaml:"maybe"`
}

type more struct {
	Text string   `yaml:"text"`
	More []string `yaml:"more"`
}

// Whatever the text is, it is decoded or there are faults, each in a line of it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "text: a\nnumber: 3\nlist: [a, b]\nmore:\n  - {text: b}\n", "a: &a [*a]\n", "<<: *x\n", "text: ${HOME}${", "- \t\n", "map: {a: 1, b: true, c: |\n x}\n", "more: &m\n - more: *m\n",
		"text: \"\\x\"\n", "? a\n: b\n", "--- !t\n", "maybe: true\nafter: 5s\nshare: .inf\n", "\xff\xfe", "%YAML 1.1\n---\n", "\r\r0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v example
		err := Decode("x.yaml", []byte(text), &v).Err()
		if err == nil {
			return
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		for _, fault := range err.(*Error).Faults {
			if fault.Line < 1 || fault.Line > lines+1 || fault.Column < 1 || fault.Message == "" {
				t.Errorf("%+v of %d lines", fault, lines)
			}
		}
		if err.Error() == "" {
			t.Error("nothing is said")
		}
	})
}

// References are looked up once: what they stand for is not looked into.
func TestReferences(t *testing.T) {
	t.Setenv("LAKEFEED_TEST_A", "${LAKEFEED_TEST_B}")
	t.Setenv("LAKEFEED_TEST_B", "x")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", []byte("of a file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"${LAKEFEED_TEST_A}": "${LAKEFEED_TEST_B}", "a${LAKEFEED_TEST_B}b${LAKEFEED_TEST_B}": "axbx", "$$": "$", "$${A}": "${A}", "5$": "5$", "$A": "$A",
		"${LAKEFEED_TEST_NONE:-}": "", "${LAKEFEED_TEST_NONE:-a:-b}": "a:-b", "${file:f}": "of a file", "${file:" + dir + "/f}!": "of a file!",
	} {
		if got, _, err := resolve(text, dir); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}
