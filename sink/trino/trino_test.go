package trino_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lakefeed/sink/query"
	"lakefeed/sink/trino"
)

// result keeps what a query gives.
type result struct {
	columns []query.Column
	rows    [][]any
	row     func() // called for each row
}

func (r *result) Columns(c []query.Column) error { r.columns = c; return nil }

func (r *result) Row(values []any) error {
	r.rows = append(r.rows, append([]any{}, values...))
	if r.row != nil {
		r.row()
	}
	return nil
}

// server answers a statement, and then each page by its number.
func server(t *testing.T, pages ...string) (*trino.Engine, *[]string) {
	t.Helper()
	var asked []string
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		n := 0
		if r.Method == http.MethodGet {
			fmt.Sscanf(r.URL.Path, "/page/%d", &n)
		}
		if r.Method == http.MethodDelete {
			return
		}
		if code, ok := strings.CutPrefix(pages[n], "HTTP "); ok {
			pages[n] = `{}`
			var status int
			fmt.Sscan(code, &status)
			w.WriteHeader(status)
			return
		}
		var page map[string]json.RawMessage
		if err := json.Unmarshal([]byte(pages[n]), &page); err != nil {
			t.Error(err)
		}
		if n+1 < len(pages) {
			page["nextUri"] = fmt.Appendf(nil, `"%s/page/%d"`, s.URL, n+1)
		}
		json.NewEncoder(w).Encode(page)
	}))
	t.Cleanup(s.Close)
	return &trino.Engine{URL: s.URL, User: "me", Catalog: "hive", Schema: "feeds"}, &asked
}

func TestQuery(t *testing.T) {
	e, asked := server(t, `{}`, "HTTP 503", `{"columns":[{"name":"a","type":"bigint"},{"name":"m","type":"map(varchar,varchar)"},{"name":"s","type":"varchar"}],"data":[[9007199254740993,{"k":"v"},null]]}`,
		`{"columns":[{"name":"a","type":"bigint"},{"name":"m","type":"map(varchar,varchar)"},{"name":"s","type":"varchar"}],"data":[[1.50,null,"NULL"],[true,[1],""]]}`)
	var got result
	if err := e.Query(t.Context(), "SELECT 1 ;\n", &got); err != nil {
		t.Fatal(err)
	}
	want := [][]any{{json.Number("9007199254740993"), json.RawMessage(`{"k":"v"}`), nil}, {json.Number("1.50"), nil, "NULL"}, {true, json.RawMessage(`[1]`), ""}}
	if diff := cmp.Diff(want, got.rows); diff != "" {
		t.Error(diff)
	}
	if len(got.columns) != 3 || got.columns[1].Name != "m" || (*asked)[0] != "POST /v1/statement SELECT 1" {
		t.Errorf("%v %q", got.columns, *asked)
	}
}

func TestErrors(t *testing.T) {
	e, _ := server(t, `{"error":{"message":"line 1:8: Column 'x' cannot be resolved","errorName":"COLUMN_NOT_FOUND","errorType":"USER_ERROR","errorLocation":{"lineNumber":1,"columnNumber":8}}}`)
	err := e.Query(t.Context(), "SELECT x", &result{})
	if failed, ok := errors.AsType[*query.Error](err); !ok || !failed.User || !strings.Contains(err.Error(), "line 1:8: Column 'x'") {
		t.Errorf("%v", err)
	}
	e, _ = server(t, "HTTP 401")
	if err := e.Query(t.Context(), "SELECT 1", &result{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
	e.URL = "http://127.0.0.1:1"
	if err := e.Query(t.Context(), "SELECT 1", &result{}); !errors.Is(err, query.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if err := (&trino.Engine{URL: "http://h:1", Password: "canary"}).Validate(); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "https") || !strings.Contains(err.Error(), "user") {
		t.Errorf("%v", err)
	}
}

// A query that is interrupted is not left running on the server.
func TestInterrupted(t *testing.T) {
	e, asked := server(t, `{"columns":[{"name":"a","type":"bigint"}],"data":[[1]]}`, `{"columns":[{"name":"a","type":"bigint"}],"data":[[2]]}`, `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	got := result{}
	got.row = func() {
		if len(got.rows) == 2 {
			cancel()
		}
	}
	if err := e.Query(ctx, "SELECT 1", &got); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if last := (*asked)[len(*asked)-1]; last != "DELETE /page/2 " {
		t.Errorf("%q", *asked)
	}
}
