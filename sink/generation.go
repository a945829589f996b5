package sink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lakefeed/schema/fault"
)

// buildObject is the claim of a generation's number, and what its files have in
// common.
type buildObject struct {
	V       int              `json:"v"`
	Shape   Shape            `json:"shape"`
	Config  string           `json:"config"` // hash
	Text    string           `json:"text"`
	Schema  int64            `json:"schema"`
	Purpose string           `json:"purpose"` // first or rebuild
	From    map[string]int64 `json:"from,omitempty"`
	At      time.Time        `json:"at,omitzero"`
}

// The purposes of a build.
const (
	purposeFirst   = "first"
	purposeRebuild = "rebuild"
)

// outcomeObject says which generation is live since a swap; number 0 is the first
// build.
type outcomeObject struct {
	V         int       `json:"v"`
	Live      int       `json:"live"`
	Cancelled bool      `json:"cancelled,omitempty"`
	Now       bool      `json:"now,omitempty"` // it had not caught up
	At        time.Time `json:"at,omitzero"`
}

// Live says which generation of a table is live, and since which swap.
type Live struct {
	Swap       int64 // number of the newest swap that has its outcome; 0 is the first build
	Generation int
	At         time.Time // when it became so; zero where that is not known
	Cancelled  bool      // the swap was, and the generation is the one before
	Now        bool      // the swap did not wait until the generation had caught up
}

func (t *Table) outcomeKey(swap int64) string {
	return t.root() + "generations/" + number(swap) + ".json"
}

// outcome reads one outcome.
func (t *Table) outcome(ctx context.Context, swap int64) (Live, error) {
	var out outcomeObject
	key := t.outcomeKey(swap)
	if err := t.read(ctx, key, &out); err != nil {
		return Live{}, err
	}
	if out.Live < 1 {
		return Live{}, fmt.Errorf("read %s: generation %d is live, which there is none of", key, out.Live)
	}
	return Live{Swap: swap, Generation: out.Live, At: out.At, Cancelled: out.Cancelled, Now: out.Now}, nil
}

// newestSwap is the number of the newest swap of generations that has its outcome,
// and the generation that is live since; -1 when there was none, not even the first
// build.
func (t *Table) newestSwap(ctx context.Context) (swap int64, live int, err error) {
	folder := t.root() + "generations/"
	key, err := t.newest(ctx, folder)
	if err != nil || key == "" {
		return -1, 0, err
	}
	swap, _ = numberOf(key, folder)
	out, err := t.outcome(ctx, swap)
	if err != nil {
		return -1, 0, err
	}
	return swap, out.Generation, nil
}

