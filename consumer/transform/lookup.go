package transform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lakefeed/schema"
)

// The ways of a Lookup with a value that is not there.
const (
	MissingNull  = "null"
	MissingKeep  = "keep"
	MissingError = "error"
)

func (b *builder) lookup(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.Map)) {
		l := s.Map[name]
		c := b.find(&s.Map, name)
		good := true
		fault := func(of any, hint, format string, args ...any) {
			b.fault(of, "", hint, "map of "+name+": "+format, args...)
			good = false
		}
		switch {
		case len(l.Values) == 0 && l.File == "":
			fault(l, "add values: {from: to}, or file: with value: and its column", "there is nothing to look up in")
		case l.Values != nil && l.File != "" && l.SHA256 == "":
			fault(l, "leave one of them out", "it has values and a file")
		case l.File != "" && l.Value == "":
			fault(l, "add value: and the column of the file that has what is looked up", "which column of %s?", l.File)
		case l.File == "" && (l.Key != "" || l.Value != ""):
			fault(l, "leave them out, or name a file", "key and value are columns of a file, and there is none")
		}
		if l.Missing != "" && l.Missing != MissingNull && l.Missing != MissingKeep && l.Missing != MissingError {
			fault(&l.Missing, "", "missing is null, keep or error, not %q", l.Missing)
		}
		if b.step.OnError != "" && l.Missing != MissingError {
			fault(&b.step.OnError, "say missing: error, or leave it out", "it does not fail, so that on_error has nothing to say")
		}
		if l.Into != "" && !b.name(&l.Into, "", l.Into) || c == nil || !good {
			continue
		}
		b.find1(c, name, l)
	}
}

func (b *builder) find1(c *column, name string, l *Lookup) {
	t := kind(schema.String)
	var made *column
	if l.Into == "" || l.Into == name {
		made = b.remake(c, t)
	} else {
		made = &column{name: l.Into, typ: t, slot: b.slot(t), sources: c.sources}
		b.put(made)
	}
	trouble := b.trouble("map", name)
	from, values := c.slot, l.Values
	var key []byte
	b.run(func(r *run) {
		in, out := r.columns[from], r.columns[made.slot]
		out.Reset(t)
		r.each(in, out, func(row int) {
			if key = in.AppendValue(key[:0], row); len(key) == 0 && in.Type.Kind == schema.Unknown {
				out.AppendNull()
				return
			}
			found, ok := values[string(key)]
			switch {
			case ok:
				out.AppendText([]byte(found))
			case l.Missing == MissingKeep:
				out.AppendText(key)
			default:
				out.AppendNull()
				if l.Missing == MissingError {
					r.fail(trouble, row, key, "is not there")
				}
			}
		})
	})
}

func (b *builder) split(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.Split)) {
		p := s.Split[name]
		c := b.find(&s.Split, name)
		good := true
		fault := func(of any, hint, format string, args ...any) {
			b.fault(of, "", hint, "split of "+name+": "+format, args...)
			good = false
		}
		if p.By == "" {
			fault(p, `add by: ","`, "it does not say what is between the parts")
		}
		if len(p.Into) == 0 {
			fault(p, "add into: [first, second]", "it does not say which columns take the parts")
		}
		for i, into := range p.Into {
			if !b.name(&p.Into[i], "", into) {
				good = false
			} else if slices.Contains(p.Into[:i], into) {
				fault(&p.Into[i], "", "%s is there twice", into)
			}
		}
		if c == nil || !good || !b.text(&s.Split, name, "split", c) {
			continue
		}
		t := kind(schema.String)
		var slots []int
		for _, into := range p.Into {
			made := &column{name: into, typ: t, slot: b.slot(t), sources: c.sources}
			slots = append(slots, made.slot)
			b.put(made)
		}
		from, by := c.slot, []byte(p.By)
		b.run(func(r *run) {
			in := r.columns[from]
			for _, slot := range slots {
				r.columns[slot].Reset(t)
			}
			for row := range r.rows {
				rest, more := []byte(nil), in.Type.Kind == schema.String && !in.Null(row)
				if more {
					rest = in.TextAt(row)
				}
				for i, slot := range slots {
					out := r.columns[slot]
					switch {
					case !more:
						out.AppendNull()
					case i == len(slots)-1:
						out.AppendText(rest)
					default:
						var part []byte
						part, rest, more = bytes.Cut(rest, by)
						out.AppendText(part)
					}
				}
			}
		})
	}
}

