package volume

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

// Bounds on downloads.
const (
	connectLimit = 30 * time.Second
	answerLimit  = time.Minute
	redirects    = 5
)

// download opens a file of a web server. What is read ends with an error if the
// server stalls, or takes longer than a download may.
func (i Import) download(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &body{ctx: ctx, cancel: cancel, after: cmp.Or(i.Stall, time.Minute)}
	d.limit = time.AfterFunc(cmp.Or(i.Limit, 12*time.Hour), func() { cancel(notDownloaded(u, "it took too long")) })
	d.stall = time.AfterFunc(d.after, func() { cancel(notDownloaded(u, "the server does not send")) })
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		d.end()
		return nil, 0, resource.Errorf(resource.Invalid, "InvalidParameter", "The URI %s is not valid.", shown(u)).Because(err)
	}
	r.Header.Set("User-Agent", "muster")
	client := &http.Client{Transport: i.transport(), CheckRedirect: checkRedirect}
	res, err := client.Do(r) //nolint:bodyclose // the body that is returned closes it
	if err != nil {
		err = noAnswer(ctx, u, err)
		d.end()
		return nil, 0, err
	}
	d.ReadCloser = res.Body
	if err := answered(u, res); err != nil {
		return nil, 0, errors.Join(err, d.Close())
	}
	return d, res.ContentLength, nil
}

// body is what a server sends.
type body struct {
	io.ReadCloser
	ctx          context.Context //nolint:containedctx // of this download
	cancel       context.CancelCauseFunc
	after        time.Duration
	limit, stall *time.Timer
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.stall.Reset(b.after)
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

func (b *body) end() {
	b.limit.Stop()
	b.stall.Stop()
	b.cancel(nil)
}

func notDownloaded(u *url.URL, why string) *resource.Error {
	return resource.Errorf(resource.Unavailable, "FileUnavailable", "The file %s could not be downloaded: %s.", shown(u), why)
}

func refused(u *url.URL, why string) *resource.Error {
	return resource.Errorf(resource.Forbidden, "FileNotAllowed", "The file %s was not downloaded: %s.", shown(u), why)
}

// noAnswer words why there is no answer.
func noAnswer(ctx context.Context, u *url.URL, err error) error {
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*resource.Error](context.Cause(ctx)); ok {
		return e
	}
	if ctx.Err() != nil {
		return canceled(ctx.Err())
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return refused(u, "the server's certificate is not one that this machine trusts").Because(err)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return notDownloaded(u, "there is no host "+e.Name).Because(err)
	}
	return notDownloaded(u, "the connection failed or ended early").Because(err)
}

// answered judges a server's answer.
func answered(u *url.URL, res *http.Response) error {
	switch code := res.StatusCode; {
	case code == http.StatusOK && res.Header.Get("Content-Encoding") != "":
		return damaged("is sent in the encoding %q; the server must send it as it is.", res.Header.Get("Content-Encoding"))
	case code == http.StatusOK:
		return nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return resource.Errorf(resource.NotFound, "FileNotFound", "There is no file %s: the server answers %s.", shown(u), res.Status)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return notDownloaded(u, "the server answers "+res.Status)
	default:
		return refused(u, "the server answers "+res.Status)
	}
}
