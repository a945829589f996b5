package sinktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"lakefeed/sink"
)

func stage(t *testing.T, s sink.Store, key, body string) sink.Staged {
	t.Helper()
	staged, err := s.Stage(t.Context(), key, strings.NewReader(body))
	ok(t, err)
	if staged.Key != key || staged.Size != int64(len(body)) || staged.Upload == "" {
		t.Fatalf("Stage(%s) of %d bytes = %+v", key, len(body), staged)
	}
	if age := time.Since(staged.At); age < -time.Hour || age > time.Hour {
		t.Fatalf("staged at %v", staged.At)
	}
	return staged
}

func stagedInvisible(t *testing.T, s sink.Store) {
	staged := stage(t, s, "t/d=1/a.parquet", "rows")
	for _, prefix := range []string{"", "t", "t/", "t/d=1/", "_", "_lakefeed", "_lakefeed/", "_lakefeed/t/", "_lakefeed/t/staged", "_lakefeed/t/staged/", staged.Upload} {
		wantKeys(t, s, prefix, "")
	}
	if _, err := s.Get(t.Context(), "t/d=1/a.parquet"); !errors.Is(err, sink.ErrNotExist) {
		t.Errorf("Get: %v, want ErrNotExist", err)
	}
	if _, err := s.Stat(t.Context(), "t/d=1/a.parquet"); !errors.Is(err, sink.ErrNotExist) {
		t.Errorf("Stat: %v, want ErrNotExist", err)
	}
}

// stagedFound: a store that can look for what is staged finds it until it is
// published or discarded.
func stagedFound(t *testing.T, s sink.Store) {
	finder, ok := s.(sink.StagedFinder)
	if !ok {
		t.Skip("the store cannot look for what is staged")
	}
	want := func(staged sink.Staged, want bool) {
		t.Helper()
		if found, err := finder.FindStaged(t.Context(), staged); found != want || err != nil {
			t.Errorf("FindStaged(%s): %v, %v, want %v", staged.Key, found, err, want)
		}
	}
	published, discarded := stage(t, s, "t/a", "rows"), stage(t, s, "t/b", "rows")
	want(published, true)
	want(discarded, true)
	if err := s.Publish(t.Context(), published); err != nil {
		t.Error(err)
	}
	if err := s.Discard(t.Context(), discarded); err != nil {
		t.Error(err)
	}
	want(published, false)
	want(discarded, false)
}

// stagedListed: a store that can list what is staged gives that of one table. It may
// have more of it than the stager knows of, whose attempts had no answer.
func stagedListed(t *testing.T, s sink.Store) {
	lister, ok := s.(sink.StagedLister)
	if !ok {
		t.Skip("the store cannot list what is staged")
	}
	list := func(table string) (uploads []string) {
		t.Helper()
		for found, err := range lister.ListStaged(t.Context(), table) {
			if err != nil {
				t.Fatal(err)
			}
			uploads = append(uploads, found.Upload)
		}
		return uploads
	}
	want := func(table string, listed bool, staged ...sink.Staged) {
		t.Helper()
		have := list(table)
		for _, s := range staged {
			if slices.Contains(have, s.Upload) != listed {
				t.Errorf("staged for %s are %q; want %s (%s) among them: %v", table, have, s.Upload, s.Key, listed)
			}
		}
	}
	if have := list("t"); len(have) > 0 {
		t.Errorf("in a new store %q are staged", have)
	}
	one, two, three := stage(t, s, "t/d=1/a", "rows"), stage(t, s, "t/d=1/b", "rows"), stage(t, s, "t__quarantine/c", "rows")
	other := stage(t, s, "tt/d", "rows")
	want("t", true, one, two, three)
	want("t", false, other)
	want("tt", true, other)
	want("tt", false, one, two, three)
	if err := s.Publish(t.Context(), one); err != nil {
		t.Error(err)
	}
	if err := s.Discard(t.Context(), two); err != nil {
		t.Error(err)
	}
	want("t", true, three)
	want("t", false, one, two)
}

func publishVisible(t *testing.T, s sink.Store) {
	for _, key := range []string{"t/d=1/a.parquet", "t/b.parquet", "t.g2/d=1/a.parquet", "t__quarantine/a.parquet", "top"} {
		staged := stage(t, s, key, "rows of "+key)
		ok(t, s.Publish(t.Context(), staged))
		get(t, s, key, "rows of "+key)
	}
	wantKeys(t, s, "", "", "t.g2/d=1/a.parquet", "t/b.parquet", "t/d=1/a.parquet", "t__quarantine/a.parquet", "top")
}

func publishRepeated(t *testing.T, s sink.Store) {
	staged := stage(t, s, "t/a", "rows")
	for range 3 {
		ok(t, s.Publish(t.Context(), staged))
		get(t, s, "t/a", "rows")
	}
}

func publishElsewhere(t *testing.T, s sink.Store) {
	b, err := json.Marshal(stage(t, s, "t/a", "rows"))
	ok(t, err)
	var staged sink.Staged
	ok(t, json.Unmarshal(b, &staged))
	ok(t, s.Publish(t.Context(), staged))
	get(t, s, "t/a", "rows")
}

func publishRace(t *testing.T, s sink.Store) {
	ctx := t.Context()
	for k := range 8 {
		staged := stage(t, s, fmt.Sprintf("t/d=%d/a", k), "rows")
		for _, err := range race(8, func(int) error { return s.Publish(ctx, staged) }) {
			ok(t, err)
		}
		get(t, s, staged.Key, "rows")
	}
}

func publishLost(t *testing.T, s sink.Store) {
	staged := stage(t, s, "t/a", "rows")
	ok(t, s.Discard(t.Context(), staged))
	for range 2 {
		if err := s.Publish(t.Context(), staged); !errors.Is(err, sink.ErrLost) {
			t.Fatalf("Publish: %v, want ErrLost", err)
		}
	}
	wantKeys(t, s, "", "")
}

func publishDiscarded(t *testing.T, s sink.Store) {
	staged := stage(t, s, "t/a", "rows")
	ok(t, s.Publish(t.Context(), staged))
	ok(t, s.Discard(t.Context(), staged))
	ok(t, s.Publish(t.Context(), staged))
	get(t, s, "t/a", "rows")
	other := staged
	other.Size++
	if err := s.Publish(t.Context(), other); err == nil || errors.Is(err, sink.ErrLost) {
		t.Errorf("Publish over an object of another size: %v", err)
	}
	get(t, s, "t/a", "rows")
}

func discardRepeated(t *testing.T, s sink.Store) {
	kept := stage(t, s, "t/a", "rows")
	ok(t, s.Publish(t.Context(), kept))
	dropped := stage(t, s, "t/b", "rows")
	for range 2 {
		ok(t, s.Discard(t.Context(), kept))
		ok(t, s.Discard(t.Context(), dropped))
	}
	wantKeys(t, s, "", "", "t/a")
}

func stagedApart(t *testing.T, s sink.Store) {
	one, two := stage(t, s, "t/a", "one"), stage(t, s, "t/a", "two!")
	if one.Upload == two.Upload {
		t.Fatalf("both are %s", one.Upload)
	}
	ok(t, s.Discard(t.Context(), one))
	ok(t, s.Publish(t.Context(), two))
	get(t, s, "t/a", "two!")
}

func stageFails(t *testing.T, s sink.Store) {
	cause := errors.New("the encoder gave up")
	body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cause))
	if _, err := s.Stage(t.Context(), "t/a", body); !errors.Is(err, cause) {
		t.Fatalf("Stage: %v, want the body's error", err)
	}
	wantKeys(t, s, "", "")
}
