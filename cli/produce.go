package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"lakefeed/producer"
)

type produceCommand struct {
	Args    []string `arg:"" optional:"" name:"source" help:"A CSV file, a folder, a glob, s3://bucket with a prefix, key or glob, or - for standard input; plain, gzip or zstd. Default: the sources of lakefeed.yaml's feeds."`
	Follow  bool     `help:"Go on until interrupted."`
	DryRun  bool     `help:"Send nothing: print the rows that would be sent as RFC 4180 CSV, header first."`
	Abandon string   `help:"Send nothing, and write the end of a stream whose producer never comes back, by its id or the URI of its object: the lake then waits for no more rows of it. Needs --topic." placeholder:"STREAM"`
	Feeds   `embed:""`
	Send
	Feed
	Kafka `embed:""`
	Topic `embed:""`
	Lake
	CSV
	RawZone
	Listener
	Output
	Progress
}

func (c *produceCommand) Run(ctx context.Context, g *Globals) error {
	if c.Abandon != "" {
		return c.abandon(ctx, g)
	}
	settings, fromFile, err := c.Feeds.settings(g, c, c.Args, false, "name a SOURCE")
	if err != nil {
		return err
	}
	if fromFile {
		if settings, err = sending(settings); err != nil {
			return err
		}
	}
	if c.DryRun {
		return dryRun(ctx, g, settings)
	}
	j := &job{
		settings: settings, fromFile: fromFile, stored: slices.ContainsFunc(settings, func(s Settings) bool { return s.Copy }), endless: c.Follow, progress: c.Progress, output: c.Output, print: (*report).printSent,
		check: func(ctx context.Context, f *feed) error { return f.checkProduce(ctx) },
		do:    func(ctx context.Context, f *feed) error { return f.produce(ctx, c.Follow) },
	}
	return j.run(ctx, g)
}

// sending are the feeds that have sources.
func sending(all []Settings) (out []Settings, err error) {
	for _, s := range all {
		if len(s.Sources) > 0 {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, &usageError{"none of the feeds has a source: there is nothing to send"}
	}
	return out, nil
}

// dryRun prints the rows of one feed.
func dryRun(ctx context.Context, g *Globals, settings []Settings) error {
	if len(settings) > 1 {
		return &usageError{"--dry-run prints the rows of one feed: pick one with --feed NAME"}
	}
	sources, err := settings[0].openSources(ctx, g)
	if err != nil {
		return err
	}
	return producer.DryRun(ctx, g.stdout, sources, settings[0].CSV.overrides(), producer.Events{
		Rejected: func(r producer.Rejected) {
			fmt.Fprintf(g.stderr, "%s:%d: not a row, bytes %d to %d: %s: %s\n", objectName(r.URI), r.Line, r.From, r.To, r.Rule, r.Message)
		},
		Info: func(w producer.Warning) { fmt.Fprintf(g.stderr, "%s: %s\n", objectName(w.URI), w.Message) },
	})
}

func (f *feed) checkProduce(ctx context.Context) (err error) {
	if f.sources, err = f.openSources(ctx, f.Globals); err != nil {
		return err
	}
	if f.Topic.Topic == "" {
		if f.Topic.Topic = f.Table; f.Topic.Topic == "" {
			if f.Topic.Topic, err = tableName(f.Sources, isFolder); err != nil {
				return err
			}
		}
	}
	return checkTopic(f.Topic.Topic)
}

// produce sends the rows of the feed's sources.
func (f *feed) produce(ctx context.Context, follow bool) (err error) {
	if f.topic, err = f.Topic.ensure(ctx, f.conn); err != nil {
		return err
	}
	if err := errors.Join(f.checkPin(), f.openRaw(ctx)); err != nil {
		return err
	}
	if !follow {
		f.progress.expect(ctx, f.sources)
	}
	summary, err := f.producer(follow).Run(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	f.report.Table, f.report.Lake, f.report.Topic = "", "", f.topic.Name
	f.report.sources(summary)
	f.report.finished = true
	if ctx.Err() != nil {
		return context.Canceled
	}
	return f.conn.explain(f.report.failure())
}

// printSent prints what was sent.
func (r *report) printSent(w io.Writer) {
	fmt.Fprintf(w, "topic %s: sent %s of %s\n", r.Topic, plural(r.Sent, "row"), plural(int64(len(r.Objects)), "object"))
	r.printObjects(w)
}
