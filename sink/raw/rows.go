package raw

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
	"lakefeed/sink"
)

// ErrForeign says that a message of others would be needed.
var ErrForeign = errors.New("it is a message that lakefeed did not write, and such ones are not in the raw zone")

// MissingError says that the raw zone does not have rows, or has others in their
// place.
type MissingError struct {
	Stream schema.StreamID
	Source string // URI, "" where it is not known
	Row    int64  // the first that is not there
	Reason string
	// Absent says that there is nothing of the object: its producer did not copy it, or
	// its copy was taken away.
	Absent bool
}

func (e *MissingError) Error() string {
	of := "of stream " + e.Stream.String()
	if e.Source != "" {
		of = fmt.Sprintf("of %s (stream %s)", e.Source, e.Stream)
	}
	return fmt.Sprintf("the raw zone does not have row %d %s: %s", e.Row, of, e.Reason)
}

// Rows cuts the rows of a copied object again.
type Rows struct {
	manifest *Manifest
	stored   *pieceReader
	splitter *csv.Splitter
	unpacked *Unpacked
	at       int64 // the next row's number
	value    []byte
	header   []byte
	named    int
	begun    bool
}

// Row is a row or reject as it was sent.
type Row struct {
	*csv.Row
	// Value is that of its message.
	Value []byte
	// Columns is the header of the row and those behind it, nil where they have none.
	Columns []byte
	// Turned says that the header is another than that of the row before.
	Turned bool
}

// Rows begins to read an object's rows. The error is a MissingError where the object
// is not in the raw zone.
func (z *Zone) Rows(ctx context.Context, id schema.StreamID) (*Rows, error) {
	m, err := z.Manifest(ctx, id)
	if errors.Is(err, sink.ErrNotExist) {
		return nil, z.absent(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	if err := z.tail(ctx, m); err != nil {
		return nil, err
	}
	stored, err := z.reader(ctx, m, m.Base)
	if err != nil {
		return nil, err
	}
	r := &Rows{manifest: m, stored: stored}
	if r.unpacked, err = Unpack(stored); err != nil {
		return nil, r.unreadable(err)
	}
	if m.Dialect.ByteOffsets() {
		before := m.Body
		if !r.unpacked.Packed {
			before -= m.Base
		}
		if _, err := io.CopyN(io.Discard, r.unpacked, before); err == io.EOF {
			r.Close()
			return nil, r.missing("its copy ends before its first row")
		} else if err != nil {
			r.Close()
			return nil, r.unreadable(err)
		}
	}
	r.splitter = csv.NewSplitter(r.unpacked, m.Dialect, m.options())
	return r, nil
}

// Close ends it.
func (r *Rows) Close() { r.unpacked.Close() }

// Source is the object's URI.
func (r *Rows) Source() string { return r.manifest.URI }

// At is the number of the row that Next gives.
func (r *Rows) At() int64 { return r.at }

func (r *Rows) missing(format string, args ...any) error {
	return &MissingError{Stream: r.manifest.Stream, Source: r.manifest.URI, Row: r.at, Reason: fmt.Sprintf(format, args...)}
}

// unreadable says of an error whether it is of reading the store, or of what is there.
func (r *Rows) unreadable(err error) error {
	if r.stored.failed != nil {
		return fmt.Errorf("read the copy of %s in the raw zone: %w", r.manifest.URI, err)
	}
	return r.missing("its copy cannot be read: %v", err)
}

// absent is the error for an object without a manifest.
func (z *Zone) absent(ctx context.Context, id schema.StreamID) error {
	pieces, err := z.pieces(ctx, id)
	if err != nil {
		return err
	}
	if len(pieces) > 0 {
		return &MissingError{Stream: id, Reason: fmt.Sprintf("its copy has no %s, which says how its rows are cut", manifestName)}
	}
	return &MissingError{Stream: id, Reason: "there is no copy of the object", Absent: true}
}

// Next gives the next row, valid until the next call. The error is a MissingError
// where the copy has no more.
func (r *Rows) Next() (Row, error) {
	row, err := r.splitter.Next()
	if (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)) && r.stored.failed == nil {
		offset, line := r.splitter.Position()
		return Row{}, r.missing("its copy ends behind byte %d, line %d", offset, line)
	}
	if err != nil {
		return Row{}, r.unreadable(err)
	}
	out := Row{Row: row, Turned: r.begun && row.Header != r.named}
	if !r.begun || out.Turned {
		r.begun, r.named, r.header = true, row.Header, nil
		if names := r.manifest.options().Names(row.Header); names != nil {
			r.header = wire.AppendNames([]byte{}, names)
		}
	}
	if row.Rule != "" {
		r.value = append(r.value[:0], row.Raw[:min(len(row.Raw), wire.RejectBytes)]...)
	} else {
		r.value = r.splitter.AppendRFC4180(r.value[:0])
	}
	if r.value == nil {
		r.value = []byte{} // not null
	}
	out.Value, out.Columns = r.value, r.header
	r.at++
	return out, nil
}

// Check says whether an object is there, and that no piece of it is missing in the
// middle. A MissingError says which row cannot be read, as far as that is known.
func (z *Zone) Check(ctx context.Context, id schema.StreamID) error {
	m, err := z.Manifest(ctx, id)
	if errors.Is(err, sink.ErrNotExist) {
		return z.absent(ctx, id)
	}
	if err != nil {
		return err
	}
	pieces, err := z.pieces(ctx, id)
	if err != nil {
		return err
	}
	end := covered(pieces, m.Base)
	if last := len(pieces) - 1; last < 0 || pieces[last].to > end {
		return &MissingError{Stream: id, Source: m.URI, Reason: fmt.Sprintf("its copy has no byte %d", end)}
	}
	return nil
}
