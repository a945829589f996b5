package consumer_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/consumer"
	"lakefeed/sink"
)

// meeting is a lake in which the writers of one object, so many, wait for each other;
// then the one whose body has a text is the first.
type meeting struct {
	sink.Store
	key   string
	first string

	all     sync.WaitGroup // until each has come
	decided chan struct{}
}

func (m *meeting) Create(ctx context.Context, key string, body []byte) error {
	if key != m.key {
		return m.Store.Create(ctx, key, body)
	}
	m.all.Done()
	m.all.Wait()
	if bytes.Contains(body, []byte(m.first)) {
		defer close(m.decided)
	} else {
		<-m.decided
	}
	return m.Store.Create(ctx, key, body)
}

// Two consumers find new columns at the same time, each in its own topic partition:
// of both versions one is stored, its loser makes the next, and no column and no cell
// is lost, whoever wins. Of the column that both find the winner decides the type.
func TestColumnsFoundAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		first string // a column that the winner alone has
		want  []string
		types []string
	}{
		"the first wins": {`"left"`,
			[]string{`id=1`, `id=2`, `id=3 both=7 left=1.5`, `id=4 right=true _rescued=[{"key":"both","value":"seven"}]`},
			[]string{"id bigint", "both bigint", "left double", "right boolean"}},
		"the second wins": {`"right"`,
			[]string{`id=1`, `id=2`, `id=3 both=7 left=1.5`, `id=4 both=seven right=true`},
			[]string{"id bigint", "both string", "right boolean", "left double"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 2)
			b.send(stream("a.csv", "id"), 0, "1")
			b.send(stream("b.csv", "id"), 1, "2")
			b.mustDrain()
			at := &meeting{Store: b.store, key: "_lakefeed/feed/g1/schema/00000000000000000002.json", first: test.first, decided: make(chan struct{})}
			at.all.Add(2)
			b.lakeStore = at
			b.send(stream("c.csv", "id,both,left"), 0, "3,7,1.5")
			b.send(stream("d.csv", "id,both,right"), 1, "4,seven,true")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			errs := make(chan error, 2)
			for p := range 2 {
				c := &consumer.Consumer{Client: b.client, Topic: b.topic, Table: b.table()}
				c.Drain(map[int]int64{p: 2})
				go func() { errs <- c.Run(ctx) }()
			}
			for range 2 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			b.want("feed", test.want...)
			latest, err := b.table().Schemas().Latest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var types []string
			for _, f := range latest.Fields {
				types = append(types, f.Name+" "+f.Type.String())
			}
			if diff := cmp.Diff(test.types, types); diff != "" || latest.Version != 3 {
				t.Errorf("version %d (-want +got):\n%s", latest.Version, diff)
			}
		})
	}
}
