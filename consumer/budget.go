package consumer

import "sync"

// Budget bounds the text of rows in all open batches of the consumers that share
// it, and the columns that steps will make of them. A worker that finds it used up commits its batch, or waits for another's.
type Budget struct {
	mu    sync.Mutex
	used  int
	limit int
	users int           // workers that share it
	freed chan struct{} // closed when memory comes back
}

// NewBudget is the budget of consumers whose buffers may have so many bytes: half
// of them for the text of rows, as columns and files under construction take about
// as much again.
func NewBudget(memory int) *Budget { return &Budget{limit: memory / 2} }

// join adds a worker to those that share the budget, and leave takes one away.
func (b *Budget) join() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users++
}

func (b *Budget) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users--
}

// fits says whether every worker may keep the memory of n bytes of rows from batch to
// batch. Where it does not, many workers would in time each hold what their largest
// batch took, and all of them together more than the budget has.
func (b *Budget) fits(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return n <= b.limit/max(1, b.users)
}

// take adds n bytes when they fit, or when nothing else is in use; else it gives
// a channel that closes when memory came back.
func (b *Budget) take(n int) (wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used == 0 || b.used+n <= b.limit {
		b.used += n
		return nil
	}
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

// charge adds n bytes that cannot be waited for.
func (b *Budget) charge(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
}

// over says that more is in use than there is: what was charged did not fit.
func (b *Budget) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used > b.limit
}

func (b *Budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.freed != nil && n > 0 {
		close(b.freed)
		b.freed = nil
	}
}
