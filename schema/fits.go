package schema

// fits is the set of types that every cell of a column fits so far. It is what
// makes inference independent of order: the set only shrinks, by intersection,
// so cells and whole samples may be joined in any order and grouping.
//
// A type whose text is written in ways that exclude each other is in the set once
// for each way. A cell that says nothing of the way (2020-01-31, or 12) fits all.
type fits uint32

const (
	fitBoolean fits = 1 << iota // true, false; then the other pairs of words in the order of the formats
	_
	_
	_
	_
	fitBigint // plain; then Grouped, CommaDecimal
	_
	_
	fitDouble
	_
	_
	fitDecimal
	_
	_
	fitDate // MonthFirst; then DayFirst
	_
	fitTime
	_
	fitZoned
	_
	afterFits
)

const (
	allFits   = afterFits - 1
	fitWords  = fitBigint - 1
	fitNumber = fitDate - fitBigint
	fitMoment = afterFits - fitDate
	asGrouped = 1 // shifts from plain
	asComma   = 2
)

// forms is the set of the ways in which at least one cell is written. It only
// grows, by union. Of what a column may be it tells where cells that do not say
// enough have been seen, and where cells that must be seen have not.
type forms uint32

const (
	formLettersT forms = 1 << iota
	formLettersF
	formYes
	formNo
	formY
	formN
	formOn
	formOff
	formISO       // 2020-01-31
	formYearFirst // 2020/1/31
	formSlash
	formDash
	formDot
	formName
	formShortYear
	formEither // day and month are not told apart
	formTwelve // AM and PM
	formPoint  // a point in a number
	formComma
	formGroups // with a decimal point; then with a comma
	_
	formShortGroup // a first group of one or two digits, or a decimal mark behind groups; then the same
	_
	afterForms
)

// keys says of the numbers with a decimal point, or with a comma, that there are
// groups and all of them have three digits: they may be parts of a key or of a
// telephone number.
func (w forms) keys(i int) bool {
	return w&(formGroups<<i) != 0 && w&(formShortGroup<<i) == 0
}

// The bits of each decimal mark, and of each order of day and month.
var (
	markBits  = [2]fits{fitPlain | fitPlain<<asGrouped, fitPlain << asComma}
	wholeBits = [2]fits{fitBigint | fitBigint<<asGrouped, fitBigint << asComma}
	orderBits = [2]fits{fitDate | fitTime | fitZoned, (fitDate | fitTime | fitZoned) << 1}
)

// of leaves out what says nothing of a column that fits f: whether it was seen
// depends on how soon the other types went.
func (w forms) of(f fits) forms {
	if f == 0 {
		return 0
	}
	for i, bits := range markBits {
		if f&bits == 0 {
			w &^= (formGroups | formShortGroup) << i
		}
	}
	return w
}

// reading is what one cell can be read as. Of pairs the first is with a decimal
// point and the second with a decimal comma, or the first with the month first and
// the second with the day.
type reading struct {
	fits    fits
	forms   forms
	digits  [2]int // before the decimal mark, where there is a decimal
	scale   [2]int // behind it
	numbers [2]float64
	wholes  [2]int64
	moments [2]int64 // milliseconds since 1970
}

// read finds what a cell's text can be, among some types.
func (r *reading) read(text []byte, among fits) {
	*r = reading{}
	text = unpadded(text)
	if len(text) == 0 || len(text) > maxNumber {
		return
	}
	if among&fitWords != 0 {
		if w, ok := booleanWord(text); ok {
			r.word(w)
			r.fits &= among
			return
		}
	}
	if among&fitNumber != 0 {
		r.number(text, among)
	}
	if among&fitMoment != 0 && r.fits == 0 && len(text) >= 6 {
		r.moment(text)
	}
	r.fits &= among
	r.forms = r.forms.of(r.fits)
}

func (r *reading) word(w word) {
	i := 0
	if w.format != NoFormat {
		i = int(w.format-LettersTF) + 1
		bit := formLettersT << (2 * (i - 1))
		if !w.value {
			bit <<= 1
		}
		r.forms = bit
	}
	r.fits = fitBoolean << i
}

