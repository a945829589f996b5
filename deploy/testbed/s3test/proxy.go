package s3test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Proxy stands before an S3 and makes requests fail when a test says so.
type Proxy struct {
	upstream http.Handler

	mu     sync.Mutex
	before func(Call) *Fault
	counts map[string]int
	faults map[string]int
	lost   map[string]bool // by operation and key
	held   []*http.Request
}

// Call is a request.
type Call struct {
	Operation string // PutObject …
	Bucket    string
	Key       string
	N         int // of the operation's, 1 for the first
}

// Fault is what becomes of a request. Of the zero value nothing does.
type Fault struct {
	Delay time.Duration // before anything else
	Cut   Cut           // where the connection ends
	// Status is that of an answer in place of the service's, with Code and Message. An
	// answer of 200 has the error in its body, after the headers of success.
	Status        int
	Code, Message string
}

// Cut is the place where a connection is cut.
type Cut uint8

// The places.
const (
	NotCut     Cut = iota
	InRequest      // the service gets nothing of it
	Lost           // the service does its work, and nothing of the answer comes back
	InResponse     // the service does its work, and a half of the answer comes back
	Held           // as InRequest, but the service gets it when Deliver is called
)

// NewProxy is a proxy before an S3 in this process, or before one elsewhere: see [To].
func NewProxy(upstream http.Handler) *Proxy {
	return &Proxy{upstream: upstream, counts: map[string]int{}, faults: map[string]int{}, lost: map[string]bool{}}
}

// Before sets what is asked before a request is passed on; nil is no fault. It may
// wait. nil: nothing fails.
func (p *Proxy) Before(before func(Call) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// Fail is for Before: the n-th request of an operation fails, or with n below 0
// each -n-th.
func Fail(operation string, n int, f Fault) func(Call) *Fault {
	return func(c Call) *Fault {
		if c.Operation == operation && (c.N == n || n < 0 && c.N%-n == 0) {
			return &f
		}
		return nil
	}
}

// Always is for Before: all requests of an operation fail.
func Always(operation string, f Fault) func(Call) *Fault { return Fail(operation, -1, f) }

// Count is how many requests of an operation came, and how many of them failed.
func (p *Proxy) Count(operation string) (calls, faults int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[operation], p.faults[operation]
}

// Forget says whether the service did its work on a key while the client heard
// nothing of it, or nothing whole; it says so once.
func (p *Proxy) Forget(operation, key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.lost[operation+" "+key]
	delete(p.lost, operation+" "+key)
	return was
}

// Deliver passes on what was held, and gives the statuses of the answers.
func (p *Proxy) Deliver() (statuses []int) {
	p.mu.Lock()
	held := p.held
	p.held = nil
	p.mu.Unlock()
	for _, r := range held {
		statuses = append(statuses, p.pass(r).Code)
	}
	return statuses
}

// ServeHTTP passes a request on, unless it is to fail.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, bucket, key := Operation(r)
	p.mu.Lock()
	p.counts[op]++
	call, before := Call{op, bucket, key, p.counts[op]}, p.before
	p.mu.Unlock()
	var f *Fault
	if before != nil {
		f = before(call)
	}
	if f == nil {
		p.upstream.ServeHTTP(w, r)
		return
	}
	p.mu.Lock()
	p.faults[op]++
	p.mu.Unlock()
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
	}
	switch {
	case f.Status != 0:
		io.Copy(io.Discard, r.Body) // as far as the client sends it
		Refuse(w, r, f.Status, f.Code, f.Message)
	case f.Cut == NotCut:
		p.upstream.ServeHTTP(w, r)
	default:
		p.cut(w, r, f.Cut, call)
	}
}

func (p *Proxy) cut(w http.ResponseWriter, r *http.Request, at Cut, call Call) {
	if at == InRequest {
		io.CopyN(io.Discard, r.Body, max(0, r.ContentLength/2))
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// The client may be gone by the time it is passed on.
	request := r.Clone(context.WithoutCancel(r.Context()))
	request.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	if at == Held {
		p.held = append(p.held, request)
		p.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	p.lost[call.Operation+" "+call.Key] = true
	p.mu.Unlock()
	answer := p.pass(request)
	if at == Lost || r.Method == http.MethodHead { // of which there is no half
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	text := answer.Body.Bytes()
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	}
	if len(text) == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(answer.Code)
	w.Write(text[:len(text)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// pass asks the service and keeps its answer.
func (p *Proxy) pass(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	p.upstream.ServeHTTP(answer, r)
	return answer
}

// Refuse answers with an error, as S3 does: without a body where a HEAD asked.
func Refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	if r.Method == http.MethodHead || code == "" {
		w.WriteHeader(status)
		return
	}
	text, _ := xml.Marshal(struct {
		XMLName                                    xml.Name `xml:"Error"`
		Code, Message, Resource, RequestId, HostId string
	}{Code: code, Message: message, Resource: r.URL.Path, RequestId: "s3test"})
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	io.WriteString(w, xml.Header)
	w.Write(text)
}

// To is the S3 at an address. Requests keep the Host that they were signed for.
func To(address string) http.Handler {
	target, err := url.Parse(address)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			panic(err)
		}
		out := r.Clone(r.Context())
		out.RequestURI = ""
		out.URL.Scheme, out.URL.Host = target.Scheme, target.Host
		if out.ContentLength == 0 {
			out.Body = nil
		}
		resp, err := transport.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(w, resp.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		// An S3 that refuses a request may answer before it has all of its body. A
		// connection that is closed then is reset, and the client never reads the answer.
		if http.NewResponseController(w).Flush() == nil {
			io.Copy(io.Discard, r.Body)
		}
	})
}

// transport gives answers as they are, compressed ones too.
var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}

// Serve starts a handler at an address of its own, which is closed when the test
// ends.
func Serve(t interface{ Cleanup(func()) }, h http.Handler) (address string) {
	server := httptest.NewUnstartedServer(h)
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimSuffix(server.URL, "/")
}
