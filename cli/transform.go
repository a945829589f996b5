package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"lakefeed/cli/config"
	"lakefeed/consumer/transform"
	"lakefeed/sink"
)

// checkTransform adds the faults of the feed's steps, and reads the files in which they
// look values up. Paths are relative to the configuration's folder.
func (f *feedSettings) checkTransform(doc *config.Document, path func(string) string) {
	for _, step := range f.Transform {
		for _, name := range sortedKeys(step.Map) {
			l := step.Map[name]
			if l == nil || l.File == "" || l.Values != nil {
				continue
			}
			if l.Value == "" {
				continue // which is a fault of the step
			}
			if err := readLookup(l, name, path(l.File)); err != nil {
				doc.Fault(&l.File, "", "map of %s: %v", name, err)
				l.Values, l.SHA256 = map[string]transform.Literal{}, "unread" // for the rest to be checked
			}
		}
		if step.Key != nil && step.Key.File != "" {
			step.Key.File = path(step.Key.File)
		}
	}
	contract, _ := f.Schema.build()
	_, err := f.Transform.Declare(contract)
	addFaults(doc, f.Transform, err)
}

// addFaults adds the faults of a list of steps to those of its file, and says whether
// they were of it.
func addFaults(doc *config.Document, steps transform.Spec, err error) bool {
	var faults transform.Faults
	if !errors.As(err, &faults) {
		return false
	}
	for _, one := range faults {
		message := one.Message
		if one.Text != "" {
			doc.TextFault(one.Of, one.Key, one.Text, one.Offset, one.Width, one.Hint, "%s", message)
			continue
		}
		if step, ok := one.Of.(*transform.Step); ok && slices.Contains(steps, step) {
			if one.Bare && doc.HasUnknown(step) {
				continue // one of the unknown keys was to be the verb
			}
			doc.Fault(step, one.Hint, "%s", message)
			continue
		}
		if one.Key != "" && doc.HasEntry(one.Of, one.Key) {
			doc.EntryFault(one.Of, one.Key, one.Hint, "%s", message)
			continue
		}
		doc.Fault(one.Of, one.Hint, "%s", message)
	}
	return true
}

// explain shows the faults of a feed's steps in the file that has them.
func (s *Settings) explain(err error) error {
	if s.doc == nil {
		return err
	}
	doc := s.doc.Clean()
	if !addFaults(doc, s.Transform, err) {
		return err
	}
	return doc.Err()
}

// stepsChanged says whether a table of so many rows was last written with other steps.
func stepsChanged(ctx context.Context, table *sink.Table, steps transform.Spec, rows int64) (bool, error) {
	latest, err := table.Schemas().Latest(ctx)
	if err != nil || latest == nil || rows == 0 || len(steps) == 0 && latest.Source == nil {
		return false, err
	}
	before, err := lastSteps(ctx, table)
	return err == nil && !sameSteps(before, steps), err
}

// lastSteps are those that a table was last written with.
func lastSteps(ctx context.Context, table *sink.Table) (transform.Spec, error) {
	text, err := table.LastConfig(ctx)
	if err != nil {
		return nil, err
	}
	return stepsOf(text)
}

// warnOfSteps tells that a table will have rows that different steps have made. A run
// without a configuration cannot mean that: it would show what masks hide, bring columns
// back that were left out, and be the configuration of the next rebuild.
func (f *feed) warnOfSteps(ctx context.Context) error {
	changed, err := stepsChanged(ctx, f.table, f.Transform, 1)
	if err == nil && changed {
		if f.doc == nil {
			before, err := lastSteps(ctx, f.table)
			switch {
			case err != nil:
				return err
			case before.Masks():
				return &usageError{fmt.Sprintf("table %s has masks in its configuration, and this run has no configuration: what they hide would be in the table. Name it with -c FILE (--feed %s)", f.Table, f.Table)}
			}
			return &usageError{fmt.Sprintf("table %s was last written with the steps of a configuration, and this run has no configuration: its rows would be in the table as the feed has them. Name it with -c FILE (--feed %s); one without transform: takes them so", f.Table, f.Table)}
		}
		f.progress.say("warning: the steps of table %s are not those that it was written with: rows of before stay as they were made, until lakefeed rebuild %s makes all of them by these", f.Table, f.Table)
	}
	return err
}

// unlock finds the keys of the feed's masks.
func (s *Settings) unlock() error {
	for _, step := range s.Transform {
		if !step.Hashes() {
			continue
		}
		if step.Key == nil {
			step.Key = &transform.Key{Env: transform.DefaultKeyEnv}
		}
		secret, err := maskKey(*step.Key)
		if err != nil {
			return err
		}
		step.Key.Secret, step.Key.Print = secret, transform.KeyPrint(secret)
	}
	return nil
}

// maskKey reads the key of a mask.
func maskKey(k transform.Key) ([]byte, error) {
	if k.File != "" {
		text, err := os.ReadFile(k.File)
		if err != nil {
			return nil, &usageError{"read the key that masks values: " + err.Error()}
		}
		return checkKey("file "+k.File, strings.TrimSpace(string(text)))
	}
	return checkKey("environment variable "+k.Env, os.Getenv(k.Env))
}

func checkKey(where, text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, &usageError{fmt.Sprintf("the key that masks values is to be in %s, which is empty: make one with openssl rand -hex 32, and keep it", where)}
	case len(text) < transform.MinKey:
		return nil, &usageError{fmt.Sprintf("the key that masks values, in %s, has %d characters, and %d are the least: make one with openssl rand -hex 32", where, len(text), transform.MinKey)}
	}
	return []byte(text), nil
}
