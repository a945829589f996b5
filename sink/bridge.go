package sink

import (
	"errors"
	"strconv"
	"time"
)

// Partitions that are registered one by one cannot be turned to another generation in
// one step, and until the last of them is turned a reader would mix generations: rows
// that changed their partition twice or not at all, and types of columns that the
// engines refuse to bring together or, worse, drop rows for. So the table is turned
// first with its partitions projected, which is one update: readers find the partitions
// by the folders' names and pass over those that are registered. When these are turned
// the projection goes again.

// bridgeRest is how long partitions are left as they are after readers were told to pass
// over them: a query that has read the table before may be about to read them.
const bridgeRest = 10 * time.Second

// errOnBridge says that partitions must be left as they are for a while.
var errOnBridge = errors.New("its partitions are projected until those that are registered are turned")

// bridge gives a table, as it is to be at last, with its partitions projected; nil when
// projection cannot tell a reader all of them, and nothing but them, by their values.
// It cannot tell null: of a number or a date not at all, and a condition IS NULL on text
// finds nothing.
func bridge(t *CatalogTable, partitions []CatalogPartition) *CatalogTable {
	if len(t.PartitionBy) == 0 || len(t.Projection) > 0 || len(partitions) == 0 {
		return nil
	}
	snapshot := make([]SnapshotPartition, len(partitions))
	for i, p := range partitions {
		for n, v := range p.Values {
			value := PartitionValue{Column: t.PartitionBy[n].Name, Value: v}
			if v == DefaultPartition || folderValue(value) != v { // a reader would see what is in the folder's name
				return nil
			}
			snapshot[i].Values = append(snapshot[i].Values, value)
		}
	}
	columns, hidden, err := project(t.PartitionBy, snapshot)
	if err != nil || len(hidden) > 0 || combinations(columns) > mostFolders(partitions) {
		return nil
	}
	over := *t
	over.Projection = columns
	return &over
}

// mostFolders is how many folders a reader may be made to look into.
func mostFolders(partitions []CatalogPartition) int64 { return 4*int64(len(partitions)) + 1000 }

// combinations is how many partitions a reader works out from projected columns.
func combinations(columns []ProjectedColumn) int64 {
	const many = 1 << 40
	n := int64(1)
	for i := range columns {
		if n = n * min(columns[i].size(), many); n > many {
			return many
		}
		n = max(n, 1)
	}
	return n
}

// size is how many values the column is projected to have.
func (p *ProjectedColumn) size() int64 {
	switch p.Type {
	case ProjectInteger:
		from, errFrom := strconv.ParseInt(p.Min, 10, 64)
		to, errTo := strconv.ParseInt(p.Max, 10, 64)
		if errFrom != nil || errTo != nil {
			return 1
		}
		if n := to - from + 1; n > 0 {
			return n
		}
		return 1 << 40 // more than an int64 counts
	case ProjectDate:
		from, errFrom := time.Parse(time.DateOnly, p.Min)
		to, errTo := time.Parse(time.DateOnly, p.Max)
		if errFrom != nil || errTo != nil {
			return 1
		}
		return (to.Unix()-from.Unix())/(24*60*60) + 1 // a Duration ends after 292 years
	}
	return int64(len(p.Values))
}
