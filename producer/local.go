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
			return nil, fmt.Errorf("source %s: lakefeed reads files, folders, s3://bucket/prefix and standard input", name)
		}
		path, err := url.PathUnescape(rest)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		name = path
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	l := &local{name: abs, as: o.SourceName}
	info, err := os.Stat(abs)
	if err == nil {
		if err := readAgain(info); err != nil {
			return nil, fmt.Errorf("source %s: %w", name, err)
		}
		return l, nil
	}
	if !strings.ContainsAny(name, globChars) {
		return nil, fmt.Errorf("source %s: %w", name, err)
	}
	if _, err := filepath.Match(name, ""); err != nil {
		return nil, fmt.Errorf("source %s: it is no file, and as a pattern it is wrong: %w", name, err)
	}
	if strings.Contains(name, "**") { // to others it is folders of any depth, and files would be left out silently
		return nil, fmt.Errorf("source %s: a pattern is of one depth of folders, and has no **: name the folder, which is searched with all that are below it", name)
	}
	l.glob = name
	l.base = abs
	for strings.ContainsAny(l.base, globChars) && strings.ContainsAny(name, globChars) {
		l.base, name = filepath.Dir(l.base), filepath.Dir(name)
	}
	return l, nil
}

// readAgain says of what is neither file nor folder that it cannot be a source: an object
// is opened several times, and what a pipe has given to the first is gone, without an
// error. Opening one may also wait for a writer for ever.
func readAgain(info fs.FileInfo) error {
	what := "a device"
	switch mode := info.Mode(); {
	case mode.IsRegular(), mode.IsDir():
		return nil
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return fmt.Errorf("it is %s, and a source is read more than once: redirect it to standard input, and give - as the source", what)
}

// globChars make a name a pattern.
const globChars = "*?["

type local struct {
	name string
	as   string // what stands for the folder in URIs
	glob string // pattern; "" for a file or folder
	base string // the folder of a pattern, before its first *, ? or [
}

// found is a file that a source has, or what cannot be looked into.
type found struct {
	name string
	err  error
}

func (l *local) Objects(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		files, base, err := l.list()
		if err != nil {
			yield(Object{}, fmt.Errorf("list %s: %w", l.name, err))
			return
		}
		for _, f := range files {
			if ctx.Err() != nil {
				yield(Object{}, ctx.Err())
				return
			}
			o, err := l.object(f.name, base)
			if f.err != nil {
				err = f.err
			}
			if errors.Is(err, fs.ErrNotExist) && f.name != l.name {
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
func (l *local) list() (files []found, base string, err error) {
	if l.glob != "" {
		names, err := filepath.Glob(l.glob)
		for _, name := range names {
			if hiddenFrom(l.glob, name) {
				continue
			}
			if name, err = filepath.Abs(name); err != nil {
				return nil, "", err
			}
			if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() {
				files = append(files, found{name, err})
			}
		}
		return files, l.base, err
	}
	info, err := os.Stat(l.name)
	if err != nil || !info.IsDir() {
		if err == nil {
			err = readAgain(info)
		}
		return []found{{l.name, err}}, filepath.Dir(l.name), nil
	}
	err = filepath.WalkDir(l.name, func(name string, d fs.DirEntry, err error) error {
		hidden := name != l.name && (strings.HasPrefix(filepath.Base(name), ".") || strings.HasPrefix(filepath.Base(name), "_"))
		switch {
		case err != nil && name == l.name:
			return err
		case err != nil: // the others go on
			files = append(files, found{name, err})
			return nil
		case d.IsDir() && hidden:
			return fs.SkipDir
		case d.IsDir() || hidden || !LooksLikeCSV(d.Name()):
			return nil
		}
		info, err := os.Stat(name) // of what a link leads to
		if err != nil || info.Mode().IsRegular() {
			files = append(files, found{name, err})
		}
		return nil
	})
	slices.SortFunc(files, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return files, l.name, err
}

// hiddenFrom says whether a pattern does not mean a name although it matches: as
// in a shell, a name with a dot before it has to be asked for.
func hiddenFrom(pattern, name string) bool {
	patterns, names := strings.Split(filepath.Clean(pattern), "/"), strings.Split(filepath.Clean(name), "/")
	for i, n := range names {
		if i < len(patterns) && strings.HasPrefix(n, ".") && !strings.HasPrefix(patterns[i], ".") {
			return true
		}
	}
	return false
}

// LooksLikeCSV says whether a file in a folder, or an object below a prefix, is taken for a CSV by its name.
func LooksLikeCSV(name string) bool {
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
	o := Object{URI: fileURI(name)}
	if l.as != "" {
		rel, err := filepath.Rel(base, name)
		if err != nil {
			return o, err
		}
		o.URI = strings.TrimSuffix(l.as, "/") + "/" + (&url.URL{Path: filepath.ToSlash(rel)}).EscapedPath()
	}
	info, err := os.Stat(name)
	if err != nil {
		return o, err
	}
	o.Size, o.ModTime, o.Inode = info.Size(), info.ModTime(), inode(info)
	o.Open = func(_ context.Context, offset int64) (io.ReadCloser, error) { return openFile(name, offset) }
	o.Stat = func(context.Context) (Object, error) { return l.object(name, base) }
	return o, nil
}

func openFile(name string, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil || offset == 0 {
		return f, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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
