// Package wire is the one contract between who sends rows and who reads them: a
// CSV row as a Kafka message. The value is the row as one RFC 4180 record
// (UTF-8, comma, no line end), the key is the row's identity for ever, and
// headers on the first message of a batch say where the rows come from.
package wire

import (
	"bytes"
	"fmt"
	"strconv"

	"lakefeed/schema"
)

// The header keys. Columns, Source and At stand on the first message of every
// record batch and hold for the following messages of its stream in that batch.
const (
	Columns = "lakefeed.columns" // the header row as one RFC 4180 record; absent where the object has none
	Source  = "lakefeed.source"  // URI of the object
	At      = "lakefeed.at"      // byte offset and line of the row: "1024:17"
	Reject  = "lakefeed.reject"  // on a reject: the rule that the bytes broke
	Message = "lakefeed.message" // on a reject: the rule in words
	Bytes   = "lakefeed.bytes"   // on a reject: its byte range, "1024-1090"
	Dialect = "lakefeed.dialect" // on a reject: the csv.Dialect that it was split with, as JSON
	Count   = "lakefeed.count"   // on an end: rows of the stream, rejects included
	Status  = "lakefeed.status"  // on an end: complete, changed or abandoned
	Hash    = "lakefeed.hash"    // on an end: the Sum128 of its rows' hashes, see RowHash
)

// RejectBytes is how much of a reject its message has.
const RejectBytes = 64 << 10

// AppendKey appends the key of a row: "<stream id>:<row number>". The key of a
// stream's end has the row count as its number.
func AppendKey(dst []byte, id schema.StreamID, row int64) []byte {
	dst = append(dst, id[:]...)
	dst = append(dst, ':')
	return strconv.AppendInt(dst, row, 10)
}

// ParseKey reads a key that AppendKey made. ok is false for any other key: such
// a message has no identity but its offset.
func ParseKey(key []byte) (id schema.StreamID, row int64, ok bool) {
	const at = len(id)
	if len(key) < at+2 || len(key) > at+20 || key[at] != ':' {
		return id, 0, false
	}
	for i, c := range key[:at] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return id, 0, false
		}
		id[i] = c
	}
	digits := key[at+1:]
	if digits[0] == '0' && len(digits) > 1 {
		return id, 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return id, 0, false
		}
		if row > (1<<63-1-int64(c-'0'))/10 {
			return id, 0, false
		}
		row = row*10 + int64(c-'0')
	}
	return id, row, true
}

// AppendAt appends the value of an At header.
func AppendAt(dst []byte, offset, line int64) []byte {
	dst = strconv.AppendInt(dst, offset, 10)
	dst = append(dst, ':')
	return strconv.AppendInt(dst, line, 10)
}

// ParseAt reads the value of an At header.
func ParseAt(b []byte) (offset, line int64, err error) { return parsePair(b, ':', At) }

// AppendRange appends the value of a Bytes header.
func AppendRange(dst []byte, from, to int64) []byte {
	dst = strconv.AppendInt(dst, from, 10)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, to, 10)
}

// ParseRange reads the value of a Bytes header.
func ParseRange(b []byte) (from, to int64, err error) { return parsePair(b, '-', Bytes) }

func parsePair(b []byte, sep byte, header string) (x, y int64, err error) {
	left, right, found := bytes.Cut(b, []byte{sep})
	if found {
		if x, err = strconv.ParseInt(string(left), 10, 64); err == nil {
			y, err = strconv.ParseInt(string(right), 10, 64)
		}
	}
	if !found || err != nil || x < 0 || y < 0 {
		return 0, 0, fmt.Errorf("read header %s %q: want two numbers with %q between", header, b, sep)
	}
	return x, y, nil
}
