// Package sinktest has the tests that every store must pass, and a store that
// fails on purpose.
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"lakefeed/sink"
)

// TestStore checks that a store keeps to the contract of sink.Store. open gives a
// new, empty store each time.
func TestStore(t *testing.T, open func(t *testing.T) sink.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s sink.Store)
	}{
		{"create and get", createAndGet},
		{"create keeps the first body", createKeepsFirst},
		{"create racing: exactly one wins, and its body is whole", createRace},
		{"create racing on many keys", createRaceMany},
		{"get and stat of what is not there", notThere},
		{"put replaces", putReplaces},
		{"a staged body is invisible", stagedInvisible},
		{"a staged body is found until it is published or discarded", stagedFound},
		{"staged bodies are listed by table", stagedListed},
		{"publish makes it visible", publishVisible},
		{"publish may be repeated", publishRepeated},
		{"publish by another process", publishElsewhere},
		{"publish racing", publishRace},
		{"publish of what was discarded is lost", publishLost},
		{"publish of what was discarded after it was published", publishDiscarded},
		{"discard may be repeated and spares objects", discardRepeated},
		{"two staged bodies of one key are apart", stagedApart},
		{"nothing is staged when the body fails", stageFails},
		{"empty and large bodies", sizes},
		{"list is sorted and knows prefix and after", list},
		{"list can be stopped", listStopped},
		{"list of nothing", listNothing},
		{"keys with special characters", specialKeys},
		{"invalid keys are refused", invalidKeys},
		{"delete", deleteTwice},
		{"an ended context", endedContext},
		{"errors name the key", errorsNameKey},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func get(t *testing.T, s sink.Store, key, want string) {
	t.Helper()
	b, err := s.Get(t.Context(), key)
	if err != nil || string(b) != want {
		t.Fatalf("Get(%s) = %.40q, %v; want %.40q", key, b, err, want)
	}
}

func keys(t *testing.T, s sink.Store, prefix, after string) []string {
	t.Helper()
	out := []string{}
	for o, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("List(%q, %q): %v", prefix, after, err)
		}
		out = append(out, o.Key)
	}
	return out
}

func wantKeys(t *testing.T, s sink.Store, prefix, after string, want ...string) {
	t.Helper()
	if have := keys(t, s, prefix, after); !slices.Equal(have, want) {
		t.Errorf("List(%q, %q)\n have %q\n want %q", prefix, after, have, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func createAndGet(t *testing.T, s sink.Store) {
	ok(t, s.Create(t.Context(), "_lakefeed/t/a.json", []byte("one")))
	get(t, s, "_lakefeed/t/a.json", "one")
	o, err := s.Stat(t.Context(), "_lakefeed/t/a.json")
	if err != nil || o.Key != "_lakefeed/t/a.json" || o.Size != 3 || time.Since(o.Modified).Abs() > time.Hour {
		t.Fatalf("Stat = %+v, %v", o, err)
	}
	wantKeys(t, s, "", "", "_lakefeed/t/a.json")
}

func createKeepsFirst(t *testing.T, s sink.Store) {
	ok(t, s.Create(t.Context(), "_lakefeed/t/a", []byte("one")))
	for range 3 {
		if err := s.Create(t.Context(), "_lakefeed/t/a", []byte("two")); !errors.Is(err, sink.ErrExists) {
			t.Fatalf("second Create: %v, want ErrExists", err)
		}
	}
	get(t, s, "_lakefeed/t/a", "one")
	wantKeys(t, s, "", "", "_lakefeed/t/a")
}

// race runs n goroutines at once and gives what they returned.
func race(n int, run func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			errs[i] = run(i)
		})
	}
	close(start)
	group.Wait()
	return errs
}

// Bodies are long, so that a reader could see half of one.
func raceBody(i int) string { return strings.Repeat(fmt.Sprintf("%04d", i), 20_000) }

