package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"lakefeed/broker"
	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/sink"
	"lakefeed/sink/raw"
)

// job is a run of feeds side by side in one process. One's failure does not stop
// the others.
type job struct {
	settings []Settings
	fromFile bool // several may be at work: what is said names the feed
	stored   bool // the lake is worked on
	endless  bool // until interrupted: what stops one feed is told at once, not only at the end
	progress Progress
	output   Output

	check func(context.Context, *feed) error // before anything is opened or made
	do    func(context.Context, *feed) error // the work
	print func(*report, io.Writer)           // the summary
}

// process is what the feeds of a run share.
type process struct {
	*Globals
	store   sink.Store
	conn    *connection
	budget  *consumer.Budget
	board   *board
	metrics *metrics
	sent    map[string]chan struct{} // by topic: closed when no feed here sends to it any more
}

// feed is the run of one feed.
type feed struct {
	Settings
	*process
	sources   []producer.Source
	topic     broker.Topic
	table     *sink.Table
	raw       *raw.Zone // nil where nothing is copied
	registrar *sink.Registrar
	progress  *progress
	report    *report
	settled   sync.Once
	stop      context.CancelCauseFunc // ends the run of this feed alone
	err       error                   // of the run
}

func (j *job) run(ctx context.Context, g *Globals) error {
	feeds := make([]*feed, len(j.settings))
	able := 0
	for i, s := range j.settings {
		f := &feed{Settings: s, process: &process{Globals: g}}
		if f.err = s.broken; f.err == nil {
			f.err = j.check(ctx, f)
		}
		if f.err == nil {
			able++
		}
		f.report = newReport(f.Table, &f.Lake)
		f.report.canRebuild = g.commands["rebuild"]
		feeds[i] = f
	}
	if able > 0 {
		if err := j.start(ctx, g, feeds); err != nil {
			return err
		}
	}
	return j.outcome(ctx, g, feeds)
}

// start opens what the feeds share, and runs those that can be run.
func (j *job) start(ctx context.Context, g *Globals, feeds []*feed) (err error) {
	shared := &feeds[slices.IndexFunc(feeds, func(f *feed) bool { return f.err == nil })].Settings // the same for all of them
	p := &process{Globals: g, budget: consumer.NewBudget(int(shared.Memory.Memory)), sent: map[string]chan struct{}{}}
	shared.Memory.Memory.limitRuntime()
	if err := shared.checkLog(&shared.Lake); err != nil {
		return err
	}
	p.metrics = newMetrics(version())
	unserve, err := shared.Listener.serve(p.metrics, g.logger())
	if err != nil {
		return err
	}
	defer unserve()
	if j.stored {
		if p.store, err = shared.writable(ctx, g, shared.Memory.Memory); err != nil {
			return err
		}
	}
	if p.conn, err = shared.connect(g, &shared.Lake); err != nil {
		return err
	}
	defer p.conn.Close()
	p.board = j.progress.start(g.stderr)
	defer p.board.stop()
	for _, f := range feeds {
		f.process = p
		if len(f.Sources) > 0 {
			p.sent[f.Topic.Topic] = make(chan struct{})
		}
	}
	var working sync.WaitGroup
	for _, f := range feeds {
		label := ""
		if j.fromFile {
			label = f.Table
		}
		f.progress = p.board.feed(label)
		if f.err != nil {
			j.stopped(ctx, f)
			f.sentAll()
			continue
		}
		working.Go(func() {
			defer f.sentAll()
			began := time.Now()
			running, stop := context.WithCancelCause(ctx)
			defer stop(nil)
			f.stop = stop
			f.err = f.explain(j.do(running, f))
			var tooMany *quarantineError
			if ctx.Err() == nil && errors.As(context.Cause(running), &tooMany) {
				f.err = tooMany // what was read before is committed
			}
			f.report.Seconds = time.Since(began).Seconds()
			j.stopped(ctx, f)
		})
	}
	working.Wait()
	return nil
}

