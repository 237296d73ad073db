package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// newWeb returns a server that no caller can hold on to: headers are small, and
// who sends or reads too slowly is cut.
func newWeb(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: handler, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: 3 * time.Minute, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// listenName returns the address that the server listens on, as a name of it;
// none if it is every address.
func listenName(listen string) []string {
	host, _, err := net.SplitHostPort(listen)
	if ip, bad := netip.ParseAddr(host); err != nil || bad != nil || ip.IsUnspecified() {
		return nil
	}
	return []string{host}
}
