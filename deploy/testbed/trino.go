package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// TrinoServer is the engine inside Athena. Its catalog "hive" has its tables in
// Glue on moto and its files in MinIO.
type TrinoServer struct {
	*Container
	Endpoint string // from here
	schema   string // of names without one
}

const hiveCatalog = `connector.name=hive
hive.metastore=glue
hive.metastore.glue.region=us-east-1
hive.metastore.glue.endpoint-url=http://moto:5000
hive.metastore.glue.aws-access-key=test
hive.metastore.glue.aws-secret-key=test
fs.native-s3.enabled=true
s3.endpoint=http://minio:9000
s3.region=us-east-1
s3.path-style-access=true
s3.aws-access-key=minioadmin
s3.aws-secret-key=minioadmin
hive.partition-projection-enabled=true
`

var trino = once{spec: spec{
	name: "trino", image: "trinodb/trino:476", ports: []string{"8080/tcp"},
	options: func(*Container) []testcontainers.ContainerCustomizer {
		return []testcontainers.ContainerCustomizer{
			testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader(hiveCatalog), ContainerFilePath: "/etc/trino/catalog/hive.properties", FileMode: 0o644}),
			// All that is cheaper says that it is ready before it has a node for its catalogs.
			testcontainers.WithWaitStrategyAndDeadline(startLimit, wait.ForHealthCheck().WithStartupTimeout(startLimit)),
		}
	},
}}

// Trino is the engine of this process, with MinIO and moto behind it.
func Trino(t testing.TB) *TrinoServer {
	t.Helper()
	MinIO(t)
	Moto(t)
	c := trino.get(t)
	return &TrinoServer{Container: c, Endpoint: "http://" + c.address("8080/tcp")}
}

// In is the engine for statements whose names without a schema are of this one.
func (s *TrinoServer) In(schema string) *TrinoServer {
	in := *s
	in.schema = schema
	return &in
}

// Query runs a statement and gives its rows: numbers as json.Number, so that none
// is rounded, all else as Trino has it in JSON.
func (s *TrinoServer) Query(t testing.TB, statement string) [][]any {
	t.Helper()
	rows, err := s.query(statement)
	if err != nil {
		t.Fatalf("trino: %s\n%v", statement, err)
	}
	return rows
}

// Try runs a statement that may fail.
func (s *TrinoServer) Try(statement string) ([][]any, error) { return s.query(statement) }

func (s *TrinoServer) query(statement string) ([][]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var rows [][]any
	method, url, body := http.MethodPost, s.Endpoint+"/v1/statement", statement
	for url != "" {
		var page struct {
			NextURI string  `json:"nextUri"`
			Data    [][]any `json:"data"`
			Error   *struct {
				Message string `json:"message"`
				Name    string `json:"errorName"`
			} `json:"error"`
		}
		if err := s.ask(ctx, method, url, body, &page); err != nil {
			return nil, err
		}
		if page.Error != nil {
			return nil, fmt.Errorf("%s: %s", page.Error.Name, page.Error.Message)
		}
		rows = append(rows, page.Data...)
		method, url, body = http.MethodGet, page.NextURI, ""
	}
	return rows, nil
}

func (s *TrinoServer) ask(ctx context.Context, method, url, body string, answer any) error {
	for {
		r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("X-Trino-User", "test")
		r.Header.Set("X-Trino-Catalog", "hive")
		if s.schema != "" {
			r.Header.Set("X-Trino-Schema", s.schema)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(got.Body)
		got.Body.Close()
		switch {
		case err != nil:
			return err
		case got.StatusCode == http.StatusServiceUnavailable || got.StatusCode == http.StatusBadGateway || got.StatusCode == http.StatusGatewayTimeout:
			// "try again", the protocol says
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		case got.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %s", got.Status, text)
		default:
			d := json.NewDecoder(strings.NewReader(string(text)))
			d.UseNumber()
			return d.Decode(answer)
		}
	}
}
