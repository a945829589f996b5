package s3

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lakefeed/sink"
	"lakefeed/sink/awsclient"
)

// ListStaged asks for the uploads that are neither completed nor aborted. How long
// they are is not known: that would be a request for each.
func (s *Store) ListStaged(ctx context.Context, table string) iter.Seq2[sink.Staged, error] {
	return func(yield func(sink.Staged, error) bool) {
		some := false
		give := func(staged sink.Staged, err error) bool {
			some = true
			return yield(staged, err)
		}
		if !s.uploads(ctx, s.prefix+table, table, give) || some {
			return
		}
		// MinIO gives the uploads of one key or of a whole bucket, and of a prefix none.
		if s.client.Options().BaseEndpoint != nil {
			s.uploads(ctx, "", table, yield)
		}
	}
}

// uploads gives a table's uploads among those whose names begin with a prefix. It
// says whether it came to their end.
func (s *Store) uploads(ctx context.Context, prefix, table string, yield func(sink.Staged, error) bool) bool {
	in := &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
	for {
		page, err := s.uploadPage(ctx, in)
		if err != nil {
			yield(sink.Staged{}, s.failed(ctx, "list the uploads of", table, err))
			return false
		}
		for _, u := range page.Uploads {
			name, err := decoded(u.Key, page.EncodingType)
			key, below := strings.CutPrefix(name, s.prefix)
			top, _, _ := strings.Cut(key, "/")
			if err != nil || !below || !fs.ValidPath(key) || sink.TableOfFolder(top) != table {
				continue
			}
			if !yield(sink.Staged{Key: key, Upload: aws.ToString(u.UploadId), At: aws.ToTime(u.Initiated).UTC()}, nil) {
				return false
			}
		}
		next, err := decoded(page.NextKeyMarker, page.EncodingType)
		if !aws.ToBool(page.IsTruncated) || err != nil || next == "" {
			return true
		}
		in.KeyMarker, in.UploadIdMarker = &next, page.NextUploadIdMarker
	}
}

func (s *Store) uploadPage(ctx context.Context, in *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	return s.client.ListMultipartUploads(limited, in)
}

// decoded is a name as it is, of a listing that may have encoded it.
func decoded(name *string, encoding types.EncodingType) (string, error) {
	if encoding != types.EncodingTypeUrl {
		return aws.ToString(name), nil
	}
	return url.QueryUnescape(aws.ToString(name))
}

// leastAbortDays is when a rule may remove unfinished uploads at the earliest.
const leastAbortDays = 7

// CheckLifecycle reads the bucket's lifecycle rules.
func (s *Store) CheckLifecycle(ctx context.Context) (faults []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	out, err := s.client.GetBucketLifecycleConfiguration(limited, &s3.GetBucketLifecycleConfigurationInput{Bucket: &s.bucket})
	if err != nil && awsclient.Code(err) != "NoSuchLifecycleConfiguration" {
		return nil, fmt.Errorf("read the lifecycle rules of s3://%s: %w", s.bucket, explain(ctx, err, "s3://"+s.bucket))
	}
	var rules []types.LifecycleRule
	if err == nil {
		rules = out.Rules
	}
	return s.judge(rules), nil
}

// judge says what is wrong with a bucket's rules.
func (s *Store) judge(rules []types.LifecycleRule) (faults []string) {
	aborted := false
	for _, r := range rules {
		prefix, every := scope(r)
		if r.Status != types.ExpirationStatusEnabled {
			continue
		}
		name := "the lifecycle rule " + aws.ToString(r.ID) + " of s3://" + s.bucket
		if a := r.AbortIncompleteMultipartUpload; a != nil && every && strings.HasPrefix(s.prefix, prefix) {
			aborted = true
			if aws.ToInt32(a.DaysAfterInitiation) < leastAbortDays {
				faults = append(faults, name+" aborts uploads that may be of a batch under way: it needs 7 days at the least, better 14")
			}
		}
		state := s.prefix + sink.Root + "/"
		if every && (strings.HasPrefix(state, prefix) || strings.HasPrefix(prefix, state)) && removes(r) {
			faults = append(faults, name+" removes or archives objects of "+s.uri(sink.Root+"/")+", without which the lake is lost: leave that prefix out")
		}
	}
	if !aborted {
		faults = append(faults, "s3://"+s.bucket+" has no lifecycle rule that removes unfinished uploads of "+s.String()+": what crashes leave is invisible and costs storage; add AbortIncompleteMultipartUpload after 14 days")
	}
	return faults
}

// scope is the prefix of the objects that a rule is for, and whether it is for all
// that have it: lakefeed's have no tags.
func scope(r types.LifecycleRule) (prefix string, every bool) {
	switch f := r.Filter; {
	case f == nil:
		//lint:ignore SA1019 rules that were made before there were filters have it
		return aws.ToString(r.Prefix), true
	case f.And != nil:
		return aws.ToString(f.And.Prefix), len(f.And.Tags) == 0
	default:
		return aws.ToString(f.Prefix), f.Tag == nil
	}
}

// removes says whether a rule takes objects away that are current, or puts them
// where they cannot be read at once.
func removes(r types.LifecycleRule) bool {
	if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) {
		return true
	}
	for _, t := range r.Transitions {
		if t.StorageClass == types.TransitionStorageClassGlacier || t.StorageClass == types.TransitionStorageClassDeepArchive {
			return true
		}
	}
	return false
}
