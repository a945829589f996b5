package sink

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// stateKey is the object with which a lake and the place of its state name each
// other, when the state is somewhere else.
const stateKey = Root + "/state.json"

type stateObject struct {
	V  int    `json:"v"`
	ID string `json:"id"`
	At string `json:"at,omitempty"` // in the lake: URI of the state, as it was when the two were joined
}

// StateError says that a lake's state is not where it was looked for: without it
// every row would be new, and be there twice.
type StateError struct{ Reason string }

func (e *StateError) Error() string { return e.Reason }

// CheckState makes sure that a lake has its state within.
func CheckState(ctx context.Context, lake Store) error {
	at, err := readState(ctx, lake)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return err
	case at.At == "":
		return &StateError{fmt.Sprintf("open lake %s: it is the state of another lake, not a lake", lake)}
	}
	return &StateError{fmt.Sprintf("open lake %s: its state is not within, it was put at %s: say so with --state", lake, at.At)}
}

// CheckFiles makes sure that a lake which knows nothing of a table has no data files of
// it either: they are of a table whose state was lost or removed, and would be read
// beside those of a new one.
func CheckFiles(ctx context.Context, lake Store, table string) error {
	t := &Table{store: lake, name: table}
	_, err := lake.Stat(ctx, t.root()+"table.json")
	if !errors.Is(err, ErrNotExist) {
		return err
	}
	found, err := dataFile(ctx, lake, table)
	if err != nil || found == "" {
		return err
	}
	// State comes before files: what another process has made meanwhile is there now.
	for _, err := range lake.List(ctx, t.root(), "") {
		return err
	}
	return &StateError{fmt.Sprintf("open table %s in %s: it has files, such as %s, but none of its state, below %s, which says what is in them: with another one every row would be new, and be there twice. "+
		"Put the state back as it was; or move the folders %[1]s, %[1]s%[5]s, and those of other generations such as %[1]s.g2, away and run it again: the table is made anew from its topic and the sources", table, lake, found, t.root(), quarantineSuffix)}
}

// dataFile is the key of a file that has rows of a table or of its quarantine, of any
// generation, or empty when there is none.
func dataFile(ctx context.Context, lake Store, table string) (string, error) {
	for _, prefix := range []string{table + "/", table + quarantineSuffix + "/", table + ".g", table + quarantineSuffix + ".g"} {
		for o, err := range lake.List(ctx, prefix, "") {
			if err != nil {
				return "", err
			}
			top, _, _ := strings.Cut(o.Key, "/")
			if _, ok := ParseFileKey(o.Key); ok && TableOfFolder(top) == table && !hidden(o.Key, top+"/") {
				return o.Key, nil
			}
		}
	}
	return "", nil
}

// WithState gives a lake whose state, all below _lakefeed/, is in another store. The
// two are bound to each other for good: what belongs to another is refused.
func WithState(ctx context.Context, lake, state Store) (Store, error) {
	inLake, err := readState(ctx, lake)
	if errors.Is(err, ErrNotExist) {
		if err := unbound(ctx, lake, state); err != nil {
			return nil, err
		}
		if err := createState(ctx, lake, stateObject{V: formatVersion, ID: strings.ToLower(rand.Text()), At: state.String()}); err != nil {
			return nil, err
		}
		inLake, err = readState(ctx, lake)
	}
	if err != nil {
		return nil, err
	}
	inState, err := readState(ctx, state)
	// Nothing there where it should be: the two were being bound just now. Elsewhere
	// that is a slip, with which every row would be new.
	if errors.Is(err, ErrNotExist) && inLake.At == state.String() {
		if err := createState(ctx, state, stateObject{V: formatVersion, ID: inLake.ID}); err != nil {
			return nil, err
		}
		inState, err = readState(ctx, state)
	}
	if err != nil && !errors.Is(err, ErrNotExist) {
		return nil, err
	}
	switch {
	case inLake.At == "":
		return nil, &StateError{fmt.Sprintf("open lake %s: it is the state of another lake, not a lake", lake)}
	case inState.At != "":
		return nil, &StateError{fmt.Sprintf("open lake %s: %s is a lake of its own, which has its state at %s", lake, state, inState.At)}
	case inState.ID == "":
		return nil, &StateError{fmt.Sprintf("open lake %s: its state is not at %s, it was put at %s", lake, state, inLake.At)}
	case inLake.ID != inState.ID:
		return nil, &StateError{fmt.Sprintf("open lake %s: %s is the state of another lake; this one's was put at %s", lake, state, inLake.At)}
	}
	return &divided{Store: lake, state: state}, nil
}

