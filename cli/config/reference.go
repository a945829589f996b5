package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var reference = regexp.MustCompile(`\$(\$|\{[^}]*\}?)`)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var (
	errUnclosed    = errors.New("has no closing brace; write $$ for a dollar sign")
	errNoReference = errors.New("is no reference: write ${VAR}, ${VAR:-default} or ${file:PATH}, and $$ for a dollar sign")
)

// withoutText is the error of a secret's reference. What is none is a part of the secret.
func withoutText(err error) error {
	for _, e := range [...]error{errUnclosed, errNoReference} {
		if errors.Is(err, e) {
			return fmt.Errorf("a ${ in it %w", e)
		}
	}
	return err
}

// resolve fills in the references of a value. Relative files are below dir. An
// error names the reference and never what was found.
func resolve(text, dir string) (out string, expanded bool, err error) {
	out = reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		expanded = true
		value, e := lookUp(ref, dir)
		if err == nil {
			err = e
		}
		return value
	})
	return out, expanded, err
}

func lookUp(ref, dir string) (string, error) {
	inner, closed := strings.CutSuffix(ref[len("${"):], "}")
	if !closed {
		return "", fmt.Errorf("%s %w", ref, errUnclosed)
	}
	if name, ok := strings.CutPrefix(inner, "file:"); ok {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		b, err := os.ReadFile(name)
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", ref, err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
	}
	name, fallback, defaulted := strings.Cut(inner, ":-")
	if !variable.MatchString(name) {
		return "", fmt.Errorf("%s %w", ref, errNoReference)
	}
	value, ok := os.LookupEnv(name)
	if ok && (value != "" || !defaulted) {
		return value, nil
	}
	if defaulted {
		return fallback, nil
	}
	return "", fmt.Errorf("%s: the environment has no %s: set it, or give a default: ${%s:-…}", ref, name, name)
}
