package producer

import (
	"bufio"
	"context"
	"errors"
	"io"

	"lakefeed/schema/csv"
	"lakefeed/schema/wire"
)

// dryRun prints the rows of an object, and gives its header.
func dryRun(ctx context.Context, out io.Writer, o Object, overrides csv.Overrides, events *Events, scratch *[]byte) (columns []string, err error) {
	sample, complete, err := head(ctx, &o, SniffBytes)
	if err != nil {
		return nil, err
	}
	found, why, err := csv.Explain(sample, complete, overrides)
	if errors.Is(err, csv.ErrEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	events.info(o.URI, before(found, why))
	if !complete {
		if err := findTail(ctx, o, &found, overrides); err != nil {
			return nil, err
		}
	}
	offset := found.Body
	if !found.Dialect.ByteOffsets() {
		offset = 0
	}
	c, err := open(ctx, o, offset)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	w := bufio.NewWriterSize(out, 64<<10)
	line := *scratch
	if found.Columns != nil {
		line = append(wire.AppendNames(line[:0], found.Columns), '\n')
		w.Write(line)
	}
	options := found.Options()
	options.MaxRecord = DefaultMaxRecord
	s := csv.NewSplitter(c, found.Dialect, options)
	header := 0
	for ctx.Err() == nil {
		row, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.Join(err, w.Flush())
		}
		if row.Rule != "" {
			events.rejected(Rejected{URI: o.URI, Line: row.Line, From: row.From, To: row.To, Rule: row.Rule, Message: row.Message})
			continue
		}
		if row.Header != header {
			header = row.Header
			w.Write(append(wire.AppendNames(line[:0], options.Names(header)), '\n'))
		}
		line = append(s.AppendRFC4180(line[:0]), '\n')
		w.Write(line)
	}
	*scratch = line
	events.info(o.URI, again(s.Headers()))
	return found.Columns, errors.Join(ctx.Err(), w.Flush())
}
