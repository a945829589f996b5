package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// GlueProxy stands before a Glue that takes everything, moto's, and makes it as
// strict as AWS documents: UpdateTable with a VersionId that is not the table's is a
// ConcurrentModificationException, SkipArchive keeps no older version, batches are
// bounded. It throttles, fails and waits when a test says so.
type GlueProxy struct {
	upstream string
	server   *httptest.Server

	mu      sync.Mutex
	updates sync.Mutex // one UpdateTable at a time, as the check and the act are two requests here
	before  func(GlueCall) *GlueFailure
	counts  map[string]int
	turn    int
	share   [2]int
}

// GlueCall is a request.
type GlueCall struct {
	Action string // GetTable …
	Table  string
	Body   []byte
}

// GlueFailure is an answer in place of the service's.
type GlueFailure struct {
	Status  int    // 0: 400
	Code    string // such as AccessDeniedException; empty: the connection is cut
	Message string
}

// NewGlueProxy starts a proxy before the Glue at an address.
func NewGlueProxy(upstream string) *GlueProxy {
	p := &GlueProxy{upstream: strings.TrimSuffix(upstream, "/"), counts: map[string]int{}}
	p.server = httptest.NewServer(p)
	return p
}

// URL is the proxy's address.
func (p *GlueProxy) URL() string { return p.server.URL }

// Close stops the proxy.
func (p *GlueProxy) Close() { p.server.Close() }

// Before sets what is done before a request is passed on: it may wait, and its
// failure, if it gives one, is the answer. nil: nothing is done.
func (p *GlueProxy) Before(before func(GlueCall) *GlueFailure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// Throttle refuses n of each m requests with a ThrottlingException; 0 of 0 none.
func (p *GlueProxy) Throttle(n, m int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share = [2]int{n, m}
}

// Count is how many requests of an action came, those that failed too.
func (p *GlueProxy) Count(action string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[action]
}

// Forget deletes a database and all that is in it, as somebody does by hand.
func (p *GlueProxy) Forget(database string) error {
	text, err := json.Marshal(map[string]any{"Name": database})
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, p.upstream+"/", bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/glue/aws4_request, SignedHeaders=host, Signature=none") // moto looks at the service only
	resp, err := p.send(context.Background(), r, "DeleteDatabase", text)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("delete database %s: %s: %s", database, resp.Status, body)
	}
	return nil
}

// throttled says whether this request is one of those to refuse.
func (p *GlueProxy) throttled() bool {
	p.turn++
	return p.share[1] > 0 && p.turn%p.share[1] < p.share[0]
}

func (p *GlueProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, action, isGlue := strings.Cut(r.Header.Get("X-Amz-Target"), "AWSGlue.")
	if !isGlue {
		p.forward(r.Context(), w, r, body)
		return
	}
	call := GlueCall{Action: action, Body: body}
	var in glueInput
	if json.Unmarshal(body, &in) == nil {
		call.Table = in.table()
	}
	p.mu.Lock()
	p.counts[action]++
	before, throttled := p.before, p.throttled()
	p.mu.Unlock()
	if throttled {
		fail(w, &GlueFailure{Code: "ThrottlingException", Message: "Rate exceeded"})
		return
	}
	if before != nil {
		if f := before(call); f != nil {
			fail(w, f)
			return
		}
	}
	if f := in.check(); f != nil {
		fail(w, f)
		return
	}
	if action != "UpdateTable" {
		p.forward(r.Context(), w, r, body)
		return
	}
	p.updates.Lock()
	defer p.updates.Unlock()
	current, err := p.versionOf(r, in)
	if err != nil {
		fail(w, &GlueFailure{Status: 500, Code: "InternalServiceException", Message: err.Error()})
		return
	}
	if in.VersionID != nil && current != "" && *in.VersionID != current {
		fail(w, &GlueFailure{Code: "ConcurrentModificationException", Message: "Update table failed due to concurrent modifications."})
		return
	}
	if done := p.forward(r.Context(), w, r, body); done && in.SkipArchive && current != "" {
		p.call(r, "DeleteTableVersion", map[string]any{"DatabaseName": in.DatabaseName, "TableName": in.TableInput.Name, "VersionId": current})
	}
}

// glueInput is what the checks need of a request.
type glueInput struct {
	DatabaseName       string                `json:"DatabaseName"`
	Name               string                `json:"Name"`
	TableName          string                `json:"TableName"`
	TableInput         struct{ Name string } `json:"TableInput"`
	VersionID          *string               `json:"VersionId"`
	SkipArchive        bool                  `json:"SkipArchive"`
	PartitionInputList []json.RawMessage     `json:"PartitionInputList"`
	Entries            []json.RawMessage     `json:"Entries"`
}

func (in *glueInput) table() string {
	for _, name := range []string{in.TableName, in.TableInput.Name, in.Name} {
		if name != "" {
			return name
		}
	}
	return ""
}

// check refuses what is over a limit of the API.
func (in *glueInput) check() *GlueFailure {
	for name, n := range map[string]int{"partitionInputList": len(in.PartitionInputList), "entries": len(in.Entries)} {
		if n > 100 {
			return &GlueFailure{Code: "InvalidInputException", Message: fmt.Sprintf("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to 100", name)}
		}
	}
	if name := in.table(); name != strings.ToLower(name) {
		return &GlueFailure{Code: "InvalidInputException", Message: "the name " + name + " would be folded to lower case"}
	}
	return nil
}

// versionOf is a table's version at present, empty when there is no such table.
func (p *GlueProxy) versionOf(r *http.Request, in glueInput) (string, error) {
	status, body, err := p.call(r, "GetTable", map[string]any{"DatabaseName": in.DatabaseName, "Name": in.TableInput.Name})
	if err != nil || status != http.StatusOK {
		return "", err
	}
	var out struct {
		Table struct{ VersionId string }
	}
	err = json.Unmarshal(body, &out)
	return out.Table.VersionId, err
}

// call makes a request of our own, with the headers of the one that it is for.
func (p *GlueProxy) call(r *http.Request, action string, in any) (status int, body []byte, err error) {
	text, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	resp, err := p.send(r.Context(), r, action, text)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (p *GlueProxy) send(ctx context.Context, r *http.Request, action string, body []byte) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, r.Method, p.upstream+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Accept-Encoding")
	if action != "" {
		out.Header.Set("X-Amz-Target", "AWSGlue."+action)
	}
	return http.DefaultClient.Do(out)
}

// forward passes a request on, and says whether it was done.
func (p *GlueProxy) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte) bool {
	resp, err := p.send(ctx, r, "", body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	return resp.StatusCode == http.StatusOK
}

func fail(w http.ResponseWriter, f *GlueFailure) {
	if f.Code == "" {
		panic(http.ErrAbortHandler)
	}
	if f.Status == 0 {
		f.Status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-RequestId", "glue-proxy")
	w.WriteHeader(f.Status)
	json.NewEncoder(w).Encode(map[string]string{"__type": f.Code, "message": f.Message})
}