// number reads a number in the three ways.
func (r *reading) number(text []byte, among fits) {
	if c := text[0]; (c < '0' || c > '9') && c != '-' && c != '.' && c != 'N' && c != 'n' && c != 'I' && c != 'i' {
		return
	}
	pointed, other := false, false
	for _, c := range text {
		switch {
		case c == '.':
			pointed = true
		case c == ',':
			r.forms |= formComma
			other = true
		case c == ' ' || c == '\'' || c >= 0x80:
			other = true
		}
	}
	if pointed {
		r.forms |= formPoint
	}
	if !other {
		plain := r.value(text, 0)
		r.fits = plain | plain<<asGrouped
		if !pointed {
			r.fits |= plain << asComma
			r.digits[1], r.scale[1], r.numbers[1], r.wholes[1] = r.digits[0], r.scale[0], r.numbers[0], r.wholes[0]
			return
		}
	} else {
		r.grouped(text, Grouped)
	}
	if among&(fitPlain<<asComma) != 0 {
		r.grouped(text, CommaDecimal)
	}
	if r.fits == 0 {
		r.forms = 0
	}
}

func (r *reading) grouped(text []byte, f Format) {
	var buf [maxNumber]byte
	plain, g, ok := ungroup(&buf, text, f)
	if !ok {
		return
	}
	i := 0
	if f == CommaDecimal {
		i = 1
	}
	r.fits |= r.value(plain, i) << (asGrouped + i)
	if g.by != noMark {
		r.forms |= formGroups << i
		if g.short || g.fraction {
			r.forms |= formShortGroup << i
		}
	}
}

// value reads a plain number, as the i-th of the pairs.
func (r *reading) value(text []byte, i int) (f fits) {
	x, whole := ParseBigint(text)
	if whole {
		f |= fitBigint
		r.wholes[i], r.numbers[i] = x, float64(x)
	}
	if y, ok := ParseDouble(text); ok {
		f |= fitDouble
		r.numbers[i] = y
	}
	d, ok := scanDecimal(text)
	if ok && !d.hasExp && !(d.neg && d.digits == 0) && d.whole+d.scale <= maxPrecision {
		f |= fitDecimal
		r.digits[i], r.scale[i] = d.whole, d.scale
		if f&fitDouble == 0 {
			r.numbers[i] = d.approximate()
		}
	}
	return f
}

// moment reads a date or a timestamp in the two orders.
func (r *reading) moment(text []byte) {
	d, b, ok := scanDate(text)
	if !ok {
		return
	}
	date, time, zoned := fitDate, fits(0), fits(0)
	var millis int64
	if len(b) > 0 {
		if len(b) < 5 || b[0] != 'T' && b[0] != ' ' {
			return
		}
		var twelve bool
		if millis, b, twelve, ok = scanClock(b[1:]); !ok {
			return
		}
		if twelve {
			d.form |= formTwelve
		}
		date, time = 0, fitTime
		if len(b) > 0 {
			offset, ok := parseZone(b)
			if !ok {
				return
			}
			millis -= offset
			time, zoned = 0, fitZoned
		}
	}
	for i, f := range [2]Format{MonthFirst, DayFirst} {
		days, ok := d.days(f)
		if at := days*dayMillis + millis; ok && (zoned == 0 || inYears(at)) {
			r.fits |= (date | time | zoned) << i
			r.moments[i] = at
		}
	}
	if r.fits != 0 {
		r.forms = d.form
		if d.order == either {
			r.forms |= formEither
		}
	}
}

// Numbers says what a column of fractions becomes.
type Numbers uint8

// The choices of Numbers.
const (
	Doubles  Numbers = iota // double
	Decimals                // decimal with the scale seen; double where there are exponents
)

// resolve is the type of a column whose cells all fit f and are written in forms w.
// scale and digits are the most of any cell. What cells have left open leaves the
// column a string: a guess would be wrong silently.
func (f fits) resolve(w forms, n Numbers, digits, scale [2]int) Type {
	for i := range 5 {
		if f&(fitBoolean<<i) == 0 {
			continue
		}
		if i == 0 {
			return Type{Kind: Boolean}
		}
		if both := (formLettersT | formLettersF) << (2 * (i - 1)); w&both == both {
			return Type{Kind: Boolean, Format: LettersTF + Format(i-1)}
		}
	}
	if f&fitNumber != 0 {
		return f.resolveNumber(w, n, digits, scale)
	}
	for _, m := range [...]struct {
		bit fits
		typ Type
	}{{fitZoned, Type{Kind: Timestamp, Zoned: true}}, {fitDate, Type{Kind: Date}}, {fitTime, Type{Kind: Timestamp}}} {
		switch f & (m.bit * 3) {
		case m.bit:
			m.typ.Format = MonthFirst
		case m.bit << 1:
			m.typ.Format = DayFirst
		case m.bit * 3:
			if w&formEither != 0 {
				return Type{Kind: String}
			}
		default:
			continue
		}
		return m.typ
	}
	return Type{Kind: String}
}