// History gives what was live, from the first build to now.
func (t *Table) History(ctx context.Context) ([]Live, error) {
	last, _, err := t.newestSwap(ctx)
	if err != nil {
		return nil, err
	}
	if last < 0 {
		return []Live{{Generation: 1}}, nil
	}
	out := make([]Live, 0, last+1)
	for m := range last + 1 {
		one, err := t.outcome(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("read the generations of %s: %w", t.name, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// At gives the table as one of its generations, as it is now, to be read.
func (t *Table) At(ctx context.Context, generation int) (*Table, error) {
	return t.in(ctx, generation)
}

// Current gives the table as the generation that is live now, to be read.
func (t *Table) Current(ctx context.Context) (*Table, error) {
	_, live, err := t.newestSwap(ctx)
	if err != nil || live == 0 || live == t.generation {
		return t, err
	}
	return t.in(ctx, live)
}

// in gives the table as one of its generations, with its shape and its topic
// partitions as they are now.
func (t *Table) in(ctx context.Context, generation int) (*Table, error) {
	g := t.sibling(generation)
	var build buildObject
	err := g.read(ctx, g.generationRoot()+"build.json", &build)
	if errors.Is(err, ErrNotExist) {
		return nil, &PositionError{fmt.Sprintf("table %s has no generation %d", t.name, generation)}
	}
	if err != nil {
		return nil, fmt.Errorf("open generation %d of table %s: %w", generation, t.name, err)
	}
	set, err := g.set(ctx)
	if err != nil {
		return nil, fmt.Errorf("open generation %d of table %s: %w", generation, t.name, err)
	}
	g.shape, g.partitions = build.Shape, set.count
	return g, nil
}

// sibling is the table as another generation, of which nothing was read.
func (t *Table) sibling(generation int) *Table {
	g := &Table{
		store: t.store, name: t.name, topic: t.topic, lake: t.lake, generation: generation, shape: t.shape, config: t.config, text: t.text,
		log: t.log, events: t.events, now: t.now, sleep: t.sleep, checkpointEvery: t.checkpointEvery,
	}
	g.schemas = &SchemaLog{table: g}
	return g
}

// writable gives the table as one of its generations, to be written with the present
// configuration. A *ShapeError says that its files have another shape.
func (t *Table) writable(ctx context.Context, generation int) (*Table, error) {
	g, err := t.in(ctx, generation)
	if err != nil {
		return nil, err
	}
	if !g.shape.equal(t.shape) {
		return nil, &ShapeError{Table: t.name, Have: g.shape, Want: t.shape}
	}
	return g, g.keepConfig(ctx)
}

// KeepConfig stores another configuration than the table was opened with, to which
// records may refer by the hash that it gives.
func (t *Table) KeepConfig(ctx context.Context, text []byte) (hash string, err error) {
	other := t.sibling(t.generation)
	other.configure(text)
	return other.config, other.keepConfig(ctx)
}

// keepConfig stores the configuration that the table's records will refer to.
func (t *Table) keepConfig(ctx context.Context) error {
	return t.ensure(ctx, t.generationRoot()+"config/"+t.config+".json", &configObject{}, configObject{V: formatVersion, Text: t.text})
}

// BuildConfig says what a new generation is to be.
type BuildConfig struct {
	Shape      Shape
	Config     []byte // full text of the configuration
	Partitions int    // of the topic
	// From are the first offsets of the topic, by topic partition.
	From map[string]int64
}

// Build claims the number of a new generation, or finds the one of a build with the
// same configuration that was begun and has neither been live nor been given up.
// The table that it gives writes that generation.
func (t *Table) Build(ctx context.Context, c BuildConfig) (g *Table, resumed bool, err error) {
	g, resumed, err = t.build(ctx, c)
	if err != nil {
		return nil, false, fmt.Errorf("begin a new generation of table %s: %w", t.name, err)
	}
	return g, resumed, nil
}

func (t *Table) build(ctx context.Context, c BuildConfig) (*Table, bool, error) {
	with := t.sibling(t.generation)
	with.shape = c.Shape
	with.configure(c.Config)
	history, err := t.History(ctx)
	if err != nil {
		return nil, false, err
	}
	wasLive := map[int]bool{}
	for _, l := range history {
		wasLive[l.Generation] = true
	}
	newest, found := 0, false
	for n := 1; ; n++ {
		claim := with.sibling(n)
		var build buildObject
		err := claim.read(ctx, claim.generationRoot()+"build.json", &build)
		if err == nil {
			gone, err := claim.givenUp(ctx)
			if err != nil {
				return nil, false, err
			}
			newest, found = n, build.Purpose == purposeRebuild && !wasLive[n] && !gone && build.Shape.equal(c.Shape) && build.Config == with.config
			continue
		}
		if !errors.Is(err, ErrNotExist) {
			return nil, false, err
		}
		if found {
			break
		}
		b, err := json.Marshal(buildObject{V: formatVersion, Shape: c.Shape, Config: with.config, Text: with.text, Schema: 1, Purpose: purposeRebuild, From: c.From, At: t.now().UTC()})
		if err != nil {
			return nil, false, err
		}
		if err := fault.At(ctx, fault.BuildClaim); err != nil {
			return nil, false, err
		}
		err = t.create(ctx, claim.generationRoot()+"build.json", b)
		if errors.Is(err, ErrExists) {
			n-- // another's, or our own: look at it
			continue
		}
		if err != nil {
			return nil, false, err
		}
		if err := fault.At(ctx, fault.BuildClaimed); err != nil {
			return nil, false, err
		}
		newest = n
		break
	}
	g, err := with.writable(ctx, newest)
	if err == nil {
		err = g.extendSet(ctx, c.Partitions)
	}
	return g, found, err
}

// GiveUp marks the table's generation, which was never live, as one that nobody goes
// on with.
func (t *Table) GiveUp(ctx context.Context) error {
	var mark givenUpObject
	if err := t.ensure(ctx, t.generationRoot()+"given-up.json", &mark, givenUpObject{V: formatVersion, At: t.now().UTC()}); err != nil {
		return fmt.Errorf("give up generation %d of table %s: %w", t.generation, t.name, err)
	}
	return nil
}

type givenUpObject struct {
	V  int       `json:"v"`
	At time.Time `json:"at"`
}

func (t *Table) givenUp(ctx context.Context) (bool, error) {
	_, err := t.store.Stat(ctx, t.generationRoot()+"given-up.json")
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Unfinished is the newest generation that was begun, and has neither been live nor
// been given up; nil when there is none.
func (t *Table) Unfinished(ctx context.Context) (*Table, error) {
	history, err := t.History(ctx)
	if err != nil {
		return nil, err
	}
	wasLive := map[int]bool{}
	for _, l := range history {
		wasLive[l.Generation] = true
	}
	var found *Table
	for n := 1; ; n++ {
		g, err := t.in(ctx, n)
		var none *PositionError
		if errors.As(err, &none) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		found = nil
		gone, err := g.givenUp(ctx)
		if err != nil {
			return nil, err
		}
		if !wasLive[n] && !gone {
			found = g
		}
	}
}

// LastConfig is the configuration that the table was last written with.
func (t *Table) LastConfig(ctx context.Context) ([]byte, error) {
	var newest *Record
	for p := range t.partitions {
		last, err := t.lastSeq(ctx, p)
		if err != nil {
			return nil, err
		}
		for seq := last; seq >= 0; seq-- {
			r, err := t.record(ctx, p, seq)
			if err != nil {
				return nil, err
			}
			if r.Kind != KindRows {
				continue
			}
			if newest == nil || r.At.After(newest.At) {
				newest = r
			}
			break
		}
	}
	if newest == nil || newest.Config == "" {
		return t.BuildText(ctx)
	}
	return t.Config(ctx, newest.Config)
}

// BuildText is the configuration that the generation was begun with.
func (t *Table) BuildText(ctx context.Context) ([]byte, error) {
	var build buildObject
	if err := t.read(ctx, t.generationRoot()+"build.json", &build); err != nil {
		return nil, fmt.Errorf("open generation %d of table %s: %w", t.generation, t.name, err)
	}
	return []byte(build.Text), nil
}

// AsBuilt gives the table as one of its generations, to be written with the
// configuration that it was begun with.
func (t *Table) AsBuilt(ctx context.Context, generation int) (*Table, error) {
	g, err := t.in(ctx, generation)
	if err != nil {
		return nil, err
	}
	text, err := g.BuildText(ctx)
	if err != nil {
		return nil, err
	}
	g.configure(text)
	return g, g.keepConfig(ctx)
}

// configure sets the configuration that records refer to.
func (t *Table) configure(text []byte) {
	sum := sha256.Sum256(text)
	t.text, t.config = string(text), hex.EncodeToString(sum[:])
}
