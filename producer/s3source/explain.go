package s3source

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lakefeed/producer"
	"lakefeed/sink/awsclient"
)

// unreachable is an error that the source's other objects would meet as well.
type unreachable struct{ error }

func (u unreachable) Unwrap() error        { return u.error }
func (u unreachable) Is(target error) bool { return target == producer.ErrSource }

// explain says what an error about a key means. id is that of the version that was
// asked for.
func (k *key) explain(err error, id string) error {
	code, status := awsclient.Code(err), awsclient.Status(err)
	text := strings.ToLower(err.Error())
	switch {
	case code == "NoSuchBucket":
		return k.source.explain(err, k.resource())
	case status == http.StatusPreconditionFailed:
		return producer.ErrChanged
	case status == http.StatusNotFound:
		return fmt.Errorf("%s is not there any more: it was removed since it was listed: %w", k.resource(), fs.ErrNotExist)
	case code == "InvalidObjectState":
		return fmt.Errorf("%s is archived%s and cannot be read: restore it (s3:RestoreObject, aws s3api restore-object), and run this again", k.resource(), class(err))
	case strings.HasPrefix(code, "KMS."):
		return fmt.Errorf("%s is encrypted with a KMS key that cannot be used: %w", k.resource(), err)
	case status == http.StatusForbidden && strings.Contains(text, "kms"):
		return &denied{fmt.Sprintf("access denied: %s is encrypted with a KMS key for which the credentials need kms:Decrypt", k.resource()), err}
	case status == http.StatusBadRequest && strings.Contains(text, "server side encryption"):
		return &denied{fmt.Sprintf("%s is encrypted with a key that only its owner has (SSE-C), and cannot be read without it: store it again with a key that S3 keeps", k.resource()), err}
	case status == http.StatusForbidden && id != "" && (code == "AccessDenied" || code == "Forbidden"):
		return &denied{fmt.Sprintf("access denied: the credentials need s3:GetObjectVersion on %s, whose bucket keeps versions (version %s)", k.resource(), id), err}
	}
	return k.source.explain(err, k.resource())
}

// explain says what an error about a resource of the source means.
func (s *Source) explain(err error, resource string) error {
	err = awsclient.Explain(err, resource)
	for _, kind := range []error{awsclient.ErrUnreachable, awsclient.ErrThrottled, awsclient.ErrNoCredentials, awsclient.ErrNoBucket, awsclient.ErrConfig} {
		if errors.Is(err, kind) {
			return unreachable{err}
		}
	}
	return err
}

// denied is an error of missing rights, for the reader.
type denied struct {
	reason string
	err    error // the SDK's
}

func (d *denied) Error() string   { return d.reason }
func (d *denied) Unwrap() []error { return []error{fs.ErrPermission, d.err} }

// class is an archived object's storage class, where the store says it.
func class(err error) string {
	if e, ok := errors.AsType[*types.InvalidObjectState](err); ok && e.StorageClass != "" {
		return fmt.Sprintf(" (%s)", e.StorageClass)
	}
	return ""
}
