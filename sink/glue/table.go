package glue

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"lakefeed/sink"
)

// What makes a table of Parquet files one for the engines that read Glue.
const (
	tableType    = "EXTERNAL_TABLE"
	inputFormat  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
	outputFormat = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
	serde        = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
)

// The parameters that are lakefeed's.
const (
	paramLake       = "lakefeed.lake"
	paramSwap       = "lakefeed.swap"
	paramGeneration = "lakefeed.generation"
	paramSchema     = "lakefeed.schema_version"
	paramVersion    = "lakefeed.version"

	projection      = "projection."
	paramProjection = projection + "enabled"
	paramTemplate   = "storage.location.template"
)

// input is a table as Glue takes it. have is the one that it replaces, or nil.
func (c *Catalog) input(t *sink.CatalogTable, have *types.Table) (*types.TableInput, error) {
	storage, err := c.storage(t.Name, t.Location, t.Columns)
	if err != nil {
		return nil, err
	}
	in := &types.TableInput{
		Name: &t.Name, TableType: aws.String(tableType), StorageDescriptor: storage, PartitionKeys: columns(t.PartitionBy),
		Parameters: map[string]string{},
	}
	if have != nil {
		in.Owner, in.Description, in.Retention, in.LastAccessTime, in.LastAnalyzedTime = have.Owner, have.Description, have.Retention, have.LastAccessTime, have.LastAnalyzedTime
		maps.Copy(in.Parameters, have.Parameters)
		maps.DeleteFunc(in.Parameters, func(k, _ string) bool { return strings.HasPrefix(k, projection) || k == paramTemplate })
		keepComments(in.StorageDescriptor.Columns, have.StorageDescriptor)
	}
	p := in.Parameters
	p["classification"], p["EXTERNAL"] = "parquet", "TRUE"
	p[paramLake] = t.Lake
	p[paramSwap] = strconv.FormatInt(t.Swap, 10)
	p[paramGeneration] = strconv.Itoa(t.Generation)
	p[paramSchema] = strconv.FormatInt(t.SchemaVersion, 10)
	if c.config.Version != "" {
		p[paramVersion] = c.config.Version
	}
	if len(t.Projection) > 0 {
		c.project(t, p)
	}
	return in, nil
}

// keepComments keeps what people wrote about columns.
func keepComments(columns []types.Column, have *types.StorageDescriptor) {
	if have == nil {
		return
	}
	comments := map[string]*string{}
	for _, c := range have.Columns {
		comments[aws.ToString(c.Name)] = c.Comment
	}
	for i := range columns {
		columns[i].Comment = comments[aws.ToString(columns[i].Name)]
	}
}

// storage says where files are, and how to read them.
func (c *Catalog) storage(table, location string, cols []sink.NamedType) (*types.StorageDescriptor, error) {
	uri := c.config.Lake + "/" + location + "/" // without the slash Athena takes folders that only begin alike
	if len(uri) > maxLocation {
		return nil, fmt.Errorf("register %s.%s in Glue: the location %s has %d bytes, more than the %d that Glue takes", c.config.Database, table, uri, len(uri), maxLocation)
	}
	if len(table) > maxName {
		return nil, fmt.Errorf("register %s.%s in Glue: the name has %d bytes, more than the %d that Glue takes: give the table a shorter one", c.config.Database, table, len(table), maxName)
	}
	return &types.StorageDescriptor{
		Location: &uri, Columns: columns(cols), InputFormat: aws.String(inputFormat), OutputFormat: aws.String(outputFormat),
		SerdeInfo: &types.SerDeInfo{SerializationLibrary: aws.String(serde), Parameters: map[string]string{"serialization.format": "1"}},
	}, nil
}

func columns(named []sink.NamedType) []types.Column {
	out := make([]types.Column, len(named)) // never nil: Athena wants a list where there is none
	for i := range named {
		out[i] = types.Column{Name: aws.String(named[i].Name), Type: aws.String(named[i].Type)}
	}
	return out
}

