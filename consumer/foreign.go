package consumer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"lakefeed/broker"
	"lakefeed/schema"
	"lakefeed/schema/wire"
)

// The formats of messages that others write.
const (
	CSVMessages  = "csv"  // the value is one RFC 4180 record, with commas
	JSONMessages = "json" // the value is a JSON object, each member a cell
)

// Messages says how rows are read out of messages that lakefeed produce did not write:
// such a row is known by its topic partition and offset alone, so that a copy that is
// sent again is another row.
type Messages struct {
	Format string `json:"format"`
	// Columns are the names of a CSV record's cells, as a header would have them; none
	// are column_1, column_2…
	Columns []string `json:"columns,omitempty"`
}

// Validate reports every fault at once. Nil is valid.
func (m *Messages) Validate() error {
	if m == nil {
		return nil
	}
	var errs []error
	if m.Format != CSVMessages && m.Format != JSONMessages {
		errs = append(errs, fmt.Errorf("messages: the format is csv or json, not %q", m.Format))
	}
	if m.Format == JSONMessages && len(m.Columns) > 0 {
		errs = append(errs, errors.New("messages: JSON objects name their cells themselves: leave columns out"))
	}
	return errors.Join(errs...)
}

// foreign takes a message whose key is not ours. What headers say that others wrote is
// not of it. Without a declaration of what its value is it is kept in quarantine.
func (w *worker) foreign(m *broker.Message) error {
	w.batch.bytes += len(m.Value)
	w.origin = origin{header: w.origin.header[:0]}
	aside := func(rule, message string) error {
		w.quarantine(m, schema.StreamID{}, -1, "parse", rule, message)
		return nil
	}
	f := w.batch.recipe.messages
	switch {
	case f == nil:
		return aside("foreign_key", "the message's key is not one that lakefeed produce writes, so its columns are not known: say with messages what its value is")
	case m.Value == nil:
		return aside("no_value", "the message has no value")
	case !utf8.Valid(m.Value):
		return aside("encoding", "the message's value is not UTF-8")
	}
	value := bytes.TrimPrefix(m.Value, []byte("\ufeff")) // some encoders mark each text
	var l *layout
	var cells []wire.Cell
	var err error
	if f.Format == JSONMessages {
		names, values, bad := jsonCells(value)
		if bad != nil {
			return aside("not_json", "the message's value is no JSON object: "+bad.Error())
		}
		cells = values
		l = w.batch.members(names)
	} else {
		if cells, err = w.splitter.Split(withoutLineEnd(value)); err != nil {
			return aside("not_csv", "the message's value is "+err.Error())
		}
		if slices.ContainsFunc(cells, func(c wire.Cell) bool { return !c.Quoted && bytes.ContainsAny(c.Text, "\r\n") }) {
			return aside("not_csv", "the message's value has a line break that is not in quotes: it is to be one record")
		}
		if len(f.Columns) > 0 {
			l, err = w.batch.named(wire.AppendNames(nil, f.Columns))
		} else {
			l = w.batch.numbered(len(cells))
		}
	}
	if err != nil {
		return err
	}
	at := func() schema.Witness {
		return schema.Witness{Source: fmt.Sprintf("%s/%d@%d", w.c.Topic.Name, w.partition, m.Offset)}
	}
	return w.typed(m, schema.StreamID{}, -1, l, cells, at)
}

// withoutLineEnd is a record without the line end that RFC 4180 lets follow it.
func withoutLineEnd(record []byte) []byte {
	if line, ok := bytes.CutSuffix(record, []byte("\n")); ok {
		return bytes.TrimSuffix(line, []byte("\r"))
	}
	return record
}

// members is the layout of a JSON object's members. Their order says nothing: a member
// is in the same column wherever in the object it stands.
func (b *batch) members(names []string) *layout {
	key := string(wire.AppendNames(nil, names))
	if l := b.layouts.byHeader[key]; l != nil {
		return l
	}
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	plain := func(i int) int { // one that is spelled as its column is that column
		if schema.SafeName(names[i]) == names[i] {
			return 0
		}
		return 1
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(plain(i), plain(j)), cmp.Compare(names[i], names[j]))
	})
	given := make([]string, len(names))
	for at, i := range order {
		given[at] = memberName(names[i])
	}
	safe := make([]string, len(names))
	for at, name := range b.contract.Names(given, b.schema) {
		safe[order[at]] = name
	}
	l := b.layout(names, safe)
	b.layouts.byHeader[key] = l
	return l
}

// memberName is a member's name, by its code points where no letter or digit of it can
// stand in a column's name: as the n-th column it would be another in the next object.
func memberName(name string) string {
	if schema.SafeName(name) != "" {
		return name
	}
	out := []byte("u")
	for i, c := range []rune(name) {
		if i > 0 {
			out = append(out, "_u"...)
		}
		out = strconv.AppendInt(out, int64(c), 16)
	}
	return string(out)
}

// jsonCells are the members of a JSON object: strings as quoted cells, null as a null
// one, numbers and booleans as they are written, objects and arrays as their JSON. Of
// members with one name the last counts, as JSON's readers have it.
func jsonCells(value []byte) (names []string, cells []wire.Cell, err error) {
	d := json.NewDecoder(bytes.NewReader(value))
	if open, err := d.Token(); err != nil {
		return nil, nil, plain(err)
	} else if open != json.Delim('{') {
		return nil, nil, errors.New("it begins with something else than {")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, plain(err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, nil, plain(err)
		}
		cell, err := jsonCell(raw)
		if err != nil {
			return nil, nil, plain(err)
		}
		if i := slices.Index(names, name.(string)); i >= 0 {
			cells[i] = cell
			continue
		}
		names, cells = append(names, name.(string)), append(cells, cell)
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, plain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, errors.New("something comes behind the object")
	}
	if len(names) == 0 {
		return nil, nil, errors.New("it has no members")
	}
	return names, cells, nil
}

func plain(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it ends too early")
	}
	return err
}

func jsonCell(raw json.RawMessage) (wire.Cell, error) {
	switch raw[0] {
	case 'n':
		return wire.Cell{}, nil
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return wire.Cell{Text: []byte(text), Quoted: true}, err
	case '{', '[':
		return wire.Cell{Text: raw, Quoted: true}, nil
	}
	return wire.Cell{Text: raw}, nil
}
