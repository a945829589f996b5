//go:build unix

package dir_test

import (
	"os/signal"
	"syscall"
	"testing"
)

// limitFileSize makes writes beyond a size fail, as on a full disk, and gives the
// size. It holds for the process until the test ends.
func limitFileSize(t *testing.T) int {
	t.Helper()
	const limit = 1 << 20
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Skip(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
	return limit
}
