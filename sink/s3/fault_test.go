package s3_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lakefeed/deploy/testbed/s3test"
	"lakefeed/sink"
	"lakefeed/sink/s3"
	"lakefeed/sink/sinktest"
)

// operations are those that the store is made of.
var operations = []string{
	s3test.PutObject, s3test.CreateMultipartUpload, s3test.UploadPart, s3test.CompleteMultipartUpload, s3test.AbortMultipartUpload,
	s3test.GetObject, s3test.HeadObject, s3test.ListObjects, s3test.DeleteObject,
}

// passing are faults after which the same request, sent again, is answered.
var passing = map[string]s3test.Fault{
	"409 conflict":         {Status: 409, Code: "ConditionalRequestConflict", Message: "A conflicting conditional operation is currently in progress against this resource."},
	"409 aborted":          {Status: 409, Code: "OperationAborted", Message: "A conflicting conditional operation is currently in progress against this resource. Please try again."},
	"503 slow down":        {Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."},
	"500":                  {Status: 500, Code: "InternalError", Message: "We encountered an internal error. Please try again."},
	"502 of a proxy":       {Status: 502},
	"400 request timeout":  {Status: 400, Code: "RequestTimeout", Message: "Your socket connection to the server was not read from or written to within the timeout period."},
	"cut in the request":   {Cut: s3test.InRequest},
	"cut in the response":  {Cut: s3test.InResponse},
	"the answer is lost":   {Cut: s3test.Lost},
	"delay":                {Delay: 5 * time.Millisecond},
	"delay and then 500":   {Delay: 5 * time.Millisecond, Status: 500, Code: "InternalError"},
	"200 with an error":    {Status: 200, Code: "InternalError", Message: "We encountered an internal error. Please try again."},
	"200 with a slow down": {Status: 200, Code: "SlowDown", Message: "Please reduce your request rate."},
}

// brief are the faults that -short has, and those that it has more often without.
var brief = []string{"cut in the response", "the answer is lost"}

// Whatever answer of one operation fails, the store keeps to its contract: the
// first request about each key fails, or each third.
func TestConformanceUnderFaults(t *testing.T) {
	for name, fault := range passing {
		for _, op := range operations {
			if fault.Status == 200 && op != s3test.CompleteMultipartUpload {
				continue // of those that take long only
			}
			for _, when := range []string{"first of each key", "each third"} {
				if when == "each third" && testing.Short() || (when == "each third" || testing.Short()) && !slices.Contains(brief, name) {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %s", op, name, when), func(t *testing.T) {
					t.Parallel()
					faults := 0
					sinktest.TestStore(t, func(t *testing.T) sink.Store {
						server := s3test.NewServer()
						proxy := s3test.NewProxy(server)
						if when == "each third" {
							proxy.Before(s3test.Fail(op, -3, fault))
						} else {
							proxy.Before(firstOfEachKey(op, fault))
						}
						t.Cleanup(func() {
							_, n := proxy.Count(op)
							faults += n
						})
						return &ownCreates{open(t, server, proxy, s3.Config{Prefix: "lake"}), proxy}
					})
					if faults == 0 {
						t.Error("no request met the fault")
					}
				})
			}
		}
	}
}

func firstOfEachKey(op string, f s3test.Fault) func(s3test.Call) *s3test.Fault {
	seen := make(map[string]bool)
	lock := make(chan struct{}, 1)
	return func(c s3test.Call) *s3test.Fault {
		lock <- struct{}{}
		defer func() { <-lock }()
		if c.Operation != op || seen[c.Key] {
			return nil
		}
		seen[c.Key] = true
		return &f
	}
}

// ownCreates is a store that does what every caller of Create does: when the
// object is there, and an answer was lost, its body tells whose it is.
type ownCreates struct {
	*s3.Store
	proxy *s3test.Proxy
}

func (s *ownCreates) Create(ctx context.Context, key string, body []byte) error {
	return sinktest.CreateSettled(ctx, s.Store, key, body, func() bool { return s.proxy.Forget(s3test.PutObject, "lake/"+key) })
}

