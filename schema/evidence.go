package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
)

// Evidence is what a column's cells have shown of it. The zero value has seen
// nothing. Observing and joining may be done in any order: types, counts and
// bounds come out the same. Witnesses are those of the order in which it was done.
type Evidence struct {
	Cells   int64 // cells looked at
	Nulls   int64 // of them null
	Quoted  int64 // of the nulls, quoted empty cells
	Longest int   // bytes of the longest cell
	First   Witness
	// Decided is the cell that last narrowed what the column can be.
	Decided Witness
	// Steps are what the column became, cell by cell.
	Steps []Step

	seen          bool // a cell that is not null was observed
	fits          fits // meaningful when seen
	forms         forms
	digits, scale [2]int
	numbers       [2]extent[float64]
	wholes        [2]extent[int64]
	moments       [2]extent[int64]
}

// Step is what a column became by one cell.
type Step struct {
	Became  string  `json:"became"`
	Witness Witness `json:"witness,omitzero"`
}

// extent is the least and the greatest of some values.
type extent[T cmp.Ordered] struct {
	Min, Max T
	Some     bool
}

func (e *extent[T]) add(x T) {
	if !e.Some {
		e.Min, e.Max, e.Some = x, x, true
		return
	}
	e.Min, e.Max = min(e.Min, x), max(e.Max, x)
}

func (e *extent[T]) join(o extent[T]) {
	if o.Some {
		e.add(o.Min)
		e.add(o.Max)
	}
}

// Observe looks at one cell. quoted says that it stood in quotes, nulls which
// tokens are null in the column. at gives the cell's position when it is needed; it
// may be nil.
func (e *Evidence) Observe(text []byte, quoted bool, nulls *Nulls, at func() Witness) {
	e.Cells++
	if nulls.Typed(text, quoted) {
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
	var r reading
	r.read(text, before)
	if e.seen && r.fits == before && r.forms&^e.forms == 0 && !e.wider(&r) {
		e.extend(&r)
		return
	}
	w := Witness{}
	if at != nil {
		w = at()
	}
	w.Text = string(text[:min(len(text), 100)])
	e.step(&r, w)
}

// wider says whether a cell has more digits behind the decimal mark than those
// before.
func (e *Evidence) wider(r *reading) bool {
	return r.scale[0] > e.scale[0] || r.scale[1] > e.scale[1]
}

// step takes a cell that changes what the column can be.
func (e *Evidence) step(r *reading, w Witness) {
	before, narrowed := e.Type(Doubles).Written(), !e.seen || r.fits != e.fits
	wider := e.seen && e.wider(r) && r.fits&(fitDecimal*7) != 0
	if !e.seen {
		e.First = w
	}
	e.seen, e.fits, e.forms = true, r.fits, e.forms|r.forms
	e.extend(r)
	if narrowed {
		e.Decided = w
		e.prune()
	}
	now := e.Type(Doubles).Written()
	switch {
	case now != before:
		e.Steps = append(e.Steps, Step{now, w})
	case wider:
		e.Steps = append(e.Steps, Step{fmt.Sprintf("%s, %d digits behind the decimal mark", now, max(e.scale[0], e.scale[1])), w})
	}
}

// extend widens the bounds by a cell.
func (e *Evidence) extend(r *reading) {
	for i := range 2 {
		if r.fits&markBits[i] != 0 {
			e.digits[i], e.scale[i] = max(e.digits[i], r.digits[i]), max(e.scale[i], r.scale[i])
			if x := r.numbers[i]; !math.IsNaN(x) && !math.IsInf(x, 0) {
				e.numbers[i].add(x)
			}
		}
		if r.fits&wholeBits[i] != 0 {
			e.wholes[i].add(r.wholes[i])
		}
		if r.fits&orderBits[i] != 0 {
			e.moments[i].add(r.moments[i])
		}
	}
}

// prune forgets the bounds of what the column cannot be any more: what they are
// depends on how soon that showed.
func (e *Evidence) prune() {
	for i := range 2 {
		if e.fits&markBits[i] == 0 {
			e.digits[i], e.scale[i], e.numbers[i] = 0, 0, extent[float64]{}
		}
		if e.fits&wholeBits[i] == 0 {
			e.wholes[i] = extent[int64]{}
		}
		if e.fits&orderBits[i] == 0 {
			e.moments[i] = extent[int64]{}
		}
	}
	e.forms = e.forms.of(e.fits)
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
		cells, nulls, quoted, longest := e.Cells, e.Nulls, e.Quoted, e.Longest
		*e = o
		e.Cells, e.Nulls, e.Quoted, e.Longest = cells, nulls, quoted, longest
		e.Steps = append([]Step(nil), o.Steps...)
		return
	}
	before := e.Type(Doubles).Written()
	if both := e.fits & o.fits; both != e.fits {
		e.fits, e.Decided = both, o.Decided
	}
	e.forms |= o.forms
	for i := range 2 {
		e.digits[i], e.scale[i] = max(e.digits[i], o.digits[i]), max(e.scale[i], o.scale[i])
		e.numbers[i].join(o.numbers[i])
		e.wholes[i].join(o.wholes[i])
		e.moments[i].join(o.moments[i])
	}
	e.prune()
	if now := e.Type(Doubles).Written(); now != before {
		e.Steps = append(append([]Step(nil), e.Steps...), Step{now, o.Decided})
	}
}

