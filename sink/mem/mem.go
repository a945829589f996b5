// Package mem is a lake in memory, for tests. It keeps to the same rules as the
// stores that last, and is held to them by the same tests.
package mem

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lakefeed/sink"
)

var (
	_ sink.Store        = (*Store)(nil)
	_ sink.StagedFinder = (*Store)(nil)
	_ sink.StagedLister = (*Store)(nil)
)

// Store is a lake in memory. Whoever has the pointer is a process with access to
// it; a crash of a process leaves it as it is. The zero value is empty and ready.
type Store struct {
	// Now is the store's clock; time.Now when nil.
	Now func() time.Time

	mu      sync.Mutex
	objects map[string]object
	uploads map[string]upload // by id
	ids     int
}

type object struct {
	body []byte
	at   time.Time
}

type upload struct {
	key  string
	body []byte
}

// New gives an empty store.
func New() *Store { return new(Store) }

func (s *Store) String() string { return "mem://" }

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Store) put(key string, body []byte) {
	if s.objects == nil {
		s.objects = make(map[string]object)
	}
	s.objects[key] = object{body: slices.Clone(body), at: s.now()}
}

func check(ctx context.Context, key string) error {
	if key == "" || strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") {
		return fmt.Errorf("key %q is not valid", key)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("key %q is not valid", key)
		}
	}
	return ctx.Err()
}

// Stage keeps body apart from the objects.
func (s *Store) Stage(ctx context.Context, key string, body io.Reader) (sink.Staged, error) {
	err := check(ctx, key)
	var b []byte
	if err == nil {
		b, err = io.ReadAll(body)
	}
	if err != nil {
		return sink.Staged{}, fmt.Errorf("stage %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads == nil {
		s.uploads = make(map[string]upload)
	}
	s.ids++
	id := "upload-" + strconv.Itoa(s.ids)
	s.uploads[id] = upload{key: key, body: b}
	return sink.Staged{Key: key, Upload: id, Size: int64(len(b)), At: s.now().UTC()}, nil
}

// Publish makes an upload an object.
func (s *Store) Publish(ctx context.Context, staged sink.Staged) error {
	if err := check(ctx, staged.Key); err != nil {
		return fmt.Errorf("publish %s: %w", staged.Key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.uploads[staged.Upload]; ok {
		if u.key != staged.Key || int64(len(u.body)) != staged.Size {
			return fmt.Errorf("publish %s: upload %s is of %s, %d bytes", staged.Key, staged.Upload, u.key, len(u.body))
		}
		s.put(u.key, u.body)
		delete(s.uploads, staged.Upload)
		return nil
	}
	o, ok := s.objects[staged.Key]
	if !ok {
		return fmt.Errorf("publish %s: %w", staged.Key, sink.ErrLost)
	}
	if int64(len(o.body)) != staged.Size {
		return fmt.Errorf("publish %s: the object has %d bytes, not the %d that were staged", staged.Key, len(o.body), staged.Size)
	}
	return nil
}

// Discard forgets an upload. A lifecycle rule of a bucket does the same.
func (s *Store) Discard(ctx context.Context, staged sink.Staged) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discard %s: %w", staged.Key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, staged.Upload)
	return nil
}

// ListStaged gives the uploads of a table's files.
func (s *Store) ListStaged(ctx context.Context, table string) iter.Seq2[sink.Staged, error] {
	return func(yield func(sink.Staged, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(sink.Staged{}, fmt.Errorf("list staged files of %s: %w", table, err))
			return
		}
		s.mu.Lock()
		var found []sink.Staged
		for id, u := range s.uploads {
			if top, _, _ := strings.Cut(u.key, "/"); sink.TableOfFolder(top) == table {
				found = append(found, sink.Staged{Key: u.key, Upload: id, Size: int64(len(u.body))})
			}
		}
		s.mu.Unlock()
		for _, staged := range found {
			if !yield(staged, nil) {
				return
			}
		}
	}
}

// FindStaged says whether there is an upload.
func (s *Store) FindStaged(ctx context.Context, staged sink.Staged) (bool, error) {
	return s.IsStaged(staged), ctx.Err()
}

// IsStaged says whether a staged body is still there, unpublished.
func (s *Store) IsStaged(staged sink.Staged) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.uploads[staged.Upload]
	return ok
}

// Create stores an object unless there is one.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("create %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok {
		return fmt.Errorf("create %s: %w", key, sink.ErrExists)
	}
	s.put(key, body)
	return nil
}

// Put stores an object.
func (s *Store) Put(ctx context.Context, key string, body []byte) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, body)
	return nil
}

// Get reads an object.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := s.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return slices.Clone(o.body), nil
}

func (s *Store) get(ctx context.Context, key string) (object, error) {
	if err := check(ctx, key); err != nil {
		return object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok {
		return object{}, sink.ErrNotExist
	}
	return o, nil
}

// Stat gives an object's size.
func (s *Store) Stat(ctx context.Context, key string) (sink.Object, error) {
	o, err := s.get(ctx, key)
	if err != nil {
		return sink.Object{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return sink.Object{Key: key, Size: int64(len(o.body)), Modified: o.at}, nil
}

// List gives the objects as they are when it begins.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	return func(yield func(sink.Object, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(sink.Object{}, fmt.Errorf("list %s: %w", prefix, err))
			return
		}
		s.mu.Lock()
		var found []sink.Object
		for key, o := range s.objects {
			if strings.HasPrefix(key, prefix) && key > after {
				found = append(found, sink.Object{Key: key, Size: int64(len(o.body)), Modified: o.at})
			}
		}
		s.mu.Unlock()
		slices.SortFunc(found, func(a, b sink.Object) int { return strings.Compare(a.Key, b.Key) })
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}
