package sink

import (
	"io"
	"time"

	"github.com/parquet-go/parquet-go"

	"lakefeed/schema"
)

// Unknown is a number of a QuarantineRow that is not known: it is stored as null.
const Unknown = -1

// QuarantineRow is a row or reject that could not become a record. The columns
// of the quarantine table never change.
type QuarantineRow struct {
	Raw           []byte    // the bytes as they came; nil is null
	Source        string    // URI; here and below an empty string is null
	Stream        string    // stream id
	Row           int64     // row number, Unknown where not known, as in all numbers below
	Line          int64     // 1-based
	BytesFrom     int64     // byte range in the source
	BytesTo       int64     //
	Topic         string    //
	Partition     int64     // of the topic
	Offset        int64     //
	Stage         string    // what was being done: split, type, transform, …
	Rule          string    // what was broken
	Column        string    // in which column
	Message       string    //
	SchemaVersion int64     //
	At            time.Time // cut to milliseconds; the zero time is null
}

var (
	bigintType  = schema.Type{Kind: schema.Bigint}
	stringType  = schema.Type{Kind: schema.String}
	instantType = schema.Type{Kind: schema.Timestamp, Zoned: true}
)

// quarantineColumns are the quarantine table's columns, with how to get each.
var quarantineColumns = []struct {
	name   string
	typ    schema.Type
	text   func(*QuarantineRow) string
	number func(*QuarantineRow) int64
	set    func(*QuarantineRow, parquet.Value) // reads it back
}{
	{name: "raw", typ: stringType, set: setRaw}, // binary
	{name: "source", typ: stringType, text: func(r *QuarantineRow) string { return r.Source }, set: func(r *QuarantineRow, v parquet.Value) { r.Source = string(v.ByteArray()) }},
	{name: "stream", typ: stringType, text: func(r *QuarantineRow) string { return r.Stream }, set: func(r *QuarantineRow, v parquet.Value) { r.Stream = string(v.ByteArray()) }},
	{name: "row", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.Row }, set: func(r *QuarantineRow, v parquet.Value) { r.Row = numberOrUnknown(v) }},
	{name: "line", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.Line }, set: func(r *QuarantineRow, v parquet.Value) { r.Line = numberOrUnknown(v) }},
	{name: "bytes_from", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.BytesFrom }, set: func(r *QuarantineRow, v parquet.Value) { r.BytesFrom = numberOrUnknown(v) }},
	{name: "bytes_to", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.BytesTo }, set: func(r *QuarantineRow, v parquet.Value) { r.BytesTo = numberOrUnknown(v) }},
	{name: "topic", typ: stringType, text: func(r *QuarantineRow) string { return r.Topic }, set: func(r *QuarantineRow, v parquet.Value) { r.Topic = string(v.ByteArray()) }},
	{name: "partition", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.Partition }, set: func(r *QuarantineRow, v parquet.Value) { r.Partition = numberOrUnknown(v) }},
	{name: "offset", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.Offset }, set: func(r *QuarantineRow, v parquet.Value) { r.Offset = numberOrUnknown(v) }},
	{name: "stage", typ: stringType, text: func(r *QuarantineRow) string { return r.Stage }, set: func(r *QuarantineRow, v parquet.Value) { r.Stage = string(v.ByteArray()) }},
	{name: "rule", typ: stringType, text: func(r *QuarantineRow) string { return r.Rule }, set: func(r *QuarantineRow, v parquet.Value) { r.Rule = string(v.ByteArray()) }},
	{name: "column", typ: stringType, text: func(r *QuarantineRow) string { return r.Column }, set: func(r *QuarantineRow, v parquet.Value) { r.Column = string(v.ByteArray()) }},
	{name: "message", typ: stringType, text: func(r *QuarantineRow) string { return r.Message }, set: func(r *QuarantineRow, v parquet.Value) { r.Message = string(v.ByteArray()) }},
	{name: "schema_version", typ: bigintType, number: func(r *QuarantineRow) int64 { return r.SchemaVersion }, set: func(r *QuarantineRow, v parquet.Value) { r.SchemaVersion = numberOrUnknown(v) }},
	{name: "at", typ: instantType, set: setAt},
}

// QuarantineTypes are the names and DDL types of the quarantine table's columns.
func QuarantineTypes() []NamedType {
	types := make([]NamedType, len(quarantineColumns))
	for i, c := range quarantineColumns {
		types[i] = NamedType{Name: c.name, Type: c.typ.DDL()}
	}
	types[0].Type = "binary"
	return types
}

// EncodeQuarantine writes a file of the quarantine table. ids are the rows'
// identities, by index.
func (e *Encoder) EncodeQuarantine(w io.Writer, rows []QuarantineRow, ids IDs, meta map[string]string) (Encoded, error) {
	leaves := make([]leaf, len(quarantineColumns))
	for i, c := range quarantineColumns {
		v := new(schema.Vector)
		v.Reset(c.typ)
		for j := range rows {
			r := &rows[j]
			switch {
			case c.text != nil:
				appendTextOrNull(v, c.text(r))
			case c.number != nil:
				appendNumberOrNull(v, c.number(r))
			case i == 0 && r.Raw != nil:
				v.AppendText(r.Raw)
			case c.typ == instantType && !r.At.IsZero():
				v.AppendInt(r.At.UnixMilli())
			default:
				v.AppendNull()
			}
		}
		if i == 0 {
			leaves[i] = binaryLeaf(c.name, v)
			continue
		}
		l, err := newLeaf(Column{Name: c.name, Type: c.typ, Vector: v})
		if err != nil {
			return Encoded{}, err
		}
		leaves[i] = l
	}
	return e.encode(w, FileSpec{Rows: len(rows), IDs: ids, Meta: meta}, leaves, false, nil)
}

func appendTextOrNull(v *schema.Vector, s string) {
	if s == "" {
		v.AppendNull()
		return
	}
	v.AppendText([]byte(s))
}

func appendNumberOrNull(v *schema.Vector, n int64) {
	if n == Unknown {
		v.AppendNull()
		return
	}
	v.AppendInt(n)
}

func numberOrUnknown(v parquet.Value) int64 {
	if v.IsNull() {
		return Unknown
	}
	return v.Int64()
}

func setRaw(r *QuarantineRow, v parquet.Value) {
	if !v.IsNull() {
		r.Raw = append([]byte{}, v.ByteArray()...)
	}
}

func setAt(r *QuarantineRow, v parquet.Value) {
	if !v.IsNull() {
		r.At = time.UnixMilli(v.Int64()).UTC()
	}
}
