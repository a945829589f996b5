package schema

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the generated part of deploy/docs/evolution.md anew")

func typ(t *testing.T, s string) Type {
	t.Helper()
	out, err := ParseType(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		table, seen string // "" where there is none
		exists      bool
		on          Policy
		want        Deed
	}{
		{"", "double", false, 0, Add},
		{"", "unknown", false, PolicyEvolve, Add},
		{"", "double", false, PolicyRescue, RescueCells},
		{"", "double", false, PolicyReject, RejectRows},
		{"", "double", false, PolicyFreeze, Stop},
		{"unknown", "unknown", true, 0, Nothing},
		{"unknown", "date", true, 0, Decide},
		{"unknown", "date", true, PolicyFreeze, Decide}, // it is in no file
		{"bigint", "unknown", true, 0, Nothing},
		{"bigint", "bigint", true, 0, Nothing},
		{"bigint", "double", true, 0, RescueCells},
		{"bigint", "string", true, 0, RescueCells},
		{"bigint", "decimal(18,0)", true, 0, RescueCells},
		{"double", "decimal(38,2)", true, 0, RescueCells},
		{"decimal(15,2)", "decimal(18,2)", true, 0, Widen},
		{"decimal(15,2)", "decimal(38,2)", true, 0, Widen},
		{"decimal(15,2)", "decimal(18,3)", true, 0, RescueCells},
		{"decimal(18,2)", "decimal(15,2)", true, 0, RescueCells},
		{"decimal(15,2)", "decimal(18,2)", true, PolicyRescue, RescueCells},
		{"decimal(15,2)", "decimal(18,2)", true, PolicyReject, RejectRows},
		{"decimal(15,2)", "decimal(18,2)", true, PolicyFreeze, Stop},
		{"date", "date m/d/y", true, 0, Settle},
		{"date m/d/y", "date d/m/y", true, 0, RescueCells},
		{"date", "timestamp", true, 0, RescueCells},
		{"timestamp", "timestamp with time zone", true, 0, RescueCells},
		{"bigint", "bigint 1.234,5", true, 0, Settle},
		{"double", "double 1,234.5", true, 0, Settle},
		{"double", "double 1.234,5", true, 0, RescueCells}, // 1.234 would be another number
		{"string", "bigint", true, 0, RescueCells},
	} {
		s := Situation{Exists: c.exists, Seen: typ(t, c.seen), On: c.on}
		if c.table != "" {
			s.Table = typ(t, c.table)
			if s.Table.Kind != Unknown {
				s.Files = []Type{s.Table}
			}
		}
		if got := Plan(s); got.Do != c.want || got.Why == "" {
			t.Errorf("table has %q, seen %q, policy %q: %v (%s), want %v", c.table, c.seen, c.on, got.Do, got.Why, c.want)
		}
	}
}

// The type of a column of files changes only where the measurements allow it, and a
// plan that is carried out is asked for nothing more.
func TestPlanFollowsCoercions(t *testing.T) {
	kinds := []string{"boolean", "bigint", "bigint 1,234.5", "double", "double 1.234,5", "decimal(9,2)", "decimal(15,2)", "decimal(38,2)", "decimal(15,4)", "date", "date d/m/y", "timestamp", "timestamp with time zone", "string"}
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(name string) Type {
			return typ(t, rapid.SampledFrom(kinds).Draw(rt, name))
		}
		s := Situation{Exists: true, Table: pick("table"), Seen: pick("seen"), On: rapid.SampledFrom([]Policy{0, PolicyEvolve, PolicyRescue, PolicyReject, PolicyFreeze}).Draw(rt, "policy")}
		s.Files = []Type{s.Table}
		a := Plan(s)
		switch a.Do {
		case Widen, Settle:
			if !Allows(s.Table, a.Type) || s.On > PolicyEvolve || a.Type.Scale != s.Table.Scale || a.Type.Kind != s.Table.Kind {
				rt.Fatalf("%v: %v to %s", a.Do, s.Table.Written(), a.Type.Written())
			}
			again := s
			again.Table, again.Files = a.Type, []Type{s.Table, a.Type}
			if next := Plan(again); next.Do != Nothing {
				rt.Fatalf("after %v from %s to %s: %v", a.Do, s.Table.Written(), a.Type.Written(), next.Do)
			}
		default:
			if a.Type != s.Table {
				rt.Fatalf("%v changes %s to %s", a.Do, s.Table.Written(), a.Type.Written())
			}
		}
	})
}

// Every pair of kinds is there once, decimals by relation.
func TestCoercionsAreWhole(t *testing.T) {
	seen := map[string]int{}
	for _, c := range Coercions {
		seen[c.From.Kind.String()+c.To.Kind.String()]++
	}
	for from := Boolean; from <= String; from++ {
		for to := Boolean; to <= String; to++ {
			want := 1
			if from == to {
				want = 0
				if from == Decimal {
					want = 4 // two that are wider, one narrower, one of another scale
				}
			}
			if n := seen[from.String()+to.String()]; n != want {
				t.Errorf("%s to %s is there %d times, want %d", from, to, n, want)
			}
		}
	}
}

const (
	generatedFrom = "<!-- generated from schema/coercion.go: go test ./schema -run Page -update -->\n"
	generatedTo   = "<!-- end -->\n"
)

// The page has the table that the planner goes by.
func TestPage(t *testing.T) {
	name := filepath.Join("..", "deploy", "docs", "evolution.md")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), generatedFrom)
	have, after, closed := strings.Cut(rest, generatedTo)
	if !ok || !closed {
		t.Fatalf("%s has no part between %q and %q", name, generatedFrom, generatedTo)
	}
	want := coercionTable()
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s: its table is not that of schema/coercion.go; write it anew with -update. Want:\n%s", name, want)
	}
	if err := os.WriteFile(name, []byte(before+generatedFrom+want+generatedTo+after), 0o666); err != nil {
		t.Fatal(err)
	}
}

func coercionTable() string {
	var out strings.Builder
	fmt.Fprintf(&out, "| files | declared as | in a partition, %s | %s | between partitions, %s | %s | done |\n|---|---|---|---|---|---|---|\n", Engines[0], Engines[1], Engines[0], Engines[1])
	for _, c := range Coercions {
		done := ""
		if c.Allowed() {
			done = "**yes**"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s |\n", c.From, c.To, c.In[0], c.In[1], c.Partition[0], c.Partition[1], done)
	}
	return out.String()
}
