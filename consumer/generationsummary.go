package consumer

import (
	"context"

	"lakefeed/sink"
)

// GenerationSummary is what a generation has.
type GenerationSummary struct {
	Generation  int    `json:"generation,omitempty"`
	State       string `json:"state,omitempty"`
	Shape       string `json:"shape"`
	Rows        int64  `json:"rows"`
	Quarantined int64  `json:"rows_quarantined"`
	Rescued     int64  `json:"cells_rescued"`
	Files       int64  `json:"files"`
	Bytes       int64  `json:"bytes"`
	Partitions  int    `json:"partitions"`
	Columns     int    `json:"columns"`
}

// ColumnChange is a column that differs between two generations; a type is empty where
// there is no such column.
type ColumnChange struct {
	Column string `json:"column"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// summary is what a generation has now.
func summary(ctx context.Context, t *sink.Table) (GenerationSummary, error) {
	position, err := t.Position(ctx)
	if err != nil {
		return GenerationSummary{}, err
	}
	s, err := sink.NewProjector(t).Snapshot(ctx)
	if err != nil {
		return GenerationSummary{}, err
	}
	out := GenerationSummary{
		Generation: t.Generation(), State: position.String(), Shape: t.Shape().String(), Rows: s.Rows, Quarantined: s.Quarantine.Rows,
		Files: s.Files, Bytes: s.Bytes, Partitions: len(s.Partitions), Columns: len(s.Columns) + len(s.PartitionBy),
	}
	for p := range t.Partitions() {
		for rec, err := range t.ReadChain(ctx, p) {
			if err != nil {
				return out, err
			}
			out.Rescued += rec.Counts.Rescued
		}
	}
	return out, nil
}

func columnsOf(ctx context.Context, t *sink.Table) ([]sink.NamedType, error) {
	s, err := sink.NewProjector(t).Snapshot(ctx)
	return append(s.Columns, s.PartitionBy...), err
}

// changes are the columns that differ between two generations.
func changes(ctx context.Context, a, b *sink.Table) ([]ColumnChange, error) {
	before, err := columnsOf(ctx, a)
	if err != nil {
		return nil, err
	}
	after, err := columnsOf(ctx, b)
	return compareColumns(before, after), err
}

func compareColumns(before, after []sink.NamedType) (out []ColumnChange) {
	types := func(in []sink.NamedType) map[string]string {
		m := map[string]string{}
		for _, c := range in {
			m[c.Name] = c.Type
		}
		return m
	}
	was, is := types(before), types(after)
	for _, c := range before {
		if is[c.Name] != c.Type {
			out = append(out, ColumnChange{c.Name, c.Type, is[c.Name]})
		}
	}
	for _, c := range after {
		if was[c.Name] == "" {
			out = append(out, ColumnChange{c.Name, "", c.Type})
		}
	}
	return out
}
