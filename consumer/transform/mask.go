package transform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lakefeed/schema"
)

// KeyPrint tells one key from another: 16 hex digits of an HMAC by the key, from which
// nothing of it follows.
func KeyPrint(secret []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("lakefeed key print"))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Hashes says whether the step masks a column by a keyed hash.
func (s *Step) Hashes() bool {
	for _, way := range s.Mask {
		if way == Hmac {
			return true
		}
	}
	return false
}

// MinKey is the shortest key that hmac takes, in bytes: a shorter one can be guessed,
// and with it the values.
const MinKey = 16

// hider makes what is shown of a text, which it may write into scratch.
type hider func(scratch, text []byte) []byte

func (b *builder) mask(s *Step) {
	keyed := false
	for _, name := range slices.Sorted(maps.Keys(s.Mask)) {
		c := b.find(&s.Mask, name)
		way := s.Mask[name]
		keyed = keyed || way == Hmac
		hide := b.hider(s, name, way)
		if c == nil {
			continue
		}
		b.masked = append(b.masked, masked{b.at, name, &s.Mask, c.own, c.sources, s.Reveal})
		if way == "drop" {
			b.remove(c, "dropped it")
			continue
		}
		t := kind(schema.String)
		made := b.remake(c, t)
		made.own, made.sources = "", nil // what is made of it from here on is of the mask
		if hide == nil {
			continue
		}
		from := c.slot
		var text []byte
		var scratch [256]byte
		b.run(func(r *run) {
			in, out := r.columns[from], r.columns[made.slot]
			out.Reset(t)
			r.each(in, out, func(row int) {
				text = in.AppendValue(text[:0], row)
				out.AppendText(hide(scratch[:0], text))
			})
			clear(text[:cap(text)])
		})
	}
	for i, name := range s.Reveal {
		b.find(&s.Reveal[i], name)
	}
	switch {
	case s.Key != nil && !keyed:
		b.fault(s.Key, "", "leave it out", "key is that of hmac, and no column is masked so")
	case s.Key != nil && s.Key.Env != "" && s.Key.File != "":
		b.fault(s.Key, "", "leave one of them out", "the key is in an environment variable and in a file")
	case s.Key != nil && s.Key.Env == "" && s.Key.File == "":
		b.fault(s.Key, "", "add env: NAME or file: PATH", "it does not say where the key is")
	}
}

// hider is a way to mask; nil after a fault, or without a key where the spec is only
// checked.
func (b *builder) hider(s *Step, name, way string) hider {
	if count, ok := strings.CutPrefix(way, "keep-last-"); ok {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || n > 100 {
			b.fault(&s.Mask, name, "write keep-last-4", "mask of %s: keep-last-%s keeps no number of characters from 1 to 100", name, count)
			return nil
		}
		return func(scratch, text []byte) []byte { return keepLast(scratch, text, n) }
	}
	switch way {
	case "redact":
		return func(scratch, _ []byte) []byte { return append(scratch, "***"...) }
	case "drop":
		return nil
	case Hmac:
		var secret []byte
		if s.Key != nil {
			secret = s.Key.Secret
		}
		if len(secret) < MinKey {
			if b.known {
				b.fault(&s.Mask, name, "make one: openssl rand -hex 32", "mask of %s: hmac takes a key of %d bytes or more", name, MinKey)
			}
			return nil
		}
		return (&hmacs{hash: hmac.New(sha256.New, secret), known: map[string][2 * sha256.Size]byte{}}).hide
	}
	b.fault(&s.Mask, name, "there are hmac, redact, keep-last-4 and drop", "mask of %s: %q is no way to mask", name, way)
	return nil
}

// keepLast shows the last n characters, and none of a text that has no more.
func keepLast(scratch, text []byte, n int) []byte {
	const hidden = "***"
	if utf8.RuneCount(text) <= n {
		return append(scratch, hidden...)
	}
	from := len(text)
	for range n {
		_, size := utf8.DecodeLastRune(text[:from])
		from -= size
	}
	return append(append(scratch, hidden...), text[from:]...)
}

// hmacs remembers some of the hashes that it has made.
type hmacs struct {
	hash  hash.Hash
	sum   []byte
	known map[string][2 * sha256.Size]byte
}

const maxKnown = 1 << 14

func (h *hmacs) hide(scratch, text []byte) []byte {
	if known, ok := h.known[string(text)]; ok {
		return append(scratch, known[:]...)
	}
	h.hash.Reset()
	h.hash.Write(text)
	h.sum = h.hash.Sum(h.sum[:0])
	scratch = hex.AppendEncode(scratch, h.sum)
	if len(h.known) < maxKnown && len(text) <= 64 {
		h.known[string(text)] = [2 * sha256.Size]byte(scratch)
	}
	return scratch
}
