// Package s3 is a lake in a bucket of S3, or of a store that speaks its protocol
// and has conditional writes.
package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
)

var (
	_ sink.Store            = (*Store)(nil)
	_ sink.StagedFinder     = (*Store)(nil)
	_ sink.StagedLister     = (*Store)(nil)
	_ sink.LifecycleChecker = (*Store)(nil)
)

// Config says which lake, and what its uploads may take.
type Config struct {
	Bucket string
	Prefix string // of all keys; "" or without slashes at its ends

	// PartSize is the size of an upload's parts in bytes, but for the last one. S3
	// takes 5 MiB or more. 0: 8 MiB.
	PartSize int64
	// Memory bounds the parts in flight, of all uploads together, in bytes; one part
	// may always be. 0: 32 MiB.
	Memory int64
}

const (
	defaultPartSize = 8 << 20
	defaultMemory   = 32 << 20

	maxParts     = 10_000
	maxPartSize  = 5 << 30
	maxInFlight  = 16
	requestLimit = 5 * time.Minute // of one operation, repeated requests included
)

// ParseURI takes s3://bucket/prefix apart.
func ParseURI(uri string) (Config, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" {
		return Config{}, fmt.Errorf("%q is no URI of a bucket: want s3://bucket or s3://bucket/prefix", uri)
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" && !fs.ValidPath(prefix) {
		return Config{}, fmt.Errorf("%q is no URI of a lake: its prefix has an empty name, . or .. in it", uri)
	}
	return Config{Bucket: u.Host, Prefix: prefix}, nil
}

// Store is a lake below a prefix of a bucket. Any number of processes may use one
// at once.
type Store struct {
	client *s3.Client
	bucket string
	prefix string // "" or with a slash at its end

	partSize int64
	slots    chan []byte // one for each part that may be in flight, with its buffer if it has had one
}

// New gives the store; it asks nothing of the service. See [Store.Probe].
func New(cfg aws.Config, c Config) (*Store, error) {
	client, err := awsclient.S3(cfg)
	if err != nil {
		return nil, fmt.Errorf("open lake s3://%s: %w", c.Bucket, err)
	}
	o := client.Options()
	s := &Store{bucket: c.Bucket, prefix: c.Prefix, partSize: c.PartSize}
	if s.prefix != "" {
		s.prefix += "/"
	}
	// Whoever completes an upload would have to know the checksums of its parts, and
	// a record has but their ETags. Content-MD5 guards them on their way.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	s.client = s3.New(o)
	if s.partSize == 0 {
		s.partSize = defaultPartSize
	}
	memory := c.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	s.slots = make(chan []byte, min(maxInFlight, max(1, memory/s.partSize)))
	for range cap(s.slots) {
		s.slots <- nil
	}
	return s, nil
}

// String is the lake's URI.
func (s *Store) String() string {
	return strings.TrimSuffix("s3://"+s.bucket+"/"+s.prefix, "/")
}

// name is a key's name in the bucket.
func (s *Store) name(key string) (*string, error) {
	if !fs.ValidPath(key) || key == "." || strings.ContainsRune(key, 0) {
		return nil, fmt.Errorf("key %q is not valid", key)
	}
	return aws.String(s.prefix + key), nil
}

func (s *Store) uri(key string) string { return "s3://" + s.bucket + "/" + s.prefix + key }

// request is what one operation is done with: a name in the bucket, and a context
// that ends when a service that neither answers nor hangs up has had its time.
func (s *Store) request(ctx context.Context, key string) (name *string, limited context.Context, cancel context.CancelFunc, err error) {
	limited, cancel = context.WithTimeout(ctx, requestLimit)
	if err = ctx.Err(); err == nil {
		name, err = s.name(key)
	}
	return name, limited, cancel, err
}

// failed is the error of an operation on a key, for the reader.
func (s *Store) failed(ctx context.Context, verb, key string, err error) error {
	return fmt.Errorf("%s %s: %w", verb, s.uri(key), explain(ctx, err, s.uri(key)))
}

func explain(ctx context.Context, err error, uri string) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	err = awsclient.Explain(err, uri)
	if _, ok := errors.AsType[*awsclient.Error](err); ok {
		return &givenUp{err}
	}
	return err
}

// givenUp is an error of a service that was tried for as long as clients are
// patient, or that a person must mend.
type givenUp struct{ err error }

func (e *givenUp) Error() string   { return e.err.Error() }
func (e *givenUp) Unwrap() []error { return []error{e.err, sink.ErrGivenUp} }

// Create puts an object under a name that has none. A request that the client
// sends again may meet its own object, so that ErrExists says only that there is
// one: whose it is, its body tells.
func (s *Store) Create(ctx context.Context, key string, body []byte) error {
	err := s.put(ctx, key, body, aws.String("*"))
	if awsclient.Status(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("create %s: %w", s.uri(key), sink.ErrExists)
	}
	if err != nil {
		return s.failed(ctx, "create", key, err)
	}
	return nil
}

