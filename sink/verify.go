package sink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// Verify reads a file's footer again and compares it with what was encoded: the
// magic at both ends, size, rows, columns where want names them, and that every
// column chunk and page lies inside the file. A deep Verify reads all values too
// and compares their CellHash.
func Verify(r io.ReaderAt, size int64, want Encoded, deep bool) error {
	if size != want.Size {
		return fmt.Errorf("verify file: %d bytes, want %d", size, want.Size)
	}
	f, err := openParquet(r, size)
	if err != nil {
		return fmt.Errorf("verify file: %w", err)
	}
	if n := f.NumRows(); n != want.Rows {
		return fmt.Errorf("verify file: %d rows, want %d", n, want.Rows)
	}
	if want.Columns != nil {
		var names []string
		for _, c := range f.Root().Columns() {
			names = append(names, c.Name())
		}
		if !slices.Equal(names, want.Columns) {
			return fmt.Errorf("verify file: columns %q, want %q", names, want.Columns)
		}
	}
	if err := verifyOffsets(f.Metadata(), size); err != nil {
		return fmt.Errorf("verify file: %w", err)
	}
	if !deep {
		return nil
	}
	n, sum, err := cellHashes(f, nil)
	switch {
	case err != nil:
		return fmt.Errorf("verify file: %w", err)
	case n != want.Rows:
		return fmt.Errorf("verify file: values of %d rows, want %d", n, want.Rows)
	case sum.String() != want.CellHash:
		return fmt.Errorf("verify file: cell hash %s, want %s: the values are not those that were written", sum, want.CellHash)
	}
	return nil
}

// openParquet reads a file's metadata, which lies within its last bytes.
func openParquet(r io.ReaderAt, size int64) (f *parquet.File, err error) {
	var magic [4]byte
	if size < 12 {
		return nil, fmt.Errorf("%d bytes are no Parquet file", size)
	}
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	if string(magic[:]) != "PAR1" {
		return nil, errors.New("it does not begin with PAR1")
	}
	// A damaged footer must be an error, whatever the library makes of it.
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("read footer: %v", p)
		}
	}()
	if f, err = parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true)); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	return f, nil
}

// verifyOffsets checks that what the footer points to is inside the file.
func verifyOffsets(m *format.FileMetaData, size int64) error {
	rows := int64(0)
	for i := range m.RowGroups {
		g := &m.RowGroups[i]
		rows += g.NumRows
		for j := range g.Columns {
			c := &g.Columns[j]
			from := c.MetaData.DataPageOffset
			if d := c.MetaData.DictionaryPageOffset; d > 0 {
				from = min(from, d)
			}
			name := fmt.Sprintf("row group %d, column %v", i, c.MetaData.PathInSchema)
			for what, at := range map[string][2]int64{
				"pages":        {from, c.MetaData.TotalCompressedSize},
				"column index": {c.ColumnIndexOffset, int64(c.ColumnIndexLength)},
				"offset index": {c.OffsetIndexOffset, int64(c.OffsetIndexLength)},
			} {
				if what != "pages" && at[0] == 0 && at[1] == 0 {
					continue
				}
				if at[0] < 4 || at[1] <= 0 || at[0] > size-8-at[1] {
					return fmt.Errorf("%s: %s at %d of %d bytes lie outside the file", name, what, at[0], at[1])
				}
			}
		}
	}
	if rows != m.NumRows {
		return fmt.Errorf("row groups have %d rows, the footer says %d", rows, m.NumRows)
	}
	return nil
}

// CellHashes reads a file and makes the sum of its rows' cell hashes again: the
// CellHash of Encoded, as 32 hex digits by its String.
func CellHashes(r io.ReaderAt, size int64) (rows int64, sum schema.Sum128, err error) {
	f, err := openParquet(r, size)
	if err == nil {
		rows, sum, err = cellHashes(f, nil)
	}
	if err != nil {
		return 0, schema.Sum128{}, fmt.Errorf("hash file: %w", err)
	}
	return rows, sum, nil
}

// cellHashes gives each value that is not null and no rescued one to observe,
// which may be nil, with the index of its column. The value's bytes are valid only
// in the call.
func cellHashes(f *parquet.File, observe func(column int, v parquet.Value)) (rows int64, total schema.Sum128, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read values: %v", p)
		}
	}()
	var sums []schema.Sum128
	for _, g := range f.RowGroups() {
		n := g.NumRows()
		if n > maxGroupRows {
			return 0, total, fmt.Errorf("a row group of %d rows, at most %d are read", n, maxGroupRows)
		}
		sums = resize(sums, int(n))
		clear(sums)
		chunks := g.ColumnChunks()
		for _, column := range f.Root().Columns() {
			if !column.Leaf() {
				if column.Name() != RescuedColumn || len(column.Columns()) != 1 || len(column.Columns()[0].Columns()) != 2 {
					return 0, total, fmt.Errorf("column %s is nested", column.Name())
				}
				kv := column.Columns()[0].Columns()
				if err := hashRescued(chunks[kv[0].Index()], chunks[kv[1].Index()], sums); err != nil {
					return 0, total, fmt.Errorf("read column %s: %w", column.Name(), err)
				}
				continue
			}
			if err := hashColumn(column, chunks[column.Index()], sums, observe); err != nil {
				return 0, total, fmt.Errorf("read column %s: %w", column.Name(), err)
			}
		}
		for _, s := range sums {
			h := cellHashOf(s)
			total.Add(h.Hi, h.Lo)
		}
		rows += n
	}
	return rows, total, nil
}

