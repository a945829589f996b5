package sink

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
)

// Catalog is where tables are registered, so that query engines find them. It
// is a projection of the lake, which a Registrar keeps and can make again at any
// time. Its methods may be called from any goroutine.
//
// Tables are guarded by their revision; partitions are not: who writes one over
// that another wrote looks again whether it is still right.
type Catalog interface {
	// Table gives a table as it is registered; ErrNotExist if there is none.
	Table(ctx context.Context, name string) (CatalogTable, error)
	// CreateTable registers a table; ErrExists if there is one of its name.
	CreateTable(ctx context.Context, t CatalogTable) error
	// UpdateTable puts t in place of the table of its name and revision;
	// ErrConflict if that has another revision now, ErrNotExist if it is gone.
	UpdateTable(ctx context.Context, t CatalogTable) error
	// Partitions gives all partitions of a table, in any order. ErrNotExist if
	// there is no such table.
	Partitions(ctx context.Context, table string) iter.Seq2[CatalogPartition, error]
	// AddPartitions registers partitions. Those that are there already are left as
	// they are, which is no error; there counts them.
	AddPartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) (there int, err error)
	// UpdatePartitions puts partitions in place of those with the same values;
	// ErrNotExist if one of them is gone. Of t the name, the location and the
	// partition columns matter, here and above.
	UpdatePartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error
	// DeletePartitions removes partitions with these values; those that are not there
	// are no error.
	DeletePartitions(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error
	// String names the catalog, for messages.
	String() string
}

// CatalogReplacer is a Catalog that can turn a table to other partitions in one step.
type CatalogReplacer interface {
	// ReplaceTable puts t in place of the table of its name and revision, with these
	// partitions in place of all that it has.
	ReplaceTable(ctx context.Context, t CatalogTable, partitions []CatalogPartition) error
}

// ErrConflict is returned by UpdateTable when the table was changed meanwhile.
var ErrConflict = errors.New("changed meanwhile")

// CatalogTable is a table as a catalog has it.
type CatalogTable struct {
	Name        string      `json:"table"`
	Location    string      `json:"location"` // folder of the live generation, relative to the lake
	Columns     []NamedType `json:"columns"`
	PartitionBy []NamedType `json:"partition_by,omitempty"`

	// Lake is the random id of the table in the lake. A catalog's table without one,
	// or with another, is not ours.
	Lake string `json:"lake"`
	// Swap is the number of the newest swap of generations, and Generation the one
	// that is live since.
	Swap       int64 `json:"swap"`
	Generation int   `json:"generation"`
	// SchemaVersion is the version of the columns within the generation.
	SchemaVersion int64 `json:"schema_version"`

	// Projection says how a reader finds the partitions without a list of them;
	// none: they are registered one by one.
	Projection []ProjectedColumn `json:"projection,omitempty"`

	// Revision is the catalog's own mark of what it gave, for UpdateTable.
	Revision string `json:"-"`
}

// CatalogPartition is a partition as a catalog has it.
type CatalogPartition struct {
	// Values are those of the partition columns, in their order, as text; null is
	// DefaultPartition.
	Values   []string `json:"values"`
	Location string   `json:"location"` // folder, relative to the lake
	// Columns are those that files in the partition have. A reader takes a column
	// that is not among them for null, without a look at the files.
	Columns []NamedType `json:"columns"`
	// Swap and SchemaVersion say which columns those are.
	Swap          int64 `json:"swap"`
	SchemaVersion int64 `json:"schema_version"`
}

// key identifies the partition within its table.
func (p *CatalogPartition) key() string { return strings.Join(p.Values, "\x00") }

// behind says whether the table as registered is older than another state of it.
func (t *CatalogTable) behind(o *CatalogTable) bool {
	return t.Swap < o.Swap || t.Swap == o.Swap && t.SchemaVersion < o.SchemaVersion
}

func (p *CatalogPartition) behind(o *CatalogPartition) bool {
	return p.Swap < o.Swap || p.Swap == o.Swap && p.SchemaVersion < o.SchemaVersion
}

// same says whether two partitions differ in nothing that a reader sees.
func (p *CatalogPartition) same(o *CatalogPartition) bool {
	return p.Location == o.Location && slices.Equal(p.Columns, o.Columns)
}

// same says whether two tables differ in nothing but their revision.
func (t *CatalogTable) same(o *CatalogTable) bool {
	return t.Name == o.Name && t.Location == o.Location && slices.Equal(t.Columns, o.Columns) && slices.Equal(t.PartitionBy, o.PartitionBy) &&
		t.Lake == o.Lake && t.Swap == o.Swap && t.Generation == o.Generation && t.SchemaVersion == o.SchemaVersion &&
		slices.EqualFunc(t.Projection, o.Projection, ProjectedColumn.equal)
}

// ForeignTableError says that a catalog has a table of that name that is not
// this table of this lake. Nothing is changed in it.
type ForeignTableError struct {
	Catalog, Table string
	Have, Want     string // lake ids
}

func (e *ForeignTableError) Error() string {
	whose := "was not registered by lakefeed"
	if e.Have != "" {
		whose = "is of another lake (id " + e.Have + ", this lake's table has " + e.Want + ")"
	}
	return "register table " + e.Table + " in " + e.Catalog + ": the table there " + whose + ", and is left as it is: use another database, or drop it, which leaves its files alone, and register again"
}

// join gives what the catalog is to have of a table, of what it has and what the
// lake says now. Neither goes back: columns that only the catalog knows stay, at
// the end, and stale is what a catalog that is ahead of want makes of it.
func join(catalog string, have, want *CatalogTable) (joined CatalogTable, stale bool, err error) {
	if have.Lake != want.Lake {
		return *have, false, &ForeignTableError{Catalog: catalog, Table: want.Name, Have: have.Lake, Want: want.Lake}
	}
	if want.behind(have) {
		return *have, true, nil
	}
	joined = *want
	joined.Revision = have.Revision
	joined.Columns = slices.Clone(want.Columns)
	for _, c := range have.Columns {
		named := func(n NamedType) bool { return n.Name == c.Name }
		if !slices.ContainsFunc(joined.Columns, named) && !slices.ContainsFunc(joined.PartitionBy, named) {
			joined.Columns = append(joined.Columns, c)
		}
	}
	if have.Swap == want.Swap {
		joined.Projection = joinProjection(have.Projection, want.Projection)
	}
	return joined, false, nil
}
