package transform

import (
	"fmt"
	"maps"
	"slices"

	"lakefeed/schema"
)

// Declare is a feed's contract as the spec needs it: a column of the feed that a step
// reads as text, before anything else has made it, is kept as the feed writes it, and
// what a masked column is made of is shown nowhere. base may be nil; it is not changed.
// The error is Faults.
func (s Spec) Declare(base *schema.Contract) (*schema.Contract, error) {
	b := &builder{spec: s, gone: map[string]string{}}
	if err := b.all(); err != nil {
		return nil, err
	}
	texts := s.texts()
	hidden := b.hidden()
	if len(texts)+len(hidden) == 0 {
		return base, nil
	}
	out := &schema.Contract{}
	if base != nil {
		*out = *base
	}
	out.Columns = maps.Clone(out.Columns)
	if out.Columns == nil {
		out.Columns = map[string]schema.Declaration{}
	}
	var faults Faults
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		d := out.Columns[name]
		switch {
		case d.Type.Kind == schema.Unknown:
			d.Type = kind(schema.String)
		case d.Type.Kind != schema.String && texts[name].must:
			faults = append(faults, Fault{Step: texts[name].step, Of: texts[name].of, Key: name, Message: fmt.Sprintf("%s takes the text of %s, which schema declares %s", texts[name].verb, name, d.Type.Written()), Hint: "leave its declaration out"})
		}
		out.Columns[name] = d
	}
	for _, name := range hidden {
		d := out.Columns[name]
		if d.Type.Kind != schema.Unknown && d.Type.Kind != schema.String {
			faults = append(faults, Fault{Step: b.masked[0].step, Of: b.masked[0].of, Message: fmt.Sprintf("%s is masked, and schema declares it %s: a cell that does not fit would be shown", name, d.Type.Written()), Hint: "leave its declaration out"})
		}
		d.Type, d.Hidden = kind(schema.String), true
		out.Columns[name] = d
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

// reader is the step that reads a column of the feed as text.
type reader struct {
	step int
	verb string
	of   any
	must bool // another type is of no use to it
}

// texts are the feed's columns that steps read as text.
func (s Spec) texts() map[string]reader {
	out := map[string]reader{}
	own := map[string]string{} // present name to the feed's; "" for one that was made
	sourceOf := func(name string) string {
		if o, ok := own[name]; ok {
			return o
		}
		return name
	}
	for i, step := range s {
		read := func(verb, name string, of any, must bool) {
			source := sourceOf(name)
			if _, known := out[source]; source != "" && !known {
				out[source] = reader{i, verb, of, must}
			}
		}
		for name := range step.Cast {
			read("cast", name, &step.Cast, false)
			own[name] = ""
		}
		for name := range step.Parse {
			read("parse", name, &step.Parse, true)
			own[name] = ""
		}
		for name, p := range step.Split {
			read("split", name, &step.Split, true)
			for _, into := range p.Into {
				own[into] = ""
			}
		}
		for name, j := range step.JSON {
			read("json", name, &step.JSON, true)
			for into := range j.Columns {
				own[into] = ""
			}
		}
		for verb, names := range map[string][]string{"trim": step.Trim, "lower": step.Lower, "upper": step.Upper} {
			for _, name := range names {
				read(verb, name, step, true)
			}
		}
		for name := range step.Mask {
			read("mask", name, &step.Mask, false)
			own[name] = ""
		}
		for name, l := range step.Map {
			if l.Into == "" {
				own[name] = ""
			} else {
				own[l.Into] = ""
			}
		}
		for name := range step.Set {
			own[name] = ""
		}
		renamed := map[string]string{}
		for from, to := range step.Rename {
			renamed[to] = sourceOf(from)
		}
		for from := range step.Rename {
			own[from] = ""
		}
		maps.Copy(own, renamed)
	}
	return out
}
