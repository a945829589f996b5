package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// LocalOptions say how local sources are named.
type LocalOptions struct {
	Stdin io.Reader
	// SourceName is the URI that stands for the source's folder, where mounts
	// differ from machine to machine.
	SourceName string
	// StreamName is the name of standard input, so that a second run goes on with
	// it. Without one every run is a stream of its own.
	StreamName string
}

// Local is a source on this machine: a file, a folder with all CSVs below it, a
// glob, or - for standard input.
func Local(name string, o LocalOptions) (Source, error) {
	if name == "-" {
		if o.Stdin == nil {
			return nil, errors.New("read standard input: there is none")
		}
		return newStdin(o), nil
	}
	if scheme, rest, found := strings.Cut(name, "://"); found {
		if scheme != "file" {
			return nil, fmt.Errorf("source %s: this lakefeed reads files, folders and standard input", name)
		}
		name = rest
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	l := &local{name: abs, as: o.SourceName}
	if _, err := os.Stat(abs); err != nil {
		if !strings.ContainsAny(name, "*?[") {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		if _, err := filepath.Match(abs, ""); err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		l.glob = true
	}
	return l, nil
}

type local struct {
	name string
	as   string
	glob bool
}

func (l *local) Objects(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		names, base, err := l.list()
		if err != nil {
			yield(Object{}, err)
			return
		}
		for _, name := range names {
			if ctx.Err() != nil {
				yield(Object{}, ctx.Err())
				return
			}
			o, err := l.object(name, base)
			if errors.Is(err, fs.ErrNotExist) {
				continue // went away since it was listed
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// list gives the files of the source in the order of their names, and the folder
// that SourceName stands for.
func (l *local) list() (names []string, base string, err error) {
	if l.glob {
		names, err = filepath.Glob(l.name)
		names = slices.DeleteFunc(names, func(n string) bool {
			info, err := os.Stat(n)
			return err == nil && !info.Mode().IsRegular()
		})
		return names, filepath.Dir(l.name), err
	}
	info, err := os.Stat(l.name)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		return []string{l.name}, filepath.Dir(l.name), nil
	}
	err = filepath.WalkDir(l.name, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := name != l.name && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_"))
		switch {
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden || !looksLikeCSV(d.Name()):
			return nil
		}
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil
		}
		names = append(names, name)
		return nil
	})
	slices.Sort(names)
	return names, l.name, err
}

// looksLikeCSV says whether a file in a folder is taken for a CSV by its name.
func looksLikeCSV(name string) bool {
	name = strings.ToLower(name)
	for _, zip := range []string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, zip)
	}
	switch path.Ext(name) {
	case ".csv", ".tsv", ".txt", ".dat", ".psv":
		return true
	}
	return false
}

func (l *local) object(name, base string) (Object, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Object{URI: fileURI(name)}, err
	}
	o := Object{URI: fileURI(name), Size: info.Size(), ModTime: info.ModTime(), Inode: inode(info)}
	if l.as != "" {
		rel, err := filepath.Rel(base, name)
		if err != nil {
			return o, err
		}
		o.URI = strings.TrimSuffix(l.as, "/") + "/" + filepath.ToSlash(rel)
	}
	o.Open = func(context.Context) (io.ReadCloser, error) { return os.Open(name) }
	o.Stat = func(context.Context) (Object, error) { return l.object(name, base) }
	return o, nil
}

func fileURI(name string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(name)}).String()
}

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// stdin is standard input as a source of one object.
type stdin struct {
	in      io.Reader
	uri     string
	version string
}

func newStdin(o LocalOptions) *stdin {
	if o.StreamName == "" {
		return &stdin{in: o.Stdin, uri: "stdin:", version: time.Now().UTC().Format(time.RFC3339Nano)}
	}
	return &stdin{in: o.Stdin, uri: "stdin:" + o.StreamName, version: "0"}
}

func (s *stdin) Objects(context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		yield(Object{
			URI: s.uri, Version: s.version, Size: -1, Once: true,
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(s.in), nil },
		}, nil)
	}
}