// Put puts an object under a name.
func (s *Store) Put(ctx context.Context, key string, body []byte) error {
	if err := s.put(ctx, key, body, nil); err != nil {
		return s.failed(ctx, "put", key, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, body []byte, ifNoneMatch *string) error {
	name, limited, cancel, err := s.request(ctx, key)
	defer cancel()
	if err != nil {
		return err
	}
	out, err := s.client.PutObject(limited, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: name, Body: bytes.NewReader(body), ContentMD5: aws.String(contentMD5(body)), IfNoneMatch: ifNoneMatch,
	})
	if err != nil {
		return err
	}
	return checkETag(out.ETag)
}

// checkETag refuses an answer that says "done" without the one thing that every
// such answer has: it is not S3's, or not whole.
func checkETag(etag *string) error {
	if aws.ToString(etag) == "" {
		return errNoETag
	}
	return nil
}

var errNoETag = &awsclient.Error{Kind: awsclient.ErrUnreachable, Reason: "the answer is not one of S3: it has no ETag (is the endpoint right, and is there a proxy on the way?)"}

func contentMD5(body []byte) string {
	sum := md5.Sum(body)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// bodyTries is how often an object is read whose body breaks off.
const bodyTries = 8

// Get reads an object.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	for try := 1; ; try++ {
		body, cut, err := s.get(ctx, key)
		if err == nil {
			return body, nil
		}
		if awsclient.Status(err) == http.StatusNotFound && awsclient.Code(err) != "NoSuchBucket" {
			return nil, fmt.Errorf("get %s: %w", s.uri(key), sink.ErrNotExist)
		}
		if !cut || try == bodyTries || ctx.Err() != nil {
			return nil, s.failed(ctx, "get", key, err)
		}
		delay, _ := s.client.Options().Retryer.RetryDelay(try, err)
		if err := sleep(ctx, delay); err != nil {
			return nil, s.failed(ctx, "get", key, err)
		}
	}
}

// get reads an object once. The client does not notice when the body is cut.
func (s *Store) get(ctx context.Context, key string) (body []byte, cut bool, err error) {
	name, limited, cancel, err := s.request(ctx, key)
	defer cancel()
	if err != nil {
		return nil, false, err
	}
	out, err := s.client.GetObject(limited, &s3.GetObjectInput{Bucket: &s.bucket, Key: name})
	if err != nil {
		return nil, false, err
	}
	defer out.Body.Close()
	if err := checkETag(out.ETag); err != nil {
		return nil, true, err
	}
	body, err = io.ReadAll(out.Body)
	if err != nil {
		return nil, true, &awsclient.Error{Kind: awsclient.ErrUnreachable, Err: err, Reason: fmt.Sprintf("its body breaks off after %d bytes: %v", len(body), err)}
	}
	return body, false, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stat gives an object's size.
func (s *Store) Stat(ctx context.Context, key string) (sink.Object, error) {
	out, err := s.head(ctx, key)
	if err != nil {
		return sink.Object{}, s.failed(ctx, "stat", key, err)
	}
	return sink.Object{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

// head asks for an object; ErrNotExist if there is none.
func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	name, limited, cancel, err := s.request(ctx, key)
	defer cancel()
	if err != nil {
		return nil, err
	}
	in := &s3.HeadObjectInput{Bucket: &s.bucket, Key: name}
	out, err := s.client.HeadObject(limited, in)
	if status := awsclient.Status(err); status == http.StatusForbidden || status == http.StatusBadRequest {
		// To a HEAD the store gives no reason. If there is none any more, again.
		if err = s.reason(limited, name); err == nil {
			out, err = s.client.HeadObject(limited, in)
		}
	}
	switch {
	case awsclient.Status(err) == http.StatusNotFound:
		return nil, sink.ErrNotExist
	case err != nil:
		return nil, err
	}
	return out, checkETag(out.ETag)
}

// reason asks for an object in a way that the store refuses with a reason.
func (s *Store) reason(ctx context.Context, name *string) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: name, Range: aws.String("bytes=0-0")})
	if err != nil && awsclient.Status(err) != http.StatusRequestedRangeNotSatisfiable { // of an empty object there is no byte
		return err
	}
	if err == nil {
		out.Body.Close()
	}
	return nil
}

// List asks for pages of 1,000 objects. What the bucket has below the prefix that
// cannot be an object of a store, such as the folders that consoles make, is left
// out.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[sink.Object, error] {
	return func(yield func(sink.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)}
		if after != "" {
			in.StartAfter = aws.String(s.prefix + after)
		}
		for {
			page, err := s.page(ctx, in)
			if err != nil {
				yield(sink.Object{}, s.failed(ctx, "list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				key := strings.TrimPrefix(aws.ToString(o.Key), s.prefix)
				if !fs.ValidPath(key) || key == "." {
					continue
				}
				if !yield(sink.Object{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) || aws.ToString(page.NextContinuationToken) == "" {
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

func (s *Store) page(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	out, err := s.client.ListObjectsV2(limited, in)
	if err == nil && out.Name == nil {
		err = &awsclient.Error{Kind: awsclient.ErrUnreachable, Reason: "the answer is not one of S3: it names no bucket (is the endpoint right, and is there a proxy on the way?)"}
	}
	return out, err
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, key string) error {
	name, limited, cancel, err := s.request(ctx, key)
	defer cancel()
	if err == nil {
		_, err = s.client.DeleteObject(limited, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: name})
	}
	if err != nil && !(awsclient.Status(err) == http.StatusNotFound && awsclient.Code(err) != "NoSuchBucket") {
		return s.failed(ctx, "delete", key, err)
	}
	return nil
}
