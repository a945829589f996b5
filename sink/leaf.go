package sink

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// leaf is a leaf column of a file.
type leaf struct {
	name     string
	path     []string
	typ      schema.Type
	binary   bool // bytes that are no text
	physical format.Type
	width    int // bytes of a FIXED_LEN_BYTE_ARRAY
	vector   *schema.Vector
	seed     uint64 // of the hashes of its cells
	maxDef   byte
	maxRep   byte
}

func newLeaf(c Column) (leaf, error) {
	l := leaf{name: c.Name, path: []string{c.Name}, typ: c.Type, vector: c.Vector, maxDef: 1}
	switch c.Type.Kind {
	case schema.Boolean:
		l.physical = format.Boolean
	case schema.Bigint, schema.Timestamp:
		l.physical = format.Int64
	case schema.Double:
		l.physical = format.Double
	case schema.Date:
		l.physical = format.Int32
	case schema.Decimal:
		if p, s := c.Type.Precision, c.Type.Scale; p < 1 || p > 38 || s < 0 || s > p {
			return l, fmt.Errorf("%s is no decimal type", c.Type)
		}
		l.physical, l.width = format.FixedLenByteArray, decimalWidth(c.Type.Precision)
	case schema.String:
		l.physical = format.ByteArray
	default:
		return l, fmt.Errorf("a column of type %s is not written", c.Type)
	}
	l.seed = cellSeed(c.Name, kindName(c.Type.Kind, false))
	v := c.Vector
	if v == nil || v.Len() == 0 {
		l.vector = nil
		return l, nil
	}
	if v.Type.Kind != c.Type.Kind || v.Type.Scale != c.Type.Scale || v.Type.Zoned != c.Type.Zoned {
		return l, fmt.Errorf("the values are of type %s, the column of type %s", v.Type, c.Type)
	}
	if int64(len(v.Text)) > math.MaxUint32 && c.Type.Kind == schema.String {
		return l, fmt.Errorf("%d bytes of text in a batch, at most 4 GiB fit", len(v.Text))
	}
	return l, nil
}

// binaryLeaf is a column of bytes that are no text, kept in a String vector.
func binaryLeaf(name string, v *schema.Vector) leaf {
	return leaf{
		name: name, path: []string{name}, typ: schema.Type{Kind: schema.String}, binary: true,
		physical: format.ByteArray, vector: v, seed: cellSeed(name, kindName(schema.String, true)), maxDef: 1,
	}
}

// decimalWidth is the smallest number of bytes whose two's complement holds all
// decimals of so many digits.
func decimalWidth(precision int) int {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return limit.Sub(limit, big.NewInt(1)).BitLen()/8 + 1
}

// element is the leaf's entry in the file's schema. The converted types of old
// are given too, also for a timestamp that is not in UTC, as Arrow does: readers
// that know only those would take it for a bare number otherwise.
func (l *leaf) element(repetition format.FieldRepetitionType) format.SchemaElement {
	s := format.SchemaElement{Name: l.name, Type: thrift.New(l.physical), RepetitionType: thrift.New(repetition)}
	if l.binary {
		return s
	}
	switch l.typ.Kind {
	case schema.Date:
		s.ConvertedType.Set(deprecated.Date)
		s.LogicalType.Value = new(format.DateType)
	case schema.Timestamp:
		s.ConvertedType.Set(deprecated.TimestampMillis)
		s.LogicalType.Value = &format.TimestampType{IsAdjustedToUTC: l.typ.Zoned, Unit: format.TimeUnit{Value: new(format.MilliSeconds)}}
	case schema.Decimal:
		p, sc := int32(l.typ.Precision), int32(l.typ.Scale)
		s.TypeLength.Set(int32(l.width))
		s.ConvertedType.Set(deprecated.Decimal)
		s.Precision.Set(p)
		s.Scale.Set(sc)
		s.LogicalType.Value = &format.DecimalType{Precision: p, Scale: sc}
	case schema.String:
		s.ConvertedType.Set(deprecated.UTF8)
		s.LogicalType.Value = new(format.StringType)
	}
	return s
}

// compare orders two values of the leaf in their form in statistics.
func (l *leaf) compare(a, b []byte) int {
	switch l.physical {
	case format.Int64:
		return cmp.Compare(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)))
	case format.Int32:
		return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b)))
	case format.Double:
		return cmp.Compare(math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case format.FixedLenByteArray: // two's complement: the first byte is signed
		if c := cmp.Compare(int8(a[0]), int8(b[0])); c != 0 {
			return c
		}
	}
	return bytes.Compare(a, b)
}

// rowSizes estimates what rows take in a file before compression.
type rowSizes struct {
	fixed   int
	total   int // of all text there is
	texts   []*schema.Vector
	rescued *Rescues
}

func newRowSizes(leaves []leaf, rescued *Rescues) rowSizes {
	s := rowSizes{fixed: 1, rescued: rescued}
	for i := range leaves {
		switch l := &leaves[i]; l.physical {
		case format.Boolean:
			s.fixed++
		case format.Int32:
			s.fixed += 4
		case format.FixedLenByteArray:
			s.fixed += l.width
		case format.ByteArray:
			s.fixed += 4
			if l.vector != nil {
				s.texts = append(s.texts, l.vector)
				s.total += len(l.vector.Text)
			}
		default:
			s.fixed += 8
		}
	}
	if rescued != nil {
		s.total += len(rescued.text) + 40*rescued.Len()
	}
	return s
}

// groupEnd is where the row group that begins at rows[from] ends.
func (s *rowSizes) groupEnd(rows []int32, from int) int {
	end := min(len(rows), from+maxGroupRows)
	if s.total+s.fixed*(end-from) <= maxGroupBytes {
		return end
	}
	size := 0
	for i := from; i < end; i++ {
		row := int(rows[i])
		size += s.fixed
		for _, v := range s.texts {
			if row < v.Len() {
				size += len(v.TextAt(row))
			}
		}
		if s.rescued != nil {
			for j, to := s.rescued.find(rows[i]); j < to; j++ {
				size += 40 + s.rescued.ends[j] - s.rescued.start(j)
			}
		}
		if size > maxGroupBytes && i > from {
			return i
		}
	}
	return end
}
