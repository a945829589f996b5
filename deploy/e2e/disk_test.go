//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a disk of a few megabytes, for which it takes root. room gives
// it more.
func smallDisk(t *testing.T) (folder string, room func()) {
	t.Helper()
	folder = t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(folder, syscall.MNT_DETACH) })
	return folder, func() {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "size=200m"); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk stops a run with what it was doing and why; with room the next run
// goes on, and every row is there once.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const rows = 200_000
	for _, full := range []string{"lake", "kafka"} {
		t.Run(full, func(t *testing.T) {
			t.Parallel()
			disk, room := smallDisk(t)
			dir := t.TempDir()
			folders := map[string]string{"lake": filepath.Join(dir, "lake"), "kafka": filepath.Join(dir, "kafka")}
			folders[full] = filepath.Join(disk, full)
			source := filepath.Join(dir, "rows.csv")
			writeFile(t, source, rowsHeader+rowsCSV(0, rows))
			args := []string{"ingest", "-o", "json", source, "--lake", folders["lake"], "--kafka-dir", folders["kafka"], "--flush-size", "1MB"}
			// All but so much is taken by something else.
			left := map[string]int{"lake": 150_000, "kafka": 300_000}[full]
			writeFile(t, filepath.Join(disk, "ballast"), strings.Repeat("x", 3<<20-left))
			r := run(t, args...)
			if r.code == 0 || !strings.Contains(r.stderr, map[string]string{"lake": "no space left on device", "kafka": "full or broken disk"}[full]) {
				t.Errorf("a full disk under the %s: %v", full, r)
			}
			noRowTwice(t, folders["lake"])
			room()
			ok(t, args...)
			readTable(t, folders["lake"], "rows").eachOnce(t, "id", rows)
		})
	}
}
