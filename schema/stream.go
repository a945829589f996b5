package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strconv"
)

// StreamID names a stream: 16 hex digits, as ASCII.
type StreamID [16]byte

// NewStreamID is the id of the rows that begin at byte start of one version of
// the object at uri: the first 16 hex digits of the SHA-256 of the three, parted
// by a zero byte.
func NewStreamID(uri, version string, start int64) StreamID {
	sum := sha256.Sum256([]byte(uri + "\x00" + version + "\x00" + strconv.FormatInt(start, 10)))
	var id StreamID
	hex.Encode(id[:], sum[:8])
	return id
}

func (id StreamID) String() string { return string(id[:]) }

// MarshalText and UnmarshalText make the id a string in JSON.
func (id StreamID) MarshalText() ([]byte, error) { return id[:], nil }

// UnmarshalText reads 16 lower-case hex digits.
func (id *StreamID) UnmarshalText(b []byte) error {
	if len(b) != len(id) {
		return fmt.Errorf("parse stream id %q: want 16 hex digits", b)
	}
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("parse stream id %q: want 16 hex digits", b)
		}
	}
	copy(id[:], b)
	return nil
}

// Hash64 is the id as a number.
func (id StreamID) Hash64() uint64 {
	n, _ := strconv.ParseUint(string(id[:]), 16, 64)
	return n
}

// Sum128 is a sum modulo 2^128 of 128-bit hashes: the same whatever the order
// in which they are added. The zero value is the empty sum.
type Sum128 struct{ Hi, Lo uint64 }

// Add adds one hash, or another sum.
func (s *Sum128) Add(hi, lo uint64) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, lo, 0)
	s.Hi, _ = bits.Add64(s.Hi, hi, carry)
}

// String gives 32 hex digits.
func (s Sum128) String() string { return fmt.Sprintf("%016x%016x", s.Hi, s.Lo) }

// ParseSum128 reads what String writes.
func ParseSum128(t string) (Sum128, error) {
	if len(t) != 32 {
		return Sum128{}, fmt.Errorf("parse hash sum %q: want 32 hex digits", t)
	}
	hi, err := strconv.ParseUint(t[:16], 16, 64)
	if err != nil {
		return Sum128{}, fmt.Errorf("parse hash sum %q: want 32 hex digits", t)
	}
	lo, err := strconv.ParseUint(t[16:], 16, 64)
	if err != nil {
		return Sum128{}, fmt.Errorf("parse hash sum %q: want 32 hex digits", t)
	}
	return Sum128{Hi: hi, Lo: lo}, nil
}
