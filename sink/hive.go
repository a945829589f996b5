package sink

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// DefaultPartition is the folder name that Hive, Athena and Glue give a null
// partition value.
const DefaultPartition = "__HIVE_DEFAULT_PARTITION__"

// PartitionValue is one partition column of a file and its value as text: a
// string as it is, a bigint in decimal digits, a date as 2006-01-02.
type PartitionValue struct {
	Column string `json:"c"`
	Value  string `json:"v,omitempty"`
	Null   bool   `json:"null,omitempty"`
}

// maxFolderName is what the file systems in use allow a name to have, in bytes.
const maxFolderName = 255

// PartitionFits says whether a value can be told from all others once it is in a
// path. What does not fit belongs into the null partition: the empty string and
// the name of the null partition (readers take both for null), text that is not
// UTF-8, and what would make a folder name of more than 255 bytes.
func PartitionFits(column, value string) bool {
	return value != "" && value != DefaultPartition && utf8.ValidString(value) &&
		escapedLen(column)+1+escapedLen(value) <= maxFolderName
}

// PartitionPath is the folder of a partition in Hive's layout, "c=v/d=w", without
// a slash at its end; empty when there are no values. Names and values are
// escaped as Hive does. Null and empty values become DefaultPartition.
func PartitionPath(values []PartitionValue) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte('/')
		}
		writeEscaped(&b, v.Column)
		b.WriteByte('=')
		if v.Null || v.Value == "" {
			b.WriteString(DefaultPartition)
		} else {
			writeEscaped(&b, v.Value)
		}
	}
	return b.String()
}

// ParsePartitionPath reads what PartitionPath writes. It takes paths of other
// writers too: hex digits in either case, and bytes left unescaped that
// PartitionPath would escape. As in Hive, a % that two hex digits do not follow
// stands for itself.
func ParsePartitionPath(path string) ([]PartitionValue, error) {
	if path == "" {
		return nil, nil
	}
	values := make([]PartitionValue, 0, strings.Count(path, "/")+1)
	for folder := range strings.SplitSeq(path, "/") {
		column, value, ok := strings.Cut(folder, "=")
		if !ok || column == "" || value == "" {
			return nil, fmt.Errorf("parse partition path %q: folder %q is not column=value", path, folder)
		}
		v := PartitionValue{Column: unescape(column)}
		if value = unescape(value); value == DefaultPartition {
			v.Null = true
		} else {
			v.Value = value
		}
		values = append(values, v)
	}
	return values, nil
}

// escaped says whether Hive escapes a byte in a partition path: the list of its
// FileUtils.escapePathName, and NUL, which no file system takes.
func escaped(c byte) bool {
	switch c {
	case '"', '#', '%', '\'', '*', '/', ':', '=', '?', '\\', 0x7f, '{', '[', ']', '^':
		return true
	}
	return c < 0x20
}

func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if escaped(s[i]) {
			n += 2
		}
	}
	return n
}

func writeEscaped(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if !escaped(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
