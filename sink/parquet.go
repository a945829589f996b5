package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// RescuedColumn is the last column of every file of a table: a map from column
// name to the text that did not fit the column, null where a row has none.
const RescuedColumn = "_rescued"

// Limits of a row group and of a page. A page also ends at a megabyte of text.
const (
	maxGroupRows  = 1 << 20
	maxGroupBytes = 128 << 20
	maxPageRows   = 1 << 15
	maxPageBytes  = 1 << 20
)

// createdBy has the form "application version number": engines of the
// parquet-mr family ignore the bounds of strings and decimals of writers whose
// name they cannot parse.
const createdBy = "lakefeed version 1.0.0"

// Column is one column of a file: its name, its type in the file and its values.
type Column struct {
	Name string
	// Type is any but Unknown: an undecided column is left out of files.
	Type schema.Type
	// Vector holds the values by row index, in the type's kind and, of a decimal,
	// scale. Rows at or behind its end are null; nil is a column of nulls.
	Vector *schema.Vector
}

// IDs are the identities of a batch's rows by row index: stream id as a number,
// and row number.
type IDs struct {
	Stream []uint64
	Row    []int64
}

// FileSpec is a batch as one file wants it. The Encoder keeps none of it.
type FileSpec struct {
	// Columns in the order they have in the file. Undecided columns and partition
	// columns are left out.
	Columns []Column
	// Rows is the number of rows of the batch; IDs has at least as many.
	Rows int
	IDs  IDs
	// Rescued is what goes into the column `_rescued`, nil for nothing.
	Rescued *Rescues
	// Meta is the file's key-value metadata.
	Meta map[string]string
}

// Encoded says what a file holds.
type Encoded struct {
	Rows int64
	Size int64 // bytes
	// RowHash and CellHash are sums over the rows, the same in any order: 32 hex
	// digits, defined in rowhash.go.
	RowHash, CellHash string
	// Columns are the names of the file's columns, in order.
	Columns []string
	// Min and Max bound each column's values, as text in the normal form of its
	// type; text is cut to 64 bytes, Max then being above the value. A column has
	// none when it holds only nulls, or a NaN.
	Min, Max map[string]string
}

// Encoder writes Parquet files. It is reused for one file after the other, not
// by several goroutines. The zero value is ready.
//
// It writes column after column straight to the output. Between files it keeps
// its buffers; during a row group of n rows, at most a million, they are about
// 40 n bytes (gathered values, row hashes, dictionary indexes), one dictionary of
// at most a megabyte and 65536 values, one page of a megabyte (more only where a
// single cell is longer), and a few megabytes of zstd.
type Encoder struct {
	out    output
	zip    *zstd.Encoder
	groups []format.RowGroup
	pages  [][]pageIndex // by row group, then leaf

	sel    []int32 // the rows of this file in order, when the caller gave none
	sums   []schema.Sum128
	chunk  chunk
	rowSum schema.Sum128
	celSum schema.Sum128
}

// Encode writes the given rows of a batch, each at most once, in that order, as
// one Parquet file; nil rows are all rows. On an error the output holds a useless beginning of a
// file.
func (e *Encoder) Encode(w io.Writer, spec FileSpec, rows []int32) (Encoded, error) {
	leaves := make([]leaf, 0, len(spec.Columns)+2)
	for _, c := range spec.Columns {
		l, err := newLeaf(c)
		if err != nil {
			return Encoded{}, fmt.Errorf("encode column %s: %w", c.Name, err)
		}
		leaves = append(leaves, l)
	}
	return e.encode(w, spec, leaves, true, rows)
}

