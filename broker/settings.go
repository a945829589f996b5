package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Settings say how to connect.
type Settings struct {
	Brokers  []string // host:port; port 9092 where there is none
	ClientID string
	// Properties are settings by the names that Kafka's Java clients and librdkafka
	// have for them: see knownProperties.
	Properties map[string]string
}

// The properties that are understood. Others are refused: a setting that is
// passed over in silence is worse than none.
const (
	propertyServers     = "bootstrap.servers"
	propertyClient      = "client.id"
	propertyProtocol    = "security.protocol"
	propertyMechanism   = "sasl.mechanism"
	propertyMechanisms  = "sasl.mechanisms" // librdkafka's name
	propertyUser        = "sasl.username"
	propertyPassword    = "sasl.password"
	propertyCA          = "ssl.ca.location"
	propertyCertificate = "ssl.certificate.location"
	propertyKey         = "ssl.key.location"
	propertyInsecure    = "lakefeed.allow.plaintext.password"
)

var knownProperties = []string{
	propertyServers, propertyClient, propertyProtocol, propertyMechanism, propertyMechanisms, propertyUser, propertyPassword,
	propertyCA, propertyCertificate, propertyKey, propertyInsecure,
}

// complete takes the brokers from the properties where they are not given, and
// reports every fault at once.
func (s Settings) complete() (Settings, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(knownProperties, name) {
			errs = append(errs, fmt.Errorf("Kafka setting %q is not known%s", name, suggestion(name)))
		}
	}
	if len(s.Brokers) == 0 && s.Properties[propertyServers] != "" {
		s.Brokers = strings.Split(s.Properties[propertyServers], ",")
	}
	if id := s.Properties[propertyClient]; id != "" {
		s.ClientID = id
	}
	if len(s.Brokers) == 0 {
		errs = append(errs, errors.New("no brokers: give their addresses, HOST:PORT"))
	}
	brokers := make([]string, 0, len(s.Brokers))
	for _, b := range s.Brokers {
		b = strings.TrimSpace(b)
		if _, _, err := net.SplitHostPort(b); err != nil {
			b = net.JoinHostPort(b, "9092")
		}
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("broker %q is not an address: give HOST:PORT", b))
		}
		brokers = append(brokers, b)
	}
	s.Brokers = brokers
	return s, errors.Join(errs...)
}

// suggestion names a known property that is spelled much the same.
func suggestion(name string) string {
	flat := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '.' || r == '-' || r == '_' {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	for _, known := range knownProperties {
		if flat(known) == flat(name) || strings.HasSuffix(known, "."+name) {
			return fmt.Sprintf(": did you mean %q?", known)
		}
	}
	return ": known are " + strings.Join(knownProperties, ", ")
}

// security is what the properties say of TLS and SASL, nil for none.
func (s Settings) security() (*tls.Config, sasl.Mechanism, error) {
	encrypted, authenticated := false, false
	switch p := strings.ToUpper(s.Properties[propertyProtocol]); p {
	case "", "PLAINTEXT":
	case "SSL":
		encrypted = true
	case "SASL_PLAINTEXT":
		authenticated = true
	case "SASL_SSL":
		encrypted, authenticated = true, true
	default:
		return nil, nil, fmt.Errorf("%s is %q: it is one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", propertyProtocol, p)
	}
	var (
		config    *tls.Config
		mechanism sasl.Mechanism
		err       error
	)
	if encrypted {
		if config, err = s.tls(); err != nil {
			return nil, nil, err
		}
	} else if s.Properties[propertyCA]+s.Properties[propertyCertificate]+s.Properties[propertyKey] != "" {
		return nil, nil, fmt.Errorf("there are ssl settings, and %s is not SSL or SASL_SSL", propertyProtocol)
	}
	if authenticated {
		if mechanism, err = s.sasl(encrypted); err != nil {
			return nil, nil, err
		}
	} else if s.Properties[propertyUser]+s.Properties[propertyPassword] != "" {
		return nil, nil, fmt.Errorf("there are a SASL user or password, and %s is not SASL_SSL", propertyProtocol)
	}
	return config, mechanism, nil
}

func (s Settings) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if name := s.Properties[propertyCA]; name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", propertyCA, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: %s has no certificate in PEM form", propertyCA, name)
		}
	}
	certificate, key := s.Properties[propertyCertificate], s.Properties[propertyKey]
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", propertyCertificate, propertyKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (s Settings) sasl(encrypted bool) (sasl.Mechanism, error) {
	name := s.Properties[propertyMechanism]
	if name == "" {
		name = s.Properties[propertyMechanisms]
	}
	user, password := s.Properties[propertyUser], s.Properties[propertyPassword]
	if user == "" || password == "" {
		return nil, fmt.Errorf("%s needs %s and %s", s.Properties[propertyProtocol], propertyUser, propertyPassword)
	}
	// kafka-go would send it in the clear without a word.
	if !encrypted && s.Properties[propertyInsecure] != "true" {
		return nil, fmt.Errorf("%s is SASL_PLAINTEXT, which shows the password or what it can be guessed from to who listens on the network: use SASL_SSL, or set %s=true", propertyProtocol, propertyInsecure)
	}
	switch strings.ToUpper(name) {
	case "", "PLAIN":
		return plain.Mechanism{Username: user, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, user, password)
	}
	return nil, fmt.Errorf("%s is %q: it is one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", propertyMechanism, name)
}
