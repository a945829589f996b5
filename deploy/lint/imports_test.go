// Package lint has the rules that hold the repository's layout in place, as
// tests. It parses the tree in this process: a test that asks `go list` would be
// served from the test cache, which does not see what a child process reads.
package lint

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows names, for every package, the packages of this module that it may
// import. A pattern ending in /... stands for a folder and all below it. Where a
// package matches several keys the longest holds.
var arrows = map[string][]string{
	".":                  {"cli"},
	"cli/config":         {"schema/spelling"},
	"cli/...":            {"cli/...", "producer/...", "consumer/...", "broker/...", "sink/...", "schema/..."},
	"producer/...":       {"producer", "broker", "schema/wire", "schema/csv", "schema/fault", "schema", "sink/raw"},
	"producer/s3source":  {"producer", "schema/fault", "schema", "sink/awsclient"},
	"consumer":           {"broker", "schema", "schema/csv", "schema/wire", "schema/fault", "consumer/transform", "sink", "sink/raw"},
	"consumer/transform": {"schema", "schema/spelling"},
	"sink":               {"schema", "schema/fault"},
	"sink/...":           {"sink", "schema"}, // an edge, or the conformance suites
	"sink/raw":           {"sink", "schema", "schema/csv", "schema/wire", "schema/fault"},
	"sink/awsclient":     {},
	"sink/s3":            {"sink", "schema", "sink/awsclient"},
	"sink/glue":          {"sink", "schema", "sink/awsclient"},
	"sink/athena":        {"sink", "schema", "sink/awsclient", "sink/query"},
	"sink/trino":         {"sink/query"},
	"sink/duckdb":        {"sink/query"},
	"sink/query":         {},
	"schema":             {},
	"schema/csv":         {"schema"},
	"schema/wire":        {"schema"},
	"schema/fault":       {},
	"schema/spelling":    {},
	"broker":             {},
	"broker/embedded":    {"broker"},
	"deploy/...":         {"..."},

	// Handlers for tests, which those of any package may use.
	"deploy/testbed/s3test": {},
}

// testArrows are allowed to every test beside its package's own arrows: what a
// test drives its package with.
var testArrows = []string{"broker", "broker/embedded", "sink/mem", "sink/dir", "sink/sinktest", "schema/...", "deploy/testbed/s3test"}

// fenced names modules and the only packages that may import them, tests aside
// unless they are in fencedInTests too.
var fenced = map[string][]string{
	"github.com/segmentio/kafka-go":               {"broker", "deploy/testbed"},
	"github.com/aws/aws-sdk-go-v2":                {"sink/awsclient", "sink/s3", "sink/glue", "sink/athena", "producer/s3source", "deploy/testbed"},
	"github.com/aws/smithy-go":                    {"sink/awsclient", "sink/s3", "sink/glue", "sink/athena", "producer/s3source", "deploy/testbed"},
	"github.com/parquet-go/parquet-go":            {"sink"},
	"github.com/twmb/franz-go":                    {"broker/embedded"},
	"github.com/gofrs/flock":                      {"broker/embedded"},
	"github.com/testcontainers/testcontainers-go": {"deploy/testbed"},
	"github.com/alecthomas/kong":                  {"cli"},
	"github.com/goccy/go-yaml":                    {"cli/config"},
	"github.com/invopop/jsonschema":               {"cli"},
	"github.com/moby/moby":                        {"deploy/testbed"},
	"github.com/apache/arrow-go":                  {}, // the tests' reader: one that we did not write
	"github.com/rogpeppe/go-internal":             {},
	"github.com/google/go-cmp":                    {"sink/sinktest"},
	"pgregory.net/rapid":                          {"sink/sinktest"},
	"go.uber.org/goleak":                          {},
	"github.com/stretchr/testify":                 {},
	"github.com/golang/mock":                      {},
	"go.uber.org/mock":                            {},
	"github.com/vektra/mockery":                   {},
	"github.com/marcboeker/go-duckdb":             {"deploy/duckdb"},
	"github.com/duckdb/duckdb-go":                 {"deploy/duckdb"},
}

// fencedInTests are those of the fenced modules that tests may not import
// elsewhere either.
var fencedInTests = []string{
	"github.com/testcontainers/testcontainers-go", "github.com/moby/moby",
	"github.com/aws/aws-sdk-go-v2",
	"github.com/stretchr/testify", "github.com/golang/mock", "go.uber.org/mock", "github.com/vektra/mockery",
	"github.com/marcboeker/go-duckdb", "github.com/duckdb/duckdb-go",
}

