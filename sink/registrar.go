package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"lakefeed/schema/fault"
)

// RegistrarEvents are told how registration goes; a nil func is not told.
type RegistrarEvents struct {
	// Registered: the catalog has all that the lake had when the pass began.
	Registered func(Registration)
	// Failed: a pass has failed, so many in a row. It is repeated.
	Failed func(tries int, err error)
}

// Registration is what one pass has done.
type Registration struct {
	Snapshot   Snapshot
	Tables     int      // created or changed, the quarantine table too
	Partitions int      // added or changed
	Hidden     []string // folders that readers do not find by partition projection
	Projected  int64    // partitions that readers work out by it, and look for; 0 without it
}

// Registrar keeps a table and its quarantine table registered in a catalog. It is
// a loop, not an event: each pass compares what the lake has with what the catalog
// has, whoever brought either about, until nothing is left to do. Any number may
// work on one table. A catalog that is out of reach holds up nothing but itself.
type Registrar struct {
	Table   *Table
	Catalog Catalog
	// Project describes the table's partitions to readers instead of registering
	// them one by one.
	Project bool
	// Every is the least time between two passes of Run; 0: 2 s.
	Every  time.Duration
	Log    *slog.Logger
	Events RegistrarEvents

	projector *Projector
	rested    int64                                  // the swap whose bridge was left alone for a while
	swap      int64                                  // the generation's, as of the last pass
	known     map[string]map[string]CatalogPartition // by table and key: what the catalog has
	changed   chan struct{}
	once      sync.Once
}

// registerEvery is how soon after a commit the catalog says so.
const registerEvery = 2 * time.Second

func (r *Registrar) begin() {
	r.once.Do(func() {
		if r.Every == 0 {
			r.Every = registerEvery
		}
		if r.Log == nil {
			r.Log = slog.New(slog.DiscardHandler)
		}
		r.changed = make(chan struct{}, 1)
		r.changed <- struct{}{} // whatever the last run left
	})
}

// Changed says that the lake has changed. It may be called from any goroutine and
// does not wait.
func (r *Registrar) Changed() {
	r.begin()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run registers the table, and again after each Changed, until ctx ends. It gives
// no error: one of a pass goes to the log and to Events, and the pass is repeated.
func (r *Registrar) Run(ctx context.Context) {
	r.begin()
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		}
		done, err := r.settle(ctx)
		pause := r.Every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			tries++
			level := slog.LevelDebug
			if tries == 1 {
				level = slog.LevelWarn
			}
			r.Log.Log(ctx, level, "table not registered, trying again; commits go on", "table", r.Table.name, "catalog", r.Catalog.String(), "tries", tries, "err", err)
			if r.Events.Failed != nil {
				r.Events.Failed(tries, err)
			}
			r.Changed()
			pause = max(pause, backoff(tries))
		default:
			if tries > 0 {
				r.Log.Info("table registered after all", "table", r.Table.name, "catalog", r.Catalog.String(), "tries", tries)
			}
			tries = 0
			if r.Events.Registered != nil {
				r.Events.Registered(done)
			}
		}
		if r.Table.sleep(ctx, pause) != nil {
			return
		}
	}
}

// Register gives up after so many tries, or when a try has failed after so long: a
// catalog that does not answer was asked patiently each time.
const (
	registerTries = 8
	registerFor   = 30 * time.Second
)

// Register registers what the lake has now. Not while Run does.
func (r *Registrar) Register(ctx context.Context) (Registration, error) {
	r.begin()
	var foreign *ForeignTableError
	var broken *ChainError
	began := r.Table.now()
	for try := 1; ; try++ {
		done, err := r.settle(ctx)
		if err == nil || final(err) || errors.As(err, &foreign) || errors.As(err, &broken) || ctx.Err() != nil || try == registerTries || r.Table.now().Sub(began) > registerFor {
			return done, err
		}
		if e := r.Table.sleep(ctx, backoff(try)); e != nil {
			return done, errors.Join(err, e)
		}
	}
}

// maxPasses is how often a registrar looks again at once because others have
// changed the catalog or the lake meanwhile.
const maxPasses = 20

// settle makes passes until one has nothing to do. What it wrote last was then
// right after it was written: a partition that it put over a newer one is mended.
func (r *Registrar) settle(ctx context.Context) (done Registration, err error) {
	var last error
	for range maxPasses {
		pass, err := r.pass(ctx)
		done.Tables += pass.Tables
		done.Partitions += pass.Partitions
		done.Snapshot, done.Hidden, done.Projected = pass.Snapshot, pass.Hidden, pass.Projected
		if err == nil && pass.Tables+pass.Partitions == 0 {
			for p, at := range r.projector.at {
				r.Table.registered.reach(p, at.seq)
			}
			return done, nil
		}
		if err == nil {
			continue
		}
		clear(r.known)
		last = err
		if errors.Is(err, errOnBridge) {
			if err := r.Table.sleep(ctx, bridgeRest); err != nil {
				return done, errors.Join(err, last)
			}
			r.rested = r.swap
			continue
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotExist) {
			return done, err
		}
		// Others are at work: see what they did.
		if err := r.Table.sleep(ctx, backoff(1)); err != nil {
			return done, errors.Join(err, last)
		}
	}
	return done, fmt.Errorf("register table %s in %s: it does not come to rest: %w", r.Table.name, r.Catalog, last)
}

