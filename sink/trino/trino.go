// Package trino asks a Trino server over its HTTP protocol.
package trino

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lakefeed/sink/query"
)

// Engine is a Trino server, and the session that statements run in.
type Engine struct {
	URL      string // http://host:8080
	User     string
	Password string // only over https; none when empty
	Catalog  string
	Schema   string
	Client   *http.Client // nil: a default
}

// Validate reports every fault at once.
func (e *Engine) Validate() error {
	var errs []error
	u, err := url.Parse(e.URL)
	if err == nil && u.User != nil {
		errs = append(errs, fmt.Errorf("trino server %q: leave user and password out of the URL, and give them as such", u.Redacted()))
	} else if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, fmt.Errorf("trino server %q: want a URL such as http://localhost:8080", e.URL))
	} else if e.Password != "" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("trino server %s: a password is sent over https only", e.URL))
	}
	if e.User == "" {
		errs = append(errs, errors.New("trino: no user"))
	}
	return errors.Join(errs...)
}

// page is one answer of the server.
type page struct {
	NextURI string `json:"nextUri"`
	Columns []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"columns"`
	Data  [][]json.RawMessage `json:"data"`
	Error *struct {
		Message  string `json:"message"`
		Name     string `json:"errorName"`
		Type     string `json:"errorType"`
		Location *struct {
			Line   int `json:"lineNumber"`
			Column int `json:"columnNumber"`
		} `json:"errorLocation"`
	} `json:"error"`
}

// Query runs one statement. When ctx ends the server is told to stop.
func (e *Engine) Query(ctx context.Context, sql string, out query.Writer) error {
	if err := e.Validate(); err != nil {
		return err
	}
	sql = strings.TrimRight(sql, "; \t\r\n") // the server takes none, and people end statements with them
	next, method, body := strings.TrimSuffix(e.URL, "/")+"/v1/statement", http.MethodPost, sql
	begun := false
	for next != "" {
		p, err := e.ask(ctx, method, next, body)
		if err == nil && p.Error != nil {
			return p.failure()
		}
		if err == nil {
			err = p.hand(out, &begun)
		}
		if err != nil {
			if method == http.MethodGet {
				e.cancel(ctx, next)
			}
			return err
		}
		next, method, body = p.NextURI, http.MethodGet, ""
	}
	if !begun { // a statement without a result
		return out.Columns(nil)
	}
	return nil
}

// hand gives a page's rows to out.
func (p *page) hand(out query.Writer, begun *bool) error {
	if len(p.Columns) > 0 && !*begun {
		columns := make([]query.Column, len(p.Columns))
		for i, c := range p.Columns {
			columns[i] = query.Column{Name: c.Name, Type: c.Type}
		}
		*begun = true
		if err := out.Columns(columns); err != nil {
			return err
		}
	}
	values := make([]any, len(p.Columns))
	for _, row := range p.Data {
		values = values[:0]
		for _, raw := range row {
			v, err := value(raw)
			if err != nil {
				return fmt.Errorf("read Trino's answer: %w", err)
			}
			values = append(values, v)
		}
		if err := out.Row(values); err != nil {
			return err
		}
	}
	return nil
}

func value(raw json.RawMessage) (any, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == '[' || raw[0] == '{' {
		return raw, nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err := d.Decode(&v)
	return v, err
}

// failure is the statement's error, with its place in the statement.
func (p *page) failure() error {
	text := p.Error.Message
	if l := p.Error.Location; l != nil {
		if at := fmt.Sprintf("line %d:%d", l.Line, l.Column); !strings.HasPrefix(text, at) {
			text = at + ": " + text
		}
	}
	return &query.Error{Engine: "Trino", Message: text + " (" + p.Error.Name + ")", User: p.Error.Type == "USER_ERROR"}
}

// patience is how long a server that is not ready is asked again.
const patience = 30 * time.Second

// ask makes one request. The protocol says that 502, 503 and 504 mean "again".
func (e *Engine) ask(ctx context.Context, method, address, body string) (*page, error) {
	for began := time.Now(); ; {
		resp, err := e.do(ctx, method, address, body)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("ask Trino at %s: %w: %w (is it running, and is --trino-url right?)", e.URL, query.ErrUnreachable, err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("ask Trino at %s: %w: %w", e.URL, query.ErrUnreachable, err)
		case resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout:
			if time.Since(began) > patience {
				return nil, fmt.Errorf("ask Trino at %s: %w: it says %s for %v", e.URL, query.ErrUnreachable, resp.Status, patience)
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			return nil, fmt.Errorf("ask Trino at %s as %s: %w: it says %s (look at the user and its password)", e.URL, e.User, fs.ErrPermission, resp.Status)
		case resp.StatusCode != http.StatusOK:
			said, _, _ := bytes.Cut(bytes.TrimSpace(text[:min(len(text), 500)]), []byte("\n"))
			return nil, fmt.Errorf("ask Trino at %s: %w: it says %s: %s (is it Trino that answers there, and is --trino-url right?)", e.URL, query.ErrUnreachable, resp.Status, said)
		default:
			p := new(page)
			if err := json.Unmarshal(text, p); err != nil {
				return nil, fmt.Errorf("ask Trino at %s: %w: the answer is not Trino's: %w (is --trino-url right?)", e.URL, query.ErrUnreachable, err)
			}
			return p, nil
		}
	}
}

func (e *Engine) do(ctx context.Context, method, address, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"User": e.User, "Source": "lakefeed", "Catalog": e.Catalog, "Schema": e.Schema} {
		if text != "" {
			r.Header.Set("X-Trino-"+name, text)
		}
	}
	if e.Password != "" {
		r.SetBasicAuth(e.User, e.Password)
	}
	client := e.Client
	if client == nil {
		client = http.DefaultClient
	}
	return client.Do(r)
}

// cancel stops a statement that nobody waits for any more.
func (e *Engine) cancel(ctx context.Context, next string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if resp, err := e.do(ctx, http.MethodDelete, next, ""); err == nil { // it would end by itself, later
		resp.Body.Close()
	}
}
