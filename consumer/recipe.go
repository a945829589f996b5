package consumer

import (
	"context"
	"encoding/json"
	"fmt"

	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
)

// recipe is what decides how a row becomes a record.
type recipe struct {
	contract *schema.Contract // as the steps declare it
	steps    transform.Spec
	messages *Messages // of other makes
	csv      csv.Overrides
	masks    bool   // some column is masked: rows are not shown whole
	revision int    // of the steps
	config   []byte // text of the configuration; nil for the table's
	programs map[*schema.Schema]*transform.Program
	sound    *schema.Schema // the table's version that fits the steps
}

// newRecipe declares what the steps need of the feed's columns.
func newRecipe(contract *schema.Contract, steps transform.Spec) (*recipe, error) {
	declared, err := steps.Declare(contract)
	if err != nil {
		return nil, err
	}
	return &recipe{contract: declared, steps: steps, masks: steps.Masks(), programs: map[*schema.Schema]*transform.Program{}}, nil
}

// alike is a recipe of the same contract and steps, for another worker: a program is one
// worker's.
func (r *recipe) alike() *recipe {
	out := *r
	out.sound = nil
	out.programs = map[*schema.Schema]*transform.Program{}
	return &out
}

// Steps are the steps of a feed with the values that they look up, as they are at a
// moment of a run. Only these values ever change.
type Steps struct {
	Transform transform.Spec
	Config    []byte // full text of the configuration with these values
	Revision  int    // another for other values; 0 are those of Consumer.Transform and of the table's configuration
}

// refresh takes up the values that steps look up now, for the batch that is to be made
// into records.
func (w *worker) refresh() error {
	if w.c.Current == nil {
		return nil
	}
	now := w.c.Current()
	if now.Revision == w.recipe.revision {
		return nil
	}
	r, err := newRecipe(w.c.Contract, now.Transform)
	if err != nil {
		return err
	}
	r.messages, r.csv, r.revision, r.config = w.recipe.messages, w.recipe.csv, now.Revision, now.Config
	w.recipe, w.batch.recipe = r, r
	return nil
}

// keepConfig stores the configuration that the batch is made by, where that is not the
// table's, and gives the name by which its record refers to it.
func (w *worker) keepConfig(ctx context.Context) (hash string, err error) {
	if w.recipe.config == nil {
		return "", nil
	}
	if w.kept.table != w.table || w.kept.recipe != w.recipe {
		if hash, err = w.table.KeepConfig(ctx, w.recipe.config); err != nil {
			return "", err
		}
		w.kept.table, w.kept.recipe, w.kept.hash = w.table, w.recipe, hash
	}
	return w.kept.hash, nil
}

// program is the steps compiled for a version of the feed's columns.
func (r *recipe) program(feed *schema.Schema) (*transform.Program, error) {
	if p := r.programs[feed]; p != nil {
		return p, nil
	}
	p, err := transform.Compile(r.steps, feed)
	if err != nil {
		return nil, err
	}
	clear(r.programs) // of earlier versions, with their memory
	r.programs[feed] = p
	return p, nil
}

// evolve is the table's next version, for what a batch has shown of the feed's columns.
func (r *recipe) evolve(table *schema.Schema, seen []schema.Seen) (next *schema.Schema, changed bool, err error) {
	feed, changed := schema.Evolve(table.Feed(), seen, r.contract)
	if len(r.steps) == 0 || feed == nil {
		return feed, changed, nil
	}
	if !changed && table != nil && table == r.sound {
		return table, false, nil
	}
	late := lateColumns(table.Feed(), feed)
	as := make([]schema.Late, len(late))
	next, isNew, err := r.derive(table, feed, late, as, changed)
	if err == nil || len(late) == 0 {
		return next, isNew, err
	}
	for _, level := range []schema.Late{schema.LateMisfit, schema.LateUntyped} {
		for i := range as {
			as[i] = level
		}
		if _, _, e := r.derive(table, feed, late, as, changed); e != nil {
			continue
		}
		// Not all of them have to be: steps should see of each what they can.
		for i := range as {
			for as[i] = schema.NotLate; as[i] < level; as[i]++ {
				if _, _, e := r.derive(table, feed, late, as, changed); e == nil {
					break
				}
			}
		}
		return r.derive(table, feed, late, as, changed)
	}
	return nil, false, err
}

