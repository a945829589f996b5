package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A process that builds a generation says so every few seconds, so that a second one
// is told instead of doing the same work, and what it does, so that others can share
// it. Nothing is decided by it: were two at work the chains would hold.
const (
	holdEvery = 3 * time.Second
	holdWatch = 12 * time.Second // in which one that is at work has said so
)

// ErrAtWork says that another process builds a generation of the table.
var ErrAtWork = errors.New("another process is building a new generation of the table")

type holdObject struct {
	V     int       `json:"v"`
	By    string    `json:"by"` // random, fresh for each process
	Beats int64     `json:"beats"`
	At    time.Time `json:"at"`
	Work
}

// Work is what a process that builds a generation says of what it does, to those that
// may share it.
type Work struct {
	Step       WorkStep `json:"step,omitempty"`
	Generation int      `json:"generation,omitempty"` // 0 until it is known
	Log        string   `json:"log,omitempty"`        // id of the topic that is read
	// To are the offsets, by topic partition, to which the topic is read, by WorkRead, and
	// the generation's chains are brought, by WorkWrite, where they may rise.
	To map[int]int64 `json:"to,omitempty"`
	// RecordLoss says that what the topic has lost is recorded in the generation. Without it
	// that ends the work.
	RecordLoss bool `json:"record_loss,omitempty"`
	// Alone is why nobody can share the work; empty where others can.
	Alone string `json:"alone,omitempty"`
}

// WorkStep is how far the building of a generation is.
type WorkStep string

// The steps. An unknown one is taken for a step before WorkWrite.
const (
	WorkPrepare WorkStep = "prepare"
	WorkRead    WorkStep = "read"   // the topic is read for columns
	WorkWrite   WorkStep = "write"  // rows are written
	WorkFinish  WorkStep = "finish" // what is left is for one process: audit, swap
)

func (t *Table) holdKey() string { return t.root() + "rebuild.json" }

func (t *Table) readHold(ctx context.Context) (h holdObject, err error) {
	err = t.read(ctx, t.holdKey(), &h)
	if errors.Is(err, ErrNotExist) {
		return holdObject{}, nil
	}
	return h, err
}

// watchHold gives what a process that builds a generation says, once it was seen to be
// at work. Of one that says nothing for a while it gives atWork false, and of none
// nothing.
func (t *Table) watchHold(ctx context.Context) (h holdObject, atWork bool, err error) {
	first, err := t.readHold(ctx)
	if err != nil || first.By == "" {
		return holdObject{}, false, err
	}
	for waited := time.Duration(0); waited < holdWatch; waited += time.Second {
		if err := t.sleep(ctx, time.Second); err != nil {
			return holdObject{}, false, err
		}
		now, err := t.readHold(ctx)
		if err != nil || now.By == "" {
			return holdObject{}, false, err
		}
		if now.By != first.By || now.Beats != first.Beats {
			return now, true, nil
		}
	}
	return first, false, nil
}

// Hold is what says that this process builds a generation of a table.
type Hold struct {
	table *Table
	mu    sync.Mutex
	mine  holdObject
	end   context.CancelCauseFunc
	done  chan struct{}
}

// Hold says that this process builds a generation, until Release. ErrAtWork if
// another does: it is watched for a while if it says so, since it may have died. alone
// says that there can be no other. The context that it gives ends when another process
// took over.
func (t *Table) Hold(ctx context.Context, alone bool) (holding context.Context, h *Hold, err error) {
	if !alone {
		other, atWork, err := t.watchHold(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("build table %s anew: %w", t.name, err)
		}
		if atWork {
			return nil, nil, fmt.Errorf("build table %s anew: %w (since %s): wait for it, stop it first, or share its work with --join", t.name, ErrAtWork, other.At.Format(time.RFC3339))
		}
	}
	h = &Hold{table: t, mine: holdObject{V: formatVersion, By: newAttempt(), At: t.now().UTC(), Work: Work{Step: WorkPrepare}}, done: make(chan struct{})}
	if err := h.write(ctx); err != nil {
		return nil, nil, fmt.Errorf("build table %s anew: %w", t.name, err)
	}
	holding, h.end = context.WithCancelCause(ctx)
	go h.beat(holding)
	return holding, h, nil
}

