package awsclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lakefeed/sink/awsclient"
)

const secret = "canary-secret-5b1c"

// environment has nothing of the machine's, and the endpoint given.
func environment(t *testing.T, endpoint string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL_GLUE": "", "AWS_ENDPOINT_URL_ATHENA": "",
	} {
		t.Setenv(name, value)
	}
}

func load(t *testing.T, o awsclient.Options) aws.Config {
	t.Helper()
	cfg, err := awsclient.Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// answering gives a client of a server that always answers this, and the number of
// requests that it got.
func answering(t *testing.T, o awsclient.Options, answer http.HandlerFunc) (*s3.Client, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	environment(t, server.URL)
	client, err := awsclient.S3(load(t, o))
	if err != nil {
		t.Fatal(err)
	}
	return client, &requests
}

func xml(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Request-Id", "REQ42")
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
		}
	}
}

const resource = "s3://bucket/a/key"

func TestExplain(t *testing.T) {
	put := func(ctx context.Context, c *s3.Client) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a/key"), Body: strings.NewReader("x")})
		return err
	}
	head := func(ctx context.Context, c *s3.Client) error {
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a/key")})
		return err
	}
	list := func(ctx context.Context, c *s3.Client) error {
		_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
		return err
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		do     func(context.Context, *s3.Client) error
		kind   error // nil: the error is an answer, and stays as it is
		says   []string
		tries  bool // again
	}{
		{"denied", xml(403, "AccessDenied", "Access Denied."), put, fs.ErrPermission, []string{"need s3:PutObject on " + resource, "AccessDenied", "REQ42"}, false},
		{"denied without a body", xml(403, "", ""), head, fs.ErrPermission, []string{"s3:GetObject", "s3:ListBucket", resource, "HTTP 403"}, false},
		{"denied to list", xml(403, "AccessDenied", "no"), list, fs.ErrPermission, []string{"s3:ListBucket"}, false},
		{"wrong key", xml(403, "InvalidAccessKeyId", "no such key"), put, fs.ErrPermission, []string{"AWS_ACCESS_KEY_ID", resource}, false},
		{"wrong secret", xml(403, "SignatureDoesNotMatch", "no"), put, fs.ErrPermission, []string{"AWS_SECRET_ACCESS_KEY"}, false},
		{"token expired", xml(400, "ExpiredToken", "no"), put, fs.ErrPermission, []string{"AWS_SESSION_TOKEN"}, false},
		{"no bucket", xml(404, "NoSuchBucket", "gone"), put, awsclient.ErrNoBucket, []string{"bucket of " + resource, "does not exist"}, false},
		{"no key", xml(404, "NoSuchKey", "gone"), put, nil, nil, false},
		{"precondition", xml(412, "PreconditionFailed", "there"), put, nil, nil, false},
		{"conflict", xml(409, "ConditionalRequestConflict", "now"), put, nil, nil, true},
		{"slow down", xml(503, "SlowDown", "please"), put, awsclient.ErrThrottled, []string{"slow down", resource}, true},
		{"internal", xml(500, "InternalError", "we"), put, awsclient.ErrUnreachable, []string{"InternalError", resource}, true},
		{"gateway", xml(502, "", ""), put, awsclient.ErrUnreachable, []string{"HTTP 502"}, true},
		{"region", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-3")
			xml(301, "PermanentRedirect", "elsewhere")(w, r)
		}, put, awsclient.ErrConfig, []string{"eu-west-3", "AWS_REGION"}, false},
		{"cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, put, awsclient.ErrUnreachable, []string{"http://127.0.0.1:", resource}, true},
		{"no XML", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>it works</html") }, list, awsclient.ErrUnreachable, []string{resource}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, requests := answering(t, awsclient.Options{Patience: 100 * time.Millisecond}, c.answer)
			raw := c.do(t.Context(), client)
			if raw == nil {
				t.Fatal("no error")
			}
			err := awsclient.Explain(raw, resource)
			if c.kind == nil && err != raw || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%v\nfrom %v\nwant kind %v", err, raw, c.kind)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%q has the secret", err)
			}
			if again := requests.Load() > 1; again != c.tries {
				t.Errorf("%d requests, want more than one: %v", requests.Load(), c.tries)
			}
			if awsclient.Explain(err, "other").Error() != err.Error() {
				t.Error("explained twice it reads differently")
			}
		})
	}
}

