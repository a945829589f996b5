package dir_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lakefeed/sink"
	"lakefeed/sink/dir"
	"lakefeed/sink/sinktest"
)

func open(t *testing.T, folder string) *dir.Store {
	t.Helper()
	s, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	sinktest.TestStore(t, func(t *testing.T) sink.Store { return open(t, filepath.Join(t.TempDir(), "lake")) })
}

func names(t *testing.T, folder string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(folder, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What a crash leaves must neither be seen nor be in the way: half a temporary
// file, half a staged file, a link whose temporary file was not removed yet.
func TestCrashLeavesNothingInTheWay(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	commits := filepath.Join(folder, "_lakefeed/t/g1/commits/t/0")
	staged := filepath.Join(folder, "_lakefeed/t/staged")
	for _, d := range []string{commits, staged} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range map[string]string{
		commits + "/.tmp-0123456789abcdef": `{"v":1,"kind":"ro`,
		staged + "/part-x.parquet.0123":    "PAR1 half",
	} {
		if err := os.WriteFile(name, []byte(body), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const key = "_lakefeed/t/g1/commits/t/0/00000000000000000000.json"
	if err := s.Create(t.Context(), key, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(folder, key), commits+"/.tmp-fedcba9876543210"); err != nil {
		t.Fatal(err)
	}
	var have []string
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, o.Key)
	}
	if len(have) != 1 || have[0] != key {
		t.Errorf("List gives %q, want only %s", have, key)
	}
	if _, err := s.Get(t.Context(), "_lakefeed/t/g1/commits/t/0/.tmp-0123456789abcdef"); err == nil {
		t.Error("a temporary file can be read")
	}
}

// The name of a record must never be there with less than its whole body, which a
// program that creates the name and then writes cannot promise: it is watched
// here from outside while the body is on its way to the disk.
func TestCreateNeverShowsHalfABody(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	body := []byte(strings.Repeat("x", 32<<20))
	done := make(chan error)
	go func() { done <- s.Create(t.Context(), "_lakefeed/t/a", body) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if info, err := os.Stat(filepath.Join(folder, "_lakefeed/t/a")); err == nil && info.Size() != int64(len(body)) {
			<-done
			t.Fatalf("the object is there with %d of %d bytes", info.Size(), len(body))
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// A disk that fills up in the middle of a record must leave no object behind.
func TestCreateThatFailsLeavesNoObject(t *testing.T) {
	// The limit holds for a process: for one of its own, then.
	const inside = "LAKEFEED_TEST_FILE_SIZE_LIMITED"
	if os.Getenv(inside) == "" {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		c.Env = append(os.Environ(), inside+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	folder := t.TempDir()
	s := open(t, folder)
	limit := limitFileSize(t)
	err := s.Create(t.Context(), "_lakefeed/t/a", make([]byte, limit+1))
	if err == nil {
		t.Fatal("a body was written beyond the limit")
	}
	if !strings.Contains(err.Error(), "_lakefeed/t/a") || !strings.Contains(err.Error(), folder) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if left := names(t, folder); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := s.Create(t.Context(), "_lakefeed/t/a", []byte("small")); err != nil {
		t.Errorf("the name is taken: %v", err)
	}
	if _, err := s.Stage(t.Context(), "t/a", strings.NewReader(strings.Repeat("x", limit+1))); err == nil {
		t.Error("a body was staged beyond the limit")
	}
	if left := names(t, folder); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

func TestUnwritableFolder(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	s := open(t, folder)
	err := s.Create(t.Context(), "_lakefeed/t/a", nil)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), folder) {
		t.Errorf("Create: %v, want a permission error that names the folder", err)
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("Open: %v", err)
	}
}

// A record is text that came from elsewhere: it must not move files about.
func TestPublishTakesOnlyStagedFiles(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	const key = "_lakefeed/t/table.json"
	if err := s.Create(t.Context(), key, []byte("1234")); err != nil {
		t.Fatal(err)
	}
	for _, upload := range []string{key, "../x", "_lakefeed/t/staged/../table.json", "", "_lakefeed/t/staged"} {
		if err := s.Publish(t.Context(), sink.Staged{Key: "t/a", Upload: upload, Size: 4}); err == nil {
			t.Errorf("Publish of %q is no error", upload)
		}
		_ = s.Discard(t.Context(), sink.Staged{Key: "t/a", Upload: upload, Size: 4})
	}
	if _, err := s.Get(t.Context(), key); err != nil {
		t.Error(err)
	}
	for _, to := range []string{"_lakefeed/t/staged/x", "_lakefeed/t/staged"} {
		if err := s.Create(t.Context(), to, nil); err == nil {
			t.Errorf("Create(%s) is no error", to)
		}
	}
}

func TestStagedFilesLieWithTheirTable(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	for _, key := range []string{"flights/d=1/a", "flights.g12/a", "flights__quarantine/a", "flights__quarantine.g2/a"} {
		staged, err := s.Stage(t.Context(), key, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(staged.Upload, "_lakefeed/flights/staged/") {
			t.Errorf("%s is staged as %s", key, staged.Upload)
		}
	}
}

func TestCatalog(t *testing.T) {
	sinktest.TestCatalog(t, func(t *testing.T) sink.Catalog {
		return &sink.FileCatalog{Store: open(t, filepath.Join(t.TempDir(), "lake"))}
	})
}