// only names packages at the bottom and all that they may import beside the
// standard library and this module.
var only = map[string][]string{
	"schema":             {},
	"schema/csv":         {"golang.org/x/text"},
	"schema/fault":       {},
	"schema/spelling":    {},
	"schema/wire":        {"github.com/zeebo/xxh3"},
	"consumer/transform": {"github.com/expr-lang/expr"},
	"sink/mem":           {},
	"cli/config":         {"github.com/goccy/go-yaml"},
	".":                  {"golang.org/x/crypto/x509roots/fallback"},
}

// checkImports parses every Go file below root and gives a line for each import
// that the rules forbid.
func checkImports(root string) ([]string, error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	module := strings.Fields(string(mod))[1]
	var faults []string
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return skipFolder(root, rel)
		}
		if path.Ext(rel) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := forbidden(module, path.Dir(rel), imported, strings.HasSuffix(rel, "_test.go")); why != "" {
				faults = append(faults, fmt.Sprintf("%s imports %s: %s", rel, imported, why))
			}
		}
		return nil
	})
	return faults, err
}

// skipFolder skips folders that are no part of the module: hidden ones, test
// data, and modules of their own.
func skipFolder(root, rel string) error {
	if rel == "." {
		return nil
	}
	name := path.Base(rel)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(rel), "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// forbidden says why pkg may not import imported, or "".
func forbidden(module, pkg, imported string, test bool) string {
	if inside, ok := strings.CutPrefix(imported, module+"/"); ok || imported == module {
		if imported == module {
			inside = "."
		}
		if inside == pkg { // an external test of the package
			return ""
		}
		allowed, ok := arrowsOf(pkg)
		if !ok {
			return "the package has no arrows: name it in deploy/lint and in deploy/docs/ARCHITECTURE.md"
		}
		if matchesAny(allowed, inside) || test && matchesAny(testArrows, inside) {
			return ""
		}
		return fmt.Sprintf("%s may import only %v of this module", pkg, allowed)
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") { // the standard library
		if first == "C" {
			return "the binary is built without cgo"
		}
		return ""
	}
	if list, ok := only[pkg]; ok && !test && !slices.ContainsFunc(list, func(m string) bool { return ofModule(imported, m) }) {
		return fmt.Sprintf("%s may import only the standard library and %v", pkg, list)
	}
	for m, list := range fenced {
		if ofModule(imported, m) && !matchesAny(list, pkg) && (!test || slices.Contains(fencedInTests, m)) {
			return fmt.Sprintf("only %v may", list)
		}
	}
	return ""
}

// arrowsOf gives the arrows of the longest key that pkg matches.
func arrowsOf(pkg string) (allowed []string, ok bool) {
	longest := -1
	for key, list := range arrows {
		if n := len(strings.TrimSuffix(key, "/...")); matchesAny([]string{key}, pkg) && n >= longest {
			// of sink and sink/... the exact one is meant for sink
			if n == longest && strings.HasSuffix(key, "/...") {
				continue
			}
			longest, allowed, ok = n, list, true
		}
	}
	return allowed, ok
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == "..." {
			return true
		}
		folder, below := strings.CutSuffix(p, "/...")
		return pkg == folder || below && strings.HasPrefix(pkg, folder+"/")
	})
}

func ofModule(imported, module string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// root is the folder of the go.mod above this package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working folder")
		}
		dir = up
	}
}