// pass looks at the lake and the catalog once and does what is to be done.
func (r *Registrar) pass(ctx context.Context) (done Registration, err error) {
	if err := r.follow(ctx); err != nil {
		return done, err
	}
	s, err := r.projector.Snapshot(ctx)
	if err != nil {
		return done, err
	}
	done.Snapshot = s
	t := r.projector.table
	quarantine := CatalogTable{Name: t.name + quarantineSuffix, Location: t.QuarantineFolder(), Columns: QuarantineTypes(), Lake: t.lake, Swap: r.swap, Generation: t.generation}
	if _, err := r.table(ctx, quarantine, nil, nil, &done); err != nil {
		return done, err
	}
	if s.SchemaVersion == 0 {
		return done, nil // there is no row yet, so no column
	}
	main := CatalogTable{
		Name: t.name, Location: t.Folder(), Columns: s.Columns, PartitionBy: s.PartitionBy,
		Lake: t.lake, Swap: r.swap, Generation: t.generation, SchemaVersion: s.SchemaVersion,
	}
	if len(s.PartitionBy) == 0 {
		_, err = r.table(ctx, main, nil, nil, &done)
		return done, err
	}
	if r.Project {
		if main.Projection, done.Hidden, err = project(s.PartitionBy, s.Partitions); err != nil {
			return done, fmt.Errorf("register table %s in %s: %w", t.name, r.Catalog, err)
		}
		done.Projected = combinations(main.Projection)
		_, err = r.table(ctx, main, nil, nil, &done)
		return done, err
	}
	partitions, err := r.partitions(ctx, &s)
	if err != nil {
		return done, err
	}
	_, err = r.table(ctx, main, partitions, func(ctx context.Context, main CatalogTable) error {
		return r.putPartitions(ctx, main, partitions, &done)
	}, &done)
	return done, err
}

// follow turns to the generation that is live.
func (r *Registrar) follow(ctx context.Context) error {
	swap, live, err := r.Table.newestSwap(ctx)
	if err != nil {
		return fmt.Errorf("register table %s: %w", r.Table.name, err)
	}
	if swap < 0 {
		swap, live = 0, r.Table.generation
	}
	if r.projector != nil && r.projector.table.generation == live {
		r.swap = swap
		return nil
	}
	t := r.Table
	if t.generation != live {
		if t, err = ReadTable(ctx, r.Table.store, r.Table.name); err != nil {
			return err
		}
	}
	r.swap, r.projector = swap, NewProjector(t)
	return nil
}

// table brings a table of the catalog up to want, and what belongs to it: after
// the table, but before it when the table turns to another generation, or from
// projected partitions to these, which have to be there first. A catalog that can do
// both in one step does; with another, readers go over a bridge where there can be one.
func (r *Registrar) table(ctx context.Context, want CatalogTable, partitions []CatalogPartition, rest func(context.Context, CatalogTable) error, done *Registration) (CatalogTable, error) {
	if rest == nil {
		rest = func(context.Context, CatalogTable) error { return nil }
	}
	have, err := r.Catalog.Table(ctx, want.Name)
	if errors.Is(err, ErrNotExist) {
		if err := fault.At(ctx, fault.CatalogWrite); err != nil {
			return want, err
		}
		if err := r.Catalog.CreateTable(ctx, want); err != nil {
			return want, err
		}
		delete(r.known, want.Name)
		done.Tables++
		return want, rest(ctx, want)
	}
	if err != nil {
		return want, err
	}
	joined, stale, err := join(r.Catalog.String(), &have, &want)
	if err != nil {
		return want, err
	}
	if stale { // another registrar has seen more, and what it saw is in the lake
		return want, fmt.Errorf("%w: it has schema version %d of generation %d there, and %d of %d in the lake", ErrConflict, have.SchemaVersion, have.Generation, want.SchemaVersion, want.Generation)
	}
	flips := have.Swap < joined.Swap
	partitionsFirst := flips || len(have.Projection) > 0 && len(joined.Projection) == 0
	if replacer, ok := r.Catalog.(CatalogReplacer); ok && flips && have.Generation != joined.Generation {
		if err := fault.At(ctx, fault.CatalogWrite); err != nil {
			return want, err
		}
		if err := replacer.ReplaceTable(ctx, joined, partitions); err != nil {
			return want, err
		}
		delete(r.known, want.Name)
		done.Tables++
		return joined, nil
	}
	if len(have.Projection) > 0 && partitionsFirst && !flips && r.rested < r.swap {
		return want, errOnBridge
	}
	if flips && have.Generation != joined.Generation {
		if over := bridge(&joined, partitions); over != nil {
			joined = *over // the next pass goes on
			partitionsFirst, rest = false, nil
		}
	}
	if partitionsFirst {
		if err := rest(ctx, joined); err != nil {
			return want, err
		}
	}
	if !joined.same(&have) {
		if err := fault.At(ctx, fault.CatalogWrite); err != nil {
			return want, err
		}
		if err := r.Catalog.UpdateTable(ctx, joined); err != nil {
			return want, err
		}
		done.Tables++
	}
	if partitionsFirst || rest == nil {
		return joined, nil
	}
	return joined, rest(ctx, joined)
}

