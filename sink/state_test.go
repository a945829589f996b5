package sink_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"lakefeed/sink"
	"lakefeed/sink/mem"
	"lakefeed/sink/sinktest"
)

// place is a store at a URI of its own.
type place struct {
	sink.Store
	uri string
}

func (p place) String() string { return p.uri }

func named(uri string) place { return place{mem.New(), uri} }

func withState(t *testing.T, lake, state sink.Store) sink.Store {
	t.Helper()
	s, err := sink.WithState(t.Context(), lake, state)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDividedStore(t *testing.T) {
	lake, state := mem.New(), mem.New()
	s := withState(t, lake, state)
	for _, key := range []string{"_a/x", "_lakefeed/t/table.json", "_z/x", "t/a", "A/x", "_lakefeed2/x"} {
		if err := s.Create(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
		in := lake
		if strings.HasPrefix(key, "_lakefeed/") {
			in = state
		}
		if b, err := in.Get(t.Context(), key); err != nil || string(b) != key {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", []string{"A/x", "_a/x", "_lakefeed/state.json", "_lakefeed/t/table.json", "_lakefeed2/x", "_z/x", "t/a"}},
		{"_", "_lakefeed/state.json", []string{"_lakefeed/t/table.json", "_lakefeed2/x", "_z/x"}},
		{"_lakefeed", "", []string{"_lakefeed/state.json", "_lakefeed/t/table.json", "_lakefeed2/x"}},
		{"_lakefeed/t/", "", []string{"_lakefeed/t/table.json"}},
		{"t/", "", []string{"t/a"}},
		{"", "_z", []string{"_z/x", "t/a"}},
	} {
		have := []string{}
		for o, err := range s.List(t.Context(), c.prefix, c.after) {
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, o.Key)
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("List(%q, %q)\n have %q\n want %q", c.prefix, c.after, have, c.want)
		}
		for range s.List(t.Context(), c.prefix, c.after) {
			break
		}
	}
}

// A lake and its state find each other again, and nothing else takes their place:
// a chain that begins anew would take all rows in a second time.
func TestStateIsBound(t *testing.T) {
	lake, state := named("lake"), named("state")
	withState(t, lake, state)
	withState(t, lake, state)
	refused := func(what string, err error) {
		t.Helper()
		if _, ok := errors.AsType[*sink.StateError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := sink.WithState(t.Context(), lake, named("elsewhere"))
	refused("another state", err)
	_, err = sink.WithState(t.Context(), named("second"), state)
	refused("one state for two lakes", err)
	refused("without its state", sink.CheckState(t.Context(), lake))
	refused("its state as a lake", sink.CheckState(t.Context(), state))
	_, err = sink.WithState(t.Context(), named("third"), lake)
	refused("a lake as state", err)
	whole := mem.New()
	if err := whole.Create(t.Context(), "_lakefeed/t/table.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	_, err = sink.WithState(t.Context(), whole, mem.New())
	refused("a lake that has its state within", err)
	if err := sink.CheckState(t.Context(), whole); err != nil {
		t.Error(err)
	}
	if err := sink.CheckState(t.Context(), mem.New()); err != nil {
		t.Error(err)
	}
	// Interrupted at any call, and gone on with.
	for n := 1; ; n++ {
		lake, state := named("lake"), named("state")
		plan := sinktest.FailNth(n, sinktest.FailAfter)
		_, err := sink.WithState(t.Context(), &sinktest.FaultStore{Store: lake, Plan: plan}, &sinktest.FaultStore{Store: state, Plan: plan})
		withState(t, lake, state)
		if err == nil {
			break
		}
	}
}
