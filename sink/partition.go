package sink

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"lakefeed/schema"
)

// partitionColumn is one term of a table's partitioning: a column, or the date
// of a column.
type partitionColumn struct {
	source string // safe name of the column
	date   bool   // date(source)
	name   string // of the partition column
}

// parsePartitionBy checks what a table is to be partitioned by: COLUMN or
// date(COLUMN), columns by their safe names. date(c) makes the partition column
// c_date and leaves c in the file; a plain column is not repeated in the file.
func parsePartitionBy(terms []string) ([]partitionColumn, error) {
	var out []partitionColumn
	for _, term := range terms {
		p := partitionColumn{source: strings.TrimSpace(term)}
		if inner, ok := strings.CutPrefix(p.source, "date("); ok {
			if inner, ok = strings.CutSuffix(inner, ")"); !ok {
				return nil, fmt.Errorf("partition by %q: a bracket is missing, write date(COLUMN)", term)
			}
			p.source, p.date = strings.TrimSpace(inner), true
		}
		if safe := schema.SafeName(p.source); safe == "" || safe != p.source {
			return nil, fmt.Errorf("partition by %q: write COLUMN or date(COLUMN), the column by its name in the table%s", term, suggestion(safe))
		}
		p.name = p.source
		if p.date {
			p.name += "_date"
		}
		if slices.ContainsFunc(out, func(o partitionColumn) bool { return o.name == p.name }) {
			return nil, fmt.Errorf("partition by %q: named twice", term)
		}
		out = append(out, p)
	}
	return out, nil
}

func suggestion(safe string) string {
	if safe == "" {
		return ""
	}
	return ", such as " + safe
}

// PartitionColumns are the partition columns of a table and their types as the
// catalog declares them: string, bigint or date. s may be nil.
func (s Shape) PartitionColumns(of *schema.Schema) ([]NamedType, error) {
	terms, err := parsePartitionBy(s.PartitionBy)
	if err != nil {
		return nil, err
	}
	var out []NamedType
	for _, p := range terms {
		c := NamedType{Name: p.name, Type: "string"}
		if p.date {
			c.Type = "date"
		} else if of != nil {
			if f, ok := of.Field(p.source); ok && (f.Type.Kind == schema.Bigint || f.Type.Kind == schema.Date) {
				c.Type = f.Type.DDL()
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Sources are the columns that the partitioning reads.
func (s Shape) Sources() ([]string, error) {
	terms, err := parsePartitionBy(s.PartitionBy)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range terms {
		out = append(out, p.source)
	}
	return out, nil
}

// group is the rows of a batch that belong to one table partition.
type group struct {
	values []PartitionValue
	rows   []int32
}

// misplaced is a cell that cannot be a partition value: its column is not in the
// file, so its text is rescued.
type misplaced struct {
	row    int32
	column string
	text   []byte
}

// partitioner parts the rows of a batch. It is reused.
type partitioner struct {
	columns []partitionColumn
	groups  []*group
	index   map[string]*group
	key     []byte
	text    []byte
	lost    []misplaced
}

// part groups the records' rows by their partition values, in order of first
// appearance. The groups alias the partitioner.
func (p *partitioner) part(r *Records) []*group {
	if p.index == nil {
		p.index = map[string]*group{}
	}
	clear(p.index)
	p.groups, p.lost = p.groups[:0], p.lost[:0]
	vectors := make([]*schema.Vector, len(p.columns))
	for i, c := range p.columns {
		for _, col := range r.Columns {
			if col.Name == c.source {
				vectors[i] = col.Vector
			}
		}
	}
	var last *group
	var lastKey []byte
	for i := range r.Kept() {
		row := i
		if r.Keep != nil {
			row = int(r.Keep[i])
		}
		key := p.key[:0]
		for i := range p.columns {
			key = p.appendValue(key, i, vectors[i], row)
		}
		p.key = key
		if last != nil && bytes.Equal(key, lastKey) {
			last.rows = append(last.rows, int32(row))
			continue
		}
		g := p.index[string(key)]
		if g == nil {
			g = &group{values: p.values(key)}
			p.index[string(key)] = g
			p.groups = append(p.groups, g)
		}
		g.rows = append(g.rows, int32(row))
		last, lastKey = g, append(lastKey[:0], key...)
	}
	return p.groups
}

// The key of a row is, for each partition column, a zero byte for null or a one
// and the value's text, each ended by a zero byte and escaped so that it holds
// none.
func (p *partitioner) appendValue(key []byte, i int, v *schema.Vector, row int) []byte {
	c := &p.columns[i]
	if v == nil || v.Null(row) {
		return append(key, 0)
	}
	p.text = p.text[:0]
	if c.date {
		switch {
		case v.Type.Kind == schema.Date:
			p.text = v.AppendValue(p.text, row)
		case v.Type.Kind == schema.Timestamp:
			p.text = v.AppendValue(p.text, row)
			p.text = p.text[:len("2006-01-02")]
		default:
			return append(key, 0)
		}
	} else {
		p.text = v.AppendValue(p.text, row)
		if !PartitionFits(c.name, string(p.text)) || bytes.IndexByte(p.text, 0) >= 0 {
			p.lost = append(p.lost, misplaced{int32(row), c.source, bytes.Clone(p.text)})
			return append(key, 0)
		}
	}
	key = append(key, 1)
	key = append(key, p.text...)
	return append(key, 0)
}

func (p *partitioner) values(key []byte) []PartitionValue {
	out := make([]PartitionValue, len(p.columns))
	for i := range p.columns {
		out[i].Column = p.columns[i].name
		if key[0] == 0 {
			out[i].Null = true
			key = key[1:]
			continue
		}
		end := bytes.IndexByte(key, 0)
		out[i].Value = string(key[1:end])
		key = key[end+1:]
	}
	return out
}
