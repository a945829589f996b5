package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"lakefeed/producer"
)

// abandon ends a stream whose producer never comes back.
func (c *produceCommand) abandon(ctx context.Context, g *Globals) error {
	if err := (&ConfigFile{c.Config}).fill(g, c); err != nil {
		return err
	}
	c.Topic.Topic = cmp.Or(c.Topic.Topic, c.Feed.Table)
	switch {
	case len(c.Args) > 0:
		return &usageError{"--abandon takes no sources: the stream alone is ended"}
	case c.Topic.Topic == "":
		return &usageError{"name the topic that the stream is in: --topic NAME"}
	}
	if err := checkTopic(c.Topic.Topic); err != nil {
		return err
	}
	conn, err := c.connect(g, &c.Lake)
	if err != nil {
		return err
	}
	defer conn.Close()
	topic, err := conn.client.Topic(ctx, c.Topic.Topic)
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
