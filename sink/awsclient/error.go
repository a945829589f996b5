package awsclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// The kinds of errors that have nothing to do with what was asked. One that the
// credentials forbid is fs.ErrPermission.
var (
	// ErrUnreachable: the service did not answer, or failed, for as long as the
	// client is patient. Whether a request was carried out is unknown.
	ErrUnreachable = errors.New("service not reachable")
	// ErrThrottled: the service asked to slow down for as long as the client is
	// patient.
	ErrThrottled = errors.New("service throttles requests")
	// ErrNoCredentials: there is nothing to sign requests with.
	ErrNoCredentials = errors.New("no credentials")
	// ErrNoBucket: the bucket does not exist.
	ErrNoBucket = errors.New("no such bucket")
	// ErrConfig: the AWS configuration is wrong or lacks something.
	ErrConfig = errors.New("AWS configuration")
)

// Error is an error of one of these kinds, for the reader.
type Error struct {
	Kind   error
	Reason string
	Err    error // the SDK's, if there is one
}

func (e *Error) Error() string { return e.Reason }

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Explain turns the SDK's error about a resource ("s3://bucket/key", "Glue table
// a.b") into one of ours. Errors that are an answer to what was asked, such as "no
// such key" or "precondition failed", are given back as they are, as is nil.
func Explain(err error, resource string) error {
	if _, ok := errors.AsType[*Error](err); err == nil || ok {
		return unwrapped(err)
	}
	var (
		code   = Code(err)
		status = Status(err)
		answer = describe(err)
	)
	explained := func(kind error, format string, args ...any) error {
		return &Error{Kind: kind, Err: err, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case errors.Is(err, context.Canceled) || isCanceled(err) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case code == "NoSuchBucket":
		return explained(ErrNoBucket, "the bucket of %s does not exist (%s): create it, or look at its name and at the endpoint", resource, answer)
	case slices.Contains(refused, code):
		return explained(fs.ErrPermission, "the AWS credentials are not accepted for %s (%s): look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE", resource, answer)
	case code == "RequestTimeTooSkewed":
		return explained(fs.ErrPermission, "the request for %s is refused because the clocks differ (%s): set the clock of this machine", resource, answer)
	case slices.Contains(throttling, code) || status == http.StatusTooManyRequests:
		return explained(ErrThrottled, "%s: the service asks to slow down, and went on to do so (%s): run it again later, with fewer processes, or raise the limit", resource, answer)
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect || code == "AuthorizationHeaderMalformed" || code == "PermanentRedirect":
		return explained(ErrConfig, "%s is in another region%s (%s): set AWS_REGION", resource, regionOf(err), answer)
	case slices.Contains(denied, code) || status == http.StatusForbidden || status == http.StatusUnauthorized:
		return explained(fs.ErrPermission, "access denied: the credentials need %s on %s (%s)", Action(err), resource, answer)
	case status == http.StatusNotImplemented:
		return explained(ErrUnreachable, "the store of %s does not know what is asked of it (%s)", resource, answer)
	case status >= 500:
		return explained(ErrUnreachable, "the service failed for %s, again and again (%s)", resource, answer)
	case isConnection(err):
		return explained(ErrUnreachable, "%s", connection(err, resource))
	}
	return err
}

// unwrapped takes what the SDK wraps around an error of ours away.
func unwrapped(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return err
}

var (
	denied = []string{"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedAccess", "NotAuthorized"}

	refused = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired",
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "AuthFailure"}

	throttling = []string{"SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded"}
)

// Code is the service's code of an error, or "".
func Code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// Status is the HTTP status of an answer that is an error, or 0 if there was none.
func Status(err error) int {
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && e.Response != nil {
		return e.HTTPStatusCode()
	}
	return 0
}

// Action is the IAM action, or the actions, that a failed request needs.
func Action(err error) string {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return "more rights"
	}
	service := strings.ToLower(op.ServiceID)
	if service == "s3" {
		switch op.OperationName {
		case "HeadObject", "GetObject":
			return "s3:GetObject (and s3:ListBucket, without which a missing object looks like a forbidden one)"
		case "ListObjectsV2", "ListObjects", "HeadBucket":
			return "s3:ListBucket"
		case "ListMultipartUploads":
			return "s3:ListBucketMultipartUploads"
		case "ListParts":
			return "s3:ListMultipartUploadParts"
		case "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject":
			return "s3:PutObject"
		case "GetBucketLifecycleConfiguration":
			return "s3:GetLifecycleConfiguration"
		}
	}
	return service + ":" + op.OperationName
}

// describe is the service's answer in a few words. An answer without a body has
// but its status.
func describe(err error) string {
	var parts []string
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		text := e.ErrorCode()
		if m := e.ErrorMessage(); m != "" && m != text {
			text += ": " + strings.TrimSuffix(m, ".")
		}
		parts = append(parts, text)
	}
	if status := Status(err); status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", status))
	}
	if e, ok := errors.AsType[*awshttp.ResponseError](err); ok && e.RequestID != "" {
		parts = append(parts, "request "+e.RequestID)
	}
	if len(parts) == 0 {
		return err.Error()
	}
	return strings.Join(parts, ", ")
}

func regionOf(err error) string {
	e, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || e.Response == nil {
		return ""
	}
	if r := e.Response.Header.Get("X-Amz-Bucket-Region"); r != "" {
		return ", " + r
	}
	return ""
}

// isCanceled says whether a request ended because its context was canceled.
func isCanceled(err error) bool {
	_, ok := errors.AsType[*smithy.CanceledError](err)
	return ok
}

// isConnection says whether there was no whole answer.
func isConnection(err error) bool {
	if Status(err) != 0 && Code(err) != "" {
		return false
	}
	_, send := errors.AsType[*smithyhttp.RequestSendError](err)
	_, network := errors.AsType[net.Error](err)
	_, deserialize := errors.AsType[*smithy.DeserializationError](err)
	return send || network || deserialize || errors.Is(err, context.DeadlineExceeded)
}

// connection says which endpoint did not answer, and why.
func connection(err error, resource string) string {
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return fmt.Sprintf("the service did not answer for %s: %v", resource, err)
	}
	at := "the service"
	if u, err := url.Parse(e.URL); err == nil {
		at = u.Scheme + "://" + u.Host
	}
	return fmt.Sprintf("%s does not answer for %s: %v (is it running, and is AWS_ENDPOINT_URL or AWS_REGION right?)", at, resource, e.Err)
}