// encode writes a file of flat leaves, and of the column `_rescued` if wanted.
func (e *Encoder) encode(w io.Writer, spec FileSpec, leaves []leaf, rescued bool, rows []int32) (Encoded, error) {
	if err := checkNames(leaves, rescued); err != nil {
		return Encoded{}, err
	}
	if len(spec.IDs.Stream) < spec.Rows || len(spec.IDs.Row) < spec.Rows {
		return Encoded{}, fmt.Errorf("encode rows: identities of %d and %d rows, want %d", len(spec.IDs.Stream), len(spec.IDs.Row), spec.Rows)
	}
	rows, err := e.selection(spec.Rows, rows)
	if err != nil {
		return Encoded{}, err
	}
	if e.zip == nil {
		e.zip, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
		if err != nil {
			return Encoded{}, fmt.Errorf("start zstd: %w", err)
		}
	}
	e.out = output{w: w}
	e.groups, e.pages = e.groups[:0], e.pages[:0]
	e.rowSum, e.celSum = schema.Sum128{}, schema.Sum128{}
	e.out.write([]byte("PAR1"))

	bounds := make([]bounds, len(leaves))
	size := newRowSizes(leaves, spec.Rescued)
	for from := 0; from < len(rows); {
		to := size.groupEnd(rows, from)
		if err := e.group(spec, leaves, rescued, bounds, rows[from:to]); err != nil {
			return Encoded{}, err
		}
		from = to
	}
	if err := e.footer(leaves, rescued, spec.Meta, int64(len(rows))); err != nil {
		return Encoded{}, err
	}
	out := Encoded{Rows: int64(len(rows)), Size: e.out.offset, RowHash: e.rowSum.String(), CellHash: e.celSum.String()}
	for i := range leaves {
		out.Columns = append(out.Columns, leaves[i].name)
		if lo, hi, ok := bounds[i].text(&leaves[i]); ok {
			if out.Min == nil {
				out.Min, out.Max = map[string]string{}, map[string]string{}
			}
			out.Min[leaves[i].name], out.Max[leaves[i].name] = lo, hi
		}
	}
	if rescued {
		out.Columns = append(out.Columns, RescuedColumn)
	}
	return out, nil
}

// selection checks the rows, or makes the list of all.
func (e *Encoder) selection(n int, rows []int32) ([]int32, error) {
	if n > math.MaxInt32 {
		return nil, fmt.Errorf("encode rows: a batch of %d rows, at most %d fit", n, math.MaxInt32)
	}
	if rows == nil {
		for len(e.sel) < n {
			e.sel = append(e.sel, int32(len(e.sel)))
		}
		return e.sel[:n], nil
	}
	for _, r := range rows {
		if uint(r) >= uint(n) {
			return nil, fmt.Errorf("encode rows: row %d of a batch of %d", r, n)
		}
	}
	return rows, nil
}

func checkNames(leaves []leaf, rescued bool) error {
	if len(leaves) == 0 && !rescued {
		return errors.New("encode file: it has no columns")
	}
	seen := make(map[string]bool, len(leaves))
	for i := range leaves {
		name := leaves[i].name
		switch {
		case name == "":
			return fmt.Errorf("encode file: column %d has no name", i)
		case seen[name]:
			return fmt.Errorf("encode file: two columns are named %s", name)
		case rescued && name == RescuedColumn:
			return fmt.Errorf("encode file: the name %s is taken for rescued cells", name)
		}
		seen[name] = true
	}
	return nil
}

// group writes one row group.
func (e *Encoder) group(spec FileSpec, leaves []leaf, rescued bool, file []bounds, rows []int32) error {
	if len(e.groups) > math.MaxInt16 {
		return errors.New("encode file: more than 32768 row groups")
	}
	if cap(e.sums) < len(rows) {
		e.sums = make([]schema.Sum128, len(rows))
	}
	e.sums = e.sums[:len(rows)]
	clear(e.sums)
	top := slices.Max(rows)

	g := format.RowGroup{NumRows: int64(len(rows)), FileOffset: e.out.offset, Ordinal: int16(len(e.groups))}
	var pages []pageIndex
	add := func(l *leaf) {
		g.Columns = append(g.Columns, format.ColumnChunk{MetaData: e.chunk.meta})
		g.TotalByteSize += e.chunk.meta.TotalUncompressedSize
		g.TotalCompressedSize += e.chunk.meta.TotalCompressedSize
		pages = append(pages, e.chunk.index(l))
	}
	for i := range leaves {
		l := &leaves[i]
		if err := e.chunk.gather(l, rows, int(top)); err != nil {
			return fmt.Errorf("encode column %s: %w", l.name, err)
		}
		if err := e.chunk.write(e, l); err != nil {
			return fmt.Errorf("write column %s: %w", l.name, err)
		}
		file[i].merge(l, &e.chunk.bounds)
		add(l)
	}
	if rescued {
		e.chunk.gatherRescued(spec.Rescued, rows, e.sums)
		for i := range rescuedLeaves {
			l := &rescuedLeaves[i]
			if err := e.chunk.writeRescued(e, l, i == 1); err != nil {
				return fmt.Errorf("write column %s: %w", RescuedColumn, err)
			}
			add(l)
		}
	}
	e.groups = append(e.groups, g)
	e.pages = append(e.pages, pages)
	cells, all := hashRows(e.sums, rows, spec.IDs)
	e.celSum.Add(cells.Hi, cells.Lo)
	e.rowSum.Add(all.Hi, all.Lo)
	return nil
}

