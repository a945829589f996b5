package sink

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"lakefeed/schema"
)

// fileFacts is what a file holds, by a fresh read of all of it.
type fileFacts struct {
	rows   int64
	cells  schema.Sum128
	meta   map[string]string // key-value metadata
	bounds map[string]*observedBounds
}

// readFacts reads a whole file.
func readFacts(body []byte) (*fileFacts, error) {
	size := int64(len(body))
	f, err := openParquet(bytes.NewReader(body), size)
	if err == nil {
		err = verifyOffsets(f.Metadata(), size)
	}
	if err != nil {
		return nil, err
	}
	facts := &fileFacts{meta: map[string]string{}, bounds: map[string]*observedBounds{}}
	for _, kv := range f.Metadata().KeyValueMetadata {
		facts.meta[kv.Key] = kv.Value
	}
	byColumn := map[int]*observedBounds{}
	for _, c := range f.Root().Columns() {
		if c.Leaf() {
			b := &observedBounds{typ: fileType(c.Type())}
			byColumn[c.Index()], facts.bounds[c.Name()] = b, b
		}
	}
	facts.rows, facts.cells, err = cellHashes(f, func(column int, v parquet.Value) { byColumn[column].add(v) })
	return facts, err
}

// fileType is the type of a file's column. Of bytes that are no text it is a
// string.
func fileType(t parquet.Type) schema.Type {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch t.Kind() {
	case parquet.Boolean:
		return schema.Type{Kind: schema.Boolean}
	case parquet.Double:
		return schema.Type{Kind: schema.Double}
	case parquet.Int32:
		return schema.Type{Kind: schema.Date}
	case parquet.Int64:
		if x, ok := logical.(*format.TimestampType); ok {
			return schema.Type{Kind: schema.Timestamp, Zoned: x.IsAdjustedToUTC}
		}
		return schema.Type{Kind: schema.Bigint}
	case parquet.FixedLenByteArray:
		if x, ok := logical.(*format.DecimalType); ok {
			return schema.Type{Kind: schema.Decimal, Precision: int(x.Precision), Scale: int(x.Scale)}
		}
	}
	return schema.Type{Kind: schema.String}
}

// observedBounds are the least and the greatest value of a column.
type observedBounds struct {
	typ            schema.Type
	any            bool
	nan            bool
	intLo, intHi   int64 // whole numbers, dates, times, booleans
	realLo, realHi float64
	textLo, textHi []byte // also of decimals, as 16 bytes
}

func (b *observedBounds) add(v parquet.Value) {
	first := !b.any
	b.any = true
	switch v.Kind() {
	case parquet.Boolean:
		x := int64(0)
		if v.Boolean() {
			x = 1
		}
		b.addInt(x, first)
	case parquet.Int32:
		b.addInt(int64(v.Int32()), first)
	case parquet.Int64:
		b.addInt(v.Int64(), first)
	case parquet.Double:
		x := v.Double()
		b.nan = b.nan || math.IsNaN(x)
		if first || x < b.realLo {
			b.realLo = x
		}
		if first || x > b.realHi {
			b.realHi = x
		}
	case parquet.FixedLenByteArray:
		x := widen(v.ByteArray())
		b.addText(x[:], first, compareWide)
	default:
		b.addText(v.ByteArray(), first, bytes.Compare)
	}
}

func (b *observedBounds) addInt(x int64, first bool) {
	if first || x < b.intLo {
		b.intLo = x
	}
	if first || x > b.intHi {
		b.intHi = x
	}
}

func (b *observedBounds) addText(x []byte, first bool, compare func(a, b []byte) int) {
	if first || compare(x, b.textLo) < 0 {
		b.textLo = append(b.textLo[:0], x...)
	}
	if first || compare(x, b.textHi) > 0 {
		b.textHi = append(b.textHi[:0], x...)
	}
}

// compareWide orders two's complement numbers of 16 bytes.
func compareWide(a, b []byte) int {
	return cmp.Or(cmp.Compare(int8(a[0]), int8(b[0])), bytes.Compare(a[1:], b[1:]))
}

