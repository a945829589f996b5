package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/sink"
)

type ingestCommand struct {
	Sources []string `arg:"" name:"source" help:"A CSV file, a folder, a glob, s3://bucket with a prefix, key or glob, or - for standard input; plain, gzip or zstd."`
	Follow  bool     `help:"Go on until interrupted: new files and lines that are appended arrive one flush later."`
	Lake
	Feed
	Kafka `embed:""`
	CSV
	Sink
	Catalog
	Output
	Progress
}

// Feed are the flags that name a feed.
type Feed struct {
	Table      string `help:"Table to fill. Default: from the sources' names." placeholder:"NAME"`
	SourceName string `help:"Name the sources' folder by this URI instead of its own, where mounts differ, or buckets that mirror each other." placeholder:"URI"`
	Stream     string `help:"Name of the stream that standard input is, so that a second run goes on with it." placeholder:"NAME"`
}

// Sink are the flags that say how rows are written.
type Sink struct {
	PartitionBy []string      `help:"Partition the table by these: COLUMN or date(COLUMN), comma between." placeholder:"COLUMN"`
	Meta        bool          `help:"Add the columns _source, _row, _offset and _ingested_at."`
	FlushSize   bytesFlag     `help:"Commit after so many bytes of rows' text." default:"64MB" placeholder:"SIZE"`
	FlushEvery  time.Duration `help:"Commit after so long at the latest." default:"60s"`
	Memory      bytesFlag     `help:"Bound of all buffers of the process." default:"256MiB" placeholder:"SIZE"`
	OnDataLoss  string        `help:"When the topic has lost rows that the lake needs: ${enum}. record writes down in the lake what is lost and goes on." enum:"halt,record" default:"halt"`
	MaxRejects  percentFlag   `name:"quarantine-max-share" help:"Exit with 3 when more than this share of a run's rows went into quarantine." default:"1%" placeholder:"SHARE"`
}

func (s *Sink) shape() sink.Shape { return sink.Shape{PartitionBy: s.PartitionBy, Meta: s.Meta} }

func (c *ingestCommand) Run(ctx context.Context, g *Globals) error {
	began := time.Now()
	if err := c.names(c.Sources); err != nil {
		return err
	}
	if _, err := c.shape().Sources(); err != nil {
		return &usageError{err.Error()}
	}
	sources, err := c.sources(ctx, g, c.Sources)
	if err != nil {
		return err
	}
	c.Memory.limitRuntime()
	store, err := c.store()
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
	if run.registrar, err = c.registrar(ctx, run.table, g.logger()); err != nil {
		return err
	}
	if err := run.infer(ctx, sources); err != nil {
		return err
	}
	if err := run.checkPartitioning(ctx); err != nil {
		return err
	}
	err = run.run(ctx, sources)
	run.report.Seconds = time.Since(began).Seconds()
	if err != nil && !interrupted(ctx, err) {
		return err
	}
	// An interrupted run has drained: what it did is worth telling.
	tell := context.WithoutCancel(ctx)
	if err := run.report.finish(tell, run.registrar, c.Catalog); err != nil {
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
	sent   []producer.ObjectSummary

	registrar *sink.Registrar
}

// run produces and consumes until every row of the sources is in the lake.
func (r *ingest) run(ctx context.Context, sources []producer.Source) error {
	progress := r.Progress.start(r.g.stderr)
	defer progress.stop()
	if !r.Follow {
		progress.expect(ctx, sources)
	}
	p := &producer.Producer{Config: producer.Config{
		Client: r.conn.client, Topic: r.topic, Sources: sources, Exclusive: r.conn.embedded != nil, Follow: r.Follow, CSV: r.CSV.overrides(),
		Events: progress.producer(), Log: r.g.logger(),
	}}
	cons := r.consumer(r.conn, r.topic, r.table, progress, r.g)
	if r.conn.embedded == nil {
		cons.Group = "lakefeed." + r.Feed.Table
	}
	progress.committed = r.registrar.Changed
	defer keepRegistered(ctx, r.registrar)()
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error {
		summary, err := p.Run(working)
		r.report.sources(summary)
		r.sent = summary.Objects
		if err != nil || r.Follow {
			return err
		}
		ends, err := r.ends(working)
		if err != nil {
			return err
		}
		cons.Drain(ends)
		return nil
	})
	group.Go(func() error { return cons.Run(working) })
	err := group.Wait()
	r.report.commits(progress)
	if err == nil && !r.Follow {
		err = r.whole(ctx)
	}
	return err
}

// whole checks, in the chains, that the lake has each stream that was sent. The
// consumer has drained the topic by then, whichever member of its group took what:
// what is missing now does not come any more.
func (r *ingest) whole(ctx context.Context) error {
	chains := map[int]*sink.Chain{}
	for _, o := range r.sent {
		if o.Err != nil || o.Status != producer.Complete && o.Status != producer.Changed {
			continue
		}
		chain := chains[o.Partition]
		if chain == nil {
			chain = r.table.Chain(o.Partition)
			if _, err := chain.Open(ctx); err != nil {
				return err
			}
			chains[o.Partition] = chain
		}
		complete, count, err := chain.Complete(o.Stream)
		switch {
		case err != nil:
			return err
		case !complete:
			return &conflictError{fmt.Sprintf("%s: the lake does not have all of its %s, though all of topic %s was read: some were removed from the topic, or lost, before they reached the lake. "+
				"Send the file under another name (--source-name URI), which takes all of its rows in again (stream %s)", objectName(o.URI), plural(o.Rows, "row"), r.topic.Name, o.Stream)}
		case count != o.Rows:
			return &conflictError{fmt.Sprintf("%s: the lake had it whole, with %s, before it had %s: it has changed since, and the topic that knew how far it was sent is gone, so rows were left out. "+
				"Give the topic its old log back, or send the file under another name (--source-name URI), which takes all of its rows in again (stream %s)", objectName(o.URI), plural(count, "row"), countText(o.Rows), o.Stream)}
		}
	}
	return nil
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
		OnDataLoss: s.dataLoss(), AdoptNewLog: conn.embedded != nil,
		Events: progress.consumer(), Log: g.logger(),
	}
}

func (s *Sink) dataLoss() consumer.DataLoss {
	if s.OnDataLoss == "record" {
		return consumer.Record
	}
	return consumer.Halt
}

// sortedKeys is a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