func TestImports(t *testing.T) {
	faults, err := checkImports(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// The check itself: each of these files breaks one rule, or none.
func TestImportsAreCaught(t *testing.T) {
	for _, c := range []struct {
		file, imported string
		caught         bool
	}{
		{"main.go", "lakefeed/cli", false},
		{"main.go", "lakefeed/sink", true},
		{"cli/a.go", "lakefeed/broker/embedded", false},
		{"cli/a.go", "lakefeed/sink/dir", false},
		{"cli/a.go", "lakefeed/deploy/testbed", true},
		{"sink/s3/a_test.go", "lakefeed/deploy/testbed/s3test", false},
		{"sink/s3/a_test.go", "lakefeed/deploy/testbed", true},
		{"sink/s3/a.go", "lakefeed/deploy/testbed/s3test", true},
		{"cli/a.go", "lakefeed/cli/config", false},
		{"cli/a.go", "github.com/goccy/go-yaml/ast", true},
		{"cli/config/a.go", "github.com/goccy/go-yaml/ast", false},
		{"cli/config/a.go", "lakefeed/cli", true},
		{"cli/a.go", "github.com/segmentio/kafka-go", true},
		{"producer/a.go", "lakefeed/schema/csv", false},
		{"producer/a.go", "lakefeed/consumer", true},
		{"producer/a.go", "github.com/segmentio/kafka-go", true},
		{"producer/a_test.go", "github.com/segmentio/kafka-go", false},
		{"producer/a.go", "lakefeed/sink", true},
		{"producer/a_test.go", "lakefeed/consumer", true},
		{"producer/a_test.go", "lakefeed/broker/embedded", false},
		{"producer/a_test.go", "lakefeed/producer", false},
		{"producer/s3source/a.go", "github.com/aws/aws-sdk-go-v2/service/s3", false},
		{"producer/s3source/a.go", "lakefeed/sink/awsclient", false},
		{"producer/a.go", "lakefeed/sink/awsclient", true},
		{"sink/s3/a.go", "lakefeed/sink/awsclient", false},
		{"sink/awsclient/a.go", "lakefeed/sink", true},
		{"sink/a.go", "lakefeed/sink/awsclient", true},
		{"producer/a.go", "github.com/aws/aws-sdk-go-v2/service/s3", true},
		{"consumer/a.go", "lakefeed/producer", true},
		{"consumer/a.go", "lakefeed/sink/dir", true},
		{"consumer/a.go", "lakefeed/broker/embedded", true},
		{"consumer/a_test.go", "lakefeed/sink/mem", false},
		{"consumer/transform/a.go", "lakefeed/sink", true},
		{"consumer/transform/a.go", "lakefeed/schema", false},
		{"sink/a.go", "lakefeed/producer", true},
		{"sink/a.go", "lakefeed/schema/wire", true},
		{"sink/a.go", "lakefeed/sink/dir", true},
		{"sink/a.go", "github.com/parquet-go/parquet-go/format", false},
		{"sink/a_test.go", "github.com/apache/arrow-go/v18/parquet/file", false},
		{"sink/a.go", "github.com/apache/arrow-go/v18/parquet/file", true},
		{"sink/dir/a.go", "lakefeed/sink", false},
		{"sink/dir/a.go", "lakefeed/broker", true},
		{"sink/dir/a.go", "github.com/parquet-go/parquet-go", true},
		{"schema/a.go", "lakefeed/schema/csv", true},
		{"schema/a.go", "golang.org/x/text/encoding", true},
		{"schema/a.go", "encoding/json", false},
		{"schema/csv/a.go", "golang.org/x/text/encoding", false},
		{"schema/csv/a.go", "lakefeed/schema/wire", true},
		{"schema/csv/a_test.go", "lakefeed/schema/wire", false},
		{"schema/wire/a.go", "github.com/zeebo/xxh3", false},
		{"schema/wire/a.go", "lakefeed/broker", true},
		{"broker/a.go", "github.com/segmentio/kafka-go/protocol", false},
		{"broker/a.go", "github.com/twmb/franz-go/pkg/kfake", true},
		{"broker/a.go", "lakefeed/sink", true},
		{"broker/a.go", "github.com/aws/aws-sdk-go-v2/aws", true},
		{"cli/config/a.go", "lakefeed/schema/spelling", false},
		{"broker/embedded/a.go", "github.com/twmb/franz-go/pkg/kfake", false},
		{"deploy/testbed/a.go", "github.com/testcontainers/testcontainers-go/wait", false},
		{"deploy/e2e/a_test.go", "github.com/testcontainers/testcontainers-go", true},
		{"deploy/e2e/a_test.go", "lakefeed/producer", false},
		{"util/a.go", "lakefeed/schema", true},
		{"sink/a.go", "C", true},
		{"sink/a_test.go", "github.com/stretchr/testify/mock", true},
	} {
		dir := t.TempDir()
		write(t, dir, "go.mod", "module lakefeed\n\ngo 1.26.0\n")
		write(t, dir, c.file, "package a\n\nimport _ "+strconv.Quote(c.imported)+"\n")
		faults, err := checkImports(dir)
		if err != nil {
			t.Fatal(err)
		}
		if caught := len(faults) > 0; caught != c.caught {
			t.Errorf("%s imports %s: faults %q, want caught %v", c.file, c.imported, faults, c.caught)
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
