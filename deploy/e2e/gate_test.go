package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// gate stands before S3 and Glue, with a door for each of two callers, and lets them
// race for what would else hang on who is quicker.
type gate struct {
	s3, glue *httputil.ReverseProxy
	races    []*race
}

// race is between the first requests of both callers that are of one sort: they wait
// for each other, and the winner's is answered before the other's goes on.
type race struct {
	of     func(*http.Request) bool
	winner string

	mu      sync.Mutex
	status  map[string]int // of each caller's first request that was answered
	both    chan struct{}
	waiting map[string]bool
	won     chan struct{}
}

func newRace(winner string, of func(*http.Request) bool) *race {
	return &race{of: of, winner: winner, status: map[string]int{}, waiting: map[string]bool{}, both: make(chan struct{}), won: make(chan struct{})}
}

func newGate(t *testing.T, s3, glue string, races ...*race) *gate {
	t.Helper()
	to := func(address string) *httputil.ReverseProxy {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(u)
				r.Out.Host = r.In.Host // it is signed
			},
			ErrorHandler: func(out http.ResponseWriter, _ *http.Request, _ error) { out.WriteHeader(http.StatusBadGateway) }, // the caller has gone
		}
	}
	return &gate{s3: to(s3), glue: to(glue), races: races}
}

// door lets what is started next come in as a caller.
func (g *gate) door(t *testing.T, caller string) {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.pass(w, r, caller) }))
	t.Cleanup(front.Close)
	t.Setenv("AWS_ENDPOINT_URL_S3", front.URL)
	t.Setenv("AWS_ENDPOINT_URL_GLUE", front.URL)
}

func (g *gate) pass(w http.ResponseWriter, r *http.Request, caller string) {
	service := g.s3
	if r.Header.Get("X-Amz-Target") != "" {
		service = g.glue
	}
	for _, race := range g.races {
		if !race.of(r) {
			continue
		}
		body, err := io.ReadAll(r.Body) // a request whose body was not read is not seen to be given up
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !race.begin(r.Context(), caller) {
			panic(http.ErrAbortHandler)
		}
		// From here on it is done, whether or not the caller waits for the answer.
		seen := &statusWriter{ResponseWriter: w}
		defer func() { race.end(caller, seen.status) }()
		service.ServeHTTP(seen, r.WithContext(context.WithoutCancel(r.Context())))
		return
	}
	service.ServeHTTP(w, r)
}

// begin waits for the caller's turn; false: the caller does not wait any more.
func (r *race) begin(ctx context.Context, caller string) bool {
	r.mu.Lock()
	r.waiting[caller] = true
	if len(r.waiting) == 2 {
		select {
		case <-r.both:
		default:
			close(r.both)
		}
	}
	r.mu.Unlock()
	turn := []chan struct{}{r.both}
	if caller != r.winner {
		turn = append(turn, r.won)
	}
	for _, c := range turn {
		select {
		case <-c:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (r *race) end(caller string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status[caller] != 0 {
		return
	}
	r.status[caller] = status
	if caller == r.winner {
		close(r.won)
	}
}

// outcome is how the first requests of the winner and of the other were answered.
func (r *race) outcome() (winner, other int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for caller, status := range r.status {
		if caller == r.winner {
			winner = status
		} else {
			other = status
		}
	}
	return winner, other
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
