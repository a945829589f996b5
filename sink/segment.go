package sink

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sort"

	"lakefeed/schema"
)

// A segment is an immutable object with the streams that ended and are complete,
// sorted by id. A chain has few of them: when one is added, all at the end that
// are not much larger are merged into it.
//
//	8 bytes  "lfsegm" and the format version, big endian
//	8 bytes  number of entries n, big endian
//	n times  16 bytes stream id, 8 bytes row count, big endian; ids ascending
//	4 bytes  CRC-32C of all before, big endian
type segment struct {
	name   string // of the object
	body   []byte
	shared bool // it is one object for all chains
}

const (
	segmentMagic  = "lfsegm"
	segmentHead   = 16
	segmentEntry  = 24
	segmentTail   = 4
	segmentGrowth = 4  // a segment is at least this many times as large as the next one
	maxSegments   = 16 // of a chain
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed is an entry of a segment.
type sealed struct {
	id    schema.StreamID
	count int64
}

// encodeSegment makes a segment of entries in ascending order. Its name is made
// from its content, so that all who make the same one make one object.
func encodeSegment(entries []sealed) segment {
	b := make([]byte, 0, segmentHead+len(entries)*segmentEntry+segmentTail)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(len(entries)))
	for _, e := range entries {
		b = append(b, e.id[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.count))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return segment{name: segmentName(b), body: b}
}

func segmentName(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// decodeSegment checks a stored segment. It keeps body.
func decodeSegment(body []byte) (segment, error) {
	if len(body) < segmentHead+segmentTail || string(body[:len(segmentMagic)]) != segmentMagic {
		return segment{}, errors.New("decode segment: it is none")
	}
	if v := int(binary.BigEndian.Uint16(body[len(segmentMagic):])); v > formatVersion {
		return segment{}, fmt.Errorf("decode segment: %w", &FormatError{Have: v, Know: formatVersion})
	} else if v < 1 {
		return segment{}, fmt.Errorf("decode segment: format version %d is none", v)
	}
	n := binary.BigEndian.Uint64(body[8:])
	if room := uint64(len(body) - segmentHead - segmentTail); n > room/segmentEntry || n*segmentEntry != room {
		return segment{}, fmt.Errorf("decode segment: %d bytes do not hold %d entries", len(body), n)
	}
	end := len(body) - segmentTail
	if crc32.Checksum(body[:end], castagnoli) != binary.BigEndian.Uint32(body[end:]) {
		return segment{}, errors.New("decode segment: its checksum is wrong")
	}
	s := segment{name: segmentName(body), body: body}
	for i := range s.len() {
		if i > 0 && bytes.Compare(s.id(i-1), s.id(i)) >= 0 {
			return segment{}, fmt.Errorf("decode segment: entry %d is out of order", i)
		}
		if binary.BigEndian.Uint64(s.entry(i)[16:]) > math.MaxInt64 {
			return segment{}, fmt.Errorf("decode segment: the count of entry %d is negative", i)
		}
	}
	return s, nil
}

func (s segment) len() int { return (len(s.body) - segmentHead - segmentTail) / segmentEntry }

func (s segment) entry(i int) []byte {
	at := segmentHead + i*segmentEntry
	return s.body[at : at+segmentEntry]
}

func (s segment) id(i int) []byte { return s.entry(i)[:16] }

func (s segment) at(i int) sealed {
	e := s.entry(i)
	return sealed{id: schema.StreamID(e[:16]), count: int64(binary.BigEndian.Uint64(e[16:]))}
}

// find gives the row count of a stream.
func (s segment) find(id schema.StreamID) (count int64, ok bool) {
	i := sort.Search(s.len(), func(i int) bool { return bytes.Compare(s.id(i), id[:]) >= 0 })
	if i == s.len() || !bytes.Equal(s.id(i), id[:]) {
		return 0, false
	}
	return s.at(i).count, true
}

// addSegment adds entries, in any order, to segments that are ordered by falling
// size. The result shares segments with what was given, which is left as it is.
func addSegment(segments []segment, entries []sealed) []segment {
	slices.SortFunc(entries, func(a, b sealed) int { return bytes.Compare(a.id[:], b.id[:]) })
	n := len(segments)
	for n > 0 && (segments[n-1].len() < segmentGrowth*len(entries) || n >= maxSegments) {
		n--
		entries = mergeEntries(segments[n], entries)
	}
	return append(slices.Clone(segments[:n]), encodeSegment(entries))
}

// mergeEntries merges entries into those of a segment, whose own win.
func mergeEntries(s segment, entries []sealed) []sealed {
	out := make([]sealed, 0, s.len()+len(entries))
	i := 0
	for _, e := range entries {
		for i < s.len() && bytes.Compare(s.id(i), e.id[:]) < 0 {
			out = append(out, s.at(i))
			i++
		}
		if i < s.len() && bytes.Equal(s.id(i), e.id[:]) {
			continue
		}
		out = append(out, e)
	}
	for ; i < s.len(); i++ {
		out = append(out, s.at(i))
	}
	return out
}
