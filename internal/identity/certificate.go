package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster-vm/muster/internal/durable"
)

// How long certificates hold, and how long before their end a server
// certificate is made anew. 825 days is the most that clients of Apple accept.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 820 * 24 * time.Hour
	renewEarly = 30 * 24 * time.Hour
)

// certificates are the authority and the server's certificate, in use.
type certificates struct {
	ca     *x509.Certificate
	caKey  *rsa.PrivateKey
	server tls.Certificate
}

// CAFile returns the file with the certificate authority, for clients to trust.
func (id *Identity) CAFile() string { return filepath.Join(id.dir, "ca.pem") }

// TLSConfig returns a server's configuration. The certificate renews itself.
func (id *Identity) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return id.certificate(time.Now())
	}}
}

func (id *Identity) certificate(now time.Time) (*tls.Certificate, error) {
	id.certMu.Lock()
	defer id.certMu.Unlock()
	if !fits(id.certs.server.Leaf, id.names, now) {
		if err := id.certs.renew(id.dir, id.names, now); err != nil {
			return nil, fmt.Errorf("renew the server certificate: %w", err)
		}
	}
	c := id.certs.server
	return &c, nil
}

// openCertificates reads both certificates and makes what is missing, is for
// other names, or ends soon.
func openCertificates(dir string, names []string, now time.Time) (*certificates, error) {
	c := &certificates{}
	if err := c.openCA(dir, now); err != nil {
		return nil, err
	}
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err == nil && fits(server.Leaf, names, now) && server.Leaf.CheckSignatureFrom(c.ca) == nil {
		c.server = server
		return c, nil
	}
	return c, c.renew(dir, names, now)
}

// openCA reads the authority, and makes one if there is none or it cannot
// outlive another server certificate.
func (c *certificates) openCA(dir string, now time.Time) error {
	file, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	raw, err := os.ReadFile(file)
	if err == nil {
		block, _ := pem.Decode(raw)
		if block == nil {
			return fmt.Errorf("%s is not PEM", file)
		}
		if c.ca, err = x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
		if c.caKey, err = readKey(keyFile); err != nil {
			return err
		}
		if now.Before(c.ca.NotAfter.Add(-renewEarly)) {
			return nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.makeCA(file, keyFile, now)
}

func (c *certificates) makeCA(file, keyFile string, now time.Time) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Muster local authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	if c.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	c.caKey = key
	if err := writeKey(keyFile, key); err != nil { // first: a certificate without its key cannot be opened again
		return err
	}
	return durable.Write(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// renew makes a new server certificate and key.
func (c *certificates) renew(dir string, names []string, now time.Time) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	end := now.Add(serverLife)
	if c.ca.NotAfter.Before(end) {
		end = c.ca.NotAfter
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.ca, key.Public(), c.caKey)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	c.server = tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw})...)
	return errors.Join(writeKey(filepath.Join(dir, "server-key.pem"), key), durable.Write(filepath.Join(dir, "server.pem"), chain))
}

// fits reports whether a certificate is for exactly these names and holds for
// a while.
func fits(leaf *x509.Certificate, names []string, now time.Time) bool {
	if leaf == nil || now.After(leaf.NotAfter.Add(-renewEarly)) {
		return false
	}
	has := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		has = append(has, ip.String())
	}
	want := slices.Clone(names)
	slices.Sort(has)
	slices.Sort(want)
	return slices.Equal(has, want)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return n
}
