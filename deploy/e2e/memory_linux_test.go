package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// watchMemory watches how much memory a process has resident until it ends, and then
// gives the most that it had, in bytes. What wait4 tells of a process is no less than
// what its parent had when it was started (the kernel counts the memory that both
// share before exec), so the kernel's own high-water mark is read while it lives.
func (p *process) watchMemory(t *testing.T) (peak func() int64) {
	t.Helper()
	most := make(chan int64, 1)
	go func() {
		var high int64
		for {
			now, err := highWater(p.cmd.Process.Pid)
			if err != nil || now == 0 {
				most <- high // it has ended
				return
			}
			high = now
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func() int64 {
		high := <-most
		if high == 0 {
			t.Fatal("the memory of the process was never read")
		}
		return high
	}
}

// highWater is VmHWM of proc_pid_status(5), which a process that has ended lacks.
func highWater(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(status, []byte("VmHWM:"))
	if !found {
		return 0, nil
	}
	kib, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	n, err := strconv.ParseInt(string(kib), 10, 64)
	return n << 10, err
}
