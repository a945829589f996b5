package sink

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lakefeed/schema"
)

// Catalog says what a table is at a moment, for readers of a lake that has no
// other catalog. It is a projection of the chain, stored as JSON, and can be made
// again at any time.
type Catalog struct {
	V             int                `json:"v"`
	Table         string             `json:"table"`
	Folder        string             `json:"folder"` // of the live generation, relative to the lake
	Generation    int                `json:"generation"`
	SchemaVersion int64              `json:"schema_version"`
	Columns       []NamedType        `json:"columns"`
	PartitionBy   []NamedType        `json:"partition_by,omitempty"`
	Partitions    []CatalogPartition `json:"partitions"`
	Files         int64              `json:"files"`
	Rows          int64              `json:"rows"`
	Bytes         int64              `json:"bytes"`
	Updated       time.Time          `json:"updated"`
}

// CatalogVersion is the version of a Catalog's format.
const CatalogVersion = 1

// NamedType is a column and its type, as a CREATE TABLE of Athena wants it.
type NamedType struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// CatalogPartition is one partition of a table; a table without partition
// columns has one, without values.
type CatalogPartition struct {
	Values   []PartitionValue `json:"values,omitempty"`
	Location string           `json:"location"` // folder, relative to the lake
	Files    int64            `json:"files"`
	Rows     int64            `json:"rows"`
	Bytes    int64            `json:"bytes"`
}

// Add counts a published file of the table in.
func (c *Catalog) Add(values []PartitionValue, rows, bytes int64) {
	c.Files, c.Rows, c.Bytes = c.Files+1, c.Rows+rows, c.Bytes+bytes
	location := c.Folder
	if path := PartitionPath(values); path != "" {
		location += "/" + path
	}
	i, ok := slices.BinarySearchFunc(c.Partitions, location, func(p CatalogPartition, l string) int { return strings.Compare(p.Location, l) })
	if !ok {
		c.Partitions = slices.Insert(c.Partitions, i, CatalogPartition{Values: slices.Clone(values), Location: location})
	}
	p := &c.Partitions[i]
	p.Files, p.Rows, p.Bytes = p.Files+1, p.Rows+rows, p.Bytes+bytes
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

// TableDDL is what a CREATE TABLE needs.
type TableDDL struct {
	Database    string // none when empty
	Table       string
	Columns     []NamedType
	PartitionBy []NamedType // string, bigint or date
	Location    string      // URI of the folder
	Comment     string      // none when empty
	Properties  map[string]string
}

// DDL gives the statement that makes the table in Athena. Partitions have to be
// added to it afterwards.
func DDL(t TableDDL) (string, error) {
	if t.Table == "" || t.Location == "" || len(t.Columns) == 0 {
		return "", fmt.Errorf("write DDL of table %q: it needs a name, a location and columns", t.Table)
	}
	var b strings.Builder
	b.WriteString("CREATE EXTERNAL TABLE IF NOT EXISTS ")
	if t.Database != "" {
		b.WriteString(quoteName(t.Database) + ".")
	}
	b.WriteString(quoteName(t.Table) + " (\n")
	writeTypes(&b, t.Columns)
	b.WriteString("\n)\n")
	if t.Comment != "" {
		b.WriteString("COMMENT " + quoteText(t.Comment) + "\n")
	}
	if len(t.PartitionBy) > 0 {
		for _, p := range t.PartitionBy {
			if p.Type != "string" && p.Type != "bigint" && p.Type != "date" {
				return "", fmt.Errorf("write DDL of table %s: partition column %s is %s, want string, bigint or date", t.Table, p.Name, p.Type)
			}
			if slices.ContainsFunc(t.Columns, func(c NamedType) bool { return c.Name == p.Name }) {
				return "", fmt.Errorf("write DDL of table %s: partition column %s is a column of the table too", t.Table, p.Name)
			}
		}
		b.WriteString("PARTITIONED BY (\n")
		writeTypes(&b, t.PartitionBy)
		b.WriteString("\n)\n")
	}
	location := strings.TrimSuffix(t.Location, "/") + "/" // without it Athena takes folders that only begin alike
	b.WriteString("STORED AS PARQUET\nLOCATION " + quoteText(location) + "\nTBLPROPERTIES (\n  'classification'='parquet'")
	keys := make([]string, 0, len(t.Properties))
	for k := range t.Properties {
		if k != "classification" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.WriteString(",\n  " + quoteText(k) + "=" + quoteText(t.Properties[k]))
	}
	b.WriteString("\n)")
	return b.String(), nil
}

func writeTypes(b *strings.Builder, types []NamedType) {
	for i, c := range types {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteString("  " + quoteName(c.Name) + " " + c.Type)
	}
}

func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// quoteText quotes as Hive reads it: with backslashes.
func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + "'"
}
