package s3test

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is an S3 in memory, as far as lakefeed uses S3: objects with conditions
// and ranges, listings by page, multipart uploads, and permissions by access key.
// Requests are in path style. It does not check signatures.
type Server struct {
	// CompleteAgain answers a second CompleteMultipartUpload of an upload with success,
	// as AWS may; without it there is no such upload any more, as in MinIO.
	CompleteAgain bool
	// MinPart is the least size of parts but the last; 0 is that of S3, 5 MiB.
	MinPart int64
	// PageOf is how many keys or uploads are on a page at most; 0: 1,000.
	PageOf int

	mu      sync.Mutex
	buckets map[string]*bucket
	users   map[string]User
	uploads int // made so far

	conditions Conditions
}

// Conditions says how a store treats conditional writes.
type Conditions uint8

// The ways: of S3, of stores that know none and refuse them, and of those that do
// not look at them.
const (
	Honoured Conditions = iota
	NotImplemented
	Ignored
)

// User is who signs with an access key.
type User struct {
	// Denied says what the user may not do; nil: all is allowed. The action is that of
	// IAM without s3:, such as PutObject or ListBucket.
	Denied func(action, bucket, key string) bool
	// Refused is the code with which the key itself is refused, such as ExpiredToken.
	Refused string
}

type bucket struct {
	objects   map[string]*object
	uploads   map[string]*upload // by id
	completed map[string]string  // ETags of uploads that are objects now, by id
	lifecycle string
}

type object struct {
	body []byte
	etag string // without quotation marks
	at   time.Time
}

// NewServer is a server without buckets, which takes any credentials until it knows
// users.
func NewServer() *Server {
	return &Server{buckets: map[string]*bucket{}, users: map[string]User{}}
}

// MakeBucket makes a bucket.
func (s *Server) MakeBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = &bucket{objects: map[string]*object{}, uploads: map[string]*upload{}, completed: map[string]string{}}
}

// SetUser makes or changes the user of an access key.
func (s *Server) SetUser(accessKey string, u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[accessKey] = u
}

// SetConditions says what becomes of If-None-Match and If-Match of a PutObject from
// now on; before it is called, they are honoured.
func (s *Server) SetConditions(c Conditions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conditions = c
}

// SetLifecycle gives a bucket its lifecycle configuration, in XML; "": none.
func (s *Server) SetLifecycle(bucket, config string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket].lifecycle = config
}

// Put stores an object.
func (s *Server) Put(bucket, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket].put(key, body, sum(body))
}

// Get gives an object's body, nil if there is none.
func (s *Server) Get(bucket, key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.buckets[bucket].objects[key]; o != nil {
		return o.body
	}
	return nil
}

