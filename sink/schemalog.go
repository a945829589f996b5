package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"lakefeed/schema"
	"lakefeed/schema/fault"
)

// SchemaLog is the log of the versions of a table's columns: 1, 2, 3… without a
// hole, each created if absent. It may be used by many goroutines.
type SchemaLog struct {
	table *Table

	mu       sync.Mutex
	versions map[int64]*schema.Schema // those read so far: they never change
	latest   int64                    // the highest of them
}

func (l *SchemaLog) folder() string { return l.table.generationRoot() + "schema/" }

func (l *SchemaLog) key(version int64) string { return l.folder() + number(version) + ".json" }

// Latest is the newest version, nil when there is none. It belongs to the log.
func (l *SchemaLog) Latest(ctx context.Context) (*schema.Schema, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after := ""
	if l.latest > 0 {
		after = l.key(l.latest)
	}
	last := l.latest
	for o, err := range l.table.store.List(ctx, l.folder(), after) {
		if err != nil {
			return nil, fmt.Errorf("read schema log of %s: %w", l.table.name, err)
		}
		if version, ok := numberOf(o.Key, l.folder()); ok {
			last = max(last, version)
		}
	}
	if last == 0 {
		return nil, nil
	}
	return l.get(ctx, last)
}

// Get is one version. It belongs to the log.
func (l *SchemaLog) Get(ctx context.Context, version int64) (*schema.Schema, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.get(ctx, version)
}

func (l *SchemaLog) get(ctx context.Context, version int64) (*schema.Schema, error) {
	if s := l.versions[version]; s != nil {
		return s, nil
	}
	b, err := l.table.store.Get(ctx, l.key(version))
	if err != nil {
		return nil, fmt.Errorf("read schema version %d of %s: %w", version, l.table.name, err)
	}
	s := new(schema.Schema)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.key(version), err)
	}
	if s.Version != version {
		return nil, fmt.Errorf("read %s: it says that it is version %d", l.key(version), s.Version)
	}
	l.keep(s)
	return s, nil
}

func (l *SchemaLog) keep(s *schema.Schema) {
	if l.versions == nil {
		l.versions = make(map[int64]*schema.Schema)
	}
	l.versions[s.Version] = s
	l.latest = max(l.latest, s.Version)
}

// Append stores the next version. ErrExists when another writer stored a
// different one under this number: read it, join, and try the next. The log
// keeps s, which must not change any more.
func (l *SchemaLog) Append(ctx context.Context, s *schema.Schema) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Version < 1 || s.Previous != s.Version-1 {
		return fmt.Errorf("append schema version %d of %s: it is made from version %d", s.Version, l.table.name, s.Previous)
	}
	if s.Previous > 0 {
		if _, err := l.get(ctx, s.Previous); err != nil {
			return fmt.Errorf("append schema version %d of %s: %w", s.Version, l.table.name, err)
		}
	}
	key := l.key(s.Version)
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := fault.At(ctx, fault.SchemaAppend); err != nil {
		return fmt.Errorf("append schema version %d of %s: %w", s.Version, l.table.name, err)
	}
	err = l.table.create(ctx, key, b)
	if err == nil {
		err = fault.At(ctx, fault.SchemaAppended)
	}
	if errors.Is(err, ErrExists) {
		// Our own, when the answer to a first try was lost; or another's that is equal.
		have, getErr := l.table.store.Get(ctx, key)
		if getErr != nil {
			return fmt.Errorf("append schema version %d of %s: %w", s.Version, l.table.name, getErr)
		}
		if bytes.Equal(have, b) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("append schema version %d of %s: %w", s.Version, l.table.name, err)
	}
	l.keep(s)
	return nil
}
