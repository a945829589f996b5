package transform

import (
	"lakefeed/schema"
)

// chunkRows is how many rows an expression is worked out for at a time: enough to
// make what a node costs small, few enough for its values to stay in the cache.
const chunkRows = 1024

// block holds the values of a node for a chunk of rows. Which slice has them is as
// for schema.Vector; Decimal has decs, String texts.
type block struct {
	ints   []int64
	floats []float64
	decs   []decimal
	texts  [][]byte
	null   []bool
	// errs says for which rows the node has no value, and why. Those rows are null.
	errs map[int]string

	arena []byte // that texts may point into
}

// size makes room for n values, none of them null.
func (b *block) size(k schema.Kind, n int) {
	b.null = resize(b.null, n)
	clear(b.null)
	b.errs = nil
	switch k {
	case schema.Double:
		b.floats = resize(b.floats, n)
	case schema.Decimal:
		b.decs = resize(b.decs, n)
	case schema.String:
		b.texts = resize(b.texts, n)
		b.arena = b.arena[:0]
	case schema.Unknown:
		for i := range b.null {
			b.null[i] = true
		}
	default:
		b.ints = resize(b.ints, n)
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, max(n, chunkRows))
	}
	return s[:n]
}

// fail says that row i has no value.
func (b *block) fail(i int, why string) {
	b.null[i] = true
	if b.errs == nil {
		b.errs = map[int]string{}
	}
	b.errs[i] = why
}

// inherit takes over why others have no value.
func (b *block) inherit(others ...*block) {
	for _, o := range others {
		for i, why := range o.errs {
			b.fail(i, why)
		}
	}
}

// keep copies parts into the block, one behind the other. What it gave before stays
// where it is.
func (b *block) keep(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if cap(b.arena)-len(b.arena) < n {
		b.arena = make([]byte, 0, max(2*cap(b.arena), n, 16<<10))
	}
	from := len(b.arena)
	for _, p := range parts {
		b.arena = append(b.arena, p...)
	}
	return b.arena[from:len(b.arena):len(b.arena)]
}

// load takes rows from..to of a column; v may end before.
func (b *block) load(v *schema.Vector, k schema.Kind, from, to int) {
	n := to - from
	b.size(k, n)
	have := max(0, min(v.Len(), to)-from)
	for i := have; i < n; i++ {
		b.null[i] = true
	}
	if v.Nulls() > 0 {
		for i := range have {
			b.null[i] = v.Null(from + i)
		}
	}
	switch k {
	case schema.Unknown:
		b.size(k, n)
	case schema.Double:
		copy(b.floats, v.Floats[min(from, len(v.Floats)):])
	case schema.Decimal:
		for i := range have {
			b.decs[i] = decimalOf(v.DecimalAt(from + i))
		}
	case schema.String:
		for i := range have {
			b.texts[i] = v.TextAt(from + i)
		}
	default:
		copy(b.ints, v.Ints[min(from, len(v.Ints)):])
	}
}

// appendTo adds the values to a column of the kind.
func (b *block) appendTo(v *schema.Vector, k schema.Kind) {
	for i, null := range b.null {
		if null {
			v.AppendNull()
			continue
		}
		switch k {
		case schema.Double:
			v.AppendFloat(b.floats[i])
		case schema.Decimal:
			v.AppendDecimal(b.decs[i].bytes())
		case schema.String:
			v.AppendText(b.texts[i])
		default:
			v.AppendInt(b.ints[i])
		}
	}
}

// set copies row i of another block of the same kind.
func (b *block) set(k schema.Kind, i int, from *block) {
	b.null[i] = from.null[i]
	if from.null[i] {
		if why, failed := from.errs[i]; failed {
			b.fail(i, why)
		}
		return
	}
	switch k {
	case schema.Unknown:
	case schema.Double:
		b.floats[i] = from.floats[i]
	case schema.Decimal:
		b.decs[i] = from.decs[i]
	case schema.String:
		b.texts[i] = from.texts[i]
	default:
		b.ints[i] = from.ints[i]
	}
}