// fileKind is the kind of a file's column, as it is in a column's seed.
func fileKind(t parquet.Type) (string, error) {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch t.Kind() {
	case parquet.Boolean:
		return kindName(schema.Boolean, false), nil
	case parquet.Double:
		return kindName(schema.Double, false), nil
	case parquet.Int32:
		if _, ok := logical.(*format.DateType); ok {
			return kindName(schema.Date, false), nil
		}
	case parquet.Int64:
		switch x := logical.(type) {
		case *format.TimestampType:
			if _, ok := x.Unit.Value.(*format.MilliSeconds); ok {
				return kindName(schema.Timestamp, false), nil
			}
		case *format.IntType: // parquet-go's name for a bare INT64
			if x.BitWidth == 64 && x.IsSigned {
				return kindName(schema.Bigint, false), nil
			}
		case nil:
			return kindName(schema.Bigint, false), nil
		}
	case parquet.FixedLenByteArray:
		if _, ok := logical.(*format.DecimalType); ok && t.Length() <= 16 {
			return kindName(schema.Decimal, false), nil
		}
	case parquet.ByteArray:
		switch logical.(type) {
		case *format.StringType:
			return kindName(schema.String, false), nil
		case nil:
			return kindName(schema.String, true), nil
		}
	}
	return "", fmt.Errorf("type %s is none that lakefeed writes", t)
}

func hashColumn(column *parquet.Column, chunk parquet.ColumnChunk, sums []schema.Sum128, observe func(int, parquet.Value)) error {
	kind, err := fileKind(column.Type())
	if err != nil {
		return err
	}
	seed := cellSeed(column.Name(), kind)
	var number [16]byte
	row := 0
	err = eachValue(chunk, func(v parquet.Value) error {
		if row == len(sums) {
			return errors.New("it has more values than the row group has rows")
		}
		s := &sums[row]
		row++
		if v.IsNull() {
			return nil
		}
		if observe != nil {
			observe(column.Index(), v)
		}
		value := number[:8]
		switch v.Kind() {
		case parquet.Boolean:
			value = number[:1]
			value[0] = 0
			if v.Boolean() {
				value[0] = 1
			}
		case parquet.Int32:
			binary.BigEndian.PutUint64(value, uint64(int64(v.Int32())))
		case parquet.Int64, parquet.Double:
			binary.BigEndian.PutUint64(value, v.Uint64())
		case parquet.FixedLenByteArray:
			number = widen(v.ByteArray())
			value = number[:]
		default:
			value = v.ByteArray()
		}
		h := cellHash(seed, value)
		s.Add(h.Hi, h.Lo)
		return nil
	})
	if err == nil && row != len(sums) {
		err = fmt.Errorf("it has %d values, the row group %d rows", row, len(sums))
	}
	return err
}

// hashRescued hashes the map's cells; key and value stand at the same places.
func hashRescued(keys, values parquet.ColumnChunk, sums []schema.Sum128) error {
	var text []byte
	var ends []int
	err := eachValue(keys, func(v parquet.Value) error {
		if !v.IsNull() {
			text = append(text, v.ByteArray()...)
		}
		ends = append(ends, len(text))
		return nil
	})
	if err != nil {
		return err
	}
	row, at := -1, 0
	var cell []byte
	err = eachValue(values, func(v parquet.Value) error {
		if v.RepetitionLevel() == 0 {
			row++
		}
		if row < 0 || row >= len(sums) || at >= len(ends) {
			return errors.New("its keys, values and rows do not match")
		}
		if !v.IsNull() {
			from := 0
			if at > 0 {
				from = ends[at-1]
			}
			cell = append(append(append(cell[:0], text[from:ends[at]]...), 0), v.ByteArray()...)
			h := cellHash(rescuedSeed, cell)
			sums[row].Add(h.Hi, h.Lo)
		}
		at++
		return nil
	})
	if err == nil && (row != len(sums)-1 || at != len(ends)) {
		err = errors.New("its keys, values and rows do not match")
	}
	return err
}

// eachValue reads a column chunk, nulls too. A value's bytes are valid only in
// the call.
func eachValue(chunk parquet.ColumnChunk, f func(parquet.Value) error) (err error) {
	pages := chunk.Pages()
	defer func() {
		if e := pages.Close(); err == nil {
			err = e
		}
	}()
	var buf [1024]parquet.Value
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = eachPageValue(page.Values(), buf[:], f)
		parquet.Release(page)
		if err != nil {
			return err
		}
	}
}

func eachPageValue(r parquet.ValueReader, buf []parquet.Value, f func(parquet.Value) error) error {
	for {
		n, err := r.ReadValues(buf)
		for _, v := range buf[:n] {
			if err := f(v); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}
