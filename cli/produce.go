package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"lakefeed/producer"
)

type produceCommand struct {
	Sources []string `arg:"" optional:"" name:"source" help:"A CSV file, a folder, a glob, s3://bucket with a prefix, key or glob, or - for standard input; plain, gzip or zstd."`
	Follow  bool     `help:"Go on until interrupted."`
	DryRun  bool     `help:"Send nothing: print the rows that would be sent as RFC 4180 CSV, header first."`
	Every   bool     `name:"headers-every-message" help:"Write the row's headers on every message, for readers of other makes."`
	Abandon string   `help:"Send nothing, and write the end of a stream whose producer never comes back, by its id or the URI of its object: the lake then waits for no more rows of it. Needs --topic." placeholder:"STREAM"`
	Feed
	Kafka `embed:""`
	Lake
	CSV
	Output
	Progress
}

func (c *produceCommand) Run(ctx context.Context, g *Globals) error {
	switch {
	case c.Abandon != "":
		return c.abandon(ctx, g)
	case len(c.Sources) == 0:
		return &usageError{"name a source: a file, a folder, a glob, s3://bucket/prefix, or - for standard input"}
	}
	sources, err := c.sources(ctx, g, c.Sources)
	if err != nil {
		return err
	}
	if c.DryRun {
		return producer.DryRun(ctx, g.stdout, sources, c.overrides(), producer.Events{
			Rejected: func(r producer.Rejected) {
				fmt.Fprintf(g.stderr, "%s:%d: not a row, bytes %d to %d: %s: %s\n", objectName(r.URI), r.Line, r.From, r.To, r.Rule, r.Message)
			},
			Info: func(w producer.Warning) { fmt.Fprintf(g.stderr, "%s: %s\n", objectName(w.URI), w.Message) },
		})
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

// abandon ends a stream whose producer never comes back.
func (c *produceCommand) abandon(ctx context.Context, g *Globals) error {
	c.Topic = cmp.Or(c.Topic, c.Feed.Table)
	switch {
	case len(c.Sources) > 0:
		return &usageError{"--abandon takes no sources: the stream alone is ended"}
	case c.Topic == "":
		return &usageError{"name the topic that the stream is in: --topic NAME"}
	}
	if err := checkTopic(c.Topic); err != nil {
		return err
	}
	conn, err := c.connect(g, c.Lake.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	topic, err := conn.client.Topic(ctx, c.Topic)
	if err != nil {
		return err
	}
	a, err := producer.Abandon(ctx, producer.Config{Client: conn.client, Topic: topic, Exclusive: conn.embedded != nil, Log: g.logger()}, c.Abandon)
	switch {
	case errors.Is(err, producer.ErrAbandon):
		return &usageError{err.Error()}
	case err != nil:
		return err
	case c.json():
		return writeJSON(g.stdout, a)
	case a.Already:
		fmt.Fprintf(g.stdout, "stream %s of %s had its end already: %s, %s\n", a.Stream, objectName(a.URI), plural(a.Rows, "row"), a.Status)
	default:
		fmt.Fprintf(g.stdout, "stream %s of %s was ended behind %s: %s\n", a.Stream, objectName(a.URI), plural(a.Rows, "row"), a.Status)
	}
	return nil
}
