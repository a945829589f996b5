package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

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

// Properties are the names of the settings that are understood.
func Properties() []string { return slices.Clone(knownProperties) }

// PropertyError is a fault of one property.
type PropertyError struct {
	Property string
	Err      error // names it
}

func (e *PropertyError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *PropertyError) Unwrap() error { return e.Err }

// propertyFault is a fault of a property, which format names.
func propertyFault(property, format string, args ...any) error {
	return &PropertyError{property, fmt.Errorf(format, args...)}
}

// Validate reports every fault at once, without connecting. Faults of one property
// are *PropertyError.
func (s Settings) Validate() error {
	_, err := s.complete()
	_, _, other := s.security()
	return errors.Join(err, other)
}

// complete takes the brokers from the properties where they are not given, and
// reports every fault at once.
func (s Settings) complete() (Settings, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(knownProperties, name) {
			errs = append(errs, propertyFault(name, "the setting %q is not known%s", name, suggestion(name)))
		}
	}
	if len(s.Brokers) == 0 && s.Properties[propertyServers] != "" {
		s.Brokers = strings.Split(s.Properties[propertyServers], ",")
	}
	if id := s.Properties[propertyClient]; id != "" {
		s.ClientID = id
	}
	if len(s.Brokers) == 0 {
		errs = append(errs, propertyFault(propertyServers, "no brokers: give their addresses, HOST:PORT, in %s", propertyServers))
	}
	brokers := make([]string, 0, len(s.Brokers))
	for _, b := range s.Brokers {
		address, ok := hostPort(strings.TrimSpace(b))
		if !ok {
			if i := strings.LastIndexByte(b, '@'); i >= 0 {
				b = "(secret)" + b[i:]
			}
			errs = append(errs, propertyFault(propertyServers, "broker %q is not an address: give HOST:PORT", b))
		}
		brokers = append(brokers, address)
	}
	s.Brokers = brokers
	return s, errors.Join(errs...)
}

// hostPort is a broker's address with its port.
func hostPort(s string) (string, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "9092"
	}
	if strings.Contains(host, ":") {
		_, err = netip.ParseAddr(host)
	} else if host == "" || strings.ContainsAny(host, "/[] @") {
		err = errors.New("no host")
	} else {
		err = nil
	}
	n, e := strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(host, port), err == nil && e == nil && n > 0
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

// security is what the properties say of TLS and SASL, nil for none. It reports
// every fault at once.
func (s Settings) security() (*tls.Config, sasl.Mechanism, error) {
	encrypted, authenticated := false, false
	switch p := s.Properties[propertyProtocol]; strings.ToUpper(p) {
	case "", "PLAINTEXT":
	case "SSL":
		encrypted = true
	case "SASL_PLAINTEXT":
		authenticated = true
	case "SASL_SSL":
		encrypted, authenticated = true, true
	default: // which of the other settings belong to it cannot be said
		return nil, nil, propertyFault(propertyProtocol, "%s is %q: it is one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", propertyProtocol, p)
	}
	var (
		config    *tls.Config
		mechanism sasl.Mechanism
		errs      [2]error
	)
	if encrypted {
		config, errs[0] = s.tls()
	} else if s.has(propertyCA, propertyCertificate, propertyKey) {
		errs[0] = propertyFault(s.first(propertyCA, propertyCertificate, propertyKey), "there are ssl settings, and %s is not SSL or SASL_SSL", propertyProtocol)
	}
	if authenticated {
		mechanism, errs[1] = s.sasl(encrypted)
	} else if s.has(propertyUser, propertyPassword, propertyMechanism, propertyMechanisms) {
		errs[1] = propertyFault(s.first(propertyUser, propertyPassword, propertyMechanism, propertyMechanisms), "there are sasl settings, and %s is not SASL_SSL", propertyProtocol)
	}
	return config, mechanism, errors.Join(errs[:]...)
}

// has says whether any of the properties is set.
func (s Settings) has(properties ...string) bool { return s.first(properties...) != "" }

// first is the first of the properties that is set, or "".
func (s Settings) first(properties ...string) string {
	for _, p := range properties {
		if s.Properties[p] != "" {
			return p
		}
	}
	return ""
}

func (s Settings) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var errs []error
	if name := s.Properties[propertyCA]; name != "" {
		pem, err := os.ReadFile(name)
		config.RootCAs = x509.NewCertPool()
		if err != nil {
			errs = append(errs, propertyFault(propertyCA, "%s: %w", propertyCA, err))
		} else if !config.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, propertyFault(propertyCA, "%s: %s has no certificate in PEM form", propertyCA, name))
		}
	}
	certificate, key := s.Properties[propertyCertificate], s.Properties[propertyKey]
	switch {
	case certificate == "" && key == "":
	case certificate == "" || key == "":
		errs = append(errs, propertyFault(s.first(propertyCertificate, propertyKey), "%s and %s go together: one is missing", propertyCertificate, propertyKey))
	default:
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			errs = append(errs, propertyFault(propertyCertificate, "%s and %s: %w", propertyCertificate, propertyKey, err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, errors.Join(errs...)
}

func (s Settings) sasl(encrypted bool) (mechanism sasl.Mechanism, err error) {
	var errs []error
	user, password := s.Properties[propertyUser], s.Properties[propertyPassword]
	if user == "" || password == "" {
		errs = append(errs, propertyFault(propertyProtocol, "%s needs %s and %s", s.Properties[propertyProtocol], propertyUser, propertyPassword))
	}
	switch p := s.Properties[propertyInsecure]; {
	case p != "" && p != "true" && p != "false":
		errs = append(errs, propertyFault(propertyInsecure, "%s is %q: it is true or false", propertyInsecure, p))
	case !encrypted && p != "true": // kafka-go would send it in the clear without a word
		errs = append(errs, propertyFault(propertyProtocol, "%s is SASL_PLAINTEXT, which shows the password or what it can be guessed from to who listens on the network: use SASL_SSL, or set %s=true", propertyProtocol, propertyInsecure))
	}
	name, other := s.Properties[propertyMechanism], s.Properties[propertyMechanisms]
	if name == "" {
		name = other
	}
	if other != "" && other != name {
		errs = append(errs, propertyFault(propertyMechanism, "%s is %q and %s is %q: they are the same setting", propertyMechanism, name, propertyMechanisms, other))
	}
	switch strings.ToUpper(name) {
	case "", "PLAIN":
		mechanism = plain.Mechanism{Username: user, Password: password}
	case "SCRAM-SHA-256":
		mechanism, err = scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		mechanism, err = scram.Mechanism(scram.SHA512, user, password)
	default:
		err = propertyFault(s.first(propertyMechanism, propertyMechanisms), "%s is %q: it is one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", propertyMechanism, name)
	}
	return mechanism, errors.Join(append(errs, err)...)
}

// watched is a mechanism that notes when it is used.
type watched struct {
	sasl.Mechanism
	used *atomic.Bool
}

// Start begins to authenticate.
func (w watched) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	w.used.Store(true)
	return w.Mechanism.Start(ctx)
}
