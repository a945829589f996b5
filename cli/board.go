package cli

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"lakefeed/schema"
)

// board shows where the feeds of a run are.
type board struct {
	mu    sync.Mutex // of the feeds' progress too
	view  view
	began time.Time
	feeds []*progress

	done chan struct{}
	wait sync.WaitGroup
}

// start shows progress on out until stop.
func (p Progress) start(out io.Writer) *board {
	b := &board{view: p.view(out), began: time.Now(), done: make(chan struct{})}
	b.wait.Go(func() {
		tick := time.NewTicker(b.view.every())
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.mu.Lock()
				b.view.show(b.standing())
				b.mu.Unlock()
			case <-b.done:
				return
			}
		}
	})
	return b
}

func (p Progress) view(out io.Writer) view {
	switch p.Progress {
	case "bar":
		return newBars(out)
	case "json":
		return &jsonView{json.NewEncoder(out)}
	case "none":
		return &lineView{out: out, quiet: true}
	case "auto":
		if isTerminal(out) {
			return newBars(out)
		}
	}
	return &lineView{out: out}
}

// stop shows where the run ended.
func (b *board) stop() {
	close(b.done)
	b.wait.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view.close(b.standing())
}

// feed adds a feed. Its name stands before what is said, where there is one.
func (b *board) feed(name string) *progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &progress{board: b, name: name, at: map[string]int64{}, conflicts: map[schema.StreamID]bool{}}
	b.feeds = append(b.feeds, p)
	return p
}

// standing is where all feeds are together. The caller has the lock.
func (b *board) standing() standing {
	all := standing{Seconds: time.Since(b.began).Seconds()}
	worked, known := int64(0), true
	for _, p := range b.feeds {
		all.Sent += p.now.Sent
		all.BytesSent += p.now.BytesSent
		all.BytesDone += p.now.BytesDone
		all.BytesTotal += p.now.BytesTotal
		all.Commits += p.now.Commits
		all.Rows += p.commit.Rows
		all.Quarantined += p.commit.Quarantined
		all.Filtered += p.commit.Filtered
		all.Rescued += p.commit.Rescued
		worked += p.worked
		known = known && !p.unknown
	}
	if !known {
		all.BytesTotal = 0
	}
	if left := all.BytesTotal - all.BytesDone; left > 0 && worked > 0 {
		all.ETA = all.Seconds * float64(left) / float64(worked)
	}
	return all
}
