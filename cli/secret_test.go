package cli

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// Nothing that lakefeed says has a password in it, at whatever level and whatever
// goes wrong.
func TestSecretsAreNotShown(t *testing.T) {
	t.Chdir(t.TempDir())
	// A broker that hangs up on everybody.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	write(t, "a.csv", "a\n1\n")
	write(t, "password", "canary-of-file")
	write(t, "lakefeed.yaml", `
kafka:
  bootstrap.servers: "`+l.Addr().String()+`"
  security.protocol: SASL_SSL
  sasl.mechanism: SCRAM-SHA-512
  sasl.username: someone
  sasl.password: ${file:password}
feeds: [{table: a, source: a.csv}]
`)
	t.Setenv("LAKEFEED_LOG_LEVEL", "debug")
	for _, c := range []struct {
		environment string
		args        string
	}{
		{"", "ingest -o json"},
		{"", "produce"},
		{"", "consume --drain"},
		{"", "validate -o json"},
		{"", "ingest --kafka sasl.password=canary-of-flag --kafka sasl.mechanism=NONE"},
		{"", "ingest --kafka canary-of-flag"},
		{"sasl.password=canary-of-environment,canary-behind-a-comma", "ingest"},
		{"sasl.password=canary-of-environment,sasl.mechanism=NONE", "consume"},
		{"sasl.password=canary-of-environment", "ingest a.csv"},
		{"sasl.pasword=canary-of-environment", "ingest a.csv"},
	} {
		if c.environment != "" {
			t.Setenv("LAKEFEED_KAFKA", c.environment)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		code, out, said := command(ctx, "", strings.Fields(c.args)...)
		cancel()
		if strings.Contains(out+said, "canary") {
			t.Errorf("%s, %s: exit %d\n%s%s", c.environment, c.args, code, out, said)
		}
		if code == exitDone && !strings.HasPrefix(c.args, "validate") {
			t.Errorf("%s, %s: exit %d", c.environment, c.args, code)
		}
	}
}
