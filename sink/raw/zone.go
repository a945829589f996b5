// Package raw is the raw zone of a topic: what came in, as it came in. It has
// copies of the source objects, in pieces that each are there before a row of theirs
// is sent, and the order in which their rows stand in the topic. Both together give
// the topic's messages again where the topic no longer has them.
//
// It is outside generations and chains; each of its objects is created if absent,
// and says the same whoever writes it.
package raw

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/fault"
	"lakefeed/sink"
)

// formatVersion is that of all objects of a raw zone.
const formatVersion = 1

// folder is where the raw zones of a lake's topics are: with its state, as masked
// columns are clear there.
const folder = sink.Root + "/raw-zone/"

// Zone is the raw zone of one topic. It is safe for concurrent use.
type Zone struct {
	// PieceBytes is how much of an object one piece has, before compression; it is set
	// before anything is written.
	PieceBytes int

	store sink.Store
	topic string
	root  string
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

// pieceBytes is the default of PieceBytes. So much is held of each object that is
// being sent, and once more of what it is packed to.
const pieceBytes = 8 << 20

// maxPiece bounds what a piece is unpacked to.
const maxPiece = 256 << 20

// Open gives the raw zone of a topic in a lake. Nothing is read or written yet.
func Open(store sink.Store, topic string) (*Zone, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPiece))
	if err != nil {
		return nil, err
	}
	return &Zone{store: store, topic: topic, root: folder + url.PathEscape(topic) + "/", zip: zip, unzip: unzip, PieceBytes: pieceBytes}, nil
}

// Topic is the topic's name.
func (z *Zone) Topic() string { return z.topic }

// Used says whether anything was copied.
func (z *Zone) Used(ctx context.Context) (bool, error) {
	for _, err := range z.store.List(ctx, z.root, "") {
		return err == nil, err
	}
	return false, nil
}

// Manifest says what a copied object is, and how its rows are cut: as its producers
// have claimed it.
type Manifest struct {
	V       int             `json:"v"`
	URI     string          `json:"uri"`
	Version string          `json:"version"`
	Stream  schema.StreamID `json:"stream"`
	// Base is the byte of the object at which the copy begins: the stream goes on
	// from another, which has what is before.
	Base int64 `json:"base,omitempty"`

	Dialect   csv.Dialect `json:"dialect"`
	Columns   []string    `json:"columns"`
	Known     [][]string  `json:"known,omitempty"`
	Width     int         `json:"width"`
	Body      int64       `json:"body"`
	BodyLine  int64       `json:"body_line"`
	Tail      csv.Tail    `json:"tail,omitzero"`
	SeekTail  bool        `json:"seek_tail,omitempty"` // what follows the table was found later, and is beside this
	Splitter  int         `json:"splitter"`
	MaxRecord int         `json:"max_record,omitempty"`
}

func (m *Manifest) options() csv.Options {
	return csv.Options{
		Offset: m.Body, Line: m.BodyLine, MaxRecord: m.MaxRecord, Width: m.Width, Columns: m.Columns, Known: m.Known, Joined: m.Splitter >= 4, Unwrap: m.Splitter >= 5,
		Tail: m.Tail, SeekTail: m.SeekTail,
	}
}

func (z *Zone) objectFolder(id schema.StreamID) string {
	return z.root + "objects/" + id.String() + "/"
}

// piece is a range of the bytes of an object, as it is stored at its source.
type piece struct {
	from, to int64
	packed   bool // by us
}

const (
	manifestName = "object.json"
	tailName     = "tail.json"
	packedSuffix = ".zst"
	plainSuffix  = ".part"
)

func (p piece) name() string {
	suffix := plainSuffix
	if p.packed {
		suffix = packedSuffix
	}
	return rangeName(p.from, p.to) + suffix
}

func rangeName(from, to int64) string { return fmt.Sprintf("%020d-%020d", from, to) }

func parseRange(name string) (from, to int64, ok bool) {
	a, b, found := strings.Cut(name, "-")
	from, err := strconv.ParseInt(a, 10, 64)
	to, e := strconv.ParseInt(b, 10, 64)
	return from, to, found && err == nil && e == nil && from < to
}

// pieces lists what there is of an object, without those that others have all of.
func (z *Zone) pieces(ctx context.Context, id schema.StreamID) (out []piece, err error) {
	prefix := z.objectFolder(id)
	for o, err := range z.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		name, packed := strings.CutSuffix(o.Key[len(prefix):], packedSuffix)
		if !packed {
			var plain bool
			if name, plain = strings.CutSuffix(name, plainSuffix); !plain {
				continue
			}
		}
		if from, to, ok := parseRange(name); ok {
			out = append(out, piece{from, to, packed})
		}
	}
	return without(out, func(p piece) (int64, int64) { return p.from, p.to }), nil
}

