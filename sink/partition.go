package sink

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones by name, on machines that have none
	"unicode/utf8"

	"lakefeed/schema"
)

// partitionColumn is one term of a table's partitioning: a column, or a function of one.
type partitionColumn struct {
	source   string // safe name of the column
	function string // "" for the column itself
	zone     *time.Location
	width    int    // of truncate
	name     string // of the partition column
}

// IngestedAt is the column that a function of a partitioning may name though a table
// has it only with Shape.Meta: when the row was sent to the topic.
const IngestedAt = "_ingested_at"

const partitionForms = "COLUMN, date(COLUMN), year(COLUMN), month(COLUMN), day(COLUMN) or hour(COLUMN), these also with a time zone as date(COLUMN, Europe/Berlin), or truncate(COLUMN, N)"

// parsePartitionBy checks what a table is to be partitioned by, columns by their safe
// names. A function of c makes the partition column c_function and leaves c in the file;
// a plain column is not repeated in the file. The names of functions of IngestedAt begin
// with "ingested", as readers pass over folders that begin with an underscore.
func parsePartitionBy(terms []string) ([]partitionColumn, error) {
	var out []partitionColumn
	for _, term := range terms {
		p, err := parsePartitionTerm(term)
		if err != nil {
			return nil, fmt.Errorf("partition by %q: %w", term, err)
		}
		if slices.ContainsFunc(out, func(o partitionColumn) bool { return o.name == p.name }) {
			return nil, fmt.Errorf("partition by %q: named twice", term)
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePartitionTerm(term string) (p partitionColumn, err error) {
	p.source = strings.TrimSpace(term)
	function, inner, isCall := strings.Cut(p.source, "(")
	if isCall {
		inner, closed := strings.CutSuffix(inner, ")")
		if !closed {
			return p, errors.New("a bracket is missing, write date(COLUMN)")
		}
		source, argument, has := strings.Cut(inner, ",")
		p.function, p.source, argument = strings.TrimSpace(function), strings.TrimSpace(source), strings.TrimSpace(argument)
		switch {
		case p.function == "truncate":
			if p.width, err = strconv.Atoi(argument); err != nil || p.width < 1 {
				return p, errors.New("truncate takes a column and a number from 1 on: so many characters of text, or the multiple below a whole number")
			}
		case !slices.Contains([]string{"date", "year", "month", "day", "hour"}, p.function):
			return p, fmt.Errorf("there is no function %s, write %s", p.function, partitionForms)
		case has:
			if p.zone, err = time.LoadLocation(argument); err != nil || argument == "" || argument == "Local" {
				return p, fmt.Errorf("there is no time zone %q, write it as Europe/Berlin", argument)
			}
		}
	}
	if p.source == IngestedAt && p.function != "" && p.function != "truncate" {
		p.name = "ingested_" + p.function
		return p, nil
	}
	if safe := schema.SafeName(p.source); safe == "" || safe != p.source {
		return p, fmt.Errorf("write %s, the column by its name in the table%s", partitionForms, suggestion(safe))
	}
	if p.name = p.source; p.function != "" {
		p.name += "_" + p.function
	}
	return p, nil
}

// fits says whether the term can be worked out from a column's type; Unknown can be all.
func (p *partitionColumn) fits(t schema.Type) error {
	switch {
	case t.Kind == schema.Unknown || p.function == "":
	case p.function == "truncate":
		if t.Kind != schema.String && t.Kind != schema.Bigint {
			return fmt.Errorf("truncate takes text or whole numbers, and %s is %s", p.source, t)
		}
	case t.Kind != schema.Timestamp && (t.Kind != schema.Date || p.function == "hour"):
		return fmt.Errorf("%s takes a timestamp%s, and %s is %s", p.function, map[bool]string{true: " or a date"}[p.function != "hour"], p.source, t)
	case p.zone != nil && !t.Zoned:
		return fmt.Errorf("only an instant is in a time zone, and %s is %s: leave the zone out", p.source, t)
	}
	return nil
}

// Check says whether a table with these columns can be partitioned so.
func (s Shape) Check(of *schema.Schema) error {
	terms, err := parsePartitionBy(s.PartitionBy)
	if err != nil {
		return err
	}
	for i, p := range terms {
		if f, ok := of.Field(p.source); ok {
			if err := p.fits(f.Type); err != nil {
				return fmt.Errorf("partition by %q: %w", s.PartitionBy[i], err)
			}
		}
		if f, taken := of.Field(p.name); taken && p.function != "" {
			return fmt.Errorf("partition by %q: its partition column is called %s, and so is a column of the table", s.PartitionBy[i], f.Name)
		}
	}
	return nil
}

// UsesIngestedAt says whether the partitioning is by when rows were sent.
func (s Shape) UsesIngestedAt() bool {
	terms, err := parsePartitionBy(s.PartitionBy)
	return err == nil && slices.ContainsFunc(terms, func(p partitionColumn) bool { return p.source == IngestedAt })
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
		switch p.function {
		case "date":
			c.Type = "date"
		case "year", "month", "day", "hour":
			c.Type = "bigint"
		default:
			if of == nil {
				break
			}
			if f, ok := of.Field(p.source); ok && (f.Type.Kind == schema.Bigint || f.Type.Kind == schema.Date) {
				c.Type = f.Type.DDL()
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Sources are the columns that the partitioning reads, IngestedAt left out.
func (s Shape) Sources() ([]string, error) {
	terms, err := parsePartitionBy(s.PartitionBy)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range terms {
		if p.source != IngestedAt {
			out = append(out, p.source)
		}
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
		if c.source == IngestedAt {
			vectors[i] = r.Ingested
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
	if c.function != "" {
		var ok bool
		if p.text, ok = c.appendText(p.text, v, row); !ok || !PartitionFits(c.name, string(p.text)) || bytes.IndexByte(p.text, 0) >= 0 {
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

const millisADay = 24 * 60 * 60 * 1000

// appendText adds a function's value of row i, which is not null, as text. There is none
// of a column of another type.
func (p *partitionColumn) appendText(dst []byte, v *schema.Vector, i int) (_ []byte, ok bool) {
	if p.function == "truncate" {
		switch v.Type.Kind {
		case schema.String:
			text := v.TextAt(i)
			end := 0
			for n := 0; n < p.width && end < len(text); n++ {
				_, size := utf8.DecodeRune(text[end:])
				end += size
			}
			return append(dst, text[:end]...), true
		case schema.Bigint:
			n, w := v.Ints[i], int64(p.width)
			rest := n % w
			if rest < 0 {
				rest += w
			}
			if n < math.MinInt64+rest {
				return dst, false
			}
			return strconv.AppendInt(dst, n-rest, 10), true
		}
		return dst, false
	}
	var at time.Time
	switch v.Type.Kind {
	case schema.Date:
		at = time.UnixMilli(v.Ints[i] * millisADay).UTC()
	case schema.Timestamp:
		if at = time.UnixMilli(v.Ints[i]).UTC(); p.zone != nil && v.Type.Zoned {
			at = at.In(p.zone)
		}
	default:
		return dst, false
	}
	switch p.function {
	case "date":
		return at.AppendFormat(dst, time.DateOnly), true
	case "year":
		return strconv.AppendInt(dst, int64(at.Year()), 10), true
	case "month":
		return strconv.AppendInt(dst, int64(at.Month()), 10), true
	case "day":
		return strconv.AppendInt(dst, int64(at.Day()), 10), true
	}
	return strconv.AppendInt(dst, int64(at.Hour()), 10), v.Type.Kind == schema.Timestamp
}
