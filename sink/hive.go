package sink

import (
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
