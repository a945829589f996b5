package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
)

// probeKey is the object that two try to create. Once it is there, the store has
// passed.
const probeKey = sink.Root + "/store/probe.json"

// probeAttempts is how often the first request of all is sent: a wrong endpoint
// should be told soon.
const probeAttempts = 6

// ErrUnfit is a store in which a lake cannot be: rows would be lost or doubled.
var ErrUnfit = errors.New("the store cannot hold a lake")

// Probe checks that the store does what a lake relies on: that of two who create
// an object one fails, and that uploads stay invisible until they are completed. A
// lake that has passed is asked with two requests, a new one with a few more.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.probe(ctx); err != nil {
		return fmt.Errorf("open lake %s: %w", s, err)
	}
	return nil
}

func (s *Store) probe(ctx context.Context) error {
	quick, o := *s, s.client.Options()
	o.Retryer = retry.AddWithMaxAttempts(o.Retryer, probeAttempts)
	quick.client = s3.New(o)
	_, err := quick.Stat(ctx, probeKey)
	switch {
	case errors.Is(err, sink.ErrNotExist):
		if err := s.probeUploads(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	// The first of the two makes the object in a lake that is new.
	for range 2 {
		err := s.Create(ctx, probeKey, []byte(`{"v":1}`))
		switch {
		case errors.Is(err, sink.ErrExists):
			return nil
		case unsupported(err):
			return unfit("it does not know conditional writes (PutObject with If-None-Match)", err)
		case err != nil:
			return err
		}
	}
	return unfit("it ignores conditions of writes (PutObject with If-None-Match: *): an object was created that was there already", nil)
}

// probeUploads stages and publishes a small object, and removes it if it may.
func (s *Store) probeUploads(ctx context.Context) error {
	key := sink.Root + "/store/upload-" + rand.Text()
	staged, err := s.Stage(ctx, key, strings.NewReader("ok"))
	if unsupported(err) {
		return unfit("it does not know multipart uploads", err)
	}
	if err != nil {
		return err
	}
	if _, err := s.Stat(ctx, key); err == nil {
		return unfit("an upload is visible before it is completed", nil)
	} else if !errors.Is(err, sink.ErrNotExist) {
		return err
	}
	for range 2 {
		if err := s.Publish(ctx, staged); err != nil {
			return err
		}
	}
	_ = s.Delete(ctx, key) // a lake needs no right to delete
	return nil
}

// unsupported says whether a store refuses a request as one that it does not know.
func unsupported(err error) bool {
	status := awsclient.Status(err)
	return status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed || status == http.StatusBadRequest && awsclient.Code(err) == "InvalidArgument"
}

func unfit(why string, err error) error {
	text := why
	if err != nil {
		text += ": " + err.Error()
	}
	return fmt.Errorf("%w: %s; use S3, MinIO or another store that has them, or a folder", ErrUnfit, text)
}
