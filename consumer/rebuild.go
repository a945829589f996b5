package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lakefeed/broker"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/fault"
	"lakefeed/sink"
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
	// Limit is how many findings of the audit are named of each kind.
	Limit int
	// Step is told what is begun; it may be nil.
	Step func(step string)
}

// RebuildReport is what a rebuild did.
type RebuildReport struct {
	Table   string `json:"table"`
	Resumed bool   `json:"resumed,omitempty"` // a build, or a swap, that was begun before
	DryRun  bool   `json:"dry_run,omitempty"`
	// Swap is the number of the swap that made After live; 0 when there was none.
	Swap    int64             `json:"swap,omitempty"`
	Before  GenerationSummary `json:"before"`
	After   GenerationSummary `json:"after"`
	Changes []ColumnChange    `json:"changes,omitempty"`
	Audit   *sink.AuditReport `json:"audit,omitempty"`
}

// GenerationSummary is what a generation has.
type GenerationSummary struct {
	Generation  int    `json:"generation,omitempty"`
	State       string `json:"state,omitempty"`
	Shape       string `json:"shape"`
	Rows        int64  `json:"rows"`
	Quarantined int64  `json:"rows_quarantined"`
	Rescued     int64  `json:"cells_rescued"`
	Files       int64  `json:"files"`
	Bytes       int64  `json:"bytes"`
	Partitions  int    `json:"partitions"`
	Columns     int    `json:"columns"`
}

// ColumnChange is a column that differs between two generations; a type is empty where
// there is no such column.
type ColumnChange struct {
	Column string `json:"column"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// ReachError says that a topic no longer has rows that the table has, so that the
// table cannot be built from it.
type ReachError struct {
	Table, Topic string
	Partition    int
	Offset       int64  // the first that is missing
	Start        int64  // of the topic partition now
	Log, Now     string // ids of the topic that the offset is of, and of the topic as it is
}

func (e *ReachError) Error() string {
	why := fmt.Sprintf("the topic partition begins at offset %d now", e.Start)
	if e.Log != e.Now {
		why = fmt.Sprintf("the topic was deleted and made again since (its id was %s, and is %s)", e.Log, e.Now)
	}
	return fmt.Sprintf("build table %s anew: the table has rows of %s/%d@%d, and the topic does not: %s. A rebuild would lose them; the table is left as it is",
		e.Table, e.Topic, e.Partition, e.Offset, why)
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
	report := &RebuildReport{Table: r.Table.Name(), DryRun: r.DryRun}
	status, err := r.Table.Swaps(ctx)
	if err != nil {
		return nil, err
	}
	if status.Pending != nil && !r.DryRun {
		report.Resumed = true
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
	if err := r.infer(ctx, live, target); err != nil {
		return nil, err
	}
	if err := fault.At(ctx, fault.Inferred); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, target); err != nil {
		return nil, err
	}
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

// reach looks for rows of the live generation that the topic no longer has.
func (r *Rebuild) reach(ctx context.Context, live *sink.Table) error {
	c := &Consumer{Client: r.Client, Topic: r.Topic, Table: live}
	if err := c.Validate(); err != nil {
		return err
	}
	for p := range live.Partitions() {
		present := sink.LogView{Log: r.Topic.LogID}
		if p < r.Topic.Partitions {
			var err error
			if present, err = c.worker(p, ctx, nil).view(ctx, sink.State{}); err != nil {
				return err
			}
		}
		again := false // the log was made again, or cut: what was sent again is found out by the audit
		for rec, err := range live.ReadChain(ctx, p) {
			if err != nil {
				return err
			}
			from := firstRead(&rec)
			has := rec.Counts.Rows+rec.Counts.Quarantined+rec.Counts.Ends > 0
			switch {
			case rec.Kind != sink.KindRows || !has || again:
			case rec.Log != present.Log:
				again = true
			case from < present.Start && from < rec.To:
				return &ReachError{Table: live.Name(), Topic: r.Topic.Name, Partition: p, Offset: from, Start: present.Start, Log: rec.Log, Now: present.Log}
			}
		}
	}
	return nil
}

// look finds out how many partitions the topic has by now.
func (r *Rebuild) look(ctx context.Context) error {
	topic, err := r.Client.Topic(ctx, r.Topic.Name)
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
		_, end, err := r.Client.Offsets(ctx, r.Topic.Name, p)
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
	c.Client, c.Topic, c.Table, c.Fixed, c.Group, c.AdoptNewLog, c.Meta = r.Client, r.Topic, t, true, "", false, t.Shape().Meta
	return c, c.configure(config)
}

// configure takes the contract and the transforms of a table's configuration.
func (c *Consumer) configure(text []byte) error {
	var config struct {
		Schema    *schema.Contract `json:"schema"`
		Transform transform.Spec   `json:"transform"`
		Messages  *Messages        `json:"messages"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("read the configuration of generation %d of table %s: %w", c.Table.Generation(), c.Table.Name(), err)
	}
	if err := c.unlock(config.Transform); err != nil {
		return fmt.Errorf("read the configuration of generation %d of table %s: %w", c.Table.Generation(), c.Table.Name(), err)
	}
	c.Contract, c.Transform, c.Messages = config.Schema, config.Transform, config.Messages
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
	found, err := c.Infer(ctx, ends)
	if err != nil {
		return found, nil, err
	}
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

