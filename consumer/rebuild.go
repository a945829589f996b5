package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/fault"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// Rebuild builds a table anew from its topic, into a generation of its own, and swaps
// it in, while others go on writing and reading the table. It may be stopped at any
// time and run again: it goes on where it was.
type Rebuild struct {
	Client *broker.Client
	Topic  broker.Topic
	// Table is the table, opened to be read.
	Table *sink.Table
	// Build is what the new generation is to be.
	Build sink.BuildConfig
	// Consumer gives what fills a generation, but for the contract, the transforms and
	// what is said of messages, which are those of the generation's configuration.
	Consumer func() *Consumer
	// DryRun reads the topic and says what would become of the columns, and writes
	// nothing. Keep builds the generation and leaves it aside: the next Run swaps it in.
	DryRun, Keep bool
	// Now makes Rollback turn readers to the generation before it has caught up.
	Now bool
	// Limit is how many findings of the audit are named of each kind.
	Limit int
	// Step is told what is begun; it may be nil.
	Step func(step string)
	// Turned is told that another generation is live, when that still has to catch up; it
	// may be nil.
	Turned func()
	// Raw is the topic's raw zone, which may be empty: what the topic no longer has is
	// taken from there. A Topic without a LogID is gone.
	Raw *raw.Zone
	// Hold is by which this process has said that it builds a generation: others may
	// share its work then. nil where nobody can.
	Hold *sink.Hold

	log  Log       // of the messages that the live generation follows now
	past []*rawLog // of those that it followed before, and that are in the raw zone
	keep bool      // the raw zone is in use

	groupless string // why it cannot be in the consumer group by which work is shared
}

// RebuildReport is what a rebuild did.
type RebuildReport struct {
	Table   string `json:"table"`
	Topic   string `json:"topic"`
	Resumed bool   `json:"resumed,omitempty"` // a build, or a swap, that was begun before
	DryRun  bool   `json:"dry_run,omitempty"`
	// Swap is the number of the swap that made After live; 0 when there was none.
	Swap    int64             `json:"swap,omitempty"`
	Before  GenerationSummary `json:"before"`
	After   GenerationSummary `json:"after"`
	Changes []ColumnChange    `json:"changes,omitempty"`
	Audit   *sink.AuditReport `json:"audit,omitempty"`
	// Missed are the rows that readers did not see until After had caught up.
	Missed []sink.MissingRows `json:"missed,omitempty"`
}

// IncompleteError says that a new generation is not what it should be. It was not
// swapped in.
type IncompleteError struct {
	Table      string
	Generation int
	Damage     int64 // findings
	Lacks      []sink.Lack
	Where      string // the offsets that the first of them had
}

func (e *IncompleteError) Error() string {
	s := fmt.Sprintf("build table %s anew: generation %d is not swapped in, and the table is as it was: ", e.Table, e.Generation)
	if len(e.Lacks) > 0 {
		return s + fmt.Sprintf("it lacks rows of %s that the table has, such as %d of stream %s (%s), which the topic no longer has", streamsText(len(e.Lacks)), e.Lacks[0].Missing, e.Lacks[0].Stream, e.Where)
	}
	return s + fmt.Sprintf("its audit has %d findings of damage", e.Damage)
}

func (r *Rebuild) step(format string, args ...any) {
	if r.Step != nil {
		r.Step(fmt.Sprintf(format, args...))
	}
}

// Run rebuilds the table.
func (r *Rebuild) Run(ctx context.Context) (*RebuildReport, error) {
	defer r.close()
	report := &RebuildReport{Table: r.Table.Name(), Topic: r.Topic.Name, DryRun: r.DryRun}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	status, err := r.Table.Swaps(ctx)
	if err != nil {
		return nil, err
	}
	if status.Pending != nil && !r.DryRun {
		report.Resumed = true
		r.say(ctx, sink.Work{Step: sink.WorkFinish, Generation: status.Pending.To})
		r.step("swap %d to generation %d was begun before: finishing it", status.Pending.Number, status.Pending.To)
		return report, r.swap(ctx, report, status.Pending.To)
	}
	live, err := r.Table.At(ctx, status.Live.Generation)
	if err != nil {
		return nil, err
	}
	if report.Before, err = summary(ctx, live); err != nil {
		return nil, err
	}
	r.step("looking whether topic %s has every row of generation %d", r.Topic.Name, live.Generation())
	if err := r.reach(ctx, live); err != nil {
		return nil, err
	}
	if r.DryRun {
		return report, r.dry(ctx, live, report)
	}
	target, resumed, err := r.Table.Build(ctx, r.Build)
	if err != nil {
		return nil, err
	}
	report.Resumed = resumed
	report.After.Generation = target.Generation()
	r.say(ctx, sink.Work{Step: sink.WorkPrepare, Generation: target.Generation(), Alone: r.alone()})
	if err := r.infer(ctx, live, target); err != nil {
		return nil, err
	}
	if err := fault.At(ctx, fault.Inferred); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, target); err != nil {
		return nil, err
	}
	r.say(ctx, sink.Work{Step: sink.WorkFinish, Generation: target.Generation()})
	if err := fault.At(ctx, fault.Rebuilt); err != nil {
		return nil, err
	}
	if err := r.audit(ctx, live, target, report); err != nil {
		return report, err
	}
	if r.Keep {
		return report, nil
	}
	return report, r.swap(ctx, report, target.Generation())
}

