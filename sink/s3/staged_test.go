package s3_test

import (
	"slices"
	"strings"
	"testing"

	"lakefeed/deploy/testbed/s3test"
	"lakefeed/sink/s3"
)

// The uploads of a table are those below its folders in this lake, and no others,
// however many there are.
func TestListStaged(t *testing.T) {
	server := s3test.NewServer()
	server.PageOf = 2
	store := open(t, server, server, s3.Config{Prefix: "feeds"})
	elsewhere, err := s3.New(config(t, s3test.Serve(t, server)), s3.Config{Bucket: "lake", Prefix: "feeds2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"t/a", "t/a", "t/d=1/ä b.parquet", "t.g2/a", "t__quarantine/a", "t__quarantine.g2/a"}
	for _, key := range append([]string{"tt/a", "t_2/a", "_lakefeed/store/upload-x", "u/t/a"}, want...) {
		if _, err := store.Stage(t.Context(), key, strings.NewReader("rows")); err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.Stage(t.Context(), key, strings.NewReader("rows")); err != nil {
			t.Fatal(err)
		}
	}
	list := func() (keys []string) {
		for s, err := range store.ListStaged(t.Context(), "t") {
			if err != nil {
				t.Fatal(err)
			}
			if s.Upload == "" || s.At.IsZero() {
				t.Errorf("%+v", s)
			}
			keys = append(keys, s.Key)
			if err := store.Discard(t.Context(), s); err != nil { // by its id, and its key
				t.Error(err)
			}
		}
		slices.Sort(keys)
		return keys
	}
	slices.Sort(want)
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("staged are\n %q, want\n %q", got, want)
	}
	if got := list(); len(got) > 0 {
		t.Errorf("after they were discarded: %q", got)
	}
	for range store.ListStaged(t.Context(), "tt") {
		break
	}
}

func TestLifecycle(t *testing.T) {
	rule := func(text string) string {
		return `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>r</ID><Status>Enabled</Status>` + text + `</Rule></LifecycleConfiguration>`
	}
	const abort = `<AbortIncompleteMultipartUpload><DaysAfterInitiation>14</DaysAfterInitiation></AbortIncompleteMultipartUpload>`
	for name, c := range map[string]struct {
		config string
		want   []string // what is said of them
	}{
		"none":                   {"", []string{"no lifecycle rule"}},
		"uploads of all":         {rule(`<Filter><Prefix></Prefix></Filter>` + abort), nil},
		"uploads of the lake":    {rule(`<Filter><Prefix>feeds/</Prefix></Filter>` + abort), nil},
		"by the older form":      {rule(`<Prefix>fee</Prefix>` + abort), nil},
		"uploads of others":      {rule(`<Filter><Prefix>other/</Prefix></Filter>` + abort), []string{"no lifecycle rule"}},
		"uploads with a tag":     {rule(`<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>` + abort), []string{"no lifecycle rule"}},
		"a rule that is off":     {strings.Replace(rule(`<Filter><Prefix></Prefix></Filter>`+abort), "Enabled", "Disabled", 1), []string{"no lifecycle rule"}},
		"too early":              {rule(`<Filter><Prefix></Prefix></Filter>` + strings.Replace(abort, "14", "1", 1)), []string{"7 days at the least"}},
		"all expires":            {rule(`<Filter><Prefix></Prefix></Filter>` + abort + `<Expiration><Days>30</Days></Expiration>`), []string{"without which the lake is lost"}},
		"the records expire":     {rule(`<Filter><Prefix>feeds/_lakefeed/t/</Prefix></Filter><Expiration><Days>30</Days></Expiration>`), []string{"without which the lake is lost", "no lifecycle rule"}},
		"a table expires":        {rule(`<Filter><Prefix>feeds/t/</Prefix></Filter>` + abort + `<Expiration><Days>30</Days></Expiration>`), []string{"no lifecycle rule"}},
		"all is archived":        {rule(`<Filter><Prefix></Prefix></Filter>` + abort + `<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>`), []string{"without which the lake is lost"}},
		"all becomes infrequent": {rule(`<Filter><Prefix></Prefix></Filter>` + abort + `<Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := s3test.NewServer()
			store := open(t, server, server, s3.Config{Prefix: "feeds"})
			server.SetLifecycle("lake", c.config)
			faults, err := store.CheckLifecycle(t.Context())
			if err != nil || len(faults) != len(c.want) {
				t.Fatalf("%q, %v, want %q", faults, err, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(faults[i], want) || !strings.Contains(faults[i], "s3://lake") {
					t.Errorf("%q, want %q", faults[i], want)
				}
			}
		})
	}
	server := s3test.NewServer()
	store := open(t, server, server, s3.Config{})
	server.SetUser("key", s3test.User{Denied: func(action, _, _ string) bool { return action == "GetLifecycleConfiguration" }})
	if _, err := store.CheckLifecycle(t.Context()); err == nil || !strings.Contains(err.Error(), "s3:GetLifecycleConfiguration on s3://lake") {
		t.Errorf("without the right to look: %v", err)
	}
}