// Keys are the keys of a bucket that begin with a prefix, in order.
func (s *Server) Keys(bucket, prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.buckets[bucket].objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Uploads are the keys with uploads that are neither completed nor aborted.
func (s *Server) Uploads(bucket string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.buckets[bucket].uploads {
		keys = append(keys, u.key)
	}
	slices.Sort(keys)
	return keys
}

func (b *bucket) put(key string, body []byte, etag string) {
	b.objects[key] = &object{body: body, etag: etag, at: time.Now().UTC().Truncate(time.Second)}
}

func sum(body []byte) string {
	s := md5.Sum(body)
	return hex.EncodeToString(s[:])
}

// failure is an error as an answer.
type failure struct {
	status        int
	code, message string
}

var (
	noSuchKey    = &failure{404, "NoSuchKey", "The specified key does not exist."}
	noSuchBucket = &failure{404, "NoSuchBucket", "The specified bucket does not exist"}
	noSuchUpload = &failure{404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."}
	accessDenied = &failure{403, "AccessDenied", "Access Denied"}
	precondition = &failure{412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"}
)

// request is one that is being answered.
type request struct {
	*http.Request
	w         http.ResponseWriter
	operation string
	bucket    *bucket
	key       string
	body      []byte
	listable  bool // the user may know which keys there are
	status    int  // of the answer; 0: 200
	answer    []byte
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amz-Request-Id", "s3test")
	body, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
		panic(http.ErrAbortHandler)
	}
	// The answer is written when the lock is free: a client may read it slowly.
	q := &request{Request: r, w: w, body: body}
	if f := s.serve(q); f != nil {
		Refuse(w, r, f.status, f.code, f.message)
		return
	}
	w.WriteHeader(cmp.Or(q.status, http.StatusOK))
	w.Write(q.answer)
}

func (s *Server) serve(r *request) *failure {
	operation, bucket, key := Operation(r.Request)
	if operation == "" {
		return &failure{501, "NotImplemented", "A header or query you provided implies functionality that is not implemented"}
	}
	if f := intact(r); f != nil {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.operation, r.key = operation, key
	if f := s.allowed(r, bucket); f != nil {
		return f
	}
	if r.bucket = s.buckets[bucket]; r.bucket == nil {
		return noSuchBucket
	}
	return map[string]func(*request) *failure{
		PutObject: s.putObject, GetObject: s.getObject, HeadObject: s.getObject, DeleteObject: s.deleteObject, ListObjects: s.listObjects,
		CreateMultipartUpload: s.createUpload, UploadPart: s.uploadPart, CompleteMultipartUpload: s.completeUpload, AbortMultipartUpload: s.abortUpload,
		ListParts: s.listParts, ListMultipartUploads: s.listUploads, GetLifecycle: s.getLifecycle,
		HeadBucket: func(*request) *failure { return nil },
		CopyObject: func(*request) *failure { return &failure{501, "NotImplemented", "no copies here"} },
	}[operation](r)
}

// intact checks the sums that a client has made of its body.
func intact(r *request) *failure {
	if want := r.Header.Get("Content-MD5"); want != "" {
		if have := md5.Sum(r.body); base64.StdEncoding.EncodeToString(have[:]) != want {
			return &failure{400, "BadDigest", "The Content-MD5 you specified did not match what we received."}
		}
	}
	if want := r.Header.Get("X-Amz-Content-Sha256"); len(want) == 2*sha256.Size {
		if have := sha256.Sum256(r.body); hex.EncodeToString(have[:]) != want {
			return &failure{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."}
		}
	}
	if r.Header.Get("Content-Encoding") == "aws-chunked" {
		return &failure{501, "NotImplemented", "chunked bodies with trailers are not implemented"}
	}
	return nil
}

// actions are the rights that operations need, where they have other names.
var actions = map[string]string{
	HeadObject: GetObject, ListObjects: "ListBucket", HeadBucket: "ListBucket", CreateMultipartUpload: PutObject, UploadPart: PutObject,
	CompleteMultipartUpload: PutObject, ListParts: "ListMultipartUploadParts", ListMultipartUploads: "ListBucketMultipartUploads", GetLifecycle: "GetLifecycleConfiguration",
}

// allowed checks what the request's user may do. Beside the action a user can be
// denied an operation by its own name.
func (s *Server) allowed(r *request, bucket string) *failure {
	r.listable = true
	if len(s.users) == 0 {
		return nil
	}
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	accessKey, _, _ := strings.Cut(rest, "/")
	u, known := s.users[accessKey]
	switch {
	case accessKey == "":
		return accessDenied
	case !known:
		return &failure{403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."}
	case u.Refused == "ExpiredToken":
		return &failure{400, u.Refused, "The provided token has expired."}
	case u.Refused != "":
		return &failure{403, u.Refused, "The request is refused."}
	case u.Denied == nil:
		return nil
	}
	r.listable = !u.Denied("ListBucket", bucket, "")
	if u.Denied(cmp.Or(actions[r.operation], r.operation), bucket, r.key) || u.Denied(r.operation, bucket, r.key) {
		return accessDenied
	}
	return nil
}

// missing is the answer about a key that is not there: who may not list must not
// learn that.
func (r *request) missing() *failure {
	if !r.listable {
		return accessDenied
	}
	return noSuchKey
}

func (r *request) xml(v any) *failure {
	text, err := xml.Marshal(v)
	if err != nil {
		panic(err)
	}
	r.w.Header().Set("Content-Type", "application/xml")
	r.answer = append([]byte(xml.Header), text...)
	return nil
}

// pageOf is how many are on the page that a request wants.
func (s *Server) pageOf(r *request, name string) int {
	n := cmp.Or(s.PageOf, 1000)
	if want, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		n = min(n, want)
	}
	return n
}

func quoted(etag string) string { return `"` + etag + `"` }
