package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster-vm/muster/internal/access"
	"github.com/muster-vm/muster/internal/resource"
)

const (
	maxBody  = 4 << 20
	jsonType = "application/json; charset=utf-8"
)

// Authenticator tells whose a bearer token is. Failures are Unauthenticated.
type Authenticator interface {
	Authenticate(token string) (access.Principal, error)
}

// Authorizer returns nil if the principal may perform action at scope, and
// else Forbidden.
type Authorizer interface {
	Authorize(p access.Principal, action, scope string) error
}

// Server answers HTTP requests by routes. All members but Serves are needed.
type Server struct {
	Router        *Router
	Authenticator Authenticator
	Authorizer    Authorizer
	Log           *slog.Logger

	// Serves reports whether a Host header names this server; nil stands for
	// yes. Absolute URLs in answers repeat it.
	Serves func(host string) bool
	// Observe hears of every request, with the pattern of its route, empty for
	// none; nil for nobody.
	Observe func(method, route string, status int, took time.Duration)
}

// NewServer returns the handler for the routes.
func NewServer(routes []Route, authn Authenticator, authz Authorizer, log *slog.Logger) (*Server, error) {
	router, err := NewRouter(routes)
	if err != nil {
		return nil, err
	}
	return &Server{Router: router, Authenticator: authn, Authorizer: authz, Log: log}, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	start := time.Now()
	r := &Request{HTTP: hr, Base: base(hr), RequestID: uuid.NewString(), CorrelationID: correlation(hr)}
	rec := &recorder{ResponseWriter: w}
	r.announce(w.Header())
	err := s.serve(rec, r)
	if err != nil {
		e := flatten(err)
		if status(e) >= http.StatusInternalServerError {
			s.Log.ErrorContext(hr.Context(), "request failed", "err", err, "request", r.RequestID)
		}
		if rec.status == 0 {
			writeError(rec, hr.Method, e, r.RequestID)
		}
	}
	took := time.Since(start)
	if !r.upgraded.IsZero() {
		took = r.upgraded.Sub(start) // what followed was no request
	}
	if s.Observe != nil {
		s.Observe(hr.Method, r.route, rec.status, took)
	}
	s.Log.InfoContext(hr.Context(), "request", "method", hr.Method, "path", fmt.Sprintf("%.512s", hr.URL.Path), "status", rec.status,
		"duration", took, "principal", r.Principal.ObjectID, "command", clip(hr.Header.Get("CommandName")), "request", r.RequestID)
}

// serve does the work of one request; what it returns is not yet answered. The
// one place where panics end.
func (s *Server) serve(w http.ResponseWriter, r *Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	r.HTTP.Body = http.MaxBytesReader(w, r.HTTP.Body, maxBody)
	segments, err := split(r.HTTP.URL.EscapedPath())
	if err != nil {
		return err
	}
	r.APIVersion = r.Query("api-version")
	m, missing := s.Router.match(r.HTTP.Method, segments, r.APIVersion)
	if s.Serves != nil && !s.Serves(r.HTTP.Host) && !m.route.AnyHost {
		return resource.Errorf(resource.Invalid, "InvalidHostName",
			"The host name '%.256s' is none of this server's. Use one that is in its certificate, or add this one to names in the server's config.", r.HTTP.Host)
	}
	r.route = m.route.Path
	if missing == nil && m.route.HTTP != nil && m.route.Public {
		m.route.HTTP.ServeHTTP(w, r.HTTP)
		return nil
	}
	if missing != nil || !m.route.Public {
		if err := s.authenticate(r); err != nil {
			return err
		}
	}
	if missing != nil {
		return missing
	}
	if m.route.HTTP != nil {
		if err := s.Authorizer.Authorize(r.Principal, m.route.Action, m.route.Scope); err != nil {
			return err
		}
		m.route.HTTP.ServeHTTP(w, r.HTTP)
		return nil
	}
	r.Vars = m.vars
	resp, err := s.call(r, m.route, segments)
	if err != nil {
		return err
	}
	return r.write(w, resp)
}

