package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"lakefeed/consumer"
	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
)

// maxLookup is the largest file that values are looked up in, in bytes: all of it is
// held in memory, and is a part of the configuration that records refer to.
const maxLookup = 16 << 20

// readLookup fills a lookup from its file.
func readLookup(l *transform.Lookup, column, path string) error {
	l.Path = path
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the file of its values: %w", err)
	}
	if info.Size() > maxLookup {
		return fmt.Errorf("read %s: it has %s, and %s are the most for values to look up", path, bytesText(info.Size()), bytesText(maxLookup))
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the file of its values: %w", err)
	}
	key := l.Key
	if key == "" {
		key = column
	}
	values := map[string]transform.Literal{}
	var twice string
	add := func(k, v []byte) {
		if k == nil || v == nil {
			return
		}
		if before, ok := values[string(k)]; ok && string(before) != string(v) && twice == "" {
			twice = string(k)
		}
		values[string(k)] = transform.Literal(v)
	}
	if strings.HasPrefix(string(body), "PAR1") {
		err = sink.ReadPairs(body, key, l.Value, add)
	} else {
		err = readCSVPairs(body, key, l.Value, add)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if twice != "" {
		return fmt.Errorf("read %s: %q is in column %s twice, with different values of %s", path, twice, key, l.Value)
	}
	sum := sha256.Sum256(body)
	l.Values, l.SHA256 = values, hex.EncodeToString(sum[:])
	return nil
}

// readCSVPairs gives two columns of a CSV, row by row; nil for null.
func readCSVPairs(body []byte, first, second string, pair func(a, b []byte)) error {
	found, err := csv.SniffWith(body, true, csv.Overrides{})
	if err != nil {
		return err
	}
	names := schema.SafeNames(found.Columns)
	if found.Columns == nil {
		names = schema.NumberedNames(found.Width)
	}
	var places [2]int
	for i, want := range [2]string{first, second} {
		if places[i] = slices.Index(names, schema.SafeName(want)); places[i] < 0 {
			return fmt.Errorf("it has no column %s; its columns are %s", want, strings.Join(names, ", "))
		}
	}
	return eachRow(body, found, true, func(_ *csv.Row, cells []csv.Cell) {
		if len(cells) != len(names) {
			return
		}
		var texts [2][]byte
		for i, at := range places {
			if c := cells[at]; len(c.Text) > 0 || c.Quoted {
				texts[i] = append([]byte{}, c.Text...)
			}
		}
		pair(texts[0], texts[1])
	})
}

// lookups are the files in which a feed's steps look values up, while it runs: what a
// file holds when a batch ends is what the batch is made by.
type lookups struct {
	recipe func(transform.Spec) ([]byte, error) // the configuration with other steps
	say    func(format string, args ...any)
	now    func() time.Time

	mu    sync.Mutex
	files []*lookupFile
	steps consumer.Steps
}

// lookupFile is a file that one step looks values up in for one column.
type lookupFile struct {
	step   int
	column string
	lookup *transform.Lookup // as it is in force
	seen   fs.FileInfo       // of the file when it was looked at last; nil before
}

// restTime is how long a file has not changed when it is read: it may be written to
// still before, and a time of change tells two changes apart only then.
const restTime = time.Second

// lookups are the files of the feed's steps; nil where there are none.
func (f *feed) lookups() func() consumer.Steps {
	l := &lookups{
		recipe: func(steps transform.Spec) ([]byte, error) { return f.recipe(f.topic.Name, steps) },
		say:    f.progress.say, now: time.Now, steps: consumer.Steps{Transform: f.Transform},
	}
	for i, step := range f.Transform {
		for _, column := range sortedKeys(step.Map) {
			if at := step.Map[column]; at != nil && at.Path != "" {
				l.files = append(l.files, &lookupFile{step: i, column: column, lookup: at})
			}
		}
	}
	if len(l.files) == 0 {
		return nil
	}
	return l.current
}

// current gives the steps with what the files hold now. A file that cannot be read, or
// that is not what it has to be, is told once, and its values of before are in force.
func (l *lookups) current() consumer.Steps {
	l.mu.Lock()
	defer l.mu.Unlock()
	steps := l.steps
	for _, f := range l.files {
		next := l.look(f)
		if next == nil {
			continue
		}
		step := *steps.Transform[f.step]
		step.Map = maps.Clone(step.Map)
		step.Map[f.column] = next
		steps.Transform = slices.Clone(steps.Transform)
		steps.Transform[f.step] = &step
		steps.Revision = l.steps.Revision + 1
		f.lookup = next
	}
	if steps.Revision == l.steps.Revision {
		return l.steps
	}
	text, err := l.recipe(steps.Transform)
	if err != nil { // which was made by the same way before
		l.say("warning: what steps look up was read again and is not used: %v", err)
		return l.steps
	}
	steps.Config = text
	l.steps = steps
	return steps
}

// look reads a file again if it has changed: nil where nothing else is in it.
func (l *lookups) look(f *lookupFile) *transform.Lookup {
	info, err := os.Stat(f.lookup.Path)
	if err == nil {
		if f.seen != nil && os.SameFile(f.seen, info) && f.seen.Size() == info.Size() && f.seen.ModTime().Equal(info.ModTime()) {
			return nil
		}
		if age := l.now().Sub(info.ModTime()); age >= 0 && age < restTime {
			return nil // the next batch will have it
		}
	} else if f.seen == (missing{}) {
		return nil
	}
	next := *f.lookup
	next.Values = nil
	if err == nil {
		err = readLookup(&next, f.column, f.lookup.Path)
		if after, e := os.Stat(f.lookup.Path); err == nil && (e != nil || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime())) {
			return nil // it changed meanwhile
		}
		f.seen = info
	} else {
		f.seen = missing{}
	}
	switch {
	case err != nil:
		l.say("warning: transform[%d]: map of %s goes on with the %s that it has: %v", f.step, f.column, plural(int64(len(f.lookup.Values)), "value"), err)
		return nil
	case next.SHA256 == f.lookup.SHA256:
		return nil
	}
	l.say("transform[%d]: map of %s has %s of %s now (SHA-256 %.12s, before %.12s)", f.step, f.column, plural(int64(len(next.Values)), "value"), f.lookup.Path, next.SHA256, f.lookup.SHA256)
	return &next
}

// missing stands for what is known of a file that cannot be found.
type missing struct{ fs.FileInfo }