func createRace(t *testing.T, s sink.Store) {
	ctx := t.Context()
	const n = 32
	done := make(chan struct{})
	var half error
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			b, err := s.Get(ctx, "_lakefeed/t/a")
			if err == nil && len(b) != len(raceBody(0)) {
				half = fmt.Errorf("a reader saw %d of %d bytes", len(b), len(raceBody(0)))
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	errs := race(n, func(i int) error { return s.Create(ctx, "_lakefeed/t/a", []byte(raceBody(i))) })
	close(done)
	watch.Wait()
	ok(t, half)
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatalf("both %d and %d have created it", winner, i)
		case !errors.Is(err, sink.ErrExists):
			t.Fatalf("Create %d: %v", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody has created it")
	}
	get(t, s, "_lakefeed/t/a", raceBody(winner))
	wantKeys(t, s, "", "", "_lakefeed/t/a")
}

func createRaceMany(t *testing.T, s sink.Store) {
	ctx := t.Context()
	const rounds, n = 20, 4
	for k := range rounds {
		key := fmt.Sprintf("_lakefeed/t/new-%d/a", k) // the folder is new too
		won := 0
		for i, err := range race(n, func(i int) error { return s.Create(ctx, key, []byte{byte(i)}) }) {
			if err == nil {
				won++
				get(t, s, key, string([]byte{byte(i)}))
			} else if !errors.Is(err, sink.ErrExists) {
				t.Fatal(err)
			}
		}
		if won != 1 {
			t.Fatalf("%d have created %s", won, key)
		}
	}
}

func notThere(t *testing.T, s sink.Store) {
	ok(t, s.Create(t.Context(), "_lakefeed/t/a/b", nil))
	for _, key := range []string{"x", "_lakefeed/t/x", "_lakefeed/t", "_lakefeed/t/a", "_lakefeed/t/a/b/c"} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, sink.ErrNotExist) {
			t.Errorf("Get(%s): %v, want ErrNotExist", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, sink.ErrNotExist) {
			t.Errorf("Stat(%s): %v, want ErrNotExist", key, err)
		}
	}
}

func putReplaces(t *testing.T, s sink.Store) {
	for _, body := range []string{"a longer one", "two", ""} {
		ok(t, s.Put(t.Context(), "_lakefeed/t/catalog.json", []byte(body)))
		get(t, s, "_lakefeed/t/catalog.json", body)
	}
	wantKeys(t, s, "", "", "_lakefeed/t/catalog.json")
}

func sizes(t *testing.T, s sink.Store) {
	large := strings.Repeat("0123456789abcdef", 6<<16) // 6 MiB: more than one part of an upload
	for name, body := range map[string]string{"empty": "", "large": large} {
		staged, err := s.Stage(t.Context(), "t/"+name, iotest.HalfReader(strings.NewReader(body)))
		ok(t, err)
		ok(t, s.Publish(t.Context(), staged))
		b, err := s.Get(t.Context(), "t/"+name)
		ok(t, err)
		if !bytes.Equal(b, []byte(body)) {
			t.Errorf("%s: %d bytes came back of %d, or others", name, len(b), len(body))
		}
		ok(t, s.Create(t.Context(), "_lakefeed/t/"+name, []byte(body)))
		get(t, s, "_lakefeed/t/"+name, body)
	}
}

func list(t *testing.T, s sink.Store) {
	all := []string{"a", "a-b/c", "a.b", "a/b", "a/b-c", "a/b.c", "a/b/c", "a/b/d", "a0", "b/00000000000000000009", "b/00000000000000000010"}
	all = slices.DeleteFunc(all, func(k string) bool { return k == "a" || k == "a/b" }) // a folder store has no key below a key
	for _, i := range []int{5, 0, 3, 8, 1, 7, 2, 6, 4} {
		ok(t, s.Create(t.Context(), all[i], []byte(all[i])))
	}
	if !slices.IsSorted(all) {
		t.Fatal("the test's keys are not sorted")
	}
	prefixes := append([]string{"", "a", "a/", "a/b", "a/b/", "a/b/c", "a/x", "b", "b/0000", "c", "a-", "a."}, all...)
	for _, prefix := range prefixes {
		for _, after := range append([]string{"", "a", "a/", "a/b", "a/b/", "b/", "b/00000000000000000009x", "zz"}, all...) {
			want := []string{}
			for _, k := range all {
				if strings.HasPrefix(k, prefix) && k > after {
					want = append(want, k)
				}
			}
			wantKeys(t, s, prefix, after, want...)
		}
	}
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil || o.Size != int64(len(o.Key)) || time.Since(o.Modified).Abs() > time.Hour {
			t.Errorf("List gives %+v, %v", o, err)
		}
	}
}