// call checks what the route asks for and runs its handler.
func (s *Server) call(r *Request, route Route, segments []string) (*Response, error) {
	if !route.Public {
		if err := checkVersion(route, r.APIVersion, segments); err != nil {
			return nil, err
		}
		if route.Action != "" {
			if err := s.Authorizer.Authorize(r.Principal, route.Action, scope(segments)); err != nil {
				return nil, err
			}
		}
	}
	r.May = func(action, scope string) error { return s.Authorizer.Authorize(r.Principal, action, scope) }
	var err error
	if r.body, err = io.ReadAll(r.HTTP.Body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, resource.Errorf(resource.Invalid, codeTooLarge, "The request body is larger than 4 MiB.")
		}
		return nil, resource.Errorf(resource.Invalid, "InvalidRequestContent", "The request body ended early.").Because(err)
	}
	return route.Handler(r.HTTP.Context(), r)
}

func (s *Server) authenticate(r *Request) error {
	header := r.HTTP.Header.Get("Authorization")
	if header == "" {
		return resource.Errorf(resource.Unauthenticated, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return resource.Errorf(resource.Unauthenticated, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is not a bearer token.")
	}
	p, err := s.Authenticator.Authenticate(strings.TrimSpace(token))
	r.Principal = p
	return err
}

// checkVersion refuses a missing or unsupported api-version.
func checkVersion(route Route, version string, segments []string) error {
	if version == "" {
		return resource.Errorf(resource.Invalid, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	if slices.Contains(route.Versions, version) {
		return nil
	}
	supported := strings.Join(route.Versions, ", ")
	for i := len(segments) - 3; i >= 0; i-- {
		if _, err := time.Parse(time.DateOnly, clipVersion(version)); err == nil && strings.EqualFold(segments[i], "providers") {
			return resource.Errorf(resource.Invalid, "NoRegisteredProviderFound",
				"No registered resource provider found for API version '%.64s' for type '%s' in the namespace '%s'. The supported api-versions are '%s'.",
				version, segments[i+2], segments[i+1], supported)
		}
	}
	return resource.Errorf(resource.Invalid, "InvalidApiVersionParameter", "The api-version '%.64s' is invalid. The supported versions are '%s'.", version, supported)
}

// clipVersion returns the date of "2024-01-01-preview".
func clipVersion(v string) string { return v[:min(len(v), len(time.DateOnly))] }

// announce sets the headers that every answer has.
func (r *Request) announce(h http.Header) {
	h.Set("X-Ms-Request-Id", r.RequestID)
	h.Set("X-Ms-Correlation-Request-Id", r.CorrelationID)
	h.Set("X-Ms-Routing-Request-Id", "MUSTER:"+r.RequestID)
	if strings.EqualFold(r.HTTP.Header.Get("X-Ms-Return-Client-Request-Id"), "true") {
		h.Set("X-Ms-Client-Request-Id", clip(r.HTTP.Header.Get("X-Ms-Client-Request-Id")))
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
}

// write renders the handler's answer.
func (r *Request) write(w http.ResponseWriter, resp *Response) error {
	if resp == nil {
		resp = &Response{}
	}
	if resp.Release != nil {
		defer resp.Release()
	}
	if resp.Upgrade != nil {
		r.upgraded = time.Now()
		resp.Upgrade(w, r.HTTP)
		return nil
	}
	raw, err := encode(resp.Body)
	if err != nil {
		return err
	}
	h := w.Header()
	maps.Copy(h, resp.Header)
	if resp.Async != nil {
		resp.Async.set(h, r)
	}
	code := resp.Status
	if code == 0 {
		code = http.StatusOK
	}
	if resp.ETag != "" {
		h.Set("ETag", `"`+resp.ETag+`"`)
		if r.HTTP.Method == http.MethodGet && tagMatches(r.HTTP.Header.Values("If-None-Match"), resp.ETag) {
			code, raw = http.StatusNotModified, nil
		}
	}
	if raw != nil && h.Get("Content-Type") == "" {
		h.Set("Content-Type", jsonType)
	}
	w.WriteHeader(code)
	if raw != nil && r.HTTP.Method != http.MethodHead {
		_, _ = w.Write(raw) // the caller may have gone; there is nobody to tell
	}
	return nil
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	}
	return json.Marshal(body)
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// base returns how the caller reached us.
func base(r *http.Request) string {
	if r.TLS == nil && r.URL.Scheme != "https" {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

// correlation returns the caller's correlation id, or a new one.
func correlation(r *http.Request) string {
	if id := clip(r.Header.Get("X-Ms-Correlation-Request-Id")); id != "" {
		return id
	}
	return uuid.NewString()
}

// clip bounds what a caller can have repeated in headers and logs.
func clip(s string) string { return s[:min(len(s), 128)] }

var _ http.Handler = (*Server)(nil)