// stopped tells at once what stopped a feed while others go on.
func (j *job) stopped(ctx context.Context, f *feed) {
	if j.endless && j.fromFile && f.err != nil && !interrupted(ctx, f.err) {
		f.progress.say("stopped: %v", f.err)
	}
}

// sentAll says that the feed sends nothing any more.
func (f *feed) sentAll() {
	f.settled.Do(func() {
		if done := f.process.sent[f.Topic.Topic]; done != nil && len(f.Sources) > 0 {
			close(done)
		}
	})
}

// open finds the feed's topic and opens its table.
func (f *feed) open(ctx context.Context, find func(context.Context) (broker.Topic, error)) (err error) {
	if err := f.unlock(); err != nil {
		return err
	}
	if f.topic, err = find(ctx); err != nil {
		return err
	}
	recipe, err := f.recipe(f.topic.Name, f.Transform)
	if err != nil {
		return err
	}
	f.table, err = sink.OpenTable(ctx, sink.TableConfig{
		Store: f.store, Name: f.Table, Feed: f.Table, Topic: f.topic.Name, Partitions: f.topic.Partitions, Shape: f.shape(), Config: recipe, Log: f.logger(),
	})
	if err != nil {
		return err
	}
	if f.registrar, err = f.Catalog.registrar(ctx, f.table, f.logger()); err != nil {
		return err
	}
	return f.openRaw(ctx)
}

// checkPin says which topic partitions there are when others are asked for.
func (f *feed) checkPin() error {
	for _, p := range f.Pin {
		if p < 0 || p >= f.topic.Partitions {
			return &usageError{fmt.Sprintf("--pin %d: topic %s has the topic partitions 0 to %d", p, f.topic.Name, f.topic.Partitions-1)}
		}
	}
	return nil
}

// openRaw opens the topic's raw zone, if there is to be one. Where there is one
// already, it is kept complete.
func (f *feed) openRaw(ctx context.Context) error {
	if f.store == nil {
		return nil
	}
	zone, err := raw.Open(f.store, f.topic.Name)
	if err != nil {
		return err
	}
	used := f.Copy
	if !used {
		if used, err = zone.Used(ctx); err != nil {
			return err
		}
	}
	if used {
		f.raw = zone
	}
	return nil
}

// producer is the producer that the settings ask for.
func (f *feed) producer(follow bool) *producer.Producer {
	return &producer.Producer{Config: producer.Config{
		Client: f.conn.client, Topic: f.topic, Sources: f.sources, Exclusive: f.conn.embedded != nil, Follow: follow, CSV: f.CSV.overrides(),
		HeadersEvery: f.Every, Pin: f.Pin, Raw: f.raw, Events: f.metrics.producer(f.Table, f.progress.producer()), Log: f.logger(),
	}}
}

// consumer is the consumer that the settings ask for.
func (f *feed) consumer() *consumer.Consumer {
	contract, _ := f.Schema.contract() // which was checked for the recipe
	messages, _ := f.Messages.messages()
	c := &consumer.Consumer{
		Contract: contract, Messages: messages, CSV: f.CSV.overrides(), Transform: f.Transform, Current: f.lookups(), Secret: maskKey,
		Client: f.conn.client, Topic: f.topic, Table: f.table, Raw: f.raw, FlushBytes: int(f.Flush.Size), FlushEvery: f.Flush.Every, Budget: f.budget, Meta: f.Meta,
		OnDataLoss: f.dataLoss(), AdoptNewLog: f.conn.embedded != nil,
		Events: f.metrics.consumer(f.Table, f.events()), Log: f.logger(),
	}
	if f.conn.embedded == nil {
		c.Group = f.group()
	}
	return c
}

