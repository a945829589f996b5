package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"lakefeed/broker"
	"lakefeed/producer"
	"lakefeed/sink"
)

type ingestCommand struct {
	Args   []string `arg:"" optional:"" name:"source" help:"A CSV file, a folder, a glob, s3://bucket with a prefix, key or glob, or - for standard input; plain, gzip or zstd. Default: the feeds of lakefeed.yaml."`
	Follow bool     `help:"Go on until interrupted: new files and lines that are appended arrive one flush later."`
	Feeds  `embed:""`
	Settings
	Output
	Progress
}

func (c *ingestCommand) Run(ctx context.Context, g *Globals) error {
	settings, fromFile, err := c.Feeds.settings(g, c, c.Args, false, "name a SOURCE")
	if err != nil {
		return err
	}
	j := &job{
		settings: settings, fromFile: fromFile, stored: true, endless: c.Follow, progress: c.Progress, output: c.Output, print: (*report).print,
		check: func(ctx context.Context, f *feed) error { return f.checkIngest(ctx) },
		do:    func(ctx context.Context, f *feed) error { return f.ingest(ctx, c.Follow) },
	}
	return j.run(ctx, g)
}

func (f *feed) checkIngest(ctx context.Context) (err error) {
	if err := f.names(); err != nil {
		return err
	}
	if _, err := f.shape().Sources(); err != nil {
		return &usageError{err.Error()}
	}
	f.sources, err = f.openSources(ctx, f.Globals)
	return err
}

// ingest produces and consumes until every row of the feed's sources is in the
// lake. A feed without sources takes what the others send to its topic.
func (f *feed) ingest(ctx context.Context, follow bool) error {
	err := f.open(ctx, func(ctx context.Context) (broker.Topic, error) { return f.Topic.ensure(ctx, f.conn) })
	if err != nil {
		return err
	}
	if err := f.checkPin(); err != nil {
		return err
	}
	if len(f.sources) > 0 {
		if err := f.infer(ctx); err != nil {
			return err
		}
	}
	if err := f.checkPartitioning(ctx); err != nil {
		return err
	}
	if err := f.warnOfSteps(ctx); err != nil {
		return err
	}
	var sent []producer.ObjectSummary
	if !follow {
		f.progress.expect(ctx, f.sources)
	}
	err = f.registered(ctx, func() error {
		cons := f.consumer()
		group, working := errgroup.WithContext(ctx)
		group.Go(func() error {
			if len(f.sources) > 0 {
				summary, err := f.producer(follow).Run(working)
				f.sentAll()
				f.report.sources(summary)
				sent = summary.Objects
				if err != nil {
					return err
				}
			}
			if follow {
				return nil
			}
			if err := f.awaitSenders(working); err != nil {
				return err
			}
			ends, err := f.ends(working)
			if err != nil {
				return err
			}
			cons.Drain(ends)
			return nil
		})
		var consumed error
		group.Go(func() error {
			consumed = cons.Run(working)
			return consumed
		})
		err := group.Wait()
		if errors.Is(err, context.Canceled) && consumed != nil {
			return consumed // that the sources were left is no news where what was read could not be committed
		}
		return err
	})
	if err == nil && !follow {
		err = f.whole(ctx, sent)
	}
	return f.finish(ctx, err)
}

// awaitSenders waits until no feed of this process sends to the topic any more.
func (f *feed) awaitSenders(ctx context.Context) error {
	done := f.process.sent[f.topic.Name]
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whole checks, in the chains, that the lake has each stream that was sent. The
// consumer has drained the topic by then, whichever member of its group took what:
// what is missing now does not come any more.
func (f *feed) whole(ctx context.Context, sent []producer.ObjectSummary) error {
	table, err := f.table.Current(ctx) // it may be another generation by now
	if err != nil {
		return err
	}
	chains := map[int]*sink.Chain{}
	for _, o := range sent {
		if o.Err != nil || o.Status != producer.Complete && o.Status != producer.Changed {
			continue
		}
		chain := chains[o.Partition]
		if chain == nil {
			chain = table.Chain(o.Partition)
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
				"Send the file under another name (--source-name URI), which takes all of its rows in again (stream %s)", objectName(o.URI), plural(o.Rows, "row"), f.topic.Name, o.Stream)}
		case count != o.Rows:
			return &conflictError{fmt.Sprintf("%s: the lake had it whole, with %s, before it had %s: it has changed since, and the topic that knew how far it was sent is gone, so rows were left out. "+
				"Give the topic its old log back, or send the file under another name (--source-name URI), which takes all of its rows in again (stream %s)", objectName(o.URI), plural(count, "row"), countText(o.Rows), o.Stream)}
		}
	}
	return nil
}

// sortedKeys is a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