// fill brings a generation to the end of the topic.
func (r *Rebuild) fill(ctx context.Context, target *sink.Table) error {
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
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := target.Extend(ctx, r.Topic.Partitions); err != nil {
		return err
	}
	c, err := r.consumer(target, target.ConfigText())
	if err != nil {
		return err
	}
	c.Drain(to)
	return c.Run(ctx)
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
	if err := (&Audit{Client: r.Client, Topic: r.Topic, Table: target, Report: report.Audit, Position: at}).Run(ctx); err != nil {
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

// swap makes a generation the live one.
func (r *Rebuild) swap(ctx context.Context, report *RebuildReport, to int) error {
	r.step("swapping generation %d in", to)
	if _, err := r.Table.BeginSwap(ctx, to); err != nil {
		return err
	}
	for {
		status, err := r.Table.HelpSwap(ctx)
		var lost *sink.LostError
		switch {
		case errors.As(err, &lost):
			if err := r.mend(ctx, lost); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case status.Pending == nil:
			if status.Live.Generation != to {
				return fmt.Errorf("swap table %s to generation %d: it was cancelled, and generation %d is live", r.Table.Name(), to, status.Live.Generation)
			}
			report.Swap = status.Live.Swap
			return r.swapped(ctx, report, to)
		}
		if err := r.catchUp(ctx, status); err != nil {
			return err
		}
	}
}

// mend makes files again that a chain needs to be closed.
func (r *Rebuild) mend(ctx context.Context, lost *sink.LostError) error {
	t, err := r.Table.AsBuilt(ctx, lost.Generation)
	if err != nil {
		return err
	}
	c, err := r.consumer(t, t.ConfigText())
	if err != nil {
		return err
	}
	c.Topic.Partitions = min(c.Topic.Partitions, t.Partitions())
	c.Drain(nil)
	if err := c.Run(ctx); err != nil {
		return fmt.Errorf("%w; or give the swap up with lakefeed rebuild %s --cancel", err, t.Name())
	}
	return nil
}

// catchUp brings the target of a swap to where the closed chains end.
func (r *Rebuild) catchUp(ctx context.Context, status sink.SwapStatus) error {
	target, err := r.Table.AsBuilt(ctx, status.Pending.To)
	if err != nil {
		return err
	}
	want := map[int]int64{}
	for _, b := range status.Behind {
		if b.Log != "" && b.Log != b.WantLog {
			return r.cancel(ctx, fmt.Errorf("topic partition %s/%d was made again meanwhile", r.Topic.Name, b.Partition))
		}
		want[b.Partition] = b.Want
	}
	if len(want) == 0 { // a chain is being closed or opened by others
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
			return nil
		}
	}
	err = r.fillTo(ctx, target, want)
	var closed *sink.ClosedError
	var unfit *sink.LogError
	switch {
	case errors.As(err, &closed):
		return nil // the swap has ended, one way or the other
	case errors.As(err, &unfit):
		return r.cancel(ctx, err)
	}
	return err
}

// cancel gives a swap up that cannot come to its end.
func (r *Rebuild) cancel(ctx context.Context, why error) error {
	live, err := r.Table.CancelSwap(ctx)
	if err != nil {
		return errors.Join(why, err)
	}
	if !live.Cancelled {
		return nil // it was done just before
	}
	return fmt.Errorf("swap %d of table %s is cancelled, generation %d stays live: %w", live.Swap, r.Table.Name(), live.Generation, why)
}

// swapped completes the report when a generation has become the live one.
func (r *Rebuild) swapped(ctx context.Context, report *RebuildReport, to int) (err error) {
	target, err := r.Table.At(ctx, to)
	if err != nil {
		return err
	}
	if report.After, err = summary(ctx, target); err != nil || report.Before.Generation > 0 {
		return err
	}
	before, err := r.Table.Previous(ctx)
	if err != nil || before == 0 {
		return err
	}
	was, err := r.Table.At(ctx, before)
	if err != nil {
		return err
	}
	if report.Before, err = summary(ctx, was); err != nil {
		return err
	}
	report.Changes, err = changes(ctx, was, target)
	return err
}

// ErrNoColumn says that a table is to be partitioned by a column that it does not have.
var ErrNoColumn = errors.New("there is no such column")

// ErrNoPrevious says that there is no earlier generation to go back to.
var ErrNoPrevious = errors.New("no other generation was ever live")

// Rollback makes the generation live again that was live before the present one, once
// it has caught up: nothing that readers see goes away.
func (r *Rebuild) Rollback(ctx context.Context) (*RebuildReport, error) {
	report := &RebuildReport{Table: r.Table.Name()}
	status, err := r.Table.Swaps(ctx)
	if err != nil {
		return nil, err
	}
	if status.Pending != nil {
		report.Resumed = true
		r.step("swap %d to generation %d was begun before: finishing it", status.Pending.Number, status.Pending.To)
		return report, r.swap(ctx, report, status.Pending.To)
	}
	to, err := r.Table.Previous(ctx)
	if err == nil && to == 0 {
		err = fmt.Errorf("roll table %s back: %w", r.Table.Name(), ErrNoPrevious)
	}
	if err != nil {
		return nil, err
	}
	live, err := r.Table.At(ctx, status.Live.Generation)
	if err != nil {
		return nil, err
	}
	if report.Before, err = summary(ctx, live); err != nil {
		return nil, err
	}
	target, err := r.Table.AsBuilt(ctx, to)
	if err != nil {
		return nil, err
	}
	// Its chains are closed: the swap opens them. Here only the reach of the topic is
	// looked at.
	if err := r.follows(ctx, target); err != nil {
		return nil, err
	}
	if err := r.swap(ctx, report, to); err != nil {
		return report, err
	}
	report.Changes, err = changes(ctx, live, target)
	return report, err
}

// follows checks that the topic has all that a generation lacks.
func (r *Rebuild) follows(ctx context.Context, t *sink.Table) error {
	c, err := r.consumer(t, t.ConfigText())
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return err
	}
	for p := range min(t.Partitions(), r.Topic.Partitions) {
		state, err := t.Chain(p).Open(ctx)
		if err != nil {
			return err
		}
		present, err := c.worker(p, ctx, nil).view(ctx, state)
		if err == nil {
			_, err = state.CheckLog(present)
		}
		if err != nil {
			return fmt.Errorf("roll table %s back to generation %d: %w", t.Name(), t.Generation(), err)
		}
	}
	return nil
}

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