// events are the consumer's, which stop the feed when too many rows go into quarantine.
func (f *feed) events() consumer.Events {
	events := f.progress.consumer()
	tell := events.Committed
	events.Committed = func(c consumer.Commit) {
		tell(c)
		f.progress.mu.Lock()
		rows, quarantined := f.progress.commit.Rows, f.progress.commit.Quarantined
		f.progress.mu.Unlock()
		if why := f.Quarantine.stops(rows, quarantined); why != "" {
			f.stop(&quarantineError{why + ", and the feed is stopped (--quarantine-on-exceed): lakefeed rejects " + f.Table + " shows them by cause"})
		}
	}
	return events
}

func (s *Sink) dataLoss() consumer.DataLoss {
	if s.OnDataLoss == "record" {
		return consumer.Record
	}
	return consumer.Halt
}

// ends are the offsets behind all that was sent, by topic partition. Topic
// partitions of another consumer are left to it; whether the rows are in the
// lake is then read from the chains.
func (f *feed) ends(ctx context.Context) (map[int]int64, error) {
	ends := map[int]int64{}
	for p := range f.topic.Partitions {
		_, end, err := f.conn.client.Offsets(ctx, f.topic.Name, p)
		if err != nil {
			return nil, err
		}
		ends[p] = end
	}
	return ends, nil
}

// registered keeps the table registered in the catalog until work is done.
func (f *feed) registered(ctx context.Context, work func() error) error {
	f.progress.committed = f.registrar.Changed
	defer keepRegistered(ctx, f.registrar)()
	return work()
}

// finish completes the report of what came to the lake, and gives the outcome of
// a run that ended with err.
func (f *feed) finish(ctx context.Context, err error) error {
	f.report.commits(f.progress)
	if err != nil && !interrupted(ctx, err) {
		return f.conn.explain(err)
	}
	// An interrupted run has drained: what it did is worth telling.
	if e := f.report.finish(context.WithoutCancel(ctx), f.registrar, f.Catalog); e != nil {
		return e
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	return f.conn.explain(f.report.verdict(&f.Quarantine))
}

func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
}

// feedErrors are what stopped each of several feeds.
type feedErrors []error

func (e feedErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\nlakefeed: ")
}

// feedReport is a feed's part of what a run of several prints as JSON.
type feedReport struct {
	*report
	ExitCode int    `json:"exit_code"`
	Error    string `json:"error,omitempty"`
}

// outcome prints what each feed did, and gives the run's error.
func (j *job) outcome(ctx context.Context, g *Globals, feeds []*feed) error {
	if !j.fromFile {
		return j.single(g, feeds[0])
	}
	var failed feedErrors
	reports := make([]feedReport, len(feeds))
	for i, f := range feeds {
		reports[i] = feedReport{report: f.report, ExitCode: exitCode(f.err)}
		switch {
		case f.err == nil:
		case errors.Is(f.err, context.Canceled) && ctx.Err() != nil:
			reports[i].Error = "interrupted"
		default:
			reports[i].Error = redacted(f.err.Error())
			failed = append(failed, fmt.Errorf("feed %s: %w", f.Table, f.err))
		}
	}
	if j.output.json() {
		err := writeJSON(g.stdout, struct {
			Feeds []feedReport `json:"feeds"`
		}{reports})
		if err != nil {
			return err
		}
	} else {
		between := ""
		for _, f := range feeds {
			if f.report.finished {
				io.WriteString(g.stdout, between)
				j.print(f.report, g.stdout)
				f.report.warn(g.stderr)
				between = "\n"
			}
		}
	}
	if len(failed) > 0 {
		return failed
	}
	if ctx.Err() != nil {
		return context.Canceled
	}
	return nil
}

// single is the outcome of a run of one feed that the command line named.
func (j *job) single(g *Globals, f *feed) error {
	if !f.report.finished {
		return f.err
	}
	if j.output.json() {
		if err := writeJSON(g.stdout, f.report); err != nil {
			return err
		}
	} else {
		j.print(f.report, g.stdout)
		f.report.warn(g.stderr)
	}
	return f.err
}
