package broker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lakefeed/broker"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	certificate, key := ca.issue(t, "client")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no PEM"), 0o666); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(t.TempDir(), "absent.pem")
	some := []string{"localhost:9092"}
	for _, test := range []struct {
		name       string
		brokers    []string
		properties map[string]string
		want       []string // all in the error; none for no error
	}{
		{name: "brokers", brokers: []string{"a:1", "b", " c:3 ", "[::1]:9092", "::1", "[fe80::1]", "10.0.0.1", "a-b.example.com:65535"}},
		{name: "bootstrap.servers", properties: map[string]string{"bootstrap.servers": "a:1, b,c:3"}},
		{name: "flag before property", brokers: some, properties: map[string]string{"bootstrap.servers": "a:1"}},
		{name: "plain", brokers: some, properties: map[string]string{"security.protocol": "PLAINTEXT", "client.id": "me"}},
		{name: "TLS", brokers: some, properties: map[string]string{"security.protocol": "ssl", "ssl.ca.location": ca.file, "ssl.certificate.location": certificate, "ssl.key.location": key}},
		{name: "TLS by the system's authorities", brokers: some, properties: map[string]string{"security.protocol": "SSL"}},
		{name: "SASL", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.username": "u", "sasl.password": "p"}},
		{name: "SCRAM", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "u", "sasl.password": "p"}},
		{name: "librdkafka's name", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanisms": "scram-sha-512", "sasl.username": "u", "sasl.password": "p"}},
		{name: "SASL in the clear, allowed", brokers: some, properties: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p", "lakefeed.allow.plaintext.password": "true"}},

		{name: "no brokers", want: []string{"no brokers"}},
		{name: "empty bootstrap.servers", properties: map[string]string{"bootstrap.servers": ""}, want: []string{"no brokers"}},
		{name: "not addresses", brokers: []string{"", ":9092", "a:b", "a:0", "a:65536", "kafka://a:9092", "a/b:1", "a:1:2"}, want: []string{`broker ""`, `broker ":9092"`, `broker "a:b"`, `broker "a:0"`, `broker "a:65536"`, `broker "kafka://a:9092"`, `broker "a/b:1"`, `broker "a:1:2"`, "HOST:PORT"}},
		{name: "hole in a list", properties: map[string]string{"bootstrap.servers": "a:1,,b:2"}, want: []string{`broker ""`}},
		{name: "unknown", brokers: some, properties: map[string]string{"acks": "all"}, want: []string{`"acks" is not known`, "bootstrap.servers", "sasl.password"}},
		{name: "misspelled", brokers: some, properties: map[string]string{"Security-Protocol": "SSL", "sasl_user_name": "x", "username": "y", "sasl.jaas.config": "z"}, want: []string{`"Security-Protocol" is not known: did you mean "security.protocol"?`, `"sasl_user_name" is not known: did you mean "sasl.username"?`, `"username" is not known: did you mean "sasl.username"?`, `"sasl.jaas.config" is not known: known are`}},
		{name: "protocol", brokers: some, properties: map[string]string{"security.protocol": "TLS"}, want: []string{`security.protocol is "TLS"`, "SASL_SSL"}},
		{name: "TLS settings without TLS", brokers: some, properties: map[string]string{"ssl.ca.location": ca.file}, want: []string{"ssl settings", "security.protocol"}},
		{name: "password without SASL", brokers: some, properties: map[string]string{"security.protocol": "SSL", "sasl.password": "p"}, want: []string{"sasl settings", "security.protocol"}},
		{name: "mechanism without SASL", brokers: some, properties: map[string]string{"sasl.mechanism": "PLAIN"}, want: []string{"sasl settings", "security.protocol"}},
		{name: "no password", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.username": "u"}, want: []string{"SASL_SSL needs sasl.username and sasl.password"}},
		{name: "SASL in the clear", brokers: some, properties: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p"}, want: []string{"SASL_PLAINTEXT", "lakefeed.allow.plaintext.password=true"}},
		{name: "SASL in the clear, not allowed", brokers: some, properties: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p", "lakefeed.allow.plaintext.password": "false"}, want: []string{"lakefeed.allow.plaintext.password=true"}},
		{name: "not a truth", brokers: some, properties: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": "u", "sasl.password": "p", "lakefeed.allow.plaintext.password": "yes"}, want: []string{`lakefeed.allow.plaintext.password is "yes"`}},
		{name: "mechanism", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI", "sasl.username": "u", "sasl.password": "p"}, want: []string{`sasl.mechanism is "GSSAPI"`, "SCRAM-SHA-512"}},
		{name: "two mechanisms", brokers: some, properties: map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.mechanisms": "SCRAM-SHA-256", "sasl.username": "u", "sasl.password": "p"}, want: []string{"sasl.mechanism", "sasl.mechanisms"}},
		{name: "no such file", brokers: some, properties: map[string]string{"security.protocol": "SSL", "ssl.ca.location": absent}, want: []string{"ssl.ca.location: ", absent}},
		{name: "not a certificate", brokers: some, properties: map[string]string{"security.protocol": "SSL", "ssl.ca.location": empty}, want: []string{"ssl.ca.location: " + empty}},
		{name: "not a key", brokers: some, properties: map[string]string{"security.protocol": "SSL", "ssl.certificate.location": certificate, "ssl.key.location": empty}, want: []string{"ssl.certificate.location and ssl.key.location: "}},
		{name: "certificate without a key", brokers: some, properties: map[string]string{"security.protocol": "SSL", "ssl.certificate.location": certificate}, want: []string{"ssl.certificate.location and ssl.key.location go together"}},
		{name: "all at once", brokers: []string{"a:b", "ok:1"}, properties: map[string]string{
			"nonsense": "1", "rubbish": "2", "security.protocol": "SASL_SSL", "sasl.mechanism": "NONE", "ssl.ca.location": absent, "ssl.key.location": key, "sasl.username": "u",
		}, want: []string{`broker "a:b"`, `"nonsense"`, `"rubbish"`, `sasl.mechanism is "NONE"`, absent, "go together", "needs sasl.username and sasl.password"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, err := broker.New(broker.Settings{Brokers: test.brokers, Properties: test.properties})
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				client.Close()
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v, without %q", err, want)
				}
			}
			if strings.Contains(err.Error(), `"ok:1"`) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// A password is in no error.
func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2secret"
	for _, protocol := range []string{"", "PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT", "other"} {
		_, err := broker.New(broker.Settings{Brokers: []string{"a:b"}, Properties: map[string]string{"security.protocol": protocol, "sasl.username": "u", "sasl.password": secret, "sasl.mechanism": "x", "unknown": "1"}})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}