// jsonColumn is one that is taken out of JSON.
type jsonColumn struct {
	slot    int
	typ     schema.Type
	path    []string
	trouble *trouble
}

func (b *builder) json(s *Step) {
	for _, name := range slices.Sorted(maps.Keys(s.JSON)) {
		j := s.JSON[name]
		c := b.find(&s.JSON, name)
		good := true
		if len(j.Columns) == 0 {
			b.fault(j, "", "add columns: {user_id: {path: user.id, type: bigint}}", "json of %s: there are no columns to take out", name)
			good = false
		}
		types := map[string]schema.Type{}
		for _, into := range slices.Sorted(maps.Keys(j.Columns)) {
			if !b.name(&j.Columns, into, into) {
				good = false
			}
			types[into] = kind(schema.String)
			if text := j.Columns[into].Type; text != "" {
				t, err := schema.ParseType(text)
				if err != nil || t.Kind == schema.Unknown {
					b.fault(&j.Columns[into].Type, "", "", "json of %s: column %s: %v", name, into, err)
					good = false
				}
				types[into] = t
			}
		}
		if c == nil || !good || !b.text(&s.JSON, name, "json", c) {
			continue
		}
		var columns []jsonColumn
		for _, into := range slices.Sorted(maps.Keys(j.Columns)) {
			made := &column{name: into, typ: types[into], slot: b.slot(types[into]), sources: c.sources}
			path := j.Columns[into].Path
			if path == "" {
				path = into
			}
			columns = append(columns, jsonColumn{made.slot, types[into], strings.Split(path, "."), b.trouble("json", into)})
			b.put(made)
		}
		b.takeOut(c, name, columns)
	}
}

func (b *builder) takeOut(c *column, name string, columns []jsonColumn) {
	from := c.slot
	trouble := b.trouble("json", name)
	b.run(func(r *run) {
		in := r.columns[from]
		for _, col := range columns {
			r.columns[col.slot].Reset(col.typ)
		}
		for row := range r.rows {
			var document any
			if in.Type.Kind == schema.String && !in.Null(row) && !schema.IsNullToken(in.TextAt(row)) {
				var err error
				if document, err = readJSON(in.TextAt(row)); err != nil {
					r.fail(trouble, row, in.TextAt(row), "is no JSON")
				}
			}
			for _, col := range columns {
				out := r.columns[col.slot]
				text, found := textOfJSON(at(document, col.path))
				switch {
				case !found:
					out.AppendNull()
				case !out.AppendCell(text):
					out.AppendNull()
					r.fail(col.trouble, row, text, "is no "+col.typ.Written())
				}
			}
		}
		for _, col := range columns {
			r.columns[col.slot].Type = plain(col.typ)
		}
	})
}

func readJSON(text []byte) (out any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more behind it")
	}
	return out, nil
}

// at follows a path; nil where it leads nowhere.
func at(document any, path []string) any {
	for _, key := range path {
		switch x := document.(type) {
		case map[string]any:
			document = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return nil
			}
			document = x[i]
		default:
			return nil
		}
	}
	return document
}

// textOfJSON is a value as a cell's text: objects and lists as JSON.
func textOfJSON(value any) (text []byte, found bool) {
	switch x := value.(type) {
	case nil:
		return nil, false
	case string:
		return []byte(x), true
	case json.Number:
		return []byte(x), true
	case bool:
		return strconv.AppendBool(nil, x), true
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // <b> stays as people look for it
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err == nil
}
