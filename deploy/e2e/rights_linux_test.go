package e2e

import (
	"os"
	"syscall"
)

// unprivileged starts a process as nobody where we are root, whom permissions do
// not bind.
var unprivileged = func() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}()