func listStopped(t *testing.T, s sink.Store) {
	for _, key := range []string{"t/a/1", "t/a/2", "t/b/1"} {
		ok(t, s.Create(t.Context(), key, nil))
	}
	for n := 1; n <= 3; n++ {
		seen := 0
		for range s.List(t.Context(), "t/", "") {
			if seen++; seen == n {
				break
			}
		}
	}
}

func listNothing(t *testing.T, s sink.Store) {
	wantKeys(t, s, "", "")
	wantKeys(t, s, "no/such/folder/", "")
	wantKeys(t, s, "no", "x")
}

func specialKeys(t *testing.T, s sink.Store) {
	special := []string{"t/c=a%2Fb/x", "t/c=ä ö/x", "t/c=a+b&c=d?e#f/x", "t/c=__HIVE_DEFAULT_PARTITION__/x", "t/c=a'b\"c/x", "t/c=日本/x", "t/.hidden/x", "t/c=..x/y"}
	for _, key := range special {
		ok(t, s.Publish(t.Context(), stage(t, s, key, key)))
		get(t, s, key, key)
	}
	slices.Sort(special)
	wantKeys(t, s, "t/", "", special...)
}

func invalidKeys(t *testing.T, s sink.Store) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "./a", "a/./b"} {
		if err := s.Create(t.Context(), key, nil); err == nil || errors.Is(err, sink.ErrExists) {
			t.Errorf("Create(%q): %v", key, err)
		}
		if err := s.Put(t.Context(), key, nil); err == nil {
			t.Errorf("Put(%q) is no error", key)
		}
		if _, err := s.Stage(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("Stage(%q) is no error", key)
		}
		if _, err := s.Get(t.Context(), key); err == nil {
			t.Errorf("Get(%q) is no error", key)
		}
		staged := stage(t, s, "t/a", "x")
		staged.Key = key
		if err := s.Publish(t.Context(), staged); err == nil {
			t.Errorf("Publish(%q) is no error", key)
		}
	}
	wantKeys(t, s, "", "")
}

func deleteTwice(t *testing.T, s sink.Store) {
	ok(t, s.Create(t.Context(), "t/a", nil))
	ok(t, s.Create(t.Context(), "t/b", nil))
	for range 2 {
		ok(t, s.Delete(t.Context(), "t/a"))
	}
	ok(t, s.Delete(t.Context(), "no/such/key"))
	wantKeys(t, s, "", "", "t/b")
	ok(t, s.Create(t.Context(), "t/a", []byte("again")))
	get(t, s, "t/a", "again")
}

func endedContext(t *testing.T, s sink.Store) {
	staged := stage(t, s, "t/b", "rows")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, stageErr := s.Stage(ctx, "t/c", strings.NewReader("rows"))
	_, getErr := s.Get(ctx, "t/a")
	_, statErr := s.Stat(ctx, "t/a")
	var listErr error
	for _, err := range s.List(ctx, "", "") {
		listErr = err
	}
	for name, err := range map[string]error{
		"Create": s.Create(ctx, "t/a", nil), "Put": s.Put(ctx, "t/a", nil), "Publish": s.Publish(ctx, staged), "Discard": s.Discard(ctx, staged),
		"Delete": s.Delete(ctx, "t/a"), "Stage": stageErr, "Get": getErr, "Stat": statErr, "List": listErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	wantKeys(t, s, "", "")
	ok(t, s.Publish(t.Context(), staged))
}

func errorsNameKey(t *testing.T, s sink.Store) {
	ok(t, s.Create(t.Context(), "t/a", nil))
	staged := stage(t, s, "t/b", "rows")
	ok(t, s.Discard(t.Context(), staged))
	_, getErr := s.Get(t.Context(), "t/c")
	_, statErr := s.Stat(t.Context(), "t/c")
	for key, errs := range map[string][]error{
		"t/a": {s.Create(t.Context(), "t/a", nil)},
		"t/b": {s.Publish(t.Context(), staged)},
		"t/c": {getErr, statErr},
	} {
		for _, err := range errs {
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("error %v does not name %s", err, key)
			}
		}
	}
}