// ID tells one process, and its life, from others.
func (h *Hold) ID() string { return h.mine.By }

// write says the present state.
func (h *Hold) write(ctx context.Context) error {
	h.mine.Beats++
	b, err := json.Marshal(h.mine)
	if err != nil {
		return err
	}
	return h.table.store.Put(ctx, h.table.holdKey(), b)
}

func (h *Hold) beat(ctx context.Context) {
	defer close(h.done)
	for h.table.sleep(ctx, holdEvery) == nil {
		if !h.say(ctx) {
			h.end(fmt.Errorf("build table %s anew: %w, which took this one for dead", h.table.name, ErrAtWork))
			return
		}
	}
}

// say says the present state, unless another process took over. That it fails is no
// matter: the next time will do.
func (h *Hold) say(ctx context.Context) (mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, err := h.table.readHold(ctx)
	if err == nil && now.By != h.mine.By && now.By != "" {
		return false
	}
	_ = h.write(ctx)
	return true
}

// Say tells others what is done now.
func (h *Hold) Say(ctx context.Context, w Work) {
	h.mu.Lock()
	h.mine.Work = w
	h.mu.Unlock()
	h.say(ctx)
}

// Release says that the work has ended.
func (h *Hold) Release(ctx context.Context) {
	h.end(nil)
	<-h.done
	if now, err := h.table.readHold(ctx); err == nil && now.By == h.mine.By {
		_ = h.table.store.Delete(ctx, h.table.holdKey())
	}
}

// ErrNotAtWork says that no process builds a generation of the table, whose work could
// be shared.
var ErrNotAtWork = errors.New("no process is building a new generation of the table")

// ErrLeft says that the process whose work is shared has ended, or was not heard of for
// a while.
var ErrLeft = errors.New("the process that leads the rebuild has ended, or has said nothing for a while")

// Leader is the process that builds a generation of a table, as those see it that share
// its work.
type Leader struct {
	table  *Table
	last   holdObject
	silent time.Duration
}

// Leader finds the process that builds a generation of the table. It is watched for a
// while, since it may have died. ErrNotAtWork if there is none.
func (t *Table) Leader(ctx context.Context) (*Leader, error) {
	h, atWork, err := t.watchHold(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("join the rebuild of table %s: %w", t.name, err)
	case !atWork && h.By != "":
		return nil, fmt.Errorf("join the rebuild of table %s: %w, and the one that did has said nothing for a while: lakefeed rebuild %[1]s goes on with its work; give --join to the processes that are to share it", t.name, ErrNotAtWork)
	case !atWork:
		return nil, fmt.Errorf("join the rebuild of table %s: %w: start one with lakefeed rebuild %[1]s, and give --join to the processes that are to share its work", t.name, ErrNotAtWork)
	}
	return &Leader{table: t, last: h}, nil
}

// ID tells one process, and its life, from others.
func (l *Leader) ID() string { return l.last.By }

// Work is what the leader said last.
func (l *Leader) Work() Work { return l.last.Work }

// Look waits a moment and reads what the leader says now. ErrLeft when it has ended,
// when another has taken its place, or when it says nothing for a while.
func (l *Leader) Look(ctx context.Context) (Work, error) {
	if err := l.table.sleep(ctx, time.Second); err != nil {
		return l.last.Work, err
	}
	now, err := l.table.readHold(ctx)
	switch {
	case ctx.Err() != nil:
		return l.last.Work, ctx.Err()
	case err == nil && now.By != l.last.By:
		return l.last.Work, ErrLeft
	case err == nil && now.Beats != l.last.Beats:
		l.last, l.silent = now, 0
		return now.Work, nil
	}
	if l.silent += time.Second; l.silent > holdWatch {
		return l.last.Work, errors.Join(ErrLeft, err)
	}
	return l.last.Work, nil
}