// summary is what a generation has now.
func summary(ctx context.Context, t *sink.Table) (GenerationSummary, error) {
	position, err := t.Position(ctx)
	if err != nil {
		return GenerationSummary{}, err
	}
	s, err := sink.NewProjector(t).Snapshot(ctx)
	if err != nil {
		return GenerationSummary{}, err
	}
	out := GenerationSummary{
		Generation: t.Generation(), State: position.String(), Shape: t.Shape().String(), Rows: s.Rows, Quarantined: s.Quarantine.Rows,
		Files: s.Files, Bytes: s.Bytes, Partitions: len(s.Partitions), Columns: len(s.Columns) + len(s.PartitionBy),
	}
	for p := range t.Partitions() {
		for rec, err := range t.ReadChain(ctx, p) {
			if err != nil {
				return out, err
			}
			out.Rescued += rec.Counts.Rescued
		}
	}
	return out, nil
}

func columnsOf(ctx context.Context, t *sink.Table) ([]sink.NamedType, error) {
	s, err := sink.NewProjector(t).Snapshot(ctx)
	return append(s.Columns, s.PartitionBy...), err
}

// changes are the columns that differ between two generations.
func changes(ctx context.Context, a, b *sink.Table) ([]ColumnChange, error) {
	before, err := columnsOf(ctx, a)
	if err != nil {
		return nil, err
	}
	after, err := columnsOf(ctx, b)
	return compareColumns(before, after), err
}

func compareColumns(before, after []sink.NamedType) (out []ColumnChange) {
	types := func(in []sink.NamedType) map[string]string {
		m := map[string]string{}
		for _, c := range in {
			m[c.Name] = c.Type
		}
		return m
	}
	was, is := types(before), types(after)
	for _, c := range before {
		if is[c.Name] != c.Type {
			out = append(out, ColumnChange{c.Name, c.Type, is[c.Name]})
		}
	}
	for _, c := range after {
		if was[c.Name] == "" {
			out = append(out, ColumnChange{c.Name, "", c.Type})
		}
	}
	return out
}

func streamsText(n int) string {
	if n == 1 {
		return "1 stream"
	}
	return fmt.Sprintf("%d streams", n)
}
