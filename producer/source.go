// Package producer takes CSV sources to a topic: each object is claimed once,
// its rows are cut, numbered and sent in order, and what was sent is kept in the
// progress topic, so that any producer can go on with any object.
package producer

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"lakefeed/sink/raw"
)

// Source is where objects come from.
type Source interface {
	// Objects lists the objects that are there now.
	Objects(ctx context.Context) iter.Seq2[Object, error]
}

// Paced is a source that is looked at less often than Config.Poll says, since
// looking costs.
type Paced interface {
	Source
	Pace() time.Duration // from the end of one look to the next
}

var (
	// ErrChanged says that an object was replaced: what was to be read of it is not
	// there any more.
	ErrChanged = errors.New("it was replaced while it was read")
	// ErrSource says that a source's store does not answer. It stops the run, since
	// the other objects would fail as well.
	ErrSource = errors.New("source not reachable")
)

// Object is one CSV as it is now.
type Object struct {
	URI     string    // canonical; with its version it is the object's identity
	Size    int64     // bytes as stored; -1 where unknown
	ModTime time.Time // zero where unknown
	Inode   uint64    // tells a file from one that took its name; 0 where unknown
	// Tag tells one content of an object from another, where its store gives such a
	// mark (an ETag). The bytes of one tag never change, so nothing is appended to
	// them: reading on when the object is another ends with ErrChanged.
	Tag string
	// Version is the object's version where its store gives one; else empty. With a
	// tag, Stat tells it, and without one the ledger counts versions.
	Version string
	// Open reads the object from a byte on, as stored.
	Open func(ctx context.Context, offset int64) (io.ReadCloser, error)
	// Stat looks again, to notice a change while it was read. nil where it cannot
	// change.
	Stat func(ctx context.Context) (Object, error)
	// Once says that it can be opened once: standard input.
	Once bool

	copy       *raw.Object // into which it is copied while it is read; nil where it is not
	pipe       *pipe       // of standard input
	compressed bool        // known once its beginning was read
}

// grows says whether rows may be appended to an object: one whose store keeps
// versions is replaced as a whole.
func (o *Object) grows() bool { return o.Version == "" && o.Tag == "" }

// look is how an object looked: what tells a change without reading it.
type look struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime,omitzero"`
	Inode   uint64    `json:"inode,omitempty"`
	Tag     string    `json:"tag,omitempty"`
}

func (o *Object) look() look { return look{o.Size, o.ModTime, o.Inode, o.Tag} }

// same says whether an object looks unchanged. A store's tag says more than the
// time, which changes when the same is stored again.
func (l look) same(o look) bool {
	if l.Tag != "" || o.Tag != "" {
		return l.Tag == o.Tag && l.Size == o.Size
	}
	return l.Size == o.Size && l.ModTime.Equal(o.ModTime) && l.Inode == o.Inode
}
