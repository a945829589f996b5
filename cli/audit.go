package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/consumer"
	"lakefeed/sink"
)

type auditCommand struct {
	Table      string    `arg:"" help:"The table."`
	Deep       bool      `help:"Compare each cell of each file with the topic. Takes as long as ingesting did."`
	NoTopic    bool      `name:"no-topic" help:"Look at the lake alone."`
	WholeTopic bool      `help:"Fail as well when the topic no longer has all rows, which building the table again needs."`
	Limit      int       `help:"Name so many findings of each kind; all are counted." default:"100" placeholder:"N"`
	Memory     bytesFlag `help:"Bound of the bodies of files in memory." default:"128MiB" placeholder:"SIZE"`
	Topic      string    `help:"Topic of the table, to be sure of it. Default: the one that the table has." placeholder:"NAME"`
	ConfigFile
	Lake
	Kafka `embed:""`
	Output
}

// auditError says that an audit has found damage.
type auditError struct{ msg string }

func (e *auditError) Error() string { return e.msg }

// Run proves that source rows, topic rows and lake rows are the same, each once.
func (c *auditCommand) Run(ctx context.Context, g *Globals) error {
	switch {
	case c.Deep && c.NoTopic, c.WholeTopic && c.NoTopic:
		return &usageError{"--deep and --whole-topic compare with the topic: leave --no-topic out"}
	case c.Limit < 1:
		return &usageError{"--limit must be 1 or more"}
	}
	if err := c.fill(g, c); err != nil {
		return err
	}
	table, err := c.table(ctx, g, c.Table)
	if err != nil {
		return err
	}
	if c.Topic != "" && c.Topic != table.Topic() {
		return &usageError{fmt.Sprintf("table %s is filled from topic %s, not %s", c.Table, table.Topic(), c.Topic)}
	}
	report := sink.NewAuditReport(c.Limit)
	audit := &sink.Audit{Table: table, Report: report, Memory: int64(c.Memory)}
	if err := audit.Run(ctx); err != nil {
		return err
	}
	// What is known of the lake is worth telling when the topic cannot be read.
	compared := c.compare(ctx, g, table, report)
	if err := errors.Join(compared, c.print(g, report)); err != nil {
		return err
	}
	if n := report.Of(sink.Damage); n > 0 {
		return &auditError{fmt.Sprintf("audit table %s: %s of damage; rows are missing, there twice, or not what they were: see the report", c.Table, plural(n, "finding"))}
	}
	return nil
}

// compare compares the table with its topic, where there is one to be had.
func (c *auditCommand) compare(ctx context.Context, g *Globals, table *sink.Table, report *sink.AuditReport) error {
	without := func(why string) error {
		if c.Deep || c.WholeTopic {
			return &usageError{fmt.Sprintf("compare table %s with topic %s: %s", c.Table, table.Topic(), why)}
		}
		report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Message: "the table was not compared with topic " + table.Topic() + ": " + why})
		return nil
	}
	if c.NoTopic {
		return without("--no-topic was given")
	}
	if c.embeddedLog() {
		if _, err := os.Stat(c.logDir(&c.Lake)); err != nil {
			return without(fmt.Sprintf("there is no log of an embedded Kafka in %s; name the brokers with --brokers, or the log with --kafka-dir", c.logDir(&c.Lake)))
		}
	}
	conn, err := c.connect(g, &c.Lake)
	if errors.Is(err, embedded.ErrLocked) {
		return without(fmt.Sprintf("the log of the embedded Kafka in %s is in use by another process; do it when that has ended", c.logDir(&c.Lake)))
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	topic, err := conn.client.Topic(ctx, table.Topic())
	if errors.Is(err, broker.ErrNoTopic) {
		return without("there is no such topic")
	}
	if err != nil {
		return err
	}
	position, err := sink.ParsePosition(report.Position)
	if err != nil {
		return err
	}
	report.Deep = c.Deep
	audit := &consumer.Audit{Client: conn.client, Topic: topic, Table: table, Report: report, Position: position, Deep: c.Deep, Whole: c.WholeTopic, Secret: maskKey}
	return audit.Run(ctx)
}

func (c *auditCommand) print(g *Globals, r *sink.AuditReport) error {
	if c.json() {
		return writeJSON(g.stdout, r)
	}
	w := g.stdout
	fmt.Fprintf(w, "table %s at %s: %s in %s (%s)", r.Table, r.Position, plural(r.Rows, "row"), plural(r.Files, "file"), bytesText(r.Bytes))
	if r.Quarantined > 0 {
		fmt.Fprintf(w, ", %s quarantined", plural(r.Quarantined, "row"))
	}
	fmt.Fprintf(w, "\n  %s in %s: %s, %s, %s", plural(r.Offsets, "offset"), plural(r.Records, "record"), plural(r.Rows+r.Quarantined, "row"), plural(r.Ends, "end"), plural(r.Offsets-r.Rows-r.Quarantined-r.Ends, "other"))
	for i, reason := range sortedKeys(r.Skipped) {
		if i == 0 {
			fmt.Fprint(w, " (")
		} else {
			fmt.Fprint(w, ", ")
		}
		fmt.Fprintf(w, "%s %s", countText(r.Skipped[reason]), reason)
	}
	if len(r.Skipped) > 0 {
		fmt.Fprint(w, ")")
	}
	fmt.Fprintf(w, "\n  %s whole", plural(r.Complete, "stream"))
	if r.UnderWay > 0 {
		fmt.Fprintf(w, ", %s under way", countText(r.UnderWay))
	}
	if r.Compared > 0 {
		how := "by number and identity"
		if r.Deep {
			how = "cell by cell"
		}
		fmt.Fprintf(w, "\n  compared with the topic: %s %s, %s by the hash of their producer", plural(r.Compared, "row"), how, plural(r.Hashed, "stream"))
	}
	fmt.Fprintln(w)
	for _, f := range r.Findings {
		printFinding(w, &f)
	}
	left := r.Left()
	for kind, n := range left {
		fmt.Fprintf(w, "and %s more of %s\n", countText(n), kind)
	}
	switch damage, loss := r.Of(sink.Damage), r.Of(sink.Loss); {
	case damage > 0:
		fmt.Fprintf(w, "%s of damage\n", plural(damage, "finding"))
	case loss > 0:
		fmt.Fprintf(w, "as on record: nothing is missing and nothing is there twice, but for %s of loss that the lake has on record\n", plural(loss, "finding"))
	default:
		fmt.Fprintln(w, "clean: nothing is missing, nothing is there twice")
	}
	return nil
}

func printFinding(w io.Writer, f *sink.Finding) {
	var at []string
	if f.Chain != "" {
		at = append(at, f.Chain)
	}
	if f.Seq != nil {
		at = append(at, fmt.Sprintf("record %d", *f.Seq))
	}
	if f.From != nil && f.To != nil {
		at = append(at, fmt.Sprintf("offsets %d to %d", *f.From, *f.To-1))
	}
	if f.Stream != "" {
		at = append(at, "stream "+f.Stream)
	}
	if f.Source != "" {
		at = append(at, objectName(f.Source))
	}
	if f.Key != "" {
		at = append(at, f.Key)
	}
	fmt.Fprintf(w, "%s %s", f.Level, f.Kind)
	if len(at) > 0 {
		fmt.Fprintf(w, ": %s", strings.Join(at, ", "))
	}
	fmt.Fprintf(w, "\n    %s\n", f.Message)
	if f.Do != "" {
		fmt.Fprintf(w, "    do: %s\n", f.Do)
	}
}
