package testbed

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// S3 is an S3 server.
type S3 struct {
	*Container
	Endpoint  string // from here
	InNetwork string // for the other containers
	AccessKey string
	SecretKey string
}

const region = "us-east-1"

// The last public tag; where another release is meant it has this name too.
var minio = once{spec: spec{
	name: "minio", image: "minio/minio:RELEASE.2025-09-07T16-13-09Z", ports: []string{"9000/tcp"},
	options: func(*Container) []testcontainers.ContainerCustomizer {
		return []testcontainers.ContainerCustomizer{
			testcontainers.WithCmd("server", "/data"),
			testcontainers.WithEnv(map[string]string{"MINIO_ROOT_USER": "minioadmin", "MINIO_ROOT_PASSWORD": "minioadmin"}),
			testcontainers.WithWaitStrategy(wait.ForHTTP("/minio/health/live").WithPort("9000/tcp").WithStartupTimeout(startLimit)),
		}
	},
}}

var moto = once{spec: spec{
	name: "moto", image: "motoserver/moto:5.2.5", ports: []string{"5000/tcp"},
	options: func(*Container) []testcontainers.ContainerCustomizer {
		return []testcontainers.ContainerCustomizer{
			testcontainers.WithWaitStrategy(wait.ForHTTP("/moto-api/").WithPort("5000/tcp").WithStartupTimeout(startLimit)),
		}
	},
}}

// MinIO is the S3 server of this process.
func MinIO(t testing.TB) *S3 {
	t.Helper()
	c := minio.get(t)
	return &S3{Container: c, Endpoint: "http://" + c.address("9000/tcp"), InNetwork: "http://minio:9000", AccessKey: "minioadmin", SecretKey: "minioadmin"}
}

// Moto is the emulator of AWS of this process. It has S3, Glue and Athena at one
// endpoint, takes any credentials, and loses all when it is stopped.
func Moto(t testing.TB) *S3 {
	t.Helper()
	c := moto.get(t)
	return &S3{Container: c, Endpoint: "http://" + c.address("5000/tcp"), InNetwork: "http://moto:5000", AccessKey: "test", SecretKey: "test"}
}

// Env are the variables with which the AWS SDKs, and so lakefeed, find the server
// for S3, and nothing of this machine's own configuration.
func (s *S3) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL_S3=" + s.Endpoint, "AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_SESSION_TOKEN=",
		"AWS_REGION=" + region, "AWS_PROFILE=", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// Setenv sets these variables for the test.
func (s *S3) Setenv(t *testing.T) {
	t.Helper()
	for _, e := range s.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

// As is the server for another user.
func (s *S3) As(accessKey, secretKey string) *S3 {
	other := *s
	other.AccessKey, other.SecretKey = accessKey, secretKey
	return &other
}

// User makes a user of MinIO who may do what an IAM policy, as JSON, says.
func (s *S3) User(t testing.TB, policy string) *S3 {
	t.Helper()
	name, secret := Name("user"), Name("secret")
	s.Exec(t, "mc", "alias", "set", "here", "http://127.0.0.1:9000", s.AccessKey, s.SecretKey)
	file := "/tmp/" + name + ".json"
	if err := s.c.CopyToContainer(context.Background(), []byte(policy), file, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "mc", "admin", "user", "add", "here", name, secret)
	s.Exec(t, "mc", "admin", "policy", "create", "here", name, file)
	s.Exec(t, "mc", "admin", "policy", "attach", "here", name, "--user", name)
	return s.As(name, secret)
}

// Client is a client of the server, of the SDK and not of lakefeed.
func (s *S3) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: region, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// Bucket makes a bucket with a name of its own. It stays until the server goes.
func (s *S3) Bucket(t testing.TB) string {
	t.Helper()
	name := Name("bucket")
	if _, err := s.Client().CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
	return name
}

// Put stores an object and gives its ETag.
func (s *S3) Put(t testing.TB, bucket, key string, body []byte) string {
	t.Helper()
	out, err := s.Client().PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatalf("put s3://%s/%s: %v", bucket, key, err)
	}
	return aws.ToString(out.ETag)
}

// Get reads an object.
func (s *S3) Get(t testing.TB, bucket, key string) []byte {
	t.Helper()
	out, err := s.Client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("get s3://%s/%s: %v", bucket, key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("get s3://%s/%s: %v", bucket, key, err)
	}
	return b
}

// Delete removes an object.
func (s *S3) Delete(t testing.TB, bucket, key string) {
	t.Helper()
	if _, err := s.Client().DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatalf("delete s3://%s/%s: %v", bucket, key, err)
	}
}

// Keys are the keys of a bucket below a prefix, in order.
func (s *S3) Keys(t testing.TB, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.Client(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatalf("list s3://%s/%s: %v", bucket, prefix, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, aws.ToString(o.Key))
		}
	}
	return keys
}

// Download copies the objects below a prefix into a folder, for engines that read
// files.
func (s *S3) Download(t testing.TB, bucket, prefix string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	for _, key := range s.Keys(t, bucket, prefix) {
		name := strings.TrimPrefix(strings.TrimPrefix(key, prefix), "/")
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			if err := root.MkdirAll(name[:i], 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if err := root.WriteFile(name, s.Get(t, bucket, key), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
