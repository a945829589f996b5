package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"lakefeed/consumer"
	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/schema/csv"
	"lakefeed/sink"
)

// The first version of a table's schema is inferred from so many bytes at the
// beginning of each object, and so many of all objects.
const (
	sampleObject = 4 << 20
	sampleTotal  = 64 << 20
)

// infer stores the first version of a new table's schema, from a sample of all
// sources.
func (f *feed) infer(ctx context.Context) error {
	latest, err := f.table.Schemas().Latest(ctx)
	if err != nil || latest != nil {
		return err
	}
	contract, err := f.Schema.contract()
	if err != nil {
		return err
	}
	first, changed, err := consumer.Evolve(contract, f.Transform, func(declared *schema.Contract) ([]schema.Seen, error) {
		inference := schema.Inference{Contract: declared}
		err := producer.Sample(ctx, f.sources, f.CSV.overrides(), sampleObject, sampleTotal, func(o producer.Object, found csv.Found, head []byte, complete bool) error {
			return observe(&inference, o.URI, found, head, complete)
		})
		return inference.Seen(), err
	})
	if err != nil || !changed {
		return err
	}
	err = f.table.Schemas().Append(ctx, first)
	if errors.Is(err, sink.ErrExists) {
		return nil // another process was first
	}
	return err
}

// observe shows a sample of one object to an inference.
func observe(inference *schema.Inference, uri string, found csv.Found, head []byte, complete bool) error {
	options := found.Options()
	placesOf := func(header int) []int {
		if names := options.Names(header); names != nil {
			return inference.Header(names, true)
		}
		return inference.Header(schema.NumberedNames(found.Width), false)
	}
	header, places := 0, placesOf(0)
	err := eachRow(head, found, complete, func(r *csv.Row, cells []csv.Cell) {
		if r.Header != header {
			header = r.Header
			places = placesOf(header)
		}
		if len(cells) != len(places) {
			return
		}
		at := func() schema.Witness { return schema.Witness{Source: uri, Line: r.Line} }
		for i, cell := range cells {
			inference.Observe(places[i], cell.Text, cell.Quoted, at)
		}
	})
	if err != nil {
		return fmt.Errorf("sample %s: %w", uri, err)
	}
	return nil
}

// eachRow gives the rows of an object's beginning that was sniffed. Rejects are passed
// over.
func eachRow(head []byte, found csv.Found, complete bool, row func(r *csv.Row, cells []csv.Cell)) error {
	if found.Dialect.ByteOffsets() {
		head = head[found.Body:]
	}
	options := found.Options()
	options.Hold = !complete
	splitter := csv.NewSplitter(bytes.NewReader(head), found.Dialect, options)
	var cells []csv.Cell
	for {
		next, err := splitter.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if next.Rule == "" {
			cells = splitter.Cells(cells[:0])
			row(next, cells)
		}
	}
}

// checkPartitioning refuses to partition a table by columns that it does not
// have. Without a schema yet there is nothing to compare with.
func (f *feed) checkPartitioning(ctx context.Context) error {
	sources, err := f.shape().Sources()
	if err != nil {
		return &usageError{err.Error()}
	}
	latest, err := f.table.Schemas().Latest(ctx)
	if err != nil || latest == nil {
		return err
	}
	if err := f.shape().Check(latest); err != nil {
		return &usageError{err.Error()}
	}
	for _, name := range sources {
		if latest.Index(name) < 0 {
			var columns []string
			for _, field := range latest.Fields {
				columns = append(columns, field.Name)
			}
			return &usageError{fmt.Sprintf("--partition-by %s: there is no such column; the columns are %s", name, strings.Join(columns, ", "))}
		}
	}
	return nil
}
