// Package glue registers tables in the AWS Glue Data Catalog, as Athena wants them,
// and every engine that reads it.
package glue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
)

var _ sink.Catalog = (*Catalog)(nil)

// Config says which database, and for which lake.
type Config struct {
	Database string // made when it is not there
	Lake     string // URI of the lake, s3://bucket/prefix
	Version  string // of lakefeed, for people who look at the table
	Log      *slog.Logger
}

// Validate reports every fault at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Database == "" || c.Database != strings.ToLower(c.Database) || len(c.Database) > maxName {
		errs = append(errs, fmt.Errorf("glue database %q: want a name of 1 to %d bytes in lower case, as Glue stores it", c.Database, maxName))
	}
	bucket, ok := strings.CutPrefix(c.Lake, "s3://")
	if !ok || strings.HasPrefix(bucket, "/") || strings.Trim(bucket, "/") == "" {
		errs = append(errs, fmt.Errorf("glue database %s: the lake %q is not in S3, and Athena reads nothing else: give s3://bucket/prefix", c.Database, c.Lake))
	}
	return errors.Join(errs...)
}

// The limits of the API.
const (
	maxName     = 255
	maxLocation = 2056
	batchSize   = 100 // partitions a call
	deleteSize  = 25  // of those that are deleted
)

// patience is how long one request is repeated; a registrar begins again after.
const patience = 15 * time.Second

// Catalog is a database of the Glue Data Catalog.
type Catalog struct {
	client *api.Client
	config Config
}

// Open gives the catalog, with credentials and endpoint from the environment. It
// asks no service.
func Open(ctx context.Context, c Config) (*Catalog, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Lake = strings.TrimRight(c.Lake, "/")
	cfg, err := awsclient.Load(ctx, awsclient.Options{Patience: patience, Log: c.Log})
	if err != nil {
		return nil, fmt.Errorf("open glue database %s: %w", c.Database, err)
	}
	client, err := awsclient.Glue(cfg)
	if err != nil {
		return nil, fmt.Errorf("open glue database %s: %w", c.Database, err)
	}
	return &Catalog{client: client, config: c}, nil
}

// String names the database.
func (c *Catalog) String() string { return "Glue database " + c.config.Database }

// explain puts the service's error into the words of sink.Catalog.
func (c *Catalog) explain(verb, table string, err error) error {
	if err == nil {
		return nil
	}
	if answer := known(awsclient.Code(err)); answer != nil {
		err = answer
	} else {
		err = awsclient.Explain(err, "Glue table "+c.config.Database+"."+table)
	}
	return fmt.Errorf("%s %s.%s in Glue: %w", verb, c.config.Database, table, err)
}

// known is the answer that a code stands for, nil where it is a fault.
func known(code string) error {
	switch code {
	case "EntityNotFoundException":
		return sink.ErrNotExist
	case "AlreadyExistsException":
		return sink.ErrExists
	case "ConcurrentModificationException", "VersionMismatchException":
		return sink.ErrConflict
	}
	return nil
}

// Table gets a table.
func (c *Catalog) Table(ctx context.Context, name string) (sink.CatalogTable, error) {
	t, err := c.table(ctx, name)
	if err != nil {
		return sink.CatalogTable{}, c.explain("get table", name, err)
	}
	return c.fromTable(t), nil
}

func (c *Catalog) table(ctx context.Context, name string) (*types.Table, error) {
	out, err := c.client.GetTable(ctx, &api.GetTableInput{DatabaseName: &c.config.Database, Name: &name})
	if err != nil {
		return nil, err
	}
	return out.Table, nil
}

// CreateTable makes a table, and the database when there is none.
func (c *Catalog) CreateTable(ctx context.Context, t sink.CatalogTable) error {
	in, err := c.input(&t, nil)
	if err != nil {
		return err
	}
	create := func() error {
		_, err := c.client.CreateTable(ctx, &api.CreateTableInput{DatabaseName: &c.config.Database, TableInput: in})
		return err
	}
	err = create()
	if errors.Is(known(awsclient.Code(err)), sink.ErrNotExist) {
		if err := c.createDatabase(ctx); err != nil {
			return err
		}
		err = create()
	}
	return c.explain("create table", t.Name, err)
}

func (c *Catalog) createDatabase(ctx context.Context) error {
	location := c.config.Lake + "/"
	_, err := c.client.CreateDatabase(ctx, &api.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: &c.config.Database, LocationUri: &location}})
	if err == nil || errors.Is(known(awsclient.Code(err)), sink.ErrExists) {
		return nil
	}
	return fmt.Errorf("create database %s, which Glue does not have: %w", c.config.Database, awsclient.Explain(err, "Glue database "+c.config.Database))
}

