package cli

import (
	"context"
	"errors"
	"fmt"

	"lakefeed/broker"
)

type consumeCommand struct {
	Drain bool   `help:"Stop when the lake has every row that was in the topic at the start."`
	Table string `help:"Table to fill. Default: those of lakefeed.yaml's feeds." placeholder:"NAME"`
	Feeds `embed:""`
	Lake
	Kafka `embed:""`
	Topic `embed:""`
	RawZone
	Sink
	Catalog
	Memory `embed:""`
	Listener
	Output
	Progress
}

func (c *consumeCommand) Run(ctx context.Context, g *Globals) error {
	settings, fromFile, err := c.Feeds.settings(g, c, nil, c.Table != "", "name the table: --table NAME")
	if err != nil {
		return err
	}
	if c.Table != "" {
		for i := range settings {
			settings[i].Table = c.Table
		}
	}
	j := &job{
		settings: settings, fromFile: fromFile, stored: true, endless: !c.Drain, progress: c.Progress, output: c.Output, print: (*report).print,
		check: func(_ context.Context, f *feed) error {
			if f.Topic.Topic == "" {
				f.Topic.Topic = f.Table
			}
			return errors.Join(checkTableName(f.Table), checkTopic(f.Topic.Topic))
		},
		do: func(ctx context.Context, f *feed) error { return f.consume(ctx, c.Drain) },
	}
	return j.run(ctx, g)
}

// consume takes the topic's rows until ctx ends; with drain until the lake has
// those that are there now.
func (f *feed) consume(ctx context.Context, drain bool) error {
	err := f.open(ctx, func(ctx context.Context) (broker.Topic, error) {
		topic, err := f.conn.client.Topic(ctx, f.Topic.Topic)
		if errors.Is(err, broker.ErrNoTopic) {
			err = fmt.Errorf("%w; send rows first with lakefeed produce, or name another topic with --topic", err)
		}
		return topic, err
	})
	if err != nil {
		return err
	}
	if err := f.warnOfSteps(ctx); err != nil {
		return err
	}
	cons := f.consumer()
	if drain {
		ends, err := f.ends(ctx)
		if err != nil {
			return err
		}
		cons.Drain(ends)
	}
	err = f.registered(ctx, func() error { return cons.Run(ctx) })
	return f.finish(ctx, err)
}
