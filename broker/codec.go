package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// The codec in a record batch's attributes; 1 to 3 are gzip, snappy and lz4.
const (
	codecMask   = 7
	codecSnappy = 2
	codecZstd   = 4
)

// maxBatch is how large a record batch may become when it is decompressed. A
// small one that is made to grow without end is refused.
const maxBatch = 64 << 20

var errBomb = fmt.Errorf("it decompresses to more than %d bytes", maxBatch)

func newCompressor() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
}

// unzipper decompresses the records of batches. The zero value is ready.
type unzipper struct{ zstd *zstd.Decoder }

// decompress appends the records of a batch to dst.
func (u *unzipper) decompress(dst, src []byte, codec int) ([]byte, error) {
	if codec == codecZstd {
		return u.decompressZstd(dst, src)
	}
	// Batches of other producers: not on the path that has to be fast.
	if codec == codecSnappy {
		return decompressSnappy(dst, src)
	}
	c := compress.Compression(codec).Codec()
	if c == nil {
		return dst, fmt.Errorf("codec %d is not known", codec)
	}
	r := c.NewReader(bytes.NewReader(src))
	defer r.Close()
	out := bytes.NewBuffer(dst)
	n, err := io.Copy(out, io.LimitReader(r, maxBatch+1))
	if n > maxBatch {
		err = errBomb
	}
	return out.Bytes(), err
}

func (u *unzipper) decompressZstd(dst, src []byte) (_ []byte, err error) {
	if u.zstd == nil {
		if u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBatch)); err != nil {
			return dst, err
		}
	}
	out, err := u.zstd.DecodeAll(src, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errBomb
	}
	return out, err
}

// xerial is how a batch begins that Java's snappy has compressed: as blocks, each
// behind its length. Other clients make one block of it, without a frame.
var xerial = []byte("\x82SNAPPY\x00")

const xerialHead = 16 // with two versions

// decompressSnappy believes no length before it has seen the bytes: kafka-go's
// reader allocates what a frame says.
func decompressSnappy(dst, src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerial) || len(src) < xerialHead {
		return appendSnappy(dst, src)
	}
	for src = src[xerialHead:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return dst, io.ErrUnexpectedEOF
		}
		var err error
		if dst, err = appendSnappy(dst, src[:n]); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

func appendSnappy(dst, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return dst, err
	}
	if n > maxBatch-len(dst) {
		return dst, errBomb
	}
	// No block can become more than about 21 times as long: a copy of 64 bytes
	// takes three.
	if n > 32*len(block)+64 {
		return dst, snappy.ErrCorrupt
	}
	dst = slices.Grow(dst, n)
	out, err := snappy.Decode(dst[len(dst):len(dst)+n], block)
	return dst[:len(dst)+len(out)], err
}
