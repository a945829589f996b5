package s3_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lakefeed/deploy/testbed/s3test"
	"lakefeed/sink"
	"lakefeed/sink/awsclient"
	"lakefeed/sink/s3"
	"lakefeed/sink/sinktest"
)

// impatient is a retryer that does not wait.
type impatient struct{ aws.RetryerV2 }

func (impatient) RetryDelay(int, error) (time.Duration, error) { return time.Millisecond, nil }

// open gives a store in a new bucket of a server, asked through a handler.
func open(t testing.TB, server *s3test.Server, through http.Handler, c s3.Config) *s3.Store {
	t.Helper()
	if c.Bucket == "" {
		c.Bucket = "lake"
		server.MakeBucket(c.Bucket)
	}
	store, err := s3.New(config(t, s3test.Serve(t, through)), c)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

// config is that of an AWS client, with nothing of this machine's own.
func config(t testing.TB, endpoint string) aws.Config {
	t.Helper()
	// Which request is the third hangs on all that are under way: one may be it several
	// times in a row.
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Patience: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	patient := cfg.Retryer
	cfg.Retryer = func() aws.Retryer { return impatient{patient().(aws.RetryerV2)} }
	cfg.BaseEndpoint = &endpoint
	return cfg
}

func TestConformance(t *testing.T) {
	for name, server := range map[string]func() *s3test.Server{
		"an upload is gone once it is completed": s3test.NewServer,
		"an upload may be completed again": func() *s3test.Server {
			s := s3test.NewServer()
			s.CompleteAgain = true
			return s
		},
		"pages of two": func() *s3test.Server {
			s := s3test.NewServer()
			s.PageOf = 2
			return s
		},
	} {
		for _, prefix := range []string{"", "feeds/a"} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				t.Parallel()
				sinktest.TestStore(t, func(t *testing.T) sink.Store {
					s := server()
					return open(t, s, s, s3.Config{Prefix: prefix})
				})
			})
		}
	}
}
