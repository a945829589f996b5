// Package awsclient makes clients of AWS services, and of what speaks their
// protocols, the way all of lakefeed wants them: found as every AWS tool finds its
// credentials and endpoints, patient for a bounded time, and with errors that say
// what to do.
package awsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

const (
	// Patience is how long a request is repeated, at the least, while the service
	// cannot be reached, fails, or asks to slow down.
	Patience = time.Minute

	dialTimeout = 5 * time.Second
	readTimeout = 20 * time.Second // without a byte from the service
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 5 * time.Second
)

// Options say how clients behave. The zero value is the default.
type Options struct {
	Patience time.Duration // 0: Patience
	Log      *slog.Logger  // hears of repeated requests at level debug; nil: nobody does
	Rate     int           // requests a second at most, of all clients made of it together; 0: any number
}

// Load finds credentials, region and endpoints where every AWS tool looks:
// environment, shared files, and the role of the machine. It asks no service.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	if o.Patience == 0 {
		o.Patience = Patience
	}
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 64 }).
		WithReadTimeout(readTimeout)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer { return retryer(o.Patience) }),
		config.WithLogger(logging.Nop{}),
	}
	if o.Log != nil {
		options = append(options, config.WithLogger(logger{o.Log}), config.WithClientLogMode(aws.LogRetries))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, &Error{Kind: ErrConfig, Err: err, Reason: fmt.Sprintf("the AWS configuration cannot be used: %v (look at AWS_PROFILE and the AWS_ variables)", err)}
	}
	cfg.Credentials = credentials{cfg.Credentials}
	if o.Rate > 0 {
		cfg.APIOptions = append(cfg.APIOptions, newPace(o.Rate).attach)
	}
	return cfg, nil
}

// S3 is a client of S3. With an endpoint of its own (AWS_ENDPOINT_URL,
// AWS_ENDPOINT_URL_S3) the bucket stands in the path, and only those checksums are
// sent that the protocol demands: not every store knows the others.
func S3(cfg aws.Config) (*s3.Client, error) {
	c := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Region = region(o.Region, o.BaseEndpoint)
		if o.BaseEndpoint != nil {
			o.UsePathStyle = true
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
		// "Another request for this key is under way: send it again." The last is what an
		// answer to HEAD is called, which has no code of its own.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict", "OperationAborted", "Conflict")
	})
	return c, check("S3", c.Options().Region, c.Options().BaseEndpoint)
}

// Glue is a client of the Glue Data Catalog (AWS_ENDPOINT_URL_GLUE).
func Glue(cfg aws.Config) (*glue.Client, error) {
	c := glue.NewFromConfig(cfg, func(o *glue.Options) { o.Region = region(o.Region, o.BaseEndpoint) })
	return c, check("Glue", c.Options().Region, c.Options().BaseEndpoint)
}

// Athena is a client of Athena (AWS_ENDPOINT_URL_ATHENA).
func Athena(cfg aws.Config) (*athena.Client, error) {
	c := athena.NewFromConfig(cfg, func(o *athena.Options) { o.Region = region(o.Region, o.BaseEndpoint) })
	return c, check("Athena", c.Options().Region, c.Options().BaseEndpoint)
}

// region is what requests are signed for. Stores with an endpoint of their own
// take the one that AWS began with, unless they are told another.
func region(configured string, endpoint *string) string {
	if configured == "" && endpoint != nil {
		return "us-east-1"
	}
	return configured
}

// check says what is missing or wrong in what a client is made with.
func check(service, region string, endpoint *string) error {
	if region == "" {
		return &Error{Kind: ErrConfig, Reason: fmt.Sprintf("no AWS region is configured for %s: set AWS_REGION", service)}
	}
	if endpoint == nil {
		return nil
	}
	where := "AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_" + strings.ToUpper(service)
	u, err := url.Parse(*endpoint)
	switch {
	case err == nil && u.User != nil:
		return &Error{Kind: ErrConfig, Reason: fmt.Sprintf("the endpoint %s of %s has a user and a password in it (%s): leave them out; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", u.Redacted(), service, where)}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return &Error{Kind: ErrConfig, Reason: fmt.Sprintf("the endpoint %q of %s is no URL (%s): want one such as http://localhost:9000", (*endpoint)[strings.LastIndexByte(*endpoint, '@')+1:], service, where)}
	}
	return nil
}

// retryer repeats requests until at least patience has gone by. There is no quota
// over all requests: one that is out of retries during an outage would end what
// only had to wait.
func retryer(patience time.Duration) aws.Retryer {
	attempts := 1
	for waited := time.Duration(0); waited < patience; attempts++ {
		waited += delay(attempts) * 3 / 4
	}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return time.Duration(float64(delay(attempt)) * (0.75 + 0.25*rand.Float64())), nil
		})
		// A name that is unknown now may be one of a service that is just starting.
		unknownName := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
				return aws.TrueTernary
			}
			return aws.UnknownTernary
		})
		// An answer that is not whole, or not one at all.
		unreadable := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
				return aws.TrueTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{retry.NoRetryCanceledError{}, unknownName}, append(o.Retryables, unreadable)...)
	})
}

// delay is the longest wait after so many attempts.
func delay(attempts int) time.Duration {
	return min(maxDelay, time.Duration(float64(firstDelay)*math.Pow(2, float64(attempts-1))))
}

// credentials says, where there are none, what to set. The cause is kept as text
// only: as an error it would count as a failed connection, which is repeated.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		return got, err
	}
	return got, &Error{Kind: ErrNoCredentials, Reason: fmt.Sprintf(
		"no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them (%v)", err)}
}

// logger takes what the SDK says about repeated requests into ours.
type logger struct{ log *slog.Logger }

func (l logger) Logf(_ logging.Classification, format string, args ...any) {
	l.log.Debug("aws", "message", fmt.Sprintf(format, args...))
}
