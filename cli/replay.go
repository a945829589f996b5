package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"lakefeed/broker"
	"lakefeed/cli/config"
	"lakefeed/consumer"
	"lakefeed/sink"
)

type rejectsReplayCommand struct {
	Table string `arg:"" help:"The table."`
	Where
	ConfigFile
	Lake
	Kafka    `embed:""`
	Messages Messages `embed:"" prefix:"messages-"`
	Schema   Contract `embed:""`
	CSV
	Catalog
	Memory `embed:""`
	Output
}

// replayReport is what became of rows that were in quarantine.
type replayReport struct {
	Chosen   int64   `json:"rows_chosen"`
	Rows     int64   `json:"rows_put_back"`
	Filtered int64   `json:"rows_left_out,omitempty"`
	Still    int64   `json:"rows_still_in_quarantine"`
	Gone     int64   `json:"rows_gone_from_topic"`
	Rescued  int64   `json:"cells_rescued"`
	Causes   []cause `json:"still_by,omitempty"`
	gone     string  // where the first of those is that are gone
}

// Run takes rows out of the quarantine again. How they are read now is what the
// table's feed in lakefeed.yaml says, and the flags.
func (c *rejectsReplayCommand) Run(ctx context.Context, g *Globals) error {
	choose, err := c.Where.filter()
	if err != nil {
		return err
	}
	settings, fromFile, err := c.settings(g)
	if err != nil {
		return err
	}
	j := &job{
		settings: []Settings{settings}, stored: true, output: c.Output, print: (*report).printReplay,
		check: func(_ context.Context, f *feed) error { return checkTableName(f.Table) },
		do:    func(ctx context.Context, f *feed) error { return f.replay(ctx, choose, fromFile) },
	}
	return j.run(ctx, g)
}

// settings are the feed's, where there is a file that has it.
func (c *rejectsReplayCommand) settings(g *Globals) (s Settings, fromFile bool, err error) {
	f, err := c.read()
	if err != nil {
		return s, false, err
	}
	s.Table = c.Table
	var doc *config.Document
	var from []any
	if f != nil {
		doc, from = f.doc, []any{f}
		for i := range f.Feeds {
			if f.Feeds[i].Table == c.Table {
				from, fromFile = append(from, &f.Feeds[i]), true
			}
		}
		if !fromFile && c.Config != "" {
			_, err := f.choose([]string{c.Table})
			return s, false, err
		}
	}
	command := struct {
		Lake
		Kafka
		CSV
		Sink Sink
		Catalog
		Memory
	}{c.Lake, c.Kafka, c.CSV, Sink{Schema: c.Schema, Messages: c.Messages}, c.Catalog, c.Memory}
	moved := given{}
	for was, is := range map[any]any{&c.Lake: &command.Lake, &c.Kafka: &command.Kafka, &c.CSV: &command.CSV, &c.Schema: &command.Sink.Schema, &c.Messages: &command.Sink.Messages, &c.Catalog: &command.Catalog, &c.Memory: &command.Memory} {
		moved.move(g.given, was, is)
	}
	s.fill(&command, moved, doc, from...)
	s.Table = c.Table
	return s, fromFile, nil
}

// replay takes chosen rows out of the table's quarantine again.
func (f *feed) replay(ctx context.Context, choose func(*sink.QuarantineRow) bool, fromFile bool) error {
	table, err := sink.ReadTable(ctx, f.store, f.Table)
	if err != nil {
		return err
	}
	if !fromFile { // nobody says otherwise
		steps, err := lastSteps(ctx, table)
		if err != nil {
			return err
		}
		if len(steps) > 0 {
			return &usageError{fmt.Sprintf("table %s is made by the transforms of a configuration, and rows that are taken again have to go through them: name it with -c FILE", f.Table)}
		}
		f.PartitionBy, f.Meta = table.Shape().PartitionBy, table.Shape().Meta
	}
	if !fromFile || f.Topic.Topic == "" {
		f.Topic.Topic = table.Topic()
	}
	err = f.open(ctx, func(ctx context.Context) (broker.Topic, error) { return f.conn.client.Topic(ctx, f.Topic.Topic) })
	if err != nil {
		return err
	}
	var done consumer.Replayed
	err = f.registered(ctx, func() (err error) {
		done, err = f.consumer().Replay(ctx, choose)
		return err
	})
	out := &replayReport{Chosen: done.Chosen, Rows: done.Rows, Filtered: done.Filtered, Still: done.Still, Gone: done.Gone, Rescued: done.Rescued}
	for _, c := range done.Causes {
		out.Causes = append(out.Causes, cause{c.Rule, c.Rows, c.Message, c.Source, max(0, c.Line)})
	}
	if done.Gone > 0 {
		out.gone = fmt.Sprintf("offset %d of topic partition %s/%d", done.GoneAt, f.topic.Name, done.GonePartition)
	}
	f.report.Replay = out
	if err != nil && !interrupted(ctx, err) {
		return err
	}
	if e := f.report.finish(context.WithoutCancel(ctx), f.registrar, f.Catalog); e != nil {
		return errors.Join(err, e)
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	if left := done.Still + done.Gone; left > 0 {
		return &quarantineError{fmt.Sprintf("%s of %s stay in quarantine: lakefeed rejects %s shows why", countText(left), plural(done.Chosen, "row"), f.Table)}
	}
	return nil
}

func (r *report) printReplay(w io.Writer) {
	x := r.Replay
	if x.Chosen == 0 {
		fmt.Fprintf(w, "table %s: no such row is in quarantine\n", r.Table)
		return
	}
	fmt.Fprintf(w, "table %s: %s of %s that were in quarantine are in the table now\n", r.Table, countText(x.Rows), plural(x.Chosen, "row"))
	if x.Filtered > 0 {
		fmt.Fprintf(w, "  %s the feed leaves out now\n", plural(x.Filtered, "row"))
	}
	if x.Rescued > 0 {
		fmt.Fprintf(w, "  %s did not fit the type of their column: their text is in the column _rescued\n", plural(x.Rescued, "cell"))
	}
	if x.Still > 0 {
		fmt.Fprintf(w, "  %s could not become a record still:\n", plural(x.Still, "row"))
		for _, c := range x.Causes {
			fmt.Fprintf(w, "    %s: %s, such as %s\n", c.Rule, plural(c.Rows, "row"), c.example())
		}
	}
	if x.Gone > 0 {
		fmt.Fprintf(w, "  %s the topic does not have any more, the first at %s: what is left of them is in the table %s__quarantine; send their sources again under another name (--source-name URI)\n", plural(x.Gone, "row"), x.gone, r.Table)
	}
	if r.Total != nil {
		fmt.Fprintf(w, "the table has %s in %s; state %s\n", plural(r.Total.Rows, "row"), plural(int64(r.Total.Files), "file"), strings.TrimSpace(r.State))
	}
}
