package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
)

// Stage sends body as the parts of an upload to its key, which is not completed:
// until then nobody sees it.
func (s *Store) Stage(ctx context.Context, key string, body io.Reader) (sink.Staged, error) {
	name, limited, cancel, err := s.request(ctx, key)
	defer cancel()
	if err != nil {
		return sink.Staged{}, s.failed(ctx, "stage", key, err)
	}
	out, err := s.client.CreateMultipartUpload(limited, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: name})
	if err == nil && aws.ToString(out.UploadId) == "" {
		err = &awsclient.Error{Kind: awsclient.ErrUnreachable, Reason: "the answer is not one of S3: it has no upload id"}
	}
	if err != nil {
		return sink.Staged{}, s.failed(ctx, "stage", key, err)
	}
	u := &upload{store: s, name: name, id: out.UploadId}
	staged := sink.Staged{Key: key, Upload: aws.ToString(out.UploadId), At: time.Now().UTC()}
	if at, ok := middleware.GetServerTime(out.ResultMetadata); ok {
		staged.At = at.UTC()
	}
	if err := u.send(ctx, body); err != nil {
		// Nothing lists it: it only costs. What cannot be removed now a lifecycle rule
		// of the bucket will.
		aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = s.Discard(aborting, staged)
		return sink.Staged{}, s.failed(ctx, "stage", key, err)
	}
	return u.staged(staged), nil
}

// upload is an upload whose parts are being sent.
type upload struct {
	store *Store
	name  *string
	id    *string

	parts []*part // by number
}

// sized is a body that says how long it is, and of which parts can be read at
// once: no memory is needed for them.
type sized interface {
	io.ReaderAt
	Len() int    // what is left to read
	Size() int64 // of all
}

// send sends all of a body, several parts at once.
func (u *upload) send(ctx context.Context, body io.Reader) error {
	group, sending := errgroup.WithContext(ctx)
	var err error
	if b, ok := body.(sized); ok {
		err = u.sections(sending, group, b)
	} else {
		err = u.buffers(sending, group, body)
	}
	// When a part fails, that is why all else ends.
	if e := group.Wait(); e != nil {
		return e
	}
	return err
}

// sections sends the parts of a body whose length is known.
func (u *upload) sections(ctx context.Context, group *errgroup.Group, body sized) error {
	left := int64(body.Len())
	at := body.Size() - left
	size := max(u.store.partSize, (left+maxParts-1)/maxParts)
	for first := true; first || left > 0; first = false {
		slot, err := u.store.slot(ctx)
		if err != nil {
			return err
		}
		n := min(size, left)
		u.part(ctx, group, slot, io.NewSectionReader(body, at, n))
		at, left = at+n, left-n
	}
	return nil
}

// buffers sends the parts of a body that is a mere stream.
func (u *upload) buffers(ctx context.Context, group *errgroup.Group, body io.Reader) error {
	for {
		slot, err := u.store.slot(ctx)
		if err != nil {
			return err
		}
		if int64(len(slot)) < u.nextSize() {
			slot = make([]byte, u.nextSize())
		}
		n, err := io.ReadFull(body, slot[:u.nextSize()])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			u.store.slots <- slot
			return err
		}
		if n > 0 || len(u.parts) == 0 {
			u.part(ctx, group, slot, bytes.NewReader(slot[:n]))
		} else {
			u.store.slots <- slot
		}
		if last {
			return nil
		}
	}
}

// nextSize is the size of a stream's next part. It doubles every so many parts,
// so that the parts that an upload can have are enough for anything.
func (u *upload) nextSize() int64 {
	return min(maxPartSize, u.store.partSize<<(len(u.parts)/(maxParts/10)))
}

