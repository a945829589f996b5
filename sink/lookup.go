package sink

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// ReadPairs gives two columns of a Parquet file of any writer, row by row, as text in
// its normal form; null where one is. The columns are flat ones.
func ReadPairs(body []byte, first, second string, pair func(a, b []byte)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read values: %v", p)
		}
	}()
	f, err := openParquet(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	var names []string
	places := [2]int{-1, -1}
	var types [2]schema.Type
	for _, c := range f.Root().Columns() {
		names = append(names, c.Name())
		for i, want := range [2]string{first, second} {
			if c.Name() == want && c.Leaf() && !c.Repeated() {
				places[i], types[i] = c.Index(), pairType(c.Type())
			}
		}
	}
	for i, want := range [2]string{first, second} {
		if places[i] < 0 {
			return fmt.Errorf("it has no column %s of single values; its columns are %s", want, strings.Join(names, ", "))
		}
	}
	rows := parquet.NewReader(f)
	defer rows.Close()
	buffer := make([]parquet.Row, 256)
	for {
		n, err := rows.ReadRows(buffer)
		for _, row := range buffer[:n] {
			var texts [2][]byte
			for _, v := range row {
				for i, at := range places {
					if v.Column() == at && !v.IsNull() {
						texts[i] = textOf(v, types[i])
					}
				}
			}
			pair(texts[0], texts[1])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
	}
}

// pairType is the type of a column of another writer: what is no date is a number there,
// where a file of ours has none.
func pairType(t parquet.Type) schema.Type {
	out := fileType(t)
	if l := t.LogicalType(); t.Kind() == parquet.Int32 && (l == nil || !isDate(l.Value)) {
		return schema.Type{Kind: schema.Bigint}
	}
	return out
}

func isDate(logical any) bool {
	_, ok := logical.(*format.DateType)
	return ok
}

// textOf is a file's value as text.
func textOf(v parquet.Value, t schema.Type) []byte {
	var one schema.Vector
	one.Reset(t)
	switch v.Kind() {
	case parquet.Boolean:
		x := int64(0)
		if v.Boolean() {
			x = 1
		}
		one.AppendInt(x)
	case parquet.Int32:
		one.AppendInt(int64(v.Int32()))
	case parquet.Int64:
		one.AppendInt(v.Int64())
	case parquet.Float:
		one.Reset(schema.Type{Kind: schema.Double})
		one.AppendFloat(float64(v.Float()))
	case parquet.Double:
		one.AppendFloat(v.Double())
	case parquet.FixedLenByteArray:
		if t.Kind == schema.Decimal {
			one.AppendDecimal(widen(v.ByteArray()))
			break
		}
		return bytes.Clone(v.ByteArray())
	default:
		return bytes.Clone(v.ByteArray())
	}
	return one.AppendValue(nil, 0)
}
