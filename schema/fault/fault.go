// Package fault has named points in the way of the data at which a test can make
// a run fail or die. Without a hook in the context a point does nothing.
package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Points are all points, in the order in which a row passes them. Each stands
// between two steps of which the second can be missing after a crash.
var Points = []string{
	ObjectCreate, ClaimWrite, ClaimWritten, BatchSend, BatchSent, ProgressWrite, ProgressWritten, EndSend, EndSent,
	BatchTaken, SchemaAppend, SchemaAppended, FileStage, FileStaged, RecordCreate, RecordCreated,
	FilePublish, FilePublished, CheckpointWrite, CheckpointWritten, CatalogWrite,
}

// RebuildPoints are the points that a rebuild and a swap of generations pass besides,
// in their order.
var RebuildPoints = []string{BuildClaim, BuildClaimed, Inferred, Rebuilt, SwapBegin, SwapBegun, SetChange, SetChanged, SwapDecide, SwapDecided, CatalogWrite}

// NowPoints are those of a swap that does not wait until its target has caught up, in
// their order.
var NowPoints = []string{SwapBegin, SwapBegun, SetChange, SetChanged, SwapDecide, SwapDecided, SwapTold, CatalogWrite, BatchTaken, FileStage, FileStaged, RecordCreate, RecordCreated, FilePublish, FilePublished, CaughtUp}

// RawPoints are those of a run that keeps a raw zone.
var RawPoints = []string{RawWrite, RawWritten}

// The points. What is named in the past tense was done, the others are about to
// be.
const (
	ObjectCreate      = "object-create"    // of a table, a log, a segment, a checkpoint
	ClaimWrite        = "claim-write"      // of an object, into the progress topic
	ClaimWritten      = "claim-written"    //
	BatchSend         = "batch-send"       // of rows
	BatchSent         = "batch-sent"       // and acknowledged
	ProgressWrite     = "progress-write"   // of a stream
	ProgressWritten   = "progress-written" //
	EndSend           = "end-send"         // of a stream
	EndSent           = "end-sent"         //
	BatchTaken        = "batch-taken"      // rows are typed, and nothing of them is stored
	SchemaAppend      = "schema-append"    // a version
	SchemaAppended    = "schema-appended"  //
	FileStage         = "file-stage"       // one data file, invisible
	FileStaged        = "file-staged"      //
	RecordCreate      = "record-create"    // the commit
	RecordCreated     = "record-created"   //
	FilePublish       = "file-publish"     // one data file, visible
	FilePublished     = "file-published"   //
	CheckpointWrite   = "checkpoint-write" // of a chain
	CheckpointWritten = "checkpoint-written"
	CatalogWrite      = "catalog-write" // the projection
	BuildClaim        = "build-claim"   // of a new generation's number
	BuildClaimed      = "build-claimed" //
	ColumnsKeep       = "columns-keep"  // of some offsets, by one of several processes
	Inferred          = "inferred"      // the new generation has its columns
	Rebuilt           = "rebuilt"       // and the rows that there were
	SwapBegin         = "swap-begin"    // the intent
	SwapBegun         = "swap-begun"    //
	SetChange         = "set-change"    // the topic partitions of a generation are closed or opened
	SetChanged        = "set-changed"   //
	SwapDecide        = "swap-decide"   // the outcome
	RawWrite          = "raw-write"     // an object of the raw zone
	RawWritten        = "raw-written"   //
	SwapDecided       = "swap-decided"  //
	SwapTold          = "swap-told"     // what a swap that did not wait has left behind
	CaughtUp          = "caught-up"     // with that
)

// Hook is called at a point, with the context of the step there; its error is that of
// the step.
type Hook func(ctx context.Context, point string) error

type key struct{}

// With gives a context whose points call a hook.
func With(ctx context.Context, h Hook) context.Context { return context.WithValue(ctx, key{}, h) }

// At is a point.
func At(ctx context.Context, point string) error {
	if h, _ := ctx.Value(key{}).(Hook); h != nil {
		return h(ctx, point)
	}
	return nil
}

// Err is what a point fails with.
var Err = errors.New("fault injected")

// meetPatience is how long a process waits for others at each passing of a point, in seconds.
const meetPatience = "5"

// meet leaves a mark of this process in a folder, and waits until so many processes
// have left theirs, but not for ever: somebody may wait for this one. Nor does it when the
// step is called off.
func meet(where string) (func(context.Context) error, error) {
	dir, number, ok := strings.Cut(where, ",")
	number, seconds, timed := strings.Cut(number, ",")
	if !timed {
		seconds = meetPatience
	}
	want, err := strconv.Atoi(number)
	patience, untimed := strconv.Atoi(seconds)
	if !ok || err != nil || untimed != nil {
		return nil, fmt.Errorf("meet=%s is not meet=FOLDER,PROCESSES or meet=FOLDER,PROCESSES,SECONDS", where)
	}
	return func(ctx context.Context) error {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), nil, 0o666); err != nil {
			return err
		}
		for end := time.Now().Add(time.Duration(patience) * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			marks, err := os.ReadDir(dir)
			if err != nil || len(marks) >= want {
				return err
			}
		}
		return nil
	}, nil
}

// Parse makes a hook of POINT:N:ACTION. The point's N-th passing, counted from 1,
// fails with Err (action fail), or kills the process as kill -9 does (kill). With
// meet=FOLDER,PROCESSES it waits there, and at each passing that follows, for a few
// seconds, or for as many as a third value says, unless so many processes have come to
// where they wait.
func Parse(spec string) (Hook, error) {
	part := strings.SplitN(spec, ":", 3)
	if len(part) != 3 {
		return nil, fmt.Errorf("fault %q is not POINT:N:ACTION", spec)
	}
	n, err := strconv.Atoi(part[1])
	if err != nil || n < 1 {
		return nil, fmt.Errorf("fault %q: %q is no number above 0", spec, part[1])
	}
	var act func(context.Context) error
	action, where, _ := strings.Cut(part[2], "=")
	switch action {
	case "meet":
		if act, err = meet(where); err != nil {
			return nil, fmt.Errorf("fault %q: %w", spec, err)
		}
	case "fail":
		act = func(context.Context) error { return fmt.Errorf("%w at %s", Err, part[0]) }
	case "kill":
		act = func(context.Context) error {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			if err != nil {
				return err
			}
			select {} // the signal is on its way
		}
	default:
		return nil, fmt.Errorf("fault %q: %q is neither fail nor kill nor meet", spec, part[2])
	}
	var mu sync.Mutex
	passed := 0
	return func(ctx context.Context, point string) error {
		if point != part[0] {
			return nil
		}
		mu.Lock()
		passed++
		now := passed
		mu.Unlock()
		if now == n || action == "meet" && now > n {
			return act(ctx)
		}
		return nil
	}, nil
}
