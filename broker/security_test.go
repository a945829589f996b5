package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"lakefeed/broker"
)

// ca is a certificate authority.
type ca struct {
	file        string // its certificate
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func authority(t testing.TB) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{file: filepath.Join(t.TempDir(), "ca.pem"), key: key}
	if c.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.file, "CERTIFICATE", der)
	return c
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for 127.0.0.1 and gives its files.
func (c *ca) issue(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, &private.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certificate, "CERTIFICATE", der)
	if der, err = x509.MarshalECPrivateKey(private); err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "EC PRIVATE KEY", der)
	return certificate, key
}

// server is a TLS configuration of brokers.
func (c *ca) server(t testing.TB, clients bool) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.issue(t, "broker"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AddCert(c.certificate)
	}
	return config
}

// works checks that a client can do all that it does.
func works(t *testing.T, client *broker.Client) {
	t.Helper()
	makeTopic(t, client, "t", 1)
	produce(t, client, values("first"))
	for _, op := range operations {
		if err := op.do(soon(t), client); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}
	}
	m := join(client, nil)
	waitFor(t, func() bool { return len(m.has()) == 1 })
	if err := m.last().Commit(soon(t), map[int]int64{0: 1}); err != nil {
		t.Error(err)
	}
	m.leave(t)
}

// fails checks that nothing that a client does succeeds, and that none of it is tried
// for as long as what may pass.
func fails(t *testing.T, client *broker.Client, check func(error) bool) {
	t.Helper()
	try := func(name string, do func(context.Context, *broker.Client) error) {
		t.Helper()
		began := time.Now()
		if err := do(context.Background(), client); err == nil || !check(err) {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(began); d > soonEnough {
			t.Errorf("%s: it tried for %v", name, d)
		}
	}
	for _, op := range operations {
		try(op.name, op.do)
	}
	try("group", func(ctx context.Context, client *broker.Client) error {
		return client.Group(ctx, groupConfig, func(context.Context, broker.Generation) error { return nil })
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	authority1, authority2 := authority(t), authority(t)
	certificate, key := authority1.issue(t, "client")
	plain := cluster(t, kfake.TLS(authority1.server(t, false)))
	mutual := cluster(t, kfake.TLS(authority1.server(t, true)))
	t.Run("works", func(t *testing.T) {
		t.Parallel()
		works(t, connect(t, plain, map[string]string{"security.protocol": "SSL", "ssl.ca.location": authority1.file}))
	})
	t.Run("works with a client's certificate", func(t *testing.T) {
		t.Parallel()
		works(t, connect(t, mutual, map[string]string{"security.protocol": "SSL", "ssl.ca.location": authority1.file, "ssl.certificate.location": certificate, "ssl.key.location": key}))
	})
	unknown := func(err error) bool {
		var x x509.UnknownAuthorityError
		return errors.As(err, &x)
	}
	t.Run("other authority", func(t *testing.T) {
		t.Parallel()
		client := connect(t, plain, map[string]string{"security.protocol": "SSL", "ssl.ca.location": authority2.file})
		fails(t, client, unknown)
		if _, err := client.Topic(soon(t), "t"); !strings.Contains(err.Error(), "ssl.ca.location") || !strings.Contains(err.Error(), plain.ListenAddrs()[0]) {
			t.Errorf("the error does not help: %v", err)
		}
	})
	t.Run("the system's authorities", func(t *testing.T) {
		t.Parallel()
		fails(t, connect(t, plain, map[string]string{"security.protocol": "SSL"}), unknown)
	})
	t.Run("other name", func(t *testing.T) {
		t.Parallel()
		_, port, _ := net.SplitHostPort(plain.ListenAddrs()[0])
		client := dial(t, broker.Settings{Brokers: []string{"localhost:" + port}, Properties: map[string]string{"security.protocol": "SSL", "ssl.ca.location": authority1.file}})
		fails(t, client, func(err error) bool {
			var x x509.HostnameError
			return errors.As(err, &x)
		})
	})
	t.Run("no client's certificate", func(t *testing.T) {
		t.Parallel()
		fails(t, connect(t, mutual, map[string]string{"security.protocol": "SSL", "ssl.ca.location": authority1.file}), func(err error) bool {
			return strings.Contains(err.Error(), "certificate required")
		})
	})
}

func TestSASL(t *testing.T) {
	t.Parallel()
	ca := authority(t)
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"), kfake.Superuser("SCRAM-SHA-256", "user", "right"), kfake.Superuser("SCRAM-SHA-512", "user", "right"), kfake.TLS(ca.server(t, false)))
	// Kafka says why it closes the connection, and kfake does not.
	kafkaLike := cluster(t, kfake.EnableSASL(), kfake.TLS(ca.server(t, false)), kfake.Superuser("PLAIN", "user", "right"), kfake.Superuser("SCRAM-SHA-256", "user", "right"), kfake.Superuser("SCRAM-SHA-512", "user", "right"))
	kafkaLike.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafkaLike.KeepControl()
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("Authentication failed: Invalid username or password")
		return resp, nil, true
	})
	clear := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"))
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		properties := map[string]string{"security.protocol": "SASL_SSL", "ssl.ca.location": ca.file, "sasl.mechanism": mechanism, "sasl.username": "user", "sasl.password": "right"}
		t.Run(mechanism, func(t *testing.T) {
			works(t, connect(t, c, properties))
		})
		for _, wrong := range []string{"sasl.username", "sasl.password"} {
			t.Run(fmt.Sprint(mechanism, " wrong ", wrong), func(t *testing.T) {
				t.Parallel()
				bad := maps.Clone(properties)
				bad[wrong] = "wrong"
				fails(t, connect(t, kafkaLike, bad), func(err error) bool { return errors.Is(err, broker.ErrDenied) })
			})
			t.Run(fmt.Sprint(mechanism, " wrong ", wrong, ", no reason"), func(t *testing.T) {
				t.Parallel()
				bad := maps.Clone(properties)
				bad[wrong] = "wrong"
				began := time.Now()
				if _, err := connect(t, c, bad).Topic(soon(t), "t"); !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "sasl.password") {
					t.Error(err)
				}
				if d := time.Since(began); d > soonEnough {
					t.Errorf("it tried for %v", d)
				}
			})
		}
	}
	t.Run("in the clear", func(t *testing.T) {
		t.Parallel()
		works(t, connect(t, clear, map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": "user", "sasl.password": "right", "lakefeed.allow.plaintext.password": "true"}))
	})
}

func TestACLs(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "right"), kfake.User("PLAIN", "nobody", "right"))
	as := func(user string) *broker.Client {
		return connect(t, c, map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.username": user, "sasl.password": "right", "lakefeed.allow.plaintext.password": "true"})
	}
	works(t, as("root"))
	nobody := as("nobody")
	fails(t, nobody, func(err error) bool { return errors.Is(err, broker.ErrDenied) })
	if _, err := nobody.EnsureTopic(soon(t), broker.TopicConfig{Name: "new", Partitions: 1}); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("making a topic: %v", err)
	}
}
