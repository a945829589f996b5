package sink

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
	var read [2]func(parquet.Value) []byte
	for _, c := range f.Root().Columns() {
		names = append(names, c.Name())
		for i, want := range [2]string{first, second} {
			if c.Name() == want && c.Leaf() && !c.Repeated() {
				places[i] = c.Index()
				if read[i], err = textsOf(c.Type()); err != nil {
					return fmt.Errorf("column %s %w", want, err)
				}
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
			var both [2][]byte
			for _, v := range row {
				for i, at := range places {
					if v.Column() != at || v.IsNull() {
						continue
					}
					if both[i] = read[i](v); !utf8.Valid(both[i]) {
						return fmt.Errorf("column %s has bytes that are no text", [2]string{first, second}[i])
					}
				}
			}
			pair(both[0], both[1])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
	}
}

// textsOf gives the values of a column of any writer as text in its normal form. The error
// says which values have none.
func textsOf(t parquet.Type) (func(parquet.Value) []byte, error) {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) []byte { return strconv.AppendBool(nil, v.Boolean()) }, nil
	case parquet.Int32, parquet.Int64:
		text := wholeTexts(logical)
		if t.Kind() == parquet.Int64 {
			return func(v parquet.Value) []byte { return text(v.Int64()) }, nil
		}
		if x, ok := logical.(*format.IntType); ok && !x.IsSigned {
			return func(v parquet.Value) []byte { return text(int64(v.Uint32())) }, nil
		}
		return func(v parquet.Value) []byte { return text(int64(v.Int32())) }, nil
	case parquet.Float:
		return func(v parquet.Value) []byte { // the double that is written as it is: 0.1, not 0.10000000149011612
			x, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v.Float()), 'g', -1, 32), 64)
			return doubleText(x)
		}, nil
	case parquet.Double:
		return func(v parquet.Value) []byte { return doubleText(v.Double()) }, nil
	case parquet.Int96:
		return nil, errors.New("is INT96, a time that does not say of which zone: write it as TIMESTAMP")
	}
	switch x := logical.(type) {
	case *format.DecimalType:
		return func(v parquet.Value) []byte {
			body := v.ByteArray()
			n := new(big.Int).SetBytes(body)
			if len(body) > 0 && body[0] >= 0x80 { // two's complement
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(body))))
			}
			return decimalText(n, int(x.Scale))
		}, nil
	case *format.UUIDType:
		return func(v parquet.Value) []byte {
			h := hex.EncodeToString(v.ByteArray())
			return []byte(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
		}, nil
	}
	return func(v parquet.Value) []byte { return append([]byte{}, v.ByteArray()...) }, nil
}

// wholeTexts gives what whole numbers stand for as text.
func wholeTexts(logical any) func(int64) []byte {
	switch x := logical.(type) {
	case *format.DecimalType:
		return func(n int64) []byte { return decimalText(big.NewInt(n), int(x.Scale)) }
	case *format.DateType:
		return func(n int64) []byte {
			return timeText(n*int64(24*time.Hour/time.Second), time.Second, time.DateOnly, "")
		}
	case *format.TimestampType:
		zone := ""
		if x.IsAdjustedToUTC {
			zone = "Z"
		}
		unit := x.Unit.Value.Duration()
		return func(n int64) []byte { return timeText(n, unit, "2006-01-02T15:04:05", zone) }
	case *format.TimeType:
		unit := x.Unit.Value.Duration()
		return func(n int64) []byte { return timeText(n, unit, time.TimeOnly, "") }
	case *format.IntType:
		if !x.IsSigned {
			return func(n int64) []byte { return strconv.AppendUint(nil, uint64(n), 10) }
		}
	}
	return func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
}

// timeText is the time that is so many units behind the beginning of 1970, with as many
// digits of a second as it takes.
func timeText(n int64, unit time.Duration, layout, zone string) []byte {
	each := int64(time.Second / unit)
	seconds, rest := n/each, n%each
	if rest < 0 {
		seconds, rest = seconds-1, rest+each
	}
	nanos := rest * int64(unit)
	switch {
	case nanos == 0:
	case nanos%1e6 == 0:
		layout += ".000"
	case nanos%1e3 == 0:
		layout += ".000000"
	default:
		layout += ".000000000"
	}
	return append(time.Unix(seconds, nanos).UTC().AppendFormat(nil, layout), zone...)
}

func decimalText(n *big.Int, scale int) []byte {
	if scale <= 0 {
		return n.Append(nil, 10)
	}
	digits := new(big.Int).Abs(n).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	at := len(digits) - scale
	text := digits[:at] + "." + digits[at:]
	if n.Sign() < 0 {
		text = "-" + text
	}
	return []byte(text)
}

func doubleText(x float64) []byte {
	var one schema.Vector
	one.Reset(schema.Type{Kind: schema.Double})
	one.AppendFloat(x)
	return one.AppendValue(nil, 0)
}
