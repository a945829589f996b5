package sink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// chunk is one column of one row group on its way into the file. First the
// values that are not null are gathered, in the order of the rows, then they are
// looked up in a dictionary, hashed, cut into pages and written.
//
// parquet-go's own writers are not used for this: their bounds of decimals order
// negative numbers behind positive ones, their bounds of text are not cut, and
// they hold a row group until it is complete.
type chunk struct {
	rows    int
	nulls   int
	levels  []byte  // 1 for a value, 0 for a null; not kept when there are no nulls
	present []int32 // the rows that have a value, where there are nulls
	words   []uint64
	wide    []wide
	spans   []span
	text    []byte // what spans are of
	dict    dictionary

	reps  []byte // of `_rescued`: repetition levels
	keys  []span // and the names of the columns
	cells []byte // what keys and spans are of

	bounds  bounds
	meta    format.ColumnMetaData
	columns format.ColumnIndex
	offsets format.OffsetIndex
	bounded bool

	body, zipped, coded []byte
	scaled              []byte
	header              bytes.Buffer
	protocol            thrift.CompactProtocol
	thrift              *thrift.Encoder
	seen                []uint32 // by dictionary entry: the last page it was in
	page                uint32
	scratch             [16]byte
}

// wide is a decimal: 128 bits, two's complement.
type wide struct{ hi, lo uint64 }

func (a wide) less(b wide) bool {
	return int64(a.hi) < int64(b.hi) || a.hi == b.hi && a.lo < b.lo
}

// span is a piece of the chunk's text.
type span struct{ from, to uint32 }

// pageIndex is what a file's page index says of a chunk.
type pageIndex struct {
	columns format.ColumnIndex
	offsets format.OffsetIndex
	bounded bool // every page has bounds, or only nulls
}

// resize gives a slice of n elements of any content, in the same memory if it can.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// gather collects the values of some rows; top is the highest of them.
func (c *chunk) gather(l *leaf, rows []int32, top int) error {
	c.rows, c.nulls, c.levels = len(rows), 0, c.levels[:0]
	c.words, c.wide, c.spans = c.words[:0], c.wide[:0], c.spans[:0]
	v := l.vector
	if v == nil {
		c.nulls = len(rows)
		return nil
	}
	if v.Nulls() > 0 || top >= v.Len() {
		c.levels, c.present = resize(c.levels, len(rows)), c.present[:0]
		for i, r := range rows {
			if v.Null(int(r)) {
				c.levels[i] = 0
				continue
			}
			c.levels[i] = 1
			c.present = append(c.present, r)
		}
		c.nulls = len(rows) - len(c.present)
		rows = c.present
	}
	switch l.physical {
	case format.Boolean:
		c.words = resize(c.words, len(rows))
		for i, r := range rows {
			c.words[i] = 0
			if v.Ints[r] != 0 {
				c.words[i] = 1
			}
		}
	case format.Int64:
		c.words = resize(c.words, len(rows))
		for i, r := range rows {
			c.words[i] = uint64(v.Ints[r])
		}
	case format.Int32:
		c.words = resize(c.words, len(rows))
		for i, r := range rows {
			x := v.Ints[r]
			if int64(int32(x)) != x {
				return fmt.Errorf("row %d: day %d is out of range", r, x)
			}
			c.words[i] = uint64(x)
		}
	case format.Double:
		c.words = resize(c.words, len(rows))
		for i, r := range rows {
			c.words[i] = math.Float64bits(v.Floats[r])
		}
	case format.FixedLenByteArray:
		return c.gatherDecimals(l, rows)
	case format.ByteArray:
		c.spans, c.text = resize(c.spans, len(rows)), v.Text
		for i, r := range rows {
			from := 0
			if r > 0 {
				from = v.Ends[r-1]
			}
			c.spans[i] = span{uint32(from), uint32(v.Ends[r])}
		}
	}
	return nil
}