// UpdateTable replaces a table of the same revision, and keeps what others have
// set in it: parameters that are not lakefeed's, owner, description. The version
// before is not archived: the lake has the history of the schema.
func (c *Catalog) UpdateTable(ctx context.Context, t sink.CatalogTable) error {
	have, err := c.table(ctx, t.Name)
	if err != nil {
		return c.explain("update table", t.Name, err)
	}
	if aws.ToString(have.VersionId) != t.Revision {
		return fmt.Errorf("update table %s.%s in Glue: %w", c.config.Database, t.Name, sink.ErrConflict)
	}
	in, err := c.input(&t, have)
	if err != nil {
		return err
	}
	_, err = c.client.UpdateTable(ctx, &api.UpdateTableInput{
		DatabaseName: &c.config.Database, TableInput: in, VersionId: have.VersionId, SkipArchive: aws.Bool(true),
	})
	return c.explain("update table", t.Name, err)
}

// Partitions gets a table's partitions, page by page.
func (c *Catalog) Partitions(ctx context.Context, table string) iter.Seq2[sink.CatalogPartition, error] {
	return func(yield func(sink.CatalogPartition, error) bool) {
		pages := api.NewGetPartitionsPaginator(c.client, &api.GetPartitionsInput{DatabaseName: &c.config.Database, TableName: &table})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(sink.CatalogPartition{}, c.explain("get partitions of", table, err))
				return
			}
			for i := range page.Partitions {
				if !yield(c.fromPartition(&page.Partitions[i]), nil) {
					return
				}
			}
		}
	}
}

// AddPartitions creates partitions, in hundreds.
func (c *Catalog) AddPartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) (there int, err error) {
	for batch := range slices.Chunk(partitions, batchSize) {
		in := &api.BatchCreatePartitionInput{DatabaseName: &c.config.Database, TableName: &t.Name}
		for i := range batch {
			p, err := c.partition(&batch[i])
			if err != nil {
				return there, err
			}
			in.PartitionInputList = append(in.PartitionInputList, *p)
		}
		out, err := c.client.BatchCreatePartition(ctx, in)
		if err != nil {
			return there, c.explain("add partitions to", t.Name, err)
		}
		for _, e := range out.Errors {
			if err := c.partitionError("add", t.Name, e.PartitionValues, e.ErrorDetail); !errors.Is(err, sink.ErrExists) {
				return there, err
			}
			there++
		}
	}
	return there, nil
}

// UpdatePartitions replaces partitions, in hundreds.
func (c *Catalog) UpdatePartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) error {
	for batch := range slices.Chunk(partitions, batchSize) {
		in := &api.BatchUpdatePartitionInput{DatabaseName: &c.config.Database, TableName: &t.Name}
		for i := range batch {
			p, err := c.partition(&batch[i])
			if err != nil {
				return err
			}
			in.Entries = append(in.Entries, types.BatchUpdatePartitionRequestEntry{PartitionInput: p, PartitionValueList: p.Values})
		}
		out, err := c.client.BatchUpdatePartition(ctx, in)
		if err != nil {
			return c.explain("update partitions of", t.Name, err)
		}
		for _, e := range out.Errors {
			return c.partitionError("update", t.Name, e.PartitionValueList, e.ErrorDetail)
		}
	}
	return nil
}

// DeletePartitions removes partitions, in the number that Glue takes at once.
func (c *Catalog) DeletePartitions(ctx context.Context, t sink.CatalogTable, partitions []sink.CatalogPartition) error {
	for batch := range slices.Chunk(partitions, deleteSize) {
		in := &api.BatchDeletePartitionInput{DatabaseName: &c.config.Database, TableName: &t.Name}
		for i := range batch {
			in.PartitionsToDelete = append(in.PartitionsToDelete, types.PartitionValueList{Values: batch[i].Values})
		}
		out, err := c.client.BatchDeletePartition(ctx, in)
		if err != nil {
			return c.explain("delete partitions of", t.Name, err)
		}
		for _, e := range out.Errors {
			if err := c.partitionError("delete", t.Name, e.PartitionValues, e.ErrorDetail); !errors.Is(err, sink.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (c *Catalog) partitionError(verb, table string, values []string, detail *types.ErrorDetail) error {
	if detail == nil {
		detail = &types.ErrorDetail{}
	}
	err := known(aws.ToString(detail.ErrorCode))
	if err == nil {
		err = fmt.Errorf("%s: %s", aws.ToString(detail.ErrorCode), aws.ToString(detail.ErrorMessage))
	}
	return fmt.Errorf("%s partition %s of %s.%s in Glue: %w", verb, strings.Join(values, "/"), c.config.Database, table, err)
}