func TestNothingThere(t *testing.T) {
	server := httptest.NewServer(nil)
	// A connection that the server ends keeps its port from being given to another.
	if answer, err := http.Get(server.URL); err != nil {
		t.Fatal(err)
	} else {
		answer.Body.Close()
	}
	server.Close()
	environment(t, server.URL)
	client, err := awsclient.S3(load(t, awsclient.Options{Patience: 100 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	err = awsclient.Explain(err, resource)
	if !errors.Is(err, awsclient.ErrUnreachable) || !strings.Contains(err.Error(), server.URL) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

// A service that comes back within the time is waited for.
func TestPatience(t *testing.T) {
	var failed atomic.Int64
	var log bytes.Buffer
	o := awsclient.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	client, requests := answering(t, o, func(w http.ResponseWriter, r *http.Request) {
		if failed.Add(1) <= 3 {
			xml(503, "ServiceUnavailable", "not yet")(w, r)
		}
	})
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: strings.NewReader("x")})
	if err != nil || requests.Load() != 4 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	if !strings.Contains(log.String(), "retrying request") || strings.Contains(log.String(), secret) {
		t.Errorf("log: %s", log.String())
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, _ := answering(t, awsclient.Options{}, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		xml(503, "ServiceUnavailable", "not yet")(w, r)
	})
	_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	if err := awsclient.Explain(err, resource); !errors.Is(err, context.Canceled) || errors.Is(err, awsclient.ErrUnreachable) {
		t.Error(err)
	}
}

func TestNoCredentials(t *testing.T) {
	client, requests := answering(t, awsclient.Options{}, xml(200, "", ""))
	_ = client
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	client, err := awsclient.S3(load(t, awsclient.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	err = awsclient.Explain(err, resource)
	if !errors.Is(err, awsclient.ErrNoCredentials) || !strings.HasPrefix(err.Error(), "no AWS credentials") || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Error(err)
	}
	if requests.Load() != 0 {
		t.Error("a request was sent")
	}
}

func TestConfiguration(t *testing.T) {
	environment(t, "")
	cfg := load(t, awsclient.Options{})
	for name, make := range map[string]func() error{
		"S3":     func() error { _, err := awsclient.S3(cfg); return err },
		"Glue":   func() error { _, err := awsclient.Glue(cfg); return err },
		"Athena": func() error { _, err := awsclient.Athena(cfg); return err },
	} {
		if err := make(); !errors.Is(err, awsclient.ErrConfig) || !strings.Contains(err.Error(), "AWS_REGION") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s without a region: %v", name, err)
		}
	}
	// One service with an endpoint of its own leaves the others at AWS.
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://minio:9000")
	t.Setenv("AWS_REGION", "eu-west-1")
	cfg = load(t, awsclient.Options{})
	own, err := awsclient.S3(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o := own.Options(); !o.UsePathStyle || aws.ToString(o.BaseEndpoint) != "http://minio:9000" || o.RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired || o.Region != "eu-west-1" {
		t.Errorf("S3: %v %v %v %v", o.UsePathStyle, aws.ToString(o.BaseEndpoint), o.RequestChecksumCalculation, o.Region)
	}
	catalog, err := awsclient.Glue(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o := catalog.Options(); o.BaseEndpoint != nil {
		t.Errorf("Glue: %v", *o.BaseEndpoint)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	if own, err = awsclient.S3(load(t, awsclient.Options{})); err != nil {
		t.Fatal(err)
	}
	if o := own.Options(); o.UsePathStyle || o.RequestChecksumCalculation != aws.RequestChecksumCalculationWhenSupported {
		t.Errorf("S3 of AWS: %v %v", o.UsePathStyle, o.RequestChecksumCalculation)
	}
	t.Setenv("AWS_PROFILE", "nobody")
	if _, err := awsclient.Load(t.Context(), awsclient.Options{}); !errors.Is(err, awsclient.ErrConfig) || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a profile that is not there: %v", err)
	}
}

func TestOtherServices(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"__type":%q,"message":"not you"}`, answer)
	}))
	defer server.Close()
	environment(t, server.URL)
	cfg := load(t, awsclient.Options{Patience: 100 * time.Millisecond})
	catalog, err := awsclient.Glue(cfg)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := awsclient.Athena(cfg)
	if err != nil {
		t.Fatal(err)
	}
	answer = "AccessDeniedException"
	_, err = catalog.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("d"), Name: aws.String("t")})
	if err := awsclient.Explain(err, "Glue table d.t"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "glue:GetTable on Glue table d.t") {
		t.Error(err)
	}
	_, err = engine.GetWorkGroup(t.Context(), &athena.GetWorkGroupInput{WorkGroup: aws.String("w")})
	if err := awsclient.Explain(err, "Athena work group w"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "athena:GetWorkGroup") {
		t.Error(err)
	}
	answer = "ThrottlingException"
	_, err = catalog.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("d"), Name: aws.String("t")})
	if err := awsclient.Explain(err, "Glue table d.t"); !errors.Is(err, awsclient.ErrThrottled) {
		t.Error(err)
	}
	answer = "EntityNotFoundException"
	_, err = catalog.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("d"), Name: aws.String("t")})
	if e := awsclient.Explain(err, "Glue table d.t"); e != err || awsclient.Code(e) != "EntityNotFoundException" {
		t.Error(e)
	}
}
