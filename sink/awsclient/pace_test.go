package awsclient_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lakefeed/sink/awsclient"
)

// Requests of many at once go at the rate, those that are sent again because the store
// asked to slow down among them.
func TestRate(t *testing.T) {
	const rate, calls = 100, 40
	var answered atomic.Int64
	client, requests := answering(t, awsclient.Options{Rate: rate}, func(w http.ResponseWriter, r *http.Request) {
		if answered.Add(1)%2 == 1 {
			xml(503, "SlowDown", "Please reduce your request rate.")(w, r)
		}
	})
	began := time.Now()
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			if _, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sent := requests.Load()
	if sent <= calls {
		t.Errorf("%d requests for %d calls: none was sent again", sent, calls)
	}
	// A tenth of a second's may go at once.
	if least := time.Duration(sent-rate/10-1) * time.Second / rate; time.Since(began) < least {
		t.Errorf("%d requests in %v, want %v at least", sent, time.Since(began), least)
	}
}
