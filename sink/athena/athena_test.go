package athena_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink/athena"
	"lakefeed/sink/query"
)

type result struct{ rows [][]any }

func (r *result) Columns([]query.Column) error { return nil }
func (r *result) Row(values []any) error {
	r.rows = append(r.rows, append([]any{}, values...))
	return nil
}

// service is an Athena that answers as the test says, and what it was asked.
func service(t *testing.T, answer func(action string, in map[string]any) (status int, body string)) *[]string {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := r.Header.Get("X-Amz-Target")
		action = action[strings.LastIndexByte(action, '.')+1:]
		b, _ := io.ReadAll(r.Body)
		var in map[string]any
		if err := json.Unmarshal(b, &in); err != nil {
			t.Error(err)
		}
		mu.Lock()
		asked = append(asked, action)
		mu.Unlock()
		status, body := answer(action, in)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": s.URL, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_ATHENA": "",
	} {
		t.Setenv(name, value)
	}
	return &asked
}

func state(s, more string) string {
	return fmt.Sprintf(`{"QueryExecution":{"QueryExecutionId":"q1","StatementType":"DML","Status":{"State":%q%s}}}`, s, more)
}

// A result comes page by page, without the row that repeats the columns' names.
func TestQuery(t *testing.T) {
	polls := 0
	asked := service(t, func(action string, in map[string]any) (int, string) {
		const columns = `"ResultSetMetadata":{"ColumnInfo":[{"Name":"n","Type":"bigint"},{"Name":"s","Type":"varchar"},{"Name":"b","Type":"boolean"},{"Name":"d","Type":"decimal"}]}`
		switch action {
		case "StartQueryExecution":
			if in["QueryString"] != "SELECT 1" || in["WorkGroup"] != "w" || in["QueryExecutionContext"].(map[string]any)["Database"] != "feeds" {
				t.Errorf("%v", in)
			}
			return 200, `{"QueryExecutionId":"q1"}`
		case "GetQueryExecution":
			if polls++; polls < 3 {
				return 200, state("RUNNING", "")
			}
			return 200, state("SUCCEEDED", "")
		}
		if in["NextToken"] == nil {
			return 200, `{"NextToken":"t","ResultSet":{` + columns + `,"Rows":[{"Data":[{"VarCharValue":"n"},{"VarCharValue":"s"},{"VarCharValue":"b"},{"VarCharValue":"d"}]},
				{"Data":[{"VarCharValue":"9007199254740993"},{},{"VarCharValue":"true"},{"VarCharValue":"1.50"}]}]}}`
		}
		return 200, `{"ResultSet":{` + columns + `,"Rows":[{"Data":[{"VarCharValue":"2"},{"VarCharValue":""},{"VarCharValue":"false"},{}]}]}}`
	})
	var got result
	if err := (&athena.Engine{Database: "feeds", Workgroup: "w"}).Query(t.Context(), "SELECT 1", &got); err != nil {
		t.Fatal(err)
	}
	want := [][]any{{json.Number("9007199254740993"), nil, true, "1.50"}, {json.Number("2"), "", false, nil}}
	if diff := cmp.Diff(want, got.rows); diff != "" {
		t.Error(diff)
	}
	if len(*asked) != 6 {
		t.Errorf("%q", *asked)
	}
}

func TestErrors(t *testing.T) {
	failed := state("FAILED", `,"StateChangeReason":"COLUMN_NOT_FOUND: line 1:8: Column 'x'","AthenaError":{"ErrorCategory":2}`)
	for name, c := range map[string]struct {
		status int
		start  string
		state  string
		says   string
		check  func(error) bool
	}{
		"statement":  {200, `{"QueryExecutionId":"q1"}`, failed, "line 1:8: Column 'x' (query q1)", isUser},
		"syntax":     {400, `{"__type":"InvalidRequestException","message":"line 1:1: mismatched input"}`, "", "mismatched input", isUser},
		"denied":     {400, `{"__type":"AccessDeniedException","message":"no"}`, "", "athena:StartQueryExecution", func(err error) bool { return errors.Is(err, fs.ErrPermission) }},
		"cancelled":  {200, `{"QueryExecutionId":"q1"}`, state("CANCELLED", ""), "cancelled", func(error) bool { return true }},
		"their side": {200, `{"QueryExecutionId":"q1"}`, state("FAILED", `,"StateChangeReason":"out of memory","AthenaError":{"ErrorCategory":1}`), "out of memory", func(err error) bool { return !isUser(err) }},
	} {
		t.Run(name, func(t *testing.T) {
			service(t, func(action string, _ map[string]any) (int, string) {
				if action == "StartQueryExecution" {
					return c.status, c.start
				}
				return 200, c.state
			})
			err := (&athena.Engine{}).Query(t.Context(), "SELECT x", &result{})
			if err == nil || !strings.Contains(err.Error(), c.says) || !c.check(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

func isUser(err error) bool {
	e, ok := errors.AsType[*query.Error](err)
	return ok && e.User
}

// An interrupted query is stopped in Athena, where it would cost.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := service(t, func(action string, _ map[string]any) (int, string) {
		switch action {
		case "StartQueryExecution":
			return 200, `{"QueryExecutionId":"q1"}`
		case "GetQueryExecution":
			cancel()
			return 200, state("RUNNING", "")
		}
		return 200, `{}`
	})
	if err := (&athena.Engine{}).Query(ctx, "SELECT 1", &result{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if last := (*asked)[len(*asked)-1]; last != "StopQueryExecution" {
		t.Errorf("%q", *asked)
	}
}
