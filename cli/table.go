package cli

import (
	"path"
	"path/filepath"
	"strings"

	"lakefeed/producer/s3source"
	"lakefeed/schema"
)

// tableName is the table that sources go to when none is named: the base name
// of one file, the name of one folder, or what several have in common at their
// beginning, if that is three letters or more.
func tableName(sources []string, isFolder func(string) bool) (string, error) {
	if len(sources) == 1 {
		if sources[0] == "-" {
			return "", &usageError{"name the table: rows from standard input have no name of their own; add --table NAME"}
		}
		if name := schema.SafeName(baseName(sources[0], isFolder(sources[0]))); name != "" {
			return name, nil
		}
	} else {
		common := baseName(sources[0], isFolder(sources[0]))
		for _, s := range sources[1:] {
			common = commonPrefix(common, baseName(s, isFolder(s)))
		}
		if name := schema.SafeName(common); letters(name) >= 3 {
			return name, nil
		}
	}
	return "", &usageError{"name the table: the sources' names do not have three letters in common at their beginning; add --table NAME"}
}

// baseName is a source's name without folder and endings; the part of a glob
// before its first special character.
func baseName(source string, folder bool) string {
	if rest, ok := strings.CutPrefix(source, s3source.Scheme); ok {
		source = strings.TrimRight(rest, "/")
		if folder {
			return path.Base(source)
		}
	}
	if folder {
		if abs, err := filepath.Abs(source); err == nil {
			source = abs
		}
		return filepath.Base(source)
	}
	name := path.Base(filepath.ToSlash(source))
	if i := strings.IndexAny(name, "*?["); i >= 0 {
		name = name[:i]
	}
	for {
		ext := path.Ext(name)
		switch strings.ToLower(ext) {
		case ".gz", ".zst", ".zstd", ".csv", ".tsv", ".txt", ".dat", ".psv", ".data":
			name = strings.TrimSuffix(name, ext)
			continue
		}
		return name
	}
}

// commonPrefix is what two names have in common at their beginning, without the
// beginning of a number that goes on differently: of part-01 and part-02 it is
// "part-".
func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n < len(a) && digit(a[n]) || n < len(b) && digit(b[n]) {
		for n > 0 && digit(a[n-1]) {
			n--
		}
	}
	return a[:n]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letters(s string) (n int) {
	for _, c := range s {
		if c >= 'a' && c <= 'z' {
			n++
		}
	}
	return n
}

// checkTableName refuses a name that Athena or the lake's layout could not take.
func checkTableName(name string) error {
	if name == "" || name != schema.SafeName(name) {
		return &usageError{"table name " + quote(name) + " is not valid: use lower-case letters, digits and single underscores between them, for example " + quote(orExample(schema.SafeName(name)))}
	}
	if name == "kafka" {
		return &usageError{"table name " + quote(name) + " is taken: _lakefeed/kafka has the embedded Kafka's log; use another --table NAME"}
	}
	return nil
}

func orExample(s string) string {
	if s == "" {
		return "sales"
	}
	return s
}

func quote(s string) string { return `"` + s + `"` }