// A refusal that has nothing to do with the request, or never ends, is an error
// that names the key. It is not taken for an answer about the object, and once it
// is over the same call is done.
func TestRefusals(t *testing.T) {
	refusals := map[string]s3test.Fault{
		"412":           {Status: 412, Code: "PreconditionFailed", Message: "At least one of the pre-conditions you specified did not hold"},
		"409":           {Status: 409, Code: "ConditionalRequestConflict"},
		"403":           {Status: 403, Code: "AccessDenied", Message: "Access Denied"},
		"404 no bucket": {Status: 404, Code: "NoSuchBucket", Message: "The specified bucket does not exist"},
		"400":           {Status: 400, Code: "ExpiredToken", Message: "The provided token has expired."},
		"500":           {Status: 500, Code: "InternalError"},
		"503":           {Status: 503, Code: "SlowDown"},
		"200 and error": {Status: 200, Code: "InternalError"},
		"200 and empty": {Status: 200},
		"cut":           {Cut: s3test.InRequest},
	}
	for name, fault := range refusals {
		for _, op := range operations {
			t.Run(op+" "+name, func(t *testing.T) {
				t.Parallel()
				server := s3test.NewServer()
				proxy := s3test.NewProxy(server)
				store := open(t, server, proxy, s3.Config{Prefix: "feeds"})
				server.Put("lake", "feeds/t/old", []byte("old"))
				staged, err := store.Stage(t.Context(), "t/staged", strings.NewReader("rows"))
				if err != nil {
					t.Fatal(err)
				}
				other, err := store.Stage(t.Context(), "t/other", strings.NewReader("rows"))
				if err != nil {
					t.Fatal(err)
				}
				calls := map[string]func() error{
					s3test.PutObject: func() error { return store.Create(t.Context(), "t/new", []byte("new")) },
					s3test.CreateMultipartUpload: func() error {
						_, err := store.Stage(t.Context(), "t/new", strings.NewReader("new"))
						return err
					},
					s3test.CompleteMultipartUpload: func() error { return store.Publish(t.Context(), staged) },
					s3test.AbortMultipartUpload:    func() error { return store.Discard(t.Context(), other) },
					s3test.GetObject: func() error {
						body, err := store.Get(t.Context(), "t/old")
						if err == nil && string(body) != "old" {
							t.Errorf("it has read %q", body)
						}
						return err
					},
					s3test.HeadObject: func() error {
						o, err := store.Stat(t.Context(), "t/old")
						if err == nil && o.Size != 3 {
							t.Errorf("it has seen %+v", o)
						}
						return err
					},
					s3test.ListObjects: func() error {
						n := 0
						for _, err := range store.List(t.Context(), "t/", "") {
							if err != nil {
								return err
							}
							n++
						}
						if n == 0 {
							t.Error("it has listed nothing")
						}
						return nil
					},
					s3test.DeleteObject: func() error { return store.Delete(t.Context(), "t/old") },
				}
				calls[s3test.UploadPart] = calls[s3test.CreateMultipartUpload]
				proxy.Before(func(c s3test.Call) *s3test.Fault {
					// Why a HEAD is refused is asked with a GET.
					if c.Operation == op || op == s3test.HeadObject && c.Operation == s3test.GetObject {
						return &fault
					}
					return nil
				})
				err = calls[op]()
				switch {
				case op == s3test.PutObject && name == "412":
					if !errors.Is(err, sink.ErrExists) {
						t.Errorf("%v, want ErrExists", err)
					}
				case (op == s3test.AbortMultipartUpload || op == s3test.DeleteObject) && fault.Status == 200:
					// A 200 instead of a 204 is an answer to these.
				case op == s3test.HeadObject && name == "404 no bucket":
					// S3 answers a HEAD without a reason.
					if !errors.Is(err, sink.ErrNotExist) {
						t.Error(err)
					}
					return
				case err == nil:
					t.Error("it is no error")
				case !strings.Contains(err.Error(), "s3://lake/feeds/t/"):
					t.Errorf("it does not name the key: %v", err)
				case errors.Is(err, sink.ErrExists), errors.Is(err, sink.ErrNotExist), errors.Is(err, sink.ErrLost):
					t.Errorf("it is taken for an answer: %v", err)
				}
				if name == "409" || name == "412" {
					if errors.Is(err, sink.ErrGivenUp) {
						t.Errorf("nobody has to mend anything: %v", err)
					}
				} else if err != nil && !errors.Is(err, sink.ErrGivenUp) {
					t.Errorf("it is not ErrGivenUp: %v", err)
				}
				proxy.Before(nil)
				if err := calls[op](); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				if err := store.Publish(t.Context(), staged); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

// While an answer is unknown the request may still arrive. The same body, sent
// again, settles it; another's is told that it came too late.
func TestUnknownAnswers(t *testing.T) {
	const key = "_lakefeed/t/g1/commits/feed/0/00000000000000000007.json"
	setup := func(t *testing.T) (*s3.Store, *s3test.Proxy) {
		server := s3test.NewServer()
		proxy := s3test.NewProxy(server)
		return open(t, server, proxy, s3.Config{}), proxy
	}
	read := func(t *testing.T, s sink.Store, want string) {
		t.Helper()
		if body, err := s.Get(t.Context(), key); err != nil || string(body) != want {
			t.Errorf("%q, %v, want %q", body, err, want)
		}
	}
	unknown := func(t *testing.T, err error) {
		t.Helper()
		if err == nil || errors.Is(err, sink.ErrExists) {
			t.Errorf("%v, want an error that leaves the outcome open", err)
		}
	}
	t.Run("it arrives when all tries are over", func(t *testing.T) {
		store, proxy := setup(t)
		proxy.Before(s3test.Always(s3test.PutObject, s3test.Fault{Cut: s3test.Held}))
		unknown(t, store.Create(t.Context(), key, []byte("mine")))
		if _, err := store.Get(t.Context(), key); !errors.Is(err, sink.ErrNotExist) {
			t.Errorf("before it arrives: %v", err)
		}
		statuses := proxy.Deliver()
		for i, status := range statuses {
			if want := map[bool]int{true: 200, false: 412}[i == 0]; status != want {
				t.Errorf("request %d of %d: HTTP %d, want %d", i, len(statuses), status, want)
			}
		}
		if len(statuses) < 2 {
			t.Errorf("it was sent %d times", len(statuses))
		}
		proxy.Before(nil)
		if err := store.Create(t.Context(), key, []byte("mine")); !errors.Is(err, sink.ErrExists) {
			t.Errorf("sent again: %v, want ErrExists", err)
		}
		read(t, store, "mine")
	})
	t.Run("another was first", func(t *testing.T) {
		store, proxy := setup(t)
		proxy.Before(s3test.Always(s3test.PutObject, s3test.Fault{Cut: s3test.Held}))
		unknown(t, store.Create(t.Context(), key, []byte("mine")))
		proxy.Before(nil)
		if err := store.Create(t.Context(), key, []byte("the other's")); err != nil {
			t.Fatal(err)
		}
		for _, status := range proxy.Deliver() {
			if status != 412 {
				t.Errorf("a late request: HTTP %d", status)
			}
		}
		read(t, store, "the other's")
	})
	t.Run("it was done at once and never answered", func(t *testing.T) {
		store, proxy := setup(t)
		proxy.Before(s3test.Always(s3test.PutObject, s3test.Fault{Cut: s3test.Lost}))
		unknown(t, store.Create(t.Context(), key, []byte("mine")))
		read(t, store, "mine")
	})
	t.Run("conflicts without end are no answer", func(t *testing.T) {
		store, proxy := setup(t)
		proxy.Before(s3test.Always(s3test.PutObject, s3test.Fault{Status: 409, Code: "ConditionalRequestConflict"}))
		unknown(t, store.Create(t.Context(), key, []byte("mine")))
		if calls, _ := proxy.Count(s3test.PutObject); calls < 3 {
			t.Errorf("it was sent %d times", calls)
		}
	})
	t.Run("an upload is completed later", func(t *testing.T) {
		store, proxy := setup(t)
		staged, err := store.Stage(t.Context(), "t/a", strings.NewReader("rows"))
		if err != nil {
			t.Fatal(err)
		}
		proxy.Before(s3test.Always(s3test.CompleteMultipartUpload, s3test.Fault{Cut: s3test.Held}))
		if err := store.Publish(t.Context(), staged); err == nil || errors.Is(err, sink.ErrLost) {
			t.Errorf("%v, want an error that leaves the outcome open", err)
		}
		if found, err := store.FindStaged(t.Context(), staged); err != nil || !found {
			t.Errorf("it is staged still: %v, %v", found, err)
		}
		proxy.Deliver()
		proxy.Before(nil)
		if err := store.Publish(t.Context(), staged); err != nil {
			t.Error(err)
		}
	})
}
