package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lakefeed/deploy/testbed"
)

// Two consumers find new columns at the same time, each in a topic partition of its
// own: they race for the schema's next version, and then with their tables for the
// catalog, which takes only what was made from its present version. Whoever wins, the
// engine inside Athena sees each column and each cell.
func TestStackColumnsFoundAtOnce(t *testing.T) {
	for _, registers := range []string{"a", "b"} {
		t.Run(registers+" registers first", func(t *testing.T) {
			s := newStack(t)
			table := strings.ReplaceAll(testbed.Name("race"), "-", "_")
			s.s3.Put(t, s.source, "0.csv", []byte("id\n0\n"))
			produce := []string{"produce", "s3://" + s.source + "/", "--topic", table, "--brokers", s.kafka.Brokers, "--partitions", "2"}
			ok(t, produce...)
			ok(t, s.consume(table)...)
			before := s.kafka.Ends(t, table, 2)

			version := newRace("a", func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/_lakefeed/"+table+"/g1/schema/00000000000000000002.json")
			})
			update := newRace(registers, func(r *http.Request) bool { return r.Header.Get("X-Amz-Target") == "AWSGlue.UpdateTable" })
			g := newGate(t, s.s3.Endpoint, s.glue.URL(), version, update)
			var members []*process
			for _, caller := range []string{"a", "b"} {
				g.door(t, caller)
				members = append(members, start(t, nil, "consume", "--table", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers, "--glue-database", s.database, "--flush-every", "500ms"))
			}
			s.environment(t)
			until(t, "a topic partition for each consumer", func() bool { return slices.Equal(s.kafka.Members(t, "lakefeed."+table), []int{1, 1}) })

			files := 0
			for both := false; !both; {
				files++
				s.s3.Put(t, s.source, fmt.Sprintf("%d.csv", files), fmt.Appendf(nil, "id,c%d\n%[1]d,%[1]d.5\n", files))
				ok(t, produce...)
				now := s.kafka.Ends(t, table, 2)
				both = now[0] > before[0] && now[1] > before[1]
			}
			catalog := openGlue(t, s.database)
			until(t, "each column in the catalog", func() bool {
				have, err := catalog.Table(t.Context(), table)
				return err == nil && len(have.Columns) == files+2 // id, one of each file, _rescued
			})
			for _, p := range members {
				p.signal(t, syscall.SIGINT)
				if r := p.wait(t); r.code != 130 {
					t.Errorf("consume: %v", r)
				}
			}
			if won, lost := version.outcome(); won != http.StatusOK || lost != http.StatusPreconditionFailed {
				t.Errorf("of two who stored the next version the one got %d and the other %d: there was no race", won, lost)
			}
			if won, lost := update.outcome(); won != http.StatusOK || lost != http.StatusBadRequest {
				t.Errorf("of two who updated the table the one got %d and the other %d: there was no race", won, lost)
			}
			var columns []string
			want := []map[string]any{}
			for n := range files + 1 {
				row := map[string]any{"id": numeral(n)}
				for c := 1; c <= files; c++ {
					row[fmt.Sprint("c", c)] = nil
				}
				if n > 0 {
					columns = append(columns, fmt.Sprint("c", n))
					row[fmt.Sprint("c", n)] = json.Number(fmt.Sprint(n, ".5"))
				}
				want = append(want, row)
			}
			if got := s.query(t, "SELECT id, "+strings.Join(columns, ", ")+" FROM "+table+" ORDER BY id"); !reflect.DeepEqual(got, want) {
				t.Errorf("%v\nwant %v", got, want)
			}
			for _, c := range columns {
				if got := s.one(t, "SELECT count(*) FROM "+table+" WHERE "+c+" > 0"); got != "1" {
					t.Errorf("%s rows with a condition on %s", got, c)
				}
			}
			ok(t, "audit", table, "--lake", "s3://"+s.lake, "--brokers", s.kafka.Brokers, "--deep")
		})
	}
}
