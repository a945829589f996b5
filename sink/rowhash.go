package sink

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"
	"github.com/zeebo/xxh3"

	"lakefeed/schema"
)

// Hashing of rows. Every file has two sums, modulo 2^128, over its rows; both
// are the same whatever the order of rows, files and columns, and a column of
// nulls changes nothing. All hashes are XXH3, numbers are big-endian.
//
//	seed(column)  = XXH3-64 of the text "column:kind", with kind one of boolean,
//	                bigint, double, decimal, date, timestamp, string, binary
//	cell          = XXH3-128, with the column's seed, of the value:
//	                boolean    1 byte, 0 or 1
//	                bigint     8 bytes
//	                double     8 bytes, the IEEE 754 bits
//	                date       8 bytes, days since 1970-01-01
//	                timestamp  8 bytes, milliseconds since 1970-01-01T00:00:00
//	                decimal    16 bytes, the unscaled value in two's complement
//	                string     its UTF-8
//	                binary     its bytes
//	rescued cell  = XXH3-128, with the seed XXH3-64 of "_rescued:map", of the
//	                column's name, a zero byte, and the text
//	cells(row)    = the sum modulo 2^128 of the row's cells that are not null,
//	                its rescued cells among them
//	cellhash(row) = XXH3-128 of the 16 bytes of cells(row)
//	rowhash(row)  = XXH3-128 of stream id (8 bytes), row number (8 bytes), and the
//	                16 bytes of cellhash(row)
//
// Partition columns are not in the file and so in neither hash. CellHash can be
// made again from a file alone: CellHashes does. RowHash needs the identities.

// kindName is the kind as it is in a column's seed.
func kindName(k schema.Kind, binary bool) string {
	if binary {
		return "binary"
	}
	return k.String()
}

func cellSeed(column, kind string) uint64 { return xxh3.HashString(column + ":" + kind) }

var rescuedSeed = cellSeed(RescuedColumn, "map")

func cellHash(seed uint64, value []byte) xxh3.Uint128 { return xxh3.Hash128Seed(value, seed) }

// hash adds the hashes of the gathered cells to their rows' sums. With a
// dictionary each distinct value is hashed once.
func (c *chunk) hash(l *leaf, sums []schema.Sum128) {
	if c.nulls == c.rows {
		return
	}
	if c.dict.on {
		d := &c.dict
		d.hashes = resize(d.hashes, d.len())
		for i := range d.hashes {
			switch {
			case len(d.words) > 0:
				d.hashes[i] = c.hashWord(l.seed, d.words[i])
			case len(d.wide) > 0:
				d.hashes[i] = c.hashWide(l.seed, d.wide[i])
			default:
				d.hashes[i] = cellHash(l.seed, c.text[d.spans[i].from:d.spans[i].to])
			}
		}
		c.each(sums, func(j int, s *schema.Sum128) {
			h := &d.hashes[d.indexes[j]]
			s.Add(h.Hi, h.Lo)
		})
		return
	}
	switch l.physical {
	case format.Boolean:
		var h [2]xxh3.Uint128
		for i := range h {
			h[i] = cellHash(l.seed, []byte{byte(i)})
		}
		c.each(sums, func(j int, s *schema.Sum128) { s.Add(h[c.words[j]].Hi, h[c.words[j]].Lo) })
	case format.FixedLenByteArray:
		c.each(sums, func(j int, s *schema.Sum128) {
			h := c.hashWide(l.seed, c.wide[j])
			s.Add(h.Hi, h.Lo)
		})
	case format.ByteArray:
		c.each(sums, func(j int, s *schema.Sum128) {
			h := cellHash(l.seed, c.text[c.spans[j].from:c.spans[j].to])
			s.Add(h.Hi, h.Lo)
		})
	default:
		c.each(sums, func(j int, s *schema.Sum128) {
			h := c.hashWord(l.seed, c.words[j])
			s.Add(h.Hi, h.Lo)
		})
	}
}

// each calls add for every value that is not null, with its row's sum.
func (c *chunk) each(sums []schema.Sum128, add func(value int, s *schema.Sum128)) {
	if c.nulls == 0 {
		for i := range sums {
			add(i, &sums[i])
		}
		return
	}
	value := 0
	for i := range sums {
		if c.levels[i] != 0 {
			add(value, &sums[i])
			value++
		}
	}
}

func (c *chunk) hashWord(seed, x uint64) xxh3.Uint128 {
	binary.BigEndian.PutUint64(c.scratch[:], x)
	return cellHash(seed, c.scratch[:8])
}

func (c *chunk) hashWide(seed uint64, x wide) xxh3.Uint128 {
	binary.BigEndian.PutUint64(c.scratch[:], x.hi)
	binary.BigEndian.PutUint64(c.scratch[8:], x.lo)
	return cellHash(seed, c.scratch[:])
}

// cellHashOf is the hash of a row's cells from their sum.
func cellHashOf(sum schema.Sum128) xxh3.Uint128 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], sum.Hi)
	binary.BigEndian.PutUint64(b[8:], sum.Lo)
	return xxh3.Hash128(b[:])
}

// hashRows sums up the cell and row hashes of rows whose cells have been summed.
func hashRows(sums []schema.Sum128, rows []int32, ids IDs) (cells, all schema.Sum128) {
	var b [32]byte
	for i, s := range sums {
		h := cellHashOf(s)
		cells.Add(h.Hi, h.Lo)
		r := rows[i]
		binary.BigEndian.PutUint64(b[:], ids.Stream[r])
		binary.BigEndian.PutUint64(b[8:], uint64(ids.Row[r]))
		binary.BigEndian.PutUint64(b[16:], h.Hi)
		binary.BigEndian.PutUint64(b[24:], h.Lo)
		h = xxh3.Hash128(b[:])
		all.Add(h.Hi, h.Lo)
	}
	return cells, all
}
