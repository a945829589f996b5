package cli

import (
	"context"
	"errors"
	"fmt"

	"lakefeed/producer"
)

type produceCommand struct {
	Sources []string `arg:"" name:"source" help:"A CSV file, a folder, a glob, s3://bucket with a prefix, key or glob, or - for standard input; plain, gzip or zstd."`
	Follow  bool     `help:"Go on until interrupted."`
	DryRun  bool     `help:"Send nothing: print the rows that would be sent as RFC 4180 CSV, header first."`
	Every   bool     `name:"headers-every-message" help:"Write the row's headers on every message, for readers of other makes."`
	Feed
	Kafka `embed:""`
	Lake
	CSV
	Output
	Progress
}

func (c *produceCommand) Run(ctx context.Context, g *Globals) error {
	sources, err := c.sources(ctx, g, c.Sources)
	if err != nil {
		return err
	}
	if c.DryRun {
		return producer.DryRun(ctx, g.stdout, sources, c.overrides(), producer.Events{Rejected: func(r producer.Rejected) {
			fmt.Fprintf(g.stderr, "%s:%d: not a row, bytes %d to %d: %s: %s\n", objectName(r.URI), r.Line, r.From, r.To, r.Rule, r.Message)
		}})
	}
	if c.Topic == "" {
		if c.Topic = c.Feed.Table; c.Topic == "" {
			if c.Topic, err = tableName(c.Sources, isFolder); err != nil {
				return err
			}
		}
	}
	if err := checkTopic(c.Topic); err != nil {
		return err
	}
	conn, err := c.connect(g, c.Lake.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	topic, err := c.topic(ctx, conn, c.Topic)
	if err != nil {
		return err
	}
	progress := c.Progress.start(g.stderr)
	if !c.Follow {
		progress.expect(ctx, sources)
	}
	p := &producer.Producer{Config: producer.Config{
		Client: conn.client, Topic: topic, Sources: sources, Exclusive: conn.embedded != nil, Follow: c.Follow, CSV: c.overrides(),
		HeadersEvery: c.Every, Events: progress.producer(), Log: g.logger(),
	}}
	summary, err := p.Run(ctx)
	progress.stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	r := newReport("", "")
	r.Topic = topic.Name
	r.sources(summary)
	if c.json() {
		if err := writeJSON(g.stdout, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(g.stdout, "topic %s: sent %s of %s\n", topic.Name, plural(r.Sent, "row"), plural(int64(len(r.Objects)), "object"))
		r.printObjects(g.stdout)
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	return r.failure()
}
