package dir

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// syncFolder brings the names in a folder to the disk. File systems that cannot
// do so for folders keep them in order by themselves, or not at all; one that is
// read-only has nothing to bring.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EROFS) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
