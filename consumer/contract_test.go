package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/consumer/transform"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/mem"
)

// deviations collects what the consumer tells of changes, a line each.
func (b *bench) deviations() *[]string {
	var out []string
	b.events.Deviated = func(_ int, all []schema.Deviation) {
		for _, d := range all {
			out = append(out, fmt.Sprintf("%s %s %s: %d, first %s:%d %q", d.Policy, d.Kind, d.Column, d.Count, strings.TrimPrefix(d.First.Source, "file:///"), d.First.Line, d.First.Text))
		}
	}
	b.events.Evolved = func(version int64, changes []schema.Change) {
		for _, c := range changes {
			if c.Kind != "spelling" {
				out = append(out, fmt.Sprintf("version %d %s %s: %s to %s", version, c.Kind, c.Column, c.From, c.To))
			}
		}
	}
	return &out
}

// quarantined gives rule and column of the rows in quarantine.
func (b *bench) quarantined() (out []string) {
	for _, row := range b.lake("feed__quarantine") {
		var keep []string
		for _, cell := range strings.Fields(row) {
			for _, name := range []string{"raw=", "line=", "rule=", "column=", "stage="} {
				if strings.HasPrefix(cell, name) && name != "raw=" {
					keep = append(keep, cell)
				}
			}
		}
		out = append(out, strings.Join(keep, " "))
	}
	slices.Sort(out)
	return out
}

// typed is a table with the columns n bigint, d date and x decimal(15,2) in it.
func typed(t *testing.T, c *schema.Contract) *bench {
	t.Helper()
	b := newBench(t, 1)
	b.contract = &schema.Contract{Numbers: schema.Decimals}
	x := stream("first.csv", "n,d,x")
	b.send(x, 0, "1,2020-01-31,1.25")
	b.end(x, 0)
	b.mustDrain()
	b.contract = c
	return b
}

