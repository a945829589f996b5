// Package producer takes CSV sources to a topic: each object is claimed once,
// its rows are cut, numbered and sent in order, and what was sent is kept in the
// progress topic, so that any producer can go on with any object.
package producer

import (
	"context"
	"io"
	"iter"
	"time"
)

// Source is where objects come from.
type Source interface {
	// Objects lists the objects that are there now.
	Objects(ctx context.Context) iter.Seq2[Object, error]
}

// Object is one CSV as it is now.
type Object struct {
	URI     string    // canonical; with its version it is the object's identity
	Size    int64     // bytes as stored; -1 where unknown
	ModTime time.Time // zero where unknown
	Inode   uint64    // tells a file from one that took its name; 0 where unknown
	// Version is the object's version where its store gives one; else empty, and
	// the ledger counts versions.
	Version string
	// Open reads the object from its first byte, as stored.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Stat looks again, to notice a change while it was read. nil where it cannot
	// change.
	Stat func(ctx context.Context) (Object, error)
	// Once says that it can be opened once: standard input.
	Once bool

	pipe *pipe // of standard input
}
