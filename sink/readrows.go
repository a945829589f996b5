package sink

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
)

// FileRows are the rows of a data file for people, its partition columns too.
type FileRows struct {
	Columns []string
	// Rows have a value for each column as text, in the normal form of its type; nil is
	// null. Rescued cells are name="text", with commas between.
	Rows [][]*string
}

// ReadRows reads a data file of the table.
func (t *Table) ReadRows(ctx context.Context, f File) (*FileRows, error) {
	body, err := t.store.Get(ctx, f.Key)
	if err != nil {
		return nil, err
	}
	out, err := readRows(body, f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Key, err)
	}
	return out, nil
}

func readRows(body []byte, f File) (*FileRows, error) {
	file, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	out := &FileRows{Rows: make([][]*string, f.Rows)}
	for _, c := range file.Root().Columns() {
		texts, err := columnTexts(file, c.Name())
		if err != nil {
			return nil, err
		}
		if int64(len(texts)) != f.Rows {
			return nil, fmt.Errorf("column %s has %d values, the record says %d", c.Name(), len(texts), f.Rows)
		}
		out.Columns = append(out.Columns, c.Name())
		for i := range texts {
			out.Rows[i] = append(out.Rows[i], unquoted(texts[i]))
		}
	}
	for i := range f.Partition {
		p := &f.Partition[i]
		out.Columns = append(out.Columns, p.Column)
		for row := range out.Rows {
			value := &p.Value
			if p.Null {
				value = nil
			}
			out.Rows[row] = append(out.Rows[row], value)
		}
	}
	return out, nil
}

// unquoted is what columnTexts has of a value: a text stands in quotes, and so is not
// taken for null.
func unquoted(text string) *string {
	if text == "null" {
		return nil
	}
	if s, err := strconv.Unquote(text); err == nil && text[0] == '"' {
		return &s
	}
	return &text
}
