package sink

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProjectedColumn says which values a partition column has, in a form from which
// a reader works out all partitions by itself.
type ProjectedColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // enum, integer or date
	// Values are those of an enum, sorted, as they are in folders' names.
	Values []string `json:"values,omitempty"`
	// Min and Max bound an integer or date, both included; empty while there are
	// no values.
	Min string `json:"min,omitempty"`
	Max string `json:"max,omitempty"`
}

// The types of a ProjectedColumn.
const (
	ProjectEnum    = "enum"
	ProjectInteger = "integer"
	ProjectDate    = "date"
)

// maxProjectedValues is how many values an enum may have: they stand in the
// table's parameters, and a reader tries the folder of each.
const maxProjectedValues = 1000

func (p ProjectedColumn) equal(o ProjectedColumn) bool {
	return p.Name == o.Name && p.Type == o.Type && p.Min == o.Min && p.Max == o.Max && slices.Equal(p.Values, o.Values)
}

// less orders the bounds of an integer or date column.
func (p *ProjectedColumn) less(a, b string) bool {
	if p.Type == ProjectInteger {
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		if errX == nil && errY == nil {
			return x < y
		}
	}
	return cmp.Less(a, b)
}

// take widens the column to a range of values; an empty bound is none.
func (p *ProjectedColumn) take(from, to string) {
	if from != "" && (p.Min == "" || p.less(from, p.Min)) {
		p.Min = from
	}
	if to != "" && (p.Max == "" || p.less(p.Max, to)) {
		p.Max = to
	}
}

// project describes the partitions of a table by the values of each of its
// partition columns. hidden are the folders that readers will not find by it: those of
// null in a column that is no string, and of text with a space at an end, which Trino
// takes off.
func project(by []NamedType, partitions []SnapshotPartition) (columns []ProjectedColumn, hidden []string, err error) {
	columns = make([]ProjectedColumn, len(by))
	for i, c := range by {
		columns[i] = ProjectedColumn{Name: c.Name, Type: ProjectEnum}
		switch c.Type {
		case "bigint":
			columns[i].Type = ProjectInteger
		case "date":
			columns[i].Type = ProjectDate
		}
	}
	values := make([]map[string]bool, len(by))
	for _, p := range partitions {
		isHidden := false
		for i, v := range p.Values {
			c := &columns[i]
			switch {
			case c.Type == ProjectEnum:
				if values[i] == nil {
					values[i] = map[string]bool{}
				}
				folder := folderValue(v)
				values[i][folder] = true
				isHidden = isHidden || strings.TrimSpace(folder) != folder
			case v.Null || c.Type == ProjectDate && !isDay(v.Value):
				isHidden = true
			default:
				c.take(v.Value, v.Value)
			}
		}
		if isHidden {
			hidden = append(hidden, p.Location)
		}
	}
	for i := range columns {
		c := &columns[i]
		for v := range values[i] {
			c.Values = append(c.Values, v)
		}
		slices.Sort(c.Values)
		if err := c.check(); err != nil {
			return nil, nil, err
		}
	}
	return columns, hidden, nil
}

func (p *ProjectedColumn) check() error {
	if len(p.Values) > maxProjectedValues {
		return fmt.Errorf("project partitions: column %s has %d values, more than the %d that a table's parameters have room for: register the partitions one by one instead", p.Name, len(p.Values), maxProjectedValues)
	}
	for _, v := range p.Values {
		if strings.Contains(v, ",") {
			return fmt.Errorf("project partitions: the value %q of column %s has a comma, which separates values there: register the partitions one by one instead", v, p.Name)
		}
	}
	return nil
}

// folderValue is a value as it stands in the folder's name, which is what
// projection puts into the location.
func folderValue(v PartitionValue) string {
	_, value, _ := strings.Cut(PartitionPath([]PartitionValue{v}), "=")
	return value
}

// fits says whether the value is one of a partition column of a type.
func (v *PartitionValue) fits(typ string) bool {
	switch {
	case v.Null || v.Value == "":
		return true
	case typ == "bigint":
		_, err := strconv.ParseInt(v.Value, 10, 64)
		return err == nil
	case typ == "date":
		return isDay(v.Value)
	}
	return true
}

// isDay says whether text is a date that projection can count from: of four
// digits in the year.
func isDay(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

// joinProjection gives columns whose values are those of both.
func joinProjection(have, want []ProjectedColumn) []ProjectedColumn {
	joined := slices.Clone(want)
	for i := range joined {
		c := &joined[i]
		for _, h := range have {
			if h.Name != c.Name || h.Type != c.Type {
				continue
			}
			c.take(h.Min, h.Max)
			c.Values = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Values, h.Values))))
			if len(c.Values) == 0 {
				c.Values = nil
			}
		}
	}
	return joined
}
