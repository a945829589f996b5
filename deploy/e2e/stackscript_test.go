package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lakefeed/deploy/testbed"
)

// The scripts in testdata/stack have Kafka at $BROKERS, a bucket for sources at $SOURCE
// and one for a lake at $LAKE, Trino at $TRINO, Glue with the database $DATABASE, the
// table $TABLE for themselves, and beside the commands of TestScripts
//
//	put KEY TEXT                put an object into the source bucket
//	trino SQL                   print what Trino answers: a line a row
//	glue well                   Glue does what it should
//	glue deny ACTION            it says AccessDeniedException to this action
//	glue cut                    it closes every connection
//	glue hang                   it takes requests and answers none
//	glue throttle N M           it says ThrottlingException to N of M requests
//	glue conflict ACTION N      it says ConcurrentModificationException N times
//	glue count ACTION N         it has got N requests of this action
//	glue forget                 the database is gone
func TestStackScripts(t *testing.T) {
	kafka, s3, moto, trino := testbed.Kafka(t), testbed.MinIO(t), testbed.Moto(t), testbed.Trino(t)
	said := loadGoldens(t, filepath.Join("testdata", "stack", "errors.golden"))
	t.Cleanup(func() { said.finish(t) })
	testscript.Run(t, testscript.Params{
		Dir:         filepath.Join("testdata", "stack"),
		WorkdirRoot: t.TempDir(),
		Setup: func(env *testscript.Env) error {
			proxy := testbed.NewGlueProxy(moto.Endpoint)
			ended := make(chan struct{})
			env.Defer(func() {
				close(ended)
				proxy.Close()
			})
			bucket := s3.Bucket(t)
			env.Values["glue"], env.Values["ended"], env.Values["source"] = proxy, ended, bucket
			for _, e := range s3.Env() {
				name, value, _ := strings.Cut(e, "=")
				env.Setenv(name, value)
			}
			for name, value := range map[string]string{
				"HOME": env.WorkDir, "AWS_ENDPOINT_URL_GLUE": proxy.URL(), "BROKERS": kafka.Brokers, "SOURCE": "s3://" + bucket, "LAKE": "s3://" + s3.Bucket(t),
				"TRINO": trino.Endpoint, "DATABASE": database(), "TABLE": strings.ReplaceAll(testbed.Name("t"), "-", "_"), "S3_HOST": strings.TrimPrefix(s3.Endpoint, "http://"),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lakefeed": func(ts *testscript.TestScript, _ bool, args []string) { runScripted(ts, said, args) },
			"write": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(unquote(ts, args[1])), 0o666))
			},
			"put": func(ts *testscript.TestScript, _ bool, args []string) {
				s3.Put(t, ts.Value("source").(string), args[0], []byte(unquote(ts, args[1])))
			},
			"trino": func(ts *testscript.TestScript, _ bool, args []string) {
				rows, err := trino.In(ts.Getenv("DATABASE")).Try(args[0])
				ts.Check(err)
				for _, row := range rows {
					var cells []string
					for _, v := range row {
						cells = append(cells, fmt.Sprint(v))
					}
					fmt.Fprintln(ts.Stdout(), strings.Join(cells, " | "))
				}
			},
			"glue": scriptGlue,
		},
	})
}

func scriptGlue(ts *testscript.TestScript, _ bool, args []string) {
	proxy := ts.Value("glue").(*testbed.GlueProxy)
	switch verb := args[0]; verb {
	case "well":
		proxy.Before(nil)
		proxy.Throttle(0, 0)
	case "deny":
		proxy.Before(func(c testbed.GlueCall) *testbed.GlueFailure {
			if c.Action != args[1] {
				return nil
			}
			return &testbed.GlueFailure{Code: "AccessDeniedException", Message: "User is not authorized to perform: glue:" + c.Action}
		})
	case "cut":
		proxy.Before(func(testbed.GlueCall) *testbed.GlueFailure { return &testbed.GlueFailure{} })
	case "hang":
		ended := ts.Value("ended").(chan struct{})
		proxy.Before(func(testbed.GlueCall) *testbed.GlueFailure {
			<-ended
			return &testbed.GlueFailure{}
		})
	case "throttle":
		proxy.Throttle(number(ts, args[1]), number(ts, args[2]))
	case "conflict":
		var times atomic.Int64
		times.Store(int64(number(ts, args[2])))
		proxy.Before(func(c testbed.GlueCall) *testbed.GlueFailure {
			if c.Action != args[1] || times.Add(-1) < 0 {
				return nil
			}
			return &testbed.GlueFailure{Code: "ConcurrentModificationException", Message: "Update table failed due to concurrent modifications."}
		})
	case "count":
		if n := proxy.Count(args[1]); n != number(ts, args[2]) {
			ts.Fatalf("%d requests of %s, want %s", n, args[1], args[2])
		}
	case "forget":
		ts.Check(proxy.Forget(ts.Getenv("DATABASE")))
	default:
		ts.Fatalf("glue %s: there is no such thing", verb)
	}
}