// differ compares the bounds with those that a record has, which are exact but for
// text: that may have been cut, below the least and above the greatest value. It
// gives what the values' own bounds are, ok when the record's hold.
func (b *observedBounds) differ(lo, hi string) (have string, ok bool) {
	if !b.any || b.nan {
		return "no bounds", false
	}
	var v schema.Vector
	v.Reset(b.typ)
	switch b.typ.Kind {
	case schema.String:
		if lo <= string(b.textLo) && string(b.textHi) <= hi {
			return "", true
		}
		return fmt.Sprintf("%q to %q", b.textLo, b.textHi), false
	case schema.Double:
		v.AppendFloat(b.realLo)
		v.AppendFloat(b.realHi)
	case schema.Decimal:
		v.AppendDecimal([16]byte(b.textLo))
		v.AppendDecimal([16]byte(b.textHi))
	default:
		v.AppendInt(b.intLo)
		v.AppendInt(b.intHi)
	}
	haveLo, haveHi := string(v.AppendValue(nil, 0)), string(v.AppendValue(nil, 1))
	same := haveLo == lo && haveHi == hi
	if b.typ.Kind == schema.Double && !same { // a zero bounds both zeros
		same = sameNumber(haveLo, lo) && sameNumber(haveHi, hi)
	}
	return haveLo + " to " + haveHi, same
}

func sameNumber(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// differences lists how a file is not what its record says of it.
func (x *fileFacts) differences(f File, meta map[string]string) (out []string) {
	if x.rows != f.Rows {
		out = append(out, fmt.Sprintf("it has %d rows, the record says %d", x.rows, f.Rows))
	}
	if f.CellHash != "" && x.cells.String() != f.CellHash {
		out = append(out, fmt.Sprintf("the hash of its values is %s, the record has %s", x.cells, f.CellHash))
	}
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if have := x.meta[key]; have != meta[key] {
			out = append(out, fmt.Sprintf("its metadata say that %s is %q, the record says %q", strings.TrimPrefix(key, "lakefeed."), have, meta[key]))
		}
	}
	for _, column := range slices.Sorted(maps.Keys(f.Min)) {
		b := x.bounds[column]
		if b == nil {
			out = append(out, fmt.Sprintf("it has no column %s, of which the record has bounds", column))
			continue
		}
		if have, ok := b.differ(f.Min[column], f.Max[column]); !ok {
			out = append(out, fmt.Sprintf("the values of column %s are %s, the record says %s to %s", column, have, quoteLong(f.Min[column]), quoteLong(f.Max[column])))
		}
	}
	return out
}

func quoteLong(s string) string {
	if len(s) > maxBound {
		s = s[:maxBound]
	}
	return strconv.Quote(s)
}

// fileMeta is what the metadata of a record's file say.
func (t *Table) fileMeta(partition int, r *Record, f File) map[string]string {
	m := map[string]string{
		"lakefeed.table":     t.name,
		"lakefeed.topic":     t.topic,
		"lakefeed.partition": strconv.Itoa(partition),
		"lakefeed.from":      strconv.FormatInt(r.From, 10),
		"lakefeed.to":        strconv.FormatInt(r.To, 10),
	}
	if name, ok := ParseFileKey(f.Key); ok {
		m["lakefeed.attempt"] = name.Attempt // a repaired file has that of the repair
	}
	if f.Table == Main {
		m["lakefeed.schema_version"] = strconv.FormatInt(r.Schema, 10)
	}
	return m
}

// misnamed says how a file's key is not one that the record's files can have, and
// gives nothing when it is.
func (t *Table) misnamed(partition int, r *Record, f File) string {
	name, ok := ParseFileKey(f.Key)
	folder := t.Folder()
	if f.Table == Quarantine {
		folder = t.QuarantineFolder()
	}
	if path := PartitionPath(f.Partition); path != "" {
		folder += "/" + path
	}
	switch {
	case !ok:
		return "its name is not that of a data file"
	case f.Key[:max(0, strings.LastIndexByte(f.Key, '/'))] != folder:
		return "its partition values belong into the folder " + folder
	case name.Topic != topicInName(t.topic) || name.Partition != partition:
		return fmt.Sprintf("its name is of topic partition %s/%d", name.Topic, name.Partition)
	case name.From != r.From || name.To != r.To:
		return fmt.Sprintf("its name is of offsets %d to %d", name.From, name.To-1)
	case (r.Kind == KindRows || r.Kind == KindReplay) && (name.Seq != r.Seq || name.Attempt != r.Attempt):
		return fmt.Sprintf("its name is of record %d, attempt %s", name.Seq, name.Attempt)
	}
	return ""
}
