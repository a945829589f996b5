package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listener is the flag of commands that can be watched from outside.
type Listener struct {
	HTTP string `name:"http" help:"Serve /metrics, for Prometheus, and /healthz at this address, such as 127.0.0.1:9464. Default: nothing is served." placeholder:"HOST:PORT" yaml:"http"`
}

// serve answers at the address until stop is called; without one nothing is
// served.
func (l Listener) serve(m *metrics, log *slog.Logger) (stop func(), err error) {
	if l.HTTP == "" {
		return func() {}, nil
	}
	socket, err := net.Listen("tcp", l.HTTP)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &usageError{fmt.Sprintf("serve metrics at %s: another process has this port; stop it, or name another with --http", l.HTTP)}
	case err != nil:
		return nil, &usageError{fmt.Sprintf("serve metrics at %s: %v; --http wants host:port, such as 127.0.0.1:9464", l.HTTP, err)}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("metrics are served no more; the run goes on", "address", l.HTTP, "err", err)
		}
	}()
	return func() {
		server.Close()
		<-done
	}, nil
}