// without sorts ranges, and leaves out those that lie within the ones before.
func without[T any](in []T, bounds func(T) (from, to int64)) (out []T) {
	slices.SortFunc(in, func(a, b T) int {
		af, at := bounds(a)
		bf, bt := bounds(b)
		return cmp.Or(cmp.Compare(af, bf), cmp.Compare(bt, at))
	})
	end := int64(-1)
	for _, r := range in {
		if _, to := bounds(r); to > end {
			out, end = append(out, r), to
		}
	}
	return out
}

// Manifest reads an object's manifest; sink.ErrNotExist where there is none.
func (z *Zone) Manifest(ctx context.Context, id schema.StreamID) (*Manifest, error) {
	var m Manifest
	if err := z.read(ctx, z.objectFolder(id)+manifestName, &m, func() int { return m.V }); err != nil {
		return nil, err
	}
	if m.Splitter > csv.Version {
		return nil, fmt.Errorf("read %s in %s: its rows are cut by a newer lakefeed (rules %d, this one has %d): use that one", z.objectFolder(id)+manifestName, z.store, m.Splitter, csv.Version)
	}
	return &m, nil
}

// foundTail is what was found behind a table while it was sent.
type foundTail struct {
	V    int      `json:"v"`
	Tail csv.Tail `json:"tail"`
}

// tail completes a manifest with what was found behind the table, if that was looked
// for by the time that rows depended on it.
func (z *Zone) tail(ctx context.Context, m *Manifest) error {
	if !m.SeekTail {
		return nil
	}
	var found foundTail
	err := z.read(ctx, z.objectFolder(m.Stream)+tailName, &found, func() int { return found.V })
	if errors.Is(err, sink.ErrNotExist) {
		return nil
	}
	m.Tail, m.SeekTail = found.Tail, false
	return err
}

// Copy is an object of the raw zone.
type Copy struct {
	Manifest
	Size   int64 // bytes that there are of it, as stored at its source
	Stored int64 // bytes that they take here
}

// Copies lists the objects, in the order of their ids.
func (z *Zone) Copies(ctx context.Context) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		var present Copy
		give := func() bool {
			if present.V == 0 {
				return true
			}
			c := present
			present = Copy{}
			pieces, err := z.pieces(ctx, c.Stream)
			c.Size = covered(pieces, c.Base) - c.Base
			return yield(c, err)
		}
		prefix, stored, of := z.root+"objects/", int64(0), ""
		for o, err := range z.store.List(ctx, prefix, "") {
			if err != nil {
				yield(Copy{}, err)
				return
			}
			id, name, _ := strings.Cut(o.Key[len(prefix):], "/")
			if id != of {
				present.Stored = stored
				if !give() {
					return
				}
				of, stored = id, 0
			}
			if name != manifestName && name != tailName {
				stored += o.Size
				continue
			}
			var stream schema.StreamID
			if stream.UnmarshalText([]byte(id)) != nil {
				continue
			}
			m, err := z.Manifest(ctx, stream)
			if err != nil {
				yield(Copy{}, err)
				return
			}
			present.Manifest = *m
		}
		present.Stored = stored
		give()
	}
}

// covered is the byte up to which pieces follow each other from base on.
func covered(pieces []piece, base int64) int64 {
	end := base
	for _, p := range pieces {
		if p.from > end {
			break
		}
		end = max(end, p.to)
	}
	return end
}

// create writes an object unless it is there.
func (z *Zone) create(ctx context.Context, key string, body []byte) error {
	err := fault.At(ctx, fault.RawWrite)
	if err == nil {
		err = z.store.Create(ctx, key, body)
	}
	if err == nil || errors.Is(err, sink.ErrExists) {
		err = fault.At(ctx, fault.RawWritten)
	}
	return z.failed("write", key, err)
}

// DamagedError says that an object of the raw zone is not what was written.
type DamagedError struct {
	Key string
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s of the raw zone is not what was written: %v", e.Key, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

func (z *Zone) failed(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s the raw zone: %s in %s: %w", verb, key, z.store, err)
}

func (z *Zone) createJSON(ctx context.Context, key string, object any) error {
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return z.create(ctx, key, b)
}

func (z *Zone) read(ctx context.Context, key string, into any, version func() int) error {
	b, err := z.store.Get(ctx, key)
	if err != nil {
		return z.failed("read", key, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return z.failed("read", key, &DamagedError{key, err})
	}
	if v := version(); v > formatVersion {
		return fmt.Errorf("read the raw zone: %s in %s is of format %d, this lakefeed knows %d: use a newer lakefeed", key, z.store, v, formatVersion)
	}
	return nil
}
