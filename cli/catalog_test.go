package cli

import (
	"strings"
	"testing"

	"lakefeed/sink"
)

// Projection says what it hides, and when readers have more to look for than they bear.
func TestProjectionWarnings(t *testing.T) {
	for _, c := range []struct {
		done sink.Registration
		want []string
	}{
		{sink.Registration{Projected: 3652}, nil},
		{sink.Registration{Projected: 3_652_059}, []string{"look for 3,652,059 partitions, of which the table has 0"}},
		{sink.Registration{Projected: 60, Hidden: []string{"t/city= a"}}, []string{`1 folder, such as "t/city= a"`}},
	} {
		got := projectionWarnings(&c.done)
		if len(got) != len(c.want) {
			t.Fatalf("%+v: %q", c.done, got)
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%q does not say %q", got[i], want)
			}
		}
	}
}