// unbound refuses a lake that has state within, and a state that is another's.
func unbound(ctx context.Context, lake, state Store) error {
	inState, err := readState(ctx, state)
	switch {
	case err == nil && inState.At == "":
		return &StateError{fmt.Sprintf("open lake %s: %s is the state of another lake", lake, state)}
	case err == nil:
		return &StateError{fmt.Sprintf("open lake %s: %s is a lake of its own, which has its state at %s", lake, state, inState.At)}
	case !errors.Is(err, ErrNotExist):
		return err
	}
	for o, err := range lake.List(ctx, Root+"/", "") {
		if err != nil {
			return err
		}
		if strings.HasSuffix(o.Key, "/table.json") {
			return &StateError{fmt.Sprintf("open lake %s: it has its state within (%s): leave --state out", lake, o.Key)}
		}
	}
	return nil
}

func createState(ctx context.Context, s Store, o stateObject) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := s.Create(ctx, stateKey, b); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

func readState(ctx context.Context, s Store) (o stateObject, err error) {
	b, err := s.Get(ctx, stateKey)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("read %s in %s: %w", stateKey, s, err)
	}
	if o.V > formatVersion {
		return o, fmt.Errorf("read %s in %s: it is of format %d, this lakefeed knows %d: use a newer lakefeed", stateKey, s, o.V, formatVersion)
	}
	return o, nil
}

// divided is a store whose objects below Root are in another one. What is staged is
// with the files that it will be.
type divided struct {
	Store
	state Store
}

func (d *divided) of(key string) Store {
	if strings.HasPrefix(key, Root+"/") {
		return d.state
	}
	return d.Store
}

func (d *divided) Create(ctx context.Context, key string, body []byte) error {
	return d.of(key).Create(ctx, key, body)
}

func (d *divided) Put(ctx context.Context, key string, body []byte) error {
	return d.of(key).Put(ctx, key, body)
}

func (d *divided) Get(ctx context.Context, key string) ([]byte, error) {
	return d.of(key).Get(ctx, key)
}

func (d *divided) Stat(ctx context.Context, key string) (Object, error) {
	return d.of(key).Stat(ctx, key)
}

func (d *divided) Delete(ctx context.Context, key string) error {
	return d.of(key).Delete(ctx, key)
}

// FindStaged asks the store of the files, if it can tell.
func (d *divided) FindStaged(ctx context.Context, s Staged) (bool, error) {
	finder, ok := d.Store.(StagedFinder)
	if !ok {
		return false, nil
	}
	return finder.FindStaged(ctx, s)
}

// ListStaged asks the store of the files, if it can tell.
func (d *divided) ListStaged(ctx context.Context, table string) iter.Seq2[Staged, error] {
	lister, ok := d.Store.(StagedLister)
	if !ok {
		return func(func(Staged, error) bool) {}
	}
	return lister.ListStaged(ctx, table)
}

// CheckLifecycle asks both, as far as they can tell.
func (d *divided) CheckLifecycle(ctx context.Context) (faults []string, err error) {
	for _, s := range []Store{d.Store, d.state} {
		if checker, ok := s.(LifecycleChecker); ok {
			found, e := checker.CheckLifecycle(ctx)
			faults, err = append(faults, found...), errors.Join(err, e)
		}
	}
	return faults, err
}

// List of a prefix that both have keys under gives those of both, in key order.
func (d *divided) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	switch {
	case strings.HasPrefix(prefix, Root+"/"):
		return d.state.List(ctx, prefix, after)
	case !strings.HasPrefix(Root+"/", prefix):
		return d.Store.List(ctx, prefix, after)
	}
	return func(yield func(Object, error) bool) {
		listed := false // the state
		list := func() bool {
			if listed {
				return true
			}
			listed = true
			for o, err := range d.state.List(ctx, Root+"/", after) {
				if !yield(o, err) || err != nil {
					return false
				}
			}
			return true
		}
		for o, err := range d.Store.List(ctx, prefix, after) {
			if err == nil && strings.HasPrefix(o.Key, Root+"/") {
				continue
			}
			if err == nil && o.Key > Root+"/" && !list() {
				return
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
		list()
	}
}