// Type is the narrowest type that every cell fits: Unknown when all were null.
func (e *Evidence) Type(n Numbers) Type {
	if !e.seen {
		return Type{}
	}
	return e.fits.resolve(e.forms, n, e.digits, e.scale)
}

// Bounds are the least and the greatest value as a type, in its normal form. There
// are none for strings and booleans, and those of decimals are as precise as a double.
func (e *Evidence) Bounds(t Type) (least, greatest string, ok bool) {
	var v Vector
	v.Reset(t)
	i := 0
	if t.Format == CommaDecimal || t.Format == DayFirst {
		i = 1
	}
	switch t.Kind {
	case Bigint:
		x := e.wholes[i]
		v.AppendInt(x.Min)
		v.AppendInt(x.Max)
		ok = x.Some
	case Double, Decimal:
		x := e.numbers[i]
		v.Reset(Type{Kind: Double})
		v.AppendFloat(x.Min)
		v.AppendFloat(x.Max)
		ok = x.Some
	case Date, Timestamp:
		x := e.moments[i]
		if t.Kind == Date {
			x.Min, x.Max = x.Min/dayMillis, x.Max/dayMillis
		}
		v.AppendInt(x.Min)
		v.AppendInt(x.Max)
		ok = x.Some
	}
	if !ok {
		return "", "", false
	}
	return string(v.AppendValue(nil, 0)), string(v.AppendValue(nil, 1)), true
}

// Undecided says what cells have left open, so that the column is a string: "" when
// it is nothing.
func (e *Evidence) Undecided() string {
	if !e.seen || e.Type(Doubles).Kind != String {
		return ""
	}
	for i := 1; i < 5; i++ {
		if e.fits&(fitBoolean<<i) != 0 {
			return "only one of the words " + (LettersTF + Format(i-1)).String() + " was seen"
		}
	}
	for _, bit := range [...]fits{fitZoned, fitDate, fitTime} {
		if e.fits&(bit*3) == bit*3 {
			return "nothing tells day and month apart"
		}
	}
	grouped, commas := e.fits&(fitPlain<<asGrouped) != 0, e.fits&(fitPlain<<asComma) != 0
	switch {
	case e.fits&fitPlain != 0 || !grouped && !commas:
		return ""
	case grouped && e.forms.keys(0) || commas && e.forms.keys(1):
		return "all groups have three digits, as those of keys do: nothing tells that they are thousands"
	}
	return "nothing tells a decimal mark and a separator of thousands apart"
}

type storedEvidence struct {
	Cells   int64    `json:"cells"`
	Nulls   int64    `json:"nulls,omitempty"`
	Quoted  int64    `json:"quoted_empty,omitempty"`
	Longest int      `json:"longest,omitempty"`
	Fits    []string `json:"fits,omitempty"`
	Seen    bool     `json:"seen,omitempty"`
	First   Witness  `json:"first,omitzero"`
	Decided Witness  `json:"decided,omitzero"`
	Steps   []Step   `json:"steps,omitempty"`

	// Bits are the set in the first version of this form, Set in the second.
	Bits   uint32        `json:"bits,omitempty"`
	Set    uint32        `json:"set,omitempty"`
	Forms  uint32        `json:"forms,omitempty"`
	Bounds *storedBounds `json:"bounds,omitempty"`
}

// storedBounds has each pair with a decimal point and with a comma, or with the
// month and with the day first.
type storedBounds struct {
	Digits  [2]int             `json:"digits"`
	Scale   [2]int             `json:"scale"`
	Numbers [2]extent[float64] `json:"numbers"`
	Wholes  [2]extent[int64]   `json:"wholes"`
	Moments [2]extent[int64]   `json:"moments"`
}

// MarshalJSON gives the evidence's stored form.
func (e Evidence) MarshalJSON() ([]byte, error) {
	s := storedEvidence{Cells: e.Cells, Nulls: e.Nulls, Quoted: e.Quoted, Longest: e.Longest, Seen: e.seen, First: e.First, Decided: e.Decided, Steps: e.Steps}
	if e.seen {
		s.Fits, s.Set, s.Forms = e.fits.names(), uint32(e.fits), uint32(e.forms)
		b := storedBounds{e.digits, e.scale, e.numbers, e.wholes, e.moments}
		if b != (storedBounds{}) {
			s.Bounds = &b
		}
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads the stored form.
func (e *Evidence) UnmarshalJSON(b []byte) error {
	var s storedEvidence
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	*e = Evidence{
		Cells: s.Cells, Nulls: s.Nulls, Quoted: s.Quoted, Longest: s.Longest, First: s.First, Decided: s.Decided, Steps: s.Steps,
		seen: s.Seen, fits: fits(s.Set) & allFits, forms: forms(s.Forms) & (afterForms - 1),
	}
	if s.Bits != 0 {
		e.fits, e.forms = firstFits(s.Bits)
	}
	if b := s.Bounds; b != nil {
		e.digits, e.scale, e.numbers, e.wholes, e.moments = b.Digits, b.Scale, b.Numbers, b.Wholes, b.Moments
	}
	return nil
}
