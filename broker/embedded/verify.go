package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrDamaged says that the log has lost messages that it acknowledged.
var ErrDamaged = errors.New("the log is damaged")

// verify reads the whole log and says whether messages are missing in it. kfake
// would cut a segment off at the first record batch that it cannot read, and go on.
// What was being written when the process was killed is not missing.
func verify(dir string) error {
	partitions := filepath.Join(dir, "partitions")
	entries, err := os.ReadDir(partitions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var buf []byte
	any := false
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		p := partitionLog{dir: filepath.Join(partitions, e.Name()), buf: buf}
		if err := p.verify(); err != nil {
			return err
		}
		any = any || p.end > 0
		buf = p.buf
	}
	for _, name := range []string{"meta.json", "topics.json"} { // without which kfake starts with an empty log
		if _, err := os.Stat(filepath.Join(dir, name)); any && err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return nil
}

// partitionLog is the folder of a topic partition while it is read.
type partitionLog struct {
	dir   string
	buf   []byte // to read files into
	end   int64  // the offset behind the last record batch, 0 for none
	fault error  // what could not be read, which is the end of the log unless more follows
}

func (p *partitionLog) verify() error {
	segments, err := p.segments()
	if err != nil {
		return err
	}
	for _, base := range segments {
		name := filepath.Join(p.dir, fmt.Sprintf("%d.dat", base))
		if p.buf, err = readFile(name, p.buf); err != nil {
			return err
		}
		if err := p.segment(name, p.buf); err != nil {
			return err
		}
	}
	// After a kill it is of an earlier time.
	var snapshot struct {
		HighWatermark int64 `json:"high_watermark"`
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "snapshot.json"))
	if err == nil && json.Unmarshal(text, &snapshot) == nil && snapshot.HighWatermark > p.end {
		return errors.Join(fmt.Errorf("%w: %s had messages up to offset %d, and has them up to %d", ErrDamaged, p.dir, snapshot.HighWatermark-1, p.end-1), p.fault)
	}
	return nil
}

// segments are the first offsets of the log's files, ascending.
func (p *partitionLog) segments() (bases []int64, err error) {
	entries, err := os.ReadDir(p.dir)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, err
}

// segment goes through one file.
func (p *partitionLog) segment(name string, b []byte) error {
	for at := 0; at < len(b); {
		first, last, size, ok := cut(b[at:])
		if !ok {
			if p.fault == nil {
				p.fault = fmt.Errorf("%s cannot be read from byte %d on, offset %d", name, at, p.end)
			}
			at++ // does more of the log follow?
			continue
		}
		if p.fault != nil {
			return fmt.Errorf("%w: %w, and goes on at offset %d", ErrDamaged, p.fault, first)
		}
		if p.end > 0 && first != p.end {
			return fmt.Errorf("%w: %s goes on at byte %d with offset %d instead of %d", ErrDamaged, name, at, first, p.end)
		}
		p.end = last + 1
		at += size
	}
	return nil
}

// The layout of a record batch.
const (
	batchHead   = 61
	batchFormat = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cut gives the offsets and the size of the record batch at the start of b, if a
// whole one is there.
func cut(b []byte) (first, last int64, size int, ok bool) {
	if len(b) < batchHead || b[16] != batchFormat {
		return 0, 0, 0, false
	}
	be := binary.BigEndian
	size = int(be.Uint32(b[8:])) + 12
	if size < batchHead || size > len(b) || crc32.Checksum(b[21:size], castagnoli) != be.Uint32(b[17:]) {
		return 0, 0, 0, false
	}
	first = int64(be.Uint64(b))
	last = first + int64(int32(be.Uint32(b[23:])))
	return first, last, size, first >= 0 && last >= first
}

// readFile reads a file into buf, or a larger one.
func readFile(name string, buf []byte) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return buf, err
	}
	f, err := os.Open(name)
	if err != nil {
		return buf, err
	}
	defer f.Close()
	buf = slices.Grow(buf[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(f, buf)
	return buf, err
}