// look finds out how many partitions the topic has by now.
func (r *Rebuild) look(ctx context.Context) error {
	topic, err := r.log.Topic(ctx, r.Topic.Name)
	if err == nil {
		r.Topic = topic
	}
	return err
}

// ends are the offsets behind what is in the topic now.
func (r *Rebuild) ends(ctx context.Context) (map[int]int64, error) {
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	ends := map[int]int64{}
	for p := range r.Topic.Partitions {
		_, end, err := r.log.Offsets(ctx, r.Topic.Name, p)
		if err != nil {
			return nil, err
		}
		ends[p] = end
	}
	return ends, nil
}

// consumer is what fills a generation, whether it is live or not, with the settings
// of a configuration.
func (r *Rebuild) consumer(t *sink.Table, config []byte) (*Consumer, error) {
	c := r.Consumer()
	c.Client, c.Source, c.Topic, c.Table, c.Fixed, c.Group, c.AdoptNewLog, c.Meta = r.Client, r.log, r.Topic, t, true, "", len(r.past) > 0, t.Shape().Meta
	if c.Raw = nil; r.keep {
		c.Raw = r.Raw
	}
	return c, c.configure(config)
}

// configure takes the contract and the transforms of a table's configuration.
func (c *Consumer) configure(text []byte) error {
	var config struct {
		Schema    *schema.Contract `json:"schema"`
		Transform transform.Spec   `json:"transform"`
		Messages  *Messages        `json:"messages"`
		CSV       csv.Overrides    `json:"csv"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("read the configuration of generation %d of table %s: %w", c.Table.Generation(), c.Table.Name(), err)
	}
	if err := c.unlock(config.Transform); err != nil {
		return fmt.Errorf("read the configuration of generation %d of table %s: %w", c.Table.Generation(), c.Table.Name(), err)
	}
	c.Contract, c.Transform, c.Messages, c.CSV, c.Current = config.Schema, config.Transform, config.Messages, config.CSV, nil
	return nil
}

// inferred reads the topic for its columns.
func (r *Rebuild) inferred(ctx context.Context, live, target *sink.Table) (Inferred, *schema.Schema, error) {
	c, err := r.consumer(target, r.Build.Config)
	if err != nil {
		return Inferred{}, nil, err
	}
	ends, err := r.ends(ctx)
	if err != nil {
		return Inferred{}, nil, err
	}
	var all inference
	for _, past := range r.past {
		before, err := r.consumer(target, r.Build.Config)
		if err != nil {
			return Inferred{}, nil, err
		}
		before.Source, before.Topic = past, past.topic
		found, err := before.Infer(ctx, past.ends())
		if err != nil {
			return found, nil, err
		}
		all.take(found)
	}
	found, err := r.read(ctx, c, ends)
	if err != nil {
		return found, nil, err
	}
	all.take(found)
	found = all.inferred()
	now, err := live.Schemas().Latest(ctx)
	if err != nil {
		return found, nil, err
	}
	first, err := found.columns(now, c)
	if err != nil || first == nil {
		return found, first, err
	}
	sources, err := r.Build.Shape.Sources()
	for _, name := range sources {
		if first.Index(name) < 0 {
			return found, first, fmt.Errorf("build table %s anew, partitioned by %s: %w", live.Name(), name, ErrNoColumn)
		}
	}
	return found, first, err
}

// infer gives the target its columns, unless it has them.
func (r *Rebuild) infer(ctx context.Context, live, target *sink.Table) error {
	latest, err := target.Schemas().Latest(ctx)
	if err != nil || latest != nil {
		return err
	}
	r.step("reading topic %s for its columns", r.Topic.Name)
	_, first, err := r.inferred(ctx, live, target)
	if err != nil || first == nil {
		return err
	}
	if err := target.Schemas().Append(ctx, first); err != nil && !errors.Is(err, sink.ErrExists) {
		return err
	}
	return nil
}

// catchUps is how often a new generation is brought to the end of the topic before it
// is swapped in: each time less has come meanwhile.
const catchUps = 3

// fillPast brings a generation to the end of the topics that were there before the
// present one, one after the other. What it has come to is left alone.
func (r *Rebuild) fillPast(ctx context.Context, target *sink.Table) error {
	logs, err := target.Logs(ctx)
	if err != nil || len(r.past) == 0 {
		return err
	}
	first := 0
	if len(logs) > 0 {
		if first = slices.IndexFunc(r.past, func(l *rawLog) bool { return l.topic.LogID == logs[len(logs)-1] }); first < 0 {
			return nil // it has come to the present one
		}
	}
	for _, past := range r.past[first:] {
		r.step("writing generation %d: rows of topic id %s, which is gone", target.Generation(), past.topic.LogID)
		if err := target.Extend(ctx, past.topic.Partitions); err != nil {
			return err
		}
		c, err := r.consumer(target, target.ConfigText())
		if err != nil {
			return err
		}
		c.Source, c.Topic = past, past.topic
		c.Drain(past.ends())
		if err := c.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends all reading of the raw zone.
func (r *Rebuild) close() {
	for _, l := range r.past {
		l.Close()
	}
	if l, ok := r.log.(*rawLog); ok {
		l.Close()
	}
	r.log, r.past = nil, nil
}

// fill brings a generation to the end of the topic.
func (r *Rebuild) fill(ctx context.Context, target *sink.Table) error {
	if err := r.fillPast(ctx, target); err != nil {
		return err
	}
	if r.Hold != nil && r.alone() == "" {
		shared, err := r.fillShared(ctx, target)
		if shared || err != nil {
			return err
		}
	}
	for n := range catchUps {
		ends, err := r.ends(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			r.step("writing generation %d", target.Generation())
		}
		if err := r.fillTo(ctx, target, ends); err != nil {
			return err
		}
	}
	return nil
}

// fillTo brings a generation to offsets of the topic, which may have more partitions
// than it had when the generation was begun.
func (r *Rebuild) fillTo(ctx context.Context, target *sink.Table, to map[int]int64) error {
	c, err := r.filler(ctx, target)
	if err != nil {
		return err
	}
	c.Drain(to)
	return c.Run(ctx)
}

// filler is what brings a generation on.
func (r *Rebuild) filler(ctx context.Context, target *sink.Table) (*Consumer, error) {
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if err := target.Extend(ctx, r.Topic.Partitions); err != nil {
		return nil, err
	}
	return r.consumer(target, target.ConfigText())
}

// audit compares the new generation with its files, with the topic and with the live
// one.
func (r *Rebuild) audit(ctx context.Context, live, target *sink.Table, report *RebuildReport) error {
	r.step("auditing generation %d", target.Generation())
	position, err := live.Position(ctx)
	if err != nil {
		return err
	}
	ends, err := r.ends(ctx)
	if err != nil {
		return err
	}
	if err := r.fillTo(ctx, target, ends); err != nil {
		return err
	}
	if report.After, err = summary(ctx, target); err != nil {
		return err
	}
	if report.Changes, err = changes(ctx, live, target); err != nil {
		return err
	}
	report.Audit = sink.NewAuditReport(max(r.Limit, 1))
	if err := (&sink.Audit{Table: target, Report: report.Audit}).Run(ctx); err != nil {
		return err
	}
	at, err := sink.ParsePosition(report.Audit.Position)
	if err != nil {
		return err
	}
	audit := &Audit{Client: r.Client, Table: target, Report: report.Audit, Position: at}
	if r.keep {
		audit.Raw = r.Raw
	}
	if err := audit.Run(ctx); err != nil {
		return err
	}
	lacks, err := target.Lacks(ctx, live, position)
	if err != nil {
		return err
	}
	damage := int64(report.Audit.Of(sink.Damage))
	if damage == 0 && len(lacks) == 0 {
		return nil
	}
	incomplete := &IncompleteError{Table: target.Name(), Generation: target.Generation(), Damage: damage, Lacks: lacks}
	if len(lacks) > 0 {
		incomplete.Where, err = r.where(ctx, live, lacks[0].Stream)
	}
	return errors.Join(incomplete, err)
}

// where names the offsets of a record that has rows of a stream.
func (r *Rebuild) where(ctx context.Context, t *sink.Table, id schema.StreamID) (string, error) {
	for p := range t.Partitions() {
		for rec, err := range t.ReadChain(ctx, p) {
			if err != nil {
				return "", err
			}
			for _, s := range rec.Streams {
				if s.ID == id {
					return fmt.Sprintf("among offsets %d to %d of %s/%d, topic id %s", rec.From, rec.To-1, r.Topic.Name, p, rec.Log), nil
				}
			}
		}
	}
	return "at offsets that are not known", nil
}

// ErrNoColumn says that a table is to be partitioned by a column that it does not have.
var ErrNoColumn = errors.New("there is no such column")

// dry says what a rebuild would make of the columns.
func (r *Rebuild) dry(ctx context.Context, live *sink.Table, report *RebuildReport) error {
	r.step("reading topic %s for its columns", r.Topic.Name)
	found, first, err := r.inferred(ctx, live, live)
	if err != nil {
		return err
	}
	report.After = GenerationSummary{Shape: r.Build.Shape.String(), Rows: found.Rows, Quarantined: found.Quarantined}
	before, err := columnsOf(ctx, live)
	if err != nil {
		return err
	}
	var after []sink.NamedType
	if first != nil {
		by, err := r.Build.Shape.PartitionColumns(first)
		if err != nil {
			return err
		}
		after = append(sink.TableTypes(first, by), by...)
		report.After.Columns = len(after)
	}
	report.Changes = compareColumns(before, after)
	return nil
}

func streamsText(n int) string {
	if n == 1 {
		return "1 stream"
	}
	return fmt.Sprintf("%d streams", n)
}
