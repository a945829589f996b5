package sink

import (
	"slices"
	"strings"
	"time"

	"lakefeed/schema"
)

// Snapshot says what a table is at a moment, as its chains have it.
type Snapshot struct {
	V             int                 `json:"v"`
	Table         string              `json:"table"`
	Folder        string              `json:"folder"` // of the live generation, relative to the lake
	Generation    int                 `json:"generation"`
	SchemaVersion int64               `json:"schema_version"`
	Columns       []NamedType         `json:"columns"`
	PartitionBy   []NamedType         `json:"partition_by,omitempty"`
	Partitions    []SnapshotPartition `json:"partitions"` // by location
	Stats
	Quarantine Stats     `json:"quarantine"` // of the quarantine table
	Updated    time.Time `json:"updated"`
}

// SnapshotVersion is the version of a Snapshot's format.
const SnapshotVersion = 1

// NamedType is a column and its type, as a CREATE TABLE of Athena wants it.
type NamedType struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Stats count data files, and what is in them.
type Stats struct {
	Files int64 `json:"files"`
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

func (s *Stats) add(rows, bytes int64) {
	s.Files, s.Rows, s.Bytes = s.Files+1, s.Rows+rows, s.Bytes+bytes
}

func (s *Stats) subtract(rows, bytes int64) {
	s.Files, s.Rows, s.Bytes = s.Files-1, s.Rows-rows, s.Bytes-bytes
}

// SnapshotPartition is one partition of a table; a table without partition
// columns has one, without values.
type SnapshotPartition struct {
	Values        []PartitionValue `json:"values,omitempty"`
	Location      string           `json:"location"`       // folder, relative to the lake
	SchemaVersion int64            `json:"schema_version"` // the newest that a file in it was written with
	Stats
}

// Add counts a published file of the table in, which was written with a version of
// the table's columns.
func (s *Snapshot) Add(values []PartitionValue, version, rows, bytes int64) {
	s.add(rows, bytes)
	location := s.Folder
	if path := PartitionPath(values); path != "" {
		location += "/" + path
	}
	i, ok := slices.BinarySearchFunc(s.Partitions, location, func(p SnapshotPartition, l string) int { return strings.Compare(p.Location, l) })
	if !ok {
		s.Partitions = slices.Insert(s.Partitions, i, SnapshotPartition{Values: slices.Clone(values), Location: location})
	}
	p := &s.Partitions[i]
	p.add(rows, bytes)
	p.SchemaVersion = max(p.SchemaVersion, version)
}

// TableTypes are the columns that a table declares, in the schema's order, with
// `_rescued` last. Undecided columns are declared string. Columns that partition
// the table as they are cannot be declared twice: they are left out.
func TableTypes(s *schema.Schema, partitionBy []NamedType) []NamedType {
	types := make([]NamedType, 0, len(s.Fields)+1)
	for _, f := range s.Fields {
		if !slices.ContainsFunc(partitionBy, func(p NamedType) bool { return p.Name == f.Name }) {
			types = append(types, NamedType{Name: f.Name, Type: f.Type.DDL()})
		}
	}
	return append(types, NamedType{Name: RescuedColumn, Type: "map<string,string>"})
}
