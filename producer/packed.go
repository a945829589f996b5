package producer

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

// The ledger keeps a claim and progress of each object for as long as it is open,
// however many objects there are: packed, as few bytes as they need.

// packer packs claims and progress. What many of them have in common it keeps
// once, so that what it has packed only it can unpack.
type packer struct {
	texts   []string
	indexes map[string]uint64
	forms   []form
	formed  map[formKey]uint64
}

// form is how objects are to be read: feeds have few, and many objects.
type form struct {
	dialect                    csv.Dialect
	columns                    []string
	known                      [][]string
	width, splitter, maxRecord int
}

type formKey struct {
	dialect                    csv.Dialect
	columns, known             string
	none                       bool
	width, splitter, maxRecord int
}

func newPacker() *packer {
	return &packer{indexes: map[string]uint64{}, formed: map[formKey]uint64{}}
}

func (k *packer) text(s string) uint64 {
	i, ok := k.indexes[s]
	if !ok {
		s = strings.Clone(s)
		i = uint64(len(k.texts))
		k.texts, k.indexes[s] = append(k.texts, s), i
	}
	return i
}

func (k *packer) form(c *claim) uint64 {
	var known []byte
	for _, names := range c.Known {
		known = append(wire.AppendNames(known, names), '\n', 0)
	}
	key := formKey{c.Dialect, string(wire.AppendNames(nil, c.Columns)), string(known), c.Columns == nil, c.Width, c.Splitter, c.MaxRecord}
	i, ok := k.formed[key]
	if !ok {
		i = uint64(len(k.forms))
		k.forms = append(k.forms, form{c.Dialect, c.Columns, c.Known, c.Width, c.Splitter, c.MaxRecord})
		k.formed[key] = i
	}
	return i
}

// packed is a claim or progress.
type packed string

func (k *packer) claim(c *claim) packed {
	var b packing
	folder := strings.LastIndexByte(c.URI, '/') + 1
	b.uint(k.text(c.URI[:folder]))
	b.text(c.URI[folder:])
	b.look(&c.look)
	if b.flag(c.Version != versionOf(&c.look)) {
		b.text(c.Version)
	}
	b.uint(k.text(c.Log))
	b.uint(k.form(c))
	b.uint(uint64(len(c.Ranges)))
	for _, r := range c.Ranges {
		b.int(r.From)
		b.int(r.To)
		b = binary.BigEndian.AppendUint64(b, r.Stream.Hash64())
		b.int(int64(r.Partition))
	}
	b.int(c.Body)
	b.int(c.BodyLine)
	k.tail(&b, c.Tail)
	b.flag(c.SeekTail)
	b.int(c.Start)
	b.time(c.At)
	b.mark(&c.contentMark)
	return packed(b)
}

func (k *packer) unpackClaim(p packed) *claim {
	b := unpacking(p)
	c := &claim{V: ledgerVersion}
	c.URI = k.texts[b.uint()]
	c.URI += b.text()
	b.look(&c.look)
	if c.Version = versionOf(&c.look); b.flag() {
		c.Version = b.text()
	}
	c.Log = k.texts[b.uint()]
	f := &k.forms[b.uint()]
	c.Dialect, c.Columns, c.Known, c.Width, c.Splitter, c.MaxRecord = f.dialect, f.columns, f.known, f.width, f.splitter, f.maxRecord
	c.Ranges = make([]byteRange, b.uint())
	for i := range c.Ranges {
		r := &c.Ranges[i]
		r.From, r.To = b.int(), b.int()
		hex.Encode(r.Stream[:], b.take(8))
		r.Partition = int(b.int())
	}
	c.Body, c.BodyLine = b.int(), b.int()
	c.Tail, c.SeekTail = k.unpackTail(&b), b.flag()
	c.Start, c.At = b.int(), b.time()
	b.mark(&c.contentMark)
	return c
}

func (k *packer) tail(b *packing, t csv.Tail) {
	if b.flag(t != csv.Tail{}) {
		b.int(t.From)
		b.int(t.To)
		b.uint(k.text(t.Rule))
	}
}

func (k *packer) unpackTail(b *unpacking) (t csv.Tail) {
	if b.flag() {
		t.From, t.To, t.Rule = b.int(), b.int(), k.texts[b.uint()]
	}
	return t
}

func (k *packer) progress(p *progress) packed {
	var b packing
	b.uint(k.text(p.Log))
	b.int(p.Rows)
	b.int(p.Offset)
	b.int(p.Line)
	b.int(int64(p.Header))
	k.tail(&b, p.Tail)
	b.flag(p.Sought)
	b.flag(p.Unended)
	b.flag(p.Behind)
	b.flag(p.Done)
	b.flag(p.Released)
	b.int(p.Count)
	b.uint(k.text(p.Status))
	b.hex(p.Sum)
	b.look(&p.look)
	b.int(p.Next)
	b.time(p.At)
	b.mark(&p.contentMark)
	b.int(p.Until)
	if b.flag(p.UntilMark != nil) {
		b.mark(p.UntilMark)
	}
	return packed(b)
}