func (c *chunk) gatherDecimals(l *leaf, rows []int32) error {
	c.wide = resize(c.wide, len(rows))
	limit := pow10[l.typ.Precision]
	for i, r := range rows {
		b := l.vector.DecimalAt(int(r))
		x := wide{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		abs := x
		if int64(x.hi) < 0 {
			var borrow uint64
			abs.lo, borrow = bits.Sub64(0, x.lo, 0)
			abs.hi, _ = bits.Sub64(0, x.hi, borrow)
		}
		if !abs.less(limit) {
			return fmt.Errorf("row %d: a value has more digits than %s", r, l.typ)
		}
		c.wide[i] = x
	}
	return nil
}

// pow10 are the powers of ten that fit 127 bits.
var pow10 = func() (p [39]wide) {
	p[0] = wide{0, 1}
	for i := 1; i < len(p); i++ {
		hi, lo := bits.Mul64(p[i-1].lo, 10)
		p[i] = wide{p[i-1].hi*10 + hi, lo}
	}
	return p
}()

// write writes the gathered values as a column chunk, and adds the hashes of the
// cells to the rows' sums.
func (c *chunk) write(e *Encoder, l *leaf) error {
	c.begin(l)
	c.dict.build(c, l)
	c.hash(l, e.sums)
	if c.dict.on {
		if err := c.writeDictionary(e, l); err != nil {
			return err
		}
	}
	c.meta.NumValues = int64(c.rows)
	for row, value := 0, 0; row < c.rows; {
		rows, values := c.pageEnd(l, row, value)
		c.body = c.body[:0]
		if c.nulls == 0 || values == 0 {
			level := byte(1)
			if values == 0 {
				level = 0
			}
			c.body = appendRun(c.body, rows, level)
		} else {
			c.body = c.appendLevels(c.body, c.levels[row:row+rows], 1)
		}
		c.body = c.appendValues(c.body, l, value, value+values)
		if err := c.writePage(e, l, row, rows, values, c.pageBounds(l, value, value+values)); err != nil {
			return err
		}
		row, value = row+rows, value+values
	}
	c.end()
	return nil
}

// begin clears what the file's metadata says of a chunk. What was handed on of
// the last chunk stays as it is.
func (c *chunk) begin(l *leaf) {
	if c.thrift == nil {
		c.thrift = thrift.NewEncoder(c.protocol.NewWriter(&c.header))
	}
	c.meta = format.ColumnMetaData{
		Type: l.physical, Codec: format.Zstd, PathInSchema: l.path, Encoding: []format.Encoding{format.RLE},
	}
	c.columns, c.offsets, c.bounds, c.bounded = format.ColumnIndex{}, format.OffsetIndex{}, bounds{}, true
	c.dict.on = false
}

func (c *chunk) end() {
	if !c.bounds.unknown {
		c.meta.Statistics.MinValue, c.meta.Statistics.MaxValue = c.bounds.min, c.bounds.max
	}
}

// pageEnd says how many rows, and values in them, go into the next page.
func (c *chunk) pageEnd(l *leaf, row, value int) (rows, values int) {
	if c.nulls == c.rows {
		return c.rows, 0
	}
	rows = min(maxPageRows, c.rows-row)
	if c.nulls == 0 && (c.dict.on || l.physical != format.ByteArray) {
		return rows, rows
	}
	size := 0
	for i := row; i < row+rows; i++ {
		if c.nulls > 0 && c.levels[i] == 0 {
			continue
		}
		if !c.dict.on && l.physical == format.ByteArray {
			s := c.spans[value+values]
			if size += 4 + int(s.to-s.from); size > maxPageBytes && i > row {
				return i - row, values
			}
		}
		values++
	}
	return rows, values
}

// appendRun adds the levels of n rows that are all alike.
func appendRun(dst []byte, n int, level byte) []byte {
	at := len(dst)
	dst = binary.AppendUvarint(append(dst, 0, 0, 0, 0), uint64(n)<<1)
	dst = append(dst, level)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendLevels adds levels that are not all alike.
func (c *chunk) appendLevels(dst, levels []byte, highest byte) []byte {
	enc := rle.Encoding{BitWidth: bits.Len8(highest)}
	c.coded, _ = enc.EncodeLevels(c.coded, levels) // fails only for a bad width
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.coded)))
	return append(dst, c.coded...)
}

// appendValues adds the gathered values a to b: dictionary indexes, or plain.
func (c *chunk) appendValues(dst []byte, l *leaf, a, b int) []byte {
	if c.dict.on {
		enc := rle.Encoding{BitWidth: c.dict.width()}
		if a == b {
			// A page of nulls only: DuckDB reads the width all the same.
			return append(dst, byte(enc.BitWidth))
		}
		c.coded, _ = enc.EncodeInt32(c.coded, c.dict.indexes[a:b])
		return append(append(dst, byte(enc.BitWidth)), c.coded...)
	}
	if a == b {
		return dst
	}
	switch l.physical {
	case format.Boolean:
		at := len(dst)
		dst = append(dst, make([]byte, (b-a+7)/8)...)
		for i, x := range c.words[a:b] {
			dst[at+i/8] |= byte(x) << (i & 7)
		}
	case format.FixedLenByteArray:
		dst = appendWide(dst, c.wide[a:b], l.width)
	case format.ByteArray:
		dst = appendText(dst, c.spans[a:b], c.text)
	default:
		dst = appendWords(dst, l.physical, c.words[a:b])
	}
	return dst
}

