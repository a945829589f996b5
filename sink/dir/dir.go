// Package dir is a lake in a folder. It needs a file system with hard links and
// atomic renames: any local one, and NFS.
package dir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lakefeed/sink"
)

var (
	_ sink.Store        = (*Store)(nil)
	_ sink.StagedFinder = (*Store)(nil)
	_ sink.StagedLister = (*Store)(nil)
)

// Store is a lake in a folder. Several processes may use one folder at once.
//
// Names that begin with ".tmp-" are files being written; what a crash leaves of
// them is ignored, and may be removed when no process runs.
type Store struct{ root string }

const (
	temporary = ".tmp-"
	stagedDir = "staged"
)

// Open gives the store in a folder, which is made when something is stored.
func Open(folder string) (*Store, error) {
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("open lake %s: %w", folder, err)
	}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open lake %s: it is a file, not a folder", root)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open lake: %w", err)
	}
	return &Store{root: root}, nil
}

// String is the folder's URI.
func (s *Store) String() string { return "file://" + filepath.ToSlash(s.root) }

// file is where a key's object is.
func (s *Store) file(key string) (string, error) {
	if !fs.ValidPath(key) || key == "." || strings.ContainsAny(key, "\x00\\") {
		return "", fmt.Errorf("key %q is not valid", key)
	}
	for name := range strings.SplitSeq(key, "/") {
		if strings.HasPrefix(name, temporary) {
			return "", fmt.Errorf("key %q is not valid: names that begin with %s are for files being written", key, temporary)
		}
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

// object is where a key's object is, which is not a staged file.
func (s *Store) object(key string) (string, error) {
	if isStaged(key) {
		return "", fmt.Errorf("key %q is not valid: the folder is for staged files", key)
	}
	return s.file(key)
}

// stagedFolder is where bodies for a key are staged: in the same file system, and
// where no reader of the table looks.
func stagedFolder(key string) string {
	table := ".root" // which is no table's name
	if top, _, ok := strings.Cut(key, "/"); ok {
		table = sink.TableOfFolder(top)
	}
	return sink.Root + "/" + table + "/" + stagedDir
}

// isStaged says whether a key is that of a staged file, or of their folder.
func isStaged(key string) bool {
	rest, ok := strings.CutPrefix(key, sink.Root+"/")
	if !ok {
		return false
	}
	_, rest, _ = strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "/")
	return name == stagedDir
}

func random() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Stage writes body to a file among the staged ones.
func (s *Store) Stage(ctx context.Context, key string, body io.Reader) (sink.Staged, error) {
	fail := func(err error) (sink.Staged, error) {
		return sink.Staged{}, fmt.Errorf("stage %s in %s: %w", key, s, err)
	}
	if _, err := s.object(key); err != nil {
		return fail(err)
	}
	upload := stagedFolder(key) + "/" + path.Base(key) + "." + random()
	name, err := s.file(upload)
	if err != nil {
		return fail(err)
	}
	if err := s.makeFolder(filepath.Dir(name)); err != nil {
		return fail(err)
	}
	size, err := write(ctx, name, body)
	if err != nil {
		return fail(err)
	}
	if err := syncFolder(filepath.Dir(name)); err != nil {
		return fail(errors.Join(err, os.Remove(name)))
	}
	return sink.Staged{Key: key, Upload: upload, Size: size, At: time.Now().UTC()}, nil
}

// write makes a new file and brings it to the disk; on an error it is removed.
func write(ctx context.Context, name string, body io.Reader) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name) // what is left is ignored
		}
	}()
	size, err = io.Copy(f, contextReader{ctx, body})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return size, err
}

