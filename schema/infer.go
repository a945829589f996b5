package schema

import (
	"encoding/json"
	"fmt"
	"math/bits"
)

// fits is the set of types that every cell of a column fits so far. It is what
// makes inference independent of order: the set only shrinks, by intersection,
// so cells and whole samples may be joined in any order and grouping.
type fits uint32

const (
	fitBoolean fits = 1 << iota
	fitBigint
	fitDouble
	fitZoned // an ISO timestamp with a zone
	fitDate0 // a date in format ISO; the other formats follow
)

const (
	fitTime0 = fitDate0 << (formatCount - 1) // a naive timestamp in format ISO; the other formats follow
	allFits  = fitTime0<<(formatCount-1) - 1
)

func fitDate(f Format) fits { return fitDate0 << (f - ISO) }
func fitTime(f Format) fits { return fitTime0 << (f - ISO) }

// fitsOf is the set of those types among some that one cell's text fits.
func fitsOf(text []byte, among fits) (f fits) {
	if len(text) == 0 || len(text) > 64 {
		return 0
	}
	if among&fitBoolean != 0 {
		if _, ok := ParseBoolean(text); ok {
			f |= fitBoolean
		}
	}
	if among&fitBigint != 0 {
		if _, ok := ParseBigint(text); ok {
			f |= fitBigint
		}
	}
	if among&fitDouble != 0 {
		if _, ok := ParseDouble(text); ok {
			f |= fitDouble
		}
	}
	if c := text[0]; c < '0' || c > '9' || len(text) < 6 || f != 0 {
		return f
	}
	if among&fitZoned != 0 {
		if _, ok := ParseTimestamp(text, ISO, true); ok {
			f |= fitZoned
		}
	}
	for format := ISO; format < formatCount; format++ {
		if among&fitDate(format) != 0 {
			if _, ok := ParseDate(text, format); ok {
				f |= fitDate(format)
			}
		}
		if among&fitTime(format) != 0 {
			if _, ok := ParseTimestamp(text, format, false); ok {
				f |= fitTime(format)
			}
		}
	}
	return f
}

// resolve is the type of a column whose cells all fit f. Day and month that no
// cell has told apart leave the column a string: a guess would be wrong
// silently.
func (f fits) resolve() Type {
	switch {
	case f&fitBoolean != 0:
		return Type{Kind: Boolean}
	case f&fitBigint != 0:
		return Type{Kind: Bigint}
	case f&fitDouble != 0:
		return Type{Kind: Double}
	case f&fitZoned != 0:
		return Type{Kind: Timestamp, Zoned: true, Format: ISO}
	}
	dates := f & (fitTime0 - 1) &^ (fitDate0 - 1)
	if bits.OnesCount32(uint32(dates)) == 1 {
		return Type{Kind: Date, Format: ISO + Format(bits.TrailingZeros32(uint32(dates/fitDate0)))}
	}
	times := f &^ (fitTime0 - 1)
	if dates == 0 && bits.OnesCount32(uint32(times)) == 1 {
		return Type{Kind: Timestamp, Format: ISO + Format(bits.TrailingZeros32(uint32(times/fitTime0)))}
	}
	return Type{Kind: String}
}

// names lists the types in the set, for people.
func (f fits) names() []string {
	out := []string{}
	add := func(bit fits, t Type) {
		if f&bit != 0 {
			name := t.String()
			if t.Format != NoFormat && t.Format != ISO {
				name += " " + t.Format.String()
			}
			out = append(out, name)
		}
	}
	add(fitBoolean, Type{Kind: Boolean})
	add(fitBigint, Type{Kind: Bigint})
	add(fitDouble, Type{Kind: Double})
	add(fitZoned, Type{Kind: Timestamp, Zoned: true})
	for format := ISO; format < formatCount; format++ {
		add(fitDate(format), Type{Kind: Date, Format: format})
		add(fitTime(format), Type{Kind: Timestamp, Format: format})
	}
	return out
}

// Evidence is what a column's cells have shown of it. The zero value has seen
// nothing. Observing and joining may be done in any order: Type comes out the
// same. Witnesses are those of the order in which it was done.
type Evidence struct {
	Cells   int64 // cells looked at
	Nulls   int64 // of them null
	Quoted  int64 // of the nulls, quoted empty cells
	Longest int   // bytes of the longest cell
	First   Witness
	// Decided is the cell that last narrowed what the column can be.
	Decided Witness

	fits fits // meaningful when seen
	seen bool // a cell that is not null was observed
}

// Observe looks at one cell. quoted says that it stood in quotes: a quoted cell
// is null only when it is empty. at gives the cell's position when it is needed;
// it may be nil.
func (e *Evidence) Observe(text []byte, quoted bool, at func() Witness) {
	e.Cells++
	if IsNullToken(text) && (!quoted || len(text) == 0) {
		e.Nulls++
		if quoted {
			e.Quoted++
		}
		return
	}
	e.Longest = max(e.Longest, len(text))
	if e.seen && e.fits == 0 {
		return
	}
	before := e.fits
	if !e.seen {
		before = allFits
	}
	e.fits = fitsOf(text, before)
	if !e.seen || e.fits != before {
		w := Witness{}
		if at != nil {
			w = at()
		}
		w.Text = string(text[:min(len(text), 100)])
		if !e.seen {
			e.First = w
		}
		e.Decided = w
	}
	e.seen = true
}

// Join adds what another part of the column has shown.
func (e *Evidence) Join(o Evidence) {
	e.Cells += o.Cells
	e.Nulls += o.Nulls
	e.Quoted += o.Quoted
	e.Longest = max(e.Longest, o.Longest)
	if !o.seen {
		return
	}
	if !e.seen {
		e.seen, e.fits, e.First, e.Decided = true, o.fits, o.First, o.Decided
		return
	}
	if both := e.fits & o.fits; both != e.fits {
		e.fits, e.Decided = both, o.Decided
	}
}

// Type is the narrowest type that every cell fits: Unknown when all were null.
func (e *Evidence) Type() Type {
	if !e.seen {
		return Type{}
	}
	return e.fits.resolve()
}

type storedEvidence struct {
	Cells   int64    `json:"cells"`
	Nulls   int64    `json:"nulls,omitempty"`
	Quoted  int64    `json:"quoted_empty,omitempty"`
	Longest int      `json:"longest,omitempty"`
	Fits    []string `json:"fits,omitempty"`
	Bits    uint32   `json:"bits,omitempty"`
	Seen    bool     `json:"seen,omitempty"`
	First   Witness  `json:"first,omitzero"`
	Decided Witness  `json:"decided,omitzero"`
}

// MarshalJSON gives the evidence's stored form.
func (e Evidence) MarshalJSON() ([]byte, error) {
	s := storedEvidence{Cells: e.Cells, Nulls: e.Nulls, Quoted: e.Quoted, Longest: e.Longest, Seen: e.seen, First: e.First, Decided: e.Decided}
	if e.seen {
		s.Fits, s.Bits = e.fits.names(), uint32(e.fits)
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads the stored form.
func (e *Evidence) UnmarshalJSON(b []byte) error {
	var s storedEvidence
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	*e = Evidence{Cells: s.Cells, Nulls: s.Nulls, Quoted: s.Quoted, Longest: s.Longest, First: s.First, Decided: s.Decided, seen: s.Seen, fits: fits(s.Bits) & allFits}
	return nil
}
