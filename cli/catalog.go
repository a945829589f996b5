package cli

import (
	"context"
	"log/slog"
	"time"

	"lakefeed/sink"
)

// catalogEvery is how soon after a commit the lake's catalog file says so.
const catalogEvery = 2 * time.Second

// keepCatalog writes a folder lake's catalog again after commits, until ctx
// ends. It is a projection: a failure is worth a warning, and nothing waits for
// it.
func keepCatalog(ctx context.Context, table *sink.Table, commits <-chan struct{}, log *slog.Logger) {
	projector := sink.NewProjector(table)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-commits:
		}
		if _, err := projector.Write(ctx); err != nil && ctx.Err() == nil {
			log.Warn("catalog not written", "table", table.Name(), "err", err)
		}
		pause.Reset(catalogEvery)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}
