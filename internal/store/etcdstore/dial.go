package etcdstore

import (
	"context"
	"crypto/tls"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/muster-vm/muster/internal/resource"
)

// Dial opens a store over an etcd that runs elsewhere. It fails with Invalid
// for certificates that cannot be read and with Unavailable if etcd does not
// answer.
func Dial(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	config, err := o.tls()
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidCertificate", "The certificates for etcd cannot be used. "+
			"Check the files of its CA, certificate and key.").Because(err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            o.Endpoints,
		TLS:                  config,
		Context:              context.WithoutCancel(ctx),
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               zap.NewNop(), // what matters comes back as an error
	})
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, codeUnavailable, "The endpoints of etcd cannot be used.").Because(err)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := client.Get(asking, o.Prefix); err != nil {
		_ = client.Close()
		return nil, explain(ctx, err)
	}
	s := &Store{client: client, shutdown: func() { _ = client.Close() }}
	s.start(ctx, o)
	return s, nil
}

// tls returns the configuration for etcd's endpoints, nil if no files are named:
// then the scheme of each endpoint decides, by the system's authorities.
func (o Options) tls() (*tls.Config, error) {
	if o.CA == "" && o.Cert == "" && o.Key == "" {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: o.CA, CertFile: o.Cert, KeyFile: o.Key}
	return info.ClientConfig()
}