// The kinds of one way to write numbers.
const fitPlain = fitBigint | fitDouble | fitDecimal

func (f fits) resolveNumber(w forms, n Numbers, digits, scale [2]int) Type {
	format, shift, mark := NoFormat, 0, 0
	if f&fitPlain == 0 {
		grouped, commas := f&(fitPlain<<asGrouped) != 0, f&(fitPlain<<asComma) != 0
		switch {
		case grouped && commas && w&(formPoint|formComma) != 0:
			return Type{Kind: String} // 1,234 may be a thousand or one and a bit
		case grouped:
			format, shift = Grouped, asGrouped
		default:
			format, shift, mark = CommaDecimal, asComma, 1
		}
		if w.keys(mark) {
			return Type{Kind: String}
		}
	}
	f >>= shift
	switch {
	case f&fitBigint != 0:
		return Type{Kind: Bigint, Format: format}
	case n == Decimals && f&fitDecimal != 0 && scale[mark] > 0 && digits[mark]+scale[mark] <= maxPrecision:
		return Type{Kind: Decimal, Precision: inferredPrecision(digits[mark] + scale[mark]), Scale: scale[mark], Format: format}
	case f&fitDouble != 0:
		return Type{Kind: Double, Format: format}
	}
	return Type{Kind: String}
}

// inferredPrecision leaves room for larger numbers than were seen: 15 digits are
// what a double holds, 18 what 64 bits do.
func inferredPrecision(seen int) int {
	switch {
	case seen <= 15:
		return 15
	case seen <= 18:
		return 18
	}
	return maxPrecision
}

// names lists the types in the set, for people.
func (f fits) names() []string {
	out := []string{}
	add := func(bit fits, kind Kind, zoned bool, formats ...Format) {
		name := Type{Kind: kind, Zoned: zoned}.String()
		if kind == Decimal {
			name = "decimal"
		}
		for i, format := range formats {
			if f&(bit<<i) == 0 {
				continue
			}
			written := name
			if format != NoFormat {
				written += " " + format.String()
			}
			out = append(out, written)
		}
	}
	add(fitBoolean, Boolean, false, NoFormat, LettersTF, WordsYesNo, LettersYN, WordsOnOff)
	add(fitBigint, Bigint, false, NoFormat, Grouped, CommaDecimal)
	add(fitDouble, Double, false, NoFormat, Grouped, CommaDecimal)
	add(fitDecimal, Decimal, false, NoFormat, Grouped, CommaDecimal)
	add(fitDate, Date, false, MonthFirst, DayFirst)
	add(fitTime, Timestamp, false, MonthFirst, DayFirst)
	add(fitZoned, Timestamp, true, MonthFirst, DayFirst)
	return out
}

// firstFits reads the set as the first version of the stored form has it: a bit for
// boolean, bigint, double and zoned timestamp, then one for each of nine forms of a
// date, then of a timestamp.
func firstFits(bits uint32) (f fits, w forms) {
	const all = 7 // fit a double in every way
	if bits&1 != 0 {
		f |= fitBoolean
	}
	if bits&2 != 0 {
		f |= fitBigint*all | fitDecimal*all
	}
	if bits&4 != 0 {
		f |= fitDouble | fitDouble<<asGrouped
	}
	if bits&8 != 0 {
		f |= fitZoned * 3
		w |= formISO
	}
	for i, bit := range [2]fits{fitDate, fitTime} {
		old := bits >> (4 + 9*i) & 0x1ff
		if old&3 != 0 { // iso, y/m/d
			f |= bit * 3
			w |= formISO
			continue
		}
		if old&0x114 != 0 { // m/d/y, m/d/yy, m-d-y
			f |= bit
		}
		if old&0xe8 != 0 { // d/m/y, d/m/yy, d.m.y, d-m-y
			f |= bit << 1
		}
		if old != 0 {
			w |= formSlash | formEither
		}
	}
	return f, w
}
