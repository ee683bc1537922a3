package config

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// SigningKey reads the private key of a DKIM entry: RSA or Ed25519, in PEM, as openssl writes it.
func (w *Workspace) SigningKey(k DKIM) (crypto.Signer, error) {
	path := w.Abs(k.KeyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Key: "key_file", Message: err.Error()}
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, &Error{File: path, Key: "key_file", Message: err.Error()}
	}
	return key, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is not a PEM file; make a key with: openssl genrsa -out dkim.pem 2048")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return strongEnough(key)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("holds a %s that is not an unencrypted RSA or Ed25519 private key", block.Type)
	}
	switch key := any.(type) {
	case *rsa.PrivateKey:
		return strongEnough(key)
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errors.New("holds a key that is neither RSA nor Ed25519, the kinds that DKIM has")
}

// strongEnough is RFC 8301 section 3.2: signers must use 1024 bits or more, receivers ignore less.
func strongEnough(key *rsa.PrivateKey) (crypto.Signer, error) {
	if bits := key.N.BitLen(); bits < 1024 {
		return nil, fmt.Errorf("holds an RSA key of %d bits; receivers ignore less than 1024, use 2048", bits)
	}
	return key, nil
}

// RootCAs is the system's certificates and those in the PEM file. No file: nil, which means the system's.
func (w *Workspace) RootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	path := w.Abs(file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Key: "ca_file", Message: err.Error()}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a bare container has none; the file may be all that is needed
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, &Error{File: path, Key: "ca_file", Message: "holds no certificate in PEM"}
	}
	return pool, nil
}
