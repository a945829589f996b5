package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A process that builds a generation says so every few seconds, so that a second one
// is told instead of doing the same work. Nothing is decided by it: were two at work
// the chains would hold.
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
}

func (t *Table) holdKey() string { return t.root() + "rebuild.json" }

func (t *Table) readHold(ctx context.Context) (h holdObject, err error) {
	err = t.read(ctx, t.holdKey(), &h)
	if errors.Is(err, ErrNotExist) {
		return holdObject{}, nil
	}
	return h, err
}

// Hold says that this process builds a generation, until release. ErrAtWork if
// another does: it is watched for a while if it says so, since it may have died. alone
// says that there can be no other. The context that it gives ends when another process
// took over.
func (t *Table) Hold(ctx context.Context, alone bool) (holding context.Context, release func(), err error) {
	first, err := t.readHold(ctx)
	for waited := time.Duration(0); err == nil && first.By != "" && !alone && waited < holdWatch; waited += time.Second {
		if err = t.sleep(ctx, time.Second); err != nil {
			break
		}
		var now holdObject
		if now, err = t.readHold(ctx); err != nil || now.By == "" {
			break
		}
		if now != first {
			return nil, nil, fmt.Errorf("build table %s anew: %w (since %s): wait for it, or stop it first", t.name, ErrAtWork, first.At.Format(time.RFC3339))
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("build table %s anew: %w", t.name, err)
	}
	mine := holdObject{V: formatVersion, By: newAttempt(), At: t.now().UTC()}
	beat := func(ctx context.Context) error {
		mine.Beats++
		b, err := json.Marshal(mine)
		if err != nil {
			return err
		}
		return t.store.Put(ctx, t.holdKey(), b)
	}
	if err := beat(ctx); err != nil {
		return nil, nil, fmt.Errorf("build table %s anew: %w", t.name, err)
	}
	holding, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t.sleep(holding, holdEvery) == nil {
			now, err := t.readHold(holding)
			if err == nil && now.By != mine.By && now.By != "" {
				end(fmt.Errorf("build table %s anew: %w, which took this one for dead", t.name, ErrAtWork))
				return
			}
			_ = beat(holding) // it is a courtesy
		}
	}()
	return holding, func() {
		end(nil)
		<-done
		if now, err := t.readHold(context.WithoutCancel(ctx)); err == nil && now.By == mine.By {
			_ = t.store.Delete(context.WithoutCancel(ctx), t.holdKey())
		}
	}, nil
}
