// Package s3source reads CSVs from S3 and what speaks its protocol: one object, all
// below a prefix, or those that match a pattern.
package s3source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lakefeed/producer"
	"lakefeed/sink/awsclient"
)

// Scheme begins the URIs of this package's sources.
const Scheme = "s3://"

// pace is how long a followed source is left alone after it was listed. A listing
// costs a request for each 1,000 keys.
const pace = 10 * time.Second

// Options say how a source is read.
type Options struct {
	Client *s3.Client // required
	// SourceName is the URI that stands for the source's bucket and folder, where
	// mirrors of it have others.
	SourceName string
}

// Source is a place in a bucket. What was sent is known by key, ETag and size (or
// version), never by time: times are as coarse as seconds, and objects do not
// appear in their order.
type Source struct {
	client  *s3.Client
	bucket  string
	name    string // key, prefix or pattern
	pattern bool
	as      string // what stands for bucket and folder in URIs
}

var _ producer.Paced = (*Source)(nil)

// globChars make a name a pattern; escaped by \ they stand for themselves.
const globChars = `*?[\`

// New names a source: s3://bucket/key, s3://bucket/prefix/ or a pattern such as
// s3://bucket/prefix/*.csv.gz, in which *, ? and [ do not match a slash. A name
// without a slash at its end is an object's, or else a prefix.
func New(uri string, o Options) (*Source, error) {
	rest, ok := strings.CutPrefix(uri, Scheme)
	bucket, name, _ := strings.Cut(rest, "/")
	switch {
	case !ok:
		return nil, fmt.Errorf("source %s: it does not begin with %s", uri, Scheme)
	case bucket == "" || strings.ContainsAny(bucket, globChars):
		return nil, fmt.Errorf("source %s: it names no bucket: write %sBUCKET/PREFIX", uri, Scheme)
	case o.Client == nil:
		return nil, errors.New("s3source: Client is required")
	}
	s := &Source{client: o.Client, bucket: bucket, name: name, pattern: strings.ContainsAny(name, globChars), as: strings.TrimSuffix(o.SourceName, "/")}
	if _, err := path.Match(name, ""); s.pattern && err != nil {
		return nil, fmt.Errorf("source %s: as a pattern it is wrong: %w", uri, err)
	}
	if strings.Contains(strings.ReplaceAll(name, `\*`, ""), "**") {
		return nil, fmt.Errorf("source %s: a pattern is of one depth of prefixes, and has no **: name the prefix, with a slash at its end, which is searched with all that is below it", uri)
	}
	return s, nil
}

// Pace is for how long a followed source is not listed again.
func (s *Source) Pace() time.Duration { return pace }

// Objects lists the objects that are there now, page by page.
func (s *Source) Objects(ctx context.Context) iter.Seq2[producer.Object, error] {
	switch {
	case s.pattern:
		literal := s.name[:strings.IndexAny(s.name, globChars)]
		base := literal[:strings.LastIndexByte(literal, '/')+1]
		return s.list(ctx, literal, base, s.matches)
	case s.name == "" || strings.HasSuffix(s.name, "/"):
		return s.below(ctx, s.name)
	}
	return func(yield func(producer.Object, error) bool) {
		k := s.key(s.name, s.name[:strings.LastIndexByte(s.name, '/')+1])
		one, err := k.stat(ctx)
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			yield(one, err)
			return
		}
		// No object, or none that may be seen: then it is a prefix.
		some := false
		for o, e := range s.below(ctx, s.name+"/") {
			if e != nil && o.URI == "" && errors.Is(err, fs.ErrPermission) {
				break // neither may be seen: the object is what was named
			}
			some = true
			if !yield(o, e) {
				return
			}
		}
		switch {
		case some:
		case errors.Is(err, fs.ErrNotExist):
			yield(one, fmt.Errorf("there is no such object, and no CSV below %s/ (all that begin with a text: %s*): %w", k.resource(), k.resource(), fs.ErrNotExist))
		default:
			yield(one, err)
		}
	}
}

// below are the objects in a folder that look like CSVs.
func (s *Source) below(ctx context.Context, folder string) iter.Seq2[producer.Object, error] {
	return s.list(ctx, folder, folder, func(key string) bool {
		rel := key[len(folder):]
		for part := range strings.SplitSeq(rel, "/") {
			if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "_") {
				return false
			}
		}
		return producer.LooksLikeCSV(path.Base(rel))
	})
}

// matches says whether the source's pattern means a key. As in a shell, a name
// with a dot before it has to be asked for.
func (s *Source) matches(key string) bool {
	if ok, err := path.Match(s.name, key); !ok || err != nil {
		return false
	}
	patterns, names := strings.Split(s.name, "/"), strings.Split(key, "/")
	for i, n := range names {
		if i < len(patterns) && strings.HasPrefix(n, ".") && !strings.HasPrefix(patterns[i], ".") {
			return false
		}
	}
	return true
}

// list gives the objects whose keys begin with a prefix and are wanted. base is the
// folder that SourceName stands for.
func (s *Source) list(ctx context.Context, prefix, base string, wanted func(key string) bool) iter.Seq2[producer.Object, error] {
	return func(yield func(producer.Object, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.bucket, Prefix: &prefix,
			EncodingType: types.EncodingTypeUrl, // XML cannot hold every key
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(producer.Object{}, fmt.Errorf("list %s%s/%s: %w", Scheme, s.bucket, prefix, s.explain(err, Scheme+s.bucket+"/"+prefix)))
				return
			}
			for _, found := range page.Contents {
				key := aws.ToString(found.Key)
				if page.EncodingType == types.EncodingTypeUrl {
					if key, err = url.QueryUnescape(key); err != nil {
						yield(producer.Object{}, fmt.Errorf("list %s%s/%s: %w", Scheme, s.bucket, prefix, err))
						return
					}
				}
				if strings.HasSuffix(key, "/") || !wanted(key) { // a key with a slash at its end stands for a folder
					continue
				}
				k := s.key(key, base)
				if !yield(k.object(aws.ToInt64(found.Size), aws.ToString(found.ETag), "", aws.ToTime(found.LastModified))) {
					return
				}
			}
		}
	}
}

// key is one key of the source's bucket.
type key struct {
	source *Source
	name   string
	uri    string
}

func (s *Source) key(name, base string) *key {
	k := &key{source: s, name: name, uri: Scheme + s.bucket + "/" + name}
	if s.as != "" {
		k.uri = s.as + "/" + name[len(base):]
	}
	return k
}

// resource is the key's own URI, for errors.
func (k *key) resource() string { return Scheme + k.source.bucket + "/" + k.name }

// object is the object that the store has under a key. id is its version id
// where the bucket keeps versions.
func (k *key) object(size int64, etag, id string, modified time.Time) (producer.Object, error) {
	o := producer.Object{URI: k.uri, Size: size, ModTime: modified.UTC(), Tag: strings.Trim(etag, `"`), Stat: k.stat}
	if o.Tag == "" {
		return o, errors.New("its store gives it no ETag, by which lakefeed knows what it has sent")
	}
	v := version{key: k, etag: etag, id: id, size: size}
	o.Open = v.open
	return o, nil
}

// reason asks again for what cannot be looked at, in a way that the store answers
// with a reason: to HEAD it does not.
func (k *key) reason(ctx context.Context, err error) error {
	if s := awsclient.Status(err); s != http.StatusForbidden && s != http.StatusBadRequest {
		return err
	}
	out, again := k.source.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &k.source.bucket, Key: &k.name, Range: aws.String("bytes=0-0")})
	if again != nil {
		return again
	}
	out.Body.Close()
	return err
}

// stat looks at the object that the store has under a key now.
func (k *key) stat(ctx context.Context) (producer.Object, error) {
	head, err := k.source.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &k.source.bucket, Key: &k.name})
	if err != nil {
		return producer.Object{URI: k.uri}, k.explain(k.reason(ctx, err), "")
	}
	id := aws.ToString(head.VersionId)
	if id == "null" { // of a bucket that keeps no versions, or did not: it is overwritten
		id = ""
	}
	o, err := k.object(aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), id, aws.ToTime(head.LastModified))
	o.Version = cmp.Or(id, fmt.Sprintf("%s+%d", o.Tag, o.Size))
	return o, err
}
