package e2e

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"lakefeed/deploy/testbed/s3test"
)

// No secret that lakefeed is given comes out of it: not at the most talkative level,
// not as JSON, not when things go wrong, and not into the topic's log, the lake's
// records and evidence, or its files.
func TestSecretsStayInside(t *testing.T) {
	l := newBucketLake(t)
	l.server.Put("raw", "rows/a.csv", []byte(rowsHeader+rowsCSV(0, 3000)+"no row\n"))
	refuses := s3test.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"__type":"AccessDeniedException","message":"User is not authorized"}`))
	}))
	l.address = strings.Replace(l.address, "127.0.0.1", "localhost", 1)
	l.at("key").Setenv(t)
	for name, value := range map[string]string{
		"AWS_SECRET_ACCESS_KEY": "canary+of/aws==", "AWS_SESSION_TOKEN": "canary-token", "CANARY": "canary-of-variable",
		"AWS_ENDPOINT_URL_GLUE": refuses, "AWS_ENDPOINT_URL_ATHENA": refuses,
	} {
		t.Setenv(name, value)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "canary-of-variable"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	dir := t.TempDir()
	config := func(name, text string) string {
		name = filepath.Join(dir, name)
		writeFile(t, name, text)
		return name
	}
	kafka := `kafka: {bootstrap.servers: "` + broker.ListenAddrs()[0] + `", security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, sasl.username: user, sasl.password: "${CANARY}", lakefeed.allow.plaintext.password: "true"}
`
	feeds := "lake: s3://lake/kafka\nfeeds: [{table: rows, source: s3://raw/rows/}]\n"
	good := config("good.yaml", kafka+feeds)
	wrong := config("wrong.yaml", strings.Replace(kafka, "${CANARY}", "canary-that-is-wrong", 1)+feeds)
	broken := config("broken.yaml", strings.Replace(kafka, "sasl.password:", "sasl.pasword:", 1)+strings.Replace(feeds, "table:", "tabel: x, table:", 1))
	denied := func(string) {
		l.server.SetUser("key", s3test.User{Denied: func(action, _, _ string) bool { return action == "PutObject" }})
	}
	embedded := filepath.Join(l.dir, "kafka")
	logs := []string{"--log-level", "debug"}
	for _, c := range []struct {
		args   string
		code   int
		before func(string)
	}{
		{"ingest s3://raw/rows/ --table rows --lake s3://lake/feeds --kafka-dir " + embedded + " -o json --progress json --meta --quarantine-max-share 100%", 0, nil},
		{"ingest s3://raw/rows/ --table rows --lake s3://lake/feeds --kafka-dir " + embedded + " --log-json --meta --glue-database d", 0, nil},
		{"ingest -c " + good + " -o json --progress json", 0, nil},
		{"validate -c " + good + " -o json", 0, nil},
		{"validate -c " + broken, 2, nil},
		{"validate -c " + broken + " -o json", 2, nil},
		{"produce -c " + good + " --progress line", 0, nil},
		{"consume -c " + good + " --drain -o json", 0, nil},
		{"ingest -c " + wrong, 7, nil},
		{"audit rows --lake s3://lake/feeds --deep -o json --kafka-dir " + embedded, 0, nil},
		{"register rows --lake s3://lake/feeds", 0, nil},
		{"register rows --lake s3://lake/feeds --glue-database d", 7, nil},
		{"schema why rows id --lake s3://lake/feeds -o json", 0, nil},
		{"schema log rows --lake s3://lake/feeds", 0, nil},
		{"files rows --lake s3://lake/feeds -o json", 0, nil},
		{"query --athena-database d SELECT", 7, nil},
		{"query --trino-url http://user:canary@127.0.0.1:1 SELECT", 2, nil},
		{"query --trino-url https://127.0.0.1:1 --trino-password canary SELECT", 6, nil},
		{"sniff https://user:canary@host/a.csv", -1, nil},
		{"ingest https://user:canary@host/a.csv --table a --lake " + dir + "/lake", 2, nil},
		{"ingest s3://user:canary@raw/rows/ --table a --lake " + dir + "/lake", 2, nil},
		{"ingest https://raw.s3.amazonaws.com/a.csv?X-Amz-Credential=canary&X-Amz-Signature=canary&X-Amz-Security-Token=canary --table a --lake " + dir + "/lake", 2, nil},
		{"ingest s3://raw/rows/ --table a --source-name https://user:canary@host/rows --lake " + dir + "/lake", 2, nil},
		{"ingest s3://raw/rows/ --table a --lake s3://user:canary@lake/feeds --kafka-dir " + embedded, 2, nil},
		{"ingest s3://raw/rows/ --table a --brokers user:canary@127.0.0.1:1 --lake s3://lake/feeds", 2, nil},
		{"ingest s3://raw/rows/ --table b --lake s3://lake/denied --kafka-dir " + embedded, 7, denied},
		{"ingest s3://raw/rows/ --table b --lake s3://lake/feeds --kafka-dir " + embedded, 2, func(string) {
			t.Setenv("AWS_ENDPOINT_URL_S3", strings.Replace(l.address, "http://", "http://user:canary@", 1))
		}},
		{"ingest s3://raw/rows/ --table b --lake s3://lake/feeds --kafka-dir " + embedded, 2, func(string) { t.Setenv("AWS_ENDPOINT_URL_S3", "user:canary@host:9000") }},
		{"ingest s3://raw/rows/ --table b --lake s3://lake/feeds --kafka-dir " + embedded, 6, func(string) { t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1") }},
	} {
		if c.before != nil {
			c.before("")
		}
		r := run(t, append(strings.Fields(c.args), logs...)...)
		if c.code >= 0 && r.code != c.code {
			t.Errorf("%s: want exit %d, got %v", c.args, c.code, r)
		}
		if strings.Contains(r.stdout+r.stderr, "canary") {
			t.Errorf("%s: %v", c.args, r)
		}
		l.server.SetUser("key", s3test.User{})
	}
	objects := l.server.Keys("lake", "")
	records := 0
	for _, key := range objects {
		if bytes.Contains(l.server.Get("lake", key), []byte("canary")) {
			t.Errorf("s3://lake/%s has a secret in it", key)
		}
		if strings.Contains(key, "/commits/") {
			records++
		}
	}
	if records < 2 {
		t.Errorf("of %d objects %d are records: nothing is shown by them", len(objects), records)
	}
	files := 0
	for _, folder := range []string{l.dir, filepath.Join(dir, "lake")} {
		err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			files++
			if strings.Contains(readFile(t, name), "canary") {
				t.Errorf("%s has a secret in it", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files == 0 {
		t.Error("there is no log of the embedded Kafka")
	}
}
