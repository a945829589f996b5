package cli

import (
	"context"
	"errors"
	"fmt"

	"lakefeed/sink"
)

type consumeCommand struct {
	Drain bool   `help:"Stop when the lake has every row that was in the topic at the start."`
	Table string `help:"Table to fill." required:"" placeholder:"NAME"`
	Group string `help:"Consumer group. Default: lakefeed.TABLE." placeholder:"NAME"`
	Lake
	Kafka `embed:""`
	Sink
	Catalog
	Output
	Progress
}

func (c *consumeCommand) Run(ctx context.Context, g *Globals) error {
	if c.Topic == "" {
		c.Topic = c.Table
	}
	if err := errors.Join(checkTableName(c.Table), checkTopic(c.Topic)); err != nil {
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
	topic, err := conn.client.Topic(ctx, c.Topic)
	if err != nil {
		return fmt.Errorf("%w; send rows first with lakefeed produce, or name another topic with --topic", err)
	}
	config, err := c.config(c.Topic)
	if err != nil {
		return err
	}
	table, err := sink.OpenTable(ctx, sink.TableConfig{
		Store: store, Name: c.Table, Feed: c.Table, Topic: c.Topic, Partitions: topic.Partitions, Shape: c.shape(), Config: config, Log: g.logger(),
	})
	if err != nil {
		return err
	}
	registrar, err := c.registrar(ctx, table, g.logger())
	if err != nil {
		return err
	}
	progress := c.Progress.start(g.stderr)
	progress.committed = registrar.Changed
	cons := c.consumer(conn, topic, table, progress, g)
	if conn.embedded == nil {
		if cons.Group = c.Group; cons.Group == "" {
			cons.Group = "lakefeed." + c.Table
		}
	}
	if c.Drain {
		ends := map[int]int64{}
		for p := range topic.Partitions {
			if _, ends[p], err = conn.client.Offsets(ctx, topic.Name, p); err != nil {
				return err
			}
		}
		cons.Drain(ends)
	}
	stopRegistrar := keepRegistered(ctx, registrar)
	err = cons.Run(ctx)
	stopRegistrar()
	progress.stop()
	if err != nil && !interrupted(ctx, err) {
		return err
	}
	r := newReport(c.Table, c.Lake.Lake)
	r.Topic = topic.Name
	r.commits(progress)
	if err := r.finish(context.WithoutCancel(ctx), registrar, c.Catalog); err != nil {
		return err
	}
	if err := r.print(g, c.Output); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	return r.verdict(c.MaxRejects)
}
