package glue

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/google/go-cmp/cmp"

	"lakefeed/sink"
)

func catalog() *Catalog {
	return &Catalog{config: Config{Database: "lake", Lake: "s3://bucket/feeds", Version: "lakefeed 1"}}
}

func sales() sink.CatalogTable {
	return sink.CatalogTable{
		Name: "sales", Location: "sales.g2", Lake: "4f1c", Swap: 3, Generation: 2, SchemaVersion: 5,
		Columns:     []sink.NamedType{{Name: "id", Type: "bigint"}, {Name: "_rescued", Type: "map<string,string>"}},
		PartitionBy: []sink.NamedType{{Name: "country", Type: "string"}, {Name: "day", Type: "date"}, {Name: "shard", Type: "bigint"}},
		Projection: []sink.ProjectedColumn{
			{Name: "country", Type: sink.ProjectEnum, Values: []string{"de", "fr"}},
			{Name: "day", Type: sink.ProjectDate, Min: "2024-01-02", Max: "2024-02-03"},
			{Name: "shard", Type: sink.ProjectInteger, Min: "0", Max: "15"},
		},
	}
}

// stored is what Glue makes of an input.
func stored(in *types.TableInput, version string) *types.Table {
	return &types.Table{
		Name: in.Name, StorageDescriptor: in.StorageDescriptor, PartitionKeys: in.PartitionKeys, Parameters: in.Parameters,
		Description: in.Description, Owner: in.Owner, VersionId: aws.String(version),
	}
}

// What Athena needs to take the table for one of Parquet files.
func TestInput(t *testing.T) {
	c, want := catalog(), sales()
	in, err := c.input(&want, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := in.StorageDescriptor
	if aws.ToString(in.TableType) != "EXTERNAL_TABLE" || aws.ToString(s.Location) != "s3://bucket/feeds/sales.g2/" ||
		!strings.HasSuffix(aws.ToString(s.InputFormat), ".MapredParquetInputFormat") || !strings.HasSuffix(aws.ToString(s.OutputFormat), ".MapredParquetOutputFormat") ||
		!strings.HasSuffix(aws.ToString(s.SerdeInfo.SerializationLibrary), ".ParquetHiveSerDe") {
		t.Errorf("%+v", in)
	}
	if diff := cmp.Diff(map[string]string{
		"classification": "parquet", "EXTERNAL": "TRUE",
		"lakefeed.lake": "4f1c", "lakefeed.swap": "3", "lakefeed.generation": "2", "lakefeed.schema_version": "5", "lakefeed.version": "lakefeed 1",
		"projection.enabled": "true", "storage.location.template": "s3://bucket/feeds/sales.g2/country=${country}/day=${day}/shard=${shard}/",
		"projection.country.type": "enum", "projection.country.values": "de,fr",
		"projection.day.type": "date", "projection.day.range": "2024-01-02,2024-02-03", "projection.day.format": "yyyy-MM-dd",
		"projection.day.interval": "1", "projection.day.interval.unit": "DAYS",
		"projection.shard.type": "integer", "projection.shard.range": "0,15",
	}, in.Parameters); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := c.fromTable(stored(in, "7"))
	want.Revision = "7"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	plain := sales()
	plain.PartitionBy, plain.Projection = nil, nil
	if in, err = c.input(&plain, nil); err != nil || in.PartitionKeys == nil || in.Parameters["projection.enabled"] != "" {
		t.Errorf("a table without partitions: %+v, %v", in, err)
	}
}

// What people and other programs have set in the table stays; projection goes when
// it is no longer wanted.
func TestInputKeepsWhatOthersSet(t *testing.T) {
	c, table := catalog(), sales()
	in, err := c.input(&table, nil)
	if err != nil {
		t.Fatal(err)
	}
	have := stored(in, "1")
	have.Description, have.Owner = aws.String("all sales"), aws.String("anna")
	have.Parameters["team"] = "x"
	have.StorageDescriptor.Columns[0].Comment = aws.String("the number")
	table.Projection = nil
	table.Columns = append([]sink.NamedType{{Name: "new", Type: "double"}}, table.Columns...)
	if in, err = c.input(&table, have); err != nil {
		t.Fatal(err)
	}
	if aws.ToString(in.Description) != "all sales" || aws.ToString(in.Owner) != "anna" || in.Parameters["team"] != "x" || aws.ToString(in.StorageDescriptor.Columns[1].Comment) != "the number" {
		t.Errorf("%+v", in)
	}
	for k := range in.Parameters {
		if strings.HasPrefix(k, "projection") || strings.HasPrefix(k, "storage") {
			t.Errorf("parameter %s is left", k)
		}
	}
}

func TestLimits(t *testing.T) {
	c, table := catalog(), sales()
	table.Location = strings.Repeat("x", 2100)
	if _, err := c.input(&table, nil); err == nil || !strings.Contains(err.Error(), "2056") {
		t.Errorf("a long location: %v", err)
	}
	table = sales()
	table.Name = strings.Repeat("n", 256)
	if _, err := c.input(&table, nil); err == nil || !strings.Contains(err.Error(), "255") {
		t.Errorf("a long name: %v", err)
	}
	for _, bad := range []Config{{Database: "", Lake: "s3://b/l"}, {Database: "Lake", Lake: "s3://b/l"}, {Database: "lake", Lake: "file:///tmp/lake"}, {Database: "lake", Lake: "s3://"}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	both := Config{Database: "L", Lake: "/tmp"}
	if err := both.Validate(); err == nil || !strings.Contains(err.Error(), "lower case") || !strings.Contains(err.Error(), "not in S3") {
		t.Errorf("%v does not name both faults", err)
	}
	ok := Config{Database: "lake", Lake: "s3://b"}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}
