// Package sink takes typed columns to Parquet files and commits them into the
// lake: a chain of records per topic partition, created one by one if absent, is
// the only truth about what is in the table.
package sink

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Store is where a lake lives: a bucket prefix or a folder. Keys are relative to
// it, with forward slashes. Its methods may be called from any goroutine.
//
// Create is the only lock of the whole system: of all who create one key, ever,
// exactly one succeeds, and its body is there whole.
type Store interface {
	// Stage stores body durably for key, invisible to whoever lists or reads the
	// store's tables. It reads body to its end; on an error nothing is staged that
	// anyone could publish.
	Stage(ctx context.Context, key string, body io.Reader) (Staged, error)
	// Publish makes a staged body visible under its key. It may be repeated, and
	// by another process: publishing what is published already is no error.
	// ErrLost when neither the staged body nor the object is there.
	Publish(ctx context.Context, s Staged) error
	// Discard forgets a staged body that was not published. Only for bodies that
	// no record can list. Discarding what is gone is no error.
	Discard(ctx context.Context, s Staged) error
	// Create stores a small object if there is none under key: ErrExists if there
	// is. Any other error leaves the outcome unknown: the object may be there
	// now, or later.
	Create(ctx context.Context, key string, body []byte) error
	// Put stores a small object whether or not there is one: only for projections,
	// which can be made again at any time.
	Put(ctx context.Context, key string, body []byte) error
	// Get reads a whole object; ErrNotExist if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Stat gives an object's size; ErrNotExist if there is none.
	Stat(ctx context.Context, key string) (Object, error)
	// List gives the objects whose keys begin with prefix and come after the key
	// `after` (empty: all), in key order. Staged bodies are not objects.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Delete removes an object; removing what is gone is no error.
	Delete(ctx context.Context, key string) error
	// String is the store's URI, for messages.
	String() string
}

// StagedFinder is a Store that can look for a staged body. Without it an audit
// cannot tell a file that is about to become visible from one that is gone.
type StagedFinder interface {
	// FindStaged says whether a body is staged still: neither published nor discarded.
	FindStaged(ctx context.Context, s Staged) (bool, error)
}

// StagedLister is a Store that can list what is staged in it.
type StagedLister interface {
	// ListStaged gives the bodies that are staged for a table's files, in any order.
	// Key, Size and ETag may be unknown, and then are empty; Upload is as Stage gave it.
	ListStaged(ctx context.Context, table string) iter.Seq2[Staged, error]
}

// LifecycleChecker is a Store whose objects and staged bodies may be removed by
// rules that it does not make.
type LifecycleChecker interface {
	// CheckLifecycle gives what is wrong with those rules, or missing in them, for the
	// reader.
	CheckLifecycle(ctx context.Context) (faults []string, err error)
}

// Object is a visible object of a Store.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
}

// Staged names a staged body, in a form that another process can publish.
type Staged struct {
	Key    string    `json:"key"`             // where it will be
	Upload string    `json:"upload"`          // the multipart upload's id, or the staged file's key
	Parts  []Part    `json:"parts,omitempty"` // the parts of a multipart upload
	Size   int64     `json:"size"`            // bytes
	ETag   string    `json:"etag,omitempty"`  // what the object's ETag will be, where the store can tell
	At     time.Time `json:"at"`              // when it was staged, by the store's clock where it has one
}

// Part is one uploaded part of a Staged body.
type Part struct {
	Number int32  `json:"n"`
	ETag   string `json:"etag"`
}

var (
	// ErrExists is returned by Create when there is an object already.
	ErrExists = errors.New("object exists")
	// ErrNotExist is returned when an object is not there.
	ErrNotExist = errors.New("no such object")
	// ErrLost is returned by Publish when the staged body is gone and was never
	// published: a lifecycle rule or a person removed it.
	ErrLost = errors.New("staged data is gone and was not published")
	// ErrGivenUp is wrapped by errors of a store that has tried for as long as it
	// makes sense, or whose cause a person must mend first. Whether the operation was
	// done is not known.
	ErrGivenUp = errors.New("given up")
)
