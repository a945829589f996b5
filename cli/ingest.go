package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
)

type ingestCommand struct {
	Sources []string `arg:"" name:"source" help:"A CSV file, a folder, a glob, or - for standard input; plain, gzip or zstd."`
	Follow  bool     `help:"Go on until interrupted: new files and lines that are appended arrive one flush later."`
	Lake
	Feed
	Kafka `embed:""`
	CSV
	Sink
	Output
}

// Feed are the flags that name a feed.
type Feed struct {
	Table      string `help:"Table to fill. Default: from the sources' names." placeholder:"NAME"`
	SourceName string `help:"Name the sources' folder by this URI instead of its path here, where mounts differ." placeholder:"URI"`
	Stream     string `help:"Name of the stream that standard input is, so that a second run goes on with it." placeholder:"NAME"`
}

// Sink are the flags that say how rows are written.
type Sink struct {
	PartitionBy []string      `help:"Partition the table by these: COLUMN or date(COLUMN), comma between." placeholder:"COLUMN"`
	Meta        bool          `help:"Add the columns _source, _row, _offset and _ingested_at."`
	FlushSize   bytesFlag     `help:"Commit after so many bytes of rows' text." default:"64MB" placeholder:"SIZE"`
	FlushEvery  time.Duration `help:"Commit after so long at the latest." default:"60s"`
	Memory      bytesFlag     `help:"Bound of all buffers of the process." default:"256MiB" placeholder:"SIZE"`
	MaxRejects  percentFlag   `name:"quarantine-max-share" help:"Exit with 3 when more than this share of a run's rows went into quarantine." default:"1%" placeholder:"SHARE"`
}

func (s *Sink) shape() sink.Shape { return sink.Shape{PartitionBy: s.PartitionBy, Meta: s.Meta} }

// The first version of a table's schema is inferred from so many bytes at the
// beginning of each object, and so many of all objects.
const (
	sampleObject = 4 << 20
	sampleTotal  = 64 << 20
)

func (c *ingestCommand) Run(ctx context.Context, g *Globals) error {
	began := time.Now()
	if err := c.names(c.Sources); err != nil {
		return err
	}
	c.Memory.limitRuntime()
	store, err := c.store()
	if err != nil {
		return err
	}
	sources, err := c.sources(c.Sources, g.stdin)
	if err != nil {
		return err
	}
	conn, err := c.connect(g, c.Lake.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	run := &ingest{ingestCommand: c, g: g, conn: conn, report: newReport(c.Feed.Table, c.Lake.Lake)}
	if run.topic, err = c.topic(ctx, conn, c.Topic); err != nil {
		return err
	}
	config, err := c.config(c.Topic)
	if err != nil {
		return err
	}
	run.table, err = sink.OpenTable(ctx, sink.TableConfig{
		Store: store, Name: c.Feed.Table, Feed: c.Feed.Table, Topic: c.Topic, Partitions: run.topic.Partitions, Shape: c.shape(), Config: config, Log: g.logger(),
	})
	if err != nil {
		return err
	}
	if err := run.infer(ctx, sources); err != nil {
		return err
	}
	err = run.run(ctx, sources)
	run.report.Seconds = time.Since(began).Seconds()
	if err != nil && !interrupted(ctx, err) {
		return err
	}
	// An interrupted run has drained: what it did is worth telling.
	tell := context.WithoutCancel(ctx)
	if err := run.report.finish(tell, run.table); err != nil {
		return err
	}
	if err := run.report.print(g, c.Output); err != nil {
		return err
	}
	if interrupted(ctx, err) {
		return context.Canceled
	}
	return run.report.verdict(c.MaxRejects)
}

func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
}

// names fills in the table's and the topic's name and checks them.
func (c *ingestCommand) names(sources []string) (err error) {
	if c.Feed.Table == "" {
		if c.Feed.Table, err = tableName(sources, isFolder); err != nil {
			return err
		}
	}
	if c.Topic == "" {
		c.Topic = c.Feed.Table
	}
	return errors.Join(checkTableName(c.Feed.Table), checkTopic(c.Topic))
}