// derive is the table's next version, for columns of the feed, some of which are late.
func (r *recipe) derive(table, feed *schema.Schema, late []string, as []schema.Late, changed bool) (next *schema.Schema, isNew bool, err error) {
	feed, marked := feed.WithLate(late, as)
	if marked && !changed {
		feed.Version, feed.Previous, feed.Changes = table.Version+1, table.Version, nil
	}
	p, err := r.program(feed)
	if err != nil {
		return nil, false, err
	}
	next, isNew, err = schema.Derive(table, feed, changed || marked, p.Fields())
	if err == nil {
		r.sound = next
	}
	return next, isNew, err
}

// lateColumns are the feed's columns whose type was decided when the table had columns,
// and of those decided before the ones that do not fit the steps.
func lateColumns(before, now *schema.Schema) (names []string) {
	if before == nil {
		return nil
	}
	for _, f := range now.Fields {
		was, known := before.Field(f.Name)
		if f.Late != schema.NotLate || known && was.Type.Kind == schema.Unknown && f.Type.Kind != schema.Unknown {
			names = append(names, f.Name)
		}
	}
	return names
}

// Evolve is the first version of a table's columns, of what a sample has shown of the
// feed's: changed is false where that is nothing. The error is transform.Faults, or a
// *schema.ContractError.
func Evolve(contract *schema.Contract, steps transform.Spec, seen func(*schema.Contract) ([]schema.Seen, error)) (first *schema.Schema, changed bool, err error) {
	r, err := newRecipe(contract, steps)
	if err != nil {
		return nil, false, err
	}
	columns, err := seen(r.contract)
	if err != nil {
		return nil, false, err
	}
	return r.evolve(nil, columns)
}

// mostRecipes is how many configurations of records are kept in memory, each with the
// values that its steps look up.
const mostRecipes = 8

// recipeOf is what a record was made by, from the configuration that it refers to: one
// JSON object with the contract as "schema", the steps as "transform", and so on.
func (w *worker) recipeOf(ctx context.Context, rows *sink.Record) (*recipe, error) {
	if r, ok := w.recipes[rows.Config]; ok {
		return r, nil
	}
	text, err := w.table.Config(ctx, rows.Config)
	if err != nil {
		return nil, err
	}
	var config struct {
		Schema    *schema.Contract `json:"schema"`
		Transform transform.Spec   `json:"transform"`
		Messages  *Messages        `json:"messages"`
		CSV       csv.Overrides    `json:"csv"`
	}
	wrong := func(err error) error {
		return fmt.Errorf("read configuration %s of record %d: %w", rows.Config, rows.Seq, err)
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, wrong(err)
	}
	if err := w.c.unlock(config.Transform); err != nil {
		return nil, wrong(err)
	}
	r, err := newRecipe(config.Schema, config.Transform)
	if err != nil {
		return nil, wrong(err)
	}
	r.messages, r.csv = config.Messages, config.CSV
	if w.recipes == nil || len(w.recipes) == mostRecipes {
		w.recipes = map[string]*recipe{}
	}
	w.recipes[rows.Config] = r
	return r, nil
}

// unlock finds the keys of the steps of a stored configuration.
func (c *Consumer) unlock(steps transform.Spec) error {
	for _, step := range steps {
		if step.Key == nil || step.Key.Print == "" {
			continue
		}
		if c.Secret == nil {
			return fmt.Errorf("the key that masks %v is needed, and there is none", step.Mask)
		}
		secret, err := c.Secret(*step.Key)
		if err != nil {
			return err
		}
		if transform.KeyPrint(secret) != step.Key.Print {
			return fmt.Errorf("the key of its masks is another than it was: its print is %s, and was %s", transform.KeyPrint(secret), step.Key.Print)
		}
		step.Key.Secret = secret
	}
	return nil
}
