package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lakefeed/sink"
)

// List walks the folders that can have keys with the prefix.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	return func(yield func(sink.Object, error) bool) {
		folder := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			folder = prefix[:i]
		}
		if folder != "" && !fs.ValidPath(folder) {
			yield(sink.Object{}, fmt.Errorf("list %s in %s: the prefix is not valid", prefix, s))
			return
		}
		l := lister{store: s, prefix: prefix, after: after, yield: yield}
		if err := l.walk(ctx, folder); err != nil && !errors.Is(err, errStopped) {
			yield(sink.Object{}, fmt.Errorf("list %s in %s: %w", prefix, s, err))
		}
	}
}

// ListStaged lists the folder of a table's staged files. Their names do not have
// the whole key.
func (s *Store) ListStaged(ctx context.Context, table string) iter.Seq2[sink.Staged, error] {
	return func(yield func(sink.Staged, error) bool) {
		folder := sink.Root + "/" + table + "/" + stagedDir
		entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(folder)))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(sink.Staged{}, fmt.Errorf("list %s in %s: %w", folder, s, err))
			return
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue // published or discarded since
			}
			if !yield(sink.Staged{Upload: folder + "/" + e.Name(), Size: info.Size(), At: info.ModTime().UTC()}, nil) {
				return
			}
		}
	}
}

type lister struct {
	store         *Store
	prefix, after string
	yield         func(sink.Object, error) bool
}

var errStopped = errors.New("stopped")

// walk lists a folder in the order of keys, where the names of folders have a
// slash at their end.
func (l *lister) walk(ctx context.Context, folder string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if isStaged(folder) {
		return nil
	}
	path := filepath.Join(l.store.root, filepath.FromSlash(folder))
	entries, err := os.ReadDir(path)
	if err != nil {
		if known(err) == sink.ErrNotExist {
			return nil
		}
		return err
	}
	// What lies below the root of all state is acted on: it must be on the disk, even
	// if who wrote it died before it came to that.
	if folder == sink.Root || strings.HasPrefix(folder, sink.Root+"/") {
		if err := syncFolder(path); err != nil {
			return err
		}
	}
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		key := e.Name()
		if folder != "" {
			key = folder + "/" + key
		}
		isFolder := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, e.Name()))
			isFolder = err == nil && info.IsDir()
		}
		if isFolder {
			key += "/"
		}
		if l.wanted(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if below, ok := strings.CutSuffix(key, "/"); ok {
			if err := l.walk(ctx, below); err != nil {
				return err
			}
			continue
		}
		info, err := os.Stat(filepath.Join(l.store.root, filepath.FromSlash(key)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return err
		}
		if !l.yield(sink.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil) {
			return errStopped
		}
	}
	return nil
}

// wanted says whether a key is to be listed, or a folder, whose key ends with a
// slash, may have keys that are.
func (l *lister) wanted(key string) bool {
	if strings.HasSuffix(key, "/") {
		return (strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)) &&
			(key > l.after || strings.HasPrefix(l.after, key))
	}
	return strings.HasPrefix(key, l.prefix) && key > l.after
}
