package cli

import (
	"context"
	"errors"
	"fmt"

	"lakefeed/sink"
)

type adoptCommand struct {
	Table string `arg:"" help:"The table."`
	Topic string `help:"Topic of the table, to be sure of it. Default: the one that the table has." placeholder:"NAME"`
	ConfigFile
	Lake
	Kafka `embed:""`
}

// Run makes a table go on with its topic as it is at present. That the topic is
// another is not known to be right by itself: a person says so.
func (c *adoptCommand) Run(ctx context.Context, g *Globals) error {
	if err := c.fill(g, c); err != nil {
		return err
	}
	store, err := c.writable(ctx, g, 0)
	if err != nil {
		return err
	}
	table, err := sink.ReadTable(ctx, store, c.Table)
	if err != nil {
		return err
	}
	if c.Topic != "" && c.Topic != table.Topic() {
		return &usageError{fmt.Sprintf("table %s is filled from topic %s, not %s", c.Table, table.Topic(), c.Topic)}
	}
	conn, err := c.connect(g, &c.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	topic, err := conn.client.Topic(ctx, table.Topic())
	if err != nil {
		return err
	}
	err = table.AdoptLog(ctx, topic.LogID)
	var lost *sink.LostError
	if errors.As(err, &lost) {
		return fmt.Errorf("%w; run lakefeed consume --table %s with the topic that the rows are in, or with --on-data-loss=record, first", err, c.Table)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(g.stdout, "table %s goes on with topic %s, id %s; rows that are in the lake already will be left out when they come again\n", c.Table, topic.Name, topic.LogID)
	return nil
}