func TestPolicies(t *testing.T) {
	const first = "n=1 d=2020-01-31 x=1.25"
	for _, c := range []struct {
		name        string
		contract    *schema.Contract
		header      string
		rows        []string
		want        []string // in the table besides the first row
		quarantined []string
		said        []string
		stops       string // what the error has
	}{
		{
			name: "evolve", contract: nil, header: "n,d,x,new",
			rows: []string{"2,2/1/2020,1234567890123456.5,a", "x,1/31/2020,1.005,", "NA,2020-01-31,2,"},
			want: []string{
				`d=2020-01-31 _rescued=[{"key":"n","value":"x"},{"key":"x","value":"1.005"}]`, "d=2020-01-31 x=2", "n=2 d=2020-02-01 x=1234567890123456.5 new=a",
			},
			said: []string{
				"version 2 settle d: date to date m/d/y", "version 2 widen x: decimal(15,2) to decimal(18,2)", "version 2 add new:  to string",
				`rescue type_change n: 1, first b.csv:3 "x"`, `rescue type_change x: 1, first b.csv:3 "1.005"`,
			},
		},
		{
			name: "rescue", contract: &schema.Contract{OnNewColumn: schema.PolicyRescue, OnTypeChange: schema.PolicyRescue, OnNull: schema.PolicyRescue}, header: "n,d,x,new",
			rows: []string{"2,2020-01-31,1234567890123456.5,a", "NA,1/31/2020,,"},
			want: []string{
				`_rescued=[{"key":"n","value":"NA"},{"key":"d","value":"1/31/2020"}]`, `n=2 d=2020-01-31 _rescued=[{"key":"x","value":"1234567890123456.5"},{"key":"new","value":"a"}]`,
			},
			said: []string{`rescue type_change x: 1, first b.csv:2 "1234567890123456.5"`, `rescue new_column new: 1, first b.csv:2 "a"`, `rescue type_change d: 1, first b.csv:3 "1/31/2020"`},
		},
		{
			name: "reject", contract: &schema.Contract{OnTypeChange: schema.PolicyReject, OnNull: schema.PolicyReject}, header: "n,d,x",
			rows:        []string{"2,2020-01-31,1", "x,2020-01-31,1", "3,2020-01-31,", "4,2020-01-31,NA", `5,2020-01-31,"NA"`},
			want:        []string{"n=2 d=2020-01-31 x=1"},
			quarantined: []string{"line=3 stage=schema rule=type_change column=n", "line=4 stage=schema rule=null column=x", "line=5 stage=schema rule=null column=x", "line=6 stage=schema rule=type_change column=x"},
			said:        []string{`reject type_change n: 1, first b.csv:3 "x"`, `reject null x: 2, first b.csv:4 ""`, `reject type_change x: 1, first b.csv:6 "NA"`},
		},
		{
			name: "reject new column", contract: &schema.Contract{OnNewColumn: schema.PolicyReject}, header: "n,d,x,new", rows: []string{"2,2020-01-31,1,"},
			quarantined: []string{"line=2 stage=schema rule=new_column column=new"}, said: []string{`reject new_column new: 1, first b.csv:2 ""`},
		},
		{
			name: "a declared column is not new", contract: &schema.Contract{OnNewColumn: schema.PolicyReject, Columns: map[string]schema.Declaration{"new": {Type: schema.Type{Kind: schema.Bigint}}}}, header: "n,d,x,new", rows: []string{"2,2020-01-31,1,7", "3,,,y"},
			want: []string{"n=2 d=2020-01-31 x=1 new=7", `n=3 _rescued=[{"key":"new","value":"y"}]`},
			said: []string{"version 2 add new:  to bigint", `rescue type_change new: 1, first :0 "y"`},
		},
		{
			name: "reject missing column", contract: &schema.Contract{OnMissingColumn: schema.PolicyReject}, header: "n,d", rows: []string{"2,2020-01-31"},
			quarantined: []string{"line=2 stage=schema rule=missing_column column=x"}, said: []string{`reject missing_column x: 1, first b.csv:2 ""`},
		},
		{
			name: "of one column", contract: &schema.Contract{OnTypeChange: schema.PolicyRescue, Columns: map[string]schema.Declaration{"n": {OnTypeChange: schema.PolicyReject, OnNull: schema.PolicyReject}}}, header: "n,d,x",
			rows:        []string{"y,,", ",,", "2,soon,"},
			want:        []string{`n=2 _rescued=[{"key":"d","value":"soon"}]`},
			quarantined: []string{"line=2 stage=schema rule=type_change column=n", "line=3 stage=schema rule=null column=n"},
			said:        []string{`reject type_change n: 1, first b.csv:2 "y"`, `reject null n: 1, first b.csv:3 ""`, `rescue type_change d: 1, first b.csv:4 "soon"`},
		},
		{
			name: "more digits declared", contract: &schema.Contract{OnTypeChange: schema.PolicyRescue, Columns: map[string]schema.Declaration{"x": {Type: schema.Type{Kind: schema.Decimal, Precision: 30, Scale: 2}}}}, header: "n,d,x",
			rows: []string{"2,2020-01-31,1", "3,2020-01-31,1.005"}, want: []string{"n=2 d=2020-01-31 x=1", `n=3 d=2020-01-31 _rescued=[{"key":"x","value":"1.005"}]`},
			said: []string{"version 2 widen x: decimal(15,2) to decimal(30,2)", `rescue type_change x: 1, first b.csv:3 "1.005"`},
		},
		{
			name: "no more digits than declared", contract: &schema.Contract{Columns: map[string]schema.Declaration{"x": {Type: schema.Type{Kind: schema.Decimal, Precision: 15, Scale: 2}}}}, header: "n,d,x",
			rows: []string{"2,2020-01-31,99999999999999.00", `3,2020-01-31,"1,234.50"`, "4,2020-01-31,9999999999999.00"},
			want: []string{`n=2 d=2020-01-31 _rescued=[{"key":"x","value":"99999999999999.00"}]`, "n=3 d=2020-01-31 x=1234.5", "n=4 d=2020-01-31 x=9999999999999"},
			said: []string{"version 2 settle x: decimal(15,2) to decimal(15,2) 1,234.5", `rescue type_change x: 1, first b.csv:2 "99999999999999.00"`},
		},
		{
			name: "null tokens", contract: &schema.Contract{Nulls: []string{"-999"}, Columns: map[string]schema.Declaration{"x": {Nulls: []string{"-", "n/a"}}}}, header: "n,d,x",
			rows: []string{"-999,NA,-", "2,-999,n/a", "3,2020-01-31,-999"},
			want: []string{`_rescued=[{"key":"d","value":"NA"}]`, "n=2", "n=3 d=2020-01-31 x=-999"}, said: []string{`rescue type_change d: 1, first b.csv:2 "NA"`},
		},
		{
			name: "freeze", contract: &schema.Contract{OnTypeChange: schema.PolicyFreeze}, header: "n,d,x", rows: []string{"2,2020-01-31,1", "3,2020-01-31,2", "x,2020-01-31,3", "5,2020-01-31,4"},
			want: []string{"n=2 d=2020-01-31 x=1", "n=3 d=2020-01-31 x=2"}, stops: `file:///b.csv:4: column n: "x" is no bigint`,
		},
		{
			name: "freeze new column", contract: &schema.Contract{OnNewColumn: schema.PolicyFreeze}, header: "n,d,x,new", rows: []string{"2,2020-01-31,1,"}, stops: "column new: the header has a column new",
		},
		{
			name: "another type than the table has", contract: &schema.Contract{Columns: map[string]schema.Declaration{"n": {Type: schema.Type{Kind: schema.String}}}}, header: "n", rows: []string{"2"}, stops: "it is declared string, and the table has it as bigint",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := typed(t, c.contract)
			said := b.deviations()
			x := stream("b.csv", c.header)
			b.send(x, 0, c.rows...)
			b.end(x, 0)
			err := b.drain()
			var broken *schema.ContractError
			switch {
			case c.stops == "" && err != nil:
				t.Fatal(err)
			case c.stops != "" && (!errors.As(err, &broken) || !strings.Contains(err.Error(), c.stops)):
				t.Fatalf("error %v, want a broken contract: %s", err, c.stops)
			}
			want := append([]string{first}, c.want...)
			slices.Sort(want)
			b.want("feed", want...)
			if diff := cmp.Diff(c.quarantined, b.quarantined()); diff != "" {
				t.Errorf("quarantine (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.said, *said, cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
			if c.stops == "" {
				return
			}
			// With another contract it goes on where it stopped, and nothing is lost.
			b.contract = nil
			b.mustDrain()
			if n := len(b.lake("feed")); n != 1+len(c.rows) {
				t.Errorf("%d rows after the contract was changed, want %d", n, 1+len(c.rows))
			}
		})
	}
}

// A first batch decides the types; the rows that the contract keeps out for them are
// kept out of it too.
func TestContractOfAFirstBatch(t *testing.T) {
	b := newBench(t, 1)
	b.contract = &schema.Contract{Columns: map[string]schema.Declaration{"n": {Type: schema.Type{Kind: schema.Bigint}, OnTypeChange: schema.PolicyReject, OnNull: schema.PolicyReject}}}
	x := stream("x.csv", "n,t")
	b.send(x, 0, "1,a", "x,b", "NA,c", "4,d")
	b.end(x, 0)
	b.mustDrain()
	b.want("feed", "n=1 t=a", "n=4 t=d")
	if diff := cmp.Diff([]string{"line=3 stage=schema rule=type_change column=n", "line=4 stage=schema rule=null column=n"}, b.quarantined()); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
}

// A rename in the feed goes on in the same column, under the name that the table has.
func TestAliases(t *testing.T) {
	b := newBench(t, 1)
	b.contract = &schema.Contract{Aliases: map[string]string{"cust": "customer", "customer": "client"}}
	for i, header := range []string{"id,cust", "customer,id", "id,client"} {
		x := stream(fmt.Sprint(i), header)
		row := fmt.Sprintf("%d,a%d", i, i)
		if header == "customer,id" {
			row = fmt.Sprintf("a%d,%d", i, i)
		}
		b.send(x, 0, row)
		b.end(x, 0)
	}
	both := stream("both", "id,cust,client")
	b.send(both, 0, "3,old,new")
	b.mustDrain()
	b.want("feed", "id=0 client=a0", "id=1 client=a1", "id=2 client=a2", "id=3 client=new cust=old")
}

// Two versions of a schema that alternate row by row make one file a batch.
func TestAlternatingHeadersMakeOneFile(t *testing.T) {
	b := typed(t, nil)
	before := 0
	count := func() (n int) {
		for range b.store.List(context.Background(), "feed/", "") {
			n++
		}
		return n
	}
	before = count()
	v1, v2 := stream("v1.csv", "n,d"), stream("v2.csv", "x,more,n")
	for i := range 50 {
		b.send(v1, 0, fmt.Sprintf("%d,2020-01-31", i))
		b.send(v2, 0, fmt.Sprintf("1.25,%d,%d", i, i))
	}
	b.mustDrain()
	if n := len(b.lake("feed")); n != 101 {
		t.Errorf("%d rows, want 101", n)
	}
	if n := count() - before; n != 1 {
		t.Errorf("%d files for 100 rows of two headers in turn, want 1", n)
	}
}

// Files are made again by the contract of their record, not by the one of today.
func TestRepairByTheContractOfTheRecord(t *testing.T) {
	b := newBench(t, 1)
	intact := *b
	intact.store = mem.New()
	contract := &schema.Contract{
		OnTypeChange: schema.PolicyReject, Nulls: []string{"-"}, Aliases: map[string]string{"cust": "customer"}, OnNewColumn: schema.PolicyRescue,
	}
	b.contract, intact.contract = contract, contract
	x := stream("x.csv", "n,cust")
	b.send(x, 0, "1,ann")
	b.mustDrain()
	intact.mustDrain()
	y := stream("y.csv", "customer,n,new")
	b.send(y, 0, "bob,-,z", "-,2,", "eve,NA,", "x,4,z")
	intact.mustDrain()

	// The consumer dies when its record is decided and a file is lost.
	ctx, die := context.WithCancel(t.Context())
	b.lakeStore = &hooked{Store: b.store, publish: func(s sink.Staged) {
		if ctx.Err() == nil && !strings.Contains(s.Key, "__quarantine") {
			if err := b.store.Discard(context.WithoutCancel(t.Context()), s); err != nil {
				t.Error(err)
			}
			die()
		}
	}}
	if err := b.drainUntil(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the first consumer ended with %v", err)
	}
	b.want("feed", "n=1 customer=ann")

	b.contract, b.lakeStore = nil, nil
	events := b.listen()
	b.mustDrain()
	if len(events.events) != 1 || !strings.HasPrefix(events.events[0], "repaired 0: record 1,") {
		t.Fatalf("events %q", events.events)
	}
	for _, folder := range []string{"feed", "feed__quarantine"} {
		if diff := cmp.Diff(intact.lake(folder), b.lake(folder)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", folder, diff)
		}
	}
}

// Of a feed that masks anything no message shows a cell: of a row whose cells are
// shifted it may be another column's.
func TestMessagesOfMaskedFeedsShowNoCell(t *testing.T) {
	for _, policy := range []schema.Policy{schema.PolicyReject, schema.PolicyFreeze} {
		b := newBench(t, 1)
		b.steps = transform.Spec{{Mask: map[string]string{"mail": "redact"}}}
		b.contract = &schema.Contract{OnTypeChange: policy, Columns: map[string]schema.Declaration{"n": {Type: schema.Type{Kind: schema.Bigint}}}}
		x := stream("x.csv", "mail,n")
		b.send(x, 0, "a@b,1", "2,canary@b")
		b.end(x, 0)
		err := b.drain()
		const said = "the value, which is not shown as the feed has masks, is no bigint"
		if policy == schema.PolicyFreeze {
			if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), said) {
				t.Errorf("freeze says %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := b.lake("feed__quarantine"); len(got) != 1 || strings.Contains(got[0], "canary") || !strings.Contains(got[0], said) {
			t.Errorf("quarantine: %q", got)
		}
	}
}