// partitions are the partitions that the catalog should have.
func (r *Registrar) partitions(ctx context.Context, s *Snapshot) ([]CatalogPartition, error) {
	t := r.projector.table
	columns := map[int64][]NamedType{} // partitions of one version share them
	out := make([]CatalogPartition, 0, len(s.Partitions))
	for _, p := range s.Partitions {
		types, ok := columns[p.SchemaVersion]
		if !ok {
			version, err := t.Schemas().Get(ctx, p.SchemaVersion)
			if err != nil {
				return nil, err
			}
			types = t.fileTypes(version, s.PartitionBy)
			columns[p.SchemaVersion] = types
		}
		c := CatalogPartition{Location: p.Location, Columns: types, Swap: r.swap, SchemaVersion: p.SchemaVersion}
		for _, v := range p.Values {
			if v.Null || v.Value == "" {
				v.Value = DefaultPartition
			}
			c.Values = append(c.Values, v.Value)
		}
		out = append(out, c)
	}
	return out, nil
}

// putPartitions adds the partitions that the catalog lacks and changes those that
// are behind.
func (r *Registrar) putPartitions(ctx context.Context, t CatalogTable, want []CatalogPartition, done *Registration) error {
	known, err := r.knownPartitions(ctx, t.Name)
	if err != nil {
		return err
	}
	var add, change []CatalogPartition
	for _, w := range want {
		switch have, ok := known[w.key()]; {
		case !ok:
			add = append(add, w)
		case !w.behind(&have) && !w.same(&have):
			change = append(change, w)
		}
	}
	turn, drop := r.left(t, want, known)
	change = append(change, turn...)
	there := 0
	if len(add) > 0 {
		if there, err = r.Catalog.AddPartitions(ctx, t, add); err != nil {
			return err
		}
	}
	if len(change) > 0 {
		if err := r.Catalog.UpdatePartitions(ctx, t, change); err != nil {
			return err
		}
	}
	if len(drop) > 0 {
		if err := r.Catalog.DeletePartitions(ctx, t, drop); err != nil {
			return err
		}
	}
	for _, p := range append(change, add...) {
		known[p.key()] = p
	}
	for _, p := range drop {
		delete(known, p.key())
	}
	if there > 0 { // another registrar added them, who knew more or less of them
		delete(r.known, t.Name)
	}
	done.Partitions += len(add) + len(change) + len(drop)
	return nil
}

// left are the partitions that an earlier generation had and this one has not. They
// are turned to folders of this one, which are empty; those whose values are none of
// the partition columns' types any more, which a reader could not read, are dropped.
func (r *Registrar) left(t CatalogTable, want []CatalogPartition, known map[string]CatalogPartition) (turn, drop []CatalogPartition) {
	wanted := make(map[string]bool, len(want))
	for i := range want {
		wanted[want[i].key()] = true
	}
	for key, have := range known {
		if wanted[key] || have.Swap >= r.swap || len(have.Values) != len(t.PartitionBy) {
			continue
		}
		values, fits := make([]PartitionValue, len(have.Values)), true
		for i, v := range have.Values {
			values[i] = PartitionValue{Column: t.PartitionBy[i].Name, Value: v, Null: v == DefaultPartition}
			fits = fits && values[i].fits(t.PartitionBy[i].Type)
		}
		location := t.Location + "/" + PartitionPath(values)
		switch {
		case !fits:
			drop = append(drop, have)
		case location != have.Location:
			have.Location, have.Swap = location, r.swap
			turn = append(turn, have)
		}
	}
	return turn, drop
}

// knownPartitions are the catalog's partitions of a table, by key. They are read
// once, and again when others were at work.
func (r *Registrar) knownPartitions(ctx context.Context, table string) (map[string]CatalogPartition, error) {
	if known, ok := r.known[table]; ok {
		return known, nil
	}
	known := map[string]CatalogPartition{}
	for p, err := range r.Catalog.Partitions(ctx, table) {
		if err != nil {
			return nil, err
		}
		known[p.key()] = p
	}
	if r.known == nil {
		r.known = map[string]map[string]CatalogPartition{}
	}
	r.known[table] = known
	return known, nil
}

// cursors are, by topic partition, the records through which the catalog is known
// to be up to date. They are a hint: a registrar reads the chains.
type cursors struct {
	mu      sync.Mutex
	through map[int]int64
}

func (c *cursors) of(partition int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.through[partition]
}

// reach says that records up to seq are registered.
func (c *cursors) reach(partition int, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.through == nil {
		c.through = map[int]int64{}
	}
	c.through[partition] = max(c.through[partition], seq+1)
}