func (k *packer) unpackProgress(in packed) *progress {
	b := unpacking(in)
	p := &progress{V: ledgerVersion, Log: k.texts[b.uint()]}
	p.Rows, p.Offset, p.Line, p.Header = b.int(), b.int(), b.int(), int(b.int())
	p.Tail, p.Sought = k.unpackTail(&b), b.flag()
	p.Unended, p.Behind, p.Done, p.Released = b.flag(), b.flag(), b.flag(), b.flag()
	p.Count, p.Status, p.Sum = b.int(), k.texts[b.uint()], b.hex()
	b.look(&p.look)
	p.Next, p.At = b.int(), b.time()
	b.mark(&p.contentMark)
	if p.Until = b.int(); b.flag() {
		p.UntilMark = new(contentMark)
		b.mark(p.UntilMark)
	}
	return p
}

// versionOf is the version of an object that its store has no other for.
func versionOf(l *look) string { return fmt.Sprintf("%s+%d", l.Tag, l.Size) }

// packing is what is being packed.
type packing []byte

func (b *packing) uint(n uint64) { *b = binary.AppendUvarint(*b, n) }
func (b *packing) int(n int64)   { *b = binary.AppendVarint(*b, n) }

func (b *packing) flag(f bool) bool {
	n := byte(0)
	if f {
		n = 1
	}
	*b = append(*b, n)
	return f
}

func (b *packing) text(s string) {
	b.uint(uint64(len(s)))
	*b = append(*b, s...)
}

// hex packs a text that is most often hex digits.
func (b *packing) hex(s string) {
	raw, err := hex.DecodeString(s)
	if !b.flag(err == nil && hex.EncodeToString(raw) == s) {
		b.text(s)
		return
	}
	b.text(string(raw))
}

func (b *packing) time(t time.Time) {
	b.int(t.Unix())
	b.uint(uint64(t.Nanosecond()))
}

func (b *packing) look(l *look) {
	b.int(l.Size)
	b.time(l.ModTime)
	b.uint(l.Inode)
	b.hex(l.Tag)
}

func (b *packing) mark(m *contentMark) {
	b.int(m.Hashed)
	if b.flag(m.Content != nil) {
		b.text(string(m.Content))
	}
}

// unpacking is what is left of something packed.
type unpacking string

func (b *unpacking) uint() (n uint64) {
	for shift := 0; ; shift += 7 {
		c := (*b)[0]
		*b = (*b)[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
}

func (b *unpacking) int() int64 {
	n := b.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (b *unpacking) flag() bool { return b.take(1)[0] == 1 }

func (b *unpacking) take(n uint64) []byte {
	out := []byte((*b)[:n])
	*b = (*b)[n:]
	return out
}

func (b *unpacking) text() string { return string(b.take(b.uint())) }

func (b *unpacking) hex() string {
	if b.flag() {
		return hex.EncodeToString(b.take(b.uint()))
	}
	return b.text()
}

func (b *unpacking) time() time.Time {
	seconds := b.int()
	return time.Unix(seconds, int64(b.uint())).UTC()
}

func (b *unpacking) look(l *look) {
	l.Size, l.ModTime, l.Inode, l.Tag = b.int(), b.time(), b.uint(), b.hex()
}

func (b *unpacking) mark(m *contentMark) {
	if m.Hashed = b.int(); b.flag() {
		m.Content = b.take(b.uint())
	}
}

// book is what the ledger knows, by the ids of objects and streams.
type book struct {
	packer   *packer
	claims   map[uint64]packed // by object id; the one at the lowest offset
	newest   map[uint64]uint64 // object id of the newest claim, by what uriID gives
	progress map[uint64]packed // by stream
}

func newBook() book {
	return book{newPacker(), map[uint64]packed{}, map[uint64]uint64{}, map[uint64]packed{}}
}

// uriID names an object, whatever its version.
func uriID(uri string) uint64 { return schema.NewStreamID(uri, "", -2).Hash64() }

// claim is that of one version of an object, nil if there is none.
func (b *book) claim(uri, version string) *claim {
	return b.claimOf(schema.NewStreamID(uri, version, -1).Hash64())
}

func (b *book) claimOf(id uint64) *claim {
	p, ok := b.claims[id]
	if !ok {
		return nil
	}
	return b.packer.unpackClaim(p)
}

// setClaim takes a claim over, unless the version has one.
func (b *book) setClaim(id uint64, c *claim) (first bool) {
	if _, have := b.claims[id]; have {
		return false
	}
	b.claims[id] = b.packer.claim(c)
	if have := b.newestOf(c.URI); have == nil || later(c.Version, have.Version) {
		b.newest[uriID(c.URI)] = id
	}
	return true
}

// newestOf is the newest claim of an object.
func (b *book) newestOf(uri string) *claim {
	id, ok := b.newest[uriID(uri)]
	if !ok {
		return nil
	}
	return b.claimOf(id)
}

// progressOf is how far a stream is, nil where nothing was noted.
func (b *book) progressOf(stream schema.StreamID) *progress {
	p, ok := b.progress[stream.Hash64()]
	if !ok {
		return nil
	}
	return b.packer.unpackProgress(p)
}

func (b *book) setProgress(stream schema.StreamID, p *progress) {
	b.progress[stream.Hash64()] = b.packer.progress(p)
}