// contextReader ends a copy when its context ends. It lives as long as one call.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Publish renames a staged file to its key.
func (s *Store) Publish(ctx context.Context, staged sink.Staged) error {
	fail := func(err error) error {
		return fmt.Errorf("publish %s in %s: %w", staged.Key, s, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	to, err := s.object(staged.Key)
	if err != nil {
		return fail(err)
	}
	from, err := s.stagedFile(staged)
	if err != nil {
		return fail(err)
	}
	info, err := os.Stat(from)
	switch {
	case err == nil && info.Size() != staged.Size:
		return fail(fmt.Errorf("%w: %s has %d bytes, not the %d that were staged", sink.ErrLost, from, info.Size(), staged.Size))
	case err == nil:
		if err := s.makeFolder(filepath.Dir(to)); err != nil {
			return fail(err)
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fail(err)
	}
	info, err = os.Stat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("%w: neither %s nor %s is there", sink.ErrLost, from, to))
	}
	if err != nil {
		return fail(err)
	}
	if info.Size() != staged.Size {
		return fail(fmt.Errorf("%s has %d bytes, not the %d that were staged", to, info.Size(), staged.Size))
	}
	// Also when another process has renamed it: it may die before it comes to this.
	if err := syncFolder(filepath.Dir(to)); err != nil {
		return fail(err)
	}
	if err := syncFolder(filepath.Dir(from)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	return nil
}

// stagedFile is where a staged body is. The name comes from a record: it must not
// lead elsewhere.
func (s *Store) stagedFile(staged sink.Staged) (string, error) {
	if !isStaged(staged.Upload) || path.Base(staged.Upload) == stagedDir {
		return "", fmt.Errorf("%q is no staged file", staged.Upload)
	}
	return s.file(staged.Upload)
}

// FindStaged says whether a staged file is there.
func (s *Store) FindStaged(ctx context.Context, staged sink.Staged) (bool, error) {
	name, err := s.stagedFile(staged)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		_, err = os.Stat(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find staged %s in %s: %w", staged.Key, s, err)
	}
	return true, nil
}

// Discard removes a staged file.
func (s *Store) Discard(ctx context.Context, staged sink.Staged) error {
	name, err := s.stagedFile(staged)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard %s in %s: %w", staged.Key, s, err)
	}
	return nil
}

// Create writes a temporary file and links it to its name, which only one can do.
// The name is never there with half a body.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	err := s.put(ctx, key, body, func(from, to string) error {
		err := os.Link(from, to)
		if e := os.Remove(from); err == nil {
			err = e
		}
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %s in %s: %w", key, s, sink.ErrExists)
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("create %s in %s: %w (if its file system has no hard links, put the lake on one that has)", key, s, err)
	}
	if err != nil {
		return fmt.Errorf("create %s in %s: %w", key, s, err)
	}
	return nil
}

// Put writes a temporary file and renames it to its name.
func (s *Store) Put(ctx context.Context, key string, body []byte) error {
	if err := s.put(ctx, key, body, os.Rename); err != nil {
		return fmt.Errorf("put %s in %s: %w", key, s, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, body []byte, give func(from, to string) error) error {
	to, err := s.object(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	folder := filepath.Dir(to)
	if err := s.makeFolder(folder); err != nil {
		return err
	}
	from := filepath.Join(folder, temporary+random())
	if _, err := write(ctx, from, strings.NewReader(string(body))); err != nil {
		return err
	}
	err = give(from, to)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		_ = os.Remove(from) // what is left is ignored
		return err
	}
	// Also when it was there: who finds it relies on it, and its maker may be dead.
	if e := syncFolder(folder); e != nil {
		return e
	}
	return err
}

// Get reads a file.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	name, err := s.object(key)
	if err == nil {
		err = ctx.Err()
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s in %s: %w", key, s, known(err))
	}
	return b, nil
}

// Stat gives a file's size.
func (s *Store) Stat(ctx context.Context, key string) (sink.Object, error) {
	name, err := s.object(key)
	if err == nil {
		err = ctx.Err()
	}
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(name)
	}
	if err == nil && info.IsDir() {
		err = sink.ErrNotExist
	}
	if err != nil {
		return sink.Object{}, fmt.Errorf("stat %s in %s: %w", key, s, known(err))
	}
	return sink.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete removes a file. Its folder stays.
func (s *Store) Delete(ctx context.Context, key string) error {
	name, err := s.object(key)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = os.Remove(name)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	if err != nil && !errors.Is(known(err), sink.ErrNotExist) {
		return fmt.Errorf("delete %s in %s: %w", key, s, err)
	}
	return nil
}

// known gives the store's error for what is not there: a name below a file is not
// there either, nor is a folder an object.
func known(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) {
		return sink.ErrNotExist
	}
	return err
}

// makeFolder makes a folder and those above it, and brings their names to the disk.
func (s *Store) makeFolder(folder string) error {
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(folder)
	if above != folder {
		if err := s.makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(above)
}
