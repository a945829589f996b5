// Package s3test has an S3 in memory for tests, and a proxy that makes any S3 fail
// on demand. Both are plain HTTP handlers and need no container.
package s3test

import (
	"net/http"
	"strings"
)

// The operations, as the API and its permissions name them.
const (
	PutObject               = "PutObject"
	GetObject               = "GetObject"
	HeadObject              = "HeadObject"
	DeleteObject            = "DeleteObject"
	CopyObject              = "CopyObject"
	ListObjects             = "ListObjectsV2"
	CreateMultipartUpload   = "CreateMultipartUpload"
	UploadPart              = "UploadPart"
	CompleteMultipartUpload = "CompleteMultipartUpload"
	AbortMultipartUpload    = "AbortMultipartUpload"
	ListParts               = "ListParts"
	ListMultipartUploads    = "ListMultipartUploads"
	GetLifecycle            = "GetBucketLifecycleConfiguration"
	HeadBucket              = "HeadBucket"
)

// Operation tells what a request in path style asks for: an operation, or "" for
// one that lakefeed does not use, and of what.
func Operation(r *http.Request) (operation, bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	if key == "" {
		switch {
		case r.Method == http.MethodGet && q.Has("uploads"):
			operation = ListMultipartUploads
		case r.Method == http.MethodGet && q.Has("lifecycle"):
			operation = GetLifecycle
		case r.Method == http.MethodGet && q.Get("list-type") == "2":
			operation = ListObjects
		case r.Method == http.MethodHead:
			operation = HeadBucket
		}
		return operation, bucket, key
	}
	switch upload := q.Has("uploadId"); {
	case r.Method == http.MethodPut && upload:
		operation = UploadPart
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		operation = CopyObject
	case r.Method == http.MethodPut:
		operation = PutObject
	case r.Method == http.MethodPost && q.Has("uploads"):
		operation = CreateMultipartUpload
	case r.Method == http.MethodPost && upload:
		operation = CompleteMultipartUpload
	case r.Method == http.MethodGet && upload:
		operation = ListParts
	case r.Method == http.MethodGet:
		operation = GetObject
	case r.Method == http.MethodHead:
		operation = HeadObject
	case r.Method == http.MethodDelete && upload:
		operation = AbortMultipartUpload
	case r.Method == http.MethodDelete:
		operation = DeleteObject
	}
	return operation, bucket, key
}
