//go:build unix

package dir_test

import (
	"os/signal"
	"syscall"
	"testing"
)

// limitFileSize makes the process's writes beyond a size fail, as on a full disk,
// and gives the size.
func limitFileSize(t *testing.T) int {
	t.Helper()
	const limit = 1 << 20
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Skip(err)
	}
	return limit
}