// footer writes the page index and the file's metadata.
func (e *Encoder) footer(leaves []leaf, rescued bool, meta map[string]string, rows int64) error {
	var protocol thrift.CompactProtocol
	var buf bytes.Buffer
	enc := thrift.NewEncoder(protocol.NewWriter(&buf))
	for i := range e.groups {
		for j := range e.groups[i].Columns {
			if x := &e.pages[i][j]; x.bounded {
				buf.Reset()
				if err := enc.Encode(&x.columns); err != nil {
					return fmt.Errorf("write column index: %w", err)
				}
				c := &e.groups[i].Columns[j]
				c.ColumnIndexOffset, c.ColumnIndexLength = e.out.offset, int32(buf.Len())
				e.out.write(buf.Bytes())
			}
		}
	}
	for i := range e.groups {
		for j := range e.groups[i].Columns {
			buf.Reset()
			if err := enc.Encode(&e.pages[i][j].offsets); err != nil {
				return fmt.Errorf("write offset index: %w", err)
			}
			c := &e.groups[i].Columns[j]
			c.OffsetIndexOffset, c.OffsetIndexLength = e.out.offset, int32(buf.Len())
			e.out.write(buf.Bytes())
		}
	}
	file := format.FileMetaData{Version: 2, Schema: schemaElements(leaves, rescued), NumRows: rows, RowGroups: e.groups, CreatedBy: createdBy}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		file.KeyValueMetadata = append(file.KeyValueMetadata, format.KeyValue{Key: k, Value: meta[k]})
	}
	n := len(leaves)
	if rescued {
		n += len(rescuedLeaves)
	}
	for range n {
		file.ColumnOrders = append(file.ColumnOrders, format.ColumnOrder{Value: new(format.TypeDefinedOrder)})
	}
	buf.Reset()
	if err := enc.Encode(&file); err != nil {
		return fmt.Errorf("write file metadata: %w", err)
	}
	length := buf.Len()
	buf.Write([]byte{byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24)})
	buf.WriteString("PAR1")
	e.out.write(buf.Bytes())
	if e.out.err != nil {
		return fmt.Errorf("write file: %w", e.out.err)
	}
	return nil
}

// schemaElements lists the file's schema depth first.
func schemaElements(leaves []leaf, rescued bool) []format.SchemaElement {
	root := format.SchemaElement{Name: "schema"}
	elements := append(make([]format.SchemaElement, 0, len(leaves)+5), root)
	for i := range leaves {
		elements = append(elements, leaves[i].element(format.Optional))
	}
	top := len(leaves)
	if rescued {
		top++
		elements = append(elements,
			format.SchemaElement{
				Name: RescuedColumn, RepetitionType: thrift.New(format.Optional), NumChildren: thrift.New(int32(1)),
				ConvertedType: thrift.New(deprecated.Map), LogicalType: format.LogicalType{Value: new(format.MapType)},
			},
			format.SchemaElement{Name: "key_value", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(int32(2))},
			rescuedLeaves[0].element(format.Required),
			rescuedLeaves[1].element(format.Optional),
		)
	}
	elements[0].NumChildren.Set(int32(top))
	return elements
}

// output counts what is written and keeps the first error.
type output struct {
	w      io.Writer
	offset int64
	err    error
}

func (o *output) write(b []byte) {
	if o.err != nil {
		return
	}
	n, err := o.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	o.offset += int64(n)
	o.err = err
}
