package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lakefeed/cli/config"
	"lakefeed/schema"
)

// Contract are the flags that declare a table's columns, and what may change them.
type Contract struct {
	Numbers         schema.Numbers    `help:"What a column of fractions becomes: double, or decimal with the digits that were seen." default:"double" placeholder:"TYPE" yaml:"numbers"`
	OnNewColumn     schema.Policy     `help:"What a column does that the table has not: evolve adds it, rescue keeps its cells in _rescued, reject puts the rows into quarantine, freeze stops. Default: evolve." placeholder:"POLICY" yaml:"on_new_column"`
	OnMissingColumn schema.Policy     `help:"What a header without a column of the table does: evolve, reject or freeze. Default: evolve, which is null." placeholder:"POLICY" yaml:"on_missing_column"`
	OnTypeChange    schema.Policy     `help:"What a cell does that does not fit its column: evolve takes what readers of the files survive and rescues the rest; rescue, reject, freeze. Default: evolve." placeholder:"POLICY" yaml:"on_type_change"`
	OnNull          schema.Policy     `help:"What a null does: evolve, rescue (its token), reject or freeze. Default: evolve." placeholder:"POLICY" yaml:"on_null"`
	OnCellCount     schema.Policy     `help:"What a row does that has not as many cells as its header: reject, rescue (missing cells are null, others go to _rescued as _cell_5) or freeze. Default: reject." placeholder:"POLICY" yaml:"on_cell_count"`
	Columns         map[string]string `name:"column" help:"Declare a column's type; a date's or number's way of writing may follow: amount=decimal(12,2), day=\"date d/m/y\", at=epoch_seconds." placeholder:"NAME=TYPE" yaml:"columns"`
	Aliases         map[string]string `name:"alias" help:"Let a column that was renamed in the feed go on as the same column." placeholder:"OLD=NEW" yaml:"aliases"`
	// Nulls are null tokens by column, "*" for all.
	Nulls map[string][]string `kong:"-" yaml:"nulls"`
	// Contracts are the policies of single columns.
	Contracts map[string]ColumnContract `kong:"-" yaml:"contracts"`
}

// ColumnContract has the policies of one column.
type ColumnContract struct {
	OnMissingColumn schema.Policy `yaml:"on_missing_column"`
	OnTypeChange    schema.Policy `yaml:"on_type_change"`
	OnNull          schema.Policy `yaml:"on_null"`
}

// everyColumn stands for all columns among the null tokens.
const everyColumn = "*"

// contractFault is a fault in what is declared: of a key of one of the maps, or of
// the whole.
type contractFault struct {
	of  any // pointer to the map; nil for the whole
	key string
	err error
}

// contract is what is declared, nil where nothing is. Columns may be named as
// headers write them. The error has every fault.
func (c *Contract) contract() (*schema.Contract, error) {
	out, faults := c.build()
	var errs []error
	for _, f := range faults {
		errs = append(errs, f.err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{err.Error()}
	}
	return out, nil
}

// check adds the faults of the file's contract.
func (c *Contract) check(doc *config.Document) {
	_, faults := c.build()
	for _, f := range faults {
		if f.of == nil {
			doc.Fault(c.place(f.err), "", "schema: %v", f.err)
			continue
		}
		value := c.Columns[f.key]
		if shown := doc.EntryShown(f.of, f.key, value); shown != value { // it may be secret
			f.err = fmt.Errorf("column %s: what %s stands for is no type", f.key, shown)
		}
		doc.EntryFault(f.of, f.key, "", "schema: %v", f.err)
	}
}

// place is what a fault of the whole is about: it begins with the key.
func (c *Contract) place(fault error) any {
	switch key, _, _ := strings.Cut(fault.Error(), ":"); key {
	case "on_missing_column":
		return &c.OnMissingColumn
	case "on_cell_count":
		return &c.OnCellCount
	case "aliases":
		return &c.Aliases
	}
	return c
}

func (c *Contract) build() (*schema.Contract, []contractFault) {
	out := &schema.Contract{
		OnNewColumn: c.OnNewColumn, OnMissingColumn: c.OnMissingColumn, OnTypeChange: c.OnTypeChange, OnNull: c.OnNull, OnCellCount: c.OnCellCount, Numbers: c.Numbers, Nulls: c.Nulls[everyColumn],
	}
	var faults []contractFault
	declare := func(name string, what func(*schema.Declaration)) {
		if out.Columns == nil {
			out.Columns = map[string]schema.Declaration{}
		}
		name = schema.SafeName(name)
		d := out.Columns[name]
		what(&d)
		out.Columns[name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(c.Columns)) {
		t, err := schema.ParseType(c.Columns[name])
		if err == nil && t.Kind == schema.Unknown {
			err = errors.New("leave the column out, and the data decide its type")
		}
		if err != nil {
			faults = append(faults, contractFault{&c.Columns, name, fmt.Errorf("column %s: %w", name, err)})
			continue
		}
		declare(name, func(d *schema.Declaration) { d.Type = t })
	}
	for _, name := range slices.Sorted(maps.Keys(c.Nulls)) {
		if name != everyColumn {
			declare(name, func(d *schema.Declaration) { d.Nulls = append([]string{}, c.Nulls[name]...) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Contracts)) {
		one := c.Contracts[name]
		declare(name, func(d *schema.Declaration) {
			d.OnMissingColumn, d.OnTypeChange, d.OnNull = one.OnMissingColumn, one.OnTypeChange, one.OnNull
		})
	}
	for _, old := range slices.Sorted(maps.Keys(c.Aliases)) {
		if out.Aliases == nil {
			out.Aliases = map[string]string{}
		}
		out.Aliases[schema.SafeName(old)] = schema.SafeName(c.Aliases[old])
	}
	if joined, ok := out.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			faults = append(faults, contractFault{err: err})
		}
	}
	if out.Empty() {
		return nil, faults
	}
	return out, faults
}
