package lint

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that the repository has at its top, hidden entries aside.
var topLevel = []string{
	"producer", "consumer", "sink", "schema", "broker", "cli", "deploy",
	"main.go", "go.mod", "go.sum", "compose.yaml", "README.md", "LICENSE",
}

// strangers are the entries at the top of root that do not belong there.
func strangers(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	ignored, err := ignorePatterns(root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) && !ignored(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// ignorePatterns reads .gitignore, whose patterns here are plain names and globs
// of names: a lake that was tried out in the clone is no part of the tree.
func ignorePatterns(root string) (func(name string) bool, error) {
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			patterns = append(patterns, strings.Trim(line, "/"))
		}
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
	}, nil
}

func TestTopLevelIsFixed(t *testing.T) {
	found, err := strangers(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		t.Errorf("%s does not belong at the top level: there are only %v and hidden entries", name, topLevel)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "README.md", ".golangci.yml", "lake", "util.go"} {
		write(t, dir, name, "")
	}
	write(t, dir, ".gitignore", "/lake/\n")
	if found, err = strangers(dir); err != nil || !slices.Equal(found, []string{"util.go"}) {
		t.Errorf("strangers = %v, %v, want util.go", found, err)
	}
}

// foreign are words that have no place in the product: where it was made, and a
// folder that only CI knows. They are put together here so that this file does
// not have them.
var foreign = []struct {
	what    *regexp.Regexp
	allowed []string // files
}{
	{regexp.MustCompile(`(^|[^\w.])/` + `(work|root)/`), nil},
	{regexp.MustCompile(`\b` + `shared` + `/`), []string{".ci/run"}},
}

// foreignWords gives "file: text" for every line below root that has one.
func foreignWords(root string) ([]string, error) {
	var out []string
	ignored, err := ignorePatterns(root)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		hidden := strings.HasPrefix(d.Name(), ".") && rel != "." && rel != ".ci" && rel != ".gitignore" && rel != ".github"
		switch {
		case d.IsDir() && (hidden || rel != "." && ignored(d.Name())):
			return fs.SkipDir
		case d.IsDir() || hidden || ignored(d.Name()) || path.Ext(rel) == ".csv":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil
		}
		for line := range strings.Lines(string(text)) {
			for _, f := range foreign {
				if f.what.MatchString(line) && !slices.Contains(f.allowed, rel) {
					out = append(out, rel+": "+strings.TrimSpace(line))
				}
			}
		}
		return nil
	})
	return out, err
}

func TestNoForeignWords(t *testing.T) {
	found, err := foreignWords(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range found {
		t.Errorf("a path of the machine it was made on, or of CI: %s", line)
	}
	dir := t.TempDir()
	data := "sha" + "red/data"
	write(t, dir, ".ci/run", "x=../"+data+"\n")
	write(t, dir, "cli/a.go", "package cli // see ../"+data+"\n")
	write(t, dir, "cli/b.go", "package cli // a framework/part and ashared/thing\n")
	write(t, dir, "README.md", "cat "+"/wo"+"rk/main/x\n")
	if found, err = foreignWords(dir); err != nil || len(found) != 2 {
		t.Errorf("foreign words = %q, %v, want those of README.md and cli/a.go", found, err)
	}
}