// ingest is one run of the main job.
type ingest struct {
	*ingestCommand
	g      *Globals
	conn   *connection
	topic  broker.Topic
	table  *sink.Table
	report *report
}

// infer stores the first version of a new table's schema, from a sample of all
// sources.
func (r *ingest) infer(ctx context.Context, sources []producer.Source) error {
	latest, err := r.table.Schemas().Latest(ctx)
	if err != nil || latest != nil {
		return err
	}
	var inference schema.Inference
	err = producer.Sample(ctx, sources, r.CSV.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
		return observe(&inference, o.URI, found, head, complete)
	})
	if err != nil {
		return err
	}
	first, changed := schema.Evolve(nil, inference.Seen())
	if !changed {
		return nil
	}
	err = r.table.Schemas().Append(ctx, first)
	if errors.Is(err, sink.ErrExists) {
		return nil // another process was first
	}
	return err
}

// observe shows a sample of one object to an inference.
func observe(inference *schema.Inference, uri string, found csv.Found, head []byte, complete bool) error {
	names, named := found.Columns, found.Columns != nil
	if !named {
		names = schema.NumberedNames(found.Width)
	}
	places := inference.Header(names, named)
	if found.Dialect.ByteOffsets() {
		head = head[found.Body:]
	}
	splitter := csv.NewSplitter(bytes.NewReader(head), found.Dialect, csv.Options{Offset: found.Body, Line: found.BodyLine, Width: found.Width, Hold: !complete})
	var cells []csv.Cell
	for {
		row, err := splitter.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sample %s: %w", uri, err)
		}
		if row.Rule != "" {
			continue
		}
		cells = splitter.Cells(cells[:0])
		if len(cells) != len(places) {
			continue
		}
		at := func() schema.Witness { return schema.Witness{Source: uri, Line: row.Line} }
		for i, cell := range cells {
			inference.Observe(places[i], cell.Text, cell.Quoted, at)
		}
	}
}

// run produces and consumes until every row of the sources is in the lake.
func (r *ingest) run(ctx context.Context, sources []producer.Source) error {
	progress := newProgress(r.g.stderr)
	defer progress.stop()
	p := &producer.Producer{Config: producer.Config{
		Client: r.conn.client, Topic: r.topic, Sources: sources, Exclusive: r.conn.embedded != nil, Follow: r.Follow, CSV: r.CSV.overrides(),
		Events: progress.producer(), Log: r.g.logger(),
	}}
	cons := r.consumer(r.conn, r.topic, r.table, progress, r.g)
	if r.conn.embedded == nil {
		cons.Group = "lakefeed." + r.Feed.Table
	}
	catalog, stopCatalog := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { keepCatalog(catalog, r.table, progress.commits, r.g.logger()) })
	defer background.Wait()
	defer stopCatalog()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		summary, err := p.Run(ctx)
		r.report.sources(summary)
		if err != nil || r.Follow {
			return err
		}
		ends, err := r.ends(ctx)
		if err != nil {
			return err
		}
		cons.Drain(ends)
		return nil
	})
	group.Go(func() error { return cons.Run(ctx) })
	err := group.Wait()
	r.report.commits(progress)
	return err
}

// ends are the offsets behind all that was sent, by topic partition. Topic
// partitions of another consumer are left to it; whether the rows are in the
// lake is then read from the chains.
func (r *ingest) ends(ctx context.Context) (map[int]int64, error) {
	ends := map[int]int64{}
	for p := range r.topic.Partitions {
		_, end, err := r.conn.client.Offsets(ctx, r.topic.Name, p)
		if err != nil {
			return nil, err
		}
		ends[p] = end
	}
	return ends, nil
}

// consumer is the consumer that the flags ask for.
func (s *Sink) consumer(conn *connection, topic broker.Topic, table *sink.Table, progress *progress, g *Globals) *consumer.Consumer {
	return &consumer.Consumer{
		Client: conn.client, Topic: topic, Table: table, FlushBytes: int(s.FlushSize), FlushEvery: s.FlushEvery, Memory: int(s.Memory), Meta: s.Meta,
		Events: progress.consumer(), Log: g.logger(),
	}
}

// sortedKeys is a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
