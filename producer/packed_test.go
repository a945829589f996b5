package producer

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefeed/schema"
)

// fill gives every field below v a value of its own that is not zero, so that one
// that is not packed is missed.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, int(*n), time.UTC)))
		return
	case reflect.TypeFor[schema.StreamID]():
		v.Set(reflect.ValueOf(schema.NewStreamID("uri", "version", *n)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString("text, " + time.Duration(*n).String())
	case reflect.Int, reflect.Int64:
		v.SetInt(*n << 20)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Type())
	}
}

// What is packed is unpacked as it was, every field of it.
func TestPacked(t *testing.T) {
	k := newPacker()
	same := func(want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("(-packed +unpacked)\n%s", diff)
		}
	}
	n := int64(0)
	for _, set := range []func(*claim){
		func(*claim) {},
		func(c *claim) { fill(reflect.ValueOf(c).Elem(), &n) },
		func(c *claim) { c.URI, c.Columns = "stdin:x", []string{} },
		func(c *claim) { c.URI, c.Columns, c.Known = "s3://b/c", []string{"a,b"}, [][]string{{"a", "b"}} },
		func(c *claim) { c.URI, c.Columns, c.Known = "s3://b/d", []string{"a", "b"}, [][]string{{"a"}, {"b"}} },
		func(c *claim) { c.Size, c.Tag, c.Version = 7, "0af1", "0af1+7" },
		func(c *claim) { c.Size, c.Tag, c.Version = -1, "0AF1-2", "v1" },
	} {
		c := &claim{Ranges: []byteRange{}, Log: "log", look: look{ModTime: time.Time{}.UTC()}, At: time.Time{}.UTC()}
		set(c)
		c.V = ledgerVersion
		same(c, k.unpackClaim(k.claim(c)))
	}
	for _, set := range []func(*progress){
		func(*progress) {},
		func(p *progress) { fill(reflect.ValueOf(p).Elem(), &n) },
		func(p *progress) { p.Sum, p.Tag, p.Content = "00ff", "0", []byte{} },
	} {
		p := &progress{look: look{ModTime: time.Time{}.UTC()}, At: time.Time{}.UTC()}
		set(p)
		p.V = ledgerVersion
		same(p, k.unpackProgress(k.progress(p)))
	}
}
