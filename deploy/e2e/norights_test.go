//go:build !linux

package e2e

import "syscall"

var unprivileged *syscall.SysProcAttr // scripts that need it are skipped
