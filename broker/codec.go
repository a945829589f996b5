package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// The codec in a record batch's attributes; 1 to 3 are gzip, snappy and lz4.
const (
	codecMask = 7
	codecZstd = 4
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
