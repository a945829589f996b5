package s3source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// An object is read in ranges, each a request of its own, so that no connection
// waits for long while rows are sent. The first is what is looked at to find the
// dialect; they grow from there.
const (
	firstRange = 1<<20 + 64<<10
	maxRange   = 64 << 20
)

// version is one version of an object, whose bytes do not change.
type version struct {
	*key
	etag string // as the store writes it
	id   string // "" where the bucket keeps no versions
	size int64
	// whole is all of a small one, once it was read: it is looked at, and then sent.
	whole []byte
}

// open reads from a byte on. The first request is sent by the first Read.
func (v *version) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if v.whole != nil {
		return io.NopCloser(bytes.NewReader(v.whole[min(offset, v.size):])), nil
	}
	r := &reader{
		get:   func(from, to int64) (io.ReadCloser, error) { return v.get(ctx, from, to) },
		pause: func(cuts int, err error) error { return v.pause(ctx, cuts, err) },
		at:    offset, size: v.size, window: firstRange,
	}
	if offset == 0 && v.size <= firstRange {
		r.keep = func(whole []byte) { v.whole = whole }
	}
	return r, nil
}

// get requests the bytes from an offset to before another.
func (v *version) get(ctx context.Context, from, to int64) (io.ReadCloser, error) {
	ranges := fmt.Sprintf("bytes=%d-%d", from, to-1)
	in := &s3.GetObjectInput{Bucket: &v.source.bucket, Key: &v.name, Range: &ranges, IfMatch: &v.etag}
	if v.id != "" {
		in.VersionId = &v.id
	}
	out, err := v.source.client.GetObject(ctx, in)
	if err != nil {
		return nil, v.explain(err, v.id)
	}
	if got := out.ContentRange; from > 0 && (got == nil || !strings.HasPrefix(*got, fmt.Sprintf("bytes %d-", from))) {
		out.Body.Close()
		return nil, fmt.Errorf("read %s: the store does not give ranges of objects, without which reading cannot go on in the middle", v.resource())
	}
	return out.Body, nil
}

// pause waits after a body that broke off without a byte: not at all at first, then
// as long and as often as the client does when there is no answer.
func (v *version) pause(ctx context.Context, cuts int, err error) error {
	retryer := v.source.client.Options().Retryer
	switch {
	case cuts > retryer.MaxAttempts():
		return unreachable{fmt.Errorf("read %s: the connection broke %d times in a row: %w", v.resource(), cuts, err)}
	case cuts == 1:
		return ctx.Err()
	}
	delay, err := retryer.RetryDelay(cuts-1, err)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(delay):
		return nil
	}
}

// reader reads an object range by range, and goes on where a connection broke.
type reader struct {
	get      func(from, to int64) (io.ReadCloser, error)
	pause    func(cuts int, err error) error // before the next try
	at, size int64
	window   int64              // length of the next range
	body     io.ReadCloser      // of the range under way; nil between two
	end      int64              // of it
	cuts     int                // since the last byte
	keep     func(whole []byte) // takes all that was read, at the end; may be nil
	kept     []byte
}

func (r *reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for r.at < r.size {
		if r.body == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(b[:min(int64(len(b)), r.end-r.at)])
		r.took(b[:n])
		if r.at == r.end || err != nil {
			r.Close()
		}
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, context.Canceled):
			return 0, err
		case err != nil:
			r.cuts++
			if err := r.pause(r.cuts, err); err != nil {
				return 0, fmt.Errorf("at byte %d: %w", r.at, err)
			}
		}
	}
	return 0, io.EOF
}

// took notes what was read.
func (r *reader) took(b []byte) {
	if len(b) == 0 {
		return
	}
	r.at += int64(len(b))
	r.cuts = 0
	if r.keep == nil {
		return
	}
	if r.kept = append(r.kept, b...); r.at == r.size {
		r.keep(r.kept)
	}
}

// next requests the next range.
func (r *reader) next() (err error) {
	r.end = min(r.size, r.at+r.window)
	r.body, err = r.get(r.at, r.end)
	r.window = min(maxRange, 4*r.window)
	return err
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}
