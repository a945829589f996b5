package s3source_test

import (
	"cmp"
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lakefeed/sink/awsclient"
)

// store speaks as much of S3 as reading needs: listing by page, HEAD and GET with
// ranges, If-Match and versions. What it does wrong is asked of it.
type store struct {
	t       *testing.T
	url     string
	pageOf  int // keys
	version bool

	mu      sync.Mutex
	objects map[string][]stored // by key, the newest last
	puts    int
	// hook is called before a GET is answered; it may put objects.
	hook func(g get) fault

	lists, heads int
	gets         []get
	sent         map[string]int // bytes of a key's bodies
}

type stored struct {
	body, etag, id string
	at             time.Time
	removed        bool
}

// get is one request for an object's bytes.
type get struct {
	key, version, ifMatch string
	from, to              int // to is behind the last byte
	n                     int // of the key's
}

// fault is how a request is answered wrongly.
type fault struct {
	status  int // with this code and text; 0 for none
	code    string
	text    string
	cut     bool // the body breaks off behind so many bytes
	after   int
	noRange bool // the range is not looked at
}

func newStore(t *testing.T) (*store, *s3.Client) {
	t.Helper()
	s := &store{t: t, pageOf: 1000, objects: map[string][]stored{}, sent: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s, client(t, server.URL)
}

func client(t *testing.T, endpoint string) *s3.Client {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "",
	} {
		t.Setenv(name, value)
	}
	cfg, err := awsclient.Load(t.Context(), awsclient.Options{Patience: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c, err := awsclient.S3(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put stores an object; as says how its ETag is to be made, else it is the hash
// of the body.
func (s *store) put(key, body string, as ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	o := stored{body: body, etag: fmt.Sprintf("%x", md5.Sum([]byte(body))), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s.puts) * time.Second)}
	if len(as) > 0 {
		o.etag = as[0]
	}
	if s.version {
		o.id = fmt.Sprintf("v%d", s.puts)
	}
	if !s.version {
		s.objects[key] = nil
	}
	s.objects[key] = append(s.objects[key], o)
}

func (s *store) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version {
		s.objects[key] = append(s.objects[key], stored{removed: true})
		return
	}
	delete(s.objects, key)
}

// counts gives what was asked since it was called last.
func (s *store) counts() (lists, heads int, gets []get) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists, heads, gets = s.lists, s.heads, s.gets
	s.lists, s.heads, s.gets, s.sent = 0, 0, nil, map[string]int{}
	return lists, heads, gets
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case bucket != "raw":
		refuse(w, 404, "NoSuchBucket", "The specified bucket does not exist")
	case r.Method == http.MethodGet && key == "":
		s.list(w, r)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		s.object(w, r, key)
	default:
		s.t.Errorf("%s %s: it was not to be asked for", r.Method, r.URL)
		refuse(w, 405, "MethodNotAllowed", "")
	}
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, text)
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key, ETag, LastModified string
	Size                    int
}

func (s *store) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if f := s.asked(get{key: "?" + q.Get("prefix")}); f.status != 0 {
		refuse(w, f.status, f.code, f.text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if q.Get("list-type") != "2" || q.Get("encoding-type") != "url" {
		s.t.Errorf("listing %s", r.URL)
	}
	out := listing{EncodingType: "url"}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		now := s.objects[key][len(s.objects[key])-1]
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") || now.removed {
			continue
		}
		if len(out.Contents) == s.pageOf {
			last, err := url.QueryUnescape(out.Contents[len(out.Contents)-1].Key)
			if err != nil {
				s.t.Error(err)
			}
			out.IsTruncated, out.NextContinuationToken = true, last
			break
		}
		out.Contents = append(out.Contents, listed{Key: strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"), ETag: `"` + now.etag + `"`, LastModified: now.at.Format(time.RFC3339), Size: len(now.body)})
	}
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(out); err != nil {
		s.t.Error(err)
	}
}

// asked notes a GET or listing, and gives what is to go wrong with it.
func (s *store) asked(g get) fault {
	s.mu.Lock()
	if g.to > 0 {
		for _, before := range s.gets {
			if before.key == g.key {
				g.n++
			}
		}
		s.gets = append(s.gets, g)
	}
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return fault{}
	}
	return hook(g)
}

func (s *store) object(w http.ResponseWriter, r *http.Request, key string) {
	g := get{key: key, version: r.URL.Query().Get("versionId"), ifMatch: r.Header.Get("If-Match"), to: 1 << 40}
	if ranges := r.Header.Get("Range"); ranges != "" {
		from, to, _ := strings.Cut(strings.TrimPrefix(ranges, "bytes="), "-")
		var err error
		if g.from, err = strconv.Atoi(from); err != nil {
			s.t.Errorf("range %q", ranges)
		}
		if g.to, err = strconv.Atoi(to); err != nil {
			s.t.Errorf("range %q", ranges)
		}
		g.to++
	}
	if r.Method == http.MethodHead {
		s.mu.Lock()
		s.heads++
		s.mu.Unlock()
		g.to = 0
	}
	f := s.asked(g)
	o, found := s.find(key, g.version)
	switch {
	case f.status != 0:
		refuse(w, f.status, f.code, f.text)
		return
	case !found && g.version != "":
		refuse(w, 404, "NoSuchVersion", "The specified version does not exist.")
		return
	case !found:
		refuse(w, 404, "NoSuchKey", "The specified key does not exist.")
		return
	case g.ifMatch != "" && g.ifMatch != `"`+o.etag+`"`:
		refuse(w, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		return
	case g.from > 0 && g.from >= len(o.body):
		refuse(w, 416, "InvalidRange", "")
		return
	}
	w.Header().Set("ETag", `"`+o.etag+`"`)
	w.Header().Set("Last-Modified", o.at.Format(http.TimeFormat))
	if o.id != "" {
		w.Header().Set("X-Amz-Version-Id", o.id)
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
		return
	}
	s.body(w, g, f, o.body)
}

// body answers a GET with the bytes of its range, or with some of them.
func (s *store) body(w http.ResponseWriter, g get, f fault, body string) {
	status, n := http.StatusOK, len(body)
	if g.to < 1<<40 && !f.noRange {
		to := min(g.to, n)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", g.from, to-1, n))
		status, body = http.StatusPartialContent, body[g.from:to]
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if f.cut {
		body = body[:min(f.after, len(body))]
	}
	k, _ := w.Write([]byte(body)) // the reader may have gone away
	s.mu.Lock()
	s.sent[g.key] += k
	s.mu.Unlock()
	if f.cut {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// find gives a version of a key, the newest where none is named.
func (s *store) find(key, version string) (stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.objects[key]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].id == cmp.Or(version, all[i].id) {
			return all[i], !all[i].removed
		}
	}
	return stored{}, false
}
