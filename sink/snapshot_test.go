package sink

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
)

func sales() *schema.Schema {
	s := &schema.Schema{Version: 3}
	for _, f := range [][2]string{{"id", "bigint"}, {"amount", "decimal(12,2)"}, {"country", "string"}, {"paid_at", "timestamp with time zone"}, {"later", "unknown"}} {
		t, err := schema.ParseType(f[1])
		if err != nil {
			panic(err)
		}
		s.Fields = append(s.Fields, schema.Field{Name: f[0], Type: t})
	}
	return s
}

func TestDDL(t *testing.T) {
	by := []NamedType{{"country", "string"}, {"paid_at_date", "date"}}
	got, err := DDL(TableDDL{
		Database: "lake", Table: "sales", Columns: TableTypes(sales(), by), PartitionBy: by, Location: "s3://lake/feeds/sales",
		Comment: "it's", Properties: map[string]string{"lakefeed.generation": "1", "classification": "csv"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "CREATE EXTERNAL TABLE IF NOT EXISTS `lake`.`sales` (\n" +
		"  `id` bigint,\n" +
		"  `amount` decimal(12,2),\n" +
		"  `paid_at` timestamp,\n" +
		"  `later` string,\n" +
		"  `_rescued` map<string,string>\n" +
		")\n" +
		"COMMENT 'it\\'s'\n" +
		"PARTITIONED BY (\n" +
		"  `country` string,\n" +
		"  `paid_at_date` date\n" +
		")\n" +
		"STORED AS PARQUET\n" +
		"LOCATION 's3://lake/feeds/sales/'\n" +
		"TBLPROPERTIES (\n" +
		"  'classification'='parquet',\n" +
		"  'lakefeed.generation'='1'\n" +
		")"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, bad := range map[string]TableDDL{
		"no location":          {Table: "t", Columns: TableTypes(sales(), nil)},
		"timestamp partition":  {Table: "t", Location: "s3://b/t", Columns: TableTypes(sales(), nil), PartitionBy: []NamedType{{"x", "timestamp"}}},
		"column and partition": {Table: "t", Location: "s3://b/t", Columns: TableTypes(sales(), nil), PartitionBy: []NamedType{{"id", "bigint"}}},
	} {
		if got, err := DDL(bad); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	plain, err := DDL(TableDDL{Table: "sales__quarantine", Location: "s3://b/q/", Columns: QuarantineTypes()})
	if err != nil || strings.Contains(plain, "PARTITIONED") || !strings.Contains(plain, "`raw` binary,\n") || !strings.Contains(plain, "LOCATION 's3://b/q/'") {
		t.Errorf("%s, %v", plain, err)
	}
}

func TestSnapshot(t *testing.T) {
	c := Snapshot{V: SnapshotVersion, Table: "sales", Folder: "sales.g2", Generation: 2, SchemaVersion: 3, Columns: []NamedType{{"id", "bigint"}},
		PartitionBy: []NamedType{{"country", "string"}}, Updated: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)}
	de, at := []PartitionValue{{Column: "country", Value: "de"}}, []PartitionValue{{Column: "country", Value: "at"}}
	c.Add(de, 3, 10, 100)
	c.Add(at, 2, 1, 50)
	c.Add(de, 2, 5, 70)
	c.Add([]PartitionValue{{Column: "country", Null: true}}, 3, 2, 20)
	got, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"table":"sales","folder":"sales.g2","generation":2,"schema_version":3,"columns":[{"name":"id","type":"bigint"}],` +
		`"partition_by":[{"name":"country","type":"string"}],"partitions":[` +
		`{"values":[{"c":"country","null":true}],"location":"sales.g2/country=__HIVE_DEFAULT_PARTITION__","schema_version":3,"files":1,"rows":2,"bytes":20},` +
		`{"values":[{"c":"country","v":"at"}],"location":"sales.g2/country=at","schema_version":2,"files":1,"rows":1,"bytes":50},` +
		`{"values":[{"c":"country","v":"de"}],"location":"sales.g2/country=de","schema_version":3,"files":2,"rows":15,"bytes":170}],` +
		`"files":4,"rows":18,"bytes":240,"quarantine":{"files":0,"rows":0,"bytes":0},"updated":"2024-01-02T03:04:05Z"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
