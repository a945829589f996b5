package s3test

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *Server) putObject(r *request) *failure {
	if f := s.condition(r); f != nil {
		return f
	}
	etag := sum(r.body)
	r.bucket.put(r.key, r.body, etag)
	r.w.Header().Set("ETag", quoted(etag))
	return nil
}

// condition checks If-None-Match and If-Match of a write.
func (s *Server) condition(r *request) *failure {
	none, match := r.Header.Get("If-None-Match"), r.Header.Get("If-Match")
	if none == "" && match == "" || s.conditions == Ignored {
		return nil
	}
	if s.conditions == NotImplemented {
		return &failure{501, "NotImplemented", "A header you provided implies functionality that is not implemented"}
	}
	have := r.bucket.objects[r.key]
	switch {
	case none != "" && none != "*":
		return &failure{501, "NotImplemented", "If-None-Match with an ETag"}
	case none == "*" && have != nil, match != "" && have != nil && quoted(have.etag) != match:
		return precondition
	case match != "" && have == nil:
		return noSuchKey
	}
	return nil
}

// getObject answers HEAD as well: the HTTP server leaves the body out.
func (s *Server) getObject(r *request) *failure {
	o := r.bucket.objects[r.key]
	if o == nil {
		return r.missing()
	}
	if match := r.Header.Get("If-Match"); match != "" && match != quoted(o.etag) {
		return precondition
	}
	h, body := r.w.Header(), o.body
	if ranges := r.Header.Get("Range"); ranges != "" {
		from, to, ok := bounds(ranges, len(body))
		if !ok {
			return &failure{416, "InvalidRange", "The requested range is not satisfiable"}
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)))
		body, r.status = body[from:to], http.StatusPartialContent
	}
	h.Set("ETag", quoted(o.etag))
	h.Set("Last-Modified", o.at.Format(http.TimeFormat))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Accept-Ranges", "bytes")
	r.answer = body
	return nil
}

// bounds are those of a range of a body, the second behind its last byte.
func bounds(ranges string, size int) (from, to int, ok bool) {
	a, b, _ := strings.Cut(strings.TrimPrefix(ranges, "bytes="), "-")
	from, err := strconv.Atoi(a)
	if err != nil || from >= size {
		return 0, 0, false
	}
	if to, err = strconv.Atoi(b); err != nil {
		to = size - 1
	}
	return from, min(to+1, size), true
}

func (s *Server) deleteObject(r *request) *failure {
	delete(r.bucket.objects, r.key)
	r.status = http.StatusNoContent
	return nil
}

type listing struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name, Prefix          string
	EncodingType          string `xml:",omitempty"`
	KeyCount, MaxKeys     int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key, ETag, LastModified, StorageClass string
	Size                                  int
}

func (s *Server) listObjects(r *request) *failure {
	q := r.URL.Query()
	bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	out := listing{Name: bucket, Prefix: q.Get("prefix"), EncodingType: q.Get("encoding-type"), MaxKeys: s.pageOf(r, "max-keys")}
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	last := ""
	for _, key := range slices.Sorted(maps.Keys(r.bucket.objects)) {
		if !strings.HasPrefix(key, out.Prefix) || key <= after {
			continue
		}
		if len(out.Contents) == out.MaxKeys {
			out.IsTruncated, out.NextContinuationToken = true, last
			break
		}
		o := r.bucket.objects[key]
		out.Contents = append(out.Contents, listed{Key: escaped(key, out.EncodingType), ETag: quoted(o.etag), LastModified: o.at.Format(time.RFC3339), Size: len(o.body), StorageClass: "STANDARD"})
		last = key
	}
	out.KeyCount = len(out.Contents)
	return r.xml(out)
}

// escaped is a key as a listing has it that wants its keys encoded.
func escaped(key, encoding string) string {
	if encoding != "url" {
		return key
	}
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

func (s *Server) getLifecycle(r *request) *failure {
	if r.bucket.lifecycle == "" {
		return &failure{404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"}
	}
	r.w.Header().Set("Content-Type", "application/xml")
	r.answer = []byte(r.bucket.lifecycle)
	return nil
}
