package s3test

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const minPart = 5 << 20

type upload struct {
	id, key string
	parts   map[int][]byte
	at      time.Time
}

func (s *Server) createUpload(r *request) *failure {
	s.uploads++
	// Ids are long and have characters that need care in a query.
	u := &upload{id: fmt.Sprintf("upload+%d/of~%s==", s.uploads, sum([]byte(r.key))), key: r.key, parts: map[int][]byte{}, at: time.Now().UTC()}
	r.bucket.uploads[u.id] = u
	return r.xml(struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Key: r.key, UploadId: u.id})
}

// upload finds the upload that a request is about.
func (r *request) upload() (*upload, *failure) {
	u := r.bucket.uploads[r.URL.Query().Get("uploadId")]
	if u == nil || u.key != r.key {
		return nil, noSuchUpload
	}
	return u, nil
}

func (s *Server) uploadPart(r *request) *failure {
	u, f := r.upload()
	if f != nil {
		return f
	}
	n, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || n < 1 || n > 10_000 {
		return &failure{400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive"}
	}
	u.parts[n] = r.body
	r.w.Header().Set("ETag", quoted(sum(r.body)))
	return nil
}

func (s *Server) completeUpload(r *request) *failure {
	id := r.URL.Query().Get("uploadId")
	if etag := r.bucket.completed[id]; etag != "" && s.CompleteAgain {
		return r.completed(etag)
	}
	u, f := r.upload()
	if f != nil {
		return f
	}
	var in struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(r.body, &in); err != nil || len(in.Part) == 0 {
		return &failure{400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"}
	}
	if f := s.condition(r); f != nil {
		return f
	}
	var body bytes.Buffer
	all, last := md5.New(), 0
	for i, p := range in.Part {
		part, found := u.parts[p.PartNumber]
		switch {
		case p.PartNumber <= last:
			return &failure{400, "InvalidPartOrder", "The list of parts was not in ascending order."}
		case !found || strings.Trim(p.ETag, `"`) != sum(part):
			return &failure{400, "InvalidPart", "One or more of the specified parts could not be found."}
		case i < len(in.Part)-1 && int64(len(part)) < cmp.Or(s.MinPart, minPart):
			return &failure{400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"}
		}
		last = p.PartNumber
		body.Write(part)
		one := md5.Sum(part)
		all.Write(one[:])
	}
	etag := hex.EncodeToString(all.Sum(nil)) + "-" + strconv.Itoa(len(in.Part))
	r.bucket.put(r.key, body.Bytes(), etag)
	r.bucket.completed[id] = etag
	delete(r.bucket.uploads, id)
	return r.completed(etag)
}

func (r *request) completed(etag string) *failure {
	return r.xml(struct {
		XMLName                     xml.Name `xml:"CompleteMultipartUploadResult"`
		Location, Bucket, Key, ETag string
	}{Key: r.key, ETag: quoted(etag)})
}

func (s *Server) abortUpload(r *request) *failure {
	u, f := r.upload()
	if f != nil {
		return f
	}
	delete(r.bucket.uploads, u.id)
	r.status = http.StatusNoContent
	return nil
}

func (s *Server) listParts(r *request) *failure {
	u, f := r.upload()
	if f != nil {
		return f
	}
	type part struct {
		PartNumber, Size int
		ETag             string
	}
	out := struct {
		XMLName       xml.Name `xml:"ListPartsResult"`
		Key, UploadId string
		IsTruncated   bool
		Part          []part
	}{Key: u.key, UploadId: u.id}
	after, _ := strconv.Atoi(r.URL.Query().Get("part-number-marker"))
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		if n <= after {
			continue
		}
		if len(out.Part) == s.pageOf(r, "max-parts") {
			out.IsTruncated = true
			break
		}
		out.Part = append(out.Part, part{n, len(u.parts[n]), quoted(sum(u.parts[n]))})
	}
	return r.xml(out)
}

func (s *Server) listUploads(r *request) *failure {
	type item struct{ Key, UploadId, Initiated string }
	q := r.URL.Query()
	out := struct {
		XMLName                           xml.Name `xml:"ListMultipartUploadsResult"`
		Prefix                            string
		EncodingType                      string `xml:",omitempty"`
		NextKeyMarker, NextUploadIdMarker string `xml:",omitempty"`
		IsTruncated                       bool
		Upload                            []item
	}{Prefix: q.Get("prefix"), EncodingType: q.Get("encoding-type")}
	all := slices.SortedFunc(maps.Values(r.bucket.uploads), func(a, b *upload) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id))
	})
	for _, u := range all {
		after := u.key > q.Get("key-marker") || u.key == q.Get("key-marker") && q.Get("upload-id-marker") != "" && u.id > q.Get("upload-id-marker")
		if !strings.HasPrefix(u.key, out.Prefix) || !after {
			continue
		}
		if len(out.Upload) == s.pageOf(r, "max-uploads") {
			out.IsTruncated = true
			last := out.Upload[len(out.Upload)-1]
			out.NextKeyMarker, out.NextUploadIdMarker = last.Key, last.UploadId
			break
		}
		out.Upload = append(out.Upload, item{escaped(u.key, out.EncodingType), u.id, u.at.Format(time.RFC3339)})
	}
	return r.xml(out)
}