func appendWords(dst []byte, physical format.Type, words []uint64) []byte {
	if physical == format.Int32 {
		for _, x := range words {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
		}
		return dst
	}
	for _, x := range words {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}

func appendWide(dst []byte, values []wide, width int) []byte {
	var b [16]byte
	for _, x := range values {
		binary.BigEndian.PutUint64(b[:], x.hi)
		binary.BigEndian.PutUint64(b[8:], x.lo)
		dst = append(dst, b[16-width:]...)
	}
	return dst
}

func appendText(dst []byte, spans []span, text []byte) []byte {
	for _, s := range spans {
		dst = binary.LittleEndian.AppendUint32(dst, s.to-s.from)
		dst = append(dst, text[s.from:s.to]...)
	}
	return dst
}

// writeDictionary writes the dictionary page.
func (c *chunk) writeDictionary(e *Encoder, l *leaf) error {
	c.body = c.dict.appendPlain(c.body[:0], c, l)
	h := format.PageHeader{Type: format.DictionaryPage}
	h.DictionaryPageHeader.Set(format.DictionaryPageHeader{NumValues: int32(c.dict.len()), Encoding: format.Plain})
	c.meta.DictionaryPageOffset = e.out.offset
	c.meta.Encoding = append(c.meta.Encoding, format.Plain, format.RLEDictionary)
	c.meta.EncodingStats = append(c.meta.EncodingStats, format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
	c.seen = resize(c.seen, c.dict.len())
	clear(c.seen)
	c.page = 0
	_, err := c.writeBody(e, &h)
	return err
}

// writePage writes the body as a data page. Version 1: all engines read it, and
// ours gains nothing from levels that are not compressed.
func (c *chunk) writePage(e *Encoder, l *leaf, row, values, present int, b bounds) error {
	enc := format.Plain
	if c.dict.on {
		enc = format.RLEDictionary
	}
	h := format.PageHeader{Type: format.DataPage}
	h.DataPageHeader.Set(format.DataPageHeader{
		NumValues: int32(values), Encoding: enc, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
	})
	offset := e.out.offset
	size, err := c.writeBody(e, &h)
	if err != nil {
		return err
	}
	if len(c.offsets.PageLocations) == 0 {
		c.meta.DataPageOffset = offset
		c.meta.EncodingStats = append(c.meta.EncodingStats, format.PageEncodingStats{PageType: format.DataPage, Encoding: enc})
		if enc == format.Plain {
			c.meta.Encoding = append(c.meta.Encoding, enc)
		}
	}
	c.meta.EncodingStats[len(c.meta.EncodingStats)-1].Count++
	c.offsets.PageLocations = append(c.offsets.PageLocations, format.PageLocation{Offset: offset, CompressedPageSize: int32(size), FirstRowIndex: int64(row)})

	nulls := int64(values - present)
	c.meta.Statistics.NullCount += nulls
	c.bounds.merge(l, &b)
	c.bounded = c.bounded && !b.unknown
	lo, hi := b.min, b.max
	if lo == nil {
		lo, hi = []byte{}, []byte{}
	}
	c.columns.NullPages = append(c.columns.NullPages, present == 0)
	c.columns.NullCounts = append(c.columns.NullCounts, nulls)
	c.columns.MinValues = append(c.columns.MinValues, lo)
	c.columns.MaxValues = append(c.columns.MaxValues, hi)
	return nil
}

// writeBody compresses and writes a page, and gives its size with the header.
func (c *chunk) writeBody(e *Encoder, h *format.PageHeader) (int, error) {
	if len(c.body) > math.MaxInt32 {
		return 0, fmt.Errorf("a page of %d bytes is too large", len(c.body))
	}
	c.zipped = e.zip.EncodeAll(c.body, c.zipped[:0])
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(c.body)), int32(len(c.zipped))
	h.CRC = int32(crc32.ChecksumIEEE(c.zipped))
	c.header.Reset()
	if err := c.thrift.Encode(h); err != nil {
		return 0, err
	}
	size := c.header.Len() + len(c.zipped)
	c.meta.TotalUncompressedSize += int64(c.header.Len() + len(c.body))
	c.meta.TotalCompressedSize += int64(size)
	e.out.write(c.header.Bytes())
	e.out.write(c.zipped)
	return size, e.out.err
}

// index gives the chunk's page index.
func (c *chunk) index(l *leaf) pageIndex {
	c.columns.BoundaryOrder = boundaryOrder(l, &c.columns)
	return pageIndex{columns: c.columns, offsets: c.offsets, bounded: c.bounded}
}