// slot waits until another part may be in flight.
func (s *Store) slot(ctx context.Context) ([]byte, error) {
	select {
	case slot := <-s.slots:
		return slot, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// part sends the next part, and gives its slot back when it is through.
func (u *upload) part(ctx context.Context, group *errgroup.Group, slot []byte, body io.ReadSeeker) {
	p := &part{number: int32(len(u.parts) + 1)}
	u.parts = append(u.parts, p)
	group.Go(func() error {
		defer func() { u.store.slots <- slot }()
		return u.sendPart(ctx, p, body)
	})
}

// part is a part that is being sent, or was.
type part struct {
	number int32
	etag   string
	size   int64
	sum    [md5.Size]byte
}

func (u *upload) sendPart(ctx context.Context, p *part, body io.ReadSeeker) error {
	hash := md5.New()
	var err error
	if p.size, err = io.Copy(hash, body); err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	hash.Sum(p.sum[:0])
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	out, err := u.store.client.UploadPart(limited, &s3.UploadPartInput{
		Bucket: &u.store.bucket, Key: u.name, UploadId: u.id, PartNumber: &p.number,
		Body: body, ContentLength: &p.size, ContentMD5: aws.String(base64.StdEncoding.EncodeToString(p.sum[:])),
	})
	if err != nil {
		return err
	}
	p.etag = aws.ToString(out.ETag)
	return checkETag(out.ETag)
}

// staged is what was sent.
func (u *upload) staged(s sink.Staged) sink.Staged {
	all := md5.New()
	known := true
	for _, p := range u.parts {
		s.Parts = append(s.Parts, sink.Part{Number: p.number, ETag: p.etag})
		s.Size += p.size
		all.Write(p.sum[:])
		known = known && plain(p.etag) == hex.EncodeToString(p.sum[:])
	}
	// An object's ETag is the MD5 of its parts' MD5 sums, where the parts' are: those
	// of encrypted parts may be anything.
	if known {
		s.ETag = `"` + hex.EncodeToString(all.Sum(nil)) + "-" + strconv.Itoa(len(u.parts)) + `"`
	}
	return s
}

// plain is an ETag without its quotation marks, which not every store gives.
func plain(etag string) string { return strings.Trim(etag, `"`) }

// lostChecks is how often an object is looked for whose upload is gone, before it
// is lost: another process may be about to complete it.
const lostChecks = 4

// Publish completes an upload, and makes sure that the object is the one that was
// staged.
func (s *Store) Publish(ctx context.Context, staged sink.Staged) error {
	err := s.complete(ctx, staged)
	if awsclient.Status(err) >= 500 {
		// Some stores fail at an upload that they do not have.
		if e := s.find(ctx, staged); gone(e) {
			err = e
		}
	}
	if err != nil && !answered(err) {
		return s.failed(ctx, "publish", staged.Key, err)
	}
	for try := 1; ; try++ {
		found, headErr := s.head(ctx, staged.Key)
		switch {
		case headErr == nil && same(staged, found):
			return nil
		case headErr == nil:
			return fmt.Errorf("publish %s: there is another object: it has %d bytes and ETag %s, want %d bytes and ETag %s; nothing of lakefeed's makes one there, so look who did",
				s.uri(staged.Key), aws.ToInt64(found.ContentLength), aws.ToString(found.ETag), staged.Size, staged.ETag)
		case !errors.Is(headErr, sink.ErrNotExist):
			return s.failed(ctx, "publish", staged.Key, headErr)
		case err != nil && !gone(err):
			return s.failed(ctx, "publish", staged.Key, err)
		case try == lostChecks && err == nil:
			return s.failed(ctx, "publish", staged.Key, errNoObject)
		case try == lostChecks:
			return fmt.Errorf("publish %s: %w", s.uri(staged.Key), sink.ErrLost)
		}
		if e := sleep(ctx, 50*time.Millisecond<<try); e != nil {
			return s.failed(ctx, "publish", staged.Key, e)
		}
	}
}

var errNoObject = &awsclient.Error{Kind: awsclient.ErrUnreachable, Reason: "the store says that it is done, but there is no object (is the endpoint right, and is there a proxy on the way?)"}

func (s *Store) complete(ctx context.Context, staged sink.Staged) error {
	name, limited, cancel, err := s.request(ctx, staged.Key)
	defer cancel()
	if err != nil {
		return err
	}
	if staged.Upload == "" || len(staged.Parts) == 0 {
		return errors.New("it was not staged in a bucket")
	}
	parts := make([]types.CompletedPart, len(staged.Parts))
	for i, p := range staged.Parts {
		parts[i] = types.CompletedPart{PartNumber: aws.Int32(p.Number), ETag: aws.String(p.ETag)}
	}
	_, err = s.client.CompleteMultipartUpload(limited, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: name, UploadId: &staged.Upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// find looks for an upload.
func (s *Store) find(ctx context.Context, staged sink.Staged) error {
	name, limited, cancel, err := s.request(ctx, staged.Key)
	defer cancel()
	if err != nil {
		return err
	}
	_, err = s.client.ListParts(limited, &s3.ListPartsInput{Bucket: &s.bucket, Key: name, UploadId: &staged.Upload, MaxParts: aws.Int32(1)})
	return err
}

// FindStaged says whether there is an upload.
func (s *Store) FindStaged(ctx context.Context, staged sink.Staged) (bool, error) {
	err := s.find(ctx, staged)
	if err != nil && gone(err) {
		return false, nil
	}
	if err != nil {
		return false, s.failed(ctx, "find staged", staged.Key, err)
	}
	return true, nil
}

// answered says whether an error is the store's answer about the upload. What is
// there then tells what it means: a store may say of an upload that is completed
// that there is none, or that its parts are not valid.
func answered(err error) bool {
	if _, ok := errors.AsType[*awsclient.Error](awsclient.Explain(err, "")); ok {
		return false
	}
	status := awsclient.Status(err)
	return status >= 400 && status < 500
}

// gone says whether an error says that there is no such upload.
func gone(err error) bool {
	return awsclient.Code(err) == "NoSuchUpload" || awsclient.Status(err) == http.StatusNotFound && awsclient.Code(err) != "NoSuchBucket"
}

// same says whether an object is what was staged. The key is that of one attempt,
// so that the size tells enough where the ETag is not known.
func same(staged sink.Staged, found *s3.HeadObjectOutput) bool {
	return aws.ToInt64(found.ContentLength) == staged.Size && (staged.ETag == "" || plain(aws.ToString(found.ETag)) == plain(staged.ETag))
}

// Discard aborts an upload.
func (s *Store) Discard(ctx context.Context, staged sink.Staged) error {
	name, limited, cancel, err := s.request(ctx, staged.Key)
	defer cancel()
	if err == nil && staged.Upload == "" {
		err = errors.New("it was not staged in a bucket")
	}
	if err == nil {
		_, err = s.client.AbortMultipartUpload(limited, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: name, UploadId: &staged.Upload})
	}
	if err != nil && !gone(err) {
		return s.failed(ctx, "discard", staged.Key, err)
	}
	return nil
}
