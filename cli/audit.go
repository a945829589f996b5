package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/consumer"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

type auditCommand struct {
	Table      string    `arg:"" help:"The table."`
	Deep       bool      `help:"Compare each cell of each file with the topic, or its raw zone where the topic no longer has it. Takes as long as ingesting did."`
	NoTopic    bool      `name:"no-topic" help:"Look at the lake alone: read neither the topic nor its raw zone."`
	WholeTopic bool      `help:"Fail as well when the topic and its raw zone together no longer have all rows, which building the table again needs: those of an earlier topic, too, though they may have been sent again since."`
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
	store, err := c.store(ctx, g)
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
	var topic *auditedTopic
	if c.Deep || c.WholeTopic { // without it there is nothing to begin
		if topic, err = c.open(ctx, g, store, table); err != nil {
			return err
		}
		defer topic.close()
		if topic.without != "" {
			return &usageError{fmt.Sprintf("compare table %s with topic %s: %s", c.Table, table.Topic(), topic.without)}
		}
	}
	report := sink.NewAuditReport(c.Limit)
	audit := &sink.Audit{Table: table, Report: report, Memory: int64(c.Memory)}
	if err := audit.Run(ctx); err != nil {
		return err
	}
	// What is known of the lake is worth telling when the topic cannot be read.
	compared := c.compare(ctx, g, store, table, topic, report)
	if err := errors.Join(compared, c.print(g, report, compared == nil)); err != nil {
		return err
	}
	if n := report.Of(sink.Damage); n > 0 {
		return &auditError{fmt.Sprintf("audit table %s: %s of damage; rows are missing, there twice, or not what they were: see the report", c.Table, plural(n, "finding"))}
	}
	return nil
}

// auditedTopic is what a table is compared with.
type auditedTopic struct {
	conn    *connection // nil where there is no Kafka
	zone    *raw.Zone
	gone    string // why there is no topic, though its raw zone may have its rows
	without string // why there is nothing to compare with
}

// close ends the connection, if there is one. It may be called of nil.
func (t *auditedTopic) close() {
	if t != nil && t.conn != nil {
		t.conn.Close()
	}
}

// open finds the table's topic and the topic's raw zone, as far as they are to be had.
func (c *auditCommand) open(ctx context.Context, g *Globals, store sink.Store, table *sink.Table) (*auditedTopic, error) {
	if c.NoTopic {
		return &auditedTopic{without: "--no-topic was given"}, nil
	}
	zone, err := raw.Open(store, table.Topic())
	if err != nil {
		return nil, err
	}
	used, err := zone.Used(ctx)
	if err != nil {
		return nil, err
	}
	t := &auditedTopic{zone: zone}
	if dir := c.logDir(&c.Lake); c.embeddedLog() && dir == "" {
		t.gone = "no Kafka is named; give its brokers with --brokers, or the folder of an embedded one's log with --kafka-dir"
	} else if _, err := os.Stat(dir); c.embeddedLog() && err != nil {
		t.gone = fmt.Sprintf("there is no log of an embedded Kafka in %s; name the brokers with --brokers, or the log with --kafka-dir", dir)
	}
	if t.gone == "" {
		t.conn, err = c.connect(g, &c.Lake)
		if errors.Is(err, embedded.ErrLocked) {
			return &auditedTopic{without: fmt.Sprintf("the log of the embedded Kafka in %s is in use by another process; do it when that has ended", c.logDir(&c.Lake))}, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := t.conn.client.Topic(ctx, table.Topic()); errors.Is(err, broker.ErrNoTopic) {
			t.gone = "there is no such topic"
		} else if err != nil {
			t.close()
			return nil, err
		}
	}
	if t.gone != "" && !used {
		t.without = t.gone
	}
	return t, nil
}

// compare compares the table with its topic, and with the topic's raw zone, where they
// are to be had. A topic that is nil is opened first.
func (c *auditCommand) compare(ctx context.Context, g *Globals, store sink.Store, table *sink.Table, topic *auditedTopic, report *sink.AuditReport) error {
	if table.Partitions() == 0 {
		report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Message: "the table was not compared with topic " + table.Topic() + ": it is not known which topic partitions it has"})
		return nil
	}
	position, err := sink.ParsePosition(report.Position)
	if err != nil {
		return err
	}
	if topic == nil {
		if topic, err = c.open(ctx, g, store, table); err != nil {
			return err
		}
		defer topic.close()
	}
	switch {
	case topic.without != "":
		report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Message: "the table was not compared with topic " + table.Topic() + ": " + topic.without})
		return nil
	case topic.gone != "":
		report.Add(sink.Finding{Level: sink.Note, Kind: sink.TopicNotCompared, Message: "topic " + table.Topic() + " was not read: " + topic.gone + "; what its raw zone has was"})
	}
	audit := &consumer.Audit{Raw: topic.zone, Table: table, Report: report, Position: position, Deep: c.Deep, Whole: c.WholeTopic, Secret: maskKey}
	if topic.conn != nil {
		audit.Client = topic.conn.client
	}
	report.Deep = c.Deep
	return audit.Run(ctx)
}

// comparedText says how many rows were compared with what.
func comparedText(r *sink.AuditReport) string {
	text := ""
	if r.Compared > 0 || r.ComparedRaw == 0 {
		text = plural(r.Compared, "row") + " compared with the topic"
	}
	if r.ComparedRaw > 0 {
		if text != "" {
			text += ", "
		}
		text += plural(r.ComparedRaw, "row") + " compared with the raw zone"
	}
	return text
}

// printCompared says which offsets were compared with what.
func printCompared(w io.Writer, r *sink.AuditReport) {
	topic, raw := r.Compared > 0, r.ComparedRaw > 0
	if topic || raw {
		how := "by number and identity"
		if r.Deep {
			how = "cell by cell"
		}
		var with []string
		if topic {
			with = append(with, fmt.Sprintf("with the topic: %s", plural(r.Compared, "row")))
		}
		if raw {
			with = append(with, fmt.Sprintf("with the raw zone: %s", plural(r.ComparedRaw, "row")))
		}
		fmt.Fprintf(w, "\n  compared %s %s, %s by the hash of their producer", strings.Join(with, ", "), how, plural(r.Hashed, "stream"))
	}
	several := map[string]bool{}
	for _, c := range r.Ranges {
		several[c.Log] = true
	}
	if !slices.ContainsFunc(r.Ranges, func(c sink.ComparedRange) bool { return c.With != sink.WithTopic }) {
		return // which the line above says
	}
	for _, c := range r.Ranges {
		of := c.Chain
		if len(several) > 1 {
			of += " (topic id " + c.Log + ")"
		}
		fmt.Fprintf(w, "\n    %s, offsets %d to %d: ", of, c.From, c.To-1)
		if c.With == sink.WithNothing {
			fmt.Fprintf(w, "not compared: %s", c.Why)
		} else {
			fmt.Fprintf(w, "compared with the %s", c.With)
		}
	}
	if r.RangesLeft > 0 {
		fmt.Fprintf(w, "\n    and %s more", plural(r.RangesLeft, "range"))
	}
}

// print shows the report. Where the comparison with the topic was broken off, it is not
// said that nothing is missing.
func (c *auditCommand) print(g *Globals, r *sink.AuditReport, compared bool) error {
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
	printCompared(w, r)
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
	case !compared:
		fmt.Fprintln(w, "not clean yet: no damage was found in the lake, but the comparison with the topic was not done")
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
