package sink

import (
	"bytes"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
	"github.com/zeebo/xxh3"
)

// Limits of a chunk's dictionary. Past them the whole chunk is written plain.
const (
	maxEntries         = 1 << 16
	maxDictionaryBytes = 1 << 20
	trialValues        = 1 << 14 // when nearly all of so many differ, there is no point
)

// dictionary holds the distinct values of a chunk, and for each value of the
// chunk where it is among them.
type dictionary struct {
	on      bool
	indexes []int32
	words   []uint64
	wide    []wide
	spans   []span
	tags    []uint32 // of texts: more bits of the hash
	table   []uint32 // open addressing: entry + 1
	shift   uint     // hash to table slot
	hashes  []xxh3.Uint128
}

func (d *dictionary) len() int {
	return len(d.words) + len(d.wide) + len(d.spans)
}

// width is the number of bits an index takes.
func (d *dictionary) width() int { return max(1, bits.Len(uint(d.len()-1))) }

// build looks the chunk's values up, if a dictionary makes the chunk smaller.
func (d *dictionary) build(c *chunk, l *leaf) {
	n := c.rows - c.nulls
	d.on, d.words, d.wide, d.spans, d.tags = false, d.words[:0], d.wide[:0], d.spans[:0], d.tags[:0]
	if n < 2 || l.physical == format.Boolean {
		return
	}
	size := bits.Len(uint(2*min(n, maxEntries) - 1)) // at most half full
	d.shift = uint(64 - size)
	d.table = resize(d.table, 1<<size)
	clear(d.table)
	d.indexes = resize(d.indexes, n)

	plain, entries := 0, 0
	var ok bool
	switch l.physical {
	case format.ByteArray:
		for _, s := range c.spans {
			plain += 4 + int(s.to-s.from)
		}
		entries, ok = d.buildText(c.spans, c.text)
	case format.FixedLenByteArray:
		plain = n * l.width
		ok = d.buildWide(c.wide)
		entries = len(d.wide) * l.width
	case format.Int32:
		plain = 4 * n
		ok = d.buildWords(c.words)
		entries = 4 * len(d.words)
	default:
		plain = 8 * n
		ok = d.buildWords(c.words)
		entries = 8 * len(d.words)
	}
	d.on = ok && entries+n*d.width()/8 < plain-plain/4
}

// full says whether to give up, after an entry was added for value i.
func full(entries, i int) bool {
	return entries == maxEntries || i == trialValues && entries > trialValues/16*15
}

const mix = 0x9E3779B97F4A7C15

func (d *dictionary) buildWords(values []uint64) bool {
	table, shift, mask := d.table, d.shift&63, uint64(len(d.table)-1)
	last, at := values[0]+1, int32(0)
	for i, x := range values {
		if x == last {
			d.indexes[i] = at
			continue
		}
		h := (x ^ x>>32) * mix >> shift
		for {
			k := table[h&mask]
			if k == 0 {
				if full(len(d.words), i) {
					return false
				}
				d.words = append(d.words, x)
				k = uint32(len(d.words))
				table[h&mask] = k
			}
			if d.words[k-1] == x {
				at = int32(k - 1)
				break
			}
			h++
		}
		d.indexes[i], last = at, x
	}
	return true
}

func (d *dictionary) buildWide(values []wide) bool {
	table, shift, mask := d.table, d.shift&63, uint64(len(d.table)-1)
	for i, x := range values {
		h := (x.lo ^ x.lo>>32 ^ x.hi*mix) * mix >> shift
		for {
			k := table[h&mask]
			if k == 0 {
				if full(len(d.wide), i) {
					return false
				}
				d.wide = append(d.wide, x)
				k = uint32(len(d.wide))
				table[h&mask] = k
			}
			if d.wide[k-1] == x {
				d.indexes[i] = int32(k - 1)
				break
			}
			h++
		}
	}
	return true
}

// buildText also gives the size of the entries.
func (d *dictionary) buildText(values []span, text []byte) (size int, ok bool) {
	table, shift, mask := d.table, d.shift&63, uint64(len(d.table)-1)
	for i, s := range values {
		x := text[s.from:s.to]
		hash := xxh3.Hash(x)
		tag := uint32(hash)
		h := hash >> shift
		for {
			k := table[h&mask]
			if k == 0 {
				size += 4 + len(x)
				if full(len(d.spans), i) || size > maxDictionaryBytes {
					return size, false
				}
				d.spans, d.tags = append(d.spans, s), append(d.tags, tag)
				k = uint32(len(d.spans))
				table[h&mask] = k
				d.indexes[i] = int32(k - 1)
				break
			}
			if d.tags[k-1] == tag {
				if e := d.spans[k-1]; bytes.Equal(text[e.from:e.to], x) {
					d.indexes[i] = int32(k - 1)
					break
				}
			}
			h++
		}
	}
	return size, true
}

// appendPlain adds the body of the dictionary page.
func (d *dictionary) appendPlain(dst []byte, c *chunk, l *leaf) []byte {
	switch l.physical {
	case format.ByteArray:
		return appendText(dst, d.spans, c.text)
	case format.FixedLenByteArray:
		return appendWide(dst, d.wide, l.width)
	}
	return appendWords(dst, l.physical, d.words)
}
