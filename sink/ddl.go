package sink

import (
	"fmt"
	"slices"
	"strings"
)

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