func named(columns []types.Column) []sink.NamedType {
	var out []sink.NamedType
	for _, c := range columns {
		out = append(out, sink.NamedType{Name: aws.ToString(c.Name), Type: aws.ToString(c.Type)})
	}
	return out
}

// relative is a location within the lake, or the whole URI of one elsewhere.
func (c *Catalog) relative(storage *types.StorageDescriptor) string {
	if storage == nil {
		return ""
	}
	uri := strings.TrimSuffix(aws.ToString(storage.Location), "/")
	if in, ok := strings.CutPrefix(uri, c.config.Lake+"/"); ok {
		return in
	}
	return uri
}

func (c *Catalog) fromTable(t *types.Table) sink.CatalogTable {
	p := t.Parameters
	out := sink.CatalogTable{
		Name: aws.ToString(t.Name), Location: c.relative(t.StorageDescriptor), PartitionBy: named(t.PartitionKeys),
		Lake: p[paramLake], Swap: integer(p[paramSwap]), Generation: int(integer(p[paramGeneration])), SchemaVersion: integer(p[paramSchema]),
		Revision: aws.ToString(t.VersionId),
	}
	if t.StorageDescriptor != nil {
		out.Columns = named(t.StorageDescriptor.Columns)
	}
	if p[paramProjection] == "true" {
		for _, k := range out.PartitionBy {
			out.Projection = append(out.Projection, projected(k.Name, p))
		}
	}
	return out
}

// integer reads a number of ours; what somebody made of it counts as 0, and is
// brought up to date.
func integer(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (c *Catalog) partition(p *sink.CatalogPartition) (*types.PartitionInput, error) {
	storage, err := c.storage("", p.Location, p.Columns)
	if err != nil {
		return nil, err
	}
	return &types.PartitionInput{
		Values: p.Values, StorageDescriptor: storage,
		Parameters: map[string]string{paramSwap: strconv.FormatInt(p.Swap, 10), paramSchema: strconv.FormatInt(p.SchemaVersion, 10)},
	}, nil
}

func (c *Catalog) fromPartition(p *types.Partition) sink.CatalogPartition {
	out := sink.CatalogPartition{
		Values: p.Values, Location: c.relative(p.StorageDescriptor), Swap: integer(p.Parameters[paramSwap]), SchemaVersion: integer(p.Parameters[paramSchema]),
	}
	if p.StorageDescriptor != nil {
		out.Columns = named(p.StorageDescriptor.Columns)
	}
	return out
}

// project writes the parameters of partition projection.
func (c *Catalog) project(t *sink.CatalogTable, p map[string]string) {
	template := c.config.Lake + "/" + t.Location + "/"
	p[paramProjection] = "true"
	for _, col := range t.Projection {
		key := projection + col.Name
		p[key+".type"] = col.Type
		switch col.Type {
		case sink.ProjectEnum:
			p[key+".values"] = strings.Join(col.Values, ",")
			if len(col.Values) == 0 {
				p[key+".values"] = sink.DefaultPartition
			}
		case sink.ProjectInteger:
			p[key+".range"] = col.Min + "," + col.Max
			if col.Min == "" {
				p[key+".range"] = "0,0"
			}
		case sink.ProjectDate:
			p[key+".format"] = "yyyy-MM-dd"
			p[key+".interval"], p[key+".interval.unit"] = "1", "DAYS"
			p[key+".range"] = col.Min + "," + col.Max
			if col.Min == "" {
				p[key+".range"] = "NOW,NOW"
			}
		}
		template += col.Name + "=${" + col.Name + "}/"
	}
	p[paramTemplate] = template
}

// projected reads back what project wrote for a column.
func projected(name string, p map[string]string) sink.ProjectedColumn {
	key := projection + name
	col := sink.ProjectedColumn{Name: name, Type: p[key+".type"]}
	if values := p[key+".values"]; values != "" && values != sink.DefaultPartition {
		col.Values = strings.Split(values, ",")
	}
	if from, to, ok := strings.Cut(p[key+".range"], ","); ok && from != "NOW" {
		col.Min, col.Max = from, to
	}
	return col
}
